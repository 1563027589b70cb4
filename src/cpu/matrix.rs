//! Matrix products over strided views.

use super::Real;
use rayon::prelude::*;

/// A matrix that is read: element (i, j) is `data[i * row_stride + j * column_stride]`.
#[derive(Clone, Copy)]
pub struct Matrix<'a, R> {
    data: &'a [R],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, R: Real> Matrix<'a, R> {
    /// `data` is (rows, columns), row-major.
    pub fn new(data: &'a [R], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns);
        Matrix { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// Rows `start .. start + rows` of this matrix.
    fn rows(self, start: usize, rows: usize) -> Self {
        Matrix { data: &self.data[start * self.row_stride..], rows, ..self }
    }

    /// The transposed view.
    pub fn t(self) -> Self {
        Matrix {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// How many threads a product may use: `All` for one large product, `One` inside work that is parallel already.
#[derive(Clone, Copy, PartialEq)]
pub enum Threads {
    All,
    One,
}

/// dst (m, n) = scale * a (m, k) b (k, n).
pub fn multiply<R: Real>(dst: &mut [R], a: Matrix<R>, b: Matrix<R>, scale: R, threads: Threads) {
    product(dst, false, a, b, scale, threads)
}

/// dst (m, n) += a (m, k) b (k, n).
pub fn multiply_add<R: Real>(dst: &mut [R], a: Matrix<R>, b: Matrix<R>, threads: Threads) {
    product(dst, true, a, b, R::ONE, threads)
}

/// Fewest rows of a piece: below this, packing the other operand anew for each piece costs more than a thread gives.
const PIECE_ROWS: usize = 96;
/// Columns of a piece are a multiple of this, the width of the widest kernel, so that no piece has a ragged edge of its own.
const PIECE_COLUMNS: usize = 64;

/// Large products are cut into pieces, one a thread: of rows, or of columns where rows are few (decoding). The sum over k
/// is never cut, so the number of pieces does not change a bit of the result. (The GEMM library's own threading was slower
/// on two threads, and leaves a single row to one.)
fn product<R: Real>(dst: &mut [R], accumulate: bool, a: Matrix<R>, b: Matrix<R>, scale: R, threads: Threads) {
    assert_eq!(dst.len(), a.rows * b.columns);
    let most = if threads == Threads::All { rayon::current_num_threads() } else { 1 };
    let row_pieces = most.min(a.rows / PIECE_ROWS);
    if row_pieces > 1 {
        let rows = a.rows.div_ceil(row_pieces);
        return dst.par_chunks_mut(rows * b.columns).enumerate().for_each(|(i, dst)| {
            piece(dst, accumulate, a.rows(i * rows, dst.len() / b.columns), b, scale);
        });
    }
    let columns = b.columns.div_ceil(most).next_multiple_of(PIECE_COLUMNS);
    if columns >= b.columns || accumulate {
        return piece(dst, accumulate, a, b, scale);
    }
    let parts: Vec<Vec<R>> = (0..b.columns.div_ceil(columns))
        .into_par_iter()
        .map(|i| {
            let b = b.t().rows(i * columns, columns.min(b.columns - i * columns)).t();
            let mut part = vec![R::ZERO; a.rows * b.columns];
            piece(&mut part, false, a, b, scale);
            part
        })
        .collect();
    for (row, dst) in dst.chunks_exact_mut(b.columns).enumerate() {
        for (dst, part) in dst.chunks_mut(columns).zip(&parts) {
            let width = dst.len();
            dst.copy_from_slice(&part[row * width..][..width]);
        }
    }
}

fn piece<R: Real>(dst: &mut [R], accumulate: bool, a: Matrix<R>, b: Matrix<R>, scale: R) {
    let shape = [a.rows, b.columns, a.columns];
    assert_eq!(a.columns, b.rows);
    assert_eq!(dst.len(), a.rows * b.columns);
    if shape.contains(&0) {
        return;
    }
    for matrix in [a, b] {
        let last = (matrix.rows - 1) * matrix.row_stride + (matrix.columns - 1) * matrix.column_stride;
        assert!(last < matrix.data.len());
    }
    let (a, b) = ((a.data.as_ptr(), a.row_stride, a.column_stride), (b.data.as_ptr(), b.row_stride, b.column_stride));
    // SAFETY: the last index of each operand lies in its slice, so all do; `dst` has the size of the product and, as a
    // mutable slice, overlaps nothing that is read.
    unsafe { R::gemm(shape, dst.as_mut_ptr(), accumulate, a, b, scale) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_scalars_agree_in_every_orientation() {
        let (m, n, k) = (5, 19, 33);
        let a: Vec<f64> = (0..m * k).map(|i| ((i * 37 % 101) as f64 - 50.0) / 64.0).collect();
        let b: Vec<f64> = (0..k * n).map(|i| ((i * 53 % 97) as f64 - 48.0) / 64.0).collect();
        let narrow = |values: &[f64]| values.iter().map(|&x| x as f32).collect::<Vec<_>>();
        let transposed = |values: &[f64], rows: usize, columns: usize| {
            (0..columns * rows).map(|i| values[i % rows * columns + i / rows]).collect::<Vec<_>>()
        };
        let mut truth = vec![0.25; m * n];
        multiply_add(&mut truth, Matrix::new(&a, m, k), Matrix::new(&b, k, n), Threads::One);
        let mut by_hand = 0.25;
        for p in 0..k {
            by_hand += a[2 * k + p] * b[p * n + 7];
        }
        assert!((truth[2 * n + 7] - by_hand).abs() < 1e-12);
        // The inputs are multiples of 1/64 and small: f32 sums of their products are exact.
        let (a_t, b_t) = (narrow(&transposed(&a, m, k)), narrow(&transposed(&b, k, n)));
        let (a, b) = (narrow(&a), narrow(&b));
        for a in [Matrix::new(&a, m, k), Matrix::new(&a_t, k, m).t()] {
            for b in [Matrix::new(&b, k, n), Matrix::new(&b_t, n, k).t()] {
                let mut dst = vec![0.25f32; m * n];
                multiply_add(&mut dst, a, b, Threads::All);
                assert!(dst.iter().zip(&truth).all(|(&x, &y)| x as f64 == y));
            }
        }
    }
}
