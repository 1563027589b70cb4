//! LayerNorm over the channels of each row (Ba, Kiros and Hinton, 2016).

use super::Real;
use super::real::{simd, sum_by};
use super::rows::{add, per_piece};
use crate::gpt::config::LAYERNORM_EPSILON;
use rayon::prelude::*;

/// y[n,c] = (x[n,c] - mean[n]) * rstd[n] * gain[c] + shift[c].  x, y: (n, c); mean, rstd: (n), overwritten; gain, shift: (c).
pub fn forward<R: Real>(y: &mut [R], mean: &mut [R], rstd: &mut [R], x: &[R], gain: &[R], shift: Option<&[R]>) {
    let c = gain.len();
    assert_eq!((y.len(), x.len()), (mean.len() * c, mean.len() * c));
    let rows = per_piece(c);
    let rows_of = |y: &mut [R], mean: &mut [R], rstd: &mut [R], x: &[R]| {
        for (((y, x), mean), rstd) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)).zip(mean).zip(rstd) {
            (*mean, *rstd) = simd(|| row_forward(y, x, gain, shift));
        }
    };
    y.par_chunks_mut(rows * c)
        .zip(x.par_chunks(rows * c))
        .zip(mean.par_chunks_mut(rows).zip(rstd.par_chunks_mut(rows)))
        .for_each(|((y, x), (mean, rstd))| rows_of(y, mean, rstd, x));
}

#[inline(always)]
fn row_forward<R: Real>(y: &mut [R], x: &[R], gain: &[R], shift: Option<&[R]>) -> (R, R) {
    let c = x.len();
    let (y, gain) = (&mut y[..c], &gain[..c]);
    let mean = sum_by(c, |i| x[i]) / R::of(c as f64);
    // Two passes: the one-pass formula E[x^2] - E[x]^2 cancels where the mean is large.
    let variance = sum_by(c, |i| (x[i] - mean) * (x[i] - mean)) / R::of(c as f64);
    let rstd = R::ONE / (variance + R::of(LAYERNORM_EPSILON)).sqrt();
    for i in 0..c {
        y[i] = (x[i] - mean) * rstd * gain[i];
    }
    if let Some(shift) = shift {
        y.iter_mut().zip(shift).for_each(|(y, &shift)| *y += shift);
    }
    (mean, rstd)
}

/// dx += gradient through the normalisation; dgain, dshift (c) +=.
/// With h = (x - mean) rstd and g = dy gain: dx = rstd (g - mean(g) - h mean(g h)).
#[allow(clippy::too_many_arguments)]
pub fn backward<R: Real>(
    dx: &mut [R],
    dgain: &mut [R],
    dshift: Option<&mut [R]>,
    dy: &[R],
    x: &[R],
    mean: &[R],
    rstd: &[R],
    gain: &[R],
) {
    let c = gain.len();
    let rows = per_piece(c) * 4;
    let partials: Vec<(Vec<R>, Vec<R>)> = dx
        .par_chunks_mut(rows * c)
        .zip(dy.par_chunks(rows * c))
        .zip(x.par_chunks(rows * c))
        .zip(mean.par_chunks(rows).zip(rstd.par_chunks(rows)))
        .map(|(((dx, dy), x), (mean, rstd))| {
            let (mut dgain, mut dshift) = (vec![R::ZERO; c], vec![R::ZERO; c]);
            for (n, (&mean, &rstd)) in mean.iter().zip(rstd).enumerate() {
                let row = n * c..(n + 1) * c;
                let (dx, dy, x) = (&mut dx[row.clone()], &dy[row.clone()], &x[row]);
                simd(|| row_backward(dx, &mut dgain, &mut dshift, dy, x, mean, rstd, gain));
            }
            (dgain, dshift)
        })
        .collect();
    partials.iter().for_each(|(partial, _)| add(dgain, partial));
    if let Some(dshift) = dshift {
        partials.iter().for_each(|(_, partial)| add(dshift, partial));
    }
}

#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn row_backward<R: Real>(
    dx: &mut [R],
    dgain: &mut [R],
    dshift: &mut [R],
    dy: &[R],
    x: &[R],
    mean: R,
    rstd: R,
    gain: &[R],
) {
    let c = gain.len();
    let (dx, dy, x) = (&mut dx[..c], &dy[..c], &x[..c]);
    let (dgain, dshift) = (&mut dgain[..c], &mut dshift[..c]);
    let mean_g = sum_by(c, |i| dy[i] * gain[i]) / R::of(c as f64);
    let mean_gh = sum_by(c, |i| dy[i] * gain[i] * (x[i] - mean) * rstd) / R::of(c as f64);
    for i in 0..c {
        let h = (x[i] - mean) * rstd;
        dx[i] += rstd * (dy[i] * gain[i] - mean_g - h * mean_gh);
        dgain[i] += dy[i] * h;
        dshift[i] += dy[i];
    }
}
