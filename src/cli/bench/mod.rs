//! `logwright bench`: how fast this machine trains and generates, and what its kernels reach.

mod generate;
mod kernels;
mod roofline;
mod settings;
mod train;

use super::output::OutputArgs;
use clap::{Args, Subcommand};
use logwright::Result;

/// Measure how fast an engine trains and generates at a given shape; or, with --roofline, compute how fast a GPU could train
/// at most.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    roofline: roofline::RooflineArgs,
}

#[derive(Subcommand)]
enum What {
    /// Measure training steps: forward, backward and update; prints a table on a terminal, else one JSON object
    Train(train::TrainBench),
    /// Measure generation with a KV cache, up to a full context; prints a table on a terminal, else one JSON object
    Generate(generate::GenerateBench),
    /// Measure every kernel and matrix product of a step by itself, as a fraction of the card's measured peak
    Kernels(kernels::KernelsBench),
}

pub fn run(args: BenchArgs, output: &OutputArgs) -> Result<()> {
    match args.what {
        Some(What::Train(bench)) => train::run(bench, output),
        Some(What::Generate(bench)) => generate::run(bench, output),
        Some(What::Kernels(bench)) => kernels::run(&bench),
        None => roofline::run(&args.roofline),
    }
}
