//! Global gradient norm and AdamW over the flat buffers. Norm, loss and the decision to update stay on the device.

use crate::Result;
use crate::cuda::device::kernel::Launch;
use crate::cuda::device::kernels;
use crate::cuda::device::memory::{View, ViewMut};
use crate::cuda::device::seam::Device;
use crate::engine::AdamW;
use half::bf16;

/// Partial sums of the norm: blocks of its first stage, threads of its second.
pub const PARTIALS: usize = 1024;

/// Threads of a block, four elements each.
const THREADS: usize = 256;

/// What the kernels read of an [`AdamW`] step, uploaded before each update.
pub struct Settings;

impl Settings {
    /// [lr, beta_1, beta_2, epsilon, weight_decay, max_grad_norm, 1/(1-beta_1^t), 1/(1-beta_2^t)]
    pub fn of(update: &AdamW) -> [f32; 8] {
        let AdamW { lr, beta_1, beta_2, epsilon, weight_decay, max_grad_norm, step } = *update;
        // In f64: 1 - 0.95^t loses digits in f32 for small t.
        let correction = |beta: f32| (1.0 / (1.0 - (beta as f64).powi(step as i32))) as f32;
        [lr, beta_1, beta_2, epsilon, weight_decay, max_grad_norm, correction(beta_1), correction(beta_2)]
    }
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
/// partials: (PARTIALS); settings: (8), see [`Settings::of`].
pub struct Decide<'a> {
    pub decision: ViewMut<'a, f32>,
    pub report: ViewMut<'a, f64>,
    pub loss: ViewMut<'a, f64>,
    pub partials: View<'a, f64>,
    pub settings: View<'a, f32>,
}

/// One AdamW step in one launch (see [`AdamW`] for the formula): parameters, exp_avg and exp_avg_sq are updated,
/// params_bf16 = bf16(parameters), gradients = 0. The first `decayed` elements decay. Where decision[1] is 0, only the
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
        let (launch, quads) = (Launch::new([PARTIALS, 1, 1], THREADS), quads(gradients.len()) as i64);
        // SAFETY: the kernel reads `quads` groups of four and writes one partial a block.
        unsafe { kernels::adamw_norm_partials(device, launch, partials.ptr(), gradients.ptr(), quads) }
    }
}

impl Decide<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let Decide { decision, report, loss, partials, settings } = self;
        assert_eq!((decision.len(), report.len(), loss.len()), (2, 2, 1));
        assert_eq!((partials.len(), settings.len()), (PARTIALS, 8));
        let launch = Launch::new([1, 1, 1], PARTIALS);
        let (decision, report, loss) = (decision.ptr(), report.ptr(), loss.ptr());
        // SAFETY: every length is fixed, and asserted.
        unsafe { kernels::adamw_decide(device, launch, decision, report, partials.ptr(), loss, settings.ptr()) }
    }
}

impl UpdateParameters<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let UpdateParameters { parameters, params_bf16, gradients, exp_avg, exp_avg_sq, settings, decision, decayed } =
            self;
        let len = parameters.len();
        assert_eq!((params_bf16.len(), gradients.len(), exp_avg.len(), exp_avg_sq.len()), (len, len, len, len));
        assert_eq!((settings.len(), decision.len()), (8, 2));
        let quads = quads(len);
        // SAFETY: all buffers hold `quads` groups of four; `decayed` is only compared with.
        unsafe {
            kernels::adamw_update(
                device,
                Launch::cover(quads, THREADS, THREADS),
                parameters.ptr(),
                params_bf16.ptr(),
                gradients.ptr(),
                exp_avg.ptr(),
                exp_avg_sq.ptr(),
                settings.ptr(),
                decision.ptr(),
                decayed as i64,
                quads as i64,
            )
        }
    }
}

impl CastBf16<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let CastBf16 { params_bf16, parameters } = self;
        assert_eq!(params_bf16.len(), parameters.len());
        let quads = quads(parameters.len());
        let launch = Launch::cover(quads, THREADS, THREADS);
        // SAFETY: both buffers hold `quads` groups of four.
        unsafe { kernels::adamw_cast_bf16(device, launch, params_bf16.ptr(), parameters.ptr(), quads as i64) }
    }
}
