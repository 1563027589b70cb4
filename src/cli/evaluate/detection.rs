//! `evaluate --labels`: the model as a detector of attacks, compared with the trivial baselines.

use super::by::ByArgs;
use super::reader::{Reader, each_record};
use crate::cli::values;
use clap::Args;
use indicatif::ProgressBar;
use logwright::dataset::Dataset;
use logwright::detect::labels::{self, Label};
use logwright::detect::{Detection, Observed, Samples, baselines, by_kind, evaluate};
use logwright::fidelity::{Reservoir, thin};
use logwright::finding::Drift;
use logwright::ingest::{ReadOptions, read_records};
use logwright::pseudonyms::RecordPseudonyms;
use logwright::record::{Records, fields};
use logwright::report::evaluation::Detected;
use logwright::score::{Aggregate, Assessed, Calibrator, Detector, DriftMonitor, ScoredRecord, ScoringMethod};
use logwright::{Error, Result};
use std::path::{Path, PathBuf};

#[derive(Args)]
#[command(group = clap::ArgGroup::new("labelling").args(["labels", "labelled"]).multiple(true))]
pub struct LabelArgs {
    /// One label per record, 0 or null for normal: for the records of --labelled, else for the validation split, whose earlier
    /// half then calibrates (training chose best/ on this split)
    #[arg(long, value_name = "FILE", requires = "data", conflicts_with = "text")]
    labels: Option<PathBuf>,
    /// Logs with known attacks; the normal records of the validation split calibrate
    #[arg(long, value_name = "FILE", requires = "data", conflicts_with = "text")]
    labelled: Option<PathBuf>,
    /// Field that holds the label: in the lines of --labels, else in the records of --labelled (hidden from the model)
    #[arg(long, value_name = "PATH", requires = "labelling")]
    label_field: Option<String>,
    /// False-positive rate to calibrate the threshold for
    #[arg(long, default_value_t = 0.01, value_name = "F", requires = "labelling", value_parser = values::rate)]
    fpr: f64,
    #[command(flatten)]
    by: ByArgs,
}

/// Records with their labels, and normal ones to calibrate on.
pub struct Trial {
    test: Vec<Vec<u8>>,
    labels: Vec<Label>,
    calibrate: Vec<Vec<u8>>,
}

impl Trial {
    /// Records that the model reads, where at most `sample` calibrate.
    pub fn records(&self, sample: usize) -> u64 {
        (self.test.len() + self.calibrate.len().min(sample)) as u64
    }
}

