//! The command line: one small file per command, each an argument struct and a `run`.
//!
//! Results go to stdout (JSON lines where another program reads them); progress, messages and errors to stderr.

mod bench;
mod demo;
mod device;
mod doctor;
mod evaluate;
mod exit;
mod generate;
mod grammar;
mod grammar_cost;
mod interrupt;
mod left_out;
mod output;
mod prepare;
mod score;
mod stdout;
mod synth;
mod train;
mod training;
mod values;

use clap::{Parser, Subcommand};
use exit::Exit;
use logwright::Result;
use output::OutputArgs;

/// Learn what machine logs normally look like, find the lines that do not fit, and generate realistic synthetic logs.
#[derive(Parser)]
#[command(name = "logwright", version, max_term_width = 110, args_override_self = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    pub output: OutputArgs,
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
    /// Check GPU, driver, libraries and kernels, and say how to get what is missing
    Doctor(doctor::DoctorArgs),
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> Result<Exit> {
        let output = &self.output;
        output.init_threads()?;
        let done = |()| Exit::Success;
        match self.command {
            Command::Prepare(args) => prepare::run(args, output).map(done),
            Command::Train(args) => train::run(*args, output),
            Command::Generate(args) => generate::run(args, output),
            Command::Evaluate(args) => evaluate::run(args).map(done),
            Command::Score(args) => score::run(*args),
            Command::Demo(args) => demo::run(args, output),
            Command::Synth(args) => args.run().map(done),
            Command::Bench(args) => bench::run(args).map(done),
            Command::Doctor(args) => doctor::run(args).map(done),
        }
    }
}
