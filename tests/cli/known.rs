//! `logwright known-good` and `known-bad`: what analysts know of findings, and what `score` makes of it.

use crate::common::{logwright, run};
use crate::score::{lines, own};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A calibrated model, and a record with an odd location among others.
fn home() -> tempfile::TempDir {
    let home = own();
    run(home.path(), "score --model run --calibrate corpus.jsonl --fpr 0.01").has(0, &[]);
    let text = fs::read_to_string(home.path().join("corpus.jsonl")).unwrap();
    let mut records: Vec<Value> = text.lines().take(3).map(|line| serde_json::from_str(line).unwrap()).collect();
    records[1]["location"] = json!("#!");
    let text: String = records.iter().map(|record| format!("{record}\n")).collect();
    fs::write(home.path().join("three.jsonl"), text).unwrap();
    home
}

fn score(home: &Path) -> Vec<Value> {
    lines(run(home, "score --model run three.jsonl").has(0, &[]))
}

fn add(home: &Path, line: &str, reason: &str) -> Value {
    let mut command = logwright();
    command.args(line.split_whitespace()).args(["--model", "run", "--reason", reason]).current_dir(home);
    let said = crate::common::Said::from(command.output().unwrap());
    lines(said.has(0, &[]))[0].clone()
}

#[test]
fn a_known_value_is_no_evidence_until_it_is_removed() {
    let home = home();
    let home = home.path();
    let before = score(home);
    assert_eq!((&before[1]["anomaly"], &before[1]["fields"][0]["path"]), (&json!(true), &json!("location")));
    fs::write(home.join("finding.json"), before[1].to_string()).unwrap();
    let added = add(home, "known-good add --scope field --from finding.json", "the new office, ticket 7");
    assert_eq!(added["what"], json!({ "path": "location", "value": "#!" }));
    assert_eq!(fs::metadata(home.join("run/known.json")).unwrap().permissions().mode() & 0o777, 0o600);
    let after = score(home);
    assert!(after[1]["score"].as_f64() < before[1]["score"].as_f64(), "{}", after[1]);
    assert_ne!(after[1]["fields"][0]["path"], "location");
    assert_eq!((&after[0], &after[2]), (&before[0], &before[2]));
    // A value given directly, which is bad.
    let bad = add(home, "known-bad add --path resultType --value 0", "a drill");
    let found = score(home);
    for line in found.iter().filter(|line| !line.to_string().contains("50126")) {
        assert_eq!(
            (&line["anomaly"], &line["known"]),
            (&json!(true), &json!({ "state": "bad", "id": bad["id"], "reason": "a drill" }))
        );
    }
    let listed = |command: &str| lines(run(home, &format!("{command} list --model run")).has(0, &[]));
    assert_eq!((listed("known-good"), listed("known-bad")), (vec![added.clone()], vec![bad.clone()]));
    assert_eq!((&added["scope"], &added["reason"]), (&json!("field"), &json!("the new office, ticket 7")));
    assert!(added["date"].as_str().unwrap().ends_with('Z'));
    for (command, entry) in [("known-good", &added), ("known-bad", &bad)] {
        let said = run(home, &format!("{command} remove --model run {}", entry["id"].as_str().unwrap()));
        assert_eq!(&lines(said.has(0, &[]))[0], entry);
    }
    assert_eq!(score(home), before);
}

#[test]
fn a_known_record_has_its_verdict_and_a_bad_one_wins() {
    let home = home();
    let home = home.path();
    let before = score(home);
    fs::write(home.join("finding.json"), format!("{}\n\n", before[1])).unwrap();
    let good = add(home, "known-good add --scope record --from finding.json", "a test of ours");
    let after = score(home);
    assert_eq!((&after[1]["anomaly"], &after[1]["score"]), (&json!(false), &before[1]["score"]));
    assert_eq!(after[1]["known"], json!({ "state": "good", "id": good["id"], "reason": "a test of ours" }));
    fs::write(home.join("other.json"), before[2].to_string()).unwrap();
    add(home, "known-bad add --scope record --from other.json", "seen at another site");
    assert_eq!(score(home)[2]["known"]["state"], "bad");
    add(home, "known-bad add --path location --value #!", "not ours");
    assert_eq!((&score(home)[1]["known"]["state"], &score(home)[1]["anomaly"]), (&json!("bad"), &json!(true)));
    // With a page and without a threshold too.
    let said = run(home, "score --model run three.jsonl --no-calibration --only-field location");
    assert_eq!(lines(said.has(0, &[]))[1]["known"]["state"], "bad");
}