impl LabelArgs {
    /// The files that are read.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.labels.iter().chain(&self.labelled)
    }

    /// Whether raw logs are read.
    pub fn reads_logs(&self) -> bool {
        self.labelled.is_some()
    }

    /// Evaluates the model and the baselines on the labelled records. At most `sample` records fit the baselines, and as many
    /// calibrate each detector; the labelled ones are all held in memory.
    pub fn detect(
        &self,
        trial: Trial,
        reader: &mut Reader,
        data: &Dataset,
        sample: usize,
        seed: u64,
    ) -> Result<Detected> {
        let Trial { test, labels, calibrate } = trial;
        let calibrate = thin(&calibrate, sample, seed);
        let attacks: Vec<bool> = labels.iter().map(Option::is_some).collect();
        let mut fit = Reservoir::new(sample, seed);
        each_record(data, &data.train, &mut |record| fit.offer(|| record.to_vec()))?;
        let fit = fit.into_sample();
        let values = self.by.values(&test)?;
        let (normal, scores, drift) = self.scores(reader, &calibrate, &test, &fit, &attacks)?;
        let observe = |records: &[Vec<u8>]| records.iter().map(|record| Observed::of(record)).collect::<Vec<_>>();
        let (fit, calibrate, seen) = (observe(&fit), observe(&calibrate), observe(&test));
        let samples = Samples { fit: &fit, calibrate: &calibrate, test: &seen, attacks: &attacks };
        let row = |method: &str, scores: Vec<f64>, normal: &[f64]| -> Result<(Detection, Vec<f64>)> {
            let detection = evaluate(&scores, &attacks, normal, self.fpr)?;
            Ok((Detection { method: method.into(), ..detection }, scores))
        };
        let kinds = by_kind(&scores.together, &labels, &normal.together, self.fpr)?;
        let together = row("model with baselines", scores.together, &normal.together)?;
        let by = self.by.divide(&values, &together.1, &attacks, together.0.calibrated.threshold);
        let own = [together, row("model alone", scores.fields, &normal.fields)?];
        let rows = own.into_iter().chain(baselines(&samples, self.fpr)?);
        let (methods, scores) = rows.unzip();
        Ok(Detected { methods, kinds, by, drift, scores, attacks })
    }

    /// Reads the labelled records and the normal ones that the flags name; None without such flags. Names in raw logs are
    /// replaced by `pseudonyms`.
    ///
    /// Errors: labels that cannot be read, or are not as many as the records.
    pub fn trial(&self, data: &Dataset, pseudonyms: Option<&mut RecordPseudonyms>) -> Result<Option<Trial>> {
        if self.labels.is_none() && self.labelled.is_none() {
            return Ok(None);
        }
        let mut held_out = Vec::new();
        each_record(data, &data.val, &mut |record| held_out.push(record.to_vec()))?;
        let field = self.label_field.as_deref();
        let mut trial = match (&self.labelled, &self.labels) {
            (Some(logs), Some(file)) => {
                let test = read(logs, &data.records)?;
                Trial { labels: labels::read(file, field, test.len())?, test, calibrate: held_out }
            }
            (Some(logs), None) => {
                let field = field.ok_or_else(|| {
                    Error::usage(
                        "--labelled: there are no labels; give --labels FILE, or --label-field PATH for labels in the records",
                    )
                })?;
                let (test, labels) = unlabel(read(logs, &data.records)?, field)?;
                Trial { test, labels, calibrate: held_out }
            }
            (None, file) => {
                let file = file.as_ref().expect("one of the two is given");
                let mut labels = labels::read(file, field, held_out.len())?;
                // In the order of the data: fit and calibrated on earlier records, tested on later ones.
                let (test, tested) = (held_out.split_off(held_out.len() / 2), labels.split_off(labels.len() / 2));
                let normal = held_out.into_iter().zip(labels).filter(|(_, label)| label.is_none());
                Trial { test, labels: tested, calibrate: normal.map(|(record, _)| record).collect() }
            }
        };
        if let Some(pseudonyms) = pseudonyms.filter(|_| self.reads_logs()) {
            trial.test.iter_mut().for_each(|record| *record = pseudonyms.rewrite(record).record);
        }
        // A path that no record has is an error before the long computation.
        self.by.values(&trial.test)?;
        Ok(Some(trial))
    }

    /// Scores of the normal records that set the threshold, and of the labelled ones. The values of records in `fit` are known ones.
    fn scores(
        &self,
        reader: &mut Reader,
        calibrate: &[Vec<u8>],
        test: &[Vec<u8>],
        fit: &[Vec<u8>],
        attacks: &[bool],
    ) -> Result<(Scores, Scores, Option<Drift>)> {
        let (only_field, ignore_field) = (Vec::new(), Vec::new());
        let method = ScoringMethod { aggregate: Aggregate::Evidence, top_k: 5, only_field, ignore_field, group: None };
        let mut calibrator = Calibrator::new(method.clone())?;
        fit.iter().for_each(|record| calibrator.see(record));
        reader.each("records to calibrate on", calibrate, &mut |measured| {
            let reduced = measured.map(|measured| calibrator.reduce(&measured, None));
            reduced.into_iter().for_each(|reduced| calibrator.add(vec![reduced], None));
        })?;
        let calibration = calibrator.finish(reader.folder, self.fpr)?;
        let detector = Detector::new(method, Some(calibration), None)?;
        let mut assessed: Vec<Option<Assessed>> = Vec::with_capacity(test.len());
        let (mut monitor, mut drift) = (detector.drift_monitor(), None);
        reader.each("labelled records", test, &mut |measured| {
            let found = measured.map(|measured| (detector.assess(&measured), measured));
            if let Some((one, measured)) = found.as_ref().filter(|_| !attacks[assessed.len()]) {
                drift = drift.take().or_else(|| watch(&detector, monitor.as_mut()?, one, measured));
            }
            assessed.push(found.map(|(assessed, _)| assessed));
        })?;
        let unread = assessed.iter().position(Option::is_none).map(|place| place + 1);
        let assessed: Option<Vec<Assessed>> = assessed.into_iter().collect();
        let assessed = assessed.ok_or_else(|| {
            Error::failed(format!(
                "the model cannot read labelled record {} (the first one), so its detection cannot be evaluated; remove such \
                 records and their labels",
                unread.unwrap_or(0)
            ))
        })?;
        let fields = |one: &Assessed| one.evidence.as_ref().map_or(0.0, |evidence| evidence.fields);
        let found = Scores {
            together: assessed.iter().map(|one| one.score).collect(),
            fields: assessed.iter().map(fields).collect(),
        };
        Ok((Scores { together: calibrator.scores().to_vec(), fields: calibrator.fields().to_vec() }, found, drift))
    }
}

/// The first drift, where it begins with this normal record.
fn watch(detector: &Detector, monitor: &mut DriftMonitor, one: &Assessed, measured: &ScoredRecord) -> Option<Drift> {
    let (evidence, normal) = (one.evidence.as_ref()?, detector.normal()?);
    let is_anomaly = detector.is_anomaly(one.score) == Some(true);
    let path = |place: usize| measured.parts.fields[place].path.as_str();
    let begins = monitor.observe(evidence, path, is_anomaly, normal);
    monitor.drift().filter(|_| begins).cloned()
}

/// Scores of records, by all evidence and by that of the fields alone.
struct Scores {
    together: Vec<f64>,
    fields: Vec<f64>,
}

/// The records of raw logs, read as those of the data folder were.
fn read(logs: &Path, like: &Records) -> Result<Vec<Vec<u8>>> {
    let mut records = Vec::new();
    let options = ReadOptions::like(like)?;
    read_records(&[logs.to_path_buf()], &options, &ProgressBar::hidden(), &mut |record| {
        records.push(record.to_vec());
        Ok(())
    })?;
    Ok(records)
}

/// Takes the label out of each record: the model must not see what it is to predict.
fn unlabel(records: Vec<Vec<u8>>, field: &str) -> Result<(Vec<Vec<u8>>, Vec<Label>)> {
    let part = |(number, record): (usize, Vec<u8>)| {
        let label = labels::of_record(&record, field, number + 1)?;
        let rest = fields::without(&record, field).ok_or_else(|| {
            Error::failed(format!(
                "record {}: the label {field} cannot be taken out; expected it at the top level of the object (or give the labels in \
                 a file: --labels)",
                number + 1
            ))
        })?;
        Ok((rest, label))
    };
    Ok(records.into_iter().enumerate().map(part).collect::<Result<Vec<_>>>()?.into_iter().unzip())
}
