//! Training: what a run begins with, its loop of batches, learning rate, validation, checkpoints, metrics.

mod card;
pub mod config;
pub mod epochs;
pub mod evaluate;
pub mod metrics;
mod mixture;
mod plan;
mod profile;
mod provenance;
pub mod run;
pub mod schedule;
mod state;

pub use config::TrainConfig;
pub use mixture::Mixture;
pub use plan::{Begin, RunPlan, RunRequest};
pub use profile::ProfileSteps;
pub use run::{Run, RunOutcome, Start};
