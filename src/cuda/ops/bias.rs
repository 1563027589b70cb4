//! Bias gradients: column sums, in two stages so that their order is fixed.

use crate::Result;
use crate::cuda::device::kernels::{self, int};
use crate::cuda::device::seam::{Device, Launch, Span, optional};
use half::bf16;

/// Columns that a block of the first stage covers.
const COLUMNS: usize = 256;
/// Blocks wanted in the first stage: four for each of an A100's 108 multiprocessors.
const BLOCKS: usize = 432;
/// Rows that a block takes at once.
const ROWS: usize = 8;

/// Pieces that the rows are cut into: partial sums of each column.
fn pieces(n: usize, c: usize) -> usize {
    (BLOCKS / c.div_ceil(COLUMNS)).clamp(1, n.div_ceil(ROWS).max(1))
}

/// Elements of scratch that [`backward`] needs for n rows of c columns.
pub fn partials(n: usize, c: usize) -> usize {
    pieces(n, c) * c
}

/// dbias (c) += column sums of dy (n, c).  partials: scratch, at least [`partials`].
pub fn backward(device: &dyn Device, dbias: Span<f32>, partials: Span<f32>, dy: Span<bf16>) -> Result<()> {
    let c = dbias.len();
    let n = dy.len() / c;
    assert!(c.is_multiple_of(8), "{c} columns are not a multiple of 8");
    assert_eq!(dy.len(), n * c);
    let pieces = pieces(n, c);
    let partials = partials.first(pieces * c);
    let launch = Launch::new([c.div_ceil(COLUMNS), pieces, 1], 256);
    // SAFETY: the assertions bound rows and columns; each layer of the grid owns one row of the scratch.
    unsafe { kernels::bias_backward(device, launch, partials.ptr(), dy.ptr(), int(n), int(c)) }?;
    add_partials(device, dbias, None, partials, pieces)
}

/// sums (c) += the `count` rows of partials (count, c); with `more` (c), partials (2, count, c), the second half its.
pub(super) fn add_partials(
    device: &dyn Device,
    sums: Span<f32>,
    more: Option<Span<f32>>,
    partials: Span<f32>,
    count: usize,
) -> Result<()> {
    let c = sums.len();
    let layers = if more.is_some() { 2 } else { 1 };
    assert!(partials.len() >= layers * count * c && more.is_none_or(|more| more.len() == c));
    let launch = Launch::new([c.div_ceil(32), layers, 1], 1024);
    // SAFETY: the assertion bounds every row; columns beyond c are passed over.
    unsafe { kernels::add_partials(device, launch, sums.ptr(), optional(more), partials.ptr(), int(count), int(c)) }
}
