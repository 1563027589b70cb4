//! Causal multi-head attention by blocks of queries, in the manner of FlashAttention-2 (Dao, 2023): the forward pass keeps
//! only the log-sum-exp of each row, the backward pass recomputes the probabilities, and nothing of size T x T is ever held.
//!
//! Heads are independent, one parallel task each. A task gathers its head out of the packed rows into (T, HS) matrices.

use super::Real;
use super::matrix::{Matrix, Threads, multiply, multiply_add};
use super::real::{max_by, simd, sum_by};
use super::rows::per_piece;
use rayon::prelude::*;

/// Queries a block: its scores, (QUERIES, T), stay in cache for the usual T.
const QUERIES: usize = 64;
/// Keys whose values are added up without a break. A longer sum is broken here, at the same keys whether or not padding follows
/// them: the GEMM library would break it by its length.
const KEYS: usize = 512;

/// The sizes of one call.
#[derive(Clone, Copy)]
pub struct AttentionShape {
    pub batch: usize,
    pub seq_len: usize,
    pub heads: usize,
    pub head_size: usize,
}

impl AttentionShape {
    fn channels(&self) -> usize {
        self.heads * self.head_size
    }

    fn scale<R: Real>(&self) -> R {
        R::ONE / R::of(self.head_size as f64).sqrt()
    }
}

/// out (B,T,C) = softmax(mask(q k' / sqrt(HS))) v for each head of qkv (B,T,3,NH,HS); lse (B,NH,T): log-sum-exp of the scores.
/// by_head: scratch (B,NH,T,HS).
pub fn forward<R: Real>(out: &mut [R], lse: &mut [R], by_head: &mut [R], qkv: &[R], shape: AttentionShape) {
    let AttentionShape { seq_len, head_size, .. } = shape;
    by_head.par_chunks_mut(seq_len * head_size).zip(lse.par_chunks_mut(seq_len)).enumerate().for_each(
        |(task, (out, lse))| {
            let [q, k, v] = [0, 1, 2].map(|part| gather(qkv, task, part, 3, shape));
            let mut scores = vec![R::ZERO; QUERIES.min(seq_len) * seq_len];
            for start in (0..seq_len).step_by(QUERIES) {
                let end = (start + QUERIES).min(seq_len);
                let scores = &mut scores[..(end - start) * end];
                block_scores(scores, &q, &k, start..end, shape);
                for (row, lse) in lse[start..end].iter_mut().enumerate() {
                    *lse = simd(|| softmax(&mut scores[row * end..(row + 1) * end], start + row + 1));
                }
                let out = &mut out[start * head_size..end * head_size];
                weighted_values(out, Matrix::new(scores, end - start, end), &v[..end * head_size], end);
            }
        },
    );
    scatter(out, by_head, 1, shape);
}

/// dqkv (B,T,3,NH,HS) = gradient of `forward` at dout (B,T,C), given its out and lse. by_head: scratch (B,NH,3,T,HS).
pub fn backward<R: Real>(
    dqkv: &mut [R],
    by_head: &mut [R],
    dout: &[R],
    out: &[R],
    lse: &[R],
    qkv: &[R],
    shape: AttentionShape,
) {
    let AttentionShape { seq_len, head_size, .. } = shape;
    by_head.par_chunks_mut(3 * seq_len * head_size).zip(lse.par_chunks(seq_len)).enumerate().for_each(
        |(task, (grads, lse))| {
            let [q, k, v] = [0, 1, 2].map(|part| gather(qkv, task, part, 3, shape));
            let (dout, out) = (gather(dout, task, 0, 1, shape), gather(out, task, 0, 1, shape));
            grads.fill(R::ZERO);
            let (dq, dkv) = grads.split_at_mut(seq_len * head_size);
            let (dk, dv) = dkv.split_at_mut(seq_len * head_size);
            let mut probabilities = vec![R::ZERO; QUERIES.min(seq_len) * seq_len];
            let mut dscores = probabilities.clone();
            for start in (0..seq_len).step_by(QUERIES) {
                let end = (start + QUERIES).min(seq_len);
                let (rows, block, keys) = (end - start, start * head_size..end * head_size, ..end * head_size);
                let (p, ds) = (&mut probabilities[..rows * end], &mut dscores[..rows * end]);
                let matrix = |data| Matrix::new(data, rows, head_size);
                block_scores(p, &q, &k, start..end, shape);
                multiply(
                    ds,
                    matrix(&dout[block.clone()]),
                    Matrix::new(&v[keys], end, head_size).t(),
                    R::ONE,
                    Threads::One,
                );
                for row in 0..rows {
                    let (at, visible) = ((start + row) * head_size, start + row + 1);
                    let (p, ds) = (&mut p[row * end..(row + 1) * end], &mut ds[row * end..(row + 1) * end]);
                    let (dout, out) = (&dout[at..at + head_size], &out[at..at + head_size]);
                    simd(|| row_backward(p, ds, lse[start + row], dout, out, visible, shape.scale()));
                }
                let (p, ds) = (Matrix::new(p, rows, end), Matrix::new(ds, rows, end));
                multiply(&mut dq[block.clone()], ds, Matrix::new(&k[keys], end, head_size), R::ONE, Threads::One);
                multiply_add(&mut dk[keys], ds.t(), matrix(&q[block.clone()]), Threads::One);
                multiply_add(&mut dv[keys], p.t(), matrix(&dout[block]), Threads::One);
            }
        },
    );
    scatter(dqkv, by_head, 3, shape);
}

