//! The scalar that the operations are generic over, and vectorised dispatch.

use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// f32 or f64.
pub trait Real:
    Copy
    + Send
    + Sync
    + Default
    + Debug
    + PartialOrd
    + Sum
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + 'static
{
    const ZERO: Self;
    const ONE: Self;

    fn of(value: f64) -> Self;
    fn exp(self) -> Self;
    fn ln(self) -> Self;
    fn sqrt(self) -> Self;

    /// dst (m, n) = [dst +] scale * a (m, k) * b (k, n); each matrix is a pointer with its row and column strides in elements.
    /// With `in_order` the sums over k are added in the order of k for every number of rows (longer ones may be cut).
    ///
    /// # Safety
    /// Every index that shape and strides form must lie in the allocation of its matrix, and `dst` must be row-major, writable
    /// and overlap neither `a` nor `b`.
    unsafe fn gemm(
        shape: [usize; 3],
        dst: *mut Self,
        accumulate: bool,
        a: View<Self>,
        b: View<Self>,
        scale: Self,
        in_order: bool,
    );
}

/// Pointer, row stride, column stride of a matrix that is read.
pub type View<R> = (*const R, usize, usize);

impl Real for f32 {
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;

    fn of(value: f64) -> f32 {
        value as f32
    }

    /// e^x within 2 ulp, in plain arithmetic so that loops over it vectorise (libm's does not): x = n ln2 + r, a polynomial
    /// in r (the Taylor series to degree 7, |r| <= ln2/2), and 2^n through the exponent bits (Cody and Waite, 1980).
    /// The argument is held within [-87, 88.37], so results lie within 1.6e-38 and 2.4e38; NaN stays NaN.
    #[inline(always)]
    fn exp(self) -> f32 {
        // 1.5 * 2^23 + 127: adding it rounds to an integer, which then sits, biased, in the low bits of the sum.
        const ROUND: f32 = 12_583_039.0;
        const LN2_HIGH: f32 = 355.0 / 512.0;
        const LN2_LOW: f32 = -2.121_944_4e-4;
        let x = if self > 88.37 { 88.37 } else { self };
        let x = if x < -87.0 { -87.0 } else { x };
        let shifted = x * std::f32::consts::LOG2_E + ROUND;
        let n = shifted - ROUND;
        let r = x - n * LN2_HIGH - n * LN2_LOW;
        let p = 1.0 / 5040.0;
        let p = p * r + 1.0 / 720.0;
        let p = p * r + 1.0 / 120.0;
        let p = p * r + 1.0 / 24.0;
        let p = p * r + 1.0 / 6.0;
        let p = p * r + 0.5;
        let p = p * r * r + r + 1.0;
        p * f32::from_bits(shifted.to_bits() << 23)
    }

    fn ln(self) -> f32 {
        f32::ln(self)
    }

    #[inline(always)]
    fn sqrt(self) -> f32 {
        f32::sqrt(self)
    }

    unsafe fn gemm(
        shape: [usize; 3],
        dst: *mut f32,
        accumulate: bool,
        a: View<f32>,
        b: View<f32>,
        scale: f32,
        in_order: bool,
    ) {
        let [m, n, k] = shape;
        let gemm = gemm_f32::gemm::f32::get_gemm_fn();
        // For a product without conjugates the library has paths of their own where rows, columns or terms are few, and these
        // add the terms in other orders. With a conjugate, which changes no real number, every shape takes the general path:
        // one sum an element, in the order of k.
        let conjugate = in_order;
        // The library wants a column-major destination, so it is given the transposed product: dst' = b' a'.
        // SAFETY: the caller vouches for the indexes; strides are passed as (column, row) of the transposed matrices.
        unsafe {
            gemm(
                n,
                m,
                k,
                dst,
                n as isize,
                1,
                accumulate,
                b.0,
                b.1 as isize,
                b.2 as isize,
                a.0,
                a.1 as isize,
                a.2 as isize,
                1.0,
                scale,
                conjugate,
                false,
                false,
                gemm_common::Parallelism::None,
            )
        }
    }
}

