//! A long stream in which lines are broken: every line has its answer, in order, in bounded memory.

use crate::common::{SMALL, logwright, run};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

const LINES: u64 = 200_000;
/// Every so many lines one is broken, each time in another way.
const BROKEN_EVERY: u64 = 40;
const LONGEST: usize = 200;
/// The most resident memory in bytes: the model is tiny, so that a leak of one line in ten would show.
const MEMORY: u64 = 150 << 20;

fn is_broken(number: u64) -> bool {
    number.is_multiple_of(BROKEN_EVERY)
}

fn line(number: u64) -> Vec<u8> {
    let good = format!("{{\"user\":\"u{}\",\"n\":{number}}}", number % 17).into_bytes();
    if !is_broken(number) {
        return good;
    }
    match number / BROKEN_EVERY % 5 {
        0 => good[..good.len() / 2].to_vec(),
        1 => b"{\"user\":\"\xff\xfe\"}".to_vec(),
        2 => "[".repeat(150).into_bytes(),
        3 => vec![b'x'; LONGEST * 20],
        _ => b"{\"a\": 10 20}".to_vec(),
    }
}

#[test]
#[ignore = "takes minutes; .ci/long runs it"]
fn two_hundred_thousand_lines_have_two_hundred_thousand_answers() {
    let home = tempfile::tempdir().unwrap();
    let good: Vec<u8> = (1..=300).filter(|&n| !is_broken(n)).flat_map(|n| [line(n), b"\n".to_vec()].concat()).collect();
    std::fs::write(home.path().join("good.jsonl"), good).unwrap();
    run(home.path(), "prepare good.jsonl --tokenizer bytes --out data").has(0, &[]);
    run(home.path(), &format!("train --data data --out run {SMALL} --steps 2 --device cpu")).has(0, &[]);
    let command = format!("score --model run - --device cpu --max-record-bytes {LONGEST} --batch 16 --top-fields 1");
    let mut child = logwright()
        .args(command.split_whitespace())
        .current_dir(home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        (1..=LINES).for_each(|number| stdin.write_all(&[line(number), b"\n".to_vec()].concat()).unwrap());
    });
    let (mut answers, mut errors, mut peak) = (0, 0, 0);
    for answer in BufReader::new(child.stdout.take().unwrap()).lines() {
        let answer: Value = serde_json::from_str(&answer.unwrap()).unwrap();
        answers += 1;
        assert_eq!(answer["record"], answers, "the answers are in order");
        assert_eq!(answer["error"].is_string(), is_broken(answers), "line {answers}: {answer}");
        errors += u64::from(answer["error"].is_string());
        if answers.is_multiple_of(1000) {
            peak = peak_memory(child.id()).unwrap_or(peak);
        }
    }
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!((answers, errors), (LINES, LINES / BROKEN_EVERY));
    println!("{answers} answers, {errors} of them errors, at most {} MiB", peak >> 20);
    assert!(0 < peak && peak < MEMORY, "{peak} bytes");
}

/// The most resident memory of a process so far, in bytes.
fn peak_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}
