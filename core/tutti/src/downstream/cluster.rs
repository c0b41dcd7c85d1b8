//! Clusters of cells.

use ndarray::{Array2, ArrayView2, Axis};

use crate::error::{Error, Result};
use crate::neighbors::lloyd;
use crate::rng::{Rng, Stream};

/// Settings of [`k_means`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KMeansConfig {
    /// Clusters, at least 1.
    pub n_clusters: usize,
    /// Starts, of which the tightest result is kept. Default 10.
    pub n_init: usize,
    /// Rounds at most per start. Default 300.
    pub max_iter: usize,
    /// Names the starting cells.
    pub seed: u64,
}

impl Default for KMeansConfig {
    fn default() -> Self {
        Self { n_clusters: 8, n_init: 10, max_iter: 300, seed: 0 }
    }
}

/// Clusters around centroids.
#[derive(Debug, Clone, PartialEq)]
pub struct KMeans {
    /// Cluster of each cell.
    pub labels: Vec<u32>,
    /// Means of the clusters, [n_clusters, d].
    pub centroids: Array2<f32>,
    /// Sum of squared distances to the own centroid.
    pub inertia: f64,
}

/// k-means (Lloyd 1982) from k-means++ starts (Arthur and Vassilvitskii 2007). x: [n_cells, d]. The same for any number of threads.
///
/// # Errors
/// [`Error::Argument`] for no clusters or more than cells; values that are not finite.
pub fn k_means(x: ArrayView2<'_, f32>, config: &KMeansConfig) -> Result<KMeans> {
    if config.n_clusters == 0 || config.n_clusters > x.nrows() {
        let problem = format!("must be between 1 and the number of cells, {} (got {})", x.nrows(), config.n_clusters);
        return Err(Error::argument("n_clusters", problem, "give the number of cell types expected"));
    }
    if let Some(i) = x.rows().into_iter().position(|row| row.iter().any(|v| !v.is_finite())) {
        return Err(Error::data(format!("row {} is not finite", i + 1), "leave the cell out or train again"));
    }
    let rng = Rng::new(config.seed);
    let mut best: Option<KMeans> = None;
    for start in 0..config.n_init.max(1) {
        let centroids = plus_plus(x, config.n_clusters, &mut rng.stream("k-means++", 0, start as u64));
        let found = lloyd(x, centroids, config.max_iter);
        let inertia = found.distances.iter().map(|d| f64::from(*d).powi(2)).sum();
        let found = KMeans { labels: found.labels, centroids: found.centroids, inertia };
        if best.as_ref().is_none_or(|b| found.inertia < b.inertia) {
            best = Some(found);
        }
    }
    best.ok_or_else(|| Error::data("no start was made", "report this"))
}

/// Starting centroids: each next one is a cell drawn in proportion to its squared distance from the nearest so far.
fn plus_plus(x: ArrayView2<'_, f32>, k: usize, stream: &mut Stream) -> Array2<f32> {
    let mut chosen = vec![stream.below(x.nrows())];
    let mut nearest = vec![f64::INFINITY; x.nrows()];
    while chosen.len() < k {
        let last = x.row(chosen[chosen.len() - 1]);
        for (row, nearest) in x.rows().into_iter().zip(&mut nearest) {
            let distance = row.iter().zip(last).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            *nearest = nearest.min(distance);
        }
        let mut left = stream.uniform() * nearest.iter().sum::<f64>();
        let drawn = nearest.iter().position(|d| {
            left -= d;
            left < 0.0
        });
        // All cells lie on centroids: any will do.
        chosen.push(drawn.unwrap_or_else(|| stream.below(x.nrows())));
    }
    x.select(Axis(0), &chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::Threads;

    #[test]
    fn planted_clusters_are_found_with_any_number_of_threads() {
        let mut stream = Rng::new(3).stream("points", 0, 0);
        let x = Array2::from_shape_fn((300, 4), |(i, j)| 8.0 * f32::from(u8::from(i % 3 == j)) + stream.normal() as f32);
        let config = KMeansConfig { n_clusters: 3, ..Default::default() };
        let run = |n| Threads::new(n).unwrap().run(|| k_means(x.view(), &config).unwrap());
        let found = run(1);
        assert_eq!(found, run(2));
        assert!((0..300).all(|i| found.labels[i] == found.labels[i % 3]));
        let own = |i: usize| {
            x.row(i).iter().zip(found.centroids.row(found.labels[i] as usize)).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
        };
        assert!(((0..300).map(own).sum::<f64>() / found.inertia - 1.0).abs() < 1e-4);
        assert!(k_means(x.view(), &KMeansConfig { n_clusters: 301, ..config }).is_err());
    }
}