impl Real for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;

    fn of(value: f64) -> f64 {
        value
    }

    fn exp(self) -> f64 {
        f64::exp(self)
    }

    fn ln(self) -> f64 {
        f64::ln(self)
    }

    fn sqrt(self) -> f64 {
        f64::sqrt(self)
    }

    /// Three plain loops: f64 serves tests on tiny shapes only.
    unsafe fn gemm(
        shape: [usize; 3],
        dst: *mut f64,
        accumulate: bool,
        a: View<f64>,
        b: View<f64>,
        scale: f64,
        _in_order: bool,
    ) {
        let [m, n, k] = shape;
        for i in 0..m {
            for j in 0..n {
                // SAFETY: the caller vouches for every index below the shape.
                unsafe {
                    let sum: f64 = (0..k).map(|p| *a.0.add(i * a.1 + p * a.2) * *b.0.add(p * b.1 + j * b.2)).sum();
                    let out = dst.add(i * n + j);
                    *out = if accumulate { *out } else { 0.0 } + scale * sum;
                }
            }
        }
    }
}

/// Runs `work` compiled for the widest vector unit of this machine (AVX-512, AVX2, else the baseline): the compiler
/// vectorises the plain loops inside. Functions called in it must be `#[inline(always)]` to be compiled along.
#[inline(always)]
pub fn simd<T>(work: impl FnOnce() -> T) -> T {
    pulp::Arch::new().dispatch(work)
}

/// Independent partial sums a vector loop keeps, so that additions need not wait for one another.
const LANES: usize = 16;

/// Sum of `f(i)` over `0..n` in LANES interleaved partial sums, added up in order at the end.
#[inline(always)]
pub fn sum_by<R: Real>(n: usize, f: impl Fn(usize) -> R) -> R {
    let mut lanes = [R::ZERO; LANES];
    let whole = n / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, total) in lanes.iter_mut().enumerate() {
            *total += f(start + lane);
        }
    }
    let rest: R = (whole..n).map(&f).sum();
    lanes.into_iter().sum::<R>() + rest
}

/// Largest of `f(i)` over `0..n`, n >= 1, in the same interleaving. (A NaN may or may not be passed over: sums over the same
/// elements carry it on.)
#[inline(always)]
pub fn max_by<R: Real>(n: usize, f: impl Fn(usize) -> R) -> R {
    let larger = |a: R, b: R| if b > a { b } else { a };
    let mut lanes = [f(0); LANES];
    let whole = n / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, top) in lanes.iter_mut().enumerate() {
            *top = larger(*top, f(start + lane));
        }
    }
    let rest = (whole..n).map(&f).fold(lanes[0], larger);
    lanes.into_iter().fold(rest, larger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_ulp_over_its_range() {
        let mut worst = 0.0f64;
        for step in 0..2_000_000 {
            let x = -87.0 + 175.0 * (step as f32 / 2_000_000.0);
            let truth = (x as f64).exp();
            let ulp = (f32::EPSILON as f64) * 2f64.powi(truth.log2().floor() as i32);
            worst = worst.max((Real::exp(x) as f64 - truth).abs() / ulp);
        }
        assert!(worst <= 2.0, "{worst} ulp");
    }

    #[test]
    fn exp_keeps_nan_and_saturates() {
        assert!(Real::exp(f32::NAN).is_nan());
        assert!(Real::exp(1e30f32).is_finite() && Real::exp(1e30f32) > 2e38);
        assert!(Real::exp(-1e30f32) < 1e-37);
    }

    #[test]
    fn reductions_cover_every_element() {
        for n in 1..70usize {
            let sum: f64 = sum_by(n, |i| (i + 1) as f64);
            assert_eq!(sum, (n * (n + 1) / 2) as f64);
            for top in 0..n {
                assert_eq!(max_by(n, |i| if i == top { 1.0f32 } else { -1.0 }), 1.0);
            }
        }
    }
}
