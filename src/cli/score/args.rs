//! The flags of `logwright score`, what they mean together, and the inputs that they name.

use super::alerts::AlertArgs;
use super::explain::ExplainArgs;
use super::form::OutputFormArgs;
use super::sessions::GroupArgs;
use crate::cli::device::DeviceArgs;
use crate::cli::key_file::KeyArgs;
use crate::cli::mode::ModeArgs;
use crate::cli::part::PartArgs;
use crate::cli::result::ResultArgs;
use crate::cli::values;
use clap::Args;
use logwright::ingest::{Begin, Feed, FollowState, Input, InputFormat, ReadOptions, RecordStart};
use logwright::record::Records;
use logwright::score::{Aggregate, CALIBRATION, Calibration, Scorer, ScoringMethod, Showing};
use logwright::stream::StreamOptions;
use logwright::{Error, Result};
use std::path::{Path, PathBuf};

/// Find unusual records: score each one by how much it surprises the model; prints one JSON object per record
///
/// Keys: record (its number in its input), source (if there are several), id, digest, time (if the record has one), score, threshold, anomaly (null without a threshold;
/// see --calibrate), nats_per_char, nats_per_token, max_token, and fields, the most unusual first: path, value, nats, and after
/// a calibration expected, evidence and reason. Surprisal is minus the logarithm of the probability that the model gave a text, in nats.
/// Paths are those of JSON leaves (resources.*.arn); web logs and syslog have named fields (client, program); the words of
/// other lines are $1, $2, ...; (end) is what follows the last field. With --keep and --with-record: kept and raw. For a line that is no record: record, error, head.
#[derive(Args)]
#[command(group = clap::ArgGroup::new("calibrating").args(["calibrate", "recalibrate"]))]
pub struct ScoreArgs {
    /// Run folder, or a Hugging Face GPT-2 folder with its tokenizer.json
    #[arg(long, value_name = "RUN")]
    pub(super) model: PathBuf,
    /// Files, folders or patterns in any format that prepare reads; - for standard input, the default
    #[arg(value_name = "FILE")]
    pub(super) inputs: Vec<PathBuf>,
    /// Format of all inputs [default: detected for each; a stream may have to show 20 rows of a table]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(super) format: Option<InputFormat>,
    /// Lines of text that fit this regular expression begin a record, others continue it; '' takes each line as a record
    /// [default: as in the logs that the model was trained on]
    #[arg(long, value_name = "REGEX")]
    pub(super) record_start: Option<String>,
    /// Follow one growing file until Ctrl-C, also across rotations: each file is held until it is read to its end
    #[arg(long)]
    pub(super) follow: bool,
    /// With --follow: score only what is written from now on
    #[arg(long, requires = "follow")]
    pub(super) from_end: bool,
    /// With --follow: keep in this file how far the log was answered, and resume there after a restart, also across rotation.
    /// Every record is answered at least once: after a kill, those of the last moments are answered again
    #[arg(long, value_name = "FILE", requires = "follow")]
    pub(super) state: Option<PathBuf>,
    /// Learn what is normal, and the threshold, from these records, which training must not have seen; saved as
    /// RUN/calibration.json
    #[arg(long, value_name = "FILE", conflicts_with_all = ["threshold", "no_calibration"])]
    pub(super) calibrate: Option<PathBuf>,
    /// Learn anew from these records, as RUN/calibration.json was made: with its fields, its sessions and its rate
    #[arg(long, value_name = "FILE", conflicts_with_all = ["threshold", "no_calibration"])]
    pub(super) recalibrate: Option<PathBuf>,
    /// With --calibrate or --recalibrate: the data folder of the training, so that what its records held counts as seen
    #[arg(long, value_name = "DATA", requires = "calibrating")]
    pub(super) data: Option<PathBuf>,
    /// With --calibrate or --recalibrate: at most this fraction of new normal records will be reported as anomalies [default:
    /// 0.001, or that of the calibration before]
    #[arg(long, value_name = "F", requires = "calibrating", value_parser = values::rate)]
    pub(super) fpr: Option<f64>,
    /// A record with a score above this is an anomaly [default: the threshold of RUN/calibration.json, if it exists]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = values::finite)]
    pub(super) threshold: Option<f64>,
    /// Ignore RUN/calibration.json
    #[arg(long)]
    pub(super) no_calibration: bool,
    /// How the surprisals of a record become one score [default: evidence if a calibration exists or is made, else field]
    #[arg(long, value_enum, value_name = "HOW")]
    pub(super) aggregate: Option<Aggregate>,
    /// K of --aggregate top-k [default: 5]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) top_k: Option<u16>,
    /// Score only these fields, by path, with * for anything; may be repeated
    #[arg(long, value_name = "PATH")]
    pub(super) only_field: Vec<String>,
    /// Exclude these fields from the score; may be repeated
    #[arg(long, value_name = "PATH")]
    pub(super) ignore_field: Vec<String>,
    /// Print only anomalies (and lines that are not records)
    #[arg(long)]
    pub(super) only_anomalies: bool,
    /// Number of fields to print per record; 0: all
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = values::whole::<usize>(0..=values::MOST))]
    pub(super) top_fields: usize,
    /// Add the values of these fields to each line, by path, with * for anything; may be repeated
    #[arg(long, value_name = "PATH")]
    pub(super) keep: Vec<String>,
    /// Add the record itself to each line, as the log has it
    #[arg(long)]
    pub(super) with_record: bool,
    /// Maximum length of a record in bytes; a longer one is reported and skipped
    #[arg(long, default_value_t = 1 << 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) max_record_bytes: u32,
    /// Number of available records to compute at once. A GPU is faster with more, which may change the last digits, and takes
    /// up to 8 short records in the place of one of the model's context; on a CPU more change no score, and hardly the speed
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) batch: u16,
    #[command(flatten)]
    pub(super) key: KeyArgs,
    /// With --key-file: show values as they are in the raw records, not their pseudonyms
    #[arg(long, requires = "key_file")]
    pub(super) in_clear: bool,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
    #[command(flatten)]
    pub(super) group: GroupArgs,
    #[command(flatten)]
    pub(super) alerts: AlertArgs,
    #[command(flatten)]
    pub(super) explain: ExplainArgs,
    #[command(flatten)]
    pub(super) form: OutputFormArgs,
    #[command(flatten)]
    pub(super) result: ResultArgs,
    #[command(flatten)]
    pub(super) part: PartArgs,
    #[command(flatten)]
    pub(super) mode: ModeArgs,
}

