//! Are generated records true to the real ones, and do they keep the training records to themselves?
//!
//! Plain data in, numbers out. Three sets of records take part: *training* (what the model learnt), *validation* (real, held
//! out) and *generated*. Whatever is measured of generated records is measured of validation records too: the yardstick.
//!
//! Training is read twice and never held: memory is that of samples of bounded size, of the profile, and of 70 MB for
//! each megabyte in which copied spans are looked for (1 MB of each side at most).

pub mod conformity;
pub mod distance;
pub mod language;
mod measure;
mod pair;
pub mod privacy;
pub mod rules;
mod samples;
pub mod spans;
mod table;
pub mod text;
pub mod tfidf;

pub use measure::{CheckedRule, Compared, Fidelity, Structure, TrainingRecords, measure};
pub use pair::{Pair, Share};
pub use samples::{Reservoir, SeededRng, thin};
