//! LayerNorm over the channels of each row (Ba, Kiros and Hinton, 2016).

use super::Real;
use super::real::{simd, sum_by};
use super::rows::{add, per_piece};
use crate::gpt::config::LAYERNORM_EPSILON;
use rayon::prelude::*;

/// `y[n,c] = (x[n,c] - mean[n]) * rstd[n] * weight[c] + bias[c]`.  x, y: (n, c); mean, rstd: (n), overwritten; weight, bias: (c).
pub fn forward<R: Real>(y: &mut [R], mean: &mut [R], rstd: &mut [R], x: &[R], weight: &[R], bias: Option<&[R]>) {
    let c = weight.len();
    assert_eq!((y.len(), x.len()), (mean.len() * c, mean.len() * c));
    let rows = per_piece(c);
    let rows_of = |y: &mut [R], mean: &mut [R], rstd: &mut [R], x: &[R]| {
        for (((y, x), mean), rstd) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)).zip(mean).zip(rstd) {
            (*mean, *rstd) = simd(|| row_forward(y, x, weight, bias));
        }
    };
    y.par_chunks_mut(rows * c)
        .zip(x.par_chunks(rows * c))
        .zip(mean.par_chunks_mut(rows).zip(rstd.par_chunks_mut(rows)))
        .for_each(|((y, x), (mean, rstd))| rows_of(y, mean, rstd, x));
}

#[inline(always)]
fn row_forward<R: Real>(y: &mut [R], x: &[R], weight: &[R], bias: Option<&[R]>) -> (R, R) {
    let c = x.len();
    let (y, weight) = (&mut y[..c], &weight[..c]);
    let mean = sum_by(c, |i| x[i]) / R::of(c as f64);
    // Two passes: the one-pass formula E[x^2] - E[x]^2 cancels where the mean is large.
    let variance = sum_by(c, |i| (x[i] - mean) * (x[i] - mean)) / R::of(c as f64);
    let rstd = R::ONE / (variance + R::of(LAYERNORM_EPSILON)).sqrt();
    for i in 0..c {
        y[i] = (x[i] - mean) * rstd * weight[i];
    }
    if let Some(bias) = bias {
        y.iter_mut().zip(bias).for_each(|(y, &bias)| *y += bias);
    }
    (mean, rstd)
}

/// dx += gradient through the normalisation; dweight, dbias (c) +=.
/// With h = (x - mean) rstd and g = dy weight: dx = rstd (g - mean(g) - h mean(g h)).
#[allow(clippy::too_many_arguments, reason = "one argument a tensor, as in the formula")]
pub fn backward<R: Real>(
    dx: &mut [R],
    dweight: &mut [R],
    dbias: Option<&mut [R]>,
    dy: &[R],
    x: &[R],
    mean: &[R],
    rstd: &[R],
    weight: &[R],
) {
    let c = weight.len();
    let rows = per_piece(c) * 4;
    let partials: Vec<(Vec<R>, Vec<R>)> = dx
        .par_chunks_mut(rows * c)
        .zip(dy.par_chunks(rows * c))
        .zip(x.par_chunks(rows * c))
        .zip(mean.par_chunks(rows).zip(rstd.par_chunks(rows)))
        .map(|(((dx, dy), x), (mean, rstd))| {
            let (mut dweight, mut dbias) = (vec![R::ZERO; c], vec![R::ZERO; c]);
            for (n, (&mean, &rstd)) in mean.iter().zip(rstd).enumerate() {
                let row = n * c..(n + 1) * c;
                let (dx, dy, x) = (&mut dx[row.clone()], &dy[row.clone()], &x[row]);
                simd(|| row_backward(dx, &mut dweight, &mut dbias, dy, x, mean, rstd, weight));
            }
            (dweight, dbias)
        })
        .collect();
    partials.iter().for_each(|(partial, _)| add(dweight, partial));
    if let Some(dbias) = dbias {
        partials.iter().for_each(|(_, partial)| add(dbias, partial));
    }
}

#[allow(clippy::too_many_arguments, reason = "one argument a tensor, as in the formula")]
#[inline(always)]
fn row_backward<R: Real>(
    dx: &mut [R],
    dweight: &mut [R],
    dbias: &mut [R],
    dy: &[R],
    x: &[R],
    mean: R,
    rstd: R,
    weight: &[R],
) {
    let c = weight.len();
    let (dx, dy, x) = (&mut dx[..c], &dy[..c], &x[..c]);
    let (dweight, dbias) = (&mut dweight[..c], &mut dbias[..c]);
    let mean_g = sum_by(c, |i| dy[i] * weight[i]) / R::of(c as f64);
    let mean_gh = sum_by(c, |i| dy[i] * weight[i] * (x[i] - mean) * rstd) / R::of(c as f64);
    for i in 0..c {
        let h = (x[i] - mean) * rstd;
        dx[i] += rstd * (dy[i] * weight[i] - mean_g - h * mean_gh);
        dweight[i] += dy[i] * h;
        dbias[i] += dy[i];
    }
}
