//! Generation conditioned on an attack technique, judged by Sigma rules: does a record that was asked for carry the fields of
//! that technique? One rule a technique in `tests/cli/sigma/`, named after it.

use crate::common::{logwright, real_logs, sampled_logs, text_of};
use crate::sigma_rule::Rule;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Techniques with their rules.
fn rules() -> BTreeMap<String, Rule> {
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/sigma")).unwrap();
    let rule = |path: std::path::PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.file_stem().unwrap().to_string_lossy().into_owned(), Rule::from_yaml(&text))
    };
    files.map(|file| rule(file.unwrap().path())).collect()
}

fn technique(record: &str) -> String {
    serde_json::from_str::<Value>(record).unwrap()["technique"].as_str().unwrap().to_string()
}

/// Of the records, the share that each rule matches.
fn share<'a>(rule: &Rule, records: impl Iterator<Item = &'a str>) -> f64 {
    let (mut found, mut all) = (0, 0);
    for record in records {
        all += 1;
        found += usize::from(serde_json::from_str(record).is_ok_and(|event| rule.is_match(&event)));
    }
    found as f64 / all.max(1) as f64
}

#[test]
fn rules_match_what_they_describe_and_nothing_else() {
    let rules = rules();
    assert_eq!(rules.len(), 8);
    let read = json!({"event": {"eventSource": "ec2.amazonaws.com", "eventName": "GetPasswordData",
        "requestParameters": {"instanceId": "i-1"}}});
    let of = |record: &Value| -> Vec<&str> {
        rules.iter().filter(|(_, rule)| rule.is_match(record)).map(|(name, _)| name.as_str()).collect()
    };
    assert_eq!(of(&read), ["aws.credential-access.ec2-get-password-data"]);
    let mut other = read.clone();
    other["event"]["eventName"] = "DescribeVpcs".into();
    assert_eq!(of(&other), [""; 0]);
}

/// The yardstick: real records of a technique. (A few of each are preparations, such as AssumeRole.)
fn rules_match_their_technique(logs: &Path) {
    let text = text_of(logs);
    for (name, rule) in rules() {
        let own = share(&rule, text.lines().filter(|line| technique(line) == name));
        let others = share(&rule, text.lines().filter(|line| technique(line) != name));
        assert!(own >= 0.75 && others < 0.5, "{name}: {own} {others}");
    }
}

#[test]
fn rules_match_sampled_records_of_their_technique() {
    rules_match_their_technique(&sampled_logs("stratus.jsonl.gz"));
}

#[test]
#[cfg_attr(not(real_logs), ignore = "needs the real logs (CONTRIBUTING.md)")]
fn rules_match_real_records_of_their_technique() {
    rules_match_their_technique(&real_logs("stratus/detonation_cloudtrail.jsonl.gz"));
}

/// Runs the program, its messages to the terminal; its standard output.
fn done(folder: &Path, line: &str) -> String {
    let mut program = logwright();
    program.args(line.split_whitespace()).current_dir(folder).stderr(std::process::Stdio::inherit());
    let output = program.output().unwrap();
    assert!(output.status.success(), "logwright {line}");
    String::from_utf8(output.stdout).unwrap()
}

/// Everyday events (with a few attacks among them, unlabelled), then training further on labelled attacks with replay.
fn train(home: &Path, everyday: &Path, attacks: &Path) {
    let wrap = |line: &str| format!("{{\"technique\": \"none\", \"event\": {line}}}\n");
    let (everyday, attacks) = (text_of(everyday).lines().map(wrap).collect::<String>(), text_of(attacks));
    fs::create_dir_all(home).unwrap();
    fs::write(home.join("both.jsonl"), [everyday.as_str(), &attacks].concat()).unwrap();
    fs::write(home.join("everyday.jsonl"), everyday).unwrap();
    fs::write(home.join("attacks.jsonl"), attacks).unwrap();
    // The tokenizer and its prefix come from all of it; the small validation split leaves the rare techniques in training.
    let prefix = "--prefix-field technique=technique --split random --val-fraction 0.05 --overwrite";
    done(home, &format!("prepare both.jsonl --out both {prefix}"));
    for name in ["everyday", "attacks"] {
        done(home, &format!("prepare {name}.jsonl --out {name} --tokenizer-from both {prefix}"));
    }
    let model = "--layers 4 --heads 4 --channels 256 --context 512 --batch 4 --eval-every 100";
    done(home, &format!("train --data everyday --out base {model} --steps 400 --learning-rate 1e-3"));
    let further = "--init-from base/last --replay everyday --replay-share 0.2 --batch 4 --eval-every 100";
    done(home, &format!("train --data attacks --out run {further} --steps 600 --learning-rate 1e-3"));
}

/// The whole way on real logs. A small model's free records seldom parse, so they keep to the learnt schema, which knows no
/// technique. The model is kept in `CARGO_TARGET_TMPDIR`: delete it to train anew.
#[test]
#[ignore = "takes a quarter of an hour; run with --ignored --nocapture, the table goes to stdout"]
fn generated_records_carry_the_technique_that_was_asked_for() {
    let everyday = real_logs("cloudtrail/cloudtrail.jsonl.gz");
    let attacks = real_logs("stratus/detonation_cloudtrail.jsonl.gz");
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sigma");
    if !home.join("run/last").exists() {
        train(&home, &everyday, &attacks);
    }
    let generate = "generate --model run/last --schema learned --max-tokens 1500 --only-valid";
    println!("| technique | real records | asked for it | not asked | asked, whole records |\n|---|---|---|---|---|");
    let unasked = done(&home, &format!("{generate} -n 60"));
    let real = text_of(&attacks);
    let mut more = 0;
    for (name, rule) in rules() {
        let real = share(&rule, real.lines().filter(|line| technique(line) == name));
        let asked = done(&home, &format!("{generate} -n 30 --where technique={name}"));
        let (found, base) = (share(&rule, asked.lines()), share(&rule, unasked.lines()));
        println!("| {name} | {real:.2} | {found:.2} | {base:.2} | {} of 30 |", asked.lines().count());
        more += usize::from(found > base);
    }
    assert_eq!(more, 8, "asking for a technique makes its records more frequent");
}
