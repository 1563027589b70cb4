//! What a stream answers, as it is printed.

use crate::alerts::Alert;
use crate::finding::Finding;
use crate::ingest::RecordFault;
use serde::Serialize;
use serde_json::Value;

/// One answer of a stream. As JSON, one line of `logwright score`.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Answer {
    Finding(Box<Finding>),
    Session(Session),
    /// An alert that opened or closed.
    Alert(Box<Alert>),
    Broken(BrokenLine),
}

/// A session that is closed.
#[derive(Serialize)]
#[serde(transparent)]
pub struct Session {
    #[serde(skip)]
    pub anomaly: Option<bool>,
    /// The finding on the record with the highest score, which the value holds as JSON.
    #[serde(skip)]
    pub worst: Option<Box<Finding>>,
    pub value: Value,
}

/// A line that is no record that the model can read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BrokenLine {
    /// Its number in its input, from 1.
    pub record: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    pub error: String,
    /// Its first 200 bytes, where they may be shown; what is no character is U+FFFD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
}

impl Answer {
    /// Whether a record or session is an anomaly; None without a threshold, and for other answers.
    pub fn anomaly(&self) -> Option<bool> {
        match self {
            Answer::Finding(finding) => finding.anomaly,
            Answer::Session(session) => session.anomaly,
            Answer::Alert(_) | Answer::Broken(_) => None,
        }
    }
}

impl BrokenLine {
    /// `shows_head`: its first bytes may be shown.
    pub fn new(record: u64, source: Option<String>, fault: &RecordFault, shows_head: bool) -> Self {
        let head = (shows_head && !fault.head.is_empty()).then(|| String::from_utf8_lossy(&fault.head).into_owned());
        BrokenLine { record, source, error: fault.message.clone(), head }
    }
}
