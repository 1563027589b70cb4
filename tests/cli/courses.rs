//! How a session goes is evidence beside its records: their order, their number, and the time between them.

use crate::common::{SMALL, run};
use crate::score::lines;
use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Sessions as lines, by turns three and four records long, one record every ten seconds.
fn normal(from: usize, count: usize) -> String {
    let mut text = String::new();
    for session in from..from + count {
        let between: &[&str] = if session % 2 == 0 { &["read"] } else { &["read", "write"] };
        let events = ["login"].iter().chain(between).chain(&["logout"]);
        for (number, event) in events.enumerate() {
            line(&mut text, session, event, 100.0 * session as f64 + 10.0 * number as f64);
        }
    }
    text
}

fn line(text: &mut String, session: usize, event: &str, seconds: f64) {
    let time = 1_700_000_000.0 + seconds;
    writeln!(text, r#"{{"time": {time}, "session": "s{session}", "event": "{event}"}}"#).unwrap();
}

fn odd(text: &mut String, session: usize, events: &[&str], seconds: impl Fn(usize) -> f64) {
    events.iter().enumerate().for_each(|(n, event)| line(text, session, event, 100.0 * session as f64 + seconds(n)));
}

fn scored(home: &Path, file: &str) -> Vec<Value> {
    lines(run(home, &format!("score --model run {file}")).has(0, &[]))
}

#[test]
fn order_length_and_time_of_a_session_are_evidence() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    fs::write(home.join("fit.log"), normal(1000, 200)).unwrap();
    fs::write(home.join("cal.log"), normal(2000, 300)).unwrap();
    run(home, "prepare fit.log --out data --tokenizer bytes").has(0, &[]);
    run(home, &format!("train --data data --out run --device cpu --steps 30 {SMALL}")).has(0, &[]);
    run(home, "score --model run --calibrate cal.log --fpr 0.02 --group-by session --time-field time").has(0, &[]);

    let found = scored(home, "fit.log");
    let alarms = found.iter().filter(|session| session["anomaly"] == true).count();
    // Four standard deviations of the count (Poisson).
    let expected = 0.02 * found.len() as f64;
    let is_rate_kept = alarms as f64 <= expected + 4.0 * expected.sqrt();
    assert!(found.len() == 200 && is_rate_kept, "{alarms} of 200 where {expected} are expected");

    let mut text = String::new();
    odd(&mut text, 3000, &["logout", "read", "login"], |n| 10.0 * n as f64);
    odd(&mut text, 3001, &["login", "write", "read", "logout"], |n| 10.0 * n as f64);
    let many: Vec<&str> = ["login"].into_iter().chain(["read"; 60]).chain(["logout"]).collect();
    odd(&mut text, 3002, &many, |n| 10.0 * n as f64);
    odd(&mut text, 3100, &["login"], |_| 0.0);
    odd(&mut text, 3101, &["login", "read", "logout"], |n| 4000.0 * n as f64);
    odd(&mut text, 3300, &["login", "read", "write", "logout"], |n| 0.01 * n as f64);
    fs::write(home.join("odd.log"), text).unwrap();
    let found = scored(home, "odd.log");
    let of = |key: &str| found.iter().find(|session| session["session"] == key).unwrap();
    for (key, kind, words) in [
        ("s3000", "order", "it hardly ever begins like that"),
        ("s3001", "order", "what its record 2 is hardly ever follows what its record 1 is"),
        ("s3002", "many", "unusually many records: 62"),
        ("s3100", "few", "unusually few records: 1"),
        ("s3101", "pause", "an unusually long pause: 4000 s"),
        ("s3300", "hurry", "its records come unusually fast: one in 0.01 s"),
    ] {
        let session = of(key);
        let reasons = session["reasons"].as_array().unwrap();
        assert!(session["anomaly"] == true && session["evidence"][kind].as_f64() > Some(3.0), "{key}: {session}");
        assert!(reasons.iter().any(|reason| reason == words), "{key}: {reasons:?}");
    }
    let usual = &scored(home, "cal.log")[0];
    assert_eq!((usual["reasons"].as_array().unwrap().len(), usual["anomaly"].as_bool()), (0, Some(false)));
}
