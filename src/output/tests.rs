//! What documents hold, and that they are what their schemas want.

use super::*;
use crate::alerts::{Alert, Alerts, Candidate, Template};
use crate::finding::*;
use crate::ingest::RecordFault;
use crate::stream::{Answer, BrokenLine, Session};
use crate::version::VERSION;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const NOW: f64 = 1_795_000_000.25;

fn finding() -> Finding {
    let field = |path: &str, value: &str, evidence, reason: Option<&str>| FoundField {
        path: path.into(),
        value: value.into(),
        nats: 19.4,
        expected: Some(1.1),
        evidence: Some(evidence),
        reason: reason.map(str::to_string),
    };
    Finding {
        record: 142,
        source: Some("/var/log/app.log".into()),
        origin: Origin {
            id: "5d0f6bd4b1a7c0e2".into(),
            digest: "d".repeat(32),
            time: Some("2026-11-28T09:12:44Z".into()),
        },
        score: 9.31,
        p_value: Some(1e-5),
        threshold: Some(5.2),
        anomaly: Some(true),
        evidence: Some(FoundEvidence(BTreeMap::from([("fields", 9.31)]))),
        known: None,
        nats_per_char: 0.4,
        nats_per_token: 1.2,
        max_token: MaxToken { text: "Pyth".into(), nats: 9.0, at: 12 },
        fields: vec![
            field("browser", "Python 3.8", 9.2, Some("never seen here")),
            field("ip", "192.0.2.7", 6.0, None),
            field("user", "ann", 1.0, None),
        ],
        attached: Attached {
            kept: None,
            raw: RawJson::new(r#"{"browser":"Python 3.8","n":1.50}"#),
            entities: Entities { users: vec!["ann".into()], ips: vec!["192.0.2.7".into()], ..Default::default() },
        },
        drift: None,
        tokens: Vec::new(),
    }
}

fn usual() -> Finding {
    Finding { anomaly: Some(false), p_value: Some(0.5), origin: Origin { time: None, ..finding().origin }, ..finding() }
}

fn known(state: &'static str) -> Finding {
    let known = KnownAs { state, id: "k1".into(), reason: "the new office".into() };
    Finding { known: Some(known), anomaly: Some(state == "bad"), ..finding() }
}

/// An alert as it opens, and as it closes.
fn alerts() -> [Alert; 2] {
    let (finding, mut alerts) = (finding(), Alerts::new(10.0));
    let template = Template::of(b"{\"browser\":\"x\"}");
    let candidate = Candidate { finding: &finding, template, fields: &[], least: 1.0, share: 0.01, threshold: 5.2 };
    let opened = alerts.candidate(1.0, &candidate).expect("it is an anomaly").clone();
    alerts.candidate(2.0, &candidate);
    [opened, alerts.finish().remove(0)]
}

fn session() -> Session {
    let worst = Finding { threshold: None, anomaly: None, p_value: None, ..finding() };
    let value = json!({
        "session": "ann", "first": 3, "last": 142, "records": 17, "score": 12.0, "threshold": 5.2, "anomaly": true,
        "worst": worst, "p_value": 1e-8, "reasons": ["steps in an order that normal sessions do not have"],
    });
    Session { anomaly: Some(true), worst: Some(Box::new(worst)), value }
}

fn broken() -> BrokenLine {
    BrokenLine::new(7, None, &RecordFault { message: "line 7: no object".into(), head: b"oops".to_vec() }, true)
}

/// One of each kind.
fn answers() -> Vec<Answer> {
    let findings = [finding(), usual(), known("good"), known("bad")].map(|finding| Answer::Finding(Box::new(finding)));
    let alerts = alerts().map(|alert| Answer::Alert(Box::new(alert)));
    findings.into_iter().chain(alerts).chain([Answer::Session(session()), Answer::Broken(broken())]).collect()
}

fn documents(schema: Schema) -> Vec<Value> {
    let writer = Writer::new(schema, "run");
    let line = |answer: &Answer| {
        let line = writer.line_at(answer, NOW).unwrap();
        assert!(line.ends_with('\n') && line.matches('\n').count() == 1);
        serde_json::from_str(&line).unwrap()
    };
    answers().iter().map(line).collect()
}

#[test]
fn our_own_lines_stay_as_they_are() {
    let writer = Writer::new(Schema::Jsonl, "run");
    for answer in answers() {
        assert_eq!(writer.line(&answer).unwrap(), serde_json::to_string(&answer).unwrap() + "\n");
    }
}

#[test]
fn a_document_stands_under_the_names_that_are_given() {
    let writer = Writer::new(Schema::Jsonl, "run").under("$!.log\"wright").unwrap();
    let answer = Answer::Broken(broken());
    let line: Value = serde_json::from_str(&writer.line(&answer).unwrap()).unwrap();
    assert_eq!(line, json!({ "$!": { "log\"wright": serde_json::to_value(&answer).unwrap() } }));
    assert!(Writer::new(Schema::Ecs, "run").under("a..b").unwrap_err().to_string().contains("--under"));
}

#[test]
fn an_anomaly_as_ecs() {
    let mut document = documents(Schema::Ecs).remove(0);
    let own = document.as_object_mut().unwrap().shift_remove("logwright").unwrap();
    assert_eq!((&own["record"], &own["fields"][0]["path"], own.get("raw")), (&json!(142), &json!("browser"), None));
    let said = "browser \"Python 3.8\": never seen here; ip \"192.0.2.7\": 19.4 nats where 1.1 are usual";
    let wanted = json!({
        "@timestamp": "2026-11-28T09:12:44Z",
        "ecs": { "version": "9.4.0" },
        "message": format!("Unusual record 142: {said}"),
        "event": {
            "kind": "alert",
            "category": ["intrusion_detection"],
            "type": ["info"],
            "id": "5d0f6bd4b1a7c0e2",
            "created": "2026-11-18T11:06:40.250000Z",
            "module": "logwright",
            "dataset": "logwright.records",
            "action": "unusual-record",
            "reason": said,
            "risk_score": 50.0,
            "risk_score_norm": 50.0,
            "severity": 3,
            "sequence": 142,
            "hash": "d".repeat(32),
            "original": "{\"browser\":\"Python 3.8\",\"n\":1.50}",
        },
        "rule": { "name": "Unusual record", "category": "Anomaly", "ruleset": "logwright", "version": VERSION },
        "related": { "user": ["ann"], "ip": ["192.0.2.7"] },
        "log": { "file": { "path": "/var/log/app.log" } },
        "observer": { "product": "logwright", "vendor": "logwright", "version": VERSION },
        "labels": { "model": "run" },
        "tags": ["logwright", "anomaly"],
    });
    assert_eq!(document, wanted);
}

#[test]
fn what_ecs_says_of_other_answers() {
    let documents = documents(Schema::Ecs);
    let said = |at: usize, path: &str| documents[at].pointer(path).cloned().unwrap_or(Value::Null);
    let column = |path: &str| (0..documents.len()).map(|at| said(at, path)).collect::<Vec<_>>();
    let alert = "alert";
    assert_eq!(column("/event/kind"), [alert, "event", "event", alert, alert, alert, alert, "pipeline_error"]);
    assert_eq!(
        column("/event/risk_score"),
        [json!(50.0), json!(3.0), json!(0.0), json!(100.0), json!(50.0), json!(50.0), json!(80.0), Value::Null]
    );
    assert_eq!(
        (said(1, "/@timestamp"), said(1, "/event/category")),
        (json!("2026-11-18T11:06:40.250000Z"), Value::Null)
    );
    assert_eq!((said(2, "/rule/name"), said(3, "/rule/id")), (json!("known-good"), json!("k1")));
    assert_eq!((said(4, "/event/id"), said(5, "/event/id")), (said(0, "/event/id"), said(0, "/event/id")));
    assert_eq!((said(4, "/event/action"), said(5, "/event/action")), (json!("alert-opened"), json!("alert-closed")));
    assert_eq!((said(5, "/logwright/alert/count"), said(5, "/event/end")), (json!(2), json!("2026-11-28T09:12:44Z")));
    assert_eq!(
        (said(6, "/event/id"), said(6, "/logwright/session/records")),
        (json!("session-5d0f6bd4b1a7c0e2"), json!(17))
    );
    assert!(said(6, "/message").as_str().unwrap().starts_with("Unusual session ann of 17 records: steps in an order"));
    assert_eq!((said(7, "/error/message"), said(7, "/logwright/head")), (json!("line 7: no object"), json!("oops")));
    assert!(documents.iter().all(|document| !document.to_string().contains("\"raw\"")), "it is event.original");
}

#[test]
fn an_anomaly_as_ocsf() {
    let mut document = documents(Schema::Ocsf).remove(0);
    let own = document.as_object_mut().unwrap().shift_remove("unmapped").unwrap();
    assert_eq!((&own["record"], &own["related"]["ips"][0], own.get("raw")), (&json!(142), &json!("192.0.2.7"), None));
    let reasons = "browser \"Python 3.8\": never seen here; ip \"192.0.2.7\": 19.4 nats where 1.1 are usual";
    let (now, then) = (1_795_000_000_250_u64, 1_795_857_164_000_u64);
    let anomaly = |path: &str, pattern: &str, value: &str| {
        json!({
            "observation_parameter": path, "observation_type": "Frequency Analysis", "observed_pattern": pattern,
            "observations": [{ "value": value, "count": 1 }],
        })
    };
    let baseline = |path: &str| {
        json!({
            "observation_parameter": format!("{path} (surprisal in nats; here 19.4)"), "observation_type": "Distribution Analysis",
            "observed_pattern": "MEAN", "observations": [{ "value": "1.1" }],
        })
    };
    let wanted = json!({
        "activity_id": 1, "activity_name": "Create", "category_uid": 2, "category_name": "Findings", "class_uid": 2004,
        "class_name": "Detection Finding", "type_uid": 200401, "type_name": "Detection Finding: Create",
        "time": now, "start_time": then, "end_time": then, "severity_id": 3, "severity": "Medium", "status_id": 1,
        "status": "New", "is_alert": true, "risk_score": 50, "message": format!("Unusual record 142: {reasons}"),
        "metadata": {
            "version": "1.8.0", "product": { "name": "logwright", "vendor_name": "logwright", "version": VERSION },
            "uid": "5d0f6bd4b1a7c0e2", "original_time": "2026-11-28T09:12:44Z", "log_name": "/var/log/app.log",
            "labels": ["model:run"], "sequence": 142,
        },
        "finding_info": {
            "uid": "5d0f6bd4b1a7c0e2", "title": "Unusual record 142", "desc": reasons, "types": ["record", "anomaly"],
            "created_time": now, "first_seen_time": then, "last_seen_time": then, "related_events_count": 1,
            "analytic": {
                "name": "Surprisal of a language model of these logs", "uid": "run", "type_id": 4,
                "type": "Learning (ML/DL)", "version": VERSION,
            },
        },
        "anomaly_analyses": [{
            "analysis_targets": [{ "name": "/var/log/app.log", "type": "Log" }],
            "anomalies": [anomaly("browser", "UNSEEN", "Python 3.8"), anomaly("ip", "RARE", "192.0.2.7")],
            "baselines": [baseline("browser"), baseline("ip")],
        }],
        "observables": [
            { "name": "unmapped.related.users[0]", "type_id": 4, "type": "User Name", "value": "ann" },
            { "name": "unmapped.related.ips[0]", "type_id": 2, "type": "IP Address", "value": "192.0.2.7" },
        ],
        "raw_data": "{\"browser\":\"Python 3.8\",\"n\":1.50}",
    });
    assert_eq!(document, wanted);
}

#[test]
fn what_ocsf_says_of_other_answers() {
    let documents = documents(Schema::Ocsf);
    let said = |at: usize, path: &str| documents[at].pointer(path).cloned().unwrap_or(Value::Null);
    let column = |path: &str| (0..documents.len()).map(|at| said(at, path)).collect::<Vec<_>>();
    assert_eq!(column("/type_uid"), [200401, 200401, 200401, 200401, 200401, 200402, 200401, 99]);
    assert_eq!(column("/severity_id"), [3, 1, 1, 4, 3, 3, 4, 1]);
    assert_eq!((said(1, "/anomaly_analyses"), said(1, "/is_alert")), (Value::Null, json!(false)));
    assert_eq!((said(2, "/status_id"), said(3, "/status_id")), (json!(3), json!(1)));
    let [opened, closed] = [4, 5].map(|at| [said(at, "/metadata/uid"), said(at, "/finding_info/uid")]);
    assert!(opened[0] != closed[0] && opened[1] == closed[1]);
    assert_eq!((said(5, "/is_alert"), said(5, "/finding_info/related_events_count")), (json!(false), json!(2)));
    assert_eq!(said(6, "/anomaly_analyses/0/anomalies/0/observation_type"), "Sequence Analysis");
    assert_eq!((said(7, "/class_uid"), said(7, "/status_detail")), (json!(0), json!("line 7: no object")));
}

/// The type of each member of ECS 9.4.0 that documents use (generated/csv/fields.csv of the schema).
const ECS_TYPES: [(&str, &str); 33] = [
    ("@timestamp", "date"),
    ("ecs.version", "text"),
    ("message", "text"),
    ("error.message", "text"),
    ("event.action", "text"),
    ("event.category", "texts"),
    ("event.created", "date"),
    ("event.dataset", "text"),
    ("event.end", "date"),
    ("event.hash", "text"),
    ("event.id", "text"),
    ("event.kind", "text"),
    ("event.module", "text"),
    ("event.original", "text"),
    ("event.reason", "text"),
    ("event.risk_score", "number"),
    ("event.risk_score_norm", "number"),
    ("event.sequence", "integer"),
    ("event.severity", "integer"),
    ("event.start", "date"),
    ("event.type", "texts"),
    ("labels.model", "text"),
    ("log.file.path", "text"),
    ("observer.product", "text"),
    ("observer.vendor", "text"),
    ("observer.version", "text"),
    ("related.ip", "texts"),
    ("related.user", "texts"),
    ("rule.category", "text"),
    ("rule.name", "text"),
    ("rule.ruleset", "text"),
    ("rule.version", "text"),
    ("tags", "texts"),
];
/// Those of known-good and known-bad.
const ECS_OF_KNOWN: [(&str, &str); 2] = [("rule.id", "text"), ("rule.description", "text")];

/// The paths of all members that hold no others, with the kind of their value.
fn kinds(value: &Value, path: &str, found: &mut BTreeMap<String, &'static str>) {
    let kind = match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                kinds(member, &path, found);
            }
            return;
        }
        Value::Array(list) if list.iter().all(Value::is_string) => "texts",
        Value::String(text) if text.len() >= 20 && text.ends_with('Z') => "date",
        Value::String(_) => "text",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::Bool(_) | Value::Null | Value::Array(_) => "other",
    };
    found.insert(path.to_string(), kind);
}

