//! `logwright score --alerts-per-day`: a budget of alerts, of which each holds what belongs together.

use crate::common::{Lines, run};
use crate::score::{lines, own, start};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

fn write(home: &Path, name: &str, records: &[Value]) {
    let text: String = records.iter().map(|record| format!("{record}\n")).collect();
    fs::write(home.join(name), text).unwrap();
}

/// A model that is calibrated for a budget on the first of the people's records, fifty a second, and those that follow.
fn calibrated() -> (tempfile::TempDir, Vec<Value>) {
    let home = own();
    let mut records = lines(run(home.path(), "synth -n 650 --attacks 0 --rate 50").has(0, &[]));
    let later = records.split_off(400);
    write(home.path(), "normal.jsonl", &records);
    let said = run(home.path(), "score --model run --calibrate normal.jsonl --alerts-per-day 10");
    let made = &lines(said.has(0, &["too few for a false-positive rate"]))[0];
    let asked = 10.0 / (50.0 * 86_400.0);
    assert!((made["fpr"].as_f64().unwrap() / asked - 1.0).abs() < 0.01, "{made}");
    (home, later)
}

/// An attack: records by number, what they change, and the lines of the stream that belong to it.
fn plant(records: &mut [Value], attack: &[usize], changes: &[(&str, Value)]) {
    for &number in attack {
        for (pointer, value) in changes {
            *records[number - 1].pointer_mut(pointer).unwrap() = value.clone();
        }
    }
}

/// The closed alerts, by the records that are in them according to their first, last and count.
fn closed(found: &[Value]) -> Vec<&Value> {
    found.iter().filter(|line| line["state"] == "closed").collect()
}

#[test]
fn three_attacks_in_a_quiet_stream_are_at_most_ten_alerts_and_none_joins_two() {
    let (home, mut records) = calibrated();
    let attacks: [(&str, Vec<usize>); 3] =
        [("spray", vec![60, 62, 64, 66, 68]), ("travel", vec![120, 125]), ("tool", vec![180, 182, 184])];
    let refused = json!({ "errorCode": 50126, "failureReason": "Error validating credentials due to invalid username or password." });
    plant(
        &mut records,
        &attacks[0].1,
        &[
            ("/callerIpAddress", json!("#~#.#~#")),
            ("/properties/ipAddress", json!("#~#.#~#")),
            ("/resultType", json!("50126")),
            ("/properties/status", refused),
        ],
    );
    plant(&mut records, &attacks[1].1, &[("/callerIpAddress", json!("%^%.%^%")), ("/location", json!("@@"))]);
    plant(
        &mut records,
        &attacks[2].1,
        &[("/properties/deviceDetail/browser", json!("<<^^>> {~}")), ("/properties/appDisplayName", json!("|||||"))],
    );
    write(home.path(), "stream.jsonl", &records);
    // So few normal records resolve no budget of ten a day at this pace, which is said.
    let said = run(home.path(), "score --model run stream.jsonl --alerts-per-day 10 --alert-quiet 1");
    said.has(0, &["the 400 scores of the calibration resolve", "alerts a day or more"]);
    let said = run(home.path(), "score --model run stream.jsonl --alerts-per-day 20000 --alert-quiet 1");
    let found = lines(said.has(0, &[" anomalous records, "]));
    let alerts = closed(&found);
    assert!((3..=10).contains(&alerts.len()), "{found:?}");
    for (name, attack) in &attacks {
        let inside = |alert: &&&Value| attack.contains(&(alert["first"]["record"].as_u64().unwrap() as usize));
        let own: Vec<_> = alerts.iter().filter(inside).collect();
        assert!(!own.is_empty(), "{name}: {found:?}");
        for alert in own {
            assert!(attack.contains(&(alert["last"]["record"].as_u64().unwrap() as usize)), "{name}: {alert}");
            assert!(alert["count"].as_u64().unwrap() <= attack.len() as u64, "{alert}");
        }
    }
    // Each alert is printed when it opens, with what is known then, and when it closes.
    let mut states: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in &found {
        states.entry(line["alert"].as_str().unwrap()).or_default().push(line["state"].as_str().unwrap());
    }
    assert!(states.values().all(|states| *states == ["open", "closed"]), "{states:?}");
    let first = &found[0];
    assert!(first["score"].as_f64() > first["threshold"].as_f64(), "{first}");
    let opened = first["first"]["record"].as_u64().unwrap() as usize;
    assert_eq!(first["first"]["time"], records[opened - 1]["time"]);
    assert!(first["template"].as_array().unwrap().contains(&json!("properties.status.errorCode")), "{first}");
    let odd: Vec<_> = first["odd"].as_object().unwrap().iter().filter(|(_, value)| !value.is_null()).collect();
    assert!(odd.iter().all(|(path, value)| first["values"][*path][0] == **value), "{first}");
}

#[test]
fn an_alert_leaves_at_once_and_closes_when_the_stream_is_quiet() {
    let (home, mut records) = calibrated();
    let path = home.path().join("run/calibration.json");
    let made = fs::read_to_string(&path).unwrap();
    let mut damaged: Value = serde_json::from_str(&made).unwrap();
    damaged["records_per_day"] = json!(-1);
    fs::write(&path, damaged.to_string()).unwrap();
    run(home.path(), "score --model run normal.jsonl").has(1, &["records_per_day is not", "calibrate again"]);
    fs::write(&path, made).unwrap();
    plant(&mut records, &[3], &[("/callerIpAddress", json!("#~#.#~#")), ("/location", json!("@@"))]);
    let mut child = start(home.path(), "score --model run - --alerts-per-day 20000 --alert-quiet 1");
    let mut input = child.stdin.take().unwrap();
    let out = Lines::of(&mut child);
    for record in &records[..3] {
        writeln!(input, "{record}").unwrap();
    }
    input.flush().unwrap();
    // The pipe stays open, and nothing more comes.
    let (open, closed) = (out.next(), out.next());
    assert_eq!(
        (&open["state"], &closed["state"], &open["alert"]),
        (&json!("open"), &json!("closed"), &closed["alert"])
    );
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_budget_needs_its_scores_and_stands_alone() {
    let home = own();
    let line = "score --model run corpus.jsonl --alerts-per-day 10";
    run(home.path(), line).has(2, &["--alerts-per-day", "calibrate first (--calibrate NORMAL)"]);
    for flag in ["--threshold 1", "--only-anomalies", "--group-by identity", "--explain", "--no-calibration"] {
        run(home.path(), &format!("{line} {flag}")).has(2, &["cannot be used with"]);
    }
    run(home.path(), "score --model run --calibrate corpus.jsonl --group-by identity --fpr 0.1").has(0, &[]);
    run(home.path(), line).has(2, &["calibration.json is for sessions", "calibrate again"]);
    // Records without times: their pace is not known before a stream shows it.
    let text = fs::read_to_string(home.path().join("corpus.jsonl")).unwrap();
    let timeless = text.replace("\"time\"", "\"when\"").replace("\"createdDateTime\"", "\"whenCreated\"");
    fs::write(home.path().join("timeless.jsonl"), timeless).unwrap();
    let calibrate = "score --model run --alerts-per-day 10 --calibrate timeless.jsonl";
    let said = run(home.path(), calibrate);
    assert_eq!(lines(said.has(0, &["no times that differ", "--time-field PATH"]))[0]["fpr"], 0.001);
    let said = run(home.path(), &format!("{calibrate} --time-field when"));
    assert!(!said.has(0, &[]).err.contains("no times that differ"), "the remedy");
}
