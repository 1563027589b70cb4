//! `logwright bench --roofline`: what a training step must cost on a card, operation by operation, and what it does cost.

use super::device::{DeviceArgs, Opened};
use clap::Args;
use logwright::cuda::peaks::{self, PEAKS, Peaks};
use logwright::cuda::timed::{Seen, Timed};
use logwright::cuda::{CudaEngine, Options, roofline};
use logwright::engine::{AdamW, Batch, Engine};
use logwright::gpt::{Config, Layout, init};
use logwright::{Error, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Args)]
pub struct RooflineArgs {
    /// Print FLOPs, bytes and floor time of every operation of a training step on a GPU
    #[arg(long)]
    roofline: bool,
    /// The GPU: a100, h100, h200, l40s, 4090, ... [default with --measure: the one at hand]
    #[arg(long, value_name = "NAME", requires = "roofline")]
    gpu: Option<String>,
    /// Also run the step on --device and print what each operation took
    #[arg(long, requires = "roofline")]
    measure: bool,
    /// Transformer blocks
    #[arg(long, default_value_t = 12, requires = "roofline")]
    layers: usize,
    /// Attention heads
    #[arg(long, default_value_t = 12, requires = "roofline")]
    heads: usize,
    /// Width of the model
    #[arg(long, default_value_t = 768, requires = "roofline")]
    channels: usize,
    /// Tokens a sequence
    #[arg(long, default_value_t = 1024, requires = "roofline")]
    context: usize,
    /// Tokens in the vocabulary
    #[arg(long, default_value_t = 82, requires = "roofline")]
    vocab: usize,
    /// Sequences a micro-batch
    #[arg(long, default_value_t = 12, requires = "roofline")]
    batch: usize,
    /// Biases in linear layers and LayerNorms
    #[arg(long, requires = "roofline")]
    bias: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

pub fn run(args: &RooflineArgs) -> Result<()> {
    if !args.roofline {
        return Err(Error::usage("bench what? train, generate or --roofline (see bench --help)"));
    }
    let RooflineArgs { layers, heads, channels, context, vocab, batch, bias, .. } = *args;
    let config = Config { layers, heads, channels, context, vocab, bias };
    config.check()?;
    if batch == 0 {
        return Err(Error::usage("--batch must be at least 1"));
    }
    let (mut card, mut measured) = (args.gpu.as_deref().map(named).transpose()?, None);
    if args.measure {
        let Opened::Cuda(device, _) = args.device.open()? else {
            return Err(Error::usage(
                "--measure needs --device cuda (or emulator): the CPU engine has no such operations",
            ));
        };
        card = card.or_else(|| peaks::by_device_name(&device.name()));
        measured = Some(measure(device, config, batch)?);
    }
    let card = card.ok_or_else(|| Error::usage(format!("which card? --gpu takes {}", names())))?;
    let operations = roofline::step(&config, batch, context);
    let text = roofline::text(&operations, card, measured.as_ref());
    let title = format!(
        "{}: {} TFLOP/s bf16 dense, {} GB/s; {layers} layers, {heads} heads, {channels} channels, vocabulary {vocab}, \
         {batch} x {context} tokens",
        card.name, card.tflops, card.bandwidth
    );
    super::print_line(&format!("{title}\n{}", text.trim_end()))
}

fn names() -> String {
    PEAKS.iter().map(|card| card.name).collect::<Vec<_>>().join(", ")
}

fn named(name: &str) -> Result<&'static Peaks> {
    peaks::by_name(name).ok_or_else(|| Error::usage(format!("--gpu {name}: no such card here; known are {}", names())))
}

/// Times of one step's operations, after a step that warms everything up.
fn measure(device: Arc<dyn logwright::cuda::Device>, config: Config, batch: usize) -> Result<BTreeMap<String, Seen>> {
    let timed = Arc::new(Timed::new(device));
    let options = Options { recompute: roofline::RECOMPUTE, plain: true, ..Options::default() };
    let parameters = init::parameters(&Layout::new(&config), 1);
    let mut engine = CudaEngine::new(timed.clone(), config, parameters, options)?;
    let n = batch * config.context;
    let tokens: Vec<u32> = (0..=n).map(|i| (i % config.vocab) as u32).collect();
    let step = Batch { tokens: &tokens[..n], targets: &tokens[1..], time: config.context };
    for time in 1..=2 {
        timed.take();
        engine.accumulate(step, 1.0 / n as f32)?;
        engine.update(&AdamW { rate: 1e-4, beta_1: 0.9, beta_2: 0.95, epsilon: 1e-8, decay: 0.1, clip: 1.0, time })?;
    }
    Ok(timed.take())
}
