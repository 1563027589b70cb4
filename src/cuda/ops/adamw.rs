//! Global gradient norm and AdamW over the flat buffers. Norm, loss and the decision to update stay on the device.

use crate::Result;
use crate::cuda::device::kernel::Launch;
use crate::cuda::device::kernels::constants::adamw::{SETTINGS, THREADS};
use crate::cuda::device::kernels::{AdamwCastBf16, AdamwDecide, AdamwNormPartials, AdamwUpdate};
use crate::cuda::device::memory::{View, ViewMut};
use crate::cuda::device::seam::Device;
use crate::engine::AdamW;
use half::bf16;

/// Partial sums of the norm.
pub use crate::cuda::device::kernels::constants::adamw::PARTIALS;

/// What the kernels read of an [`AdamW`] step, uploaded before each update:
/// [lr, beta_1, beta_2, epsilon, weight_decay, max_grad_norm, 1/(1-beta_1^t), 1/(1-beta_2^t)]
pub fn settings(update: &AdamW) -> [f32; SETTINGS] {
    let AdamW { lr, beta_1, beta_2, epsilon, weight_decay, max_grad_norm, step } = *update;
    // In f64: 1 - 0.95^t loses digits in f32 for small t.
    let correction = |beta: f32| (1.0 / (1.0 - (beta as f64).powi(step as i32))) as f32;
    [lr, beta_1, beta_2, epsilon, weight_decay, max_grad_norm, correction(beta_1), correction(beta_2)]
}

/// Groups of four elements: 16 bytes of f32.
fn quads(len: usize) -> usize {
    assert!(len.is_multiple_of(4), "{len} elements are not a multiple of 4");
    len / 4
}

/// partials (PARTIALS) = sums of squares of the gradients (any multiple of 4), in f64.
pub struct NormPartials<'a> {
    pub partials: ViewMut<'a, f64>,
    pub gradients: View<'a, f32>,
}

/// norm = sqrt(sum of partials); report (2) = [loss, norm]; decision (2) = [factor that clips the gradients, 1 where
/// loss and norm are finite, else 0]; loss (1) = 0 for the next step.
/// partials: (PARTIALS); settings: (8), see [`settings`].
pub struct Decide<'a> {
    pub decision: ViewMut<'a, f32>,
    pub report: ViewMut<'a, f64>,
    pub loss: ViewMut<'a, f64>,
    pub partials: View<'a, f64>,
    pub settings: View<'a, f32>,
}

/// One AdamW step in one launch (see [`AdamW`] for the formula): parameters, exp_avg and exp_avg_sq are updated,
/// params_bf16 = bf16(parameters), gradients = 0. The first `decayed` elements decay. Where `decision[1]` is 0, only the
/// gradients are cleared.
/// The five buffers: one length, a multiple of 4; settings: (8); decision: (2), from [`Decide`].
pub struct UpdateParameters<'a> {
    pub parameters: ViewMut<'a, f32>,
    pub params_bf16: ViewMut<'a, bf16>,
    pub gradients: ViewMut<'a, f32>,
    pub exp_avg: ViewMut<'a, f32>,
    pub exp_avg_sq: ViewMut<'a, f32>,
    pub settings: View<'a, f32>,
    pub decision: View<'a, f32>,
    pub decayed: usize,
}

/// params_bf16 = bf16(parameters), after parameters were loaded.  Both: one length, a multiple of 4.
pub struct CastBf16<'a> {
    pub params_bf16: ViewMut<'a, bf16>,
    pub parameters: View<'a, f32>,
}

impl NormPartials<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let NormPartials { partials, gradients } = self;
        assert_eq!(partials.len(), PARTIALS);
        let quads = quads(gradients.len()) as i64;
        let launch = Launch::new([PARTIALS, 1, 1], THREADS);
        // SAFETY: the kernel reads `quads` groups of four and writes one partial sum per block.
        unsafe { AdamwNormPartials { partials, gradients, quads }.launch(device, launch) }
    }
}

impl Decide<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let Decide { decision, report, loss, partials, settings } = self;
        assert_eq!((decision.len(), report.len(), loss.len()), (2, 2, 1));
        assert_eq!((partials.len(), settings.len()), (PARTIALS, SETTINGS));
        let launch = Launch::new([1, 1, 1], PARTIALS);
        // SAFETY: every length is fixed, and asserted.
        unsafe { AdamwDecide { decision, report, partials, loss, settings }.launch(device, launch) }
    }
}

impl UpdateParameters<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let UpdateParameters { parameters, params_bf16, gradients, exp_avg, exp_avg_sq, settings, decision, decayed } =
            self;
        let len = parameters.len();
        assert_eq!((params_bf16.len(), gradients.len(), exp_avg.len(), exp_avg_sq.len()), (len, len, len, len));
        assert_eq!((settings.len(), decision.len()), (SETTINGS, 2));
        let quads = quads(len);
        let (launch, decayed) = (Launch::cover(quads, THREADS, THREADS), decayed as i64);
        let quads = quads as i64;
        let update =
            AdamwUpdate { parameters, params_bf16, gradients, exp_avg, exp_avg_sq, settings, decision, decayed, quads };
        // SAFETY: all buffers hold `quads` groups of four; the kernel only compares with `decayed`.
        unsafe { update.launch(device, launch) }
    }
}

impl CastBf16<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let CastBf16 { params_bf16, parameters } = self;
        assert_eq!(params_bf16.len(), parameters.len());
        let quads = quads(parameters.len());
        let launch = Launch::cover(quads, THREADS, THREADS);
        // SAFETY: both buffers hold `quads` groups of four.
        unsafe { AdamwCastBf16 { params_bf16, parameters, quads: quads as i64 }.launch(device, launch) }
    }
}
