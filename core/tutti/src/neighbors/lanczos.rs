//! Eigenpairs of a large symmetric operator, of which only products with vectors are known.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use ndarray_linalg::{Eigh, UPLO};
use rayon::prelude::*;

use crate::error::Result;
use crate::observe::may_stop;
use crate::preprocess::product;
use crate::rng::{Rng, Stream};

/// Restarts at most; what has not settled by then is returned as it is.
const MAX_RESTARTS: usize = 100;

/// Residual of an eigenpair, over the largest eigenvalue, at which it has settled.
const TOLERANCE: f64 = 1e-9;

/// Length, over that before the projection, below which nothing of a vector is left.
const NOTHING: f64 = 1e-12;

/// Values that one task works on; fixed, so that threads change no bit.
const BLOCK: usize = 4096;

/// The `k` eigenvalues of largest size of a symmetric operator on vectors of length `n`, and their vectors, [n, k], orthonormal; by
/// descending size. Lanczos iteration with full orthogonalisation and thick restarts (Wu and Simon 2000). `apply(x, y)` writes the
/// product with x into y. An eigenvalue that is there several times may be found fewer times.
///
/// Memory: (2k + 21) * n * 8 bytes.
pub(super) fn largest(n: usize, k: usize, apply: impl Fn(&[f64], &mut [f64])) -> Result<(Array1<f64>, Array2<f64>)> {
    let k = k.min(n);
    let width = (2 * k + 20).min(n);
    let mut stream = Rng::new(0).stream("lanczos", 0, 0);
    let mut basis = Array2::<f64>::zeros((width + 1, n));
    let mut inner = Array2::<f64>::zeros((width, width));
    let mut start = vec![0.0; n];
    extend(&mut start, basis.slice(s![..0, ..]), &mut stream);
    basis.row_mut(0).assign(&Array1::from(start));
    let (mut kept, mut restarts) = (0, 0);
    loop {
        let last = expand(&mut basis, &mut inner, kept, &apply, &mut stream);
        let (values, vectors) = by_size(&inner)?;
        let scale = values.first().map_or(0.0, |v| v.abs());
        let settled = (0..k).all(|j| (last * vectors[[width - 1, j]]).abs() <= TOLERANCE * scale);
        if settled || restarts == MAX_RESTARTS {
            let found = product(basis.slice(s![..width, ..]).t(), vectors.slice(s![.., ..k]));
            return Ok((values.slice(s![..k]).to_owned(), found));
        }
        // Half of the directions that are not asked for stay: those nearest to being found.
        kept = k + (width - k) / 2;
        let ritz = product(vectors.slice(s![.., ..kept]).t(), basis.slice(s![..width, ..]));
        basis.slice_mut(s![..kept, ..]).assign(&ritz);
        let next = basis.row(width).to_owned();
        basis.row_mut(kept).assign(&next);
        inner.fill(0.0);
        inner.diag_mut().slice_mut(s![..kept]).assign(&values.slice(s![..kept]));
        restarts += 1;
    }
}

/// Grows the basis from `kept` rows to all, and the operator inside of it. Returns the length of what leads out of the basis.
fn expand(
    basis: &mut Array2<f64>,
    inner: &mut Array2<f64>,
    kept: usize,
    apply: &impl Fn(&[f64], &mut [f64]),
    stream: &mut Stream,
) -> f64 {
    let (width, n) = (inner.nrows(), basis.ncols());
    let mut image = vec![0.0; n];
    let mut last = 0.0;
    for j in kept..width {
        may_stop();
        if let Some(row) = basis.row(j).as_slice() {
            apply(row, &mut image);
        }
        let before = norm(&image);
        let rows = basis.slice(s![..=j, ..]);
        let along = project_out(&mut image, rows) + project_out(&mut image, rows);
        inner.slice_mut(s![..=j, j]).assign(&along);
        inner.slice_mut(s![j, ..=j]).assign(&along);
        last = norm(&image);
        if last > NOTHING * before.max(f64::MIN_POSITIVE) {
            image.iter_mut().for_each(|v| *v /= last);
        } else {
            // The basis holds all that the start can reach: go on from elsewhere.
            last = 0.0;
            extend(&mut image, rows, stream);
        }
        basis.row_mut(j + 1).assign(&ndarray::aview1(&image));
    }
    last
}

