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

    /// Columns `start .. start + columns` of this matrix.
    pub fn columns(self, start: usize, columns: usize) -> Self {
        Matrix { data: &self.data[start * self.column_stride..], columns, ..self }
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

/// dst (m, n) = a (m, k) b (k, n), or += where it accumulates. A single row is faster than with `multiply`, but has other bits
/// than the same row among others.
pub fn multiply_in_any_order<R: Real>(dst: &mut [R], accumulate: bool, a: Matrix<R>, b: Matrix<R>) {
    match a.rows {
        1 => call(dst, accumulate, a, b, R::ONE, false),
        _ => product(dst, accumulate, a, b, R::ONE, Threads::All),
    }
}

/// Fewest rows of a piece: below this, packing the other operand anew for each piece costs more than a thread gives.
const PIECE_ROWS: usize = 96;
/// Most terms of a sum that the GEMM library never cuts.
const UNCUT_TERMS: usize = 512;
/// Up to so many columns the number of rows has a say in where the GEMM library cuts a longer sum.
const FEW_COLUMNS: usize = 64;

/// An element of the product has the same bits whatever the number of rows: it is one sum in the order of k, cut at places
/// that follow from k and the number of columns alone. Large products are divided into pieces of rows, one a thread.
fn product<R: Real>(dst: &mut [R], accumulate: bool, a: Matrix<R>, b: Matrix<R>, scale: R, threads: Threads) {
    assert_eq!(dst.len(), a.rows * b.columns);
    let pieces = match threads {
        Threads::One => 1,
        Threads::All => rayon::current_num_threads().min(a.rows / PIECE_ROWS),
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
    assert_eq!(a.columns, b.rows);
    let cuts = if b.columns <= FEW_COLUMNS { a.columns.div_ceil(UNCUT_TERMS) } else { 1 };
    let terms = a.columns.div_ceil(cuts.max(1)).max(1);
    for start in (0..a.columns).step_by(terms) {
        let terms = terms.min(a.columns - start);
        let (a, b) = (a.columns(start, terms), b.rows(start, terms));
        call(dst, accumulate || start > 0, a, b, scale, true);
    }
}

fn call<R: Real>(dst: &mut [R], accumulate: bool, a: Matrix<R>, b: Matrix<R>, scale: R, in_order: bool) {
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
    unsafe { R::gemm(shape, dst.as_mut_ptr(), accumulate, a, b, scale, in_order) }
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

    /// Values whose sums depend on the order of their terms.
    fn uneven(n: usize, step: usize) -> Vec<f32> {
        (0..n).map(|i| (i * step % 1009) as f32 / 1009.0 - 0.4).collect()
    }

    #[test]
    fn a_row_of_a_product_does_not_depend_on_the_number_of_rows() {
        const MOST: usize = 100;
        // One, few and many columns; sums of one term to more than the library adds without a break.
        for (n, k) in
            [(1, 40), (1, 700), (2, 1), (2, 2), (3, 24), (9, 900), (23, 2), (33, 576), (64, 513), (65, 1300), (144, 48)]
        {
            let (a, b) = (uneven(MOST * k, 379), uneven(k * n, 211));
            let b_t: Vec<f32> = (0..n * k).map(|i| b[i % k * n + i / k]).collect();
            for (orientation, b) in [("rows", Matrix::new(&b, k, n)), ("columns", Matrix::new(&b_t, n, k).t())] {
                let bits = |rows: usize| {
                    let mut dst = uneven(rows * n, 17);
                    multiply_add(&mut dst, Matrix::new(&a[..rows * k], rows, k), b, Threads::All);
                    dst.into_iter().map(f32::to_bits).collect::<Vec<_>>()
                };
                let all = bits(MOST);
                for rows in [1, 2, 3, 4, 5, 7, 16, 63, 64, 65] {
                    assert!(
                        all.starts_with(&bits(rows)),
                        "{rows} rows of {n}, {k} terms, second matrix by {orientation}"
                    );
                }
            }
        }
    }
}
