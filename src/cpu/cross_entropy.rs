//! Output head with softmax cross-entropy, fused: logits live only for one piece of rows at a time.
//!
//! A vocabulary of 50,257 over 4,096 rows would be 823 MB of logits; pieces keep it at a few.

use super::Real;
use super::matrix::{Matrix, Threads, multiply, multiply_add};
use super::real::{max_by, simd, sum_by};
use crate::engine::IGNORE;
use rayon::prelude::*;

/// Most logits held at once, in elements.
const LOGITS: usize = 1 << 21;

/// Rows that a piece of logits covers.
pub fn piece_rows(rows: usize, vocab: usize) -> usize {
    (LOGITS / vocab).clamp(1, rows.max(1))
}

/// `losses[n] = -log softmax(x[n] head')[targets[n]]` in nats, 0 where ignored.
/// x: (n, c); head: (V, c); logits: scratch (piece_rows, V).
pub fn forward<R: Real>(losses: &mut [R], logits: &mut [R], x: &[R], head: &[R], targets: &[u32], c: usize) {
    let vocab = head.len() / c;
    let rows = logits.len() / vocab;
    for ((x, targets), losses) in x.chunks(rows * c).zip(targets.chunks(rows)).zip(losses.chunks_mut(rows)) {
        let logits = &mut logits[..targets.len() * vocab];
        multiply(logits, Matrix::new(x, targets.len(), c), Matrix::new(head, vocab, c).t(), R::ONE, Threads::All);
        logits.par_chunks_mut(vocab).zip(targets).zip(losses).for_each(|((row, &target), loss)| {
            *loss = simd(|| row_loss(row, target, None));
        });
    }
}

/// The same losses, and the gradient of `scale` x their sum: dx (n, c) =, dhead (V, c) +=.
#[allow(clippy::too_many_arguments, reason = "one argument a tensor, as in the formula")]
pub fn forward_backward<R: Real>(
    losses: &mut [R],
    dx: &mut [R],
    dhead: &mut [R],
    logits: &mut [R],
    x: &[R],
    head: &[R],
    targets: &[u32],
    scale: R,
    c: usize,
) {
    let vocab = head.len() / c;
    let rows = logits.len() / vocab;
    let pieces = x.chunks(rows * c).zip(dx.chunks_mut(rows * c)).zip(targets.chunks(rows)).zip(losses.chunks_mut(rows));
    for (((x, dx), targets), losses) in pieces {
        let n = targets.len();
        let logits = &mut logits[..n * vocab];
        let (x, head) = (Matrix::new(x, n, c), Matrix::new(head, vocab, c));
        multiply(logits, x, head.t(), R::ONE, Threads::All);
        logits.par_chunks_mut(vocab).zip(targets).zip(losses).for_each(|((row, &target), loss)| {
            *loss = simd(|| row_loss(row, target, Some(scale)));
        });
        let dlogits = Matrix::new(logits, n, vocab);
        multiply(dx, dlogits, head, R::ONE, Threads::All);
        multiply_add(dhead, dlogits.t(), x, Threads::All);
    }
}

/// Loss of one row of logits (V); with `scale`, the row becomes scale x (softmax - onehot(target)).
#[inline(always)]
fn row_loss<R: Real>(row: &mut [R], target: u32, scale: Option<R>) -> R {
    if target == IGNORE {
        if scale.is_some() {
            row.fill(R::ZERO);
        }
        return R::ZERO;
    }
    let vocab = row.len();
    let at_target = row[target as usize];
    let top = max_by(vocab, |i| row[i]);
    for logit in row.iter_mut() {
        *logit = (*logit - top).exp();
    }
    let sum = sum_by(vocab, |i| row[i]);
    if let Some(scale) = scale {
        let factor = scale / sum;
        row.iter_mut().for_each(|p| *p = *p * factor);
        row[target as usize] += -scale;
    }
    sum.ln() + top - at_target
}
