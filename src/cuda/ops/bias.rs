//! Bias gradients: column sums, in two stages so that their order is fixed.

use crate::Result;
use crate::cuda::device::kernel::Launch;
use crate::cuda::device::kernels::constants::bias::{COLUMNS, SUM_COLUMNS, SUM_THREADS};
use crate::cuda::device::kernels::constants::column_sums::COLUMN_THREADS;
use crate::cuda::device::kernels::{self, int};
use crate::cuda::device::memory::{View, ViewMut};
use crate::cuda::device::seam::Device;
use half::bf16;

/// The number of blocks aimed at in the first stage: four for each of an A100's 108 multiprocessors.
const BLOCKS: usize = 432;
/// Rows that a block reads at once: a thread reads 8 columns of one.
const ROWS: usize = COLUMN_THREADS * 8 / COLUMNS;

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
        let launch = Launch::new([c.div_ceil(COLUMNS), pieces, 1], COLUMN_THREADS);
        // SAFETY: the assertions bound rows and columns; each row of the grid owns one row of the scratch.
        unsafe { kernels::BiasBackward { partials, dy, n: int(n), c: int(c) }.launch(device, launch) }?;
        AddPartials { sums: dbias, more: None, partials: partials.as_view(), count: pieces }.run(device)
    }
}

impl AddPartials<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let AddPartials { sums, more, partials, count } = self;
        let c = sums.len();
        let layers = if more.is_some() { 2 } else { 1 };
        assert!(partials.len() >= layers * count * c && more.is_none_or(|more| more.len() == c));
        let launch = Launch::new([c.div_ceil(SUM_COLUMNS), layers, 1], SUM_THREADS);
        // SAFETY: the assertion bounds every row; the kernel skips columns beyond c.
        unsafe { kernels::AddPartials { sums, more, partials, count: int(count), c: int(c) }.launch(device, launch) }
    }
}
