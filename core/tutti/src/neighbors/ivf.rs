//! Approximate search in an inverted file: cells are grouped by k-means, and a group is compared with the nearest groups only.
//!
//! All queries of a group probe the same groups, so that each comparison is one matrix product, as in the exact search.

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use super::{Neighbors, exact, lloyd::Lloyd};
use crate::rng::Rng;

/// Share of the groups that are probed; more finds more of the true neighbours.
const PROBED: f64 = 0.1;
/// Fewest groups that are probed.
const MIN_PROBED: usize = 8;
/// Lloyd iterations of k-means.
const ITERATIONS: usize = 8;
/// Cells per group that k-means learns from.
const TRAINING: usize = 64;

/// `reference` and `query` in standard layout, not empty; k at most the number of references.
pub(super) fn search(reference: ArrayView2<'_, f32>, query: ArrayView2<'_, f32>, k: usize, seed: u64) -> Neighbors {
    let n_groups = (reference.nrows() as f64).sqrt() as usize;
    let centroids = k_means(reference, n_groups.max(1), seed);
    let members = grouped(&nearest_centroid(&centroids, reference), centroids.nrows());
    let queries = grouped(&nearest_centroid(&centroids, query), centroids.nrows());
    let order = exact::search(centroids.view(), centroids.view(), centroids.nrows());
    let n_probed = ((PROBED * n_groups as f64) as usize).max(MIN_PROBED);
    let parts: Vec<Neighbors> = (0..centroids.nrows())
        .into_par_iter()
        .map(|group| {
            if queries[group].is_empty() {
                return Neighbors { k, indices: Vec::new(), distances: Vec::new() };
            }
            let candidates = probed(order.row(group).0, &members, n_probed, k);
            let rows: Vec<usize> = candidates.iter().map(|i| *i as usize).collect();
            let mine: Vec<usize> = queries[group].iter().map(|i| *i as usize).collect();
            let mut found = exact::search(reference.select(Axis(0), &rows).view(), query.select(Axis(0), &mine).view(), k);
            found.indices.iter_mut().for_each(|i| *i = candidates[*i as usize]);
            found
        })
        .collect();
    let (mut indices, mut distances) = (vec![0u32; query.nrows() * k], vec![0f32; query.nrows() * k]);
    for (group, part) in queries.iter().zip(parts) {
        for (j, q) in group.iter().enumerate() {
            let to = *q as usize * k..(*q as usize + 1) * k;
            indices[to.clone()].copy_from_slice(&part.indices[j * k..(j + 1) * k]);
            distances[to].copy_from_slice(&part.distances[j * k..(j + 1) * k]);
        }
    }
    Neighbors { k, indices, distances }
}

/// Cells of the nearest groups, ascending: at least `n` groups and `k` cells.
fn probed(order: &[u32], members: &[Vec<u32>], n: usize, k: usize) -> Vec<u32> {
    let mut out = Vec::new();
    for (rank, group) in order.iter().enumerate() {
        if rank >= n && out.len() >= k {
            break;
        }
        out.extend_from_slice(&members[*group as usize]);
    }
    out.sort_unstable();
    out
}

fn nearest_centroid(centroids: &Array2<f32>, x: ArrayView2<'_, f32>) -> Vec<u32> {
    exact::search(centroids.view(), x, 1).indices
}

/// Rows of each group, ascending.
fn grouped(assignment: &[u32], n_groups: usize) -> Vec<Vec<u32>> {
    let mut out = vec![Vec::new(); n_groups];
    assignment.iter().enumerate().for_each(|(i, group)| out[*group as usize].push(i as u32));
    out
}

fn k_means(x: ArrayView2<'_, f32>, n_groups: usize, seed: u64) -> Array2<f32> {
    let mut stream = Rng::new(seed).stream("k-means", 0, 0);
    let all: Vec<usize> = (0..x.nrows()).collect();
    let sample = x.select(Axis(0), &stream.choose(&all, TRAINING * n_groups));
    let start: Vec<usize> = (0..n_groups).collect();
    Lloyd::new(sample.view()).run(&start, ITERATIONS, 0.0).means
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::Threads;

    /// Cells around 40 centres.
    fn clustered(n: usize, d: usize) -> Array2<f32> {
        let mut stream = Rng::new(6).stream("clusters", 0, 0);
        let centres = Array2::from_shape_fn((40, d), |_| 3.0 * stream.normal() as f32);
        let mut x = Array2::from_shape_fn((n, d), |_| stream.normal() as f32);
        x.rows_mut().into_iter().enumerate().for_each(|(i, mut row)| row += &centres.row(i % 40));
        x
    }

    #[test]
    fn finds_almost_all_true_neighbours_and_the_same_with_any_threads() {
        let x = clustered(6000, 20);
        let exact = exact::search(x.view(), x.view(), 30);
        let run = |n| Threads::new(n).unwrap().run(|| search(x.view(), x.view(), 30, 1));
        let found = run(2);
        assert_eq!(found, run(1));
        let shared = |i: usize| found.row(i).0.iter().filter(|j| exact.row(i).0.contains(j)).count();
        let recall = (0..6000).map(shared).sum::<usize>() as f64 / (6000.0 * 30.0);
        assert!(recall > 0.95, "recall {recall}");
        // Distances are true ones, ascending.
        let (indices, distances) = found.row(17);
        assert!(distances.windows(2).all(|w| w[0] <= w[1]));
        let difference = &x.row(17) - &x.row(indices[5] as usize);
        assert!((difference.dot(&difference).sqrt() - distances[5]).abs() < 1e-4);
    }
}
