//! Bias gradients: column sums, in two stages so that their order is fixed.

use crate::Result;
use crate::cuda::device::kernel::Launch;
use crate::cuda::device::kernels::{self, int};
use crate::cuda::device::memory::{View, ViewMut, optional_mut};
use crate::cuda::device::seam::Device;
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

/// Elements of scratch that [`Backward`] needs for n rows of c columns.
pub fn partials(n: usize, c: usize) -> usize {
    pieces(n, c) * c
}

/// dbias (c) += column sums of dy (n, c).  partials: scratch, at least [`partials`].
pub struct Backward<'a> {
    pub dbias: ViewMut<'a, f32>,
    pub partials: ViewMut<'a, f32>,
    pub dy: View<'a, bf16>,
}

/// sums (c) += the `count` rows of partials (count, c); with `more` (c), partials (2, count, c), the second half its.
pub(super) struct AddPartials<'a> {
    pub sums: ViewMut<'a, f32>,
    pub more: Option<ViewMut<'a, f32>>,
    pub partials: View<'a, f32>,
    pub count: usize,
}

impl Backward<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let Backward { dbias, partials, dy } = self;
        let c = dbias.len();
        let n = dy.len() / c;
        assert!(c.is_multiple_of(8), "{c} columns are not a multiple of 8");
        assert_eq!(dy.len(), n * c);
        let pieces = pieces(n, c);
        let partials = partials.first(pieces * c);
        let launch = Launch::new([c.div_ceil(COLUMNS), pieces, 1], 256);
        // SAFETY: the assertions bound rows and columns; each layer of the grid owns one row of the scratch.
        unsafe { kernels::bias_backward(device, launch, partials.ptr(), dy.ptr(), int(n), int(c)) }?;
        AddPartials { sums: dbias, more: None, partials: partials.as_view(), count: pieces }.run(device)
    }
}

impl AddPartials<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let AddPartials { sums, more, partials, count } = self;
        let c = sums.len();
        let layers = if more.is_some() { 2 } else { 1 };
        assert!(partials.len() >= layers * count * c && more.is_none_or(|more| more.len() == c));
        let launch = Launch::new([c.div_ceil(32), layers, 1], 1024);
        let (more, partials) = (optional_mut(more), partials.ptr());
        // SAFETY: the assertion bounds every row; columns beyond c are passed over.
        unsafe { kernels::add_partials(device, launch, sums.ptr(), more, partials, int(count), int(c)) }
    }
}
