//! The rounds of k-means, behind the approximate search and the clusters.

use ndarray::{Array2, ArrayView2};

use super::exact;

/// Centroids after some rounds, and the nearest of them for each row.
#[derive(Debug, Clone)]
pub(crate) struct Lloyd {
    pub centroids: Array2<f32>,
    /// Nearest centroid of each row, as of the last round.
    pub labels: Vec<u32>,
    /// Distance to it.
    pub distances: Vec<f32>,
}

/// Moves each centroid to the mean of its rows until none changes its centroid, `max_iter` times at most (Lloyd 1982). x: [n, d], finite.
pub(crate) fn lloyd(x: ArrayView2<'_, f32>, mut centroids: Array2<f32>, max_iter: usize) -> Lloyd {
    let mut before: Vec<u32> = Vec::new();
    let mut round = 0;
    loop {
        let found = exact::search(centroids.view(), x, 1);
        if found.indices == before || round == max_iter {
            return Lloyd { centroids, labels: found.indices, distances: found.distances };
        }
        let mut sums = Array2::<f64>::zeros(centroids.raw_dim());
        let mut sizes = vec![0f64; centroids.nrows()];
        for (row, label) in x.rows().into_iter().zip(&found.indices) {
            sums.row_mut(*label as usize).zip_mut_with(&row, |s, v| *s += f64::from(*v));
            sizes[*label as usize] += 1.0;
        }
        // One that lost all its rows keeps its place.
        for (k, size) in sizes.iter().enumerate().filter(|(_, n)| **n > 0.0) {
            centroids.row_mut(k).zip_mut_with(&sums.row(k), |c, s| *c = (s / size) as f32);
        }
        before = found.indices;
        round += 1;
    }
}
