//! `score` as one of several processes: each takes its turns of the records.
//!
//! Every process reads all inputs, for reading takes a small part of the time of scoring, and the number of a record is known
//! by no other means. What depends on all records of a stream is refused.

use super::args::ScoreArgs;
use crate::cli::part::Share;
use logwright::Result;

/// The share of this process.
///
/// Errors: flags that need all records in one process.
pub fn share(args: &ScoreArgs) -> Result<Share> {
    let share = args.part.share()?;
    let calibrates = args.normal().is_some();
    let reads_stdin = args.inputs.is_empty() || args.inputs.iter().any(|input| input.as_os_str() == "-");
    let others = [
        (
            calibrates,
            "--calibrate and --recalibrate",
            "all normal records count together; calibrate in one process first",
        ),
        (args.follow, "--follow", "each process would wait for records of the others; follow the file in one process"),
        (reads_stdin, "standard input", "it can be read by one process only; name a file that all processes can read"),
        (args.alerts.are_asked(), "--alerts-per-day", "an alert is of many records; ask for alerts in one process"),
        (args.group.is_asked(), "--group-by", "a session is of many records; score sessions in one process"),
        (
            share.is_launched && args.explain.page_file().is_some(),
            "--explain-html",
            "all processes would write this page; start each with --part I/N and a page of its own",
        ),
    ];
    others.iter().try_for_each(|(is_asked, what, why)| share.refuse(*is_asked, what, why))?;
    share.tell();
    Ok(share)
}
