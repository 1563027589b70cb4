//! What is known: one entry of `known.json`.

use crate::alerts::Kind;
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::time::SystemTime;

/// Hexadecimal digits of an entry's identifier.
const ID_DIGITS: usize = 8;
/// Hexadecimal digits of the digest of a record, as findings have it.
const DIGEST_DIGITS: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judgement {
    Good,
    Bad,
}

impl Judgement {
    /// The command that makes such entries.
    pub fn command(self) -> &'static str {
        match self {
            Judgement::Good => "known-good",
            Judgement::Bad => "known-bad",
        }
    }

    pub fn other(self) -> Self {
        match self {
            Judgement::Good => Judgement::Bad,
            Judgement::Bad => Judgement::Good,
        }
    }
}

/// What an entry may be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scope {
    /// A value of a field, in any record
    Field,
    /// The kind of an alert: its template with the same odd fields
    Template,
    /// One record, byte for byte
    Record,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "scope", content = "what", rename_all = "lowercase")]
pub enum What {
    Field { path: String, value: String },
    Template(Kind),
    Record { digest: String },
}

/// One thing that is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub id: String,
    pub state: Judgement,
    #[serde(flatten)]
    pub what: What,
    pub reason: String,
    /// When it was added, in UTC as RFC 3339.
    pub date: String,
}

impl Entry {
    pub fn new(state: Judgement, what: What, reason: &str) -> Self {
        let text = serde_json::to_string(&(state, &what)).expect("strings and a list are JSON");
        let mut id: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        id.truncate(ID_DIGITS);
        let date = DateTime::from(SystemTime::now()).to_utc().format("%Y-%m-%dT%H:%M:%SZ").to_string();
        Entry { id, state, what, reason: reason.to_string(), date }
    }

    /// Checks what [`Entry::new`] makes. The error names the member.
    pub(super) fn check(&self) -> Result<(), String> {
        let is_hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if self.id.len() != ID_DIGITS || !is_hexadecimal(&self.id) {
            return Err(format!("id is {:?}, expected {ID_DIGITS} hexadecimal digits", self.id));
        }
        if DateTime::parse_from_rfc3339(&self.date).is_err() {
            return Err(format!("date is {:?}, expected a time such as 2026-01-31T10:00:00Z", self.date));
        }
        match &self.what {
            What::Record { digest } if digest.len() != DIGEST_DIGITS || !is_hexadecimal(digest) => {
                Err(format!("what.digest is {digest:?}, expected {DIGEST_DIGITS} hexadecimal digits"))
            }
            What::Template(kind) if !kind.says_what() => {
                Err("what.odd has no value, expected one for at least one path".to_string())
            }
            _ => Ok(()),
        }
    }
}
