//! Flags that every command takes: what it says on stderr, and how many threads it computes with.

use super::messages::{Messages, stay_above};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use logwright::{Error, Result};
use std::io::{IsTerminal, stderr};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[derive(clap::Args)]
#[command(next_help_heading = "Messages and threads")]
pub struct OutputArgs {
    /// Print nothing but results, warnings and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Print details, too, such as each file that is read
    #[arg(long, short, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Format of the program's own messages on stderr
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true, value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// Number of threads to compute with [default: all cores]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// Whether the reader wants no colour anywhere (no-color.org).
pub fn refuses_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

impl OutputArgs {
    /// Sends `tracing` events to stderr; the `LOGWRIGHT_LOG` variable overrides the level (`debug`, `warn`, ...). With `silent`
    /// there are only errors, unless details are asked for.
    pub fn init_logging(&self, silent: bool) {
        let level = match (self.quiet, self.verbose) {
            (_, true) => LevelFilter::DEBUG,
            _ if silent => LevelFilter::ERROR,
            (true, _) => LevelFilter::WARN,
            _ => LevelFilter::INFO,
        };
        let asked = std::env::var("LOGWRIGHT_LOG").ok().and_then(|levels| levels.parse().ok());
        let filter: Targets = asked.unwrap_or_else(|| Targets::new().with_default(level));
        let messages = if self.log_format == LogFormat::Json { Messages::JSON } else { Messages::TEXT };
        let builder = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(move || messages);
        match self.log_format {
            LogFormat::Json => builder.json().finish().with(filter).init(),
            LogFormat::Text => {
                let builder =
                    builder.without_time().with_target(false).with_ansi(stderr().is_terminal() && !refuses_colour());
                builder.finish().with(filter).init();
            }
        }
    }

    /// Whether messages are for people, and wanted.
    pub fn is_for_people(&self) -> bool {
        !self.quiet && self.log_format == LogFormat::Text
    }

    /// Sets the number of threads that computations share.
    pub fn init_threads(&self) -> Result<()> {
        let Some(threads) = self.threads else { return Ok(()) };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into());
        pool.build_global().map_err(|e| Error::failed(format!("--threads {threads}: {e}")))
    }

    /// A progress bar on stderr over `total` of `unit`; it draws nothing with --quiet or where stderr is no terminal.
    pub fn progress(&self, total: u64, unit: &str) -> ProgressBar {
        if !self.is_for_people() || !stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let template = match unit {
            "bytes" => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} ETA {eta}".to_string(),
            unit => format!("{{msg}} {{wide_bar}} {{pos}}/{{len}} {unit} {{per_sec}} ETA {{eta}}"),
        };
        let style = ProgressStyle::with_template(&template).expect("the template is a constant");
        let bar = ProgressBar::new(total).with_style(style);
        stay_above(&bar);
        bar
    }
}
