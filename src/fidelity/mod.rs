//! How faithful are generated records to the real ones, and what do they leak of the training records?
//!
//! Plain data in, numbers out. Three sets of records take part: *training* (what the model learnt), *validation* (real, held
//! out) and *generated*. Whatever is measured of generated records is also measured of validation records, as the baseline.
//!
//! The training records are read twice and never held in memory: memory is that of samples of bounded size, of the profile, and
//! of 70 MB for each megabyte that is searched for copied spans (at most 1 MB of each side).

pub mod conformity;
pub mod distance;
pub mod keys;
pub mod language;
mod measure;
mod pair;
pub mod privacy;
mod relations;
mod rule_kind;
pub mod rules;
mod samples;
pub mod spans;
mod table;
pub mod text;
pub mod tfidf;

pub use measure::{CheckedRule, Compared, Fidelity, Structure, TrainingRecords, measure};
pub use pair::{Pair, Share};
pub use rule_kind::RuleKind;
pub use samples::{IndexRng, Reservoir, thin};
