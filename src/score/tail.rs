//! The scores of a calibration, as far as thresholds for small rates need them.

use serde::{Deserialize, Serialize};

/// The most scores that are kept, the highest ones.
const MOST: usize = 1000;
/// The least number of scores that a tail is fitted to.
const FEWEST: usize = 10;

/// The highest scores of normal records.
///
/// The threshold for a rate that the scores resolve is one of them, such that at most this fraction of new normal records lies
/// above it (a conformal quantile). Beyond the highest one an exponential tail is assumed, as the theory of extremes has it for
/// most distributions: its mean is that of the excesses of the upper tenth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreTail {
    /// The number of all scores.
    count: u64,
    /// The highest ones, in falling order.
    highest: Vec<f64>,
}

impl ScoreTail {
    pub fn of(scores: &[f64]) -> Self {
        let mut highest = scores.to_vec();
        highest.sort_by(|a, b| b.total_cmp(a));
        highest.truncate(MOST);
        ScoreTail { count: scores.len() as u64, highest }
    }

    /// The threshold that at most this fraction of new normal records exceeds. For a large rate that the kept scores do not
    /// reach, it is the lowest of them, which fewer records exceed.
    pub fn threshold_for(&self, rate: f64) -> f64 {
        let rank = (rate * (self.count + 1) as f64).floor() as usize;
        match rank {
            0 => self.highest[0] + self.mean_excess() * (1.0 / (rate * (self.count + 1) as f64)).ln(),
            _ => self.highest[rank.min(self.highest.len()) - 1],
        }
    }

    /// How far the upper tenth of all scores lies above the lowest of it, on average.
    fn mean_excess(&self) -> f64 {
        let tenth = (self.count / 10) as usize;
        let upper = &self.highest[..tenth.max(FEWEST).min(self.highest.len())];
        let least = upper.last().copied().unwrap_or(0.0);
        upper.iter().map(|score| score - least).sum::<f64>() / upper.len() as f64
    }

    /// Checks what [`ScoreTail::of`] makes. The error names the member.
    pub(super) fn check(&self, scores: u64) -> Result<(), String> {
        if self.count != scores {
            return Err(format!("tail.count is {}, expected the {scores} of scores", self.count));
        }
        let expected = (self.count as usize).min(MOST);
        if expected == 0 || self.highest.len() != expected {
            return Err(format!("tail.highest has {} scores, expected {expected}", self.highest.len()));
        }
        if !self.highest.iter().all(|score| score.is_finite()) || !self.highest.is_sorted_by(|a, b| a >= b) {
            return Err("tail.highest is not in falling order".to_string());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_ranks_as_far_as_there_are_scores() {
        let scores: Vec<f64> = (1..=99).map(f64::from).collect();
        let tail = ScoreTail::of(&scores);
        let found = [0.01, 0.019, 0.02, 0.5, 0.999].map(|rate| tail.threshold_for(rate));
        assert_eq!(found, [99.0, 99.0, 98.0, 50.0, 1.0]);
        for rate in [0.01, 0.05, 0.3] {
            assert_eq!(crate::detect::threshold(&scores, rate).unwrap(), (tail.threshold_for(rate), true));
        }
    }

    /// Quantiles of the exponential distribution with mean 2, whose tail is known.
    #[test]
    fn beyond_the_highest_score_the_tail_goes_on() {
        let count = 20_000;
        let scores: Vec<f64> = (1..=count).map(|i| -2.0 * (f64::from(i) / f64::from(count + 1)).ln()).collect();
        let tail = ScoreTail::of(&scores);
        for rate in [1e-5, 1e-6, 1e-7_f64] {
            let (found, exact) = (tail.threshold_for(rate), -2.0 * rate.ln());
            assert!((found / exact - 1.0).abs() < 0.02, "{rate}: {found} {exact}");
        }
        assert!(tail.threshold_for(1e-9) > tail.threshold_for(1e-8));
        let flat = ScoreTail::of(&[0.0; 50]);
        assert_eq!(flat.threshold_for(1e-9), 0.0, "nothing to go by");
    }

    #[test]
    fn only_the_highest_are_kept_and_damage_is_named() {
        let tail = ScoreTail::of(&(0..5000).map(f64::from).collect::<Vec<_>>());
        assert_eq!((tail.highest.len(), tail.count, tail.check(5000)), (MOST, 5000, Ok(())));
        assert_eq!(tail.threshold_for(0.9), 4000.0);
        for damaged in [
            ScoreTail { count: 7, ..tail.clone() },
            ScoreTail { highest: vec![1.0, 2.0], count: 2 },
            ScoreTail { highest: Vec::new(), count: 0 },
        ] {
            assert!(damaged.check(damaged.count).unwrap_err().contains("tail.highest"));
        }
        assert!(tail.check(4999).unwrap_err().contains("tail.count"));
    }
}
