//! `logwright bench kernels`: every operation of a step by itself, compared with the card's measured peak.

use super::settings::{StepShape, adamw};
use crate::cli::device::DeviceArgs;
use crate::cli::next;
use crate::cli::stdout::print_line;
use crate::cli::values;
use clap::Args;
use logwright::backend::Backend;
use logwright::cuda::device::op::Op;
use logwright::cuda::device::seam::Device;
use logwright::cuda::model::attention::AttentionKernels;
use logwright::cuda::model::engine::{CudaEngine, Options};
use logwright::cuda::perf::measure::{self, MeasureOptions, OpTiming};
use logwright::cuda::perf::op_recorder::OpRecorder;
use logwright::cuda::perf::peaks::Peaks;
use logwright::cuda::perf::roofline::{self, Operation};
use logwright::engine::{Batch, Engine, SampleRequest, SamplingParams};
use logwright::gpt::{Config, Layout, init};
use logwright::{Error, Result};
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Args)]
pub struct KernelsBench {
    #[command(flatten)]
    step: StepShape,
    /// Measure one generated token for each of --batch sequences with a full context, instead of a training step
    #[arg(long)]
    generate: bool,
    /// Measure only operations with this in their name, e.g. attention; may be repeated
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Megabytes that an operation passes over before it reuses the same buffers, so that it finds nothing in the cache;
    /// limited to 63 copies of its buffers and to half of the free memory
    #[arg(long, value_name = "MB", default_value_t = 256)]
    rotate: u16,
    /// Number of rounds; the median is reported
    #[arg(long, default_value_t = 10, value_parser = values::whole::<usize>(1..=values::MOST))]
    rounds: usize,
    /// Minimum duration of a round in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 5)]
    round: u16,
    /// Size of the square matrices whose product measures the peak
    #[arg(long, value_name = "N", default_value_t = 8192, value_parser = clap::value_parser!(u16).range(16..))]
    peak_size: u16,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

/// An operation: its computed cost and its measured time.
struct KernelRow {
    /// None for an operation that only this card needs, e.g. because a matrix product has no epilogue.
    paper: Option<Operation>,
    name: String,
    measured: OpTiming,
}

pub fn run(bench: &KernelsBench) -> Result<()> {
    let config = bench.step.config()?;
    let Backend::Cuda(device, _) = bench.device.open()? else {
        return Err(Error::usage("bench kernels needs --device cuda (or emulator): the CPU engine has no kernels"));
    };
    let rotate = usize::from(bench.rotate) << 20;
    let method = MeasureOptions { rotate, rounds: bench.rounds, round: f64::from(bench.round) / 1e3 };
    let copied = (4 * rotate).clamp(1 << 20, 1 << 30);
    let card = measure::peaks(&device, usize::from(bench.peak_size), copied, &method)?;
    let recorder = Arc::new(OpRecorder::new(device));
    let mut engine = engine(&recorder, config)?;
    let works = match bench.generate {
        true => token(&recorder, &mut engine, bench.step.batch)?,
        false => step(&recorder, &mut engine, bench.step.batch)?,
    };
    let kernels = AttentionKernels::choose(&*recorder, config.head_size())?;
    let paper = match bench.generate {
        true => roofline::token(&config, bench.step.batch),
        false => roofline::step(&config, bench.step.batch, config.context, kernels),
    };
    let mut rows = Vec::new();
    for group in measure::groups(works).into_iter().filter(|group| bench.wants(&group.name)) {
        let paper = paper.iter().find(|operation| operation.name == group.name).cloned();
        let bytes = paper.as_ref().map_or(0.0, |operation| operation.bytes / operation.count as f64);
        // SAFETY: the engine, which owns the buffers, lives until the end.
        let measured = unsafe { measure::measure(&recorder, &group, bytes, &method)? };
        rows.push(KernelRow { paper, name: group.name, measured });
    }
    if rows.is_empty() {
        return Err(Error::usage(format!(
            "--only {}: no operation of the step has this in its name",
            bench.only.join(" ")
        )));
    }
    match bench.json {
        true => print_line(&report(&recorder.name(), &config, bench.step.batch, &card, &rows))?,
        false => print_line(&text(&format!("{}; {}", recorder.name(), bench.step.words()), &card, rows))?,
    }
    next::command("logwright bench train --device cuda", "the whole step");
    Ok(())
}

impl KernelsBench {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }
}

fn engine(device: &Arc<OpRecorder>, config: Config) -> Result<CudaEngine> {
    let options = Options { recompute: roofline::RECOMPUTE, eager: true, ..Options::default() };
    CudaEngine::new(device.clone(), config, init::parameters(&Layout::new(&config), 1), options)
}

/// Operations of one training step.
fn step(device: &OpRecorder, engine: &mut CudaEngine, batch: usize) -> Result<Vec<Op>> {
    let config = *engine.config();
    let n = batch * config.context;
    let tokens: Vec<u32> = (0..=n).map(|i| (i % config.vocab) as u32).collect();
    let step = Batch { tokens: &tokens[..n], targets: &tokens[1..], seq_len: config.context };
    device.take();
    engine.accumulate(step, 1.0 / n as f32)?;
    engine.update(&adamw(1))?;
    Ok(device.take())
}

