//! The command line: one small file per command, each an argument struct and a `run`.
//!
//! Results go to stdout (JSON lines where another program reads them); progress, messages and errors to stderr.

mod aliases;
mod bench;
mod demo;
mod device;
mod doctor;
mod dry_run;
mod evaluate;
mod examples;
mod exit;
mod generate;
mod grammar;
mod grammar_cost;
mod interrupt;
mod key_file;
mod known;
mod left_out;
mod merge;
mod messages;
mod mode;
mod next;
mod output;
mod outputs;
mod part;
mod prepare;
mod pseudonyms;
mod reference;
mod result;
mod score;
#[cfg(feature = "serve")]
mod serve;
mod stdout;
mod synth;
mod train;
mod training;
mod values;
mod version;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use exit::Exit;
use logwright::known::Judgement;
use logwright::report::visible;
use logwright::{Error, Result};
use output::OutputArgs;
use std::ffi::OsString;
use std::process::ExitCode;

/// Learn what machine logs normally look like, find the lines that do not fit, and generate realistic synthetic logs.
#[derive(Parser)]
#[command(name = "logwright", version, max_term_width = 110, args_override_self = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Subcommand)]
enum Command {
    Prepare(prepare::PrepareArgs),
    Merge(merge::MergeArgs),
    Train(Box<train::TrainArgs>),
    Generate(generate::GenerateArgs),
    Evaluate(evaluate::EvaluateArgs),
    Score(Box<score::ScoreArgs>),
    #[cfg(feature = "serve")]
    Serve(Box<serve::ServeArgs>),
    /// Say that a value, a kind of alert or a record is no anomaly, and why
    KnownGood(known::KnownArgs),
    /// Say that a value, a kind of alert or a record is always an anomaly, and why
    KnownBad(known::KnownArgs),
    Pseudonyms(pseudonyms::PseudonymsArgs),
    Demo(demo::DemoArgs),
    Synth(synth::SynthArgs),
    /// Measure how fast this machine trains and generates
    Bench(bench::BenchArgs),
    /// Check GPU, driver, libraries and kernels, and say how to get what is missing
    Doctor(doctor::DoctorArgs),
    Completions(reference::CompletionsArgs),
    Man(reference::ManArgs),
}

/// The command line with what is not said beside its arguments: other names of flags, examples, the version at length.
fn program() -> clap::Command {
    examples::add(aliases::add(Cli::command().long_version(version::long())))
}

fn parse(arguments: impl Iterator<Item = OsString>) -> std::result::Result<Cli, clap::Error> {
    let mut program = program();
    let matches = program.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut program))
}

/// Reads the arguments, runs the command and says how it failed.
pub fn main() -> ExitCode {
    let cli = match parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(instead) => return tell(&instead),
    };
    cli.output.init_logging(cli.command.is_silent());
    let outcome = cli.run();
    interrupt::wait_if_ending();
    match outcome {
        Ok(exit) => exit.into(),
        Err(Error::OutputClosed) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Prints what is said instead of running a command: the help on stdout, or what is wrong with the arguments on stderr.
fn tell(instead: &clap::Error) -> ExitCode {
    if instead.use_stderr() {
        // The message quotes arguments, and shells put names of files among them: those without control characters give the
        // same message. That it cannot be written changes nothing.
        let safe = parse(std::env::args_os().map(|argument| visible(argument.as_encoded_bytes()).into()));
        let _ = safe.err().as_ref().unwrap_or(instead).print();
        return ExitCode::from(instead.exit_code() as u8);
    }
    match stdout::check_open().and_then(|()| instead.print().map_err(stdout::write_failed)) {
        Ok(()) | Err(Error::OutputClosed) => ExitCode::SUCCESS,
        Err(error) => {
            messages::say(&format!("error: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

impl Cli {
    fn run(self) -> Result<Exit> {
        let output = &self.output;
        output.init_threads()?;
        if self.command.prints() {
            stdout::check_open()?;
        }
        let done = |()| Exit::Success;
        match self.command {
            Command::Prepare(args) => prepare::run(args, output).map(done),
            Command::Merge(args) => merge::run(args, output).map(done),
            Command::Train(args) => train::run(*args, output),
            Command::Generate(args) => generate::run(args, output),
            Command::Evaluate(args) => evaluate::run(args, output).map(done),
            Command::Score(args) => score::run(*args, output),
            #[cfg(feature = "serve")]
            Command::Serve(args) => serve::run(*args).map(done),
            Command::KnownGood(args) => known::run(args, Judgement::Good).map(done),
            Command::KnownBad(args) => known::run(args, Judgement::Bad).map(done),
            Command::Pseudonyms(args) => pseudonyms::run(args, output).map(done),
            Command::Demo(args) => demo::run(args, output),
            Command::Synth(args) => args.run().map(done),
            Command::Bench(args) => bench::run(args, output).map(done),
            Command::Doctor(args) => doctor::run(args).map(done),
            Command::Completions(args) => reference::completions(&args, program()).map(done),
            Command::Man(args) => reference::man(&args, program()).map(done),
        }
    }
}

impl Command {
    /// Whether it says nothing on stderr unless it fails.
    fn is_silent(&self) -> bool {
        matches!(self, Command::Score(args) if args.is_silent())
    }

    /// Whether its results go to stdout.
    fn prints(&self) -> bool {
        match self {
            Command::Prepare(args) => args.prints(),
            Command::Merge(_) | Command::Train(_) => false,
            #[cfg(feature = "serve")]
            Command::Serve(_) => false,
            _ => true,
        }
    }
}
