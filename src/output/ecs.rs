//! Elastic Common Schema: one document for each answer.
//!
//! | answer | `event.kind` | `event.id` |
//! |---|---|---|
//! | an anomaly | `alert` | the finding's; of a session that of its worst record behind `session-` |
//! | a record or session that is none | `event` | the same |
//! | an alert that opens or closes | `alert` | the alert's, so that what closes replaces what opened |
//! | a line that is no record | `pipeline_error` | none |

use super::document::{Context, filled, members};
use super::summary::{Subject, Summary};
use crate::Result;
use crate::finding::Finding;
use crate::stream::{Answer, BrokenLine};
use crate::version::VERSION;
use serde_json::{Value, json};

/// The version of the schema.
pub const ECS: &str = "9.4.0";

pub fn document(answer: &Answer, context: &Context) -> Result<Value> {
    let summary = match answer {
        Answer::Finding(finding) => Some(Summary::of_record(finding)),
        Answer::Session(session) => Summary::of_session(session),
        Answer::Alert(alert) => Some(Summary::of_alert(alert)),
        Answer::Broken(line) => return Ok(broken(line, members(answer)?, context)),
    };
    let summary = summary.expect("a session has a record");
    let finding = summary.finding;
    let entities = &finding.attached.entities;
    let document = json!({
        "@timestamp": summary.last.map_or_else(|| context.now_text(), str::to_string),
        "ecs": { "version": ECS },
        "message": summary.sentence(),
        "event": event(&summary, context),
        "rule": rule(&summary),
        "related": { "user": entities.users, "ip": entities.ips, "hosts": entities.hosts, "hash": entities.hashes },
        "log": { "file": { "path": finding.source } },
        "observer": observer(),
        "labels": { "model": context.model },
        "tags": tags(&summary),
    });
    let mut document = filled(document);
    // As they are: a null says that there is no threshold.
    document["logwright"] = members(answer)?;
    Ok(document)
}

fn event(summary: &Summary, context: &Context) -> Value {
    let (dataset, action) = match summary.subject {
        Subject::Record => ("logwright.records", "unusual-record"),
        Subject::Session => ("logwright.sessions", "unusual-session"),
        Subject::AlertOpened => ("logwright.alerts", "alert-opened"),
        Subject::AlertClosed => ("logwright.alerts", "alert-closed"),
    };
    let Finding { record, origin, attached, .. } = summary.finding;
    let (one, several) = (summary.subject == Subject::Record, summary.count > 1);
    // What a record that is as usual is about is not known, and no category fits all.
    let of_alert = |value: Value| if summary.is_anomaly { value } else { Value::Null };
    json!({
        "kind": if summary.is_anomaly { "alert" } else { "event" },
        "category": of_alert(json!(["intrusion_detection"])),
        "type": of_alert(json!(["info"])),
        "id": summary.id,
        "created": context.now_text(),
        "start": summary.first.filter(|_| several),
        "end": summary.last.filter(|_| several),
        "module": "logwright",
        "dataset": dataset,
        "action": of_alert(action.into()),
        "reason": summary.said(),
        "risk_score": summary.risk,
        "risk_score_norm": summary.risk,
        "severity": summary.severity.id(),
        "sequence": one.then_some(record),
        "hash": one.then_some(&origin.digest),
        "original": attached.raw.as_ref().map(|raw| raw.text()),
    })
}

/// What judged: the model, or what people know.
fn rule(summary: &Summary) -> Value {
    let known = summary.finding.known.as_ref().filter(|_| summary.subject == Subject::Record);
    match known {
        Some(known) => {
            json!({ "name": format!("known-{}", known.state), "id": known.id, "description": known.reason, "ruleset": "logwright" })
        }
        None if summary.is_anomaly => {
            let name = match summary.subject {
                Subject::Record => "Unusual record",
                Subject::Session => "Unusual session",
                Subject::AlertOpened | Subject::AlertClosed => "Unusual records that belong together",
            };
            json!({ "name": name, "category": "Anomaly", "ruleset": "logwright", "version": VERSION })
        }
        None => Value::Null,
    }
}

fn observer() -> Value {
    json!({ "product": "logwright", "vendor": "logwright", "version": VERSION })
}

fn tags(summary: &Summary) -> Vec<String> {
    let known = summary.finding.known.as_ref().map(|known| format!("known-{}", known.state));
    let drifts = summary.finding.drift.is_some().then(|| "drift".to_string());
    let anomaly = summary.is_anomaly.then(|| "anomaly".to_string());
    ["logwright".to_string()].into_iter().chain(anomaly).chain(known).chain(drifts).collect()
}

fn broken(line: &BrokenLine, members: Value, context: &Context) -> Value {
    let mut document = filled(json!({
        "@timestamp": context.now_text(),
        "ecs": { "version": ECS },
        "message": format!("Line {} is no record", line.record),
        "event": {
            "kind": "pipeline_error",
            "type": ["error"],
            "created": context.now_text(),
            "module": "logwright",
            "dataset": "logwright.records",
            "sequence": line.record,
        },
        "error": { "message": line.error },
        "log": { "file": { "path": line.source } },
        "observer": observer(),
        "labels": { "model": context.model },
        "tags": ["logwright"],
    }));
    document["logwright"] = members;
    document
}
