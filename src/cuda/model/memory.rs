//! What training takes on the device, counted by the code that allocates; and what to do when it does not fit.

use super::activations::{Activations, Purpose, Recompute, head_rows};
use super::backward::BackwardBuffers;
use super::kv_cache::KvCache;
use super::optimizer::Optimizer;
use super::parameters::{Parameters, padded};
use crate::cpu::memory::largest;
use crate::cuda::device::allocator::Allocator;
use crate::gpt::{Config, Layout};
use crate::{Error, Result};

/// Bytes of the device, by purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DeviceNeed {
    /// Parameters: f32 master copy and bf16 copy.
    pub weights: u64,
    /// Gradients and two moments, f32.
    pub optimizer: u64,
    /// Activations of a micro-batch, their gradients, scratch.
    pub activations: u64,
}

impl DeviceNeed {
    pub fn total(&self) -> u64 {
        self.weights + self.optimizer + self.activations
    }
}

/// What a pass over `batch` sequences of `seq_len` tokens takes.
pub fn of(config: &Config, batch: usize, seq_len: usize, purpose: Purpose) -> DeviceNeed {
    count(config, batch, seq_len, purpose).expect("counting allocates nothing")
}

fn count(config: &Config, batch: usize, seq_len: usize, purpose: Purpose) -> Result<DeviceNeed> {
    let rows = batch * seq_len;
    let mut need = DeviceNeed { weights: Parameters::bytes(config)?, ..DeviceNeed::default() };
    let mut allocator = Allocator::counting();
    Activations::allocate(&mut allocator, config, rows, purpose, head_rows(rows, config))?;
    if matches!(purpose, Purpose::Training(_)) {
        BackwardBuffers::allocate(&mut allocator, config, batch, seq_len)?;
        let mut optimizer = Allocator::counting();
        Optimizer::allocate(&mut optimizer, Layout::new(&padded(config)).len)?;
        need.optimizer = optimizer.bytes();
    }
    need.activations = allocator.bytes();
    Ok(need)
}

/// The largest batch that fits in `available` bytes; `None` when not even one sequence does.
pub fn largest_batch(config: &Config, seq_len: usize, purpose: Purpose, available: u64) -> Option<usize> {
    largest(|batch| of(config, batch, seq_len, purpose).total() <= available)
}

/// A failed allocation's error, with what would fit instead.
pub fn explain(
    error: Error,
    parameters: &Parameters,
    (batch, seq_len): (usize, usize),
    purpose: Purpose,
    has_optimizer: bool,
) -> Error {
    let (device, config) = (&parameters.device, &parameters.config);
    let Ok((free, _)) = device.memory() else { return error };
    let free = free.saturating_sub(device.overhead());
    let need = of(config, batch, seq_len, purpose);
    // What the engine holds already counts as available to it.
    let held = need.weights + if has_optimizer { need.optimizer } else { 0 };
    let advice = match (largest_batch(config, seq_len, purpose, free + held), purpose) {
        (Some(most), _) if most < batch => format!("the largest batch that fits is {most} sequences"),
        (None, Purpose::Training(level)) if level < Recompute::Blocks => {
            "not even one sequence fits: keep less for the backward pass (--recompute blocks), or take a shorter context"
                .to_string()
        }
        _ => "take a smaller batch, a shorter context or a smaller model, or free the device".to_string(),
    };
    Error::failed(format!(
        "{error}; {batch} sequences of {seq_len} tokens need {} in all, {} are free; {advice}",
        mebibytes(need.total()),
        mebibytes(free)
    ))
}

/// The same for a KV cache.
pub fn explain_cache(error: Error, parameters: &Parameters, slots: usize) -> Error {
    let Ok((free, _)) = parameters.device.memory() else { return error };
    let bytes = |slots: usize| KvCache::bytes(&parameters.config, slots).expect("counting allocates nothing");
    let advice = match largest(|slots| bytes(slots) <= free) {
        Some(most) if most < slots => format!("{most} fit: take --parallel {most}"),
        _ => "free memory on the device, or take a smaller model".to_string(),
    };
    Error::failed(format!(
        "{error}; the KV cache of {slots} sequences needs {}, {} are free; {advice}",
        mebibytes(bytes(slots)),
        mebibytes(free)
    ))
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1u64 << 20) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED_RUN: Config = Config { layers: 12, heads: 12, channels: 768, context: 2048, vocab: 82, bias: false };

    #[test]
    fn each_level_of_recomputing_saves_memory() {
        let total = |level| of(&SEED_RUN, 12, 2048, Purpose::Training(level)).total();
        let levels = [Recompute::Nothing, Recompute::Gelu, Recompute::Norms, Recompute::Blocks];
        assert!(levels.windows(2).all(|pair| total(pair[0]) > total(pair[1])));
        assert!(of(&SEED_RUN, 12, 2048, Purpose::Inference).total() < total(Recompute::Blocks));
    }

    #[test]
    fn the_largest_batch_fits_and_the_next_does_not() {
        let purpose = Purpose::Training(Recompute::Nothing);
        for available in [5 << 30, 40 << 30, 80u64 << 30] {
            let batch = largest_batch(&SEED_RUN, 2048, purpose, available).unwrap();
            assert!(of(&SEED_RUN, batch, 2048, purpose).total() <= available);
            assert!(of(&SEED_RUN, batch + 1, 2048, purpose).total() > available);
        }
        assert_eq!(largest_batch(&SEED_RUN, 2048, purpose, 1 << 30), None);
    }
}
