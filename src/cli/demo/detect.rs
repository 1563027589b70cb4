//! The demo's detection: calibrates on normal records, and scores later ones that hold attacks.

use super::corpus::Logs;
use crate::cli::device::DeviceArgs;
use crate::cli::interrupt::is_stopped;
use crate::cli::output::OutputArgs;
use logwright::Result;
use logwright::finding::Finding;
use logwright::model_folder::LoadedModel;
use logwright::report::{Attacked, Detected};
use logwright::score::{
    Aggregate, CALIBRATION, Calibrator, Detector, ReadRecord, ScoredRecord, Scorer, ScoringMethod, Showing,
};
use std::path::Path;

/// The false-positive rate that is asked for: a hundred normal records resolve it.
const RATE: f64 = 0.01;
/// Records that are measured at once; between two batches an interrupt is noticed.
const BATCH: usize = 16;
/// Fields that are listed of each record.
const FIELDS: usize = 4;

/// Calibrates the model in `run`, which keeps the calibration, and scores what is held out. None where it was interrupted.
pub fn detect(device: &DeviceArgs, run: &Path, logs: &Logs, output: &OutputArgs) -> Result<Option<Detected>> {
    let LoadedModel { folder, mut engine, tokenizer, records } = device.load(run)?;
    let mut scorer = Scorer::new(engine.as_mut(), &tokenizer, &records, BATCH, None);
    let method = ScoringMethod {
        aggregate: Aggregate::Evidence,
        top_k: 10,
        only_field: Vec::new(),
        ignore_field: Vec::new(),
        group: None,
    };
    let mut calibrator = Calibrator::new(method.clone())?;
    let bar = output.progress((logs.normal.len() + logs.held_out.len()) as u64, "records");
    let whole = measured(&mut scorer, &logs.normal, &mut |_, one| {
        bar.inc(1);
        let reduced = calibrator.reduce(&one, None);
        calibrator.add(vec![reduced], None);
    })?;
    if !whole {
        return Ok(None);
    }
    let calibration = calibrator.finish(&folder, RATE)?;
    calibration.save(&run.join(CALIBRATION))?;
    let detector = Detector::new(method, Some(calibration), None)?;
    let lines: Vec<Vec<u8>> = logs.held_out.iter().map(|record| record.json.clone().into_bytes()).collect();
    let (mut findings, showing) = (Vec::<Finding>::new(), Showing::default());
    let whole = measured(&mut scorer, &lines, &mut |number, one| {
        bar.inc(1);
        let assessed = detector.assess(&one);
        let place = (number as u64 + 1, None);
        let finding = detector.finding((&one, &assessed), place, &tokenizer, FIELDS, true);
        let read = ReadRecord { bytes: &lines[number], number: place.0, source: None };
        findings.push(Finding { origin: showing.origin(read, &one), ..finding });
    })?;
    bar.finish_and_clear();
    let attacked = |finding| {
        let Finding { record, .. } = finding;
        let sign_in = &logs.held_out[record as usize - 1];
        Attacked { attack: sign_in.attack.map(|attack| attack.name()), episode: sign_in.episode, finding }
    };
    Ok(whole.then(|| Detected { rate: RATE, records: findings.into_iter().map(attacked).collect() }))
}

/// Hands over each measured record with its place; false where an interrupt ended it.
fn measured(scorer: &mut Scorer, records: &[Vec<u8>], take: &mut dyn FnMut(usize, ScoredRecord)) -> Result<bool> {
    for (batch, chunk) in records.chunks(BATCH).enumerate() {
        if is_stopped() {
            return Ok(false);
        }
        for (number, one) in scorer.measure(chunk.to_vec())?.into_iter().enumerate() {
            take(batch * BATCH + number, one?);
        }
    }
    Ok(true)
}
