//! The last line of each command says what to do next, and that works as it is printed.

use crate::common::{SMALL, Said, corpus, run};
use std::path::Path;
use std::process::Command;

/// Runs a line of a shell that knows the program as `logwright`.
fn shell(folder: &Path, line: &str) -> Said {
    let program = Path::new(env!("CARGO_BIN_EXE_logwright")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    Command::new("bash").args(["-c", line]).env("PATH", path).current_dir(folder).output().unwrap().into()
}

/// The steps that a command proposes.
fn proposed(said: &Said) -> Vec<String> {
    let steps: Vec<String> =
        said.err.lines().filter_map(|line| line.split_once(" next: ")).map(|(_, step)| step.into()).collect();
    assert!(said.err.trim_end().lines().last().is_some_and(|last| last.contains(" next: ")), "{}", said.err);
    steps
}

/// A folder with logs, a data folder and a model with its calibration.
fn home() -> tempfile::TempDir {
    let home = corpus(80, "--tokenizer bytes");
    run(home.path(), &format!("train --data data --out run {SMALL} --steps 2")).has(0, &[]);
    run(home.path(), "score --model run --calibrate corpus.jsonl").has(0, &[]);
    home
}

/// Runs what a command proposes, with a file or folder for each word in capitals and few steps or records.
#[track_caller]
fn follow(home: &Path, step: &str) {
    let (command, _) = step.split_once("  # ").unwrap_or_else(|| panic!("no command: {step}"));
    let mut line = command.to_string();
    for (word, there) in [("NORMAL", "corpus.jsonl"), ("NEW", "corpus.jsonl"), ("DATA", "data"), ("RUN", "run")] {
        line = line.replace(word, there);
    }
    let value = if line.contains("known-bad") { "AQ" } else { "AU" };
    line = line.replace("PATH", "location").replace("VALUE", value).replace("WHY", "office");
    // A model of two steps ends no record.
    line = line.replace("-n 1000", "-n 2").replace("-n 20", "-n 2");
    let few = [
        ("logwright train", format!(" {SMALL} --steps 4")),
        ("logwright generate", " --max-tokens 5 --format jsonl".into()),
    ];
    let mut parts: Vec<String> = line.split(" && ").map(String::from).collect();
    for part in &mut parts {
        let Some((_, flags)) = few.iter().find(|(command, _)| part.starts_with(command)) else { continue };
        *part = match part.split_once(" > ") {
            Some((before, file)) => format!("{before}{flags} > {file}"),
            None => format!("{part}{flags}"),
        };
    }
    let said = shell(home, &parts.join(" && "));
    assert_eq!(said.code, 0, "{step}: {}", said.err);
}

#[test]
fn every_command_leads_on_by_a_command_that_works() {
    let home = home();
    let generated = "logwright generate --model run -n 2 --max-tokens 5 --format jsonl > new.jsonl";
    let added = "logwright known-good add --model run --path location --value DE --reason office";
    let train = format!("logwright train --data data --out 'other run' {SMALL} --steps 2");
    for line in [
        "logwright synth -n 20 > made.jsonl",
        "logwright prepare corpus.jsonl --out tokens",
        "logwright prepare corpus.jsonl --out week2 --tokenizer-from run",
        "logwright prepare corpus.jsonl --out private --pseudonymise --key-file key --write-records shareable.jsonl",
        &train,
        generated,
        "logwright evaluate --model run --data data",
        "logwright evaluate --model run --text corpus.jsonl",
        "logwright score --model run --recalibrate corpus.jsonl",
        "logwright score --model run corpus.jsonl",
        "logwright score --model run corpus.jsonl --no-calibration",
        added,
        "logwright known-good list --model run",
        "logwright known-bad list --model run",
        "logwright bench --roofline --gpu a100",
    ] {
        let said = shell(home.path(), line);
        let steps = proposed(said.has(0, &[]));
        // What only a GPU does cannot be tried here.
        steps.iter().filter(|step| !step.contains("--device cuda")).for_each(|step| follow(home.path(), step));
    }
    let report = shell(home.path(), "logwright evaluate --model run --data data --report report");
    assert_eq!(proposed(&report), ["open report/evaluation.html in a browser"]);
    let page = shell(home.path(), "logwright score --model run corpus.jsonl --explain-html odd.html");
    assert_eq!(proposed(&page), ["open odd.html in a browser"]);
    let doctor = shell(home.path(), "logwright doctor");
    assert!(
        proposed(&doctor)[0].starts_with("logwright demo  #") && doctor.out.contains("\nready     on "),
        "{}",
        doctor.out
    );
}

#[test]
fn a_pipeline_is_not_told_what_comes_next() {
    let home = home();
    for line in [
        "logwright synth -n 3 | cat",
        "cat corpus.jsonl | logwright score --model run",
        "logwright generate --model run -n 2 --max-tokens 5 --format jsonl | cat",
    ] {
        let said = shell(home.path(), line);
        assert!(!said.has(0, &[]).err.contains("next: "), "{line}: {}", said.err);
    }
}
