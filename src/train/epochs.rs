//! Passes over the training data: how many a run makes, and how many steps a number of them takes.

use super::config::{MOST_STEPS, TrainConfig};
use crate::dataset::Dataset;
use crate::{Error, Result};

/// A model that sees the same records more often than this memorises them instead of learning their form.
pub const MANY_PASSES: f64 = 20.0;

/// Passes over the training split of `data` that the run makes: tokens that it learns from, divided by the split's. Where it
/// `replays` old data, the windows of that do not count.
pub fn passes(config: &TrainConfig, data: &Dataset, replays: bool) -> f64 {
    config.steps as f64 * tokens_per_step(config, data, replays) / data.train.tokens() as f64
}

/// The steps of `epochs` passes over the training split, rounded up.
///
/// # Errors
/// More steps than a run may have, or a run that learns nothing but old data.
pub fn steps(epochs: f64, config: &TrainConfig, data: &Dataset, replays: bool) -> Result<u64> {
    let steps = (epochs * data.train.tokens() as f64 / tokens_per_step(config, data, replays)).ceil().max(1.0);
    match steps <= MOST_STEPS as f64 {
        true => Ok(steps as u64),
        false if config.replay_share == 1.0 && replays => Err(Error::usage(
            "--epochs: with --replay-share 1 no step learns from --data, so no number of them is a pass over it; give --steps",
        )),
        false => Err(Error::usage(format!(
            "--epochs {epochs}: this takes {steps:.0} steps, expected at most {MOST_STEPS}; give fewer epochs"
        ))),
    }
}

/// Tokens of the split that a step learns from; a window longer than the split is not full.
fn tokens_per_step(config: &TrainConfig, data: &Dataset, replays: bool) -> f64 {
    let window = data.train.tokens().min(config.context as u64);
    let new = if replays { 1.0 - config.replay_share } else { 1.0 };
    (config.batch * config.accumulation) as f64 * window as f64 * new
}
