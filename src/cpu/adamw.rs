//! Global gradient norm and AdamW over the flat buffers.

use super::real::simd;
use crate::engine::AdamW;
use rayon::prelude::*;

/// Elements of a parallel piece; also fixes the order in which partial sums of the norm are added.
const PIECE: usize = 1 << 14;

/// sqrt(sum of squares), summed in f64.
pub fn global_norm(gradients: &[f32]) -> f64 {
    let partials: Vec<f64> = gradients
        .par_chunks(PIECE)
        .map(|piece| simd(|| super::real::sum_by(piece.len(), |i| piece[i] as f64 * piece[i] as f64)))
        .collect();
    partials.iter().sum::<f64>().sqrt()
}

/// The state that one call updates: four slices of one length.
pub struct Slices<'a> {
    pub parameters: &'a mut [f32],
    pub gradients: &'a [f32],
    pub exp_avg: &'a mut [f32],
    pub exp_avg_sq: &'a mut [f32],
}

/// One step (see [`AdamW`] for the formula) with gradients scaled by `grad_scale` first. Decoupled decay: the parameter shrinks
/// by lr x weight_decay before the adaptive step.
pub fn update(state: Slices, adamw: &AdamW, weight_decay: f32, grad_scale: f32) {
    let AdamW { lr, beta_1, beta_2, epsilon, .. } = *adamw;
    // In f64: 1 - 0.95^t loses digits in f32 for small t.
    let correct_1 = (1.0 - (beta_1 as f64).powi(adamw.step as i32)) as f32;
    let correct_2 = (1.0 - (beta_2 as f64).powi(adamw.step as i32)) as f32;
    let Slices { parameters, gradients, exp_avg, exp_avg_sq } = state;
    let pieces = parameters.par_chunks_mut(PIECE).zip(gradients.par_chunks(PIECE));
    pieces.zip(exp_avg.par_chunks_mut(PIECE).zip(exp_avg_sq.par_chunks_mut(PIECE))).for_each(|((p, g), (m, v))| {
        simd(|| {
            for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                let g = g * grad_scale;
                *m = beta_1 * *m + (1.0 - beta_1) * g;
                *v = beta_2 * *v + (1.0 - beta_2) * g * g;
                let direction = (*m / correct_1) / ((*v / correct_2).sqrt() + epsilon);
                *p -= lr * (direction + weight_decay * *p);
            }
        })
    });
}
