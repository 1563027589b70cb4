//! What cannot be together with `score --passthrough`, which answers every line by itself.

use super::args::ScoreArgs;
use logwright::{Error, Result};

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
