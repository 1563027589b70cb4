//! `logwright bench generate`: how fast an engine reads a prompt and draws tokens after it.

use super::settings::{EngineShape, engine};
use crate::cli::stdout::print_line;
use crate::cli::values;
use clap::Args;
use logwright::engine::{SampleRequest, SamplingParams};
use logwright::{Error, Result};
use serde_json::json;
use std::time::Instant;

#[derive(Args)]
pub struct GenerateBench {
    #[command(flatten)]
    shape: EngineShape,
    /// Tokens to generate for each sequence; the prompt fills the rest of the context
    #[arg(long, default_value_t = 64, value_parser = values::whole::<usize>(1..=values::MOST))]
    tokens: usize,
}

pub fn run(bench: GenerateBench) -> Result<()> {
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
    print_line(&report)
}