#[test]
fn ecs_knows_every_member_by_its_type() {
    let types: BTreeMap<&str, &str> = ECS_TYPES.into_iter().chain(ECS_OF_KNOWN).collect();
    let mut used = BTreeMap::new();
    for mut document in documents(Schema::Ecs) {
        document.as_object_mut().unwrap().shift_remove("logwright");
        let mut found = BTreeMap::new();
        kinds(&document, "", &mut found);
        for (path, kind) in found {
            assert_eq!(types.get(path.as_str()), Some(&kind), "{path} in {document}");
            used.insert(path, kind);
        }
        assert!(["@timestamp", "ecs", "event"].iter().all(|name| document.get(name).is_some()), "{document}");
        // The schema lets an intrusion be allowed, denied or told of.
        let event = &document["event"];
        assert!(event.get("category").is_none() || event["type"] == json!(["info"]), "{document}");
    }
    assert_eq!(used.len(), types.len(), "{used:?}");
}

/// The members that OCSF 1.8.0 requires of a class or object, by their paths, and their types.
const OCSF_REQUIRED: [(&str, &str); 8] = [
    ("/activity_id", "integer"),
    ("/category_uid", "integer"),
    ("/class_uid", "integer"),
    ("/metadata/product/name", "text"),
    ("/metadata/version", "text"),
    ("/severity_id", "integer"),
    ("/time", "integer"),
    ("/type_uid", "integer"),
];

