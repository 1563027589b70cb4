//! Softmax cross-entropy over the padded vocabulary, fused with its gradient.

use crate::Result;
use crate::cuda::device::kernels::{self, int};
use crate::cuda::device::seam::{Device, Launch, Ptr, Span};
use half::bf16;

/// Widest row of logits that one warp handles alone; wider ones get a block.
const SMALL_VOCAB: usize = 2048;

/// Name of the kernel that takes rows of `stride` logits.
pub fn kernel(stride: usize) -> &'static str {
    if stride <= SMALL_VOCAB { "cross_entropy_small_vocab" } else { "cross_entropy_large_vocab" }
}

/// losses[n] = log-sum-exp of logits[n, ..vocab] - logits[n, targets[n]] in nats, 0 where the target is
/// [`IGNORE`](crate::engine::IGNORE).  losses, targets: (n); logits: (n, stride), stride >= vocab a multiple of 8.
pub fn forward(
    device: &dyn Device,
    losses: Span<f32>,
    logits: Span<bf16>,
    targets: Span<u32>,
    vocab: usize,
) -> Result<()> {
    launch(device, losses, logits, targets, Ptr::NULL, vocab)
}

/// The same losses, and logits (n, stride) become dlogits = scale x (softmax - onehot(target)), 0 in the columns from
/// `vocab` on and in ignored rows.  scale: (1).
pub fn forward_backward(
    device: &dyn Device,
    losses: Span<f32>,
    logits: Span<bf16>,
    targets: Span<u32>,
    scale: Span<f32>,
    vocab: usize,
) -> Result<()> {
    assert_eq!(scale.len(), 1);
    launch(device, losses, logits, targets, scale.ptr(), vocab)
}

fn launch(
    device: &dyn Device,
    losses: Span<f32>,
    logits: Span<bf16>,
    targets: Span<u32>,
    scale: Ptr<f32>,
    vocab: usize,
) -> Result<()> {
    let n = losses.len();
    let stride = logits.len() / n;
    assert!(stride.is_multiple_of(8) && vocab > 0 && vocab <= stride, "vocabulary {vocab} in rows of {stride}");
    assert_eq!((logits.len(), targets.len()), (n * stride, n));
    let (losses, logits, targets) = (losses.ptr(), logits.ptr(), targets.ptr());
    let (rows, vocab, columns) = (int(n), int(vocab), int(stride));
    // SAFETY: the assertions bound rows and columns; the kernels pass over targets that are not below `vocab`.
    unsafe {
        if stride <= SMALL_VOCAB {
            let launch = Launch::cover(n, 4, 128);
            kernels::cross_entropy_small_vocab(device, launch, losses, logits, targets, scale, rows, vocab, columns)
        } else {
            let launch = Launch::new([n, 1, 1], 512);
            kernels::cross_entropy_large_vocab(device, launch, losses, logits, targets, scale, rows, vocab, columns)
        }
    }
}

/// total (1) += scale (1) x the sum of losses (n), in f64 and in a fixed order.
pub fn add_losses(device: &dyn Device, total: Span<f64>, losses: Span<f32>, scale: Span<f32>) -> Result<()> {
    assert_eq!((total.len(), scale.len()), (1, 1));
    let launch = Launch::new([1, 1, 1], 1024);
    // SAFETY: the kernel reads the losses' length and one scale, and writes one total.
    unsafe {
        kernels::cross_entropy_add_losses(device, launch, total.ptr(), losses.ptr(), scale.ptr(), int(losses.len()))
    }
}
