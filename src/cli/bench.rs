//! `logwright bench`: how fast an engine trains and generates at a given shape, on random tokens.

use super::OutputArgs;
use super::device::{DeviceArgs, TrainingArgs};
use super::kernels::{self, KernelsBench};
use super::roofline::{self, RooflineArgs};
use clap::{Args, Subcommand};
use logwright::backend::Backend;
use logwright::engine::{AdamW, Batch, Engine, SampleRequest, SamplingParams};
use logwright::gpt::{Config, Flops, Layout, checkpoint, init};
use logwright::train::ProfileSteps;
use logwright::{Error, Result};
use serde_json::json;
use std::path::{Path, PathBuf};
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
    /// Every kernel and product of a step by itself, as a share of what the card is seen to reach
    Kernels(KernelsBench),
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
    /// Micro-batches an update
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    accumulation: u16,
    /// Start from these weights, whose shape is taken, to compare losses with another program
    #[arg(long, value_name = "HF_FOLDER")]
    init_from: Option<PathBuf>,
    /// Train on these tokens (little-endian u32), one after the other, from the beginning again at the end
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
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
    fn engine(&self, device: &Backend) -> Result<Box<dyn Engine>> {
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
        Some(What::Kernels(bench)) => kernels::run(&bench),
        None => roofline::run(&args.roofline),
    }
}

fn train(bench: TrainBench) -> Result<()> {
    let shape = &bench.shape;
    let mut device = shape.device.open_for_training(bench.training)?;
    let recorder = device.record_ops();
    let mut engine = match &bench.init_from {
        Some(folder) => {
            let (config, parameters) = checkpoint::read_model(folder)?;
            device.engine(config, parameters)?
        }
        None => shape.engine(&device)?,
    };
    let config = *engine.config();
    let (n, pieces) = (shape.batch * config.context, u64::from(bench.accumulation));
    let stream = bench.tokens.as_deref().map_or_else(|| Ok(shape.tokens(n + 1)), read_tokens)?;
    let (mut milliseconds, mut losses, mut idle) = (Vec::new(), Vec::new(), Vec::new());
    let steps = (bench.warmup + bench.steps) as u64;
    let windows: Vec<Vec<u32>> = (0..steps * pieces).map(|number| window(&stream, number, n)).collect();
    for (time, windows) in (1..).zip(windows.chunks_exact(pieces as usize)) {
        let start = Instant::now();
        ProfileSteps::around(bench.profile_steps, time, engine.as_mut(), |engine| {
            for window in windows {
                let batch = Batch { tokens: &window[..n], targets: &window[1..], seq_len: config.context };
                engine.accumulate(batch, 1.0 / (n as u64 * pieces) as f32)?;
            }
            losses.push(engine.update(&adamw(time))?.loss);
            Ok(())
        })?;
        milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
        idle.extend(recorder.as_ref().map(|recorder| recorder.take_idle().as_secs_f64() * 1e3));
    }
    let timed = milliseconds.split_off(bench.warmup.min(milliseconds.len()));
    let median = median(&timed).ok_or_else(|| Error::usage("--steps must be at least 1"))?;
    let idle_share = recorder.map(|_| idle[bench.warmup..].iter().sum::<f64>() / timed.iter().sum::<f64>());
    let tokens_per_second = (n as u64 * pieces) as f64 / median * 1e3;
    let peak = bench.peak_tflops.map(|tflops| tflops * 1e12).or(device.peak());
    let (flops, mfu) = (Flops::per_token(&config), |flops| peak.map(|peak| tokens_per_second * flops / peak));
    super::print_line(&json!({
        "device": device.name(), "tokens_per_second": tokens_per_second, "step_ms": timed, "losses": losses,
        "mfu_nanogpt": mfu(flops.nanogpt), "mfu_causal": mfu(flops.causal), "idle_share": idle_share,
        "device_memory": engine.device_memory(), "batch": shape.batch, "accumulation": pieces, "config": config,
    }))
}

/// The settings of update number `step`.
pub fn adamw(step: u64) -> AdamW {
    AdamW { lr: 1e-4, beta_1: 0.9, beta_2: 0.95, epsilon: 1e-8, weight_decay: 0.1, max_grad_norm: 1.0, step }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// The n + 1 tokens of micro-batch `number`: its last one is the first of the next.
fn window(stream: &[u32], number: u64, n: usize) -> Vec<u32> {
    let first = (number % stream.len() as u64) as usize * n;
    (0..=n).map(|at| stream[(first + at) % stream.len()]).collect()
}

fn read_tokens(path: &Path) -> Result<Vec<u32>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read the tokens from", path, e))?;
    let tokens: Vec<u32> =
        bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect();
    match tokens.len() {
        2.. => Ok(tokens),
        _ => Err(Error::failed(format!(
            "{}: expected little-endian u32 tokens, found {} bytes",
            path.display(),
            bytes.len()
        ))),
    }
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
    let params = SamplingParams { temperature: 0.8, top_k: 0, top_p: 1.0 };
    let uniform = |slot: usize| (slot as f64 + 0.5) / shape.batch as f64;
    let draws: Vec<SampleRequest> =
        (0..shape.batch).map(|slot| SampleRequest { params, uniform: uniform(slot), allowed: None }).collect();
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
