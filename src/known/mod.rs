//! What analysts know of findings, kept beside the calibration: `known.json`.
//!
//! An entry says of a field's value, of a kind of finding or of one record that it is good or bad, since when and why:
//!
//! | scope | what it names | good | bad |
//! |---|---|---|---|
//! | `field` | a path and a value | the field is no evidence: its surprisal counts as none | each record with it is an anomaly |
//! | `template` | the template of an alert, with its odd fields | such a finding is no anomaly | such a finding is an anomaly |
//! | `record` | the digest of a record | this record is no anomaly | this record is an anomaly |
//!
//! Where a record is known both ways, it is bad. Values are compared as findings show them: with pseudonyms, or in clear.

mod entry;
mod file;
mod given;
mod verdict;

pub use entry::{Entry, Judgement, Scope, What};
pub use file::{FILE, KnownFile};
pub use given::given;
pub use verdict::Known;
