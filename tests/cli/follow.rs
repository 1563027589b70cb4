//! `logwright score --follow`: rotations, truncations, restarts.

use crate::common::{Lines, Said, run};
use crate::score::{lines, own, start};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

#[test]
fn a_growing_file_is_followed_over_rotations_until_interrupted() {
    let home = own();
    let text = std::fs::read_to_string(home.path().join("corpus.jsonl")).unwrap();
    let records: Vec<&str> = text.lines().take(6).collect();
    let log = home.path().join("app.log");
    std::fs::write(&log, format!("{}\n{}", records[0], &records[1][..40])).unwrap();
    let mut child = start(home.path(), "score --model run app.log --follow");
    let lines = Lines::of(&mut child);
    let append = |path: &Path, text: &str| {
        std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    };
    assert_eq!(lines.next()["record"], 1);
    append(&log, &format!("{}\n", &records[1][40..]));
    let second = lines.next();
    assert_eq!((&second["record"], second.get("error")), (&2.into(), None), "a line in two pieces is one");
    std::fs::rename(&log, home.path().join("app.log.1")).unwrap();
    append(&home.path().join("app.log.1"), &format!("{}\n", records[2]));
    std::fs::write(&log, format!("{}\n", records[3])).unwrap();
    assert_eq!([lines.next(), lines.next()].map(|line| line["record"].as_u64().unwrap()), [3, 4]);
    std::fs::File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    append(&log, &format!("{}\n", records[4]));
    let fifth = lines.next();
    assert_eq!((&fifth["record"], fifth.get("error")), (&5.into(), None));
    // SAFETY: the child is running, and a signal does nothing to this process.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGINT) }, 0);
    let begin = Instant::now();
    let said = Said::from(child.wait_with_output().unwrap());
    said.has(0, &["5 records", "the file was replaced", "the file was truncated"]);
    assert!(begin.elapsed() < Duration::from_secs(10));
}

fn records(home: &Path) -> Vec<String> {
    fs::read_to_string(home.join("corpus.jsonl")).unwrap().lines().map(|line| format!("{line}\n")).collect()
}

fn append(path: &Path, lines: &[String]) {
    fs::OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(lines.concat().as_bytes()).unwrap();
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: the child is running, and a signal does nothing to this process.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
}

/// Sends Ctrl-C and returns what the program says.
fn interrupted(child: Child) -> Said {
    signal(&child, libc::SIGINT);
    child.wait_with_output().unwrap().into()
}

/// The numbers of the next records, none of which may be broken.
#[track_caller]
fn numbers(lines: &Lines, count: usize) -> Vec<u64> {
    let whole = |line: Value| {
        assert!(line.get("error").is_none(), "{line}");
        line["record"].as_u64().unwrap()
    };
    (0..count).map(|_| whole(lines.next())).collect()
}

/// Nobody reads the verdicts until all is written, so the program is far behind when files are renamed and removed.
#[test]
fn a_reader_that_is_behind_holds_each_rotated_file() {
    let home = own();
    let (log, all) = (home.path().join("app.log"), records(home.path()));
    append(&log, &all[..60]);
    let mut child = start(home.path(), "score --model run app.log --follow --top-fields 0");
    for part in 1..5 {
        std::thread::sleep(Duration::from_millis(300));
        fs::rename(&log, home.path().join("app.log.1")).unwrap();
        append(&log, &all[60 * part..60 * part + 60]);
        if part == 2 {
            fs::remove_file(home.path().join("app.log.1")).unwrap();
        }
    }
    let lines = Lines::of(&mut child);
    assert_eq!(numbers(&lines, 300), (1..=300).collect::<Vec<_>>());
    interrupted(child).has(0, &["300 records"]);
}