#[test]
fn a_known_kind_of_alert_comes_no_more() {
    let home = home();
    let home = home.path();
    let line = "score --model run three.jsonl --alerts-per-day 100000";
    let alerts = run(home, line);
    let found = lines(alerts.has(0, &[]));
    let is_ours = |alert: &&Value| alert["odd"]["location"] == "#!";
    let ours = found.iter().find(is_ours).unwrap_or_else(|| panic!("{found:?}"));
    // Both lines of the alert say the same.
    fs::write(home.join("alert.json"), format!("{ours}\n{ours}\n")).unwrap();
    let good = add(home, "known-good add --scope template --from alert.json", "a new office");
    assert_eq!((&good["scope"], &good["what"]["odd"]), (&json!("template"), &ours["odd"]));
    let said = run(home, line);
    assert!(!lines(said.has(0, &[])).iter().any(|alert| is_ours(&alert)), "{}", said.out);
    let one = &score(home)[1];
    assert_eq!((&one["known"]["id"], &one["anomaly"]), (&good["id"], &json!(false)));
    assert_eq!(lines(&run(home, "score --model run three.jsonl --top-fields 1"))[1]["known"]["id"], good["id"]);
}

#[test]
fn what_cannot_be_known_is_refused_with_its_reason() {
    let home = home();
    let home = home.path();
    fs::write(home.join("finding.json"), score(home)[1].to_string()).unwrap();
    fs::write(home.join("text.json"), "{}\nno json\n").unwrap();
    fs::create_dir(home.join("empty")).unwrap();
    fs::write(home.join("none.json"), "\n").unwrap();
    for (line, code, parts) in [
        ("known-good add --model run --scope field --from finding.json", 2, &["--reason"][..]),
        ("known-good add --model run --reason x", 2, &["--scope"]),
        ("known-good add --model run --reason x --value v", 2, &["--path"]),
        ("known-good add --model run --reason x --scope record --path a --from finding.json", 2, &["--scope field"]),
        (
            "known-good add --model run --reason x --scope template --from finding.json",
            1,
            &["finding.json, line 1", "--alerts-per-day"],
        ),
        (
            "known-good add --model run --reason x --scope field --path none --from finding.json",
            1,
            &["no field none", "--value"],
        ),
        (
            "known-good add --model run --reason x --scope field --from text.json",
            1,
            &["text.json, line 1", "no fields"],
        ),
        ("known-good add --model run --reason x --scope field --from none.json", 1, &["none.json", "found none"]),
        ("known-good add --model run --reason x --scope field", 1, &["standard input", "found none"]),
        ("known-good add --model run --reason x --scope field --from absent.json", 1, &["absent.json"]),
        ("known-good add --model empty --reason x --path a --value b", 1, &["no model", "run folder"]),
        ("known-bad list --model absent", 1, &["absent", "does not exist"]),
        ("known-good remove --model run 01234567", 2, &["no entry has the id 01234567", "known-good list"]),
        ("known-good remove --model run", 2, &["<ID>"]),
    ] {
        run(home, line).has(code, parts);
        assert!(!home.join("run/known.json").exists(), "{line}");
    }
    let entry = add(home, "known-good add --path a --value b", "x");
    let id = entry["id"].as_str().unwrap();
    run(home, "known-good add --model run --reason y --path a --value b").has(2, &["says so already", id, ": x"]);
    let said = run(home, "known-bad add --model run --reason y --path a --value b");
    said.has(2, &["the opposite", "logwright known-good remove --model RUN"]);
    run(home, &format!("known-bad remove --model run {id}")).has(2, &["known-good", "remove it with"]);
    // Of several, none is removed if one is unknown.
    run(home, &format!("known-good remove --model run {id} 01234567")).has(2, &["01234567"]);
    assert_eq!(lines(&run(home, "known-good list --model run")).len(), 1);
    // While another process changes it.
    let lock = File::create(home.join("run/.known.json.lock")).unwrap();
    lock.lock().unwrap();
    run(home, "known-good add --model run --reason z --path c --value d").has(1, &["another process", "again"]);
    run(home, "known-good list --model run").has(0, &[]);
    drop(lock);
    fs::remove_file(home.join("run/.known.json.lock")).unwrap();
    // A damaged file ends what reads it; the remedy is to move it away.
    fs::write(home.join("run/known.json"), "{\"version\": 1").unwrap();
    for line in
        ["known-good list --model run", "score --model run three.jsonl", &format!("known-good remove --model run {id}")]
    {
        run(home, line).has(1, &["known.json", "move it away"]);
    }
    fs::rename(home.join("run/known.json"), home.join("moved")).unwrap();
    assert_eq!(run(home, "known-good list --model run").has(0, &[]).out, "");
    score(home);
}
