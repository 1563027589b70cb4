//! How far the records of files are scored.

use super::args::ScoreArgs;
use crate::cli::output::OutputArgs;
use indicatif::ProgressBar;
use logwright::ingest::{ReadOptions, read_records};
use std::path::PathBuf;
use std::time::Duration;
use tracing::subscriber::{NoSubscriber, with_default};

/// A progress bar over the records of files; it draws nothing for pipes and growing files, whose end nobody knows.
///
/// A thread counts the records meanwhile, which takes moments of the time that the model takes; until it has, no time is shown.
pub fn records_of(files: Vec<PathBuf>, options: ReadOptions, output: &OutputArgs) -> ProgressBar {
    let is_endless = |path: &PathBuf| {
        path.as_os_str() == "-" || path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir())
    };
    if files.is_empty() || files.iter().any(is_endless) {
        return ProgressBar::hidden();
    }
    let bar = output.progress(0, "records");
    if !bar.is_hidden() {
        bar.set_message("scoring");
        bar.enable_steady_tick(Duration::from_millis(200));
        count(bar.clone(), files, options);
    }
    bar
}

/// Counts the records, and says nothing of it: whatever is wrong with the files is said where they are scored.
fn count(bar: ProgressBar, files: Vec<PathBuf>, options: ReadOptions) {
    std::thread::spawn(move || {
        with_default(NoSubscriber::default(), || {
            let mut records = 0;
            let counted = read_records(&files, &options, &ProgressBar::hidden(), &mut |_| {
                records += 1;
                Ok(())
            });
            if counted.is_ok() {
                bar.set_length(records);
            }
        });
    });
}

impl ScoreArgs {
    /// The files that are scored, if their end can be reached.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        // Findings that follow each other on a terminal show themselves how far they are.
        let is_seen = !self.result.is_table() || self.only_anomalies || self.alerts.are_asked();
        if self.follow || !is_seen { Vec::new() } else { self.inputs.clone() }
    }
}
