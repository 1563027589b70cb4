//! Every numeric flag of every command, and every setting of a TOML file, with numbers at and beyond all bounds: the program
//! ends in moments, in bounded memory, with exit code 0, 1 or 2, or is at work on what was asked.

use crate::common::{SMALL, corpus, run};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Address space of the program in KiB: 4 GiB.
const MEMORY: u64 = 4 << 20;

/// After this time a number that asks for much work is at work, and is stopped.
const PATIENCE: Duration = Duration::from_millis(300);

/// The names of values in help texts that are not numbers.
const WORDS: [&str; 31] = [
    "ADDRESS",
    "BOOL",
    "CHAR",
    "DATA",
    "DATE",
    "DEVICE",
    "FIELD",
    "FILE",
    "FILE|learned",
    "FOLDER",
    "FORMAT",
    "HF_FOLDER",
    "HOW",
    "I/N",
    "KIND",
    "LEVEL",
    "MODE",
    "NAME",
    "NAME=VALUE",
    "OLD_DATA",
    "PART",
    "PATH",
    "REGEX",
    "RUN",
    "SCHEDULE",
    "SCHEMA",
    "TEXT",
    "TIME",
    "WHAT",
    "WHEN",
    "WINDOWS",
];

/// The numeric flags that the help of a command lists.
fn numeric_flags(help: &str) -> Vec<String> {
    let mut flags = Vec::new();
    for line in help.lines().map(str::trim_start).filter(|line| line.starts_with('-')) {
        let Some((flag, rest)) = line.split_once(" <") else { continue };
        let value = rest.split('>').next().unwrap();
        if !WORDS.contains(&value) {
            flags.push(flag.split(", ").last().unwrap().to_string());
        }
    }
    flags
}

