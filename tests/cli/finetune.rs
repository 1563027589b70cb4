//! Training a model further on new logs: what it keeps, what it refuses; and the fields it can be asked by.

use crate::common::{SMALL, corpus, losses, run};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Lines that share nothing with the built-in log source but their bytes.
fn other_lines(n: usize) -> String {
    (0..n).map(|i| format!("<{i}> kernel: eth0 link up, {} packets\n", i * 37 % 101)).collect()
}

/// A model trained on the built-in log source in `first`, its data in `data`, other data in `new`.
fn trained() -> tempfile::TempDir {
    let home = corpus(100, "--tokenizer bytes");
    fs::write(home.path().join("new.log"), other_lines(200)).unwrap();
    run(home.path(), "prepare new.log --out new --tokenizer-from data").has(0, &[]);
    run(home.path(), &format!("train --data data --out first {SMALL} --steps 150 --learning-rate 1e-2")).has(0, &[]);
    home
}

fn loss(folder: &Path, model: &str) -> f64 {
    let said = run(folder, &format!("evaluate --model {model} --data data"));
    serde_json::from_str::<Value>(&said.out).unwrap()["loss"].as_f64().unwrap()
}

#[test]
fn replay_keeps_what_was_known() {
    let home = trained();
    let flags = "--data new --init-from first --batch 4 --eval-windows 0 --steps 100 --learning-rate 1e-2 --warmup 2";
    run(home.path(), &format!("train {flags} --out forgetful")).has(0, &[]);
    let said = run(home.path(), &format!("train {flags} --out keeping --replay data --replay-share 0.5"));
    said.has(0, &["val loss", "on old data"]);
    let [before, without, with] = ["first", "forgetful/last", "keeping/last"].map(|model| loss(home.path(), model));
    assert!(without > before + 0.5, "another kind of logs makes it forget: {before} {without}");
    assert!(with < before + 0.2, "replay does not let it: {before} {with} {without}");
    let last: Value = last_line(&home.path().join("keeping/metrics.jsonl"));
    let told = last["replay_val_loss"].as_f64().unwrap();
    assert!((told - with).abs() < 1e-6, "what training says is what evaluate finds: {told} {with}");
}

fn last_line(path: &Path) -> Value {
    serde_json::from_str(fs::read_to_string(path).unwrap().lines().last().unwrap()).unwrap()
}

#[test]
fn a_run_with_replay_resumes_bit_for_bit_and_only_with_it() {
    let home = trained();
    let flags = "--data new --init-from first --batch 3 --learning-rate 1e-2 --schedule constant --steps";
    run(home.path(), &format!("train {flags} 8 --out whole --replay data")).has(0, &[]);
    run(home.path(), &format!("train {flags} 5 --out cut --replay data")).has(0, &[]);
    let resume = "train --data new --out cut --resume --steps 8";
    run(home.path(), resume).has(1, &["--replay data"]);
    run(home.path(), &format!("{resume} --replay data --replay-share 0.4")).has(2, &["replay_share"]);
    run(home.path(), &format!("{resume} --replay data")).has(0, &["step 8/8"]);
    assert_eq!(losses(&home.path().join("whole")), losses(&home.path().join("cut")));
}

#[test]
fn replay_of_another_tokenizer_is_refused() {
    let home = trained();
    run(home.path(), "prepare new.log --out chars --tokenizer char").has(0, &[]);
    run(home.path(), "train --data new --out run --init-from first --replay chars").has(2, &["--replay", "tokenizer"]);
    run(home.path(), "train --data new --out run --init-from first --replay absent").has(1, &["absent"]);
}

#[test]
fn characters_unseen_before_are_named_with_the_way_out() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("old.log"), "abc\ncab\nbac\n".repeat(9)).unwrap();
    fs::write(home.path().join("new.log"), [b"abc\nb\xc3\xa9c\na\xffb\n".as_slice(), &b"abc\n".repeat(9)].concat())
        .unwrap();
    run(home.path(), "prepare old.log --out old --tokenizer char").has(0, &[]);
    let prepare = "prepare new.log --out new --tokenizer-from old";
    let way_out = "--replace-unknown";
    run(home.path(), prepare).has(1, &["new.log:3", "not valid UTF-8"]);
    fs::write(home.path().join("text.log"), "abc\nabd\n".repeat(9)).unwrap();
    run(home.path(), "prepare text.log --out new --tokenizer-from old").has(1, &["record 2", "'d'", "byte 2", way_out]);
    run(home.path(), &format!("{prepare} {way_out} z")).has(2, &["'z'", "the tokenizer lacks"]);
    run(home.path(), &format!("{prepare} {way_out} a")).has(0, &["2 characters unknown to the tokenizer"]);
}

#[test]
fn a_model_with_prefixes_is_asked_by_them() {
    let home = tempfile::tempdir().unwrap();
    let record = |i: usize| {
        let user = ["ann", "bob", "cid"][i % 3];
        format!("{{\"day\": \"2022-08-{:02}T07:00\", \"user\": \"{user}@x.com\"}}\n", 1 + i * i / 7 % 9)
    };
    fs::write(home.path().join("logs.jsonl"), (0..300).map(record).collect::<String>()).unwrap();
    let fields = "--prefix-field user=user,before=@ --prefix-field day=day,date";
    run(home.path(), &format!("prepare logs.jsonl --out data --tokenizer bytes {fields}")).has(0, &[]);
    let model = "--layers 2 --heads 2 --channels 32 --context 80 --batch 8 --warmup 20 --eval-every 0";
    run(home.path(), &format!("train --data data --out run {model} --steps 500 --learning-rate 5e-3")).has(0, &[]);
    let said = run(home.path(), "generate --model run -n 20 --where user=bob --max-tokens 100");
    said.has(0, &["meet the conditions"]);
    let asked = said.out.lines().filter(|line| line.starts_with('{') && line.contains("\"bob@x.com\"")).count();
    assert!(asked >= 15, "{} {}", said.out, said.err);
    let days = run(home.path(), "generate --model run -n 4 --from 2022-08-02 --to 2022-08-03 --temperature 0");
    let days: Vec<_> = days.out.lines().map(|line| line[17..19].to_string()).collect();
    assert_eq!(days, ["02", "02", "03", "03"]);
    run(home.path(), "generate --model run --where colour=red").has(2, &["colour", "user, day"]);
    run(home.path(), "generate --model run --where user").has(2, &["NAME=VALUE"]);
    run(home.path(), "generate --model run --from 2022-08-03 --to 2022-08-02").has(2, &["--to"]);
    // New data for this model gets its prefixes without being told.
    run(home.path(), "prepare logs.jsonl --out next --tokenizer-from run").has(0, &[]);
    let kept = |name: &str| fs::read_to_string(home.path().join(name).join("records.json")).unwrap();
    assert_eq!(kept("next"), kept("data"));
}
