//! `POST /v1/logs`: logs of OpenTelemetry.

use super::Served;
use crate::common::run;
use crate::score::own;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// A home with a calibrated model, a usual record and an odd one.
fn home() -> (tempfile::TempDir, Value, Value) {
    let home = own();
    run(home.path(), "score --model run --calibrate corpus.jsonl --fpr 0.01").has(0, &[]);
    let corpus = fs::read_to_string(home.path().join("corpus.jsonl")).unwrap();
    let usual: Value = serde_json::from_str(corpus.lines().next().unwrap()).unwrap();
    let mut odd = usual.clone();
    for (_, value) in odd.as_object_mut().unwrap().iter_mut().filter(|(_, value)| value.is_string()) {
        *value = "ZZZZ never seen".into();
    }
    (home, usual, odd)
}

fn request(service: &str, bodies: &[Value]) -> String {
    let records: Vec<Value> = bodies.iter().map(|body| json!({ "timeUnixNano": "1", "body": body })).collect();
    json!({ "resourceLogs": [{
        "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": service } }] },
        "scopeLogs": [{ "scope": { "name": "test" }, "logRecords": records }],
    }] })
    .to_string()
}

#[test]
fn records_of_services_are_scored_counted_and_remembered() {
    let (home, usual, odd) = home();
    let served = Served::start(home.path(), "");
    let text = |value: &Value| json!({ "stringValue": value.to_string() });
    let post = |body: &str, kind: &str| served.ask("POST", "/v1/logs", &[("content-type", kind)], body.as_bytes());
    let sent = request("shop", &[text(&usual), text(&odd), json!({ "stringValue": "no object" })]);
    let partial = post(&sent, "application/json").has(200, &[]).json();
    assert_eq!(partial["partialSuccess"]["rejectedLogRecords"], "1");
    assert!(partial["partialSuccess"]["errorMessage"].as_str().unwrap().contains("expected one whole JSON object"));
    let anomalies = served.get("/anomalies");
    let found: Value = anomalies.has(200, &["\"number\":1"]).json();
    assert_eq!((&found["service"], &found["record"], &found["anomaly"]), (&json!("shop"), &json!(2), &json!(true)));
    // What score says of the same record at the same place.
    fs::write(home.path().join("asked.jsonl"), format!("{usual}\n{odd}\n")).unwrap();
    let scored = run(home.path(), "score --model run asked.jsonl");
    let second: Value = serde_json::from_str(scored.has(0, &[]).out.lines().nth(1).unwrap()).unwrap();
    assert!(second.as_object().unwrap().iter().all(|(name, value)| found[name] == *value), "{found}\n{second}");
    // A service's stream goes on; another one's begins anew. An object is a record too.
    let members = |value: &Value| {
        json!({ "kvlistValue": { "values": value.as_object().unwrap().iter().map(|(key, value)| {
        json!({ "key": key, "value": any(value) })
    }).collect::<Vec<_>>() } })
    };
    for (service, number) in [("shop", 4), ("office", 1)] {
        assert_eq!(
            post(&request(service, &[members(&odd)]), "application/json; charset=utf-8").has(200, &[]).text,
            "{}"
        );
        let last: Value = serde_json::from_str(served.get("/anomalies").text.lines().last().unwrap()).unwrap();
        assert_eq!((&last["service"], &last["record"]), (&json!(service), &json!(number)));
        assert_eq!(last["digest"], found["digest"], "the same record");
    }
    served.get("/anomalies?after=2").has(200, &["\"number\":3"]);
    assert_eq!(served.get("/anomalies?after=9").text, "");
    assert_eq!(
        (served.metric("logwright_anomalies_total"), served.metric("logwright_broken_records_total")),
        (3.0, 1.0)
    );
    post("{\"resourceLogs\":1}", "application/json").has(400, &["{\"message\":", "expected a sequence"]);
    post("x", "text/plain").has(415, &["application/x-protobuf"]);
    assert_eq!(post("", "application/x-protobuf").has(200, &[]).headers["content-type"], "application/x-protobuf");
    post("\u{7f}\u{7f}", "application/x-protobuf").has(400, &[]);
}

/// A JSON value as an `AnyValue`.
fn any(value: &Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(value) => json!({ "boolValue": value }),
        Value::Number(number) if number.is_i64() => json!({ "intValue": number.to_string() }),
        Value::Number(number) => json!({ "doubleValue": number }),
        Value::String(text) => json!({ "stringValue": text }),
        Value::Array(list) => json!({ "arrayValue": { "values": list.iter().map(any).collect::<Vec<_>>() } }),
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| json!({ "key": key, "value": any(value) });
            json!({ "kvlistValue": { "values": members.iter().map(member).collect::<Vec<_>>() } })
        }
    }
}

/// OpenTelemetry's own exporter for Python, where it is installed.
#[test]
#[ignore = "needs python3 with opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http (LOGWRIGHT_PYTHON names it)"]
fn the_exporter_of_opentelemetry_is_understood() {
    let (home, usual, odd) = home();
    let served = Served::start(home.path(), "");
    fs::write(home.path().join("asked.jsonl"), format!("{usual}\n{odd}\n")).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/send_otlp.py");
    let python = std::env::var("LOGWRIGHT_PYTHON").unwrap_or("python3".into());
    let mut command = std::process::Command::new(python);
    let url = format!("http://{}/v1/logs", served.address);
    let sent = command.arg(script).args([&url, "asked.jsonl"]).current_dir(home.path()).output().unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    served.get("/anomalies").has(200, &["\"service\":\"send-otlp\",\"record\":2"]);
    assert_eq!(served.metric("logwright_records_total"), 2.0);
}
