//! `logwright synth`: the built-in log source as a command.

use super::interrupt::end_on_interrupt;
use super::next::{self, Sink};
use super::outputs::check_file;
use super::values;
use chrono::{DateTime, NaiveDate};
use clap::Args;
use logwright::files::{Access, WholeFile};
use logwright::synth::{SignIn, SignIns, SynthSettings};
use logwright::{Error, Result};
use std::io::{BufWriter, ErrorKind, Write, stdout};
use std::path::{Path, PathBuf};

/// Print synthetic sign-in records of the built-in log source, one JSON object per line
///
/// The same options print the same bytes on every machine. Attack episodes (password spray, impossible travel, MFA
/// fatigue, token replay) are mixed in; --labels or --label-field say which records belong to an attack.
#[derive(Args)]
pub struct SynthArgs {
    /// Number of records
    #[arg(short, long = "count", value_name = "N", value_parser = values::whole::<u64>(0..=u64::MAX))]
    n: u64,
    /// Seed of the random numbers
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = values::whole::<u64>(0..=u64::MAX))]
    seed: u64,
    /// Fraction of the records that belong to an attack, 0 to 0.5
    #[arg(long, default_value_t = 0.02, value_name = "FRACTION", value_parser = values::number(0.0..=0.5f64))]
    attacks: f64,
    /// Also write one label per record to this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Put the label into the record itself, as its first member, under this key
    #[arg(long, value_name = "NAME")]
    label_field: Option<String>,
    /// Number of users of the organisation
    #[arg(long, default_value_t = 40, value_name = "N")]
    users: usize,
    /// Start time of the records, UTC: 2022-08-27 or 2022-08-27T08:00:00Z
    #[arg(long, value_parser = parse_start, value_name = "TIME", default_value = "2022-08-27")]
    start: i64,
    /// Records a second, evenly: a busier log of the same people [default: at the pace of the people]
    #[arg(long, value_name = "R", value_parser = values::number(1e-6..=1e6f64))]
    rate: Option<f64>,
}

impl SynthArgs {
    pub fn run(self) -> Result<()> {
        let settings = SynthSettings {
            seed: self.seed,
            attacks: self.attacks,
            users: self.users,
            start: self.start,
            rate: self.rate,
            label_field: self.label_field,
        };
        let source = SignIns::new(settings).map_err(|e| Error::usage(format!("synth: {e}")))?;
        end_on_interrupt();
        let mut labels = self.labels.as_deref().map(labels_file).transpose()?;
        let mut out = BufWriter::with_capacity(1 << 16, stdout().lock());
        let mut written = 0;
        for (record, sign_in) in source.take(usize::try_from(self.n).unwrap_or(usize::MAX)).enumerate() {
            if !keep_going(out.write_all(sign_in.json.as_bytes()).and_then(|()| out.write_all(b"\n")))? {
                break;
            }
            if let Some(labels) = &mut labels {
                labels.write(label(record + 1, &sign_in).as_bytes())?;
            }
            written += 1;
        }
        keep_going(out.flush())?;
        labels.map_or(Ok(()), WholeFile::publish)?;
        tracing::debug!("{written} records");
        match next::sink() {
            Sink::File(file) => next::command(
                format!("logwright prepare {} --out {}", next::typed(&file), next::fresh("data")),
                "records become tokens, which train learns from",
            ),
            Sink::Screen => next::step("> logs.jsonl behind the command keeps the records for prepare"),
            // The next program goes on.
            Sink::Pipe => {}
        }
        Ok(())
    }
}

/// False when the reader of stdout has left (`| head`): it has what it wanted, which is not a failure.
fn keep_going(result: std::io::Result<()>) -> Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Error::failed(format!("cannot write the records to standard output: {e}"))),
    }
}

fn labels_file(path: &Path) -> Result<WholeFile> {
    check_file("--labels", path, &[])?;
    WholeFile::create(path, Access::Shared)
}

/// A line of the labels file: `{"record": 1, "attack": null, "episode": null}`; records count from 1, as those of `score`.
pub(super) fn label(record: usize, sign_in: &SignIn) -> String {
    let attack = sign_in.attack.map(|attack| attack.name());
    format!("{}\n", serde_json::json!({ "record": record, "attack": attack, "episode": sign_in.episode }))
}

/// Microseconds since 1970 of a date or of an RFC 3339 time.
fn parse_start(text: &str) -> std::result::Result<i64, String> {
    let date = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    let time = DateTime::parse_from_rfc3339(text).map(|t| t.to_utc()).ok();
    time.or_else(|| date().map(|d| d.and_utc()))
        .map(|t| t.timestamp_micros())
        .ok_or_else(|| "expected a date such as 2022-08-27 or a time such as 2022-08-27T08:00:00Z".to_string())
}