/// Records of some hundred tokens that share a place of a thousand.
const SHORT_RECORDS: usize = 8;

impl ScoreArgs {
    pub(super) fn check(&self) -> Result<()> {
        let file = matches!(&self.inputs[..], [one] if one.as_os_str() != "-");
        if self.follow && !file {
            return Err(Error::usage("--follow: expected the name of one file; a pipe (-) is followed without it"));
        }
        Ok(())
    }

    /// Whether nothing is said on stderr, whose lines some programs take for answers.
    pub fn is_silent(&self) -> bool {
        self.form.passthrough
    }

    /// How to score: as the flags say, else as the calibration was made.
    ///
    /// Errors: flags that differ from the calibration, because its threshold would mean nothing.
    pub(super) fn method(&self, calibration: Option<&Calibration>) -> Result<ScoringMethod> {
        let made = calibration.map(|calibration| &calibration.method);
        let default = if self.normal().is_some() { Aggregate::Evidence } else { Aggregate::Field };
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
        if method.group.is_some() && self.form.passthrough {
            return Err(Error::usage(format!(
                "--passthrough: {} is for sessions, which are of many lines; --no-calibration scores each line, or calibrate again \
                 without --group-by",
                self.model.join(CALIBRATION).display()
            )));
        }
        if method.group.is_some() && self.explain.is_asked() {
            return Err(Error::usage(
                "--explain and --explain-html show records, not the sessions of --group-by (or of RUN/calibration.json: \
                 --no-calibration scores records)",
            ));
        }
        if method.group.is_some() && self.alerts.are_asked() {
            return Err(Error::usage(
                "--alerts-per-day: alerts are of records, and RUN/calibration.json is for sessions; calibrate again without --group-by",
            ));
        }
        if method.group.is_some() && self.state.is_some() {
            return Err(Error::usage(
                "--state: it holds how far records were answered, not the open sessions of --group-by (or of \
                 RUN/calibration.json: --no-calibration scores records)",
            ));
        }
        if method.aggregate == Aggregate::Evidence && calibration.is_none() && self.normal().is_none() {
            return Err(Error::usage(
                "--aggregate evidence: this needs to know normal records; calibrate first (--calibrate NORMAL)",
            ));
        }
        Ok(method)
    }

    /// The normal records to calibrate on.
    pub(super) fn normal(&self) -> Option<&Path> {
        self.calibrate.as_deref().or(self.recalibrate.as_deref())
    }

    /// What the command reads, by name.
    pub(super) fn read(&self) -> Vec<&Path> {
        let named = self.inputs.iter().map(PathBuf::as_path).chain(self.normal()).chain(self.data.as_deref());
        named.chain([self.model.as_path()]).collect()
    }

    /// What findings show of their records.
    pub(super) fn showing(&self, records: &Records) -> Result<Showing> {
        let time_field = self.group.time_field.clone();
        let showing = Showing::new(&self.keep, self.with_record, time_field, self.in_clear, records.open.clone())?;
        Ok(showing.with_entities(self.form.writer(&self.model)?.shows_entities()))
    }

    pub(super) fn stream_options(&self, records: &Records, inputs: &[Input]) -> Result<StreamOptions> {
        let name = |input: &Input| match input {
            Input::Stdin => "stdin".to_string(),
            Input::Path(path) | Input::Growing { path, .. } => path.display().to_string(),
        };
        Ok(StreamOptions {
            showing: self.showing(records)?,
            top_fields: self.top_fields,
            shaded: self.explain.is_asked(),
            shows_broken_lines: self.in_clear || !self.key.is_given(),
            tells_drift: true,
            sources: inputs.iter().map(name).collect(),
        })
    }

    pub(super) fn read_options(&self, records: &Records) -> Result<ReadOptions> {
        let mut options = ReadOptions {
            format: self.format,
            max_record_bytes: self.max_record_bytes as usize,
            answer_faults: true,
            each_line: self.form.passthrough,
            share: self.part.share()?.part,
            ..ReadOptions::like(records)?
        };
        if let Some(start) = &self.record_start {
            options.record_start = RecordStart::parse(start)?;
        }
        Ok(options)
    }

    pub(super) fn feed(&self, inputs: Vec<Input>, scorer: &Scorer) -> Result<Feed> {
        let options = self.read_options(scorer.reader.records)?;
        Ok(Feed::start(inputs, options, 2 * self.at_once(scorer)))
    }

    /// The most available records that are read at once: short ones share a place of an engine beside the host.
    pub(super) fn at_once(&self, scorer: &Scorer) -> usize {
        usize::from(self.batch) * if scorer.model.is_beside_host() { SHORT_RECORDS } else { 1 }
    }

    pub(super) fn state(&self) -> Result<Option<FollowState>> {
        let both = self.state.as_ref().zip(self.inputs.first());
        both.map(|(state, followed)| FollowState::open(state, followed)).transpose()
    }

    pub(super) fn streams(&self, state: Option<&FollowState>) -> Vec<Input> {
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
