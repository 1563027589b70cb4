//! Language-model loss over a split or a text.

use crate::Result;
use crate::dataset::{Sampler, Split};
use crate::engine::{Batch, Engine, IGNORE};
use indicatif::ProgressBar;

/// Sums over the counted targets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    /// Total loss in nats.
    pub sum: f64,
    pub targets: u64,
}

impl Loss {
    /// Mean in nats per token.
    pub fn mean(&self) -> f64 {
        self.sum / self.targets as f64
    }

    /// Bits per byte, for a text that has `bytes` bytes for `tokens` tokens: comparable across tokenizers.
    pub fn bits_per_byte(&self, tokens: u64, bytes: u64) -> f64 {
        self.mean() / std::f64::consts::LN_2 * tokens as f64 / bytes as f64
    }

    fn add(&mut self, losses: &[f32], targets: &[u32]) {
        self.sum += losses.iter().map(|&loss| loss as f64).sum::<f64>();
        self.targets += targets.iter().filter(|&&target| target != IGNORE).count() as u64;
    }
}

/// Loss over the split's windows in order, `batch` at a time; `limit` > 0 takes that many, spread evenly. `progress` counts
/// windows.
pub fn split_loss(
    engine: &mut dyn Engine,
    split: &Split,
    sampler: &Sampler,
    batch: usize,
    limit: u64,
    progress: &ProgressBar,
) -> Result<Loss> {
    let (context, windows) = (engine.config().context, sampler.cover(split)?);
    let taken = if limit == 0 { windows } else { limit.min(windows) };
    // No more rows than there are windows.
    let batch = taken.min(batch as u64) as usize;
    let (mut tokens, mut targets) = (vec![0; batch * context], vec![0; batch * context]);
    let mut losses = vec![0.0; batch * context];
    let mut total = Loss::default();
    for first in (0..taken).step_by(batch) {
        let rows = (taken - first).min(batch as u64) as usize;
        for row in 0..rows {
            let at = row * context..(row + 1) * context;
            let window = ((first + row as u64) as u128 * windows as u128 / taken as u128) as u64;
            sampler.window(split, window, &mut tokens[at.clone()], &mut targets[at])?;
        }
        let n = rows * context;
        engine.losses(Batch { tokens: &tokens[..n], targets: &targets[..n], seq_len: context }, &mut losses[..n])?;
        total.add(&losses[..n], &targets[..n]);
        progress.inc(rows as u64);
    }
    Ok(total)
}

/// Loss over a token stream in consecutive windows of the model's context: window w predicts
/// `stream[w*T+1 ..= w*T+T]` from `stream[w*T .. w*T+T]`. `progress` counts windows.
pub fn stream_loss(engine: &mut dyn Engine, stream: &[u32], progress: &ProgressBar) -> Result<Loss> {
    let context = engine.config().context;
    let mut losses = vec![0.0; context];
    let mut total = Loss::default();
    for start in (0..stream.len().saturating_sub(1)).step_by(context) {
        let n = (stream.len() - 1 - start).min(context);
        let (tokens, targets) = (&stream[start..start + n], &stream[start + 1..start + n + 1]);
        engine.losses(Batch { tokens, targets, seq_len: n }, &mut losses[..n])?;
        total.add(&losses[..n], targets);
        progress.inc(1);
    }
    Ok(total)
}
