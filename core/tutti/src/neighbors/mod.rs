//! k nearest neighbours, one interface over exact, tree and approximate search.

mod diffusion;
mod exact;
mod graph;
mod ivf;
mod lanczos;
mod lloyd;
mod tree;

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

pub(crate) use diffusion::diffusion_map;
pub(crate) use exact::products;
pub use graph::Graph;
pub(crate) use lloyd::{Centroids, Lloyd};
pub use tree::within_radius;

use crate::error::{Error, Result};

/// Distance between cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Length of the difference.
    #[default]
    Euclidean,
    /// 1 - cosine of the angle.
    Cosine,
}

/// How neighbours are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// Trees up to 3 dimensions, blocked products up to 100,000 cells, approximate above; all but the last are exact.
    #[default]
    Auto,
    /// Blocked matrix products with partial selection.
    Exact,
    /// A ball tree (petal-neighbors): wins in few dimensions.
    Tree,
    /// Groups by k-means, of which the nearest tenth are searched: finds at least 95 % of 30 neighbours in cells that form groups.
    Approximate,
}

/// Settings of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighborConfig {
    /// Neighbours per cell, at least 1. Default 15.
    pub n_neighbors: usize,
    /// Distance. Default Euclidean.
    pub metric: Metric,
    /// How neighbours are searched.
    pub method: Method,
    /// Names the draws of the approximate search.
    pub seed: u64,
}

impl Default for NeighborConfig {
    fn default() -> Self {
        Self { n_neighbors: 15, metric: Metric::Euclidean, method: Method::Auto, seed: 0 }
    }
}

/// Nearest neighbours of each query, by ascending distance, ties by index.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbors {
    k: usize,
    indices: Vec<u32>,
    distances: Vec<f32>,
}

impl Neighbors {
    /// Number of queries.
    pub fn n_queries(&self) -> usize {
        self.indices.len() / self.k.max(1)
    }

    /// Neighbours per query.
    pub fn k(&self) -> usize {
        self.k
    }

    /// The first `k` neighbours of every query; all of them where there are no more.
    pub fn first(&self, k: usize) -> Self {
        let k = k.min(self.k);
        let n = self.n_queries();
        let indices = (0..n).flat_map(|i| self.row(i).0[..k].iter().copied()).collect();
        let distances = (0..n).flat_map(|i| self.row(i).1[..k].iter().copied()).collect();
        Self { k, indices, distances }
    }

    /// Row numbers and distances of the neighbours of query `i`.
    pub fn row(&self, i: usize) -> (&[u32], &[f32]) {
        let range = i * self.k..(i + 1) * self.k;
        (&self.indices[range.clone()], &self.distances[range])
    }
}

/// Dimensions up to which a tree wins over products.
const TREE_DIMENSIONS: usize = 3;

/// Cells up to which the search is exact.
const EXACT_CELLS: usize = 100_000;

/// The `n_neighbors` nearest rows of `reference` [n, d] for each row of `query` [m, d].
///
/// Memory: n_neighbors * 8 bytes per query and 256 * n * 4 bytes per thread.
///
/// # Errors
/// [`Error::Argument`] for no neighbours or more than there are rows; [`Error::Data`] for unequal widths or values not finite.
pub fn nearest(reference: ArrayView2<'_, f32>, query: ArrayView2<'_, f32>, config: &NeighborConfig) -> Result<Neighbors> {
    if reference.ncols() != query.ncols() {
        let problem = format!("{} and {} dimensions", reference.ncols(), query.ncols());
        return Err(Error::data(problem, "compare embeddings of one model"));
    }
    let k = config.n_neighbors;
    if k == 0 || k > reference.nrows() {
        let problem = format!("must be between 1 and the number of cells, {} (got {k})", reference.nrows());
        return Err(Error::argument("n_neighbors", problem, "use 15 to 100"));
    }
    for x in [reference, query] {
        if let Some(i) = x.rows().into_iter().position(|row| row.iter().any(|v| !v.is_finite())) {
            let problem = format!("row {} of the embedding is not finite", i + 1);
            return Err(Error::data(problem, "train again with a lower learning rate"));
        }
    }
    let (reference, query) = (prepared(reference, config.metric), prepared(query, config.metric));
    let method = match config.method {
        Method::Auto if reference.ncols() <= TREE_DIMENSIONS => Method::Tree,
        Method::Auto if reference.nrows() > EXACT_CELLS => Method::Approximate,
        Method::Auto => Method::Exact,
        method => method,
    };
    let mut found = match method {
        Method::Tree => tree::search(reference.view(), query.view(), k)?,
        Method::Approximate => ivf::search(reference.view(), query.view(), k, config.seed),
        _ => exact::search(reference.view(), query.view(), k),
    };
    if config.metric == Metric::Cosine {
        // For unit rows, half the squared distance is 1 - cosine.
        found.distances.iter_mut().for_each(|d| *d = 0.5 * *d * *d);
    }
    Ok(found)
}