/// Runs a command in bounded memory; None if it is still at work when the patience ends. Output goes to a file, of which there
/// may be much.
fn outcome(folder: &Path, line: &str, patience: Duration) -> Option<(i32, String)> {
    let said = tempfile::NamedTempFile::new().unwrap();
    let script = format!("ulimit -v {MEMORY}; exec {} {line} --threads 1", env!("CARGO_BIN_EXE_logwright"));
    let mut child = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(said.path()).unwrap())
        .spawn()
        .unwrap();
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some((status.code().unwrap_or(-1), fs::read_to_string(said.path()).unwrap()));
        }
        if started.elapsed() > patience {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Requires a proper end. A number below 1000 is no work; it must end, however slow the machine is.
fn require(folder: &Path, line: &str, number: &str) -> String {
    let much = number.parse::<f64>().is_ok_and(|number| number >= 1000.0);
    let ended = outcome(folder, line, if much { PATIENCE } else { Duration::from_secs(60) });
    let Some((code, said)) = ended else {
        assert!(much, "{line}: still at work");
        return String::new();
    };
    let proper = (0..=2).contains(&code) && !said.contains("panicked") && !said.contains("memory allocation");
    assert!(proper, "{line}: exit code {code}: {said}");
    // Only the parser knows a flag that it refuses; what the program refuses must say why.
    assert!(code == 0 || said.len() > 20, "{line}: exit code {code}: {said}");
    said
}

/// The largest number that an error of the parser allows: `from 1 to 16384`, `1..=1024`.
fn bound(said: &str) -> Option<u64> {
    let (_, rest) =
        said.split_once(" from ").and_then(|(_, rest)| rest.split_once(" to ")).or(said.split_once("..="))?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

const NUMBERS: [&str; 9] =
    ["0", "1", "-1", "NaN", "inf", "1e400", "1000000000000", "18446744073709551615", "18446744073709551616"];

/// Tries all numbers with every numeric flag of `command`, which `line` runs; `needs` are what single flags require besides.
fn try_all(folder: &Path, command: &str, line: &str, needs: &BTreeMap<&str, &str>) {
    let help = run(folder, &format!("{command} --help"));
    help.has(0, &[]);
    let flags = numeric_flags(&help.out);
    assert!(flags.iter().any(|flag| flag == "--threads"), "{flags:?}");
    for (i, flag) in flags.iter().enumerate() {
        let needs = needs.get(flag.as_str()).unwrap_or(&"");
        let with = |number: &str| format!("{} {needs} {flag} {number}", line.replace('#', &i.to_string()));
        let mut said = String::new();
        for number in NUMBERS {
            clear(folder);
            said = require(folder, &with(number), number);
            assert!(number != "NaN" || said.contains(flag.as_str()), "{flag} takes NaN, or is not named: {said}");
        }
        let most = bound(&said).map(|most| [most, most + 1]).into_iter().flatten();
        for number in most.map(|number| number.to_string()) {
            clear(folder);
            require(folder, &with(&number), &number);
        }
    }
}

/// Removes what the last command wrote.
fn clear(folder: &Path) {
    for name in ["out", "demo"] {
        fs::remove_dir_all(folder.join(name)).ok();
    }
}

#[test]
fn numbers_of_prepare_and_synth() {
    let home = corpus(30, "--tokenizer bytes");
    try_all(
        home.path(),
        "prepare",
        "prepare corpus.jsonl --out out --tokenizer bytes",
        &BTreeMap::from([("--vocab-size", "--tokenizer bpe")]),
    );
    try_all(home.path(), "synth", "synth -n 2", &BTreeMap::new());
}

#[test]
fn numbers_of_train() {
    let home = corpus(30, "--tokenizer bytes");
    try_all(home.path(), "train", &format!("train --data data --out out {SMALL} --steps 1"), &BTreeMap::new());
}

#[test]
fn numbers_of_settings_in_a_file() {
    let home = corpus(30, "--tokenizer bytes");
    let train = format!("train --data data --out out {SMALL}");
    run(home.path(), &format!("{train} --steps 1")).has(0, &[]);
    let saved = fs::read_to_string(home.path().join("out/config.toml")).unwrap();
    let keys = saved.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key.to_string());
    let values = [
        "0",
        "-1",
        "nan",
        "-inf",
        "1e400",
        "1e30",
        "9223372036854775807",
        "18446744073709551616",
        "true",
        "\"x\"",
        "[[]]",
    ];
    for key in keys.collect::<Vec<_>>() {
        for value in values {
            clear(home.path());
            let mut text: String = saved
                .lines()
                .filter(|line| !line.starts_with(&format!("{key} = ")))
                .fold(String::new(), |text, line| text + line + "\n");
            text += &format!("{key} = {value}\n");
            fs::write(home.path().join("my.toml"), text).unwrap();
            require(home.path(), "train --data data --out out --config my.toml", "1000");
        }
    }
}

#[test]
fn numbers_of_what_reads_a_model() {
    let home = corpus(30, "--tokenizer bytes");
    run(home.path(), &format!("train --data data --out run {SMALL} --steps 1")).has(0, &[]);
    let few = fs::read_to_string(home.path().join("corpus.jsonl"))
        .unwrap()
        .lines()
        .take(3)
        .fold(String::new(), |text, line| text + line + "\n");
    fs::write(home.path().join("few.jsonl"), few).unwrap();
    try_all(home.path(), "generate", "generate --model run --max-tokens 3", &BTreeMap::new());
    try_all(
        home.path(),
        "evaluate",
        "evaluate --model run --data data",
        &BTreeMap::from([("--fpr", "--labelled few.jsonl --label-field resultType")]),
    );
    let needs = [
        ("--fpr", "--calibrate few.jsonl"),
        ("--top-k", "--aggregate top-k"),
        ("--explain-limit", "--explain-html page.html"),
        ("--alerts-per-day", "--calibrate few.jsonl"),
        ("--alert-quiet", "--calibrate few.jsonl --alerts-per-day 9"),
        ("--group-window", "--group-by identity"),
        ("--group-open", "--group-by identity"),
        ("--group-seconds", "--group-by identity --time-field time"),
    ];
    try_all(home.path(), "score", "score --model run few.jsonl", &BTreeMap::from(needs));
    // Without a model it ends as soon as it has read its flags.
    #[cfg(feature = "serve")]
    try_all(home.path(), "serve", "serve --model none --listen 127.0.0.1:0", &BTreeMap::new());
}

#[test]
fn numbers_of_bench_and_demo() {
    let home = tempfile::tempdir().unwrap();
    let shape = "--layers 1 --heads 1 --channels 8 --context 8 --vocab 8 --batch 1";
    try_all(
        home.path(),
        "bench train",
        &format!("bench train {shape} --device cpu --steps 1 --warmup 0"),
        &BTreeMap::new(),
    );
    try_all(
        home.path(),
        "bench generate",
        &format!("bench generate {shape} --device cpu --tokens 2"),
        &BTreeMap::new(),
    );
    try_all(home.path(), "bench kernels", &format!("bench kernels {shape} --device cpu"), &BTreeMap::new());
    try_all(home.path(), "bench", &format!("bench --roofline --gpu a100 {shape}"), &BTreeMap::new());
    try_all(home.path(), "doctor", "doctor", &BTreeMap::new());
    try_all(
        home.path(),
        "demo",
        "demo --out demo --records 100 --steps 1 --samples 1 --vocab-size 300 --device cpu",
        &BTreeMap::new(),
    );
}

/// A reader of the output that leaves ends a command that was asked for a great deal.
#[test]
fn a_great_number_of_records_is_made_one_by_one() {
    let home = corpus(30, "--tokenizer bytes");
    run(home.path(), &format!("train --data data --out run {SMALL} --steps 1")).has(0, &[]);
    for line in ["synth -n 18446744073709551615", "generate --model run -n 1000000000000 --max-tokens 3"] {
        let script = format!(
            "ulimit -v {MEMORY}; {} {line} | head -n 2 | wc -l; exit ${{PIPESTATUS[0]}}",
            env!("CARGO_BIN_EXE_logwright")
        );
        let output = Command::new("bash").args(["-c", &script]).current_dir(home.path()).output().unwrap();
        assert_eq!(
            (output.status.code(), &output.stdout[..]),
            (Some(0), &b"2\n"[..]),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
