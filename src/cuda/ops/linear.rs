//! Linear layers: products through cuBLASLt, biases and GELU in its epilogues where it has them.

use super::bias;
use super::gelu;
use crate::Result;
use crate::cuda::device::gemm::{Epilogue, Gemm, Operand, Output};
use crate::cuda::device::seam::{Device, Span};
use half::bf16;

/// weight (in, out) and bias (out).
#[derive(Clone, Copy)]
pub struct Weights {
    pub weight: Span<bf16>,
    pub bias: Option<Span<bf16>>,
}

/// Gradients in f32, accumulated (+=).
#[derive(Clone, Copy)]
pub struct Gradients {
    pub weight: Span<f32>,
    pub bias: Option<Span<f32>>,
    /// Scratch of [`bias::backward`].
    pub partials: Span<f32>,
}

/// y (n, out) = x (n, in) W + b.
pub fn forward(device: &dyn Device, y: Span<bf16>, x: Span<bf16>, weights: &Weights, n: usize) -> Result<()> {
    let epilogue = weights.bias.map_or(Epilogue::None, Epilogue::Bias);
    device.gemm(&product(y, x, weights, n, epilogue))
}

/// before (n, out) = x (n, in) W + b;  y = gelu(before).
pub fn forward_gelu(
    device: &dyn Device,
    y: Span<bf16>,
    before: Span<bf16>,
    x: Span<bf16>,
    weights: &Weights,
    n: usize,
) -> Result<()> {
    let fused = product(y, x, weights, n, Epilogue::Gelu { bias: weights.bias, aux: before });
    if device.supports(&fused)? {
        return device.gemm(&fused);
    }
    forward(device, before, x, weights, n)?;
    gelu::forward(device, y, before)
}

fn product(y: Span<bf16>, x: Span<bf16>, weights: &Weights, n: usize, epilogue: Epilogue) -> Gemm {
    let (inputs, outputs) = (x.len() / n, y.len() / n);
    let (a, b) = (Operand::plain(x), Operand::plain(weights.weight));
    Gemm { m: n, n: outputs, k: inputs, a, b, d: Output::Rounded(y, epilogue) }
}

/// dx (n, in) = dy (n, out) W'.
pub fn backward_input(device: &dyn Device, dx: Span<bf16>, dy: Span<bf16>, weight: Span<bf16>, n: usize) -> Result<()> {
    device.gemm(&input_product(dx, dy, weight, n, Epilogue::None))
}

/// dx (n, in) = dy (n, out) W' x gelu'(before): also through the GELU whose output this layer read.
pub fn backward_input_gelu(
    device: &dyn Device,
    dx: Span<bf16>,
    before: Span<bf16>,
    dy: Span<bf16>,
    weight: Span<bf16>,
    n: usize,
) -> Result<()> {
    let fused = input_product(dx, dy, weight, n, Epilogue::GeluBackward { aux: before });
    if device.supports(&fused)? {
        return device.gemm(&fused);
    }
    backward_input(device, dx, dy, weight, n)?;
    gelu::backward(device, dx, before)
}

fn input_product(dx: Span<bf16>, dy: Span<bf16>, weight: Span<bf16>, n: usize, epilogue: Epilogue) -> Gemm {
    let (inputs, outputs) = (dx.len() / n, dy.len() / n);
    let (a, b) = (Operand::plain(dy), Operand::transposed(weight));
    Gemm { m: n, n: inputs, k: outputs, a, b, d: Output::Rounded(dx, epilogue) }
}

/// dW (in, out) += x' dy;  db (out) += column sums of dy.  x: (n, in); dy: (n, out).
pub fn backward_weights(
    device: &dyn Device,
    gradients: &Gradients,
    x: Span<bf16>,
    dy: Span<bf16>,
    n: usize,
) -> Result<()> {
    let (inputs, outputs) = (x.len() / n, dy.len() / n);
    let (a, b) = (Operand::transposed(x), Operand::plain(dy));
    device.gemm(&Gemm { m: inputs, n: outputs, k: n, a, b, d: Output::Accumulated(gradients.weight) })?;
    match gradients.bias {
        None => Ok(()),
        Some(dbias) => bias::backward(device, dbias, gradients.partials.first(bias::partials(n, outputs)), dy),
    }
}
