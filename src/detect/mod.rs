//! Labelled detection: how well scores tell attacks from normal records, compared with the baselines that a model has to beat.
//!
//! Scores come in as plain numbers, from any detector: higher means more unusual, and above the threshold means anomaly.
//!
//! ```text
//! labels file or field -> labels --.
//! scores of the records -----------+-> evaluate -> Detection (one row of the table), also by kind of attack
//! scores of normal data -> threshold
//! normal records -> observed -> normal -> novelty of other records, which is the baselines' scores -> evaluate
//! verdicts, values at a path -> groups -> Division (rates of each group beside those of the others)
//! ```

pub mod evaluate;
pub mod groups;
#[cfg(test)]
mod hdfs;
pub mod labels;
pub mod metrics;
mod normal;
mod observed;
mod packed;
mod proportions;
mod sequences;
#[cfg(test)]
mod sign_ins;

pub use evaluate::{AtThreshold, Detection, Samples, baselines, by_kind, evaluate, threshold};
pub use metrics::{Confusion, Ranking};
pub use normal::{DISTANCE, MOST_NEW, NAMES, Normal, Novelty, PAIRS, TWO_GRAM, VALUES};
pub use observed::{Observed, ObservedValue, hash, pair};
pub use sequences::{Sequences, two_grams};