/// As [`nearest`], of a set in itself: each row finds itself first, unless others lie on it.
///
/// # Errors
/// As [`nearest`].
pub fn nearest_self(x: ArrayView2<'_, f32>, config: &NeighborConfig) -> Result<Neighbors> {
    nearest(x, x, config)
}

/// Rows in standard layout; of length 1 for the cosine (a row of zeros stays).
fn prepared(x: ArrayView2<'_, f32>, metric: Metric) -> Array2<f32> {
    let mut x = x.as_standard_layout().into_owned();
    if metric == Metric::Cosine {
        for mut row in x.rows_mut() {
            let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            if length > 0.0 {
                row.mapv_inplace(|v| (f64::from(v) / length) as f32);
            }
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn random(n: usize, d: usize, seed: u64) -> Array2<f32> {
        let mut stream = Rng::new(seed).stream("points", 0, 0);
        Array2::from_shape_fn((n, d), |_| stream.normal() as f32)
    }

    fn by_loops(reference: &Array2<f32>, query: &Array2<f32>, k: usize, metric: Metric) -> Vec<Vec<(f64, u32)>> {
        let dot = |a: ndarray::ArrayView1<'_, f32>, b: ndarray::ArrayView1<'_, f32>| {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
        };
        let distance = |a: ndarray::ArrayView1<'_, f32>, b: ndarray::ArrayView1<'_, f32>| match metric {
            Metric::Euclidean => a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt(),
            Metric::Cosine => 1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(),
        };
        let row = |q: ndarray::ArrayView1<'_, f32>| {
            let mut all: Vec<(f64, u32)> =
                reference.rows().into_iter().enumerate().map(|(j, r)| (distance(q, r), j as u32)).collect();
            all.sort_by(|a, b| a.partial_cmp(b).unwrap());
            all.truncate(k);
            all
        };
        query.rows().into_iter().map(row).collect()
    }

    #[test]
    fn every_method_and_metric_equals_loops() {
        for (n, d) in [(300, 2), (700, 20)] {
            let (reference, query) = (random(n, d, 1), random(70, d, 2));
            for metric in [Metric::Euclidean, Metric::Cosine] {
                let expected = by_loops(&reference, &query, 9, metric);
                for method in [Method::Auto, Method::Exact, Method::Tree] {
                    let config = NeighborConfig { n_neighbors: 9, metric, method, ..Default::default() };
                    let found = nearest(reference.view(), query.view(), &config).unwrap();
                    assert_eq!((found.n_queries(), found.k()), (70, 9));
                    for (i, expected) in expected.iter().enumerate() {
                        let (indices, distances) = found.row(i);
                        for (k, (distance, index)) in expected.iter().enumerate() {
                            assert!((f64::from(distances[k]) - distance).abs() < 2e-5, "{metric:?} {method:?}");
                            assert_eq!(indices[k], *index, "{metric:?} {method:?} query {i}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn far_from_the_origin_near_points_are_still_told_apart() {
        // The expanded square loses all digits here; distances must be taken from the differences.
        let mut x = random(200, 10, 3);
        x.mapv_inplace(|v| v + 5000.0);
        let config = NeighborConfig { n_neighbors: 5, method: Method::Exact, ..Default::default() };
        let found = nearest_self(x.view(), &config).unwrap();
        for (i, expected) in by_loops(&x, &x, 5, Metric::Euclidean).iter().enumerate() {
            assert_eq!(found.row(i).0, expected.iter().map(|e| e.1).collect::<Vec<_>>());
        }
    }

    #[test]
    fn threads_change_no_bit_and_ties_go_by_index() {
        let x = random(600, 12, 4);
        let run =
            |n| crate::threads::Threads::new(n).unwrap().run(|| nearest_self(x.view(), &NeighborConfig::default()).unwrap());
        assert_eq!(run(1), run(2));
        let same = Array2::<f32>::ones((6, 5));
        let found = nearest_self(same.view(), &NeighborConfig { n_neighbors: 3, ..Default::default() }).unwrap();
        assert_eq!(found.row(4).0, [0, 1, 2]);
    }

    #[test]
    fn bad_requests_are_refused() {
        let x = random(5, 3, 5);
        let config = NeighborConfig { n_neighbors: 6, ..Default::default() };
        assert!(nearest_self(x.view(), &config).unwrap_err().to_string().contains("between 1 and the number of cells, 5"));
        let mut bad = x.clone();
        bad[[2, 1]] = f32::NAN;
        assert!(
            nearest_self(bad.view(), &NeighborConfig { n_neighbors: 2, ..config }).unwrap_err().to_string().contains("row 3")
        );
    }
}
