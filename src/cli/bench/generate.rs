//! `logwright bench generate`: how fast an engine reads a prompt and draws tokens after it.

use super::settings::{EngineShape, engine};
use crate::cli::next;
use crate::cli::output::OutputArgs;
use crate::cli::result::ResultArgs;
use crate::cli::values;
use clap::Args;
use logwright::engine::{SampleRequest, SamplingParams};
use logwright::report::columns;
use logwright::{Error, Result};
use serde_json::json;
use std::time::Instant;

#[derive(Args)]
pub struct GenerateBench {
    #[command(flatten)]
    shape: EngineShape,
    #[command(flatten)]
    result: ResultArgs,
    /// Tokens to generate for each sequence; the prompt fills the rest of the context
    #[arg(long, default_value_t = 64, value_parser = values::whole::<usize>(1..=values::MOST))]
    tokens: usize,
}

pub fn run(bench: GenerateBench, output: &OutputArgs) -> Result<()> {
    let shape = &bench.shape;
    if bench.tokens >= shape.context {
        return Err(Error::usage(format!("--tokens must be in 1..{}, found {}", shape.context, bench.tokens)));
    }
    let device = shape.device.open()?;
    let config = shape.config()?;
    device.check_inference(&config, shape.batch * shape.context)?;
    let mut engine = engine(config, &device)?;
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
    let bar = output.progress(bench.tokens as u64, "tokens");
    let start = Instant::now();
    for _ in 0..bench.tokens {
        bar.inc(1);
        let tokens = drawn.clone();
        let next: Vec<(usize, &[u32])> = tokens.chunks_exact(1).enumerate().collect();
        engine.sample(&next, &draws, &mut drawn)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    bar.finish_and_clear();
    let speed = (bench.tokens * shape.batch) as f64 / seconds;
    let prefill_speed = (prompt.len() * shape.batch) as f64 / prefill;
    let report = json!({
        "tokens_per_second": speed, "prefill_tokens_per_second": prefill_speed,
        "device": device.name(), "batch": shape.batch, "config": engine.config(),
    });
    bench.result.print(&report, || {
        let rows = [
            ["device", &device.name()],
            ["tokens/s, of all sequences", &format!("{speed:.0}")],
            ["tokens/s of the prompts", &format!("{prefill_speed:.0}")],
        ];
        columns(&rows.map(|row| row.map(String::from)))
    })?;
    next::command("logwright generate --model RUN -n 100", "says how fast a trained model is");
    Ok(())
}
