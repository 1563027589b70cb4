//! Token and position embeddings, and the gradients of both tables.

use crate::Result;
use crate::cuda::device::kernel::Launch;
use crate::cuda::device::kernels::constants::column_sums::COLUMN_THREADS;
use crate::cuda::device::kernels::constants::embedding::THREADS;
use crate::cuda::device::kernels::{EmbeddingBackwardPositions, EmbeddingBackwardTokens, EmbeddingForward, int};
use crate::cuda::device::memory::{View, ViewMut};
use crate::cuda::device::seam::Device;
use half::bf16;

/// Up to this size a token is common enough for many blocks to share it, each with few channels.
const SMALL_VOCABULARY: usize = 1024;

fn check_channels(c: usize) {
    assert!(c > 0 && c.is_multiple_of(8), "{c} channels are not a multiple of 8");
}

/// `y[n] = token_table[tokens[n]] + position_table[positions[n]]`.
/// y: (n, c), overwritten; tokens, positions: (n), each within its table; tables: (Vp, c), (context, c).
pub struct Forward<'a> {
    pub y: ViewMut<'a, bf16>,
    pub tokens: View<'a, u32>,
    pub positions: View<'a, u32>,
    pub token_table: View<'a, bf16>,
    pub position_table: View<'a, bf16>,
    pub c: usize,
}

/// `dtable[v]` += sum of `dy[order[k]]` over k in `starts[v]..starts[v + 1]`, as [`sort`] makes them.
/// dtable: (Vp, c); dy: (n, c); order: (n); starts: (Vp + 1).
pub struct BackwardTokens<'a> {
    pub dtable: ViewMut<'a, f32>,
    pub dy: View<'a, bf16>,
    pub order: View<'a, u32>,
    pub starts: View<'a, u32>,
    pub c: usize,
}

/// `dtable[t]` += sum over b of `dy[b * seq_len + t]`.  dtable: (context, c), context >= seq_len; dy: (batch * seq_len, c).
pub struct BackwardPositions<'a> {
    pub dtable: ViewMut<'a, f32>,
    pub dy: View<'a, bf16>,
    pub batch: usize,
    pub seq_len: usize,
    pub c: usize,
}

impl Forward<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let Forward { y, tokens, positions, token_table, position_table, c } = self;
        check_channels(c);
        let (n, vocab, context) = (tokens.len(), token_table.len() / c, position_table.len() / c);
        assert_eq!((y.len(), positions.len()), (n * c, n));
        assert!(vocab > 0 && context > 0);
        assert_eq!((token_table.len(), position_table.len()), (vocab * c, context * c));
        let items = n * c / 8;
        let forward = EmbeddingForward {
            y,
            tokens,
            positions,
            token_table,
            position_table,
            vocab: int(vocab),
            context: int(context),
            items: int(items),
            c: int(c),
        };
        // SAFETY: the assertions bound rows and channels; the kernel limits tokens and positions to their tables.
        unsafe { forward.launch(device, Launch::cover(items, THREADS, THREADS)) }
    }
}

/// Sorts the places of `tokens` by token, places of one token in ascending order (a counting sort): those of token v
/// become `order[starts[v]..starts[v + 1]]`.  tokens, order: (n); starts: (vocab + 1).
/// Panics where a token is not below `vocab`.
pub fn sort(tokens: &[u32], vocab: usize, order: &mut [u32], starts: &mut [u32]) {
    assert_eq!((order.len(), starts.len()), (tokens.len(), vocab + 1));
    starts.fill(0);
    tokens.iter().for_each(|&token| starts[token as usize + 1] += 1);
    (0..vocab).for_each(|v| starts[v + 1] += starts[v]);
    // Each start moves on as its token's places are filled, up to where the next one began...
    for (place, &token) in (0..).zip(tokens) {
        let next = &mut starts[token as usize];
        order[*next as usize] = place;
        *next += 1;
    }
    // ...so that the starts have become the ends, one entry early.
    starts.copy_within(0..vocab, 1);
    starts[0] = 0;
}

impl BackwardTokens<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let BackwardTokens { dtable, dy, order, starts, c } = self;
        check_channels(c);
        let (n, vocab) = (order.len(), starts.len() - 1);
        assert_eq!((dtable.len(), dy.len()), (vocab * c, n * c));
        // The number of threads side by side, with 8 channels each. Few tokens have thousands of rows each: narrow
        // slabs let many blocks share a token. Of many tokens most have no row: one block per token, so that few blocks
        // start in vain.
        let width = if vocab <= SMALL_VOCABULARY { 8 } else { (c / 8).next_power_of_two().clamp(8, COLUMN_THREADS) };
        let launch = Launch::new([vocab, c.div_ceil(8 * width), 1], COLUMN_THREADS);
        let (width, n, c) = (int(width), int(n), int(c));
        // SAFETY: the assertions bound tokens and channels; the kernel limits `order` and `starts` to n.
        unsafe { EmbeddingBackwardTokens { dtable, dy, order, starts, width, n, c }.launch(device, launch) }
    }
}

impl BackwardPositions<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let BackwardPositions { dtable, dy, batch, seq_len, c } = self;
        check_channels(c);
        assert_eq!(dy.len(), batch * seq_len * c);
        let dtable = dtable.first(seq_len * c);
        let items = seq_len * c / 8;
        let launch = Launch::cover(items, THREADS, THREADS);
        let (batch, items) = (int(batch), int(items));
        // SAFETY: the assertion and the length of `dtable` bound every index.
        unsafe { EmbeddingBackwardPositions { dtable, dy, batch, items }.launch(device, launch) }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sort_is_stable_and_complete() {
        let tokens = [3, 1, 3, 0, 1, 3];
        let (mut order, mut starts) = ([9; 6], [9; 6]);
        super::sort(&tokens, 5, &mut order, &mut starts);
        assert_eq!(order, [3, 1, 4, 0, 2, 5]);
        assert_eq!(starts, [0, 1, 3, 3, 6, 6]);
    }
}
