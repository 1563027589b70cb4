//! The training loop: batches through an engine, learning rate, validation, checkpoints, metrics.

pub mod config;
pub mod evaluate;
pub mod metrics;
pub mod run;
pub mod schedule;

pub use config::TrainConfig;
pub use run::{Outcome, Run, Start};
