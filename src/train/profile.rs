//! Which steps a profiler captures.

use crate::engine::Engine;
use std::str::FromStr;

/// Steps counted from 1, both ends included, for profilers that wait for `cuProfilerStart`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileSteps {
    first: u64,
    last: u64,
}

impl FromStr for ProfileSteps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once("..").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        match parsed {
            Some((first, last)) if 1 <= first && first <= last => Ok(ProfileSteps { first, last }),
            _ => Err("expected A..B with 1 <= A <= B, e.g. 10..12".to_string()),
        }
    }
}

impl ProfileSteps {
    /// Does the work of `step`, starts the capture before the first captured step and stops it after the last one.
    pub fn around<T>(
        this: Option<Self>,
        step: u64,
        engine: &mut dyn Engine,
        work: impl FnOnce(&mut dyn Engine) -> T,
    ) -> T {
        if this.is_some_and(|steps| steps.first == step) {
            engine.profile(true);
        }
        let result = work(engine);
        if this.is_some_and(|steps| steps.last == step) {
            engine.profile(false);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_read_and_nonsense_is_not() {
        assert_eq!("3..5".parse(), Ok(ProfileSteps { first: 3, last: 5 }));
        for text in ["", "3", "0..2", "5..3", "3..x", "..", "-1..2"] {
            assert!(text.parse::<ProfileSteps>().is_err(), "{text}");
        }
    }
}
