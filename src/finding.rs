//! What scoring finds about one record, as plain data.
//!
//! `score` makes findings and `report` shows them, so they are defined below both and neither imports the other.
//!
//! `logwright score` prints one JSON object per record, a [`Finding`]:
//!
//! | key | meaning |
//! |---|---|
//! | `record` | number of the record in its input, from 1; empty lines are not counted |
//! | `source` | name of the input, if there are several |
//! | `score`, `threshold`, `anomaly` | the score by the aggregate; the last two are null without a threshold, and a score above it is an anomaly |
//! | `nats_per_char`, `nats_per_token` | surprisal of the whole record with its newline, per character and per token |
//! | `max_token` | `text`, `nats` and byte offset `at` (in the record without a prefix) of the most surprising token in a scored field |
//! | `fields` | the most unusual ones: `path`, `value` (at most 200 characters), `nats`, and with a calibration `expected` (mean nats of this path) and `excess`, by which they are ordered |
//!
//! A line that is not a record has `record`, `source` and `error`. A session has `session` (its key), `first` and `last` (record
//! numbers, with `first_source` and `last_source` if there are several inputs), `records`, `score`, `threshold`, `anomaly` and
//! `worst`, the finding on the record with the highest score, without a verdict of its own.

use serde::Serialize;

/// What scoring found about one record. As JSON, one line of `logwright score`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Number of the record in its input, from 1.
    pub record: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    pub score: f64,
    pub threshold: Option<f64>,
    pub anomaly: Option<bool>,
    pub nats_per_char: f64,
    pub nats_per_token: f64,
    pub max_token: MaxToken,
    /// The most unusual first.
    pub fields: Vec<FoundField>,
    /// All tokens in order; empty where they are not asked for.
    #[serde(skip)]
    pub tokens: Vec<Shaded>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MaxToken {
    pub text: String,
    pub nats: f64,
    /// Byte offset in the record without its prefix.
    pub at: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FoundField {
    pub path: String,
    pub value: String,
    pub nats: f64,
    /// Mean nats of this path in normal records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excess: Option<f64>,
}

/// A token and its surprisal.
#[derive(Clone, Debug, PartialEq)]
pub struct Shaded {
    /// Any bytes.
    pub text: Vec<u8>,
    pub nats: f64,
    /// Lies in the value of one of the fields found.
    pub found: bool,
}