/// Stopped, the program looks as if two rotations fell between two of its looks.
#[test]
fn files_that_came_and_went_between_two_looks_are_read_in_order() {
    let home = own();
    let (log, all) = (home.path().join("app.log"), records(home.path()));
    append(&log, &all[..1]);
    // Not a file of this log's past.
    append(&home.path().join("app.log.7"), &all[9..10]);
    let mut child = start(home.path(), "score --model run app.log --follow");
    let lines = Lines::of(&mut child);
    assert_eq!(numbers(&lines, 1), [1]);
    signal(&child, libc::SIGSTOP);
    append(&log, &all[1..2]);
    fs::rename(&log, home.path().join("app.log.2")).unwrap();
    append(&home.path().join("app.log.1"), &all[2..4]);
    append(&log, &all[4..5]);
    signal(&child, libc::SIGCONT);
    assert_eq!(numbers(&lines, 4), [2, 3, 4, 5]);
    // What truncation took before it was read is in its copy.
    signal(&child, libc::SIGSTOP);
    append(&log, &all[5..7]);
    fs::copy(&log, home.path().join("app.log.0")).unwrap();
    fs::write(&log, &all[7]).unwrap();
    signal(&child, libc::SIGCONT);
    assert_eq!(numbers(&lines, 3), [6, 7, 8]);
    interrupted(child).has(0, &["the file was truncated"]);
}

/// Truncations while the program is behind, because nobody reads its answers: the copy is read, or the loss is told. The lines are
/// long and no records, which costs little.
#[test]
fn what_a_truncation_took_is_read_from_its_copy_or_told() {
    const LINES: usize = 3000;
    for copied in [true, false] {
        let home = own();
        let (log, all) = (home.path().join("app.log"), records(home.path()));
        append(&log, &[all[0].clone(), ("x".repeat(1000) + "\n").repeat(LINES)]);
        let mut child = start(home.path(), "score --model run app.log --follow");
        // It has filled the pipe and waits for a reader.
        std::thread::sleep(Duration::from_millis(1500));
        if copied {
            fs::copy(&log, home.path().join("app.log.1")).unwrap();
        }
        fs::write(&log, &all[1]).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let lines = Lines::of(&mut child);
        let answers: Vec<String> = std::iter::from_fn(|| lines.0.recv_timeout(Duration::from_secs(3)).ok()).collect();
        let last: Value = serde_json::from_str(answers.last().unwrap()).unwrap();
        assert!(last["score"].is_number() && last["record"] == answers.len(), "{last}");
        assert_eq!(answers.len() == LINES + 2, copied, "{} answers", answers.len());
        let said = interrupted(child);
        let told = said.has(0, &["the file was truncated"]).err.contains("bytes are lost");
        assert_eq!(told, !copied, "{}", said.err);
    }
}

#[test]
fn a_restart_resumes_behind_what_was_answered_also_after_a_rotation() {
    let home = own();
    let (log, all) = (home.path().join("app.log"), records(home.path()));
    let follow = || start(home.path(), "score --model run app.log --follow --state app.state");
    append(&log, &all[..3]);
    append(&log, &[all[3][..50].to_string()]);
    let mut child = follow();
    assert_eq!(numbers(&Lines::of(&mut child), 3), [1, 2, 3]);
    interrupted(child).has(0, &["3 records"]);
    // The same file, and its line that was not finished.
    append(&log, &[all[3][50..].to_string(), all[4].clone()]);
    let mut child = follow();
    assert_eq!(numbers(&Lines::of(&mut child), 2), [4, 5]);
    std::thread::sleep(Duration::from_millis(600));
    child.kill().unwrap();
    child.wait().unwrap();
    // Rotated twice meanwhile.
    append(&log, &all[5..6]);
    fs::rename(&log, home.path().join("app.log.2")).unwrap();
    append(&home.path().join("app.log.1"), &all[6..8]);
    append(&log, &all[8..9]);
    let mut child = follow();
    assert_eq!(numbers(&Lines::of(&mut child), 4), [6, 7, 8, 9]);
    interrupted(child).has(0, &["reading resumes in the old one"]);
    // Gone: said, and the present file is read.
    fs::write(&log, &all[10]).unwrap();
    let mut child = follow();
    assert_eq!(numbers(&Lines::of(&mut child), 1), [10]);
    interrupted(child).has(0, &["the file that the state names is gone"]);
}

