//! `logwright score`: records -> how unusual each one is, and why.

use super::device::DeviceArgs;
use super::exit::Exit;
use super::interrupt::{is_stopped, stop_on_interrupt};
use super::key_file::KeyArgs;
use super::mode::ModeArgs;
use super::outputs::check_writable;
use super::stdout::{print_line, write_failed};
use super::values;
use clap::Args;
use explain::ExplainArgs;
use lines::measure;
use logwright::finding::Finding;
use logwright::ingest::{Begin, Feed, FollowState, Input, InputFormat, InputRecord, ReadOptions, RecordStart};
use logwright::model_folder::LoadedModel;
use logwright::report::visible;
use logwright::score::session::Sessions;
use logwright::score::{
    Aggregate, CALIBRATION, Calibration, Calibrator, Detector, ScoredRecord, Scorer, ScoringMethod,
};
use logwright::words::counted;
use logwright::{Error, Result};
use serde_json::{Value, json};
use sessions::{GroupArgs, Grouped};
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

mod explain;
mod lines;
mod sessions;

/// Find unusual records: score each one by how much it surprises the model; prints one JSON object per record
///
/// Keys: record (its number in its input), source (if there are several), score, threshold, anomaly (null without a threshold;
/// see --calibrate), nats_per_char, nats_per_token, max_token, and fields, the most unusual first: path, value, nats, and after
/// a calibration expected and excess. Surprisal is minus the logarithm of the probability that the model gave a text, in nats.
/// Paths are those of JSON leaves (resources.*.arn); web logs and syslog have named fields (client, program); the words of
/// other lines are $1, $2, ...; (end) is what follows the last field. For a line that is no record: record and error.
#[derive(Args)]
pub struct ScoreArgs {
    /// Run folder, or a Hugging Face GPT-2 folder with its tokenizer.json
    #[arg(long, value_name = "RUN")]
    model: PathBuf,
    /// Files, folders or patterns in any format that prepare reads; - for standard input, the default
    #[arg(value_name = "FILE")]
    inputs: Vec<PathBuf>,
    /// Format of all inputs [default: detected for each; a stream may have to show 20 rows of a table]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<InputFormat>,
    /// Lines of text that fit this regular expression begin a record, others continue it; '' takes each line as a record
    /// [default: as in the logs that the model was trained on]
    #[arg(long, value_name = "REGEX")]
    record_start: Option<String>,
    /// Follow one growing file until Ctrl-C, also across rotations: each file is held until it is read to its end
    #[arg(long)]
    follow: bool,
    /// With --follow: score only what is written from now on
    #[arg(long, requires = "follow")]
    from_end: bool,
    /// With --follow: keep in this file how far the log was answered, and resume there after a restart, also across rotation.
    /// Every record is answered at least once: after a kill, those of the last moments are answered again
    #[arg(long, value_name = "FILE", requires = "follow")]
    state: Option<PathBuf>,
    /// Learn the statistics of normal records and the threshold from these records; saved as RUN/calibration.json
    #[arg(long, value_name = "FILE", conflicts_with_all = ["threshold", "no_calibration"])]
    calibrate: Option<PathBuf>,
    /// With --calibrate: at most this fraction of new normal records will be reported as anomalies
    #[arg(long, default_value_t = 0.001, value_name = "F", requires = "calibrate", value_parser = values::rate)]
    fpr: f64,
    /// A record with a score above this is an anomaly [default: the threshold of RUN/calibration.json, if it exists]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = values::finite)]
    threshold: Option<f64>,
    /// Ignore RUN/calibration.json
    #[arg(long)]
    no_calibration: bool,
    /// How the surprisals of a record become one score [default: excess if a calibration exists or is made, else field]
    #[arg(long, value_enum, value_name = "HOW")]
    aggregate: Option<Aggregate>,
    /// K of --aggregate top-k [default: 5]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(1..))]
    top_k: Option<u16>,
    /// Score only these fields, by path, with * for anything; may be repeated
    #[arg(long, value_name = "PATH")]
    only_field: Vec<String>,
    /// Exclude these fields from the score; may be repeated
    #[arg(long, value_name = "PATH")]
    ignore_field: Vec<String>,
    /// Print only anomalies (and lines that are not records)
    #[arg(long)]
    only_anomalies: bool,
    /// Number of fields to print per record; 0: all
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = values::whole::<usize>(0..=values::MOST))]
    top_fields: usize,
    /// Maximum length of a record in bytes; a longer one is reported and skipped
    #[arg(long, default_value_t = 1 << 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_record_bytes: u32,
    /// Number of available records to compute at once. A GPU is faster with more, which may change the last digits; on a CPU
    /// more change no score, and hardly the speed
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    #[command(flatten)]
    key: KeyArgs,
    /// With --key-file: show values as they are in the raw records, not their pseudonyms
    #[arg(long, requires = "key_file")]
    in_clear: bool,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    group: GroupArgs,
    #[command(flatten)]
    explain: ExplainArgs,
    #[command(flatten)]
    mode: ModeArgs,
}

