//! `score --calibrate`: normal records -> a calibration.

use super::args::ScoreArgs;
use super::progress::records_of;
use crate::cli::evaluate::each_record;
use crate::cli::interrupt::is_stopped;
use crate::cli::next;
use crate::cli::output::OutputArgs;
use logwright::Result;
use logwright::alerts::Span;
use logwright::dataset::Dataset;
use logwright::fidelity::Reservoir;
use logwright::ingest::Input;
use logwright::report::columns;
use logwright::score::session::Sessions;
use logwright::score::{Calibration, Calibrator, Scorer};
use logwright::stream::{measure, sessions};
use logwright::words::counted;
use serde_json::json;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// The false-positive rate where none is asked for.
const DEFAULT_RATE: f64 = 0.001;
/// Records of the training that are taken in: what happens once in a thousand times is seen then.
const MOST_SEEN: usize = 20_000;

/// Calibrates on the normal records of one input, as the calibration `before` was made if there is one; None where it was interrupted.
pub fn calibrate(
    scorer: &mut Scorer,
    before: Option<&Calibration>,
    normal: &Path,
    folder: &Path,
    args: &ScoreArgs,
    output: &OutputArgs,
    stop: &AtomicBool,
) -> Result<Option<Calibration>> {
    let input = if normal.as_os_str() == "-" { Input::Stdin } else { Input::Path(normal.to_owned()) };
    let mut feed = args.feed(vec![input], scorer)?;
    let method = args.method(before)?;
    let mut grouped = method.group.clone().map(|group| (Sessions::new(group.clone()), group));
    let (mut calibrator, mut broken) = (Calibrator::new(method)?, 0u64);
    if let Some(folder) = &args.data {
        see(&mut calibrator, folder)?;
    }
    let (showing, mut span) = (args.showing(scorer.reader.records)?, Span::default());
    let progress = records_of(vec![normal.to_owned()], args.read_options(scorer.reader.records)?, output);
    while let Some(lines) = feed.next(args.at_once(scorer), stop)? {
        progress.inc(lines.len() as u64);
        for (_, number, outcome) in measure(scorer, lines)? {
            if let Ok((read, _)) = &outcome {
                span.record(showing.seconds(read));
            }
            match (outcome, &mut grouped) {
                (Err(_), _) => broken += 1,
                (Ok((_, measured)), None) => {
                    let reduced = calibrator.reduce(&measured, None);
                    calibrator.add(vec![reduced], None);
                }
                (Ok((_, measured)), Some((open, group))) => {
                    broken += u64::from(!sessions::teach(&mut calibrator, scorer, open, group, number, &measured)?);
                }
            }
        }
    }
    progress.finish_and_clear();
    if is_stopped() {
        return Ok(None);
    }
    if let Some((open, group)) = grouped {
        open.finish().try_for_each(|session| sessions::teach_session(&mut calibrator, scorer, &group, session))?;
    }
    if broken > 0 {
        let lines = counted(broken, "line");
        tracing::warn!("{}: {lines} left out: no record that the model can read, or without the key", normal.display());
    }
    let asked = args.fpr.or(before.map(|before| before.fpr)).unwrap_or(DEFAULT_RATE);
    let fpr = args.alerts.rate(span.per_day()).unwrap_or(asked);
    let mut made = calibrator.finish(folder, fpr)?;
    made.records_per_day = span.per_day();
    Ok(Some(made))
}

/// Takes in the records of the training, or as many of them as a sample holds.
fn see(calibrator: &mut Calibrator, folder: &Path) -> Result<()> {
    let data = Dataset::open(folder)?;
    let mut sample = Reservoir::new(MOST_SEEN, 1);
    each_record(&data, &data.train, &mut |record| sample.offer(|| record.to_vec()))?;
    sample.into_sample().iter().for_each(|record| calibrator.see(record));
    Ok(())
}

/// Reports the calibration: on stdout where it is the command's only result.
pub fn tell(made: &Calibration, path: &Path, args: &ScoreArgs) -> Result<()> {
    let Calibration { threshold, fpr, scores, method, normal, .. } = made;
    if !args.inputs.is_empty() {
        tracing::info!("threshold {threshold} from {} normal scores; {}", scores.count(), path.display());
        return Ok(());
    }
    let result = json!({
        "calibration": path, "aggregate": method.aggregate, "threshold": threshold, "fpr": fpr,
        "scores": scores.count(), "paths": normal.paths.len(), "layouts": normal.common_layouts.len(),
    });
    args.result.print(&result, || {
        let rows = [
            ["calibration", &path.display().to_string()],
            ["normal scores", &scores.count().to_string()],
            ["threshold", &format!("{threshold:.3}")],
            ["false positives at most", &format!("{} %", 100.0 * fpr)],
            ["fields", &normal.paths.len().to_string()],
        ];
        columns(&rows.map(|row| row.map(String::from)))
    })?;
    next::command(
        format!("logwright score --model {} NEW --only-anomalies", next::typed(&args.model)),
        "NEW: a log to search; tail -F into the command watches one",
    );
    Ok(())
}
