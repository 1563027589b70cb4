//! OCSF: a Detection Finding for each answer about records, and a Base Event for a line that is no record.
//!
//! A finding is created once (`activity_id` 1). An alert that closes updates the one that opened (2): that no record of it came
//! for a while does not say that somebody has dealt with it. What is known to be good is suppressed (`status_id` 3).

use super::document::{Context, filled, members};
use super::summary::{Subject, Summary};
use crate::Result;
use crate::finding::{Entities, Finding, FoundField};
use crate::record::log_seconds;
use crate::score::ORDER;
use crate::stream::{Answer, BrokenLine};
use crate::version::VERSION;
use serde_json::{Value, json};

/// The version of the schema.
pub const OCSF: &str = "1.8.0";

const CLASS: u64 = 2004;
/// What is observed, with its number and name as a type of observables.
const HOSTNAME: (u64, &str) = (1, "Hostname");
const IP_ADDRESS: (u64, &str) = (2, "IP Address");
const USER_NAME: (u64, &str) = (4, "User Name");
const HASH: (u64, &str) = (8, "Hash");

pub fn document(answer: &Answer, context: &Context) -> Result<Value> {
    let summary = match answer {
        Answer::Finding(finding) => Some(Summary::of_record(finding)),
        Answer::Session(session) => Summary::of_session(session),
        Answer::Alert(alert) => Some(Summary::of_alert(alert)),
        Answer::Broken(line) => return Ok(broken(line, context)),
    };
    let summary = summary.expect("a session has a record");
    let mut document = filled(finding(&summary, context));
    // As they are: a null says that there is no threshold.
    let mut unmapped = members(answer)?;
    let entities = &summary.finding.attached.entities;
    let related = filled(json!({
        "users": entities.users, "ips": entities.ips, "hosts": entities.hosts, "hashes": entities.hashes,
    }));
    if related.as_object().is_some_and(|related| !related.is_empty()) {
        unmapped["related"] = related;
    }
    document["unmapped"] = unmapped;
    Ok(document)
}

fn finding(summary: &Summary, context: &Context) -> Value {
    let (activity, activity_name) = match summary.subject {
        Subject::AlertClosed => (2, "Update"),
        Subject::Record | Subject::Session | Subject::AlertOpened => (1, "Create"),
    };
    let is_suppressed = summary.finding.known.as_ref().is_some_and(|known| known.state == "good");
    let (status, status_name) = if is_suppressed { (3, "Suppressed") } else { (1, "New") };
    json!({
        "activity_id": activity,
        "activity_name": activity_name,
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": CLASS,
        "class_name": "Detection Finding",
        "type_uid": CLASS * 100 + activity,
        "type_name": format!("Detection Finding: {activity_name}"),
        "time": milliseconds(context.now),
        "start_time": time(summary.first),
        "end_time": time(summary.last),
        "severity_id": summary.severity.id(),
        "severity": summary.severity.name(),
        "status_id": status,
        "status": status_name,
        "is_alert": summary.is_anomaly && activity == 1,
        "risk_score": summary.risk.map(|risk| risk.round() as u64),
        "message": summary.sentence(),
        "metadata": metadata(summary, context),
        "finding_info": finding_info(summary, context),
        "anomaly_analyses": analyses(summary, context),
        "observables": observables(&summary.finding.attached.entities),
        "raw_data": summary.finding.attached.raw.as_ref().map(|raw| raw.text()),
    })
}

/// A time as the schema has it: milliseconds since 1970.
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1e3).round() as i64
}

fn time(text: Option<&str>) -> Option<i64> {
    text.and_then(log_seconds).map(milliseconds)
}

fn product() -> Value {
    json!({ "name": "logwright", "vendor_name": "logwright", "version": VERSION })
}

fn metadata(summary: &Summary, context: &Context) -> Value {
    let Finding { record, source, origin, .. } = summary.finding;
    // An alert is told twice, and each time is an event of its own.
    let uid = match summary.subject {
        Subject::AlertOpened => format!("{}-open", summary.id),
        Subject::AlertClosed => format!("{}-closed", summary.id),
        Subject::Record | Subject::Session => summary.id.clone(),
    };
    let is_one = summary.subject == Subject::Record;
    json!({
        "version": OCSF,
        "product": product(),
        "uid": uid,
        "original_time": origin.time.as_ref().filter(|_| is_one),
        "log_name": source,
        "labels": [format!("model:{}", context.model)],
        "sequence": is_one.then_some(record),
    })
}

