//! The learning rate over a run.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Half a cosine from the peak to the minimum (Loshchilov and Hutter, 2017), as in nanoGPT.
    Cosine,
    /// A straight line from the peak to the minimum.
    Linear,
    /// The peak at all steps.
    Constant,
    /// Warm-up, stable, decay: the peak until the last `decay_fraction` of the steps, then a line to the minimum.
    Wsd,
}

/// The numbers that a schedule goes by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearningRates {
    pub peak: f32,
    pub min: f32,
    /// Steps of linear warm-up.
    pub warmup: u64,
    /// Total steps of the run.
    pub steps: u64,
    /// Fraction of the steps in which [`Schedule::Wsd`] decays.
    pub decay_fraction: f64,
}

impl Schedule {
    /// Learning rate of update `step` (from 0). Warm-up is linear: its first update has rate peak / (warmup + 1).
    pub fn lr(self, rates: &LearningRates, step: u64) -> f32 {
        let (peak, min, steps) = (f64::from(rates.peak), f64::from(rates.min), rates.steps as f64);
        if step < rates.warmup {
            return (peak * (step + 1) as f64 / (rates.warmup + 1) as f64) as f32;
        }
        let progress = |start: f64| ((step as f64 - start) / (steps - start).max(1.0)).clamp(0.0, 1.0);
        let warmup = rates.warmup as f64;
        let height = match self {
            Schedule::Constant => 1.0,
            Schedule::Linear => 1.0 - progress(warmup),
            Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress(warmup)).cos()),
            Schedule::Wsd => {
                let decay_start = (steps * (1.0 - rates.decay_fraction)).max(warmup);
                1.0 - progress(decay_start)
            }
        };
        (min + height * (peak - min)) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: LearningRates = LearningRates { peak: 1.0, min: 0.1, warmup: 9, steps: 109, decay_fraction: 0.5 };

    #[test]
    fn hand_computed_points() {
        let close = |schedule: Schedule, step, want: f32| {
            let found = schedule.lr(&RATES, step);
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
