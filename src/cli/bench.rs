//! `logwright bench`: how fast an engine trains and generates at a given shape, on random tokens.

use super::OutputArgs;
use super::device::{DeviceArgs, Opened, TrainingArgs};
use super::roofline::{self, RooflineArgs};
use clap::{Args, Subcommand};
use logwright::engine::{AdamW, Batch, Choice, Draw, Engine};
use logwright::gpt::{Config, Flops, Layout, init};
use logwright::train::ProfileSteps;
use logwright::{Error, Result};
use serde_json::json;
use std::time::Instant;

/// How fast an engine trains and generates at a given shape; or, with --roofline, how fast a GPU could train at most.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    roofline: RooflineArgs,
}

#[derive(Subcommand)]
enum What {
    /// Training steps: forward, backward and update; prints one JSON object
    Train(TrainBench),
    /// Generation with a KV cache, up to a full context; prints one JSON object
    Generate(GenerateBench),
}

#[derive(Args)]
struct Shape {
    /// Transformer blocks
    #[arg(long, default_value_t = 4)]
    layers: usize,
    /// Attention heads
    #[arg(long, default_value_t = 4)]
    heads: usize,
    /// Width of the model
    #[arg(long, default_value_t = 256)]
    channels: usize,
    /// Tokens a sequence
    #[arg(long, default_value_t = 256)]
    context: usize,
    /// Tokens in the vocabulary
    #[arg(long, default_value_t = 512)]
    vocab: usize,
    /// Sequences a micro-batch, or generated side by side
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// Biases in linear layers and LayerNorms
    #[arg(long)]
    bias: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

#[derive(Args)]
struct TrainBench {
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    training: TrainingArgs,
    /// Peak of the hardware in TFLOP/s, to report model FLOPs utilisation [default: known GPUs' data sheets]
    #[arg(long, value_name = "X")]
    peak_tflops: Option<f64>,
    /// Let a profiler that waits for cuProfilerStart capture these steps, counted from 1 with the warm-up, e.g. 3..5
    #[arg(long, value_name = "A..B")]
    profile_steps: Option<ProfileSteps>,
    /// Timed steps
    #[arg(long, default_value_t = 10)]
    steps: usize,
    /// Steps before the clock starts
    #[arg(long, default_value_t = 2)]
    warmup: usize,
}

#[derive(Args)]
struct GenerateBench {
    #[command(flatten)]
    shape: Shape,
    /// Tokens to generate for each sequence; the cache starts so full that they end at the context's end
    #[arg(long, default_value_t = 64)]
    tokens: usize,
}

impl Shape {
    fn engine(&self, device: &Opened) -> Result<Box<dyn Engine>> {
        let Shape { layers, heads, channels, context, vocab, bias, .. } = *self;
        let config = Config { layers, heads, channels, context, vocab, bias };
        config.check()?;
        if self.batch == 0 {
            return Err(Error::usage("--batch must be at least 1"));
        }
        device.engine(config, init::parameters(&Layout::new(&config), 1))
    }

    /// Tokens without a pattern; their values do not matter to the time.
    fn tokens(&self, n: usize) -> Vec<u32> {
        (0..n as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as u32 % self.vocab as u32).collect()
    }
}

pub fn run(args: BenchArgs, _output: &OutputArgs) -> Result<()> {
    match args.what {
        Some(What::Train(bench)) => train(bench),
        Some(What::Generate(bench)) => generate(bench),
        None => roofline::run(&args.roofline),
    }
}

fn train(bench: TrainBench) -> Result<()> {
    let shape = &bench.shape;
    let device = shape.device.open_for_training(bench.training)?;
    let mut engine = shape.engine(&device)?;
    let tokens = shape.tokens(shape.batch * shape.context + 1);
    let n = tokens.len() - 1;
    let batch = Batch { tokens: &tokens[..n], targets: &tokens[1..], time: shape.context };
    let mut milliseconds = Vec::new();
    for time in 1..=(bench.warmup + bench.steps) as u64 {
        let start = Instant::now();
        ProfileSteps::around(bench.profile_steps, time, engine.as_mut(), |engine| {
            engine.accumulate(batch, 1.0 / n as f32)?;
            engine.update(&AdamW { rate: 1e-4, beta_1: 0.9, beta_2: 0.95, epsilon: 1e-8, decay: 0.1, clip: 1.0, time })
        })?;
        milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let mut timed = milliseconds.split_off(bench.warmup.min(milliseconds.len()));
    let step_ms = timed.clone();
    timed.sort_by(f64::total_cmp);
    let median = *timed.get(timed.len() / 2).ok_or_else(|| Error::usage("--steps must be at least 1"))?;
    let tokens_per_second = n as f64 / median * 1e3;
    let peak = bench.peak_tflops.map(|tflops| tflops * 1e12).or(device.peak());
    let (flops, mfu) = (Flops::per_token(engine.config()), |flops| peak.map(|peak| tokens_per_second * flops / peak));
    let report = json!({
        "device": device.name(), "tokens_per_second": tokens_per_second, "step_ms": step_ms,
        "mfu_nanogpt": mfu(flops.nanogpt), "mfu_causal": mfu(flops.causal),
        "device_memory": engine.device_memory(), "batch": shape.batch, "config": engine.config(),
    });
    super::print_line(&report)
}

fn generate(bench: GenerateBench) -> Result<()> {
    let shape = &bench.shape;
    if bench.tokens == 0 || bench.tokens >= shape.context {
        return Err(Error::usage(format!("--tokens must be in 1..{}, found {}", shape.context, bench.tokens)));
    }
    let device = shape.device.open()?;
    let mut engine = shape.engine(&device)?;
    let prompt = shape.tokens(shape.context - bench.tokens);
    engine.open_cache(shape.batch)?;
    let choice = Choice { temperature: 0.8, top_k: 0, top_p: 1.0 };
    let uniform = |slot: usize| (slot as f64 + 0.5) / shape.batch as f64;
    let draws: Vec<Draw> =
        (0..shape.batch).map(|slot| Draw { choice, uniform: uniform(slot), allowed: None }).collect();
    let mut drawn = vec![0; shape.batch];
    let start = Instant::now();
    let prompts: Vec<(usize, &[u32])> = (0..shape.batch).map(|slot| (slot, prompt.as_slice())).collect();
    engine.sample(&prompts, &draws, &mut drawn)?;
    let prefill = start.elapsed().as_secs_f64();
    let start = Instant::now();
    for _ in 0..bench.tokens {
        let tokens = drawn.clone();
        let next: Vec<(usize, &[u32])> = tokens.chunks_exact(1).enumerate().collect();
        engine.sample(&next, &draws, &mut drawn)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let report = json!({
        "tokens_per_second": (bench.tokens * shape.batch) as f64 / seconds,
        "prefill_tokens_per_second": (prompt.len() * shape.batch) as f64 / prefill,
        "device": device.name(), "batch": shape.batch, "config": engine.config(),
    });
    super::print_line(&report)
}
