//! Exact search by blocked matrix products.

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use super::Neighbors;
use crate::observe::may_stop;

/// Queries of one task; fixed, so that threads change no bit.
const QUERY_BLOCK: usize = 64;

/// Candidates beyond k that are measured again: the expanded square is not exact.
const SPARE: usize = 16;

/// `reference` and `query` in standard layout.
pub(super) fn search(reference: ArrayView2<'_, f32>, query: ArrayView2<'_, f32>, k: usize) -> Neighbors {
    // Centring on the mean keeps the expanded square |a|² - 2ab + |b|² from losing digits far from the origin.
    let mean = reference.mean_axis(Axis(0)).unwrap_or_default();
    let centred = |x: ArrayView2<'_, f32>| (&x - &mean).as_standard_layout().into_owned();
    let (reference, query) = (centred(reference), centred(query));
    let norms: Vec<f32> = reference.rows().into_iter().map(|r| r.dot(&r)).collect();
    let (mut indices, mut distances) = (vec![0u32; query.nrows() * k], vec![0f32; query.nrows() * k]);
    indices.par_chunks_mut(QUERY_BLOCK * k).zip(distances.par_chunks_mut(QUERY_BLOCK * k)).enumerate().for_each(
        |(b, (indices, distances))| {
            let first = b * QUERY_BLOCK;
            let n = indices.len() / k;
            let scores = products(reference.view(), query.slice(ndarray::s![first..first + n, ..]));
            for i in 0..n {
                let row = &scores[i * norms.len()..(i + 1) * norms.len()];
                let nearest = select(row, &norms, &reference, query.row(first + i), k);
                for (j, (distance, index)) in nearest.into_iter().enumerate() {
                    indices[i * k + j] = index;
                    distances[i * k + j] = distance;
                }
            }
        },
    );
    Neighbors { k, indices, distances }
}

/// Scalar products of all queries with all references, [n_query, n_reference]. Both in standard layout.
pub(crate) fn products(reference: ArrayView2<'_, f32>, query: ArrayView2<'_, f32>) -> Vec<f32> {
    may_stop();
    let (n_reference, d) = reference.dim();
    let n = query.nrows();
    let mut out = vec![0f32; n * n_reference];
    assert!(reference.is_standard_layout() && query.is_standard_layout() && query.ncols() == d);
    // SAFETY: `out` holds n x n_reference values; both arrays are in standard layout with d values per row.
    unsafe {
        gemm::gemm(
            n,
            n_reference,
            d,
            out.as_mut_ptr(),
            1,
            n_reference as isize,
            false,
            query.as_ptr(),
            1,
            d as isize,
            reference.as_ptr(),
            d as isize,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
    out
}

/// The k nearest by true distance among the candidates that the products suggest.
fn select(
    products: &[f32],
    norms: &[f32],
    reference: &Array2<f32>,
    query: ndarray::ArrayView1<'_, f32>,
    k: usize,
) -> Vec<(f32, u32)> {
    let mut candidates: Vec<(f32, u32)> =
        products.iter().zip(norms).enumerate().map(|(j, (p, n))| (n - 2.0 * p, j as u32)).collect();
    let order = |a: &(f32, u32), b: &(f32, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    let keep = (k + SPARE).min(candidates.len());
    if keep < candidates.len() {
        candidates.select_nth_unstable_by(keep - 1, order);
        candidates.truncate(keep);
    }
    for candidate in &mut candidates {
        let row = reference.row(candidate.1 as usize);
        candidate.0 = row.iter().zip(query).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt() as f32;
    }
    candidates.sort_unstable_by(order);
    candidates.truncate(k);
    candidates
}
