//! What every schema says of an answer about records: which it is, its verdict, and why in words.

use super::risk::{KNOWN_BAD, KNOWN_GOOD, Severity, risk};
use crate::alerts::Alert;
use crate::finding::{Finding, FoundField};
use crate::stream::Session;
use crate::words::counted;
use serde_json::Value;

/// The most odd fields that are named, and the most that a sentence names.
const MOST_ODD: usize = 8;
const MOST_SAID: usize = 3;

/// What an answer is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Record,
    Session,
    AlertOpened,
    AlertClosed,
}

/// An answer about one or more records.
#[derive(Debug)]
pub struct Summary<'a> {
    pub subject: Subject,
    /// The same whenever the same input is scored again.
    pub id: String,
    pub is_anomaly: bool,
    /// From 0 to 100, where it is known.
    pub risk: Option<f64>,
    pub severity: Severity,
    /// What it is, in a few words.
    pub title: String,
    /// Why it is unusual, each a clause; none where it is not.
    pub reasons: Vec<String>,
    /// The odd fields of the record, or of the worst one.
    pub odd: Vec<&'a FoundField>,
    /// How many records it is of.
    pub count: u64,
    /// The times of its first and its last record.
    pub first: Option<&'a str>,
    pub last: Option<&'a str>,
    /// The finding on its record, or on the worst of them.
    pub finding: &'a Finding,
}

impl<'a> Summary<'a> {
    pub fn of_record(finding: &'a Finding) -> Self {
        let is_anomaly = finding.anomaly == Some(true);
        let known = finding.known.as_ref();
        let number = finding.record;
        let title = match (is_anomaly, known) {
            (true, _) => format!("Unusual record {number}"),
            (false, Some(_)) => format!("Record {number} is known to be good"),
            (false, None) if finding.anomaly.is_none() => format!("Record {number}, without a threshold to judge it"),
            (false, None) => format!("Record {number} is as usual"),
        };
        let time = finding.origin.time.as_deref();
        Summary {
            subject: Subject::Record,
            id: finding.origin.id.clone(),
            title,
            first: time,
            last: time,
            ..Self::judged(finding, is_anomaly, risk_of(finding))
        }
    }

    /// None for a session without a record, which there is not.
    pub fn of_session(session: &'a Session) -> Option<Self> {
        let (value, finding) = (&session.value, session.worst.as_deref()?);
        let is_anomaly = session.anomaly == Some(true);
        let count = value["records"].as_u64().unwrap_or(1);
        let key = value["session"].as_str().unwrap_or_default();
        let what = if is_anomaly { "Unusual session" } else { "Session" };
        let time = finding.origin.time.as_deref();
        let judged = Self::judged(finding, is_anomaly, value["p_value"].as_f64().map(risk));
        let own = value["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_string);
        let reasons = if is_anomaly { own.chain(judged.reasons).collect() } else { Vec::new() };
        Some(Summary {
            subject: Subject::Session,
            // A record is of one session.
            id: format!("session-{}", finding.origin.id),
            title: format!("{what} {key} of {}", counted(count, "record")),
            reasons,
            count,
            first: time,
            last: time,
            ..judged
        })
    }

    pub fn of_alert(alert: &'a Alert) -> Self {
        let (subject, what) = match alert.is_closed() {
            false => (Subject::AlertOpened, "Alert"),
            true => (Subject::AlertClosed, "Closed alert"),
        };
        Summary {
            subject,
            id: alert.id.clone(),
            title: format!("{what} on {}", counted(alert.count, "unusual record")),
            count: alert.count,
            first: alert.first.time.as_deref(),
            last: alert.last.time.as_deref(),
            ..Self::judged(&alert.finding, true, risk_of(&alert.finding))
        }
    }

    fn judged(finding: &'a Finding, is_anomaly: bool, risk: Option<f64>) -> Self {
        let odd: Vec<&FoundField> = match is_anomaly {
            true => odd_fields(finding),
            false => Vec::new(),
        };
        let known = finding.known.as_ref().filter(|_| is_anomaly);
        let known = known.map(|known| format!("known to be {}: {}", known.state, known.reason));
        Summary {
            subject: Subject::Record,
            id: String::new(),
            is_anomaly,
            risk,
            severity: Severity::of(is_anomaly, risk),
            title: String::new(),
            reasons: known.into_iter().chain(odd.iter().map(|field| clause(field))).collect(),
            odd,
            count: 1,
            first: None,
            last: None,
            finding,
        }
    }

    /// The title, and the first reasons.
    pub fn sentence(&self) -> String {
        match self.reasons.is_empty() {
            true => self.title.clone(),
            false => format!("{}: {}", self.title, self.said()),
        }
    }

    /// The first reasons.
    pub fn said(&self) -> String {
        self.reasons.iter().take(MOST_SAID).map(String::as_str).collect::<Vec<_>>().join("; ")
    }
}

fn risk_of(finding: &Finding) -> Option<f64> {
    match &finding.known {
        Some(known) if known.state == "bad" => Some(KNOWN_BAD),
        Some(_) => Some(KNOWN_GOOD),
        None => finding.p_value.map(risk),
    }
}

/// The first field, which ranks highest, and others that are far from usual.
fn odd_fields(finding: &Finding) -> Vec<&FoundField> {
    let odd = finding.fields.iter().enumerate().filter(|(place, field)| *place == 0 || field.is_odd());
    odd.take(MOST_ODD).map(|(_, field)| field).collect()
}

/// Why a field is odd.
fn clause(field: &FoundField) -> String {
    let FoundField { path, value, nats, expected, reason, .. } = field;
    let why = match (reason, expected) {
        (Some(reason), _) => reason.clone(),
        (None, Some(expected)) => format!("{nats:.1} nats where {expected:.1} are usual"),
        (None, None) => format!("{nats:.1} nats"),
    };
    format!("{path} {value:?}: {why}")
}
