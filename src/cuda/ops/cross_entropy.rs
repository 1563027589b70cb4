//! Softmax cross-entropy over the padded vocabulary, fused with its gradient.

use crate::Result;
use crate::cuda::device::kernel::Launch;
use crate::cuda::device::kernels::{self, int};
use crate::cuda::device::memory::{Ptr, View, ViewMut};
use crate::cuda::device::seam::Device;
use half::bf16;

/// Widest row of logits that one warp handles alone; wider ones get a block.
const SMALL_VOCAB: usize = 2048;

/// Name of the kernel that takes rows of `stride` logits.
pub fn kernel(stride: usize) -> &'static str {
    if stride <= SMALL_VOCAB { "cross_entropy_small_vocab" } else { "cross_entropy_large_vocab" }
}

/// losses[n] = log-sum-exp of logits[n, ..vocab] - logits[n, targets[n]] in nats, 0 where the target is
/// [`IGNORE`](crate::engine::IGNORE).  losses, targets: (n); logits: (n, stride), stride >= vocab a multiple of 8.
pub struct Forward<'a> {
    pub losses: ViewMut<'a, f32>,
    pub logits: View<'a, bf16>,
    pub targets: View<'a, u32>,
    pub vocab: usize,
}

/// The same losses, and logits (n, stride) become dlogits = scale x (softmax - onehot(target)), 0 in the columns from
/// `vocab` on and in ignored rows.  scale: (1).
pub struct ForwardBackward<'a> {
    pub losses: ViewMut<'a, f32>,
    pub logits: ViewMut<'a, bf16>,
    pub targets: View<'a, u32>,
    pub scale: View<'a, f32>,
    pub vocab: usize,
}

/// total (1) += scale (1) x the sum of losses (n), in f64 and in a fixed order.
pub struct AddLosses<'a> {
    pub total: ViewMut<'a, f64>,
    pub losses: View<'a, f32>,
    pub scale: View<'a, f32>,
}

impl Forward<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let Forward { losses, logits, targets, vocab } = self;
        // SAFETY: without a scale the kernels only read the logits, which are as long as the view.
        unsafe { launch(device, losses, (logits.ptr(), logits.len()), targets, Ptr::NULL, vocab) }
    }
}

impl ForwardBackward<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let ForwardBackward { losses, logits, targets, scale, vocab } = self;
        assert_eq!(scale.len(), 1);
        // SAFETY: the logits are a view to be written, as long as stated.
        unsafe { launch(device, losses, (logits.ptr(), logits.len()), targets, scale.ptr(), vocab) }
    }
}

/// # Safety
/// `logits` names so many elements, to be written where there is a scale.
unsafe fn launch(
    device: &dyn Device,
    losses: ViewMut<f32>,
    (logits, len): (Ptr<bf16>, usize),
    targets: View<u32>,
    scale: Ptr<f32>,
    vocab: usize,
) -> Result<()> {
    let n = losses.len();
    let stride = len / n;
    assert!(stride.is_multiple_of(8) && vocab > 0 && vocab <= stride, "vocabulary {vocab} in rows of {stride}");
    assert_eq!((len, targets.len()), (n * stride, n));
    let (losses, targets) = (losses.ptr(), targets.ptr());
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

impl AddLosses<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let AddLosses { total, losses, scale } = self;
        assert_eq!((total.len(), scale.len()), (1, 1));
        let launch = Launch::new([1, 1, 1], 1024);
        // SAFETY: the kernel reads the losses' length and one scale, and writes one total.
        unsafe {
            kernels::cross_entropy_add_losses(device, launch, total.ptr(), losses.ptr(), scale.ptr(), int(losses.len()))
        }
    }
}
