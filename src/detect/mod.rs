//! Labelled detection: how well scores tell attacks from normal records, compared with the baselines that a model has to beat.
//!
//! Scores come in as plain numbers, from any detector: higher means more unusual, and above the threshold means anomaly.
//!
//! ```text
//! labels file or field -> labels --.
//! scores of the records -----------+-> evaluate -> Detection (one row of the table), also by kind of attack
//! scores of normal data -> threshold
//! normal records -> events -> baselines -> their scores -> evaluate
//! verdicts, values at a path -> groups -> Division (rates of each group beside those of the others)
//! ```

mod baselines;
pub mod evaluate;
pub mod events;
pub mod groups;
#[cfg(test)]
mod hdfs;
pub mod labels;
pub mod metrics;
mod proportions;
#[cfg(test)]
mod sign_ins;

pub use baselines::Baselines;
pub use evaluate::{AtThreshold, Detection, Samples, baselines, by_kind, evaluate, threshold};
pub use events::Events;
pub use metrics::{Confusion, Ranking};
