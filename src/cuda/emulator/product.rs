//! Matrix products on the host, rounded to bf16 where cuBLASLt rounds.

use super::runtime;
use crate::cpu::gelu;
use crate::cpu::matrix::{Matrix, Threads, multiply, multiply_add};
use crate::cuda::device::gemm::{GemmCall, GemmResult};
use crate::{Error, Result};
use half::bf16;
use half::slice::HalfFloatSliceExt;

/// Elements that a product reads; with the checker an error where nobody has written one.
///
/// # Safety
/// `address` names `len` elements of an allocation, which nothing writes as long as the slice is used.
unsafe fn input<'a, T>(call: &GemmCall, name: &str, address: u64, len: usize) -> Result<&'a [T]> {
    let GemmCall { m, n, k, .. } = call;
    match runtime::first_unwritten(address as *const T, len) {
        // SAFETY: the emulator's device memory is host memory; the rest is the caller's promise.
        None => Ok(unsafe { std::slice::from_raw_parts(address as *const T, len) }),
        Some(index) => Err(Error::failed(format!(
            "product {m} x {n} x {k}: uninitialised read: element {index} of {name} was never written"
        ))),
    }
}

/// Elements that a product writes.
///
/// # Safety
/// `address` names `len` elements of an allocation, which nothing else uses as long as the slice is used.
unsafe fn output<'a, T>(address: u64, len: usize) -> &'a mut [T] {
    let at = address as *mut T;
    runtime::mark_written(at, len);
    // SAFETY: the emulator's device memory is host memory; the rest is the caller's promise.
    unsafe { std::slice::from_raw_parts_mut(at, len) }
}

/// The product by host GEMM in f32, its epilogue in f32, and one rounding, as cuBLASLt does it. With the checker, an
/// operand that nobody has written is an error.
///
/// # Safety
/// Every address names as many elements of an allocation as the product's sizes demand. Products run one after another.
pub unsafe fn gemm(call: &GemmCall) -> Result<()> {
    let GemmCall { m, n, k, transposed: [a_transposed, b_transposed], .. } = *call;
    // SAFETY (all below): the caller's promise; a product's outputs overlap none of its inputs.
    let (a, b) = unsafe { (input::<bf16>(call, "a", call.a, m * k)?, input::<bf16>(call, "b", call.b, k * n)?) };
    let (a, b) = (a.to_f32_vec(), b.to_f32_vec());
    let matrix = |values, transposed, rows, columns| match transposed {
        false => Matrix::new(values, rows, columns),
        true => Matrix::new(values, columns, rows).t(),
    };
    let (a, b) = (matrix(&a, a_transposed, m, k), matrix(&b, b_transposed, k, n));
    if call.result == GemmResult::Accumulated {
        unsafe { input::<f32>(call, "d, to which it adds,", call.d, m * n)? };
        multiply_add(unsafe { output(call.d, m * n) }, a, b, Threads::All);
        return Ok(());
    }
    let mut sums = vec![0f32; m * n];
    multiply(&mut sums, a, b, 1.0, Threads::All);
    unsafe {
        epilogue(call, &mut sums)?;
        output::<bf16>(call.d, m * n).convert_from_f32_slice(&sums);
    }
    Ok(())
}

/// # Safety
/// As for [`gemm`].
unsafe fn epilogue(call: &GemmCall, sums: &mut [f32]) -> Result<()> {
    let n = call.n;
    if call.bias != 0 {
        // SAFETY: the caller's promise.
        let bias = unsafe { input::<bf16>(call, "the bias", call.bias, n)? }.to_f32_vec();
        sums.chunks_exact_mut(n).for_each(|row| row.iter_mut().zip(&bias).for_each(|(sum, bias)| *sum += bias));
    }
    match call.result {
        GemmResult::Accumulated | GemmResult::Rounded | GemmResult::Bias => {}
        GemmResult::Gelu | GemmResult::BiasGelu => {
            // SAFETY: the caller's promise.
            unsafe { output::<bf16>(call.aux, sums.len()) }.convert_from_f32_slice(sums);
            let before = sums.to_vec();
            gelu::forward(sums, &before);
        }
        GemmResult::GeluBackward => {
            // SAFETY: the caller's promise.
            let aux = unsafe { input::<bf16>(call, "aux", call.aux, sums.len())? };
            gelu::backward(sums, &aux.to_f32_vec());
        }
    }
    Ok(())
}