pub fn run(args: ScoreArgs) -> Result<Exit> {
    args.check()?;
    args.mode.apply();
    if args.calibrate.is_some() && args.model.is_dir() {
        check_writable("--calibrate", &args.model)?;
    }
    let page = args.explain.page(&args.model, &args.read())?;
    let LoadedModel { mut engine, tokenizer, records, folder } = args.device.load(&args.model)?;
    let mut pseudonyms = args.key.open(&folder, &records)?;
    let mut scorer = Scorer {
        engine: engine.as_mut(),
        tokenizer: &tokenizer,
        records: &records,
        batch: args.batch.into(),
        pseudonyms: pseudonyms.as_mut(),
    };
    let stop = stop_on_interrupt();
    let path = args.model.join(CALIBRATION);
    let calibration = match &args.calibrate {
        Some(normal) => {
            let method = args.method(None)?;
            let Some(made) = calibrate(&mut scorer, method, normal, &folder, &args, stop)? else {
                tracing::warn!("interrupted; no calibration was written");
                return Ok(Exit::Interrupted);
            };
            made.save(&path)?;
            tell(&made, &path, args.inputs.is_empty())?;
            Some(made)
        }
        None if args.no_calibration => None,
        None => Calibration::load(&path, &folder)?,
    };
    if args.calibrate.is_some() && args.inputs.is_empty() {
        return Ok(Exit::Success);
    }
    let method = args.method(calibration.as_ref())?;
    let learnt = calibration.map(|calibration| (calibration.normal_stats, calibration.threshold)).unzip();
    let mut detector = Detector::new(method, learnt.0, args.threshold.or(learnt.1))?;
    detector.in_clear = args.in_clear;
    if args.only_anomalies && detector.threshold.is_none() {
        return Err(Error::usage("--only-anomalies: there is no threshold; give --threshold X, or --calibrate first"));
    }
    ScoreStream::new(&args, detector, page)?.run(&mut scorer, stop)
}

impl ScoreArgs {
    fn check(&self) -> Result<()> {
        let file = matches!(&self.inputs[..], [one] if one.as_os_str() != "-");
        if self.follow && !file {
            return Err(Error::usage("--follow: expected the name of one file; a pipe (-) is followed without it"));
        }
        Ok(())
    }

