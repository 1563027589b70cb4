//! The logs of the demo: a corpus of normal records, normal records to calibrate on, and a day after them that holds attacks.

use crate::cli::synth::label;
use logwright::files::{Access, WholeFile};
use logwright::synth::{SignIn, SignIns, SynthSettings};
use logwright::{Error, Result};
use std::path::Path;

pub const CORPUS: &str = "corpus.jsonl";
pub const NORMAL: &str = "normal.jsonl";
pub const HELD_OUT: &str = "heldout.jsonl";
pub const LABELS: &str = "labels.jsonl";

/// What is held out of the corpus, and what it is about.
pub struct Logs {
    /// Mean length of a record in bytes.
    pub mean_bytes: f64,
    pub normal: Vec<Vec<u8>>,
    pub held_out: Vec<SignIn>,
}

/// Writes the logs into a folder: `records` normal records, and behind them as many to calibrate on and to score as a
/// twentieth of that, 50 to 1000. Without attacks are all but the last, so that what is normal is learnt from normal records.
pub fn write(folder: &Path, records: usize, seed: u64) -> Result<Logs> {
    let mut source = SignIns::new(SynthSettings { seed, ..SynthSettings::default() })?;
    let held_out = (records / 20).clamp(50, 1000);
    let mut bytes = 0;
    let mut corpus = Lines::create(folder, CORPUS)?;
    for record in source.by_ref().filter(|record| record.attack.is_none()).take(records) {
        bytes += record.json.len();
        corpus.line(&record.json)?;
    }
    corpus.0.publish()?;
    let normal: Vec<Vec<u8>> = source
        .by_ref()
        .filter(|record| record.attack.is_none())
        .take(held_out)
        .map(|record| record.json.into_bytes())
        .collect();
    let held_out: Vec<SignIn> = source.take(held_out).collect();
    let (mut calibration, mut later, mut labels) =
        (Lines::create(folder, NORMAL)?, Lines::create(folder, HELD_OUT)?, Lines::create(folder, LABELS)?);
    normal.iter().try_for_each(|record| calibration.line(&String::from_utf8_lossy(record)))?;
    for (number, record) in (1..).zip(&held_out) {
        later.line(&record.json)?;
        labels.0.write(label(number, record).as_bytes())?;
    }
    [calibration, later, labels].into_iter().try_for_each(|file| file.0.publish())?;
    Ok(Logs { mean_bytes: bytes as f64 / records.max(1) as f64, normal, held_out })
}

/// A file of lines.
struct Lines(WholeFile);

impl Lines {
    fn create(folder: &Path, name: &str) -> Result<Self> {
        WholeFile::create(&folder.join(name), Access::Private).map(Lines)
    }

    fn line(&mut self, record: &str) -> std::result::Result<(), Error> {
        self.0.write(record.as_bytes())?;
        self.0.write(b"\n")
    }
}
