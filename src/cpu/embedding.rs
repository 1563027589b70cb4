//! Token and position embeddings.

use super::Real;
use super::rows::per_piece;
use rayon::prelude::*;

/// `y[n] = token_table[tokens[n]] + position_table[n mod seq_len]`.  y: (n, c); tokens: (n); tables: (V, c), (context, c).
pub fn forward<R: Real>(
    y: &mut [R],
    tokens: &[u32],
    token_table: &[R],
    position_table: &[R],
    seq_len: usize,
    c: usize,
) {
    assert_eq!(y.len(), tokens.len() * c);
    let rows = per_piece(c);
    y.par_chunks_mut(rows * c).zip(tokens.par_chunks(rows)).enumerate().for_each(|(piece, (y, tokens))| {
        for (i, (y, &token)) in y.chunks_exact_mut(c).zip(tokens).enumerate() {
            let position = (piece * rows + i) % seq_len;
            row(y, &token_table[token as usize * c..][..c], &position_table[position * c..][..c]);
        }
    });
}

/// y (c) = a (c) + b (c)
pub fn row<R: Real>(y: &mut [R], a: &[R], b: &[R]) {
    y.iter_mut().zip(a).zip(b).for_each(|((y, &a), &b)| *y = a + b);
}

/// `dtoken_table[tokens[n]] += dy[n]`;  `dposition_table[n mod seq_len] += dy[n]`.
///
/// One thread a table, rows in order: the sums keep their order, and at a few megabytes this is far from being the bottleneck.
pub fn backward<R: Real>(
    dtoken_table: &mut [R],
    dposition_table: &mut [R],
    dy: &[R],
    tokens: &[u32],
    seq_len: usize,
    c: usize,
) {
    assert_eq!(dy.len(), tokens.len() * c);
    let token_table = || {
        for (dy, &token) in dy.chunks_exact(c).zip(tokens) {
            super::rows::add(&mut dtoken_table[token as usize * c..][..c], dy);
        }
    };
    let position_table = || {
        for (n, dy) in dy.chunks_exact(c).enumerate() {
            super::rows::add(&mut dposition_table[n % seq_len * c..][..c], dy);
        }
    };
    rayon::join(token_table, position_table);
}