    /// How to score: as the flags say, else as the calibration was made.
    ///
    /// Errors: flags that differ from the calibration, because its threshold would mean nothing.
    fn method(&self, calibration: Option<&Calibration>) -> Result<ScoringMethod> {
        let made = calibration.map(|calibration| &calibration.method);
        let default = if self.calibrate.is_some() { Aggregate::Excess } else { Aggregate::Field };
        let inherit = |own: &Vec<String>, made: Option<&Vec<String>>| match made {
            Some(made) if own.is_empty() => made.clone(),
            _ => own.clone(),
        };
        let aggregate = self.aggregate.or(made.map(|made| made.aggregate)).unwrap_or(default);
        let top_k = self.top_k.filter(|_| aggregate == Aggregate::TopK).map(usize::from);
        let method = ScoringMethod {
            aggregate,
            top_k: top_k.or(made.map(|made| made.top_k)).unwrap_or(5),
            only_field: inherit(&self.only_field, made.map(|made| &made.only_field)),
            ignore_field: inherit(&self.ignore_field, made.map(|made| &made.ignore_field)),
            group: self.group.grouping()?.or(made.and_then(|made| made.group.clone())),
        };
        if let Some(made) = made
            && *made != method
            && self.threshold.is_none()
        {
            return Err(Error::usage(format!(
                "{}: its threshold is for other scores (--aggregate {}, or other fields or sessions); omit the flags, calibrate \
                 again with them, or give --threshold or --no-calibration",
                self.model.join(CALIBRATION).display(),
                made.aggregate.name()
            )));
        }
        if method.group.is_some() && self.explain.is_asked() {
            return Err(Error::usage(
                "--explain and --explain-html show records, not the sessions of --group-by (or of RUN/calibration.json: \
                 --no-calibration scores records)",
            ));
        }
        if method.group.is_some() && self.state.is_some() {
            return Err(Error::usage(
                "--state: it holds how far records were answered, not the open sessions of --group-by (or of \
                 RUN/calibration.json: --no-calibration scores records)",
            ));
        }
        if method.aggregate == Aggregate::Excess && calibration.is_none() && self.calibrate.is_none() {
            return Err(Error::usage(
                "--aggregate excess: this needs the statistics of normal records; calibrate first (--calibrate NORMAL)",
            ));
        }
        Ok(method)
    }

    /// What the command reads, by name.
    fn read(&self) -> Vec<&Path> {
        self.inputs.iter().chain(&self.calibrate).chain([&self.model]).map(PathBuf::as_path).collect()
    }

    fn feed(&self, inputs: Vec<Input>, scorer: &Scorer) -> Result<Feed> {
        let mut options = ReadOptions {
            format: self.format,
            max_record_bytes: self.max_record_bytes as usize,
            answer_faults: true,
            ..ReadOptions::like(scorer.records)?
        };
        if let Some(start) = &self.record_start {
            options.record_start = RecordStart::parse(start)?;
        }
        Ok(Feed::start(inputs, options, 2 * usize::from(self.batch)))
    }

    fn state(&self) -> Result<Option<FollowState>> {
        let both = self.state.as_ref().zip(self.inputs.first());
        both.map(|(state, followed)| FollowState::open(state, followed)).transpose()
    }

    fn streams(&self, state: Option<&FollowState>) -> Vec<Input> {
        let of = |path: &PathBuf| match path.to_str() {
            Some("-") => Input::Stdin,
            _ if self.follow => {
                let begin = if self.from_end { Begin::End } else { Begin::Start };
                let saved = state.and_then(FollowState::resume);
                let (begin, records) =
                    saved.map_or((begin, 0), |(position, records)| (Begin::Behind(position), records));
                Input::Growing { path: path.clone(), begin, records }
            }
            _ => Input::Path(path.clone()),
        };
        if self.inputs.is_empty() { vec![Input::Stdin] } else { self.inputs.iter().map(of).collect() }
    }
}

/// Calibrates on the normal records of one input; None where it was interrupted.
fn calibrate(
    scorer: &mut Scorer,
    method: ScoringMethod,
    normal: &Path,
    folder: &Path,
    args: &ScoreArgs,
    stop: &AtomicBool,
) -> Result<Option<Calibration>> {
    let input = if normal.as_os_str() == "-" { Input::Stdin } else { Input::Path(normal.to_owned()) };
    let mut feed = args.feed(vec![input], scorer)?;
    let mut grouped = method.group.clone().map(|group| (Sessions::new(group.clone()), group));
    let (mut calibrator, mut broken) = (Calibrator::new(method)?, 0u64);
    while let Some(lines) = feed.next(args.batch.into(), stop)? {
        for (_, number, outcome) in measure(scorer, lines)? {
            match (outcome, &mut grouped) {
                (Err(_), _) => broken += 1,
                (Ok(measured), None) => {
                    let reduced = calibrator.reduce(&measured);
                    calibrator.add(vec![reduced], None);
                }
                (Ok(measured), Some((open, group))) => {
                    broken += u64::from(!sessions::teach(&mut calibrator, scorer, open, group, number, &measured)?);
                }
            }
        }
    }
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
    calibrator.finish(folder, args.fpr).map(Some)
}

