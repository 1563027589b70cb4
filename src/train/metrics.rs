//! `metrics.jsonl`: one JSON object per step.

use crate::files::{append, write_atomic, write_error};
use crate::report::LossCurve;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is known after a step. Losses are in nats per token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepMetrics {
    /// Number of steps done, including this one.
    pub step: u64,
    #[serde(deserialize_with = "null_is_nan")]
    pub loss: f64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub val_loss: Option<f64>,
    /// Validation loss in bits per byte.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub val_bits_per_byte: Option<f64>,
    /// Validation loss on the old data that is replayed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub replay_val_loss: Option<f64>,
    /// Gradient norm before clipping.
    #[serde(deserialize_with = "null_is_nan")]
    pub grad_norm: f64,
    pub learning_rate: f32,
    /// The update was skipped because loss or norm was not finite (JSON writes these as null).
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub skipped: bool,
    /// Tokens seen so far.
    pub tokens: u64,
    pub tokens_per_second: f64,
    /// Seconds that this process has trained so far.
    pub seconds: f64,
    /// Model FLOPs utilisation by nanoGPT's formula, when the peak is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mfu_nanogpt: Option<f64>,
    /// The same counting only the causal half of attention.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mfu_causal: Option<f64>,
    /// Bytes in use on the device, if it has a memory of its own.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device_memory: Option<u64>,
}

/// JSON has neither NaN nor infinity, so what was not finite is written as null.
fn null_is_nan<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

/// Appends to a run's `metrics.jsonl`.
pub struct MetricsFile {
    path: PathBuf,
    file: File,
}

impl MetricsFile {
    /// Opens the file for a run that has done `step` steps: lines of later steps (from before a kill) are removed, as is a
    /// half-written line.
    pub fn open(path: &Path, step: u64) -> Result<(Self, LossCurve)> {
        let kept: Vec<StepMetrics> = if path.exists() { read(path)? } else { Vec::new() };
        let kept: Vec<StepMetrics> = kept.into_iter().take_while(|line| line.step <= step).collect();
        let text: String = kept.iter().map(|line| to_json(line) + "\n").collect();
        write_atomic(path, text.as_bytes())?;
        Ok((MetricsFile { path: path.to_path_buf(), file: append(path)? }, curve(&kept)))
    }

    pub fn append(&mut self, line: &StepMetrics) -> Result<()> {
        self.check_in_place()?;
        let text = to_json(line) + "\n";
        self.file.write_all(text.as_bytes()).map_err(|e| write_error(&self.path, e))
    }

    /// Refuses to continue where the file at its path is another one: the run folder was removed, moved or replaced, and what
    /// the run writes would be lost.
    pub fn check_in_place(&self) -> Result<()> {
        let here = self.file.metadata().map_err(|e| Error::io("look at", &self.path, e))?;
        let same = |there: Metadata| (there.dev(), there.ino()) == (here.dev(), here.ino());
        match std::fs::metadata(&self.path).map(same) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.gone("another file took its place")),
            Err(e) => Err(self.gone(&e.to_string())),
        }
    }

    fn gone(&self, why: &str) -> Error {
        Error::failed(format!(
            "{}: the run folder was removed, moved or replaced while the run was using it ({why}); nothing more is written; put \
             it back and use --resume",
            self.path.display()
        ))
    }
}

fn to_json(line: &StepMetrics) -> String {
    serde_json::to_string(line).expect("plain values serialise")
}

/// The complete lines of a `metrics.jsonl`; broken ones (a kill leaves one at the end) are left out.
pub fn read(path: &Path) -> Result<Vec<StepMetrics>> {
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let lines = BufReader::new(file).lines();
    Ok(lines.map_while(|line| line.ok()).filter_map(|line| serde_json::from_str(&line).ok()).collect())
}

/// The loss curve of these lines.
pub fn curve(lines: &[StepMetrics]) -> LossCurve {
    let mut curve = LossCurve { title: "Training".into(), unit: "nats per token".into(), ..LossCurve::default() };
    lines.iter().for_each(|line| extend(&mut curve, line));
    curve
}

/// Adds a line's losses to the curve.
pub fn extend(curve: &mut LossCurve, line: &StepMetrics) {
    if !line.skipped {
        curve.train.push((line.step, line.loss));
    }
    curve.val.extend(line.val_loss.map(|loss| (line.step, loss)));
    curve.rate.push((line.step, line.learning_rate as f64));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: u64) -> StepMetrics {
        StepMetrics {
            step,
            loss: 1.0 / step as f64,
            val_loss: None,
            val_bits_per_byte: None,
            replay_val_loss: None,
            grad_norm: 0.1,
            learning_rate: 1e-3,
            skipped: false,
            tokens: 10 * step,
            tokens_per_second: 3.0,
            seconds: 1.5,
            mfu_nanogpt: None,
            mfu_causal: None,
            device_memory: None,
        }
    }

    #[test]
    fn a_file_that_is_gone_or_another_one_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let (mut file, _) = MetricsFile::open(&path, 0).unwrap();
        file.append(&line(1)).unwrap();
        for make in [false, true] {
            std::fs::rename(&path, folder.path().join("old")).unwrap();
            if make {
                std::fs::write(&path, "").unwrap();
            }
            let message = file.append(&line(2)).unwrap_err().to_string();
            assert!(message.contains("metrics.jsonl: the run folder was removed"), "{message}");
            std::fs::rename(folder.path().join("old"), &path).unwrap();
        }
        file.append(&line(2)).unwrap();
    }

    #[test]
    fn resuming_cuts_later_and_broken_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let (mut file, _) = MetricsFile::open(&path, 0).unwrap();
        (1..=2).for_each(|step| file.append(&line(step)).unwrap());
        let diverged = StepMetrics { loss: f64::NAN, skipped: true, ..line(3) };
        file.append(&diverged).unwrap();
        file.file.write_all(b"{\"step\":6,\"lo").unwrap();
        for (step, kept, points) in [(5, 3, 2), (3, 3, 2), (1, 1, 1)] {
            let (_, curve) = MetricsFile::open(&path, step).unwrap();
            assert_eq!(curve.train, [(1, 1.0), (2, 0.5)][..points]);
            assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), kept);
        }
    }
}
