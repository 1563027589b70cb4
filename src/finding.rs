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
//! | `id` | identifier of the finding, the same whenever the same input is scored again: the first 16 hexadecimal digits of the SHA-256 of `source` (empty where it is absent), a NUL, `record` in decimal, a NUL and the record |
//! | `digest` | the first 32 hexadecimal digits of the SHA-256 of the record alone |
//! | `time` | the record's own time in UTC as RFC 3339, by `--time-field` or where records usually have it; absent where none was found |
//! | `score`, `threshold`, `anomaly` | the score by the aggregate; the last two are null without a threshold, and a score above it is an anomaly |
//! | `p_value` | with a calibration: the share of normal records with a score at least this high; beyond the highest one by a fitted tail |
//! | `evidence` | with a calibration: what the score comes from, in nats: `fields` (their surprisals), `values` (never seen), `pairs` (of values never seen together), `distance` (from the nearest normal record), `2-gram` (the rarest step from one value to the next), `order` (of members), `characters` (that a char tokenizer lacks) |
//! | `known` | where `known-good` or `known-bad` decided the verdict instead of the score: `state` (`good` or `bad`), and `id` and `reason` of the entry |
//! | `nats_per_char`, `nats_per_token` | surprisal of the whole record with its newline, per character and per token |
//! | `max_token` | `text`, `nats` and byte offset `at` (in the record without a prefix) of the most surprising token in a scored field |
//! | `fields` | the most unusual ones: `path`, `value` (at most 200 characters), `nats`, and with a calibration `expected` (mean nats of this path), `evidence` (-ln of the p-value of its surprisal among normal records, and what a new value or pair adds), by which they are ordered, and `reason` in words; `(order)` stands for an order of members that training never had |
//!
//! | `kept` | with `--keep PATH`: the values of these fields by path, an array where a path stands several times |
//! | `drift` | while the stream is unlike the normal records of the calibration: `since` (number of a record), `flagged` and `expected` (shares of anomalies), and `paths` that moved, each with its `mean_p_value` (one half is usual) and whether it is `new` |
//! | `raw` | with `--with-record`: the record as the log has it, an object where it is one, else a string |
//!
//! `id`, `digest`, `kept` and `raw` are of the record with the pseudonyms of `--key-file`, where one is given; with `--in-clear`
//! `kept` and `raw` are of the raw record.
//!
//! A line that is not a record has `record`, `source`, `error` and `head`, its first 200 bytes (not with `--key-file` alone,
//! which cannot replace names in it). A session has `session` (its key), `first` and `last` (record
//! numbers, with `first_source` and `last_source` if there are several inputs), `records`, `score`, `threshold`, `anomaly` and
//! `worst`, the finding on the record with the highest score, without a verdict of its own; with a calibration also `p_value`, and `evidence`, in nats:
//! `records` (their score), `order` (of events), `events` (their numbers), `many`, `few` (records), `pause` and `hurry` (time between
//! records), and `reasons`, what is odd beside the records, in words.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// What scoring found about one record. As JSON, one line of `logwright score`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Number of the record in its input, from 1.
    pub record: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(flatten)]
    pub origin: Origin,
    pub score: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    pub threshold: Option<f64>,
    pub anomaly: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<FoundEvidence>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known: Option<KnownAs>,
    pub nats_per_char: f64,
    pub nats_per_token: f64,
    pub max_token: MaxToken,
    /// The most unusual first.
    pub fields: Vec<FoundField>,
    #[serde(flatten)]
    pub attached: Attached,
    /// How the stream differs from the normal records of the calibration, while it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// All tokens in order; empty where they are not asked for.
    #[serde(skip)]
    pub tokens: Vec<Shaded>,
}

/// What decided the verdict instead of the score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KnownAs {
    /// `good` or `bad`.
    pub state: &'static str,
    pub id: String,
    pub reason: String,
}

/// What identifies a record.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Origin {
    pub id: String,
    pub digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

/// What is shown of a record because it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Attached {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<RawJson>,
    /// Who and what the record names, where that is asked for; other schemas have places for it.
    #[serde(skip)]
    pub entities: Entities,
}

/// Users, addresses, hosts and hashes that a record names, each once, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entities {
    pub users: Vec<String>,
    pub ips: Vec<String>,
    pub hosts: Vec<String>,
    pub hashes: Vec<String>,
}

/// Values by path, in the order of the record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept(pub Vec<(String, Vec<RawJson>)>);

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(path, values)| (path, OneOrMore(values))))
    }
}

/// One value, or an array of several.
struct OneOrMore<'a>(&'a [RawJson]);

impl Serialize for OneOrMore<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            [one] => one.serialize(serializer),
            more => more.serialize(serializer),
        }
    }
}

/// A JSON value as it is written in a record, which is written out so again.
#[derive(Clone, Debug, PartialEq)]
pub struct RawJson(String);

impl RawJson {
    /// `None` if the text is no JSON.
    pub fn new(text: &str) -> Option<Self> {
        serde_json::from_str::<&RawValue>(text).ok().map(|value| RawJson(value.get().to_string()))
    }

    /// The value of a string, and the text of any other value.
    pub fn text(&self) -> String {
        serde_json::from_str(&self.0).unwrap_or_else(|_| self.0.clone())
    }

    /// Bytes as a string; what is no character is U+FFFD.
    pub fn string(bytes: &[u8]) -> Self {
        RawJson(serde_json::Value::from(String::from_utf8_lossy(bytes)).to_string())
    }
}

impl Serialize for RawJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        value.serialize(serializer)
    }
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
    /// The evidence that the field is not normal, in nats: minus the logarithm of the p-value of its surprisal among normal
    /// records, and what a value or a pair of values adds that was never seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<f64>,
    /// What else is odd about it, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The evidence that a record is not normal, in nats by where it comes from; those of 0 are left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct FoundEvidence(pub BTreeMap<&'static str, f64>);

/// A stream that is no longer like the normal records of its calibration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drift {
    /// Number of the record from which on, counted over all inputs.
    pub since: u64,
    /// The share of anomalies in the last window, and the share that is usual.
    pub flagged: f64,
    pub expected: f64,
    /// The paths that moved most, the farthest first.
    pub paths: Vec<DriftedPath>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DriftedPath {
    pub path: String,
    /// The mean p-value of its surprisals in the last window; one half is usual.
    pub mean_p_value: f64,
    /// Whether no normal record had it.
    #[serde(rename = "new")]
    pub is_new: bool,
}

impl FoundField {
    /// The evidence in nats from which a field is odd: one of 150 normal values is.
    const ODD: f64 = 5.0;

    /// Whether the field is far from what is usual for it.
    pub fn is_odd(&self) -> bool {
        self.evidence.is_some_and(|evidence| evidence > Self::ODD)
    }
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

/// Tokens that split a character, joined with those that complete it.
pub fn whole_characters(tokens: &[Shaded]) -> Vec<Shaded> {
    let mut joined: Vec<Shaded> = Vec::new();
    let mut open = false;
    for token in tokens {
        match joined.last_mut() {
            Some(before) if open => {
                before.text.extend_from_slice(&token.text);
                (before.nats, before.found) = (before.nats + token.nats, before.found || token.found);
            }
            _ => joined.push(token.clone()),
        }
        // Bytes that can never become a character are shown one by one.
        let text = joined.last().map_or(&[][..], |token| &token.text);
        open = std::str::from_utf8(text).is_err_and(|error| error.error_len().is_none());
    }
    joined
}
