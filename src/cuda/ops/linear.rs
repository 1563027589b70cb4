//! Linear layers: products through cuBLASLt, with biases and GELU in its epilogues where it has them.
//!
//! Throughout, `n` is the number of rows; the numbers of inputs and outputs follow from the lengths.

use super::{bias, gelu};
use crate::Result;
use crate::cuda::device::gemm::{Epilogue, Gemm, Operand, Output};
use crate::cuda::device::memory::{View, ViewMut};
use crate::cuda::device::seam::Device;
use half::bf16;

/// weight (in, out) and bias (out).
#[derive(Clone, Copy)]
pub struct LinearParams<'a> {
    pub weight: View<'a, bf16>,
    pub bias: Option<View<'a, bf16>>,
}

/// y (n, out) = x (n, in) W + b.
pub struct Forward<'a> {
    pub y: ViewMut<'a, bf16>,
    pub x: View<'a, bf16>,
    pub params: LinearParams<'a>,
    pub n: usize,
}

/// before (n, out) = x (n, in) W + b;  y = gelu(before).
pub struct ForwardGelu<'a> {
    pub y: ViewMut<'a, bf16>,
    pub before: ViewMut<'a, bf16>,
    pub x: View<'a, bf16>,
    pub params: LinearParams<'a>,
    pub n: usize,
}

/// dx (n, in) = dy (n, out) W'.
pub struct BackwardInput<'a> {
    pub dx: ViewMut<'a, bf16>,
    pub dy: View<'a, bf16>,
    pub weight: View<'a, bf16>,
    pub n: usize,
}

/// dx (n, in) = dy (n, out) W' x gelu'(before): also through the GELU whose output this layer read.
pub struct BackwardInputGelu<'a> {
    pub dx: ViewMut<'a, bf16>,
    pub before: View<'a, bf16>,
    pub dy: View<'a, bf16>,
    pub weight: View<'a, bf16>,
    pub n: usize,
}

/// dweight (in, out) += x' dy;  dbias (out) += column sums of dy.  x: (n, in); dy: (n, out); partials: scratch of
/// [`bias::Backward`].
pub struct BackwardWeights<'a> {
    pub dweight: ViewMut<'a, f32>,
    pub dbias: Option<ViewMut<'a, f32>>,
    pub partials: ViewMut<'a, f32>,
    pub x: View<'a, bf16>,
    pub dy: View<'a, bf16>,
    pub n: usize,
}

impl<'a> Forward<'a> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let epilogue = self.params.bias.map_or(Epilogue::None, Epilogue::Bias);
        device.gemm(&self.product(epilogue))
    }

    fn product(&self, epilogue: Epilogue<'a>) -> Gemm<'a> {
        let Forward { y, x, params, n } = *self;
        let (inputs, outputs) = (x.len() / n, y.len() / n);
        let (a, b) = (Operand::plain(x), Operand::plain(params.weight));
        Gemm { m: n, n: outputs, k: inputs, a, b, d: Output::Rounded(y, epilogue) }
    }
}

impl ForwardGelu<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let ForwardGelu { y, before, x, params, n } = self;
        let epilogue = Epilogue::Gelu { bias: params.bias, aux: before };
        let fused = Forward { y, x, params, n }.product(epilogue);
        if device.supports(&fused)? {
            return device.gemm(&fused);
        }
        Forward { y: before, x, params, n }.run(device)?;
        gelu::Forward { y, x: before.as_view() }.run(device)
    }
}

impl<'a> BackwardInput<'a> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        device.gemm(&self.product(Epilogue::None))
    }

    fn product(&self, epilogue: Epilogue<'a>) -> Gemm<'a> {
        let BackwardInput { dx, dy, weight, n } = *self;
        let (inputs, outputs) = (dx.len() / n, dy.len() / n);
        let (a, b) = (Operand::plain(dy), Operand::transposed(weight));
        Gemm { m: n, n: inputs, k: outputs, a, b, d: Output::Rounded(dx, epilogue) }
    }
}

impl BackwardInputGelu<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let BackwardInputGelu { dx, before, dy, weight, n } = self;
        let product = BackwardInput { dx, dy, weight, n };
        let fused = product.product(Epilogue::GeluBackward { aux: before });
        if device.supports(&fused)? {
            return device.gemm(&fused);
        }
        product.run(device)?;
        gelu::Backward { d: dx, x: before }.run(device)
    }
}

impl BackwardWeights<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let BackwardWeights { dweight, dbias, partials, x, dy, n } = self;
        let (inputs, outputs) = (x.len() / n, dy.len() / n);
        let (a, b) = (Operand::transposed(x), Operand::plain(dy));
        device.gemm(&Gemm { m: inputs, n: outputs, k: n, a, b, d: Output::Accumulated(dweight) })?;
        match dbias {
            None => Ok(()),
            Some(dbias) => {
                let partials = partials.first(bias::partials(n, outputs));
                bias::Backward { dbias, partials, dy }.run(device)
            }
        }
    }
}
