//! What training on the CPU will take, before anything is allocated; and how much memory there is.

use super::model;
use crate::gpt::{Config, Layout};
use crate::{Error, Result};
use indicatif::HumanBytes;

/// Bytes of the host, by purpose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostNeed {
    /// Parameters, gradients and two moments, f32, and the copy that is made of each in turn to write a checkpoint.
    pub state: u64,
    /// Activations kept for the backward pass and the gradients of activations, counted by the code that allocates them;
    /// tokens, targets and losses.
    pub activations: u64,
}

/// Parameters, gradients, two moments, and the copy for a checkpoint.
const COPIES_OF_STATE: u64 = 5;

/// More rows than any machine holds: larger batches count as this many, so that no product overflows.
const MOST_ROWS: usize = 1 << 29;

impl HostNeed {
    pub fn total(&self) -> u64 {
        self.state.saturating_add(self.activations)
    }
}

/// What training with micro-batches of `batch` sequences of `seq_len` tokens takes.
pub fn training(config: &Config, batch: usize, seq_len: usize) -> HostNeed {
    let rows = batch.saturating_mul(seq_len).min(MOST_ROWS);
    let numbers = 3 * 4 * rows as u64;
    HostNeed {
        state: COPIES_OF_STATE * 4 * Layout::new(config).len as u64,
        activations: model::activation_bytes(config, rows) + numbers,
    }
}

/// What a model takes that reads `rows` tokens at once, besides its KV cache: parameters, and the activations of one block,
/// which are 16 C numbers a row (residual stream, two norms, qkv 3, attention 2, MLP 4 and its GELU 4).
pub fn inference(config: &Config, rows: usize) -> u64 {
    4 * (Layout::new(config).len as u64 + 16 * (rows.min(MOST_ROWS) * config.channels) as u64)
}

/// The largest micro-batch whose training fits in `available` bytes; `None` when not even one sequence does.
pub fn largest_batch(config: &Config, seq_len: usize, available: u64) -> Option<usize> {
    largest(|batch| training(config, batch, seq_len).total() <= available)
}

/// The largest n >= 1 that fits, where fitting n means fitting all below it; `None` when 1 does not.
pub fn largest(fits: impl Fn(usize) -> bool) -> Option<usize> {
    let mut n = fits(1).then_some(1)?;
    while fits(n * 2) {
        n *= 2;
    }
    let mut step = n / 2;
    while step > 0 {
        if fits(n + step) {
            n += step;
        }
        step /= 2;
    }
    Some(n)
}

/// Refuses to begin with `what`, which takes `bytes` of memory, where they cannot be had: the process would be killed.
pub fn check(bytes: u64, what: &str) -> Result<()> {
    match available() {
        Some(available) if bytes > available => Err(Error::failed(format!(
            "{what} needs {} of memory, but {} are available",
            HumanBytes(bytes),
            HumanBytes(available)
        ))),
        _ => Ok(()),
    }
}

/// Memory that can still be had: the kernel's estimate of what is available without swapping, or what a control group or the
/// limit of the process's address space (`ulimit -v`) leaves, whichever is least. `None` where none can be read.
pub fn available() -> Option<u64> {
    let kilobytes = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    let number = |file: &str| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let limit = number("/sys/fs/cgroup/memory.max");
    // Cached files count as used, but the kernel gives them up first.
    let used = number("/sys/fs/cgroup/memory.current").map(|used| used.saturating_sub(cached_files()));
    let group = limit.zip(used).map(|(limit, used)| limit.saturating_sub(used));
    kilobytes.map(|kilobytes| kilobytes * 1024).into_iter().chain(group).chain(address_space()).min()
}

/// What the limit of the process's address space leaves; `None` without a limit.
fn address_space() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    let limit: u64 = line.split_whitespace().next()?.parse().ok()?;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"))?;
    let used: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(limit.saturating_sub(used * 1024))
}

/// Page cache charged to the control group.
fn cached_files() -> u64 {
    let text = std::fs::read_to_string("/sys/fs/cgroup/memory.stat").unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let files = lines.filter(|(name, _)| ["active_file", "inactive_file"].contains(name));
    files.filter_map(|(_, bytes)| bytes.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED_RUN: Config = Config { layers: 12, heads: 12, channels: 768, context: 2048, vocab: 82, bias: false };

    #[test]
    fn the_seed_run_trains_in_eight_gigabytes() {
        assert!(training(&SEED_RUN, 1, 2048).total() < 8 << 30);
    }

    /// In elements of a row: a block keeps 16 C (norms 2, qkv 3, attn_out 1, residual_mid 1, mlp_fc_out 4, gelu_out 4, out
    /// 1), its statistics 4 and lse NH. Outside the blocks are embedded, final norm with statistics, by_head; as gradients
    /// residual, d_ln, wide 4, by_head 3; and tokens, targets and losses.
    #[test]
    fn what_is_counted_is_what_the_formula_says() {
        let (c, rows) = (768, 5 * 2048);
        let kept = 12 * (16 * c + 4 + 12) + (3 + 9) * c + 2 + 3;
        let logits = rows * 82;
        assert_eq!(training(&SEED_RUN, 5, 2048).activations, 4 * (rows * kept + logits));
    }

    #[test]
    fn the_largest_batch_fits_and_the_next_does_not() {
        for available in [5 << 30, 20 << 30, 100u64 << 30] {
            let batch = largest_batch(&SEED_RUN, 2048, available).unwrap();
            assert!(training(&SEED_RUN, batch, 2048).total() <= available);
            assert!(training(&SEED_RUN, batch + 1, 2048).total() > available);
        }
        assert_eq!(largest_batch(&SEED_RUN, 2048, 1 << 30), None);
    }
}
