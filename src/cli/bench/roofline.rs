//! `logwright bench --roofline`: the minimum time of a training step on a card, operation by operation.

use super::settings::StepShape;
use crate::cli::next;
use crate::cli::stdout::print_line;
use clap::Args;
use logwright::cuda::perf::peaks::{self, PEAKS, Peaks};
use logwright::cuda::perf::roofline;
use logwright::{Error, Result};

#[derive(Args)]
pub struct RooflineArgs {
    /// Print FLOPs, bytes and minimum time of every operation of a training step on a GPU
    #[arg(long)]
    roofline: bool,
    /// The GPU: a100, h100, h200, l40s, 4090, ...
    #[arg(long, value_name = "NAME", requires = "roofline")]
    gpu: Option<String>,
    #[command(flatten)]
    step: StepShape,
}

pub fn run(args: &RooflineArgs) -> Result<()> {
    if !args.roofline {
        return Err(Error::usage("bench: expected train, generate, kernels or --roofline (see bench --help)"));
    }
    let config = args.step.config()?;
    let known = || PEAKS.iter().map(|card| card.name).collect::<Vec<_>>().join(", ");
    let name = args
        .gpu
        .as_deref()
        .ok_or_else(|| Error::usage(format!("--roofline: no card is named; --gpu takes {}", known())))?;
    let unknown = || Error::usage(format!("--gpu {name}: unknown card; known cards are {}", known()));
    let card: &Peaks = peaks::by_name(name).ok_or_else(unknown)?;
    let kernels = roofline::attention_kernels(card, &config);
    let step = roofline::step(&config, args.step.batch, config.context, kernels);
    let (text, prediction) = (roofline::text(&step, card), roofline::prediction(&step, card));
    let Peaks { name, tflops, bandwidth, .. } = card;
    let title = format!("{name}: {tflops} TFLOP/s bf16 dense, {bandwidth} GB/s; {}", args.step.words());
    print_line(&format!("{title}\n{}\n{prediction}", text.trim_end()))?;
    next::command("logwright bench train --device cuda", "what this machine's card reaches");
    Ok(())
}
