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
/// Most pieces. The last one then has at least PIECE_ROWS - MOST_PIECES + 1 = 65 rows, which keeps it out of the GEMM
/// library's path for small products, where sums over k are cut elsewhere.
const MOST_PIECES: usize = 32;

/// Large products are cut into row pieces, one a thread. The sum over k is never cut, so the number of pieces does not
/// change a bit of the result.
fn product<R: Real>(dst: &mut [R], accumulate: bool, a: Matrix<R>, b: Matrix<R>, scale: R, threads: Threads) {
    assert_eq!(dst.len(), a.rows * b.columns);
    let pieces = match threads {
        Threads::One => 1,
        Threads::All => rayon::current_num_threads().min(a.rows / PIECE_ROWS).min(MOST_PIECES),
    };
    if pieces <= 1 {
        return piece(dst, accumulate, a, b, scale);
    }
    let rows = a.rows.div_ceil(pieces);
    dst.par_chunks_mut(rows * b.columns).enumerate().for_each(|(i, dst)| {
        piece(dst, accumulate, a.rows(i * rows, dst.len() / b.columns), b, scale);
    });
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

    /// Multiples of 1/64 and small, so that f32 sums of a few hundred products are exact in any order.
    fn values(n: usize, step: usize) -> Vec<f64> {
        (0..n).map(|i| ((i * step % 101) as f64 - 50.0) / 64.0).collect()
    }

    fn transposed(values: &[f64], rows: usize, columns: usize) -> Vec<f64> {
        (0..columns * rows).map(|i| values[i % rows * columns + i / rows]).collect()
    }

    #[test]
    fn both_scalars_agree_in_every_orientation_and_cut() {
        let narrow = |values: &[f64]| values.iter().map(|&x| x as f32).collect::<Vec<_>>();
        // The second shape is cut into row pieces where there are threads; 331 is no multiple of anything.
        for (m, n, k) in [(5, 19, 33), (331, 23, 40)] {
            let (a, b) = (values(m * k, 37), values(k * n, 53));
            let mut truth = vec![0.25; m * n];
            multiply_add(&mut truth, Matrix::new(&a, m, k), Matrix::new(&b, k, n), Threads::One);
            let by_hand: f64 = (0..k).map(|p| a[2 * k + p] * b[p * n + 7]).sum();
            assert_eq!(truth[2 * n + 7], 0.25 + by_hand);
            let (a_t, b_t) = (narrow(&transposed(&a, m, k)), narrow(&transposed(&b, k, n)));
            let (a, b) = (narrow(&a), narrow(&b));
            for a in [Matrix::new(&a, m, k), Matrix::new(&a_t, k, m).t()] {
                for b in [Matrix::new(&b, k, n), Matrix::new(&b_t, n, k).t()] {
                    let mut dst = vec![0.25f32; m * n];
                    multiply_add(&mut dst, a, b, Threads::All);
                    assert!(dst.iter().zip(&truth).all(|(&x, &y)| x as f64 == y));
                    multiply(&mut dst, a, b, 0.5, Threads::All);
                    assert!(dst.iter().zip(&truth).all(|(&x, &y)| x as f64 == 0.5 * (y - 0.25)));
                }
            }
        }
    }
}
