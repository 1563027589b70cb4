//! Normal records -> a calibration: the statistics of each field, and a threshold.

use super::aggregate::{Aggregate, sum_of_excess};
use super::normal_stats::NormalStatsBuilder;
use super::scorer::{Detector, ScoredRecord, rounded};
use super::session::SessionScore;
use super::threshold::{Calibration, ScoringMethod};
use crate::detect::threshold;
use crate::{Error, Result};
use std::collections::HashMap;
use std::path::Path;

/// Gathers units: records, or sessions of records.
///
/// The excess of a field is measured against the statistics of normal records, and a threshold is valid only for records that
/// did not contribute to the statistics. So with [`Aggregate::Excess`] half of the units give the statistics and the others set
/// the threshold; with the other aggregates all units do both. Memory: 8 bytes per unit; with `Excess`, 16 bytes per field of
/// half of the units, because the statistics are known only at the end.
pub struct Calibrator {
    detector: Detector,
    builder: NormalStatsBuilder,
    paths: HashMap<String, usize>,
    names: Vec<String>,
    units: u64,
    taught: u64,
    /// Whether any field of any record is selected.
    counted: bool,
    scores: Vec<f64>,
    held: Vec<Vec<Reduced>>,
}

/// Whether unit `number` is among the half that sets the threshold: the fraction of `number` golden ratios is spread evenly
/// (Weyl, 1916) over every arithmetic progression, so that records which alternate (open, close) reach both halves.
fn sets_threshold(number: u64) -> bool {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    number.wrapping_mul(GOLDEN) >> 63 == 1
}

/// What is kept of a record until its unit is complete.
#[derive(Clone, Debug)]
pub enum Reduced {
    Score(f64),
    /// (number of the path, nats) of each field.
    Fields(Vec<(usize, f64)>),
}

impl Calibrator {
    /// Errors: an invalid pattern over fields.
    pub fn new(method: ScoringMethod) -> Result<Self> {
        Ok(Self {
            detector: Detector::new(method, None, None)?,
            builder: NormalStatsBuilder::default(),
            paths: HashMap::new(),
            names: Vec::new(),
            units: 0,
            taught: 0,
            counted: false,
            scores: Vec::new(),
            held: Vec::new(),
        })
    }

    fn splits(&self) -> bool {
        self.detector.method.aggregate == Aggregate::Excess && !self.is_sequence()
    }

    fn is_sequence(&self) -> bool {
        self.detector.method.group.as_ref().is_some_and(|group| group.score == SessionScore::Sequence)
    }

    /// Reduces a record to what its unit needs.
    pub fn reduce(&mut self, measured: &ScoredRecord) -> Reduced {
        self.counted |= measured.parts.fields.iter().any(|field| self.detector.selection.counts(&field.path));
        if !self.splits() {
            measured.parts.fields.iter().for_each(|field| self.builder.add(&field.path, field.nats));
            self.taught += 1;
            return Reduced::Score(self.detector.score(measured));
        }
        let mut fields = Vec::with_capacity(measured.parts.fields.len());
        for field in &measured.parts.fields {
            let path = self.paths.get(&field.path).copied().unwrap_or_else(|| {
                self.names.push(field.path.clone());
                self.paths.insert(field.path.clone(), self.names.len() - 1);
                self.names.len() - 1
            });
            fields.push((path, field.nats));
        }
        Reduced::Fields(fields)
    }

    /// Adds a whole unit; `sequence` is the score of a session whose records were read as one.
    pub fn add(&mut self, unit: Vec<Reduced>, sequence: Option<f64>) {
        self.units += 1;
        match sequence {
            Some(score) => self.scores.push(score),
            None if !self.splits() => {
                let scores = unit.iter().map(|record| match record {
                    Reduced::Score(score) => *score,
                    Reduced::Fields(_) => unreachable!("without a split, all records are reduced to scores"),
                });
                self.scores.push(self.detector.of_session(scores));
            }
            None if sets_threshold(self.units) => self.held.push(unit),
            None => self.teach(&unit),
        }
    }

    fn teach(&mut self, unit: &[Reduced]) {
        for record in unit {
            if let Reduced::Fields(fields) = record {
                fields.iter().for_each(|&(path, nats)| self.builder.add(&self.names[path], nats));
                self.taught += 1;
            }
        }
    }

    /// The calibration for the model in `folder`. Warns where there are too few units for the rate.
    ///
    /// Errors: fewer than two units.
    pub fn finish(&mut self, folder: &Path, fpr: f64) -> Result<Calibration> {
        if self.units < 2 {
            return Err(Error::failed(format!(
                "too few normal records or sessions to calibrate on: {}; at least 2 are needed, and 2/F for a false-positive \
                 rate of F",
                self.units
            )));
        }
        if !self.counted {
            return Err(Error::usage(
                "--only-field and --ignore-field leave no field of the normal records, so all scores would be 0; use paths as \
                 score prints them",
            ));
        }
        let normal_stats = std::mem::take(&mut self.builder).finish();
        self.detector.normal_stats = Some(normal_stats.clone());
        let names = &self.names;
        for unit in &self.held {
            let scores = unit.iter().map(|record| match record {
                Reduced::Fields(fields) => {
                    self.detector.of_fields(fields.iter().map(|&(path, nats)| (names[path].as_str(), nats)))
                }
                Reduced::Score(score) => *score,
            });
            self.scores.push(self.detector.of_session(scores));
        }
        let (threshold, enough) = threshold(&self.scores, fpr)?;
        let scores = self.scores.len();
        if !enough {
            tracing::warn!(
                "{scores} normal scores are too few for a false-positive rate of {fpr}: the threshold is the largest of them, which \
                 guarantees only a rate of {:.2e}; {} are needed",
                1.0 / (scores + 1) as f64,
                (1.0 / fpr - 1.0).ceil()
            );
        }
        let mut calibration = Calibration::new(folder, self.detector.method.clone(), threshold, fpr)?;
        calibration.keep_scores(&self.scores);
        (calibration.taught, calibration.normal_stats) = (self.taught, normal_stats);
        Ok(calibration)
    }

    /// Scores of the units that set the threshold; complete after [`Calibrator::finish`].
    pub fn scores(&self) -> &[f64] {
        &self.scores
    }
}

impl Detector {
    /// The score by [`Aggregate::Excess`] of a record that was reduced to the nats of its fields.
    fn of_fields<'a>(&self, fields: impl Iterator<Item = (&'a str, f64)>) -> f64 {
        let normal_stats = self.normal_stats.as_ref().expect("the statistics are known when units are scored");
        let counted = fields.filter(|(path, _)| self.selection.counts(path));
        rounded(sum_of_excess(counted.map(|(path, nats)| normal_stats.excess(path, nats))))
    }

    /// The score of a session from those of its records; a single record is a session of its own.
    pub fn of_session(&self, scores: impl Iterator<Item = f64>) -> f64 {
        let (mut sum, mut count, mut largest) = (0.0, 0, f64::NEG_INFINITY);
        for score in scores {
            (sum, count, largest) = (sum + score, count + 1, largest.max(score));
        }
        match self.method.group.as_ref().map(|group| group.score) {
            Some(SessionScore::Mean) => rounded(sum / f64::from(count.max(1))),
            _ => largest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_come_in_turns_reach_both_halves() {
        for turn in 1..=12 {
            for kind in 0..turn {
                let chosen = (0..1000).filter(|round| sets_threshold(round * turn + kind)).count();
                assert!((480..=520).contains(&chosen), "{chosen} of every {turn}th record from {kind} on");
            }
        }
    }
}
