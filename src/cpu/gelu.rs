//! GELU in its tanh form (Hendrycks and Gimpel, 2016), which GPT-2 and Hugging Face call `gelu_new`.

use super::Real;
use super::real::simd;
use rayon::prelude::*;

/// Elements of a parallel piece.
const PIECE: usize = 1 << 14;
/// sqrt(2 / pi)
const SCALE: f64 = 0.797_884_560_802_865_4;
const CUBIC: f64 = 0.044715;

/// y = 0.5 x (1 + tanh(u)) = x s(2u) with the logistic function s and u = sqrt(2/pi) (x + 0.044715 x^3).
pub fn forward<R: Real>(y: &mut [R], x: &[R]) {
    assert_eq!(y.len(), x.len());
    y.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).for_each(|(y, x)| {
        simd(|| {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = x * gate(x);
            }
        })
    });
}

/// dx = dy (s + x ds/dx), in place: `d` holds dy on entry and dx on return. x is the input of `forward`.
pub fn backward<R: Real>(d: &mut [R], x: &[R]) {
    assert_eq!(d.len(), x.len());
    d.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).for_each(|(d, x)| {
        simd(|| {
            for (d, &x) in d.iter_mut().zip(x) {
                let s = gate(x);
                let slope = R::of(2.0 * SCALE) * (R::ONE + R::of(3.0 * CUBIC) * x * x);
                *d = *d * (s + x * s * (R::ONE - s) * slope);
            }
        })
    });
}

/// s(2u): (1 + tanh(u)) / 2 is the logistic function of 2u.
#[inline(always)]
fn gate<R: Real>(x: R) -> R {
    let u = R::of(SCALE) * x * (R::ONE + R::of(CUBIC) * x * x);
    R::ONE / (R::ONE + (R::of(-2.0) * u).exp())
}
