//! Shapes and optimizer settings that the benchmarks share.

use crate::cli::device::DeviceArgs;
use crate::cli::values;
use clap::Args;
use logwright::backend::Backend;
use logwright::engine::{AdamW, Engine};
use logwright::gpt::config::{MOST, MOST_LAYERS};
use logwright::gpt::{Config, Layout, init};
use logwright::train::config::MOST_TOKENS;
use logwright::{Error, Result};

/// A model and a batch, small enough for a CPU.
#[derive(Args)]
pub struct EngineShape {
    /// Transformer blocks
    #[arg(long, default_value_t = 4, value_parser = values::whole::<usize>(1..=MOST_LAYERS as u64))]
    pub layers: usize,
    /// Attention heads
    #[arg(long, default_value_t = 4, value_parser = values::whole::<usize>(1..=MOST as u64))]
    pub heads: usize,
    /// Width of the model
    #[arg(long, default_value_t = 256, value_parser = values::whole::<usize>(1..=MOST as u64))]
    pub channels: usize,
    /// Context length in tokens
    #[arg(long, default_value_t = 256, value_parser = values::whole::<usize>(1..=MOST as u64))]
    pub context: usize,
    /// Tokens in the vocabulary
    #[arg(long, default_value_t = 512, value_parser = values::whole::<usize>(2..=MOST as u64))]
    pub vocab: usize,
    /// Sequences per micro-batch, or generated in parallel
    #[arg(long, default_value_t = 8, value_parser = values::whole::<usize>(1..=MOST_TOKENS as u64))]
    pub batch: usize,
    /// Use biases in linear layers and LayerNorms
    #[arg(long)]
    pub bias: bool,
    #[command(flatten)]
    pub device: DeviceArgs,
}

impl EngineShape {
    pub fn config(&self) -> Result<Config> {
        let EngineShape { layers, heads, channels, context, vocab, bias, .. } = *self;
        let config = Config { layers, heads, channels, context, vocab, bias };
        check(&config, self.batch)?;
        Ok(config)
    }

    /// Tokens without a pattern; their values do not affect the time.
    pub fn tokens(&self, n: usize) -> Vec<u32> {
        (0..n as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as u32 % self.vocab as u32).collect()
    }
}

fn check(config: &Config, batch: usize) -> Result<()> {
    config.check()?;
    match batch.checked_mul(config.context) {
        Some(tokens) if tokens <= MOST_TOKENS => Ok(()),
        _ => Err(Error::usage(format!(
            "--batch {batch} x --context {}: at most {MOST_TOKENS} tokens are possible",
            config.context
        ))),
    }
}

/// An engine with random parameters.
pub fn engine(config: Config, device: &Backend) -> Result<Box<dyn Engine>> {
    device.engine(config, init::parameters(&Layout::new(&config), 1))
}

/// A model and the batch that one step processes.
#[derive(Args)]
pub struct StepShape {
    /// Transformer blocks
    #[arg(long, default_value_t = 12, value_parser = values::whole::<usize>(1..=MOST_LAYERS as u64))]
    layers: usize,
    /// Attention heads
    #[arg(long, default_value_t = 12, value_parser = values::whole::<usize>(1..=MOST as u64))]
    heads: usize,
    /// Width of the model
    #[arg(long, default_value_t = 768, value_parser = values::whole::<usize>(1..=MOST as u64))]
    channels: usize,
    /// Context length in tokens
    #[arg(long, default_value_t = 1024, value_parser = values::whole::<usize>(1..=MOST as u64))]
    context: usize,
    /// Tokens in the vocabulary
    #[arg(long, default_value_t = 82, value_parser = values::whole::<usize>(2..=MOST as u64))]
    vocab: usize,
    /// Sequences per micro-batch
    #[arg(long, default_value_t = 12, value_parser = values::whole::<usize>(1..=MOST_TOKENS as u64))]
    pub batch: usize,
    /// Use biases in linear layers and LayerNorms
    #[arg(long)]
    bias: bool,
}

impl StepShape {
    pub fn config(&self) -> Result<Config> {
        let StepShape { layers, heads, channels, context, vocab, batch, bias } = *self;
        let config = Config { layers, heads, channels, context, vocab, bias };
        check(&config, batch)?;
        Ok(config)
    }

    /// The shape in words, for a title.
    pub fn words(&self) -> String {
        let StepShape { layers, heads, channels, context, vocab, batch, .. } = self;
        format!("{layers} layers, {heads} heads, {channels} channels, vocabulary {vocab}, {batch} x {context} tokens")
    }
}

/// The settings of update number `step`.
pub fn adamw(step: u64) -> AdamW {
    AdamW { lr: 1e-4, beta_1: 0.9, beta_2: 0.95, epsilon: 1e-8, weight_decay: 0.1, max_grad_norm: 1.0, step }
}
