//! `score --passthrough`: one line out for each line in, which is what programs expect that write to another and read its answers.

use super::args::ScoreArgs;
use clap::Args;
use logwright::output::{Schema, Writer};
use logwright::{Error, Result};
use std::path::Path;

#[derive(Args)]
#[command(next_help_heading = "For other programs")]
pub struct OutputFormArgs {
    /// Schema of what is printed
    #[arg(long = "output", value_enum, value_name = "SCHEMA", default_value_t = Schema::Jsonl, conflicts_with = "explain")]
    schema: Schema,
    /// Print one line for each line of the input, whatever it holds, in order and as it comes, for programs that count answers:
    /// rsyslog's mmexternal and omprog, Fluentd's exec_filter, Redpanda Connect's subprocess. Each line is a record or an error by
    /// itself; stderr stays empty, unless the program fails (see --verbose)
    #[arg(long)]
    pub(super) passthrough: bool,
    /// With --passthrough: put each answer into an object under this name, or names joined by dots: '$!.logwright' for mmexternal
    #[arg(long, value_name = "NAME", requires = "passthrough")]
    under: Option<String>,
}

impl OutputFormArgs {
    /// Writes answers, in which `model` is named by the last part of its path.
    pub fn writer(&self, model: &Path) -> Result<Writer> {
        let whole = model.canonicalize().unwrap_or_else(|_| model.to_path_buf());
        let name = whole.file_name().unwrap_or(whole.as_os_str()).to_string_lossy().into_owned();
        let writer = Writer::new(self.schema, &name);
        match &self.under {
            Some(under) => writer.under(under),
            None => Ok(writer),
        }
    }
}

/// Refuses, with --passthrough, what does not answer every line by itself.
pub fn check(args: &ScoreArgs) -> Result<()> {
    if !args.form.passthrough {
        return Ok(());
    }
    let others = [
        (
            args.alerts.are_asked(),
            "--alerts-per-day",
            "an alert is of many lines; score the same lines for alerts in a second process, without --passthrough",
        ),
        (args.group.is_asked(), "--group-by", "a session is of many lines; leave it out to score each line"),
        (
            args.explain.explain,
            "--explain",
            "it prints several lines for a record; read answers as JSON, or score a file without --passthrough",
        ),
        (
            args.only_anomalies,
            "--only-anomalies",
            "every line gets its answer; choose those with \"anomaly\":true where they arrive",
        ),
        (
            args.follow,
            "--follow",
            "the lines come from the program before; pipe the file in: tail -F FILE | logwright score ... --passthrough",
        ),
        (
            args.normal().is_some(),
            "--calibrate and --recalibrate",
            "calibrate in a command of its own, before this one",
        ),
        (
            args.record_start.as_ref().is_some_and(|start| !start.is_empty()),
            "--record-start",
            "records of several lines cannot be answered line by line; join them before, or leave it out",
        ),
        (
            args.inputs.len() > 1,
            "several inputs",
            "answers are told apart by their order; name one input, or none for standard input",
        ),
    ];
    match others.into_iter().find(|(is_asked, ..)| *is_asked) {
        Some((_, what, remedy)) => Err(Error::usage(format!("--passthrough cannot be used with {what}: {remedy}"))),
        None => Ok(()),
    }
}
