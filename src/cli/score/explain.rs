//! `score --explain` and `--explain-html`: findings in readable form.

use crate::cli::outputs::check_file;
use clap::{Args, ValueEnum};
use logwright::Result;
use logwright::finding::Finding;
use logwright::report::explain::{Explanation, write_page};
use logwright::score::Detector;
use std::io::{IsTerminal, stdout};
use std::path::{Path, PathBuf};

#[derive(Args)]
#[command(next_help_heading = "Explanation")]
pub struct ExplainArgs {
    /// Print each record in readable form instead, with its tokens coloured by surprisal
    #[arg(long)]
    pub explain: bool,
    /// When --explain uses colour; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    color: Colour,
    /// Also write the records with the highest scores to this file, as an HTML report for others (see --mode)
    #[arg(long, value_name = "FILE")]
    explain_html: Option<PathBuf>,
    /// Number of records in that report
    #[arg(long, default_value_t = 50, value_name = "N", requires = "explain_html",
        value_parser = clap::value_parser!(u16).range(1..))]
    explain_limit: u16,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Colour {
    Auto,
    Always,
    Never,
}

impl ExplainArgs {
    pub fn is_asked(&self) -> bool {
        self.explain || self.explain_html.is_some()
    }

    /// The page that is written.
    pub fn page_file(&self) -> Option<&Path> {
        self.explain_html.as_deref()
    }

    pub fn colour(&self) -> bool {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match self.color {
            Colour::Auto => stdout().is_terminal() && !refused,
            Colour::Always => true,
            Colour::Never => false,
        }
    }

    /// The page that is asked for, of scores by `model`.
    ///
    /// Errors: a page that could not be written after the scoring, or in the place of what the command reads.
    pub fn page(&self, model: &Path, read: &[&Path]) -> Result<Page> {
        if let Some(path) = &self.explain_html {
            check_file("--explain-html", path, read)?;
        }
        let limit = if self.explain_html.is_some() { self.explain_limit.into() } else { 0 };
        let (path, model) = (self.explain_html.clone(), model.display().to_string());
        Ok(Page { path, model, limit, top: Vec::new(), records: 0, anomalies: 0 })
    }
}

/// The findings with the highest scores so far, at most `limit`.
pub struct Page {
    /// None where no page was asked for.
    path: Option<PathBuf>,
    /// Name of the model.
    model: String,
    limit: usize,
    /// By score, the highest first; equal ones in the order of the records.
    top: Vec<Finding>,
    records: u64,
    anomalies: u64,
}

impl Page {
    pub fn add(&mut self, finding: Finding) {
        self.records += 1;
        self.anomalies += u64::from(finding.anomaly == Some(true));
        let place = self.top.partition_point(|other| other.score >= finding.score);
        if place < self.limit {
            self.top.insert(place, finding);
            self.top.truncate(self.limit);
        }
    }

    /// Writes the page, if one was asked for.
    pub fn write(&mut self, detector: &Detector) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let explanation = Explanation {
            model: self.model.clone(),
            aggregate: detector.method.aggregate.name().to_string(),
            threshold: detector.threshold,
            records: self.records,
            anomalies: self.anomalies,
            findings: std::mem::take(&mut self.top),
        };
        write_page(&explanation, path)?;
        tracing::info!("{}: the {} records with the highest scores", path.display(), explanation.findings.len());
        Ok(())
    }
}