/// No newline has to come for an object to be whole.
#[test]
fn objects_of_a_growing_file_may_stand_in_any_arrangement() {
    let home = own();
    let (log, all) = (home.path().join("app.log"), records(home.path()));
    let [a, b, c] = [0, 1, 2].map(|i| all[i].trim_end().to_string());
    append(&log, &[a.clone() + &b]);
    let mut child = start(home.path(), "score --model run app.log --follow --state app.state");
    let lines = Lines::of(&mut child);
    assert_eq!(numbers(&lines, 2), [1, 2]);
    append(&log, &[c[..30].to_string()]);
    std::thread::sleep(Duration::from_millis(100));
    append(&log, &[c[30..].to_string() + "\n{\"Records\":[" + &a + "," + &b + "]}"]);
    assert_eq!(numbers(&lines, 3), [3, 4, 5]);
    interrupted(child).has(0, &["5 records"]);
    // Records of a wrapper are answered again together.
    let mut child = start(home.path(), "score --model run app.log --follow --state app.state");
    assert_eq!(numbers(&Lines::of(&mut child), 2), [4, 5]);
    interrupted(child).has(0, &[]);
}

/// Nothing says that a stack trace is complete but that nothing follows.
#[test]
fn an_event_of_several_lines_is_answered_when_nothing_follows_for_a_while() {
    let home = own();
    let log = home.path().join("app.log");
    append(&log, &["2024-03-01 a\n\tb\n".to_string()]);
    let mut child = start(home.path(), "score --model run app.log --follow --record-start=^2024");
    let lines = Lines::of(&mut child);
    let first = lines.next();
    assert_eq!((&first["record"], first["error"].is_string()), (&1.into(), true), "{first}");
    append(&log, &["2024-03-01 c\n".to_string()]);
    assert_eq!(lines.next()["record"], 2);
    interrupted(child).has(0, &["2 records"]);
}

#[test]
fn a_kill_repeats_records_and_loses_none() {
    let home = own();
    let (log, all) = (home.path().join("app.log"), records(home.path()));
    append(&log, &all[..100]);
    let mut seen = vec![0; 101];
    for round in 0..4 {
        let mut child = start(home.path(), "score --model run app.log --follow --state app.state");
        let lines = Lines::of(&mut child);
        for number in numbers(&lines, if round == 3 { 1 } else { 20 }) {
            seen[number as usize] += 1;
        }
        while round == 3 && seen[100] == 0 {
            seen[numbers(&lines, 1)[0] as usize] += 1;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Answers that were in the pipe were given as well.
        while let Ok(line) = lines.0.recv_timeout(Duration::from_secs(5)) {
            // The last one may be cut.
            let Ok(line) = serde_json::from_str::<Value>(&line) else { continue };
            seen[line["record"].as_u64().unwrap() as usize] += 1;
        }
    }
    assert!(seen[1..].iter().all(|&count| count > 0), "{seen:?}");
}

#[test]
fn a_state_that_does_not_belong_is_refused() {
    let home = own();
    let log = home.path().join("app.log");
    append(&log, &records(home.path())[..1]);
    let state = home.path().join("app.state");
    let mut child = start(home.path(), "score --model run app.log --follow --state app.state");
    assert_eq!(numbers(&Lines::of(&mut child), 1), [1]);
    interrupted(child);
    let whole = fs::read_to_string(&state).unwrap();
    for (text, log, code, part) in [
        (whole.clone(), "corpus.jsonl", 2, "it belongs to a file named app.log, not corpus.jsonl"),
        ("{}".into(), "app.log", 1, "expected the state of a followed file"),
        (whole.replace("\"version\":1", "\"version\":9"), "app.log", 1, "found version 9"),
    ] {
        fs::write(&state, text).unwrap();
        run(home.path(), &format!("score --model run {log} --follow --state app.state"))
            .has(code, &[part, "remove the file"]);
    }
    run(home.path(), "score --model run app.log --state app.state").has(2, &["--follow"]);
    run(home.path(), "score --model run app.log --follow --state s --group-by identity").has(2, &["open sessions"]);
    assert!(lines(&run(home.path(), "score --model run app.log")).len() == 1);
}