/// Reports the calibration: on stdout where it is the command's only result.
fn tell(made: &Calibration, path: &Path, alone: bool) -> Result<()> {
    let Calibration { threshold, fpr, scores, taught, method, normal_stats, .. } = made;
    if alone {
        return print_line(&json!({
            "calibration": path, "aggregate": method.aggregate, "threshold": threshold, "fpr": fpr, "scores": scores,
            "taught": taught, "paths": normal_stats.len(),
        }));
    }
    tracing::info!("threshold {threshold} from {scores} normal scores; {}", path.display());
    Ok(())
}

/// Takes the records from the feed to stdout.
struct ScoreStream<'a> {
    args: &'a ScoreArgs,
    detector: Detector,
    inputs: Vec<Input>,
    /// How far a growing file was answered, where that is to be kept.
    state: Option<FollowState>,
    /// Open sessions, where records are grouped.
    grouped: Option<Grouped>,
    page: explain::Page,
    colour: bool,
    records: u64,
    broken: u64,
    anomalies: u64,
}

impl<'a> ScoreStream<'a> {
    fn new(args: &'a ScoreArgs, detector: Detector, page: explain::Page) -> Result<Self> {
        let grouped = detector.method.group.clone().map(|group| Grouped::new(group, detector.in_clear));
        let state = args.state()?;
        let (inputs, colour) = (args.streams(state.as_ref()), args.explain.colour());
        Ok(ScoreStream { args, detector, inputs, state, grouped, page, colour, records: 0, broken: 0, anomalies: 0 })
    }

    fn run(mut self, scorer: &mut Scorer, stop: &AtomicBool) -> Result<Exit> {
        let begin = Instant::now();
        if self.args.explain.explain {
            self.print(&logwright::report::explain::legend(self.colour))?;
        }
        let mut feed = self.args.feed(self.inputs.clone(), scorer)?;
        let mut ended = Ok(());
        loop {
            match feed.next(self.args.batch.into(), stop) {
                Ok(Some(lines)) => self.batch(scorer, lines)?,
                Ok(None) => break,
                // What was found before an input failed is still printed.
                Err(error) => {
                    ended = Err(error);
                    break;
                }
            }
        }
        if let Some(grouped) = self.grouped.take() {
            for session in grouped.finish() {
                self.session(scorer, session)?;
            }
        }
        self.flush()?;
        self.state.as_mut().map_or(Ok(()), FollowState::save)?;
        self.page.write(&self.detector)?;
        self.conclude(begin.elapsed().as_secs_f64());
        match is_stopped() && !self.args.follow {
            true => Ok(Exit::Interrupted),
            false => ended.map(|()| Exit::Success),
        }
    }

    fn batch(&mut self, scorer: &mut Scorer, lines: Vec<InputRecord>) -> Result<()> {
        if lines.is_empty() {
            return self.state.as_mut().map_or(Ok(()), FollowState::idle);
        }
        let answered = lines.iter().rev().find_map(|line| Some((line.end?, line.number)));
        for (input, number, outcome) in measure(scorer, lines)? {
            self.records += 1;
            match outcome {
                Err(fault) => self.broken(input, number, &fault)?,
                Ok(measured) if self.grouped.is_some() => self.member(scorer, input, number, &measured)?,
                Ok(measured) => self.record(scorer, input, number, &measured)?,
            }
        }
        self.flush()?;
        match (&mut self.state, answered) {
            (Some(state), Some((end, records))) => state.advance(end, records),
            _ => Ok(()),
        }
    }

