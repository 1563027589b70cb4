//! `logwright score`: records -> how unusual each one is, and why.

use super::exit::Exit;
use super::interrupt::stop_on_interrupt;
use super::output::OutputArgs;
use super::outputs::check_writable;
use calibrate::{calibrate, tell};
use logwright::known::{Known, KnownFile};
use logwright::model_folder::LoadedModel;
use logwright::score::{CALIBRATION, Calibration, Detector, Scorer};
use logwright::stream::RecordStream;
use logwright::{Error, Result};
use std::path::Path;
use std::sync::Arc;
use stream::ScoreStream;

mod ahead;
mod alerts;
mod args;
mod calibrate;
mod explain;
mod form;
mod passthrough;
mod progress;
mod sessions;
mod share;
mod stream;

pub use args::ScoreArgs;

pub fn run(mut args: ScoreArgs, output: &OutputArgs) -> Result<Exit> {
    args.check()?;
    passthrough::check(&args)?;
    let share = share::share(&args)?;
    args.device.spread(share.local_rank);
    args.mode.apply();
    if args.normal().is_some() && args.model.is_dir() {
        check_writable("--calibrate", &args.model)?;
    }
    let page = args.explain.page(&args.model, &args.read())?;
    let LoadedModel { mut engine, tokenizer, records, folder } = args.device.load(&args.model)?;
    let mut pseudonyms = args.key.open(&folder, &records)?;
    let (batch, pseudonyms) = (args.batch.into(), pseudonyms.as_mut());
    let mut scorer = Scorer::new(engine.as_mut(), &tokenizer, &records, batch, pseudonyms);
    let stop = stop_on_interrupt();
    let path = args.model.join(CALIBRATION);
    let calibration = match args.normal() {
        Some(normal) => {
            let before = before(&args, &path, &folder)?;
            let Some(made) = calibrate(&mut scorer, before.as_ref(), normal, &folder, &args, output, stop)? else {
                tracing::warn!("interrupted; no calibration was written");
                return Ok(Exit::Interrupted);
            };
            made.save(&path)?;
            tell(&made, &path, &args)?;
            Some(made)
        }
        None if args.no_calibration => None,
        None => Calibration::load(&path, &folder)?,
    };
    if args.normal().is_some() && args.inputs.is_empty() {
        return Ok(Exit::Success);
    }
    if calibration.is_none() && !args.no_calibration {
        tracing::warn!(
            "{}: there is no calibration, so the fields that change in every record (times, identifiers) rank first; learn what \
             is usual from normal records: logwright score --model {} --calibrate NORMAL",
            path.display(),
            args.model.display()
        );
    }
    let method = args.method(calibration.as_ref())?;
    let why = "RUN/calibration.json is for sessions, which are of many records; give --no-calibration, or score in one process";
    share.refuse(method.group.is_some(), "--part", why)?;
    let known = Known::new(KnownFile::read(&args.model)?.entries);
    let alerting = args.alerts.open(calibration.as_ref())?;
    let mut detector = Detector::new(method, calibration, args.threshold)?;
    detector.in_clear = args.in_clear;
    if args.only_anomalies && detector.threshold.is_none() {
        return Err(Error::usage("--only-anomalies: there is no threshold; give --threshold X, or --calibrate first"));
    }
    let state = args.state()?;
    let inputs = args.streams(state.as_ref());
    let stream = RecordStream::new(detector, Arc::new(known), args.stream_options(&records, &inputs)?, alerting);
    let progress = progress::records_of(args.files(), args.read_options(&records)?, output);
    ScoreStream::new(&args, stream, inputs, state, page, progress)?.run(&mut scorer, stop)
}

/// The calibration that `--recalibrate` repeats.
fn before(args: &ScoreArgs, path: &Path, folder: &Path) -> Result<Option<Calibration>> {
    if args.recalibrate.is_none() {
        return Ok(None);
    }
    let nothing = || Error::usage(format!("--recalibrate: {} does not exist; use --calibrate", path.display()));
    Calibration::load(path, folder)?.ok_or_else(nothing).map(Some)
}
