//! Normal records -> a calibration: what is normal, and a threshold.

use super::aggregate::{Aggregate, Selection, aggregate};
use super::clocks::Clocks;
use super::course::NormalSessions;
use super::fields::cut_into_fields;
use super::learn::{Example, learn};
use super::lesson::{Lesson, observe};
use super::ranks::{Ranks, Sorted};
use super::scorer::{ScoredRecord, rounded};
use super::session::SessionScore;
use super::threshold::{Calibration, ScoringMethod};
use crate::detect::{Observed, threshold};
use crate::{Error, Result};
use std::collections::HashMap;
use std::path::Path;

/// Gathers units: records, or sessions of records. Memory: 24 bytes for each field of a record, which are held until all are known,
/// and what is learnt of them.
pub struct Calibrator {
    method: ScoringMethod,
    selection: Selection,
    paths: HashMap<String, u32>,
    names: Vec<String>,
    clocks: Clocks,
    /// What is known of values besides the units.
    seen: Vec<Observed>,
    units: Vec<Unit>,
    scores: Vec<f64>,
    /// The evidence of the fields of each record alone.
    fields: Vec<f64>,
}

/// A normal record or session.
struct Unit {
    records: Vec<Reduced>,
    /// The score of a session whose records were read as one.
    sequence: Option<f64>,
}

/// What is kept of a record until all are known.
pub struct Reduced {
    example: Example,
    /// Its score by an aggregate that needs no calibration.
    score: f64,
    /// Its time in seconds, for that between the records of a session.
    time: Option<f64>,
}

impl Calibrator {
    /// Errors: an invalid pattern over fields.
    pub fn new(method: ScoringMethod) -> Result<Self> {
        let selection = Selection::new(&method.only_field, &method.ignore_field)?;
        let (paths, names, clocks, seen, units, scores, fields) = Default::default();
        Ok(Self { method, selection, paths, names, clocks, seen, units, scores, fields })
    }

    /// Takes in a normal record that has no surprisals, such as one of the training: its values are known ones then.
    pub fn see(&mut self, record: &[u8]) {
        let fields = cut_into_fields(record);
        let counts: Vec<bool> = fields.iter().map(|field| self.selection.counts(&field.path)).collect();
        self.seen.push(observe(record, &fields, &counts).0);
    }

    /// Reduces a record, and its time in seconds if it has one, to what its unit needs.
    pub fn reduce(&mut self, measured: &ScoredRecord, time: Option<f64>) -> Reduced {
        let lesson = Lesson::of(measured, &self.selection);
        let mut number = |path: &String| {
            self.paths.get(path).copied().unwrap_or_else(|| {
                self.names.push(path.clone());
                self.paths.insert(path.clone(), self.names.len() as u32 - 1);
                self.names.len() as u32 - 1
            })
        };
        let fields = lesson.fields.iter().map(|(place, _)| &measured.parts.fields[*place]);
        let paths: Vec<u32> = fields.clone().map(|field| number(&field.path)).collect();
        for (&path, field) in paths.iter().zip(fields) {
            self.clocks.add(path, &measured.value(field, false));
        }
        let ScoringMethod { aggregate: kind, top_k, .. } = self.method;
        let score = rounded(aggregate(kind, &measured.parts, &self.selection, top_k));
        Reduced { example: Example { lesson, paths }, score, time }
    }

    /// Adds a whole unit; `sequence` is the score of a session whose records were read as one.
    pub fn add(&mut self, records: Vec<Reduced>, sequence: Option<f64>) {
        self.units.push(Unit { records, sequence });
    }

    /// The calibration for the model in `folder`. Warns where there are too few units for the rate.
    ///
    /// Errors: fewer than two units; no field of them is selected.
    pub fn finish(&mut self, folder: &Path, fpr: f64) -> Result<Calibration> {
        let units = std::mem::take(&mut self.units);
        if units.len() < 2 {
            return Err(Error::failed(format!(
                "too few normal records or sessions to calibrate on: {}; at least 2 are needed, and 1/F for a false-positive \
                 rate of F",
                units.len()
            )));
        }
        if self.names.is_empty() {
            return Err(Error::usage(
                "--only-field and --ignore-field leave no field of the normal records, so all scores would be 0; use paths as \
                 score prints them",
            ));
        }
        let examples: Vec<&Example> =
            units.iter().flat_map(|unit| &unit.records).map(|record| &record.example).collect();
        let (normal, evidence) = learn(&examples, &self.names, &self.clocks.found(), &self.seen);
        let mut evidence = evidence.into_iter();
        for unit in &units {
            let scores: Vec<f64> = unit
                .records
                .iter()
                .map(|record| {
                    let own = evidence.next().expect("one for each record");
                    self.fields.push(rounded(own.fields));
                    if self.method.aggregate == Aggregate::Evidence { rounded(own.score) } else { record.score }
                })
                .collect();
            self.scores.push(unit.sequence.unwrap_or_else(|| self.method.of_session(scores.into_iter())));
        }
        let sessions = self.method.weighs_sessions().then(|| self.learn_sessions(&units));
        let (threshold, enough) = threshold(&self.scores, fpr)?;
        if !enough {
            let scores = self.scores.len();
            tracing::warn!(
                "{scores} normal scores are too few for a false-positive rate of {fpr}: the threshold is the largest of them, which \
                 guarantees only a rate of {:.2e}; {} are needed",
                1.0 / (scores + 1) as f64,
                (1.0 / fpr - 1.0).ceil()
            );
        }
        let scores = Ranks::of(&Sorted::of(self.scores.iter().map(|&score| score as f32)));
        Ok(Calibration { sessions, ..Calibration::new(folder, self.method.clone(), (threshold, fpr), scores, normal)? })
    }

    /// Learns how sessions go; their scores become those of all evidence.
    fn learn_sessions<'a>(&mut self, units: &'a [Unit]) -> NormalSessions {
        let record = |record: &'a Reduced| (&record.example.lesson, record.time);
        let sessions: Vec<Vec<(&Lesson, Option<f64>)>> =
            units.iter().map(|unit| unit.records.iter().map(record).collect()).collect();
        let (learnt, scores) = NormalSessions::learn(&sessions, &self.scores);
        self.scores = scores.into_iter().map(rounded).collect();
        learnt
    }

    /// Scores of the units; complete after [`Calibrator::finish`].
    pub fn scores(&self) -> &[f64] {
        &self.scores
    }

    /// The evidence of the fields of each record alone; complete after [`Calibrator::finish`].
    pub fn fields(&self) -> &[f64] {
        &self.fields
    }
}

impl ScoringMethod {
    /// Whether how a session goes counts beside the scores of its records.
    pub fn weighs_sessions(&self) -> bool {
        self.group.is_some() && self.aggregate == Aggregate::Evidence
    }

    /// The score of a session from those of its records; a single record is a session of its own.
    pub fn of_session(&self, scores: impl Iterator<Item = f64>) -> f64 {
        let (mut sum, mut count, mut largest) = (0.0, 0, f64::NEG_INFINITY);
        for score in scores {
            (sum, count, largest) = (sum + score, count + 1, largest.max(score));
        }
        match self.group.as_ref().map(|group| group.score) {
            Some(SessionScore::Mean) => rounded(sum / f64::from(count.max(1))),
            _ => largest,
        }
    }
}
