//! Matrix products on the host, rounded to bf16 where cuBLASLt rounds.

use super::runtime;
use crate::cpu::gelu;
use crate::cpu::matrix::{Matrix, Threads, multiply, multiply_add};
use crate::cuda::device::gemm::{Epilogue, Gemm, Operand, Output};
use crate::cuda::device::seam::Span;
use crate::{Error, Result};
use half::bf16;
use half::slice::HalfFloatSliceExt;

/// What lies in the span.
fn values<T>(span: &Span<T>) -> &[T] {
    // SAFETY: the emulator's device memory is host memory, and a span lies inside an allocation.
    unsafe { std::slice::from_raw_parts(span.ptr().address as *const T, span.len()) }
}

/// The span's memory, to be overwritten.
#[allow(clippy::mut_from_ref)]
fn values_mut<T>(span: &Span<T>) -> &mut [T] {
    let at = span.ptr().address as *mut T;
    runtime::mark_written(at, span.len());
    // SAFETY: as above; a product's output overlaps none of its inputs, and products run one after another.
    unsafe { std::slice::from_raw_parts_mut(at, span.len()) }
}

fn wide(span: &Span<bf16>) -> Vec<f32> {
    values(span).to_f32_vec()
}

/// The product by host GEMM in f32, its epilogue in f32, and one rounding, as cuBLASLt does it. Errors: with the
/// checker, an operand that nobody has written.
pub fn gemm(gemm: &Gemm) -> Result<()> {
    let Gemm { m, n, k, a, b, d } = *gemm;
    let product = format!("product {m} x {n} x {k}");
    check_written(&product, "a", a.span)?;
    check_written(&product, "b", b.span)?;
    let (a_values, b_values) = (wide(&a.span), wide(&b.span));
    let view = |values, operand: Operand, rows, columns| match operand.transposed {
        false => Matrix::new(values, rows, columns),
        true => Matrix::new(values, columns, rows).t(),
    };
    let (a, b) = (view(&a_values, a, m, k), view(&b_values, b, k, n));
    match d {
        Output::Accumulated(d) => {
            check_written(&product, "d, to which it adds,", d)?;
            multiply_add(values_mut(&d), a, b, Threads::All);
        }
        Output::Rounded(d, epilogue) => {
            let mut sums = vec![0f32; m * n];
            multiply(&mut sums, a, b, 1.0, Threads::All);
            apply(&product, &mut sums, epilogue, n)?;
            values_mut(&d).convert_from_f32_slice(&sums);
        }
    }
    Ok(())
}

fn check_written<T>(product: &str, name: &str, span: Span<T>) -> Result<()> {
    match runtime::first_unwritten(span.ptr().address as *const T, span.len()) {
        None => Ok(()),
        Some(index) => {
            Err(Error::failed(format!("{product}: uninitialised read: element {index} of {name} was never written")))
        }
    }
}

fn apply(product: &str, sums: &mut [f32], epilogue: Epilogue, n: usize) -> Result<()> {
    let add_bias = |sums: &mut [f32], bias: Span<bf16>| {
        check_written(product, "the bias", bias)?;
        let bias = wide(&bias);
        sums.chunks_exact_mut(n).for_each(|row| row.iter_mut().zip(&bias).for_each(|(sum, bias)| *sum += bias));
        Ok(())
    };
    match epilogue {
        Epilogue::None => {}
        Epilogue::Bias(bias) => add_bias(sums, bias)?,
        Epilogue::Gelu { bias, aux } => {
            if let Some(bias) = bias {
                add_bias(sums, bias)?;
            }
            values_mut(&aux).convert_from_f32_slice(sums);
            let before = sums.to_vec();
            gelu::forward(sums, &before);
        }
        Epilogue::GeluBackward { aux } => {
            check_written(product, "aux", aux)?;
            gelu::backward(sums, &wide(&aux));
        }
    }
    Ok(())
}
