//! LayerNorm over the channels of each token, its fusion with the residual stream, and its gradient.

use super::bias::AddPartials;
use crate::Result;
use crate::cuda::device::kernel::Launch;
use crate::cuda::device::kernels::constants::layernorm::{MOST_THREADS, ROWS};
use crate::cuda::device::kernels::{LayernormBackward, LayernormForward, ResidualLayernormForward, int};
use crate::cuda::device::memory::{View, ViewMut};
use crate::cuda::device::seam::Device;
use half::bf16;

/// The most blocks of the backward kernel: four for each of an A100's 108 multiprocessors, which at 64 registers per
/// thread hold no more at once. Each writes one row of partial sums.
const BACKWARD_BLOCKS: usize = 432;
/// The number of threads aimed at for a block of the backward kernel; it has more where one row needs more.
const BACKWARD_THREADS: usize = 256;
/// The most channels: a thread of the backward kernel owns eight.
pub const MOST_CHANNELS: usize = 8 * MOST_THREADS;

/// Weight and, with biases, bias: (c) each.
#[derive(Clone, Copy)]
pub struct NormParams<'a> {
    pub weight: View<'a, bf16>,
    pub bias: Option<View<'a, bf16>>,
}

/// Output (n, c) and statistics (n), overwritten.
#[derive(Clone, Copy)]
pub struct Normed<'a> {
    pub y: ViewMut<'a, bf16>,
    pub mean: ViewMut<'a, f32>,
    pub rstd: ViewMut<'a, f32>,
}

/// to = LayerNorm(x).  x: (n, c).
pub struct Forward<'a> {
    pub to: Normed<'a>,
    pub x: View<'a, bf16>,
    pub params: NormParams<'a>,
}

/// sum = x + sublayer_out; to = LayerNorm(sum).  sum, x, sublayer_out: (n, c); sum may be x.
pub struct ResidualForward<'a> {
    pub sum: ViewMut<'a, bf16>,
    pub to: Normed<'a>,
    pub x: View<'a, bf16>,
    pub sublayer_out: View<'a, bf16>,
    pub params: NormParams<'a>,
}

/// Gradient of [`Forward`]: dx (n, c) += (= where `dx_is_new`: its old contents are not read); dweight, dbias (c) +=.
/// partials: scratch, at least [`partials`]; dy, x: (n, c), x as the forward pass read it; mean, rstd: (n); weight:
/// (c).
pub struct Backward<'a> {
    pub dx: ViewMut<'a, bf16>,
    pub dweight: ViewMut<'a, f32>,
    pub dbias: Option<ViewMut<'a, f32>>,
    pub partials: ViewMut<'a, f32>,
    pub dy: View<'a, bf16>,
    pub x: View<'a, bf16>,
    pub mean: View<'a, f32>,
    pub rstd: View<'a, f32>,
    pub weight: View<'a, bf16>,
    pub dx_is_new: bool,
}

fn check(to: &Normed, x: View<bf16>, params: &NormParams) -> (usize, usize) {
    let (n, c) = (to.mean.len(), params.weight.len());
    assert!(c.is_multiple_of(8), "{c} channels are not a multiple of 8");
    assert_eq!((to.y.len(), to.rstd.len(), x.len()), (n * c, n, n * c));
    assert!(params.bias.is_none_or(|bias| bias.len() == c));
    (n, c)
}

impl Forward<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let Forward { to, x, params } = self;
        let (n, c) = check(&to, x, &params);
        let Normed { y, mean, rstd } = to;
        let NormParams { weight, bias } = params;
        let (launch, n, c) = (Launch::cover(n, ROWS, 32 * ROWS), int(n), int(c));
        // SAFETY: the assertions of `check` bound every index.
        unsafe { LayernormForward { y, mean, rstd, x, weight, bias, n, c }.launch(device, launch) }
    }
}

impl ResidualForward<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let ResidualForward { sum, to, x, sublayer_out, params } = self;
        let (n, c) = check(&to, x, &params);
        assert_eq!((sum.len(), sublayer_out.len()), (n * c, n * c));
        let Normed { y, mean, rstd } = to;
        let NormParams { weight, bias } = params;
        let (launch, n, c) = (Launch::cover(n, ROWS, 32 * ROWS), int(n), int(c));
        let forward = ResidualLayernormForward { sum, y, mean, rstd, x, sublayer_out, weight, bias, n, c };
        // SAFETY: the assertions of `check` and the one above bound every index.
        unsafe { forward.launch(device, launch) }
    }
}

/// Grid and block of the backward kernel.
struct BackwardGrid {
    /// Threads per row: whole warps.
    width: usize,
    /// Rows that a block processes at once.
    groups: usize,
    blocks: usize,
}

impl BackwardGrid {
    fn of(n: usize, c: usize) -> Self {
        let width = (c / 8).next_multiple_of(32);
        let groups = (BACKWARD_THREADS / width).max(1);
        BackwardGrid { width, groups, blocks: n.div_ceil(groups).min(BACKWARD_BLOCKS) }
    }
}

/// Elements of scratch that [`Backward`] needs for n tokens of c channels.
pub fn partials(n: usize, c: usize) -> usize {
    2 * c * BackwardGrid::of(n, c).blocks
}

impl Backward<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let Backward { dx, dweight, dbias, partials, dy, x, mean, rstd, weight, dx_is_new } = self;
        let (n, c) = (mean.len(), weight.len());
        assert!(c.is_multiple_of(8) && c <= MOST_CHANNELS, "{c} channels: a multiple of 8, at most {MOST_CHANNELS}");
        assert_eq!((dx.len(), dy.len(), x.len(), rstd.len()), (n * c, n * c, n * c, n));
        assert!(dweight.len() == c && dbias.is_none_or(|dbias| dbias.len() == c));
        let BackwardGrid { width, groups, blocks } = BackwardGrid::of(n, c);
        let rows = partials.first(2 * c * blocks);
        let (weight_partials, bias_partials) =
            (rows.first(c * blocks), dbias.map(|_| rows.slice(c * blocks..rows.len())));
        let threads = width * groups;
        let backward = LayernormBackward {
            dx,
            weight_partials,
            bias_partials,
            dy,
            x,
            mean,
            rstd,
            weight,
            width: int(width),
            dx_is_new: dx_is_new as i32,
            n: int(n),
            c: int(c),
        };
        let launch = Launch::new([blocks, 1, 1], threads).shared(threads * 8 * size_of::<f32>());
        // SAFETY: the assertions bound rows and channels; each block owns one of `blocks` rows in each part of the
        // scratch.
        unsafe { backward.launch(device, launch) }?;
        AddPartials { sums: dweight, more: dbias, partials: rows.as_view(), count: blocks }.run(device)
    }
}
