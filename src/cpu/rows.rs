//! Parallel loops over rows, cut by shape alone so that results do not depend on the number of threads.

use super::Real;
use rayon::prelude::*;

/// Elements a parallel piece should hold: large enough to pay for the hand-over, small enough to stay in cache.
const PIECE: usize = 1 << 14;

/// Rows of `width` elements that make up one parallel piece.
pub fn per_piece(width: usize) -> usize {
    (PIECE / width.max(1)).max(1)
}

/// Adds the sum over rows of x (n, c) to `sums` (c).
pub fn add_column_sums<R: Real>(sums: &mut [R], x: &[R]) {
    let c = sums.len();
    let rows = per_piece(c) * 4;
    let partials: Vec<Vec<R>> = x
        .par_chunks(rows * c)
        .map(|piece| {
            let mut partial = vec![R::ZERO; c];
            piece.chunks_exact(c).for_each(|row| add(&mut partial, row));
            partial
        })
        .collect();
    partials.iter().for_each(|partial| add(sums, partial));
}

/// y += x
pub fn add<R: Real>(y: &mut [R], x: &[R]) {
    assert_eq!(y.len(), x.len());
    y.iter_mut().zip(x).for_each(|(y, &x)| *y += x);
}
