//! Global gradient norm and AdamW over the flat buffers. Norm, loss and the decision to update stay on the device.

use crate::Result;
use crate::cuda::device::kernels;
use crate::cuda::device::seam::{Device, Launch, Span};
use crate::engine::AdamW;
use half::bf16;

/// Partial sums of the norm: blocks of its exp_avg stage, threads of its exp_avg_sq.
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
pub fn norm_partials(device: &dyn Device, partials: Span<f64>, gradients: Span<f32>) -> Result<()> {
    assert_eq!(partials.len(), PARTIALS);
    let (launch, quads) = (Launch::new([PARTIALS, 1, 1], THREADS), quads(gradients.len()) as i64);
    // SAFETY: the kernel reads `quads` groups of four and writes one partial a block.
    unsafe { kernels::adamw_norm_partials(device, launch, partials.ptr(), gradients.ptr(), quads) }
}

/// norm = sqrt(sum of partials); report (2) = [loss, norm]; decision (2) = [factor that clips the gradients, 1 where
/// loss and norm are finite, else 0]; loss (1) = 0 for the next step.
/// partials: (PARTIALS); settings: (8), see [`Settings::of`].
pub fn decide(
    device: &dyn Device,
    decision: Span<f32>,
    report: Span<f64>,
    partials: Span<f64>,
    loss: Span<f64>,
    settings: Span<f32>,
) -> Result<()> {
    assert_eq!((decision.len(), report.len(), loss.len()), (2, 2, 1));
    assert_eq!((partials.len(), settings.len()), (PARTIALS, 8));
    let launch = Launch::new([1, 1, 1], PARTIALS);
    let (decision, report, loss) = (decision.ptr(), report.ptr(), loss.ptr());
    // SAFETY: every length is fixed, and asserted.
    unsafe { kernels::adamw_decide(device, launch, decision, report, partials.ptr(), loss, settings.ptr()) }
}

/// One AdamW step in one launch (see [`AdamW`] for the formula): parameters, exp_avg and exp_avg_sq moment are updated,
/// params_bf16 = bf16(parameters), gradients = 0. The first `decayed` elements decay. Where decision[1] is 0, only the
/// gradients are cleared.
/// The five buffers: one length, a multiple of 4; settings: (8); decision: (2), from [`decide`].
#[allow(clippy::too_many_arguments)]
pub fn update(
    device: &dyn Device,
    parameters: Span<f32>,
    params_bf16: Span<bf16>,
    gradients: Span<f32>,
    exp_avg: Span<f32>,
    exp_avg_sq: Span<f32>,
    decayed: usize,
    settings: Span<f32>,
    decision: Span<f32>,
) -> Result<()> {
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

/// params_bf16 = bf16(parameters): after parameters were loaded.  Both: one length, a multiple of 4.
pub fn cast_bf16(device: &dyn Device, params_bf16: Span<bf16>, parameters: Span<f32>) -> Result<()> {
    assert_eq!(params_bf16.len(), parameters.len());
    let quads = quads(parameters.len());
    let launch = Launch::cover(quads, THREADS, THREADS);
    // SAFETY: both buffers hold `quads` groups of four.
    unsafe { kernels::adamw_cast_bf16(device, launch, params_bf16.ptr(), parameters.ptr(), quads as i64) }
}
