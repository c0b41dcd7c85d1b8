//! Products of small dense matrices, on the threads of the run.

use std::ops::Range;

use rayon::prelude::*;

use super::simd::{LINE, with_columns};
use super::written::by_chunks;

/// A factor of a product: row-major values, taken transposed where flagged.
#[derive(Clone, Copy)]
pub(super) struct Factor<'a> {
    values: &'a [f32],
    transposed: bool,
}

/// The matrix as it is stored.
pub(super) fn plain(values: &[f32]) -> Factor<'_> {
    Factor { values, transposed: false }
}

/// Its transpose.
pub(super) fn transposed(values: &[f32]) -> Factor<'_> {
    Factor { values, transposed: true }
}

/// Rows and columns of the product that one task computes; fixed, so that threads change no bit.
const TILE: (usize, usize) = (256, 128);

/// `out = alpha a b`, or `out += alpha a b` where `add`; `out` [m, n] row-major, inner size k, on one thread.
pub(super) fn matmul(out: &mut [f32], a: Factor<'_>, b: Factor<'_>, (m, n, k): (usize, usize, usize), alpha: f32, add: bool) {
    assert_eq!(out.len(), m * n);
    // SAFETY: `out` is borrowed alone and holds m x n values.
    unsafe { tile(Out { first: out.as_mut_ptr(), stride: n }, a, b, (m, n, k), (0..m, 0..n), alpha, add) }
}

/// As [`matmul`], tile by tile on the threads of the current pool.
pub(super) fn matmul_parallel(
    out: &mut [f32],
    a: Factor<'_>,
    b: Factor<'_>,
    (m, n, k): (usize, usize, usize),
    alpha: f32,
    add: bool,
) {
    assert_eq!(out.len(), m * n);
    let turned = turned(b, (m, n, k));
    let b = turned.as_deref().map_or(b, plain);
    let out = Out { first: out.as_mut_ptr(), stride: n };
    tiles((m, n)).for_each(|within| {
        // SAFETY: `out` is borrowed alone and holds m x n values, and no two tiles have a place in common.
        unsafe { tile(out, a, b, (m, n, k), within, alpha, add) }
    });
}

/// `a b`, [m, n] row-major, inner size k, tile by tile on the threads of the current pool.
pub(super) fn matmul_new(a: Factor<'_>, b: Factor<'_>, (m, n, k): (usize, usize, usize)) -> Vec<f32> {
    let turned = turned(b, (m, n, k));
    let b = turned.as_deref().map_or(b, plain);
    let mut out: Vec<f32> = Vec::with_capacity(m * n);
    let place = Out { first: out.as_mut_ptr(), stride: n };
    tiles((m, n)).for_each(|within| {
        // SAFETY: there is room for m x n values, which are only written, and no two tiles have a place in common.
        unsafe { tile(place, a, b, (m, n, k), within, 1.0, false) }
    });
    // SAFETY: the tiles are all m x n places, and each was written.
    unsafe { out.set_len(m * n) };
    out
}

/// Rows and columns of all tiles of [m, n]; the rows in equal shares, because every tile copies its columns of `b` first.
fn tiles((m, n): (usize, usize)) -> impl ParallelIterator<Item = (Range<usize>, Range<usize>)> {
    let (columns, rows) = (n.div_ceil(TILE.1), m.div_ceil(TILE.0));
    let height = m.div_ceil(rows.max(1));
    (0..rows * columns).into_par_iter().map(move |t| {
        let (row, column) = (t / columns * height, t % columns * TILE.1);
        (row.min(m)..m.min(row + height), column..n.min(column + TILE.1))
    })
}

/// Rows from which on a transposed `b` is worth a copy.
const TURNED_FROM: usize = 32;

/// `b` as it would be stored plain, [k, n], where it is not: tiles copy it column by column otherwise, each anew and from a line of the cache per
/// number.
fn turned(b: Factor<'_>, (m, n, k): (usize, usize, usize)) -> Option<Vec<f32>> {
    if !b.transposed || m < TURNED_FROM || n * k == 0 {
        return None;
    }
    let task = |c: usize, out: &mut [f32]| with_columns(out, b.values, k, c * LINE, |out, v| *out = v);
    Some(by_chunks(k * n, LINE * n, task).0)
}

