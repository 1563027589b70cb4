//! `POST /score`: its answers are those of `logwright score`, however they are asked for.

use super::{Served, answered, piece};
use crate::common::run;
use crate::score::own;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::Path;

/// A home with a calibrated model, and lines of which some are no records.
fn home(calibration: &str) -> (tempfile::TempDir, Vec<String>) {
    let home = own();
    run(home.path(), &format!("score --model run --calibrate corpus.jsonl {calibration}")).has(0, &[]);
    let corpus = fs::read_to_string(home.path().join("corpus.jsonl")).unwrap();
    let mut lines: Vec<String> = corpus.lines().take(24).map(str::to_string).collect();
    lines.insert(5, "no record".to_string());
    lines.insert(9, lines[0].replacen("resultType", "resultTyqe", 1));
    (home, lines)
}

/// What `logwright score` prints of these lines.
fn scored(home: &Path, lines: &str, flags: &str) -> String {
    fs::write(home.join("asked.jsonl"), lines).unwrap();
    run(home, &format!("score --model run asked.jsonl --format jsonl {flags}")).has(0, &[]).out.clone()
}

fn text(lines: &[String]) -> String {
    lines.iter().fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn answers_are_those_of_score() {
    let (home, lines) = home("");
    let all = text(&lines);
    let expected = scored(home.path(), &all, "");
    assert_eq!(expected.lines().count(), lines.len());
    let served = Served::start(home.path(), "--format jsonl --batch 4");
    let whole = served.score("", &all);
    assert_eq!((whole.has(200, &[]).text.as_str(), whole.is_whole), (expected.as_str(), true));
    assert_eq!(whole.headers["content-type"], "application/x-ndjson");
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(all.as_bytes()).unwrap();
    let packed = served.ask("POST", "/score", &[("content-encoding", "gzip")], &packed.finish().unwrap());
    assert_eq!(packed.has(200, &[]).text, expected);
    // A client that keeps sending sees answers meanwhile.
    let mut stream = served.open("POST", "/score", &[("transfer-encoding", "chunked")]);
    let (first, rest) = all.split_at(all.len() / 2);
    stream.write_all(piece(first).as_bytes()).unwrap();
    let mut begun = [0; 64];
    std::io::Read::read_exact(&mut stream, &mut begun).unwrap();
    assert!(begun.starts_with(b"HTTP/1.1 200"));
    stream.write_all((piece(rest) + "0\r\n\r\n").as_bytes()).unwrap();
    let rest = answered(&mut std::io::Read::chain(&begun[..], stream));
    assert_eq!(rest.text, expected);
    assert_eq!(served.score("", "").has(200, &[]).text, "");
    let asked = "?keep=time&with_record=true&top_fields=1&only_anomalies=true";
    let flags = "--keep time --with-record --top-fields 1 --only-anomalies";
    assert_eq!(served.score(asked, &all).has(200, &[]).text, scored(home.path(), &all, flags));
    // What is asked for beside the finding: every byte of the record, in tokens.
    let shaded = served.score("?shade=true", &text(&lines[..1]));
    let shaded: Value = shaded.has(200, &[]).json();
    let tokens = shaded["tokens"].as_array().unwrap().iter().map(|token| token["text"].as_str().unwrap());
    assert_eq!(tokens.collect::<String>(), text(&lines[..1]));
    assert!(!served.messages().contains("resultType"), "{}", served.messages());
}

#[test]
fn clients_share_batches_and_nobody_sees_it() {
    let (home, lines) = home("");
    let served = Served::start(home.path(), "--format jsonl --batch 8");
    let parts: Vec<String> = (0..8).map(|client| text(&lines[client..client + 3])).collect();
    let expected: Vec<String> = parts.iter().map(|part| scored(home.path(), part, "")).collect();
    std::thread::scope(|scope| {
        for (part, expected) in parts.iter().zip(&expected) {
            let served = &served;
            scope.spawn(move || {
                for _ in 0..6 {
                    assert_eq!(&served.score("", part).has(200, &[]).text, expected);
                }
            });
        }
    });
    let (batches, records) = (served.metric("logwright_batches_total"), served.metric("logwright_batch_records_total"));
    // Of the 24 lines of a round, one is no record and stands in 3 of the parts.
    assert_eq!((served.metric("logwright_records_total"), records), (144.0, 144.0 - 18.0));
    assert!(records > 3.0 * batches, "{records} records in {batches} batches: each request had its own");
    assert_eq!(served.metric("logwright_requests_total{endpoint=\"/score\",status=\"200\"}"), 48.0);
    assert_eq!(served.metric("logwright_queued_sequences"), 0.0);
}

#[test]
fn a_named_stream_goes_on_over_requests_and_reloads() {
    let (home, lines) = home("--group-by location");
    let served = Served::start(home.path(), "--format jsonl");
    let expected = scored(home.path(), &text(&lines), "");
    let mut found = String::new();
    for (part, end) in [(&lines[..10], ""), (&lines[10..15], ""), (&lines[15..], "&end=true")] {
        found += &served.score(&format!("?stream=siem{end}"), &text(part)).has(200, &[]).text;
        served.ask("POST", "/-/reload", &[], b"").has(200, &["reloaded"]);
    }
    assert_eq!(found, expected, "sessions close once, with all their records");
    // It has ended, so it begins anew; and records have no verdict of their own.
    assert_eq!(served.score("?stream=siem&end=true", &text(&lines)).text, expected);
    served.score("?end=true", "").has(400, &["stream=NAME"]);
    // Only one request at a time continues a stream.
    let mut stream = served.open("POST", "/score?stream=busy", &[("transfer-encoding", "chunked")]);
    stream.write_all(piece(&text(&lines[..1])).as_bytes()).unwrap();
    super::until("the stream is open", || served.metric("logwright_active_requests") == 1.0);
    served.score("?stream=busy", "").has(409, &["another request continues it"]);
    stream.write_all(b"0\r\n\r\n").unwrap();
    answered(&mut stream).has(200, &[]);
    served.score("?stream=busy&end=true", "").has(200, &["\"records\":1"]);
}

#[test]
fn a_reload_takes_what_is_new_or_leaves_all_as_it_was() {
    let home = own();
    let lines = fs::read_to_string(home.path().join("corpus.jsonl")).unwrap();
    let line = lines.lines().next().unwrap();
    let served = Served::start(home.path(), "");
    served.says("there is no calibration");
    assert_eq!(served.score("", line).json()["threshold"], Value::Null);
    run(home.path(), "score --model run --calibrate corpus.jsonl").has(0, &[]);
    served.signal("-HUP");
    served.says("model reloaded");
    let finding = served.score("", line);
    assert!(finding.json()["threshold"].is_number());
    fs::write(home.path().join("run/calibration.json"), "{}").unwrap();
    served.ask("POST", "/-/reload", &[], b"").has(500, &["the model before stays", "calibration.json"]);
    served.signal("-HUP");
    served.says("reload failed");
    fs::remove_file(home.path().join("run/calibration.json")).unwrap();
    served.ask("POST", "/-/reload", &[], b"").has(500, &["calibration.json is gone", "calibrate again"]);
    assert_eq!(served.score("", line).text, finding.text);
}
