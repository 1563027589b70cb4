//! `logwright bench train`: how fast an engine trains at a given shape, on random tokens or on those of a file.

use super::settings::{EngineShape, adamw, engine};
use crate::cli::device::TrainingArgs;
use crate::cli::next;
use crate::cli::output::OutputArgs;
use crate::cli::result::ResultArgs;
use crate::cli::values;
use clap::Args;
use logwright::engine::Batch;
use logwright::gpt::Flops;
use logwright::gpt::checkpoint::StoredModel;
use logwright::report::columns;
use logwright::train::ProfileSteps;
use logwright::{Error, Result};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Args)]
pub struct TrainBench {
    #[command(flatten)]
    shape: EngineShape,
    #[command(flatten)]
    training: TrainingArgs,
    #[command(flatten)]
    result: ResultArgs,
    /// Peak of the hardware in TFLOP/s, to report model FLOPs utilisation [default: from the data sheets of known GPUs]
    #[arg(long, value_name = "X", value_parser = values::positive)]
    peak_tflops: Option<f64>,
    /// Steps that a profiler waiting for cuProfilerStart captures, counted from 1 with the warm-up, e.g. 3..5
    #[arg(long, value_name = "A..B")]
    profile_steps: Option<ProfileSteps>,
    /// Number of timed steps
    #[arg(long, default_value_t = 10, value_parser = values::whole::<u64>(1..=values::MOST))]
    steps: u64,
    /// Number of untimed steps before them
    #[arg(long, default_value_t = 2, value_parser = values::whole::<u64>(0..=values::MOST))]
    warmup: u64,
    /// Micro-batches per optimiser step
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    accumulation: u16,
    /// Start from these weights (and their shape), to compare losses with another program
    #[arg(long, value_name = "HF_FOLDER")]
    init_from: Option<PathBuf>,
    /// Train on these tokens (little-endian u32) in their order, from the beginning again after the last one
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
}

pub fn run(bench: TrainBench, output: &OutputArgs) -> Result<()> {
    let shape = &bench.shape;
    let mut device = shape.device.open_for_training(bench.training)?;
    let recorder = device.record_ops();
    let mut engine = match &bench.init_from {
        Some(folder) => {
            let stored = StoredModel::open(folder)?;
            device.check_memory(&stored.config, shape.batch, stored.config.context)?;
            device.engine(stored.config, stored.parameters()?)?
        }
        None => {
            let config = shape.config()?;
            device.check_memory(&config, shape.batch, config.context)?;
            engine(config, &device)?
        }
    };
    let config = *engine.config();
    let (n, pieces) = (shape.batch * config.context, u64::from(bench.accumulation));
    let stream = bench.tokens.as_deref().map_or_else(|| Ok(shape.tokens(n + 1)), read_tokens)?;
    let (mut milliseconds, mut losses, mut idle) = (Vec::new(), Vec::new(), Vec::new());
    let bar = output.progress(bench.warmup + bench.steps, "steps");
    for step in 0..bench.warmup + bench.steps {
        let (time, first) = (step + 1, step * pieces);
        let windows: Vec<Vec<u32>> = (first..first + pieces).map(|number| window(&stream, number, n)).collect();
        let start = Instant::now();
        ProfileSteps::around(bench.profile_steps, time, engine.as_mut(), |engine| {
            for window in &windows {
                let batch = Batch { tokens: &window[..n], targets: &window[1..], seq_len: config.context };
                engine.accumulate(batch, 1.0 / (n as u64 * pieces) as f32)?;
            }
            losses.push(engine.update(&adamw(time))?.loss);
            Ok(())
        })?;
        milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
        bar.inc(1);
        idle.extend(recorder.as_ref().map(|recorder| recorder.take_idle().as_secs_f64() * 1e3));
    }
    bar.finish_and_clear();
    let warmup = bench.warmup as usize;
    let timed = milliseconds.split_off(warmup);
    let median = median(&timed).ok_or_else(|| Error::usage("--steps must be at least 1"))?;
    let idle_share = recorder.map(|_| idle[warmup..].iter().sum::<f64>() / timed.iter().sum::<f64>());
    let tokens_per_second = (n as u64 * pieces) as f64 / median * 1e3;
    let peak = bench.peak_tflops.map(|tflops| tflops * 1e12).or(device.peak());
    let (flops, mfu) = (Flops::per_token(&config), |flops| peak.map(|peak| tokens_per_second * flops / peak));
    let result = json!({
        "device": device.name(), "tokens_per_second": tokens_per_second, "step_ms": timed, "losses": losses,
        "mfu_nanogpt": mfu(flops.nanogpt), "mfu_causal": mfu(flops.causal), "idle_share": idle_share,
        "device_memory": engine.device_memory(), "batch": shape.batch, "accumulation": pieces, "config": config,
    });
    let percent = |mfu: Option<f64>| {
        mfu.map_or("the card's peak is not known".to_string(), |mfu| format!("{:.1} %", 100.0 * mfu))
    };
    bench.result.print(&result, || {
        let rows = [
            ["device", &device.name()],
            ["tokens/s", &format!("{tokens_per_second:.0}")],
            ["median step", &format!("{median:.1} ms")],
            ["MFU (nanoGPT)", &percent(mfu(flops.nanogpt))],
            ["MFU (causal)", &percent(mfu(flops.causal))],
        ];
        columns(&rows.map(|row| row.map(String::from)))
    })?;
    next::command(
        "logwright train --data DATA --out RUN",
        "says after a few steps how long a run takes on this machine",
    );
    Ok(())
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
