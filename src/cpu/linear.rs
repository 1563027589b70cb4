//! Linear layer over rows: y = x W + b, with the weight stored (in, out).

use super::Real;
use super::matrix::{Matrix, Threads, multiply, multiply_add};
use super::rows::{add_column_sums, per_piece};
use rayon::prelude::*;

/// y (n, out) = x (n, in) weight (in, out) + bias (out).
pub fn forward<R: Real>(y: &mut [R], x: &[R], weight: &[R], bias: Option<&[R]>, inputs: usize) {
    let (n, outputs) = (x.len() / inputs, weight.len() / inputs);
    let (x, weight) = (Matrix::new(x, n, inputs), Matrix::new(weight, inputs, outputs));
    match bias {
        None => multiply(y, x, weight, R::ONE, Threads::All),
        Some(bias) => {
            y.par_chunks_mut(per_piece(outputs) * outputs)
                .for_each(|piece| piece.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(bias)));
            multiply_add(y, x, weight, Threads::All);
        }
    }
}

/// y (n, out) = residual (n, out) + x (n, in) weight (in, out) + bias (out): the residual connection costs no pass of its own.
pub fn forward_residual<R: Real>(
    y: &mut [R],
    residual: &[R],
    x: &[R],
    weight: &[R],
    bias: Option<&[R]>,
    inputs: usize,
) {
    let (n, outputs) = (x.len() / inputs, weight.len() / inputs);
    let rows = per_piece(outputs) * outputs;
    y.par_chunks_mut(rows).zip(residual.par_chunks(rows)).for_each(|(y, residual)| {
        y.copy_from_slice(residual);
        if let Some(bias) = bias {
            y.chunks_exact_mut(outputs).for_each(|row| super::rows::add(row, bias));
        }
    });
    multiply_add(y, Matrix::new(x, n, inputs), Matrix::new(weight, inputs, outputs), Threads::All);
}

/// dx (n, in) = dy weight';  dweight (in, out) += x' dy;  dbias (out) += column sums of dy.
pub fn backward<R: Real>(
    dx: &mut [R],
    dweight: &mut [R],
    dbias: Option<&mut [R]>,
    dy: &[R],
    x: &[R],
    weight: &[R],
    inputs: usize,
) {
    let (n, outputs) = (x.len() / inputs, weight.len() / inputs);
    let dy_matrix = Matrix::new(dy, n, outputs);
    multiply(dx, dy_matrix, Matrix::new(weight, inputs, outputs).t(), R::ONE, Threads::All);
    multiply_add(dweight, Matrix::new(x, n, inputs).t(), dy_matrix, Threads::All);
    if let Some(dbias) = dbias {
        add_column_sums(dbias, dy);
    }
}
