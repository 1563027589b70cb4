//! The rank of a number among those of normal records, as evidence: minus the logarithm of a conformal p-value.

use serde::{Deserialize, Serialize};

/// The largest values are kept exactly; of the others, as many quantiles.
const KEPT: usize = 256;
/// The tail is fitted to the largest tenth of the values, at most to this many.
const MOST_IN_TAIL: usize = 50;

/// Numbers of normal records, in the order of their size.
///
/// The evidence of a new number x is -ln p with p = (1 + number of values at least x) / (1 + number of values): drawn like the
/// values, x has a p of at most a with a chance of at most a (conformal prediction; Vovk, Gammerman and Shafer, 2005). Between
/// two values the evidence is interpolated, so a larger number is always more evidence. Beyond the largest value an exponential
/// tail is fitted, the generalised Pareto distribution of shape 0 (Pickands, 1975): its mean excess is that of the largest
/// values, and at least one nat, which is the tail of surprisals under a model that knows the probabilities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranks {
    /// Distinct values, ascending, and how many values are at least that large.
    steps: Vec<(f32, u32)>,
    /// Mean excess of the tail.
    tail: f32,
}

impl Ranks {
    pub fn of(values: &Sorted) -> Self {
        let mut steps: Vec<(f32, u32)> = Vec::new();
        for (number, &value) in values.0.iter().rev().enumerate() {
            let at_least = number as u32 + 1;
            match steps.last_mut() {
                Some(step) if step.0 == value => step.1 = at_least,
                _ => steps.push((value, at_least)),
            }
        }
        let (high, low) = steps.split_at(steps.len().min(KEPT));
        // The smallest value stays, because its number is that of all values.
        let stride = low.len().div_ceil(KEPT).max(1);
        let mut kept: Vec<(f32, u32)> = low.iter().rev().step_by(stride).copied().collect();
        kept.extend(high.iter().rev());
        Ranks { steps: kept, tail: tail(&values.0) as f32 }
    }

    /// The number of values.
    pub fn count(&self) -> u32 {
        self.steps.first().map_or(0, |step| step.1)
    }

    /// The evidence of a new number, in nats; 0 where there are no values.
    pub fn evidence(&self, x: f64) -> f64 {
        let at = self.steps.partition_point(|step| f64::from(step.0) < x);
        let below = at.checked_sub(1).map(|below| self.steps[below]);
        let neighbours = Neighbours { below, next: self.steps.get(at).copied(), count: self.count() };
        neighbours.evidence(x, || self.tail.into())
    }

    /// The evidence of a new number by its rank alone, without a tail: at most ln(count + 1).
    pub fn bounded_evidence(&self, x: f64) -> f64 {
        self.evidence(x).min(f64::from(self.count() + 1).ln())
    }

    /// The number with this evidence: the inverse of [`Ranks::evidence`], beyond the largest value by the fitted tail.
    pub fn with_evidence(&self, evidence: f64) -> f64 {
        let of = |at_least: u32| (f64::from(self.count() + 1) / f64::from(at_least + 1)).ln();
        let at = self.steps.partition_point(|step| of(step.1) < evidence);
        match (at.checked_sub(1).map(|below| self.steps[below]), self.steps.get(at)) {
            (Some(low), Some(high)) => {
                let share = (evidence - of(low.1)) / (of(high.1) - of(low.1));
                f64::from(low.0) + share * f64::from(high.0 - low.0)
            }
            // What lies above all values has the evidence of its rank at least.
            (Some(largest), None) => f64::from(largest.0) + (evidence - of(0)).max(0.0) * f64::from(self.tail),
            (None, smallest) => smallest.map_or(0.0, |step| step.0.into()),
        }
    }

    /// The number that at most this share of new ones exceeds. Below [`Ranks::resolution`] it follows from the fitted tail.
    pub fn threshold_for(&self, rate: f64) -> f64 {
        self.with_evidence(-rate.ln())
    }

    /// The least share that the values themselves resolve.
    pub fn resolution(&self) -> f64 {
        1.0 / f64::from(self.count() + 1)
    }

    /// Checks what ranks always are; the error says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        let is_ordered = self.steps.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 > pair[1].1);
        if !is_ordered || !self.steps.iter().all(|step| step.0.is_finite() && step.1 > 0) {
            return Err("expected steps of rising values and falling numbers".to_string());
        }
        match self.tail >= 1.0 && self.tail.is_finite() {
            true => Ok(()),
            false => Err(format!("tail is {}, expected at least 1", self.tail)),
        }
    }
}

/// All values in ascending order, for the evidence of each among the others.
pub struct Sorted(Vec<f32>);

impl Sorted {
    /// Values that are not numbers are left out.
    pub fn of(values: impl IntoIterator<Item = f32>) -> Self {
        let mut values: Vec<f32> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f32::total_cmp);
        Sorted(values)
    }

    pub fn count(&self) -> u32 {
        self.0.len() as u32
    }

    /// The mean of the values; 0 where there are none.
    pub fn mean(&self) -> f64 {
        self.0.iter().map(|&value| f64::from(value)).sum::<f64>() / self.0.len().max(1) as f64
    }

    /// The evidence of one of the values among the others, in nats.
    pub fn evidence_of_own(&self, x: f32) -> f64 {
        let Sorted(values) = self;
        let (first, end) = (values.partition_point(|&value| value < x), values.partition_point(|&value| value <= x));
        let at_least = |place: usize| (values.len() - place) as u32;
        let below = first.checked_sub(1).map(|below| {
            let begin = values[..first].partition_point(|&value| value < values[below]);
            (values[below], at_least(begin) - 1)
        });
        let next = match end > first + 1 {
            true => Some((x, at_least(first) - 1)),
            false => values.get(end).map(|&value| (value, at_least(end))),
        };
        let neighbours = Neighbours { below, next, count: self.count().saturating_sub(1) };
        neighbours.evidence(x.into(), || tail(&values[..first]))
    }

    /// As [`Sorted::evidence_of_own`], by its rank alone.
    pub fn bounded_evidence_of_own(&self, x: f32) -> f64 {
        self.evidence_of_own(x).min(f64::from(self.count().max(1)).ln())
    }
}

