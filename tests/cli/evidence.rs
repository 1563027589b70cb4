//! What `score` makes of normal records: evidence that layout does not change, drift, and calibrating again.

use crate::common::{SMALL, run};
use crate::score::{lines, own};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

fn fields(finding: &Value) -> BTreeMap<String, (String, Value)> {
    let field = |field: &Value| {
        let text = |name: &str| field[name].as_str().unwrap().to_string();
        (text("path"), (text("value"), field["evidence"].clone()))
    };
    finding["fields"].as_array().unwrap().iter().map(field).collect()
}

fn record(home: &Path, number: usize) -> String {
    fs::read_to_string(home.join("corpus.jsonl")).unwrap().lines().nth(number).unwrap().to_string()
}

#[test]
fn layout_does_not_change_the_evidence_of_fields_and_an_unusual_order_is_named() {
    let home = own();
    run(home.path(), "score --model run --calibrate corpus.jsonl --fpr 0.1").has(0, &[]);
    let usual = record(home.path(), 7);
    let members: serde_json::Map<String, Value> = serde_json::from_str(&usual).unwrap();
    let spaced = usual.replace(": ", " :\t").replace(", \"", "  ,\"");
    let backwards: serde_json::Map<String, Value> = members.into_iter().rev().collect();
    let number = {
        let at = usual.find("\"processingTimeInMilliseconds\": ").unwrap() + 32;
        let end = at + usual[at..].find(|c: char| !c.is_ascii_digit()).unwrap();
        format!("{}{}0e-1{}", &usual[..at], &usual[at..end], &usual[end..])
    };
    assert!(spaced != usual && number != usual);
    let all = [usual, spaced, number, serde_json::to_string(&backwards).unwrap()].join("\n") + "\n";
    fs::write(home.path().join("four.jsonl"), all).unwrap();
    let said = run(home.path(), "score --model run four.jsonl --top-fields 0");
    let found = lines(said.has(0, &[]));
    let expected = fields(&found[0]);
    assert_eq!(found.len(), 4);
    assert!(found[..3].iter().all(|one| fields(one) == expected && one["score"] == found[0]["score"]), "{found:?}");
    let mut last = fields(&found[3]);
    let order = last.remove("(order)").unwrap();
    assert!(order.1.as_f64() > Some(3.0) && order.0.contains(" before "), "{order:?}");
    assert_eq!(last, expected);
    assert!(found[3]["score"].as_f64() > found[0]["score"].as_f64());
}

#[test]
fn records_of_another_system_are_told_as_drift() {
    let home = own();
    run(home.path(), "score --model run --calibrate corpus.jsonl --fpr 0.1").has(0, &[]);
    let mut others = String::new();
    for i in 0..520 {
        writeln!(others, "{{\"host\": \"srv{}\", \"identity\": \"{:x}\"}}", i % 7, i * 7919).unwrap();
    }
    fs::write(home.path().join("others.jsonl"), others).unwrap();
    let said = run(home.path(), "score --model run others.jsonl --top-fields 1");
    said.has(0, &["from record 1 on, records are unlike those of the calibration", "moved: ", "host", "--recalibrate"]);
    assert_eq!(said.err.matches("are unlike").count(), 1, "said once: {}", said.err);
    let found = lines(&said);
    assert_eq!(found[490].get("drift"), None);
    let drift = &found[510]["drift"];
    assert_eq!(drift["since"], 1);
    assert!(
        drift["paths"].as_array().unwrap().iter().any(|path| path["path"] == "host" && path["new"] == true),
        "{drift}"
    );
    let quiet = run(home.path(), "score --model run corpus.jsonl --top-fields 1");
    assert!(!quiet.has(0, &[]).err.contains("are unlike"), "{}", quiet.err);
    // The remedy of the message.
    run(home.path(), "score --model run --recalibrate others.jsonl").has(0, &[]);
    let after = run(home.path(), "score --model run others.jsonl --top-fields 1");
    assert!(!after.has(0, &[]).err.contains("are unlike"), "{}", after.err);
}

#[test]
fn calibrating_again_keeps_how_it_was_done_and_training_counts_as_seen() {
    let home = own();
    let made = |flags: &str| lines(run(home.path(), &format!("score --model run {flags}")).has(0, &[])).remove(0);
    let first = made("--calibrate corpus.jsonl --fpr 0.07 --ignore-field location");
    let again = made("--recalibrate corpus.jsonl");
    assert_eq!((&first["fpr"], &again["fpr"], &again["threshold"]), (&0.07.into(), &0.07.into(), &first["threshold"]));
    assert_eq!(made("--recalibrate corpus.jsonl --fpr 0.2")["fpr"], 0.2);
    // A value that only training had is a known one with --data.
    let odd = record(home.path(), 7).replacen("\"appDisplayName\": \"", "\"appDisplayName\": \"Other", 1);
    fs::write(home.path().join("odd.jsonl"), format!("{odd}\n")).unwrap();
    let more = fs::read_to_string(home.path().join("corpus.jsonl")).unwrap() + &odd + "\n" + &odd + "\n" + &odd + "\n";
    fs::write(home.path().join("more.jsonl"), more).unwrap();
    run(home.path(), "prepare more.jsonl --out data --tokenizer-from run --split random").has(0, &[]);
    let reason = || {
        let said = run(home.path(), "score --model run odd.jsonl --top-fields 0");
        let found = lines(said.has(0, &[])).remove(0);
        let fields = found["fields"].as_array().unwrap();
        fields.iter().find(|field| field["path"] == "properties.appDisplayName").unwrap()["reason"].clone()
    };
    made("--calibrate corpus.jsonl");
    assert_eq!(reason(), "never seen here");
    made("--calibrate corpus.jsonl --data data");
    assert_eq!(reason(), Value::Null);
}

#[test]
fn what_the_tokenizer_lacks_is_evidence_and_no_error() {
    let home = tempfile::tempdir().unwrap();
    let line = |n: usize| format!("{{\"n\": {}, \"user\": \"{}\"}}\n", n % 10, ["ann", "bob", "cid"][n % 3]);
    let normal = |from: usize, to: usize| (from..to).map(line).collect::<String>();
    fs::write(home.path().join("fit.log"), normal(0, 300)).unwrap();
    fs::write(home.path().join("cal.log"), normal(300, 500)).unwrap();
    fs::write(
        home.path().join("odd.log"),
        [&line(1).into_bytes()[..], "{\"n\": 2, \"user\": \"b\u{f6}b\"}\n".as_bytes()].concat(),
    )
    .unwrap();
    run(home.path(), "prepare fit.log --out data --tokenizer char").has(0, &[]);
    run(home.path(), &format!("train --data data --out run --device cpu --steps 20 {SMALL}")).has(0, &[]);
    run(home.path(), "score --model run --calibrate cal.log --fpr 0.01").has(0, &[]);
    let said = run(home.path(), "score --model run odd.log --top-fields 1");
    let found = lines(said.has(0, &[]));
    assert_eq!((found[0]["anomaly"].as_bool(), found[1]["anomaly"].as_bool()), (Some(false), Some(true)), "{found:?}");
    assert!(found[1]["evidence"]["characters"].as_f64() > Some(5.0), "no normal record of 200 has any: {}", found[1]);
    let field = &found[1]["fields"][0];
    assert_eq!((&field["path"], &field["value"]), (&"user".into(), &"b\u{f6}b".into()));
    assert_eq!(field["reason"], "holds a character that training never had");
    // The text of a token is that of the record, not of its stand-in.
    let page = run(home.path(), "score --model run odd.log --explain");
    assert!(page.out.contains("b\u{f6}b"), "{}", page.out);
}