/// Where the product goes.
#[derive(Clone, Copy)]
struct Out {
    first: *mut f32,
    stride: usize,
}

// SAFETY: tasks write to tiles that do not overlap.
unsafe impl Send for Out {}
// SAFETY: as above.
unsafe impl Sync for Out {}

/// # Safety
/// `out` must hold m x n values, and nobody else may use the places of `rows` and `columns` meanwhile.
#[allow(clippy::too_many_arguments)]
unsafe fn tile(
    out: Out,
    a: Factor<'_>,
    b: Factor<'_>,
    (m, n, k): (usize, usize, usize),
    (rows, columns): (Range<usize>, Range<usize>),
    alpha: f32,
    add: bool,
) {
    assert!(a.values.len() == m * k && b.values.len() == k * n && rows.end <= m && columns.end <= n);
    // Steps to the next column and row of a factor that is `down` x `across` when multiplied.
    let strides = |down: usize, across: usize, t: bool| if t { (down, 1) } else { (1, across) };
    let ((a_cs, a_rs), (b_cs, b_rs)) = (strides(m, k, a.transposed), strides(k, n, b.transposed));
    // SAFETY: all offsets stay inside the factors by the assertion, and inside `out` by the caller.
    unsafe {
        gemm::gemm(
            rows.len(),
            columns.len(),
            k,
            out.first.add(rows.start * out.stride + columns.start),
            1,
            out.stride as isize,
            add,
            a.values.as_ptr().add(rows.start * a_rs),
            a_cs as isize,
            a_rs as isize,
            b.values.as_ptr().add(columns.start * b_cs),
            b_cs as isize,
            b_rs as isize,
            1.0,
            alpha,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::Threads;

    fn values(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 37 + seed * 11) % 101) as f32 / 50.0 - 1.0).collect()
    }

    fn transpose(x: &[f32], rows: usize) -> Vec<f32> {
        let columns = x.len() / rows;
        (0..x.len()).map(|i| x[i % rows * columns + i / rows]).collect()
    }

    #[test]
    fn products_equal_the_plain_loop_for_all_shapes_transposes_and_threads() {
        for (m, n, k) in [(1, 1, 1), (3, 130, 7), (300, 140, 33), (257, 5, 64)] {
            let (a, b, start) = (values(m * k, 1), values(k * n, 2), values(m * n, 3));
            let (a_t, b_t) = (transpose(&a, m), transpose(&b, k));
            let cases = [(plain(&a), plain(&b)), (transposed(&a_t), plain(&b)), (plain(&a), transposed(&b_t))];
            for (add, (a_factor, b_factor)) in [false, true].into_iter().flat_map(|add| cases.map(|c| (add, c))) {
                let run = |n_threads| {
                    let mut out = start.clone();
                    let shape = (m, n, k);
                    Threads::new(n_threads).unwrap().run(|| matmul_parallel(&mut out, a_factor, b_factor, shape, 0.5, add));
                    out
                };
                let out = run(1);
                assert_eq!(out, run(3));
                let new = matmul_new(a_factor, b_factor, (m, n, k));
                let mut one = start.clone();
                matmul(&mut one, a_factor, b_factor, (m, n, k), 0.5, add);
                for (at, ((found, one), new)) in out.iter().zip(one).zip(new).enumerate() {
                    let (i, j) = (at / n, at % n);
                    let product: f64 = (0..k).map(|l| f64::from(a[i * k + l]) * f64::from(b[l * n + j])).sum();
                    let expected = 0.5 * product + if add { f64::from(start[at]) } else { 0.0 };
                    assert!((f64::from(*found) - expected).abs() < 1e-4, "{m} x {n} x {k}: {found} and {expected}");
                    assert!((found - one).abs() < 1e-4);
                    assert!((f64::from(new) - product).abs() < 1e-4);
                }
            }
        }
    }
}
