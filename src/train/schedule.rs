//! Learning rate over the run.

use super::config::TrainConfig;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Half a cosine from the peak to the minimum (Loshchilov and Hutter, 2017), as nanoGPT has it.
    Cosine,
    /// A straight line from the peak to the minimum.
    Linear,
    /// The peak throughout.
    Constant,
    /// Warm-up, stable, decay: the peak until the last `decay_fraction` of the steps, then a line to the minimum.
    Wsd,
}

/// Learning rate of update `step` (from 0). Warm-up is linear: its first update has rate peak / (warmup + 1).
pub fn lr(config: &TrainConfig, step: u64) -> f32 {
    let (peak, floor) = (config.learning_rate as f64, config.min_learning_rate as f64);
    if step < config.warmup {
        return (peak * (step + 1) as f64 / (config.warmup + 1) as f64) as f32;
    }
    let progress = |start: f64| ((step as f64 - start) / (config.steps as f64 - start).max(1.0)).clamp(0.0, 1.0);
    let warmup = config.warmup as f64;
    let share = match config.schedule {
        Schedule::Constant => 1.0,
        Schedule::Linear => 1.0 - progress(warmup),
        Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress(warmup)).cos()),
        Schedule::Wsd => {
            let decay_start = (config.steps as f64 * (1.0 - config.decay_fraction)).max(warmup);
            1.0 - progress(decay_start)
        }
    };
    (floor + share * (peak - floor)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(schedule: Schedule) -> TrainConfig {
        let config = TrainConfig::resolve("tiny", None, toml::Table::new()).unwrap();
        let (learning_rate, min_learning_rate) = (1.0, 0.1);
        TrainConfig { schedule, learning_rate, min_learning_rate, warmup: 9, steps: 109, decay_fraction: 0.5, ..config }
    }

    #[test]
    fn hand_computed_points() {
        let close = |schedule, step, want: f32| {
            let found = lr(&config(schedule), step);
            assert!((found - want).abs() < 1e-6, "{schedule:?} at {step}: {found}, not {want}");
        };
        for schedule in [Schedule::Cosine, Schedule::Linear, Schedule::Constant, Schedule::Wsd] {
            close(schedule, 0, 0.1);
            close(schedule, 9, 1.0);
        }
        close(Schedule::Cosine, 59, 0.55);
        close(Schedule::Cosine, 109, 0.1);
        close(Schedule::Linear, 34, 0.775);
        close(Schedule::Constant, 108, 1.0);
        close(Schedule::Wsd, 54, 1.0);
        close(Schedule::Wsd, 109, 0.1);
    }
}
