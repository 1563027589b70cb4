//! `logwright bench --roofline`: what a training step must cost on a card, operation by operation.

use clap::Args;
use logwright::cuda::perf::peaks::{self, PEAKS, Peaks};
use logwright::cuda::perf::roofline;
use logwright::gpt::Config;
use logwright::{Error, Result};

#[derive(Args)]
pub struct RooflineArgs {
    /// Print FLOPs, bytes and floor time of every operation of a training step on a GPU
    #[arg(long)]
    roofline: bool,
    /// The GPU: a100, h100, h200, l40s, 4090, ...
    #[arg(long, value_name = "NAME", requires = "roofline")]
    gpu: Option<String>,
    #[command(flatten)]
    step: StepShape,
}

/// A model and what goes through it at once.
#[derive(Args)]
pub struct StepShape {
    /// Transformer blocks
    #[arg(long, default_value_t = 12)]
    layers: usize,
    /// Attention heads
    #[arg(long, default_value_t = 12)]
    heads: usize,
    /// Width of the model
    #[arg(long, default_value_t = 768)]
    channels: usize,
    /// Tokens a sequence
    #[arg(long, default_value_t = 1024)]
    context: usize,
    /// Tokens in the vocabulary
    #[arg(long, default_value_t = 82)]
    vocab: usize,
    /// Sequences a micro-batch
    #[arg(long, default_value_t = 12)]
    pub batch: usize,
    /// Biases in linear layers and LayerNorms
    #[arg(long)]
    bias: bool,
}

impl StepShape {
    pub fn config(&self) -> Result<Config> {
        let StepShape { layers, heads, channels, context, vocab, batch, bias } = *self;
        let config = Config { layers, heads, channels, context, vocab, bias };
        config.check()?;
        if batch == 0 {
            return Err(Error::usage("--batch must be at least 1"));
        }
        Ok(config)
    }

    /// For a title.
    pub fn words(&self) -> String {
        let StepShape { layers, heads, channels, context, vocab, batch, .. } = self;
        format!("{layers} layers, {heads} heads, {channels} channels, vocabulary {vocab}, {batch} x {context} tokens")
    }
}

pub fn run(args: &RooflineArgs) -> Result<()> {
    if !args.roofline {
        return Err(Error::usage("bench what? train, generate, kernels or --roofline (see bench --help)"));
    }
    let config = args.step.config()?;
    let known = || PEAKS.iter().map(|card| card.name).collect::<Vec<_>>().join(", ");
    let name = args.gpu.as_deref().ok_or_else(|| Error::usage(format!("which card? --gpu takes {}", known())))?;
    let unknown = || Error::usage(format!("--gpu {name}: no such card here; known are {}", known()));
    let card: &Peaks = peaks::by_name(name).ok_or_else(unknown)?;
    let text = roofline::text(&roofline::step(&config, args.step.batch, config.context), card);
    let Peaks { name, tflops, bandwidth, .. } = card;
    let title = format!("{name}: {tflops} TFLOP/s bf16 dense, {bandwidth} GB/s; {}", args.step.words());
    super::print_line(&format!("{title}\n{}", text.trim_end()))
}