/// A random direction orthogonal to the rows; zeros where they span everything.
fn extend(out: &mut [f64], rows: ArrayView2<'_, f64>, stream: &mut Stream) {
    out.iter_mut().for_each(|v| *v = stream.normal());
    let before = norm(out);
    project_out(out, rows);
    project_out(out, rows);
    let length = norm(out);
    let factor = if length > 1e-8 * before { 1.0 / length } else { 0.0 };
    out.iter_mut().for_each(|v| *v *= factor);
}

/// Takes away from `x` what lies along the orthonormal rows, and returns how much.
fn project_out(x: &mut [f64], rows: ArrayView2<'_, f64>) -> Array1<f64> {
    let mut along = Array1::<f64>::zeros(rows.nrows());
    let vector: &[f64] = x;
    along.axis_chunks_iter_mut(Axis(0), 16).into_par_iter().zip(rows.axis_chunks_iter(Axis(0), 16)).for_each(
        |(mut along, rows)| {
            along.iter_mut().zip(rows.rows()).for_each(|(a, row)| *a = row.as_slice().map_or(0.0, |row| dot(row, vector)));
        },
    );
    x.par_chunks_mut(BLOCK).enumerate().for_each(|(block, x)| {
        for (row, along) in rows.rows().into_iter().zip(&along) {
            let row = row.slice_move(s![block * BLOCK..block * BLOCK + x.len()]);
            x.iter_mut().zip(row).for_each(|(x, r)| *x -= along * r);
        }
    });
    along
}

/// Eigenvalues and vectors of a dense symmetric matrix, by descending size.
pub(super) fn by_size(matrix: &Array2<f64>) -> Result<(Array1<f64>, Array2<f64>)> {
    let (values, vectors) = matrix.eigh(UPLO::Lower)?;
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].abs().total_cmp(&values[*a].abs()));
    Ok((values.select(Axis(0), &order), vectors.select(Axis(1), &order)))
}

fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

/// Eight running sums, so that the additions need not wait for one another.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        (0..8).for_each(|lane| sums[lane] += a[lane] * b[lane]);
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symmetric(n: usize) -> Array2<f64> {
        let mut stream = Rng::new(3).stream("matrix", 0, 0);
        let x = Array2::from_shape_fn((n, n), |_| stream.normal());
        &x + &x.t()
    }

    #[test]
    fn equals_the_dense_decomposition() {
        let x = symmetric(300);
        let (values, vectors) = largest(300, 12, |v, out| {
            let image = x.dot(&ndarray::aview1(v));
            out.copy_from_slice(image.as_slice().unwrap());
        })
        .unwrap();
        let (exact, _) = by_size(&x).unwrap();
        for (j, value) in values.iter().enumerate() {
            assert!((value - exact[j]).abs() < 1e-8 * exact[0].abs(), "{value} {}", exact[j]);
            let residual = x.dot(&vectors.column(j)) - *value * &vectors.column(j);
            assert!(residual.iter().all(|r| r.abs() < 1e-6));
        }
        let gram = vectors.t().dot(&vectors) - Array2::<f64>::eye(12);
        assert!(gram.iter().all(|v| v.abs() < 1e-9));
    }

    #[test]
    fn all_of_a_small_or_low_rank_operator() {
        let x = symmetric(5);
        let (values, _) = largest(5, 9, |v, out| out.copy_from_slice(x.dot(&ndarray::aview1(v)).as_slice().unwrap())).unwrap();
        let (exact, _) = by_size(&x).unwrap();
        assert!(values.iter().zip(&exact).all(|(a, b)| (a - b).abs() < 1e-9));
        // One direction only: the rest have the eigenvalue 0.
        let (values, vectors) = largest(60, 3, |v, out| out.fill(v.iter().sum::<f64>())).unwrap();
        assert!((values[0] - 60.0).abs() < 1e-9 && values[1].abs() < 1e-9 && values[2].abs() < 1e-9);
        assert!(vectors.column(0).iter().all(|v| (v.abs() - 60f64.sqrt().recip()).abs() < 1e-9));
    }
}