/// Where a number stands among values.
struct Neighbours {
    /// The largest value below it, and how many are at least that large.
    below: Option<(f32, u32)>,
    /// The smallest value that is not below it, likewise.
    next: Option<(f32, u32)>,
    count: u32,
}

impl Neighbours {
    fn evidence(&self, x: f64, tail: impl Fn() -> f64) -> f64 {
        let of = |at_least: u32| (f64::from(self.count + 1) / f64::from(at_least + 1)).ln();
        match (self.below, self.next) {
            (_, Some((value, at_least))) if f64::from(value) == x => of(at_least),
            (Some(low), Some(high)) => {
                let (from, to) = (f64::from(low.0), f64::from(high.0));
                of(low.1) + (of(high.1) - of(low.1)) * (x - from) / (to - from)
            }
            (Some((value, _)), None) => of(0) + (x - f64::from(value)) / tail(),
            (None, _) => 0.0,
        }
    }
}

/// The mean excess of the largest values over the one below them; at least 1.
fn tail(ascending: &[f32]) -> f64 {
    let most = (ascending.len() / 10).clamp(1, MOST_IN_TAIL);
    let (rest, top) = ascending.split_at(ascending.len().saturating_sub(most));
    let Some(base) = rest.last().or(top.first()) else { return 1.0 };
    let excess: f64 = top.iter().map(|value| f64::from(value - base)).sum();
    (excess / top.len() as f64).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks(values: &[f32]) -> Ranks {
        Ranks::of(&Sorted::of(values.iter().copied()))
    }

    #[test]
    fn evidence_is_the_rank_and_rises_between_and_beyond_the_values() {
        let ranks = ranks(&[3.0, 1.0, 2.0, 2.0]);
        assert_eq!(ranks.count(), 4);
        let p = |x: f64| (-ranks.evidence(x)).exp();
        for (x, expected) in [(0.5, 1.0), (1.0, 1.0), (2.0, 0.8), (3.0, 0.4)] {
            assert!((p(x) - expected).abs() < 1e-9, "{x}: {}", p(x));
        }
        assert!((ranks.evidence(2.5) - (ranks.evidence(2.0) + ranks.evidence(3.0)) / 2.0).abs() < 1e-9);
        // Beyond the largest value by its rank, and by its tail: the mean excess 3 - 2 of the largest one over the next.
        assert!((ranks.evidence(10.0) - (5f64.ln() + 7.0)).abs() < 1e-6);
        assert!((ranks.bounded_evidence(10.0) - 5f64.ln()).abs() < 1e-9);
        assert_eq!((Ranks::of(&Sorted::of([])).evidence(9.0), Ranks::of(&Sorted::of([])).count()), (0.0, 0));
        let equal = Ranks::of(&Sorted::of([0.0; 9]));
        assert_eq!(
            (equal.evidence(0.0), equal.bounded_evidence(1.0)),
            (0.0, 10f64.ln()),
            "more than all others ever had"
        );
        for x in [1.0, 1.5, 2.0, 2.75, 3.0, 10.0] {
            assert!((ranks.with_evidence(ranks.evidence(x)) - x).abs() < 1e-5, "{x}");
        }
    }

    #[test]
    fn a_value_among_the_others_is_as_a_new_one() {
        let values: Vec<f32> =
            (0..60).map(|i| (i * 37 % 61) as f32 / 4.0 * if i % 9 == 0 { 3.0 } else { 1.0 }).collect();
        let sorted = Sorted::of(values.iter().copied());
        for (i, &value) in values.iter().enumerate() {
            let others = values.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, &value)| value);
            let expected = Ranks::of(&Sorted::of(others)).evidence(value.into());
            let found = sorted.evidence_of_own(value);
            assert!((found - expected).abs() < 1e-6, "{value}: {found} {expected}");
        }
    }

    #[test]
    fn many_values_keep_their_ranks() {
        let values: Vec<f32> = (0..20_000).map(|i| (i as f32 * 0.618).fract().powi(4) * 30.0).collect();
        let (all, kept) = (Sorted::of(values.iter().copied()), ranks(&values));
        assert!(kept.steps.len() <= 2 * KEPT && kept.count() == 20_000 && kept.check().is_ok());
        for &value in values.iter().step_by(97) {
            let difference = all.evidence_of_own(value) - kept.evidence(value.into());
            assert!(difference.abs() < 0.02, "{value}: {difference}");
        }
        assert!(Ranks { steps: vec![(2.0, 1), (1.0, 2)], tail: 1.0 }.check().is_err());
        assert!(Ranks { steps: vec![(1.0, 1)], tail: f32::NAN }.check().is_err());
    }
}
