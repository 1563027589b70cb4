//! What a resumed run begins with: `train_state.json`, the parameters and the moments of `last/`, all of them checked.

use crate::engine::{Engine, State};
use crate::gpt::checkpoint::{self, Moment};
use crate::{Error, Result, files};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

const FILE: &str = "train_state.json";

/// `train_state.json`: what a resumed run needs besides parameters and moments. Batches are a function of seed and step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainState {
    /// Steps done.
    pub step: u64,
    /// Steps that were not skipped: the step count of AdamW.
    pub updates: u64,
    /// Fingerprint of the data: resuming on other data is refused.
    pub data: u32,
    /// Best validation loss of new and replayed data as they are mixed.
    pub best_val_loss: Option<f64>,
    pub validations_since_best: u64,
}

impl TrainState {
    /// The state before the first step.
    pub fn new(data: u32) -> Self {
        TrainState { step: 0, updates: 0, data, best_val_loss: None, validations_since_best: 0 }
    }

    pub fn save(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("plain values serialise");
        files::write_new(&folder.join(FILE), (text + "\n").as_bytes())
    }

    /// What no run can have written; `steps` is the length of the run.
    fn check(&self, steps: u64) -> std::result::Result<(), String> {
        let TrainState { step, updates, best_val_loss, validations_since_best, .. } = *self;
        if updates > step || validations_since_best > step {
            return Err(format!(
                "after {step} steps there cannot be {updates} updates and {validations_since_best} validations; the file is \
                 damaged"
            ));
        }
        if best_val_loss.is_some_and(|loss| !(loss >= 0.0 && loss.is_finite())) {
            return Err(format!(
                "best_val_loss is {best_val_loss:?}, expected a loss of at least 0; the file is damaged"
            ));
        }
        if step > steps {
            return Err(format!("{step} steps are done, but the run has {steps}; give --steps {step} or more"));
        }
        Ok(())
    }
}

/// Reads `last/` into the engine. `data` is the fingerprint of the run's data, `steps` the length of the run.
///
/// Errors: no checkpoint; one of other data or of another shape; a damaged one.
pub fn resume(engine: &mut dyn Engine, last: &Path, data: u32, steps: u64) -> Result<TrainState> {
    let path = last.join(FILE);
    let refuse = |problem: String| Error::failed(format!("{}: {problem}", path.display()));
    let hint = "the run was stopped before its first checkpoint; remove the folder and start it again";
    let text = fs::read_to_string(&path).map_err(|e| Error::unreadable(&path, e, hint))?;
    let state: TrainState = serde_json::from_str(&text).map_err(|e| refuse(format!("{e}; the file is damaged")))?;
    if state.data != data {
        return Err(refuse(format!(
            "the run was trained on another data folder (or other --replay data); to continue with new data, start a run with \
             --init-from {}",
            last.display()
        )));
    }
    state.check(steps).map_err(refuse)?;
    let (config, parameters) = checkpoint::read_model(last)?;
    if config != *engine.config() {
        let expected = engine.config();
        return Err(Error::failed(format!(
            "{}: the checkpoint has {config:?}, but config.toml of the run asks for {expected:?}",
            last.join("config.json").display()
        )));
    }
    engine.write(State::Parameters, &parameters)?;
    drop(parameters);
    let layout = engine.layout().clone();
    checkpoint::read_moments(last, &layout, |moment, values| engine.write(of(moment), &values))?;
    Ok(state)
}

/// The part of an engine's state that holds a moment.
pub fn of(moment: Moment) -> State {
    match moment {
        Moment::First => State::ExpAvg,
        Moment::Second => State::ExpAvgSq,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_no_run_reaches_is_refused() {
        let good = TrainState { step: 5, updates: 4, data: 1, best_val_loss: Some(0.5), validations_since_best: 2 };
        assert_eq!(good.check(5), Ok(()));
        assert_eq!(TrainState::new(1).check(1), Ok(()));
        for (bad, part) in [
            (TrainState { updates: u64::MAX, ..good.clone() }, "18446744073709551615 updates"),
            (TrainState { validations_since_best: 6, ..good.clone() }, "6 validations"),
            (TrainState { best_val_loss: Some(-1.0), ..good.clone() }, "best_val_loss is Some(-1.0)"),
            (TrainState { step: u64::MAX, ..good.clone() }, "--steps 18446744073709551615"),
        ] {
            let problem = bad.check(5).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