/// Operations of the last token that fits, for each of `slots` sequences.
fn token(device: &OpRecorder, engine: &mut CudaEngine, slots: usize) -> Result<Vec<Op>> {
    let config = *engine.config();
    let params = SamplingParams { temperature: 0.8, top_k: 0, top_p: 1.0 };
    let draws = vec![SampleRequest { params, uniform: 0.5, allowed: None }; slots];
    let prompt: Vec<u32> = (0..config.context - 1).map(|i| (i % config.vocab) as u32).collect();
    let mut drawn = vec![0; slots];
    engine.open_cache(slots)?;
    if !prompt.is_empty() {
        let prompts: Vec<(usize, &[u32])> = (0..slots).map(|slot| (slot, prompt.as_slice())).collect();
        engine.sample(&prompts, &draws, &mut drawn)?;
    }
    let tokens = drawn.clone();
    let next: Vec<(usize, &[u32])> = tokens.chunks_exact(1).enumerate().collect();
    device.take();
    engine.sample(&next, &draws, &mut drawn)?;
    Ok(device.take())
}

impl KernelRow {
    /// Time of all its calls in the step.
    fn seconds(&self) -> f64 {
        self.measured.seconds * self.measured.calls as f64
    }

    /// The minimum time at the measured peaks / the time it takes; None for an operation that computes and moves nothing.
    fn share(&self, card: &Peaks) -> Option<f64> {
        let floor = self.paper.as_ref()?.floor(card);
        (floor > 0.0).then(|| floor / self.seconds())
    }

    /// `of` the operation per second, in units of `unit`.
    fn rate(&self, unit: f64, of: impl Fn(&Operation) -> f64) -> Option<f64> {
        self.paper.as_ref().map(|paper| of(paper) / self.seconds() / unit)
    }

    fn json(&self, card: &Peaks) -> Value {
        let OpTiming { calls, seconds, launch, sets } = &self.measured;
        let launch = launch.map(|launch| json!({"grid": launch.grid, "block": launch.block, "shared": launch.shared}));
        let paper = self.paper.as_ref();
        json!({
            "name": self.name, "calls": calls, "seconds": seconds, "launch": launch, "buffer_sets": sets,
            "flops": paper.map(|paper| paper.flops / *calls as f64), "bytes": paper.map(|paper| paper.bytes / *calls as f64),
            "bound": paper.map(|paper| paper.bound(card)), "share": self.share(card),
        })
    }
}

fn report(device: &str, config: &Config, batch: usize, card: &Peaks, rows: &[KernelRow]) -> Value {
    json!({
        "device": device, "config": config, "batch": batch,
        "measured_peaks": {"copy_gb_per_s": card.bandwidth, "gemm_tflops": card.tflops},
        "kernels": rows.iter().map(|row| row.json(card)).collect::<Vec<_>>(),
    })
}

/// The table, the longest operation first.
fn text(title: &str, card: &Peaks, mut rows: Vec<KernelRow>) -> String {
    rows.sort_by(|a, b| b.seconds().total_cmp(&a.seconds()));
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let number = |value: Option<f64>, digits: usize| value.map_or("-".to_string(), |value| format!("{value:.digits$}"));
    let mut out = format!(
        "{title}\nmeasured here: matrix products {:.1} TFLOP/s, copies {:.1} GB/s (read and written); bytes and FLOPs are the \
         minimum ones\n{:width$}  {:>18}  {:>5}  {:>10}  {:>9}  {:>8}  {:>8}  {:>8}  {:>8}",
        card.tflops,
        card.bandwidth,
        "operation",
        "grid x block",
        "calls",
        "us/call",
        "ms/step",
        "GB/s",
        "TFLOP/s",
        "bound by",
        "share %",
    );
    for row in &rows {
        let shape = row.measured.launch.map_or("-".to_string(), |launch| {
            let [x, y, z] = launch.grid;
            format!("{x},{y},{z} x {}", launch.block)
        });
        out += &format!(
            "\n{:width$}  {shape:>18}  {:>5}  {:>10.2}  {:>9.3}  {:>8}  {:>8}  {:>8}  {:>8}",
            row.name,
            row.measured.calls,
            row.measured.seconds * 1e6,
            row.seconds() * 1e3,
            number(row.rate(1e9, |paper| paper.bytes), 1),
            number(row.rate(1e12, |paper| paper.flops), 1),
            row.paper.as_ref().map_or("-", |paper| paper.bound(card)),
            number(row.share(card).map(|share| 100.0 * share), 1),
        );
    }
    let seconds: f64 = rows.iter().map(KernelRow::seconds).sum();
    let floor: f64 = rows.iter().filter_map(|row| row.paper.as_ref()).map(|paper| paper.floor(card)).sum();
    out += &format!("\nsum: {:.3} ms; floor at the measured peaks: {:.3} ms", seconds * 1e3, floor * 1e3);
    match rows.iter().filter(|row| row.paper.is_none()).count() {
        0 => out,
        n => out + &format!("; {n} further operations that this card needs have no floor"),
    }
}
