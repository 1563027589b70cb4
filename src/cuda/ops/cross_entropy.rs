//! Softmax cross-entropy over the padded vocabulary, fused with its gradient.

use crate::Result;
use crate::cuda::device::kernel::Launch;
use crate::cuda::device::kernels::constants::cross_entropy::{LARGE_THREADS, SMALL_ROWS, SUM_THREADS};
use crate::cuda::device::kernels::{CrossEntropyAddLosses, CrossEntropyLargeVocab, CrossEntropySmallVocab, int};
use crate::cuda::device::memory::{View, ViewMut};
use crate::cuda::device::seam::Device;
use half::bf16;

/// The widest row of logits that a single warp handles; wider rows get a block.
const SMALL_VOCAB: usize = 2048;

/// Whether rows of `stride` logits are for the kernel `cross_entropy_small_vocab`.
pub fn is_small(stride: usize) -> bool {
    stride <= SMALL_VOCAB
}

/// `losses[n]` = log-sum-exp of `logits[n, ..vocab]` - `logits[n, targets[n]]` in nats, 0 where the target is
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
        // SAFETY: without a scale the kernels only read the logits.
        let logits = unsafe { logits.assume_unwritten() };
        LossRows { losses, logits, targets, scale: None, vocab }.run(device)
    }
}

impl ForwardBackward<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let ForwardBackward { losses, logits, targets, scale, vocab } = self;
        assert_eq!(scale.len(), 1);
        LossRows { losses, logits, targets, scale: Some(scale), vocab }.run(device)
    }
}

/// The arguments of both kernels; without a scale there is no gradient.
struct LossRows<'a> {
    losses: ViewMut<'a, f32>,
    logits: ViewMut<'a, bf16>,
    targets: View<'a, u32>,
    scale: Option<View<'a, f32>>,
    vocab: usize,
}

impl LossRows<'_> {
    fn run(self, device: &dyn Device) -> Result<()> {
        let LossRows { losses, logits, targets, scale, vocab } = self;
        let rows = losses.len();
        let columns = logits.len() / rows;
        assert!(columns.is_multiple_of(8) && vocab > 0 && vocab <= columns, "vocabulary {vocab} in rows of {columns}");
        assert_eq!((logits.len(), targets.len()), (rows * columns, rows));
        let (n, vocab, stride) = (int(rows), int(vocab), int(columns));
        // SAFETY: the assertions bound rows and columns; the kernels skip targets that are not below `vocab`.
        unsafe {
            if is_small(columns) {
                let launch = Launch::cover(rows, SMALL_ROWS, 32 * SMALL_ROWS);
                CrossEntropySmallVocab { losses, logits, targets, scale, n, vocab, stride }.launch(device, launch)
            } else {
                let launch = Launch::new([rows, 1, 1], LARGE_THREADS);
                CrossEntropyLargeVocab { losses, logits, targets, scale, n, vocab, stride }.launch(device, launch)
            }
        }
    }
}

impl AddLosses<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let AddLosses { total, losses, scale } = self;
        assert_eq!((total.len(), scale.len()), (1, 1));
        let (launch, n) = (Launch::new([1, 1, 1], SUM_THREADS), int(losses.len()));
        // SAFETY: the kernel reads the losses' length and one scale, and writes one total.
        unsafe { CrossEntropyAddLosses { total, losses, scale, n }.launch(device, launch) }
    }
}
