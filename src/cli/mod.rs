//! The command line: one small file per command, each an argument struct and a `run`.
//!
//! Results go to stdout (JSON lines where another program reads them); progress, messages and errors to stderr.

mod bench;
mod demo;
mod device;
mod doctor;
mod evaluate;
mod generate;
mod grammar;
mod kernels;
mod model;
mod prepare;
mod roofline;
mod score;
mod synth;
mod train;

use clap::{Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use logwright::{Error, Result};
use std::io::{IsTerminal, stderr};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Largest seed: configuration files must hold it, too, and TOML's integers are signed.
const MOST_SEED: u64 = i64::MAX as u64;

/// Parses a seed.
pub fn seed(text: &str) -> std::result::Result<u64, String> {
    let seed: u64 = text.parse().map_err(|e| format!("{e}"))?;
    if seed > MOST_SEED { Err(format!("expected at most {MOST_SEED}")) } else { Ok(seed) }
}

/// Parses a false-positive rate.
fn rate(text: &str) -> std::result::Result<f64, String> {
    let rate: f64 = text.parse().map_err(|e| format!("{e}"))?;
    if rate > 0.0 && rate < 1.0 { Ok(rate) } else { Err("expected a share between 0 and 1, such as 0.01".into()) }
}

/// A hand-written GPT engine for machine logs: train on raw logs, generate synthetic ones, report on both.
#[derive(Parser)]
#[command(name = "logwright", version, max_term_width = 110, args_override_self = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Messages and threads")]
pub struct OutputArgs {
    /// Print nothing but results, warnings and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// How the program's own messages look on stderr
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true, value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// Threads to compute with [default: all cores]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Subcommand)]
enum Command {
    Prepare(prepare::PrepareArgs),
    Train(Box<train::TrainArgs>),
    Generate(generate::GenerateArgs),
    Evaluate(evaluate::EvaluateArgs),
    Score(Box<score::ScoreArgs>),
    Demo(demo::DemoArgs),
    Synth(synth::SynthArgs),
    /// Measure how fast this machine trains and generates
    Bench(bench::BenchArgs),
    /// Report what this machine can compute on, what is missing, and how to get it
    Doctor(doctor::DoctorArgs),
}

impl Cli {
    pub fn run(self) -> Result<()> {
        if let Some(threads) = self.output.threads {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into());
            pool.build_global().map_err(|e| Error::failed(format!("--threads {threads}: {e}")))?;
        }
        match self.command {
            Command::Prepare(args) => prepare::run(args, &self.output),
            Command::Train(args) => train::run(*args, &self.output),
            Command::Generate(args) => generate::run(args, &self.output),
            Command::Evaluate(args) => evaluate::run(args, &self.output),
            Command::Score(args) => score::run(*args, &self.output),
            Command::Demo(args) => demo::run(args, &self.output),
            Command::Synth(args) => args.run(),
            Command::Bench(args) => bench::run(args, &self.output),
            Command::Doctor(args) => doctor::run(args),
        }
    }
}

impl OutputArgs {
    /// A progress bar on stderr over `total` of `unit`; draws nothing when quiet or when stderr is no terminal.
    pub fn progress(&self, total: u64, unit: &str) -> ProgressBar {
        if self.quiet || self.log_format == LogFormat::Json || !stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let template = match unit {
            "bytes" => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} ETA {eta}".to_string(),
            unit => format!("{{msg}} {{wide_bar}} {{pos}}/{{len}} {unit} {{per_sec}} ETA {{eta}}"),
        };
        let style = ProgressStyle::with_template(&template).expect("the template is a constant");
        ProgressBar::new(total).with_style(style)
    }
}

/// Prints a result. A reader that has left (`| head`) is no failure; a full disk is.
pub fn print_line(line: &impl std::fmt::Display) -> Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).or_else(end_quietly)
}

/// Ends the program when the reader of stdout has left; any other failure is an error.
pub fn end_quietly(error: std::io::Error) -> Result<()> {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        _ => Err(Error::failed(format!("cannot write to stdout: {error}"))),
    }
}

/// Sends `tracing` events to stderr; the `LOGWRIGHT_LOG` variable overrides the level (`debug`, `warn`, ...).
pub fn init_logging(output: &OutputArgs) {
    let level = if output.quiet { LevelFilter::WARN } else { LevelFilter::INFO };
    let asked = std::env::var("LOGWRIGHT_LOG").ok().and_then(|levels| levels.parse().ok());
    let filter: Targets = asked.unwrap_or_else(|| Targets::new().with_default(level));
    let builder = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(stderr);
    match output.log_format {
        LogFormat::Json => builder.json().finish().with(filter).init(),
        LogFormat::Text => {
            let builder = builder.without_time().with_target(false).with_ansi(stderr().is_terminal());
            builder.finish().with(filter).init();
        }
    }
}