#[test]
fn ocsf_finds_what_it_requires() {
    for document in documents(Schema::Ocsf) {
        let kind = |path: &str| {
            let mut found = BTreeMap::new();
            document.pointer(path).into_iter().for_each(|value| kinds(value, "", &mut found));
            found.remove("")
        };
        for (path, wanted) in OCSF_REQUIRED {
            assert_eq!(kind(path), Some(wanted), "{path} in {document}");
        }
        let number = |path: &str| document.pointer(path).and_then(Value::as_u64).unwrap();
        assert_eq!(number("/type_uid"), 100 * number("/class_uid") + number("/activity_id"));
        if number("/class_uid") == 2004 {
            assert_eq!(
                [kind("/finding_info/uid"), kind("/finding_info/analytic/type_id")],
                [Some("text"), Some("integer")]
            );
        }
        for analysis in document["anomaly_analyses"].as_array().into_iter().flatten() {
            assert!(analysis["analysis_targets"][0]["name"].is_string());
            let lists = [&analysis["anomalies"], &analysis["baselines"]];
            for one in lists.iter().flat_map(|list| list.as_array().unwrap()) {
                assert!(
                    one["observation_parameter"].is_string() && one["observations"][0]["value"].is_string(),
                    "{one}"
                );
            }
        }
        for observable in document["observables"].as_array().into_iter().flatten() {
            let name = observable["name"].as_str().unwrap().replace('[', "/").replace(']', "").replace('.', "/");
            assert_eq!(
                document.pointer(&format!("/{name}")),
                Some(&observable["value"]),
                "a name is a place in the document"
            );
        }
    }
}
