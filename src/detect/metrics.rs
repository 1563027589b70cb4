//! Scores and labels -> metrics: how well does a score tell attacks from normal records?
//!
//! A higher score means more unusual; a record is called an anomaly when its score is *above* the threshold.

use crate::{Error, Result};
use serde::Serialize;

/// The confusion table of one threshold, in records; *positive* means attack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Confusion {
    pub true_positives: u64,
    pub false_positives: u64,
    pub false_negatives: u64,
    pub true_negatives: u64,
}

impl Confusion {
    /// Fraction of attacks among the called anomalies; None where there are none.
    pub fn precision(&self) -> Option<f64> {
        ratio(self.true_positives, self.true_positives + self.false_positives)
    }

    /// Fraction of the attacks that were found; None where there are no attacks.
    pub fn recall(&self) -> Option<f64> {
        ratio(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// Harmonic mean of precision and recall (van Rijsbergen, 1979), 2 TP / (2 TP + FP + FN): 0 where no attack was
    /// found, None where there are neither attacks nor called anomalies.
    pub fn f1(&self) -> Option<f64> {
        ratio(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)
    }

    /// Fraction of the normal records that were called anomalies; None where there are no normal records.
    pub fn false_positive_rate(&self) -> Option<f64> {
        ratio(self.false_positives, self.false_positives + self.true_negatives)
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Number of records that score at least `score`, by label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    pub score: f64,
    pub true_positives: u64,
    pub false_positives: u64,
}

/// Labelled records from the highest score down, with equal scores together: every threshold-free metric comes from it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranking {
    /// One for each distinct score, highest first; the last one counts all records.
    pub steps: Vec<Step>,
    pub attacks: u64,
    pub normals: u64,
}

impl Ranking {
    /// `scores` and `attacks` (records). Infinite scores are ranked like others.
    ///
    /// # Errors
    /// A score that is NaN, which has no rank.
    pub fn new(scores: &[f64], attacks: &[bool]) -> Result<Self> {
        assert_eq!(scores.len(), attacks.len());
        if let Some(record) = scores.iter().position(|score| score.is_nan()) {
            return Err(Error::failed(format!(
                "the score of record {} is not a number (NaN) and cannot be ranked; leave the record out of \
                 the evaluation",
                record + 1
            )));
        }
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let mut ranking = Ranking::default();
        for tied in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
            let found = tied.iter().filter(|&&record| attacks[record]).count() as u64;
            ranking.attacks += found;
            ranking.normals += tied.len() as u64 - found;
            let (true_positives, false_positives) = (ranking.attacks, ranking.normals);
            ranking.steps.push(Step { score: scores[tied[0]], true_positives, false_positives });
        }
        Ok(ranking)
    }

    /// The table when every record that scores above `threshold` is called an anomaly.
    pub fn confusion(&self, threshold: f64) -> Confusion {
        let above = self.steps.partition_point(|step| step.score > threshold);
        match above.checked_sub(1) {
            None => self.table(0, 0),
            Some(last) => self.table(self.steps[last].true_positives, self.steps[last].false_positives),
        }
    }

    fn table(&self, true_positives: u64, false_positives: u64) -> Confusion {
        Confusion {
            true_positives,
            false_positives,
            false_negatives: self.attacks - true_positives,
            true_negatives: self.normals - false_positives,
        }
    }

    /// Area under the ROC curve: the probability that an attack scores above a normal record, ties counted half (the
    /// Mann-Whitney statistic; Hanley and McNeil, 1982). None where a class is empty.
    pub fn auroc(&self) -> Option<f64> {
        let (mut halves, mut before) = (0u128, (0, 0));
        for step in &self.steps {
            let (attacks, normals) = (step.true_positives - before.0, step.false_positives - before.1);
            // Each of these attacks scores above the normals of later steps, and equal to those of this step.
            halves += u128::from(attacks) * u128::from(2 * (self.normals - step.false_positives) + normals);
            before = (step.true_positives, step.false_positives);
        }
        let pairs = u128::from(self.attacks) * u128::from(self.normals);
        (pairs > 0).then(|| halves as f64 / (2 * pairs) as f64)
    }

    /// Area under the precision-recall curve as *average precision*: the sum over thresholds of (rise in recall) x
    /// precision, without interpolation, which would be too optimistic (Davis and Goadrich, 2006). Records with equal scores
    /// are one threshold, so their order does not matter. None where a class is empty.
    pub fn average_precision(&self) -> Option<f64> {
        if self.attacks == 0 || self.normals == 0 {
            return None;
        }
        let (mut area, mut before) = (0.0, 0);
        for step in &self.steps {
            let called = step.true_positives + step.false_positives;
            area += (step.true_positives - before) as f64 * step.true_positives as f64 / called as f64;
            before = step.true_positives;
        }
        Some(area / self.attacks as f64)
    }

    /// The threshold with the highest F1, of equal ones the one that calls the fewest anomalies. It is chosen with the labels,
    /// so it is an upper bound, not a result. It is the highest score that is not called an anomaly (or just below the lowest
    /// score, where all are called). None where a class is empty.
    pub fn best_threshold(&self) -> Option<f64> {
        if self.attacks == 0 || self.normals == 0 {
            return None;
        }
        // 2 TP / (called + attacks), compared by cross-multiplication: exact.
        let quality = |step: &Step| {
            (u128::from(step.true_positives), u128::from(step.true_positives + step.false_positives + self.attacks))
        };
        let mut best = 0;
        for (at, step) in self.steps.iter().enumerate() {
            let ((hits, called), (most, least)) = (quality(step), quality(&self.steps[best]));
            if hits * least > most * called {
                best = at;
            }
        }
        Some(self.steps.get(best + 1).map_or(self.steps[best].score.next_down(), |next| next.score))
    }

    /// (false positive rate, recall) from (0, 0) to (1, 1), one point per threshold; empty where a class is empty.
    pub fn roc(&self) -> Vec<(f64, f64)> {
        let shares = |table: &Confusion| Some((table.false_positive_rate()?, table.recall()?));
        let tables = std::iter::once(self.table(0, 0)).chain(self.tables());
        tables.map_while(|table| shares(&table)).collect()
    }

    /// (recall, precision) from the highest threshold to the lowest; empty where a class is empty.
    pub fn precision_recall(&self) -> Vec<(f64, f64)> {
        let shares = |table: &Confusion| Some((table.recall()?, table.precision()?));
        let tables = self.tables().take_while(|table| table.false_positive_rate().is_some());
        tables.map_while(|table| shares(&table)).collect()
    }

    fn tables(&self) -> impl Iterator<Item = Confusion> {
        self.steps.iter().map(|step| self.table(step.true_positives, step.false_positives))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Attacks at 9, 5, 5 and 1; normals at 5, 3, 1, 1, 0.
    fn example() -> Ranking {
        let scores = [5.0, 9.0, 1.0, 5.0, 3.0, 1.0, 5.0, 1.0, 0.0];
        let attacks = [true, true, true, true, false, false, false, false, false];
        Ranking::new(&scores, &attacks).unwrap()
    }

    #[test]
    fn equal_scores_are_one_step() {
        let steps: Vec<_> = example().steps.iter().map(|s| (s.score, s.true_positives, s.false_positives)).collect();
        assert_eq!(steps, [(9.0, 1, 0), (5.0, 3, 1), (3.0, 3, 2), (1.0, 4, 4), (0.0, 4, 5)]);
    }

    #[test]
    fn a_threshold_is_passed_by_what_lies_above_it() {
        let table = example().confusion(3.0);
        let expected = Confusion { true_positives: 3, false_positives: 1, false_negatives: 1, true_negatives: 4 };
        assert_eq!(table, expected);
        assert_eq!((table.precision(), table.recall(), table.f1()), (Some(0.75), Some(0.75), Some(0.75)));
        assert_eq!(table.false_positive_rate(), Some(0.2));
        assert_eq!(example().confusion(5.0).true_positives, 1, "5 is not above 5");
        assert_eq!(example().confusion(4.9).true_positives, 3);
    }

    #[test]
    fn no_anomalies_called_is_no_division_by_zero() {
        let table = example().confusion(9.0);
        assert_eq!((table.precision(), table.recall(), table.f1()), (None, Some(0.0), Some(0.0)));
        assert_eq!(Confusion::default().f1(), None);
        assert_eq!(example().confusion(-1.0).false_positive_rate(), Some(1.0));
    }

    #[test]
    fn areas_are_those_of_the_hand() {
        // Of 20 pairs: 9 wins 5; each 5 wins 4 and ties 1; 1 wins 1 and ties 2: 5 + 4.5 + 4.5 + 2 = 16.
        assert_eq!(example().auroc(), Some(16.0 / 20.0));
        // Recall rises by 1/4 at precision 1, 2/4 at 3/4, 1/4 at 4/8.
        assert_eq!(example().average_precision(), Some(0.25 + 0.5 * 0.75 + 0.25 * 0.5));
    }

    #[test]
    fn a_score_that_says_nothing_gets_one_half_and_the_base_rate() {
        let ranking = Ranking::new(&[7.0; 8], &[true, false, false, false, true, false, false, false]).unwrap();
        assert_eq!((ranking.auroc(), ranking.average_precision()), (Some(0.5), Some(0.25)));
        assert_eq!(ranking.best_threshold().map(|t| ranking.confusion(t).true_positives), Some(2));
    }

    #[test]
    fn the_best_threshold_has_the_best_f1() {
        let ranking = example();
        // F1 by step: 2/5, 6/8, 6/9, 8/12, 8/13.
        assert_eq!(ranking.best_threshold(), Some(3.0));
        assert_eq!(ranking.confusion(3.0).f1(), Some(0.75));
        let perfect = Ranking::new(&[1.0, 0.0], &[true, false]).unwrap();
        assert_eq!(perfect.best_threshold(), Some(0.0));
        assert_eq!(perfect.confusion(0.0).f1(), Some(1.0));
        // 2/3 with one record called an anomaly, and again with all four.
        let equal = Ranking::new(&[3.0, 2.0, 2.0, 2.0], &[true, true, false, false]).unwrap();
        assert_eq!(equal.best_threshold(), Some(2.0));
    }

    #[test]
    fn one_class_alone_has_no_areas() {
        for (scores, attacks) in [(vec![], vec![]), (vec![1.0, 2.0], vec![true; 2]), (vec![1.0], vec![false])] {
            let ranking = Ranking::new(&scores, &attacks).unwrap();
            assert_eq!((ranking.auroc(), ranking.average_precision(), ranking.best_threshold()), (None, None, None));
            assert!(ranking.roc().is_empty() && ranking.precision_recall().is_empty());
        }
    }

    #[test]
    fn what_is_not_a_number_is_refused_and_infinity_is_not() {
        let message = Ranking::new(&[1.0, f64::NAN], &[true, false]).unwrap_err().to_string();
        assert!(message.contains("record 2"), "{message}");
        let ranking = Ranking::new(&[f64::INFINITY, 1.0, f64::NEG_INFINITY], &[true, false, false]).unwrap();
        assert_eq!((ranking.auroc(), ranking.best_threshold()), (Some(1.0), Some(1.0)));
    }

    #[test]
    fn curves_run_from_corner_to_corner() {
        let roc = example().roc();
        assert_eq!(roc, [(0.0, 0.0), (0.0, 0.25), (0.2, 0.75), (0.4, 0.75), (0.8, 1.0), (1.0, 1.0)]);
        assert_eq!(example().precision_recall()[..2], [(0.25, 1.0), (0.75, 0.75)]);
    }

    proptest! {
        /// Against the definition: every pair of an attack and a normal record.
        #[test]
        fn auroc_counts_pairs(records in proptest::collection::vec((0i8..6, any::<bool>()), 1..40)) {
            let (scores, attacks): (Vec<f64>, Vec<bool>) =
                records.into_iter().map(|(score, attack)| (f64::from(score), attack)).unzip();
            let of = |kind| (0..scores.len()).filter(|&i| attacks[i] == kind).map(|i| scores[i]).collect::<Vec<_>>();
            let (high, low) = (of(true), of(false));
            let wins: f64 = high.iter().flat_map(|a| low.iter().map(move |b| match a.total_cmp(b) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            })).sum();
            let expected = (!high.is_empty() && !low.is_empty()).then(|| wins / (high.len() * low.len()) as f64);
            prop_assert_eq!(Ranking::new(&scores, &attacks).unwrap().auroc(), expected);
        }
    }
}
