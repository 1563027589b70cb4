//! docs/files.md describes every member of every JSON that the program writes or prints.

use crate::common::{SMALL, corpus, run, text_of};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Members that hold what other formats or the logs themselves decide.
const OF_LOGS: [&str; 13] = [
    "by_class",
    "by_layout",
    "by_path",
    "common_layouts",
    "config",
    "faults",
    "gaps",
    "kept",
    "odd",
    "raw",
    "schema",
    "values",
    "words",
];

/// Adds the names of all members, but not what lies in those that `of_logs` names.
fn collect(value: &Value, of_logs: &[&str], found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                found.insert(name.clone());
                match value.as_object() {
                    Some(_) if of_logs.contains(&name.as_str()) => {}
                    // The normal records of a calibration, by path.
                    Some(by_path) if name == "paths" => {
                        by_path.values().for_each(|value| collect(value, of_logs, found))
                    }
                    _ => collect(value, of_logs, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, of_logs, found)),
        _ => {}
    }
}

/// Adds the members of a text that is JSON, or whose lines are.
fn collect_text(text: &str, of_logs: &[&str], found: &mut BTreeSet<String>) {
    match serde_json::from_str(text) {
        Ok(whole) => collect(&whole, of_logs, found),
        Err(_) => text.lines().for_each(|line| collect(&serde_json::from_str(line).unwrap(), of_logs, found)),
    }
}

/// Files and output of every command on a small corpus.
fn members() -> BTreeSet<String> {
    let home = corpus(300, "--prefix-field user=identity --canaries 2");
    let folder = home.path();
    fs::write(folder.join("broken.jsonl"), "{\"time\": \"2022-09-01T00:00:00Z\"}\n{\"a\n").unwrap();
    let mut found = BTreeSet::new();
    let mut print = |line: &str, of_logs: &[&str]| {
        let said = run(folder, &format!("{line} --threads 1"));
        said.has(0, &[]);
        collect_text(&said.out, of_logs, &mut found);
        said.out
    };
    let shape = "--layers 1 --heads 1 --channels 8 --context 8 --vocab 8 --batch 1 --device cpu";
    for line in [
        "prepare corpus.jsonl --out private --pseudonymise --key-file key",
        "prepare corpus.jsonl --out part --part 1/2",
        "prepare corpus.jsonl --pseudonymise --key-file key --dry-run",
        &format!("train --data data --out run {SMALL} --steps 2"),
        "score --model run corpus.jsonl --no-calibration",
        "score --model run --calibrate corpus.jsonl --fpr 0.05",
        "score --model run corpus.jsonl --with-record --keep time",
        "known-bad add --model run --path location --value AU --reason why",
        "score --model run corpus.jsonl broken.jsonl",
        "score --model run corpus.jsonl --alerts-per-day 100",
        "score --model run --calibrate corpus.jsonl --fpr 0.05 --group-by identity",
        "score --model run corpus.jsonl",
        "synth -n 300 --attacks 0.1 --labels labels.jsonl",
        &format!("bench train {shape} --steps 1"),
        &format!("bench generate {shape} --tokens 2"),
    ] {
        if !line.starts_with("synth") {
            print(line, &OF_LOGS);
        } else {
            fs::write(folder.join("attacks.jsonl"), run(folder, line).out).unwrap();
        }
    }
    let made = print("generate --model run -n 3 --max-tokens 900 --schema learned --format jsonl", &OF_LOGS);
    fs::write(folder.join("made.jsonl"), made).unwrap();
    let compare = "--generated made.jsonl --labelled attacks.jsonl --labels labels.jsonl --by location";
    print(&format!("evaluate --model run --data data {compare}"), &["faults"]);
    for file in [
        "data/meta.json",
        "data/records.json",
        "data/canaries.json",
        "private/pseudonyms.json",
        "part/part.json",
        "labels.jsonl",
        "run/metrics.jsonl",
        "run/calibration.json",
        "run/known.json",
        "run/last/train_state.json",
        "run/last/provenance.json",
    ] {
        collect_text(&text_of(&folder.join(file)), &OF_LOGS, &mut found);
    }
    let config: toml::Table = text_of(&folder.join("run/config.toml")).parse().unwrap();
    found.extend(config.keys().cloned());
    found
}

#[test]
fn every_member_is_described() {
    // What --by prints has a page of its own.
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let page: String = ["files.md", "evaluation.md"].map(|name| text_of(&docs.join(name))).concat();
    let named: BTreeSet<&str> = page.split('`').skip(1).step_by(2).flat_map(|code| code.split('.')).collect();
    let found = members();
    assert!(found.len() > 150, "{found:?}");
    let missing: Vec<&String> = found.iter().filter(|name| !named.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "docs/files.md does not describe {missing:?}");
}