/// scores (rows, end) = q k' / sqrt(HS) for the queries of a block and all keys up to its end.
fn block_scores<R: Real>(scores: &mut [R], q: &[R], k: &[R], block: std::ops::Range<usize>, shape: AttentionShape) {
    let hs = shape.head_size;
    let queries = Matrix::new(&q[block.start * hs..block.end * hs], block.len(), hs);
    multiply(scores, queries, Matrix::new(&k[..block.end * hs], block.end, hs).t(), shape.scale(), Threads::One);
}

/// out (rows, HS) = probabilities (rows, end) v (end, HS). The zeros of masked keys change nothing.
fn weighted_values<R: Real>(out: &mut [R], probabilities: Matrix<R>, v: &[R], end: usize) {
    let hs = v.len() / end;
    for (i, v) in v.chunks(KEYS * hs).enumerate() {
        let keys = v.len() / hs;
        let (probabilities, v) = (probabilities.columns(i * KEYS, keys), Matrix::new(v, keys, hs));
        match i {
            0 => multiply(out, probabilities, v, R::ONE, Threads::One),
            _ => multiply_add(out, probabilities, v, Threads::One),
        }
    }
}

/// Turns a row of scores into probabilities over its first `visible` entries and zeros behind; returns the log-sum-exp.
#[inline(always)]
fn softmax<R: Real>(row: &mut [R], visible: usize) -> R {
    let (seen, masked) = row.split_at_mut(visible);
    masked.fill(R::ZERO);
    let top = max_by(visible, |i| seen[i]);
    seen.iter_mut().for_each(|score| *score = (*score - top).exp());
    let sum = sum_by(visible, |i| seen[i]);
    let factor = R::ONE / sum;
    seen.iter_mut().for_each(|p| *p = *p * factor);
    sum.ln() + top
}

/// p: scores -> probabilities; ds: dp -> scale p (dp - sum(dout out)), the softmax's gradient with sum(p dp) = sum(dout out).
#[inline(always)]
fn row_backward<R: Real>(p: &mut [R], ds: &mut [R], lse: R, dout: &[R], out: &[R], visible: usize, scale: R) {
    let hs = out.len();
    let inner = sum_by(hs, |i| dout[i] * out[i]);
    p[visible..].fill(R::ZERO);
    ds[visible..].fill(R::ZERO);
    for (p, ds) in p[..visible].iter_mut().zip(&mut ds[..visible]) {
        *p = (*p - lse).exp();
        *ds = *p * (*ds - inner) * scale;
    }
}

/// One head of one sequence as a matrix (T, HS): `part` of `parts` packed in rows of (B,T,parts,NH,HS); task = b * NH + h.
fn gather<R: Real>(packed: &[R], task: usize, part: usize, parts: usize, shape: AttentionShape) -> Vec<R> {
    let AttentionShape { seq_len, heads, head_size, .. } = shape;
    let (b, h) = (task / heads, task % heads);
    let width = parts * shape.channels();
    let offset = part * shape.channels() + h * head_size;
    let rows = packed[b * seq_len * width..(b + 1) * seq_len * width].chunks_exact(width);
    let mut head = Vec::with_capacity(seq_len * head_size);
    rows.for_each(|row| head.extend_from_slice(&row[offset..offset + head_size]));
    head
}

/// packed (B,T,parts,NH,HS) = by_head (B,NH,parts,T,HS), permuted.
fn scatter<R: Real>(packed: &mut [R], by_head: &[R], parts: usize, shape: AttentionShape) {
    let AttentionShape { seq_len, heads, head_size, .. } = shape;
    let width = parts * shape.channels();
    let rows = per_piece(width);
    packed.par_chunks_mut(rows * width).enumerate().for_each(|(piece, packed)| {
        for (i, row) in packed.chunks_exact_mut(width).enumerate() {
            let (b, t) = ((piece * rows + i) / seq_len, (piece * rows + i) % seq_len);
            for (slot, out) in row.chunks_exact_mut(head_size).enumerate() {
                let (part, h) = (slot / heads, slot % heads);
                let at = (((b * heads + h) * parts + part) * seq_len + t) * head_size;
                out.copy_from_slice(&by_head[at..at + head_size]);
            }
        }
    });
}