    fn record(&mut self, scorer: &Scorer, input: usize, number: u64, measured: &ScoredRecord) -> Result<()> {
        let shaded = self.args.explain.is_asked();
        let source = self.source(input);
        let place = (number, source.as_deref());
        let finding = self.detector.finding(measured, place, scorer.tokenizer, self.args.top_fields, shaded);
        self.anomalies += u64::from(finding.anomaly == Some(true));
        if !self.args.only_anomalies || finding.anomaly == Some(true) {
            let text = match self.args.explain.explain {
                true => logwright::report::explain::terminal(&finding, self.colour),
                false => serde_json::to_string(&finding).map_err(Error::failed)? + "\n",
            };
            self.print(&text)?;
        }
        self.page.add(finding);
        Ok(())
    }

    /// A record joins its session; sessions that end with it are printed.
    fn member(&mut self, scorer: &mut Scorer, input: usize, number: u64, measured: &ScoredRecord) -> Result<()> {
        let (score, source) = (self.detector.score(measured), self.source(input));
        let place = (number, source.as_deref());
        // The threshold is for sessions, so a single record has no verdict.
        let describe = || Finding {
            threshold: None,
            anomaly: None,
            ..self.detector.finding(measured, place, scorer.tokenizer, self.args.top_fields, false)
        };
        let grouped = self.grouped.as_mut().expect("records are grouped");
        match grouped.add(self.records, place, measured, score, describe) {
            Err(fault) => self.broken(input, number, &fault),
            Ok(closed) => closed.into_iter().try_for_each(|session| self.session(scorer, session)),
        }
    }

    fn session(&mut self, scorer: &mut Scorer, session: sessions::Closed) -> Result<()> {
        let (anomaly, value) = sessions::describe(&self.detector, scorer, session)?;
        self.anomalies += u64::from(anomaly == Some(true));
        if self.args.only_anomalies && anomaly != Some(true) {
            return Ok(());
        }
        self.print(&format!("{value}\n"))
    }

    fn broken(&mut self, input: usize, number: u64, fault: &str) -> Result<()> {
        self.broken += 1;
        if self.args.explain.explain {
            let source = self.source(input).map(|source| format!("{source}, ")).unwrap_or_default();
            let text = format!("{source}record {number}: {fault}");
            return self.print(&(visible(text.as_bytes()) + "\n\n"));
        }
        let mut value = json!({ "record": number });
        if let Some(source) = self.source(input) {
            value["source"] = source.into();
        }
        value["error"] = Value::from(fault);
        self.print(&format!("{value}\n"))
    }

    /// The name of an input, where there are several.
    fn source(&self, input: usize) -> Option<String> {
        let name = |input: &Input| match input {
            Input::Stdin => "stdin".to_string(),
            Input::Path(path) | Input::Growing { path, .. } => path.display().to_string(),
        };
        (self.inputs.len() > 1).then(|| name(&self.inputs[input]))
    }

    /// Writes to stdout, which is flushed after the batch.
    fn print(&mut self, text: &str) -> Result<()> {
        let written = stdout().lock().write_all(text.as_bytes());
        self.check(written)
    }

    fn flush(&mut self) -> Result<()> {
        let written = stdout().flush();
        self.check(written)
    }

    /// A reader of stdout that has left may still want the page.
    fn check(&mut self, written: std::io::Result<()>) -> Result<()> {
        let Err(error) = written else { return Ok(()) };
        self.page.write(&self.detector)?;
        Err(write_failed(error))
    }

    fn conclude(&self, seconds: f64) {
        let what = if self.detector.method.group.is_some() { "anomalous session" } else { "anomalous record" };
        let found = self.detector.threshold.map_or(String::new(), |_| format!(": {}", counted(self.anomalies, what)));
        let (records, speed) = (counted(self.records, "record"), self.records as f64 / seconds);
        tracing::info!("{records} in {seconds:.1} s ({speed:.0} records/s){found}");
        if self.broken > 0 {
            tracing::warn!("{} of them could not be scored; their errors are on stdout", self.broken);
        }
    }
}
