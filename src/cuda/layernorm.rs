//! LayerNorm over the channels of each token, and its fusion with the residual stream.

use super::device::{Device, Launch, Span, optional};
use super::kernels::{self, int};
use crate::Result;
use half::bf16;

/// Tokens a block of the forward kernels owns: one a warp.
const ROWS: usize = 4;

/// Gain and, with biases, shift: (c) each.
#[derive(Clone, Copy)]
pub struct Weights {
    pub gain: Span<bf16>,
    pub shift: Option<Span<bf16>>,
}

/// Output (n, c) and statistics (n), overwritten.
#[derive(Clone, Copy)]
pub struct Normed {
    pub y: Span<bf16>,
    pub mean: Span<f32>,
    pub rstd: Span<f32>,
}

fn check(to: &Normed, x: Span<bf16>, weights: &Weights) -> (usize, usize) {
    let (n, c) = (to.mean.len(), weights.gain.len());
    assert!(c.is_multiple_of(8), "{c} channels are not a multiple of 8");
    assert_eq!((to.y.len(), to.rstd.len(), x.len()), (n * c, n, n * c));
    assert!(weights.shift.is_none_or(|shift| shift.len() == c));
    (n, c)
}

/// to = LayerNorm(x).  x: (n, c).
pub fn forward(device: &dyn Device, to: Normed, x: Span<bf16>, weights: &Weights) -> Result<()> {
    let (n, c) = check(&to, x, weights);
    let Normed { y, mean, rstd } = to;
    let (gain, shift) = (weights.gain.ptr(), optional(weights.shift));
    // SAFETY: the assertions of `check` bound every index.
    unsafe {
        kernels::layernorm_forward(
            device,
            Launch::cover(n, ROWS, 32 * ROWS),
            y.ptr(),
            mean.ptr(),
            rstd.ptr(),
            x.ptr(),
            gain,
            shift,
            int(n),
            int(c),
        )
    }
}

/// sum = x + branch; to = LayerNorm(sum).  sum, x, branch: (n, c); sum may be x.
pub fn residual_forward(
    device: &dyn Device,
    sum: Span<bf16>,
    to: Normed,
    x: Span<bf16>,
    branch: Span<bf16>,
    weights: &Weights,
) -> Result<()> {
    let (n, c) = check(&to, x, weights);
    assert_eq!((sum.len(), branch.len()), (n * c, n * c));
    let Normed { y, mean, rstd } = to;
    let (gain, shift) = (weights.gain.ptr(), optional(weights.shift));
    // SAFETY: the assertions of `check` and the one above bound every index.
    unsafe {
        kernels::residual_layernorm_forward(
            device,
            Launch::cover(n, ROWS, 32 * ROWS),
            sum.ptr(),
            y.ptr(),
            mean.ptr(),
            rstd.ptr(),
            x.ptr(),
            branch.ptr(),
            gain,
            shift,
            int(n),
            int(c),
        )
    }
}