fn finding_info(summary: &Summary, context: &Context) -> Value {
    let kind = match summary.subject {
        Subject::Record => "record",
        Subject::Session => "session",
        Subject::AlertOpened | Subject::AlertClosed => "alert",
    };
    json!({
        "uid": summary.id,
        "title": summary.title,
        "desc": summary.reasons.join("; "),
        "types": [kind, if summary.is_anomaly { "anomaly" } else { "no anomaly" }],
        "created_time": milliseconds(context.now),
        "first_seen_time": time(summary.first),
        "last_seen_time": time(summary.last),
        "related_events_count": summary.count,
        "analytic": {
            "name": "Surprisal of a language model of these logs",
            "uid": context.model,
            "type_id": 4,
            "type": "Learning (ML/DL)",
            "version": VERSION,
        },
    })
}

/// What was odd, and what is usual there.
fn analyses(summary: &Summary, context: &Context) -> Value {
    if summary.odd.is_empty() {
        return Value::Null;
    }
    let of_session = summary.subject == Subject::Session;
    // The clauses of a session come before those of its worst record.
    let own = summary.reasons.len() - summary.odd.len();
    let course = summary.reasons.iter().take(if of_session { own } else { 0 }).map(|reason| {
        json!({ "observation_parameter": "session", "observation_type": "Sequence Analysis", "observations": [{ "value": reason }] })
    });
    let fields = summary.odd.iter().map(|field| anomaly(field));
    let target = summary.finding.source.as_deref().unwrap_or(context.model);
    json!([{
        "analysis_targets": [{ "name": target, "type": "Log" }],
        "anomalies": course.chain(fields).collect::<Vec<_>>(),
        "baselines": summary.odd.iter().filter_map(|field| baseline(field)).collect::<Vec<_>>(),
    }])
}

fn anomaly(field: &FoundField) -> Value {
    let is_new = field.reason.as_deref().is_some_and(|reason| reason.starts_with("never seen"));
    let kind = if field.path == ORDER { "Sequence Analysis" } else { "Frequency Analysis" };
    json!({
        "observation_parameter": field.path,
        "observation_type": kind,
        "observed_pattern": if is_new { "UNSEEN" } else { "RARE" },
        "observations": [{ "value": field.value, "count": 1 }],
    })
}

/// How surprising the values of a field are in normal records, beside how surprising this one is.
fn baseline(field: &FoundField) -> Option<Value> {
    let expected = field.expected?;
    Some(json!({
        "observation_parameter": format!("{} (surprisal in nats; here {})", field.path, field.nats),
        "observation_type": "Distribution Analysis",
        "observed_pattern": "MEAN",
        "observations": [{ "value": expected.to_string() }],
    }))
}

/// What is named, each with the place in the document where it stands.
fn observables(entities: &Entities) -> Vec<Value> {
    let lists = [
        ("users", USER_NAME, &entities.users),
        ("ips", IP_ADDRESS, &entities.ips),
        ("hosts", HOSTNAME, &entities.hosts),
        ("hashes", HASH, &entities.hashes),
    ];
    let of = |(name, (id, kind), list): (&'static str, (u64, &'static str), &Vec<String>)| {
        let observable = move |(place, value): (usize, &String)| json!({ "name": format!("unmapped.related.{name}[{place}]"), "type_id": id, "type": kind, "value": value });
        list.iter().enumerate().map(observable).collect::<Vec<_>>()
    };
    lists.into_iter().flat_map(of).collect()
}

fn broken(line: &BrokenLine, context: &Context) -> Value {
    filled(json!({
        "activity_id": 99,
        "activity_name": "Read",
        "category_uid": 0,
        "category_name": "Uncategorized",
        "class_uid": 0,
        "class_name": "Base Event",
        "type_uid": 99,
        "type_name": "Base Event: Other",
        "time": milliseconds(context.now),
        "severity_id": 1,
        "severity": "Informational",
        "status_id": 2,
        "status": "Failure",
        "status_detail": line.error,
        "message": format!("Line {} is no record", line.record),
        "metadata": {
            "version": OCSF,
            "product": product(),
            "log_name": line.source,
            "labels": [format!("model:{}", context.model)],
            "sequence": line.record,
        },
        "raw_data": line.head,
    }))
}
