//! What a person sees whose stdout and stderr are a terminal: tables instead of JSON, and how far the work is.

use crate::common::{SMALL, corpus, logwright, run};
use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;

/// Runs the program on a terminal of 100 columns; everything that appears there. It must succeed.
#[track_caller]
pub fn on_terminal(folder: &Path, line: &str) -> String {
    let (mut control, mut terminal) = (-1, -1);
    let size = libc::winsize { ws_row: 40, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: it writes two descriptors, and reads a size; no name and no attributes are asked for.
    let opened = unsafe { libc::openpty(&mut control, &mut terminal, std::ptr::null_mut(), std::ptr::null(), &size) };
    assert_eq!(opened, 0);
    // SAFETY: both were just opened, and nothing else has them.
    let (control, terminal) = unsafe { (OwnedFd::from_raw_fd(control), OwnedFd::from_raw_fd(terminal)) };
    let (out, err) = (Stdio::from(terminal.try_clone().unwrap()), Stdio::from(terminal));
    let mut command = logwright();
    command.args(line.split_whitespace()).current_dir(folder).env("TERM", "xterm").env("NO_COLOR", "1");
    let mut child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().unwrap();
    // It holds copies of the terminal, which ends with the last of them.
    drop(command);
    let mut seen = Vec::new();
    let mut piece = [0; 4096];
    let mut control = File::from(control);
    while let Ok(n @ 1..) = control.read(&mut piece) {
        seen.extend_from_slice(&piece[..n]);
    }
    let seen = String::from_utf8_lossy(&seen).into_owned();
    assert!(child.wait().unwrap().success(), "{line}: {seen}");
    seen
}

#[test]
fn a_terminal_gets_tables_and_progress_and_a_pipe_gets_json() {
    let home = corpus(80, "--tokenizer bytes");
    let small = SMALL.replace("--context 48", "--context 16");
    run(home.path(), &format!("train --data data --out run {small} --steps 2")).has(0, &[]);
    let known = "known-good add --model run --path location --value AU --reason office";
    let seen = on_terminal(home.path(), known);
    assert!(seen.contains("location = AU  office") && seen.contains("next: "), "{seen}");
    let bench = "bench train --layers 1 --heads 1 --channels 8 --context 8 --vocab 8 --batch 1 --steps 1";
    let dry = "prepare corpus.jsonl --pseudonymise --key-file key --dry-run";
    let cases = [
        (dry, &["class", "most frequent", "next: "][..]),
        ("score --model run --calibrate corpus.jsonl", &["false positives at most  0.1 %", "next: "]),
        ("evaluate --model run --data data", &["Loss, nats per token", "real, held out", "next: "]),
        ("known-good list --model run", &["location = AU  office", "next: "]),
        (bench, &["median step", "next: "]),
    ];
    for (line, parts) in cases {
        let seen = on_terminal(home.path(), line);
        for part in parts {
            assert!(seen.contains(part), "{line}: {part} in {seen}");
        }
        assert!(!seen.contains("\":"), "{line}: {seen}");
        let forced = on_terminal(home.path(), &format!("{line} --json"));
        assert!(forced.contains("\":"), "{line} --json: {forced}");
        let piped = run(home.path(), line);
        piped.has(0, &["next: "]);
        assert!(serde_json::from_str::<serde_json::Value>(&piped.out).is_ok(), "{line}: {}", piped.out);
    }
    let seen = on_terminal(home.path(), "evaluate --model run --data data");
    assert!(seen.contains("sequences") && seen.matches("ETA").count() > 0, "{seen}");
}

#[test]
fn work_on_files_shows_how_far_it_is() {
    let home = corpus(60, "--tokenizer bytes");
    run(home.path(), &format!("train --data data --out run {SMALL} --steps 2")).has(0, &[]);
    let seen = on_terminal(home.path(), "score --model run --calibrate corpus.jsonl");
    assert!(seen.contains("/60 records") && seen.contains("ETA"), "{seen}");
    let seen = on_terminal(home.path(), "score --model run corpus.jsonl --only-anomalies");
    assert!(seen.contains("/60 records") && seen.contains("ETA"), "{seen}");
    // Findings that pass by are their own progress.
    let seen = on_terminal(home.path(), "score --model run corpus.jsonl");
    assert!(!seen.contains("ETA"), "{seen}");
    // A run on a terminal has one time that is left, in its bar.
    let seen = on_terminal(home.path(), &format!("train --data data --out run2 {SMALL} --steps 3"));
    let (_, rest) = seen.split_once("step 3/3: loss").unwrap();
    assert!(!rest.lines().next().unwrap().contains("ETA") && seen.contains("ETA"), "{seen}");
}
