//! How good an embedding is: every score that the data allow, for any embedding, ours or another tool's.

mod geometry;
mod scores;

use ndarray::{ArrayView2, Axis};

pub use geometry::GeometryScores;
pub use scores::{EmbeddingScores, Family, Score};

use crate::data::Categorical;
use crate::downstream::{CommunityConfig, KMeansConfig, k_means, leiden_at};
use crate::error::{Error, Result};
use crate::metrics::{ScibConfig, ScibInput, TopologyConfig, TopologyScore, persistence, scib, topology_score};
use crate::neighbors::{Graph, Metric, NeighborConfig, Neighbors, nearest_self};

/// What embeddings are scored by. All of the same cells, in the same order.
#[derive(Debug, Clone, Copy)]
pub struct BenchmarkInput<'a> {
    /// Cell type of each cell; cells without one are left out.
    pub label: &'a Categorical,
    /// Batch of each cell; cells without one are left out.
    pub batch: &'a Categorical,
    /// An embedding before integration, [n_cells, any], for the comparison of explained variance.
    pub before: Option<ArrayView2<'a, f32>>,
    /// What the cells truly are, [n_cells, any], such as expression without noise: gives the scores of geometry.
    pub truth: Option<ArrayView2<'a, f32>>,
    /// Betti numbers that the data truly have, reduced: components less one, loops, cavities. Five clusters are [4, 0, 0], a circle is
    /// [0, 1, 0]. Gives the scores of topology.
    pub betti: Option<[usize; 3]>,
}

/// Settings of [`benchmark`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BenchmarkConfig {
    /// Distance. Default Euclidean, as in scIB; the cosine suits embeddings of contrastive systems.
    pub metric: Metric,
    /// Cells at most for the scores that compare all pairs with the truth; of more, as many are drawn. Default 5,000.
    pub max_cells: usize,
    /// Cells at most for the scores of topology, whose time grows with more than their cube. Default 400.
    pub max_points: usize,
    /// Names all draws.
    pub seed: u64,
}

impl Default for BenchmarkConfig {
    fn default() -> Self {
        Self { metric: Metric::Euclidean, max_cells: 5000, max_points: 400, seed: 0 }
    }
}

/// Scores an embedding, [n_cells, d]. Parallel in the caller's pool; the same for any number of threads.
///
/// # Errors
/// [`Error::Data`] for unequal numbers of cells, fewer than 3 cells with label and batch, or values that are not finite.
pub fn benchmark(
    embedding: ArrayView2<'_, f32>,
    input: &BenchmarkInput<'_>,
    config: &BenchmarkConfig,
) -> Result<EmbeddingScores> {
    let n = embedding.nrows();
    if input.label.len() != n || input.batch.len() != n {
        let problem = format!("{n} cells in the embedding, {} labels and {} batches", input.label.len(), input.batch.len());
        return Err(Error::data(problem, "give all for the same cells"));
    }
    for (name, rows) in [("before", input.before), ("truth", input.truth)].map(|(name, x)| (name, x.map_or(n, |x| x.nrows()))) {
        if rows != n {
            return Err(Error::argument(
                name,
                format!("has {rows} cells for an embedding of {n}"),
                "give the same cells in the same order",
            ));
        }
    }
    let cells: Vec<usize> = (0..n).filter(|i| input.label.codes()[*i].is_some() && input.batch.codes()[*i].is_some()).collect();
    let x = embedding.select(Axis(0), &cells);
    let part = |column: &Categorical| column.select(&cells);
    let (label, batch) = (part(input.label), part(input.batch));
    let before = input.before.map(|b| b.select(Axis(0), &cells));
    let scib_config = ScibConfig { metric: config.metric, ..Default::default() };
    // The widest search serves all: its first neighbours are the graph of the communities.
    let n_neighbors = scib_config.n_neighbors_at_most(cells.len());
    let searched = NeighborConfig { n_neighbors, metric: config.metric, seed: config.seed, ..Default::default() };
    let neighbors = nearest_self(x.view(), &searched)?;
    let clusters = clusters(x.view(), label.drop_unused().n_levels(), config)?;
    let leiden = communities(&neighbors.first(GRAPH_NEIGHBORS), config)?;
    let scib_input = ScibInput {
        embedding: x.view(),
        neighbors: Some(&neighbors),
        label: &label,
        batch: &batch,
        clusters: Some(&clusters),
        leiden: &leiden,
        before: before.as_ref().map(|b| b.view()),
    };
    let scib = scib(&scib_input, &scib_config)?;
    let truth = input.truth.map(|t| t.select(Axis(0), &cells));
    let geometry = truth.map(|truth| geometry::compare(truth.view(), x.view(), config)).transpose()?;
    let topology = input.betti.map(|betti| topology(x.view(), &betti, config)).transpose()?;
    Ok(EmbeddingScores { scib, geometry, topology })
}

/// Lengths at which Betti numbers are counted, as in the CONCORD paper.
const BETTI_BINS: usize = 100;

fn topology(x: ArrayView2<'_, f32>, betti: &[usize], config: &BenchmarkConfig) -> Result<TopologyScore> {
    let topology =
        TopologyConfig { metric: config.metric, max_points: config.max_points, seed: config.seed, ..Default::default() };
    topology_score(&persistence(x, &topology)?, betti, BETTI_BINS)
}

/// Resolutions of which scIB takes the best: 0.2, 0.4, ... 2.
const RESOLUTIONS: usize = 10;

/// Neighbours of the graph of the Leiden clusters, the cell itself among them.
const GRAPH_NEIGHBORS: usize = 15;

/// Clusters by k-means, as many as labels.
fn clusters(x: ArrayView2<'_, f32>, n_labels: usize, config: &BenchmarkConfig) -> Result<Vec<u32>> {
    let n_clusters = n_labels.clamp(1, x.nrows().max(1));
    Ok(k_means(x, &KMeansConfig { n_clusters, seed: config.seed, ..Default::default() })?.labels)
}

/// Clusters by Leiden at each resolution.
fn communities(neighbors: &Neighbors, config: &BenchmarkConfig) -> Result<Vec<Vec<u32>>> {
    let resolutions: Vec<f64> = (1..=RESOLUTIONS).map(|r| 0.2 * r as f64).collect();
    let found = leiden_at(&Graph::fuzzy(neighbors), &resolutions, &CommunityConfig { seed: config.seed, ..Default::default() })?;
    Ok(found.into_iter().map(|c| c.labels).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_other_cells_are_refused_by_name() {
        let x = ndarray::Array2::<f32>::zeros((6, 2));
        let column = Categorical::from_values((0..6).map(|i| Some(if i % 2 == 0 { "a" } else { "b" })));
        let short = x.slice(ndarray::s![..4, ..]);
        let input = BenchmarkInput { label: &column, batch: &column, before: None, truth: None, betti: None };
        let refused =
            |input: BenchmarkInput<'_>| benchmark(x.view(), &input, &BenchmarkConfig::default()).unwrap_err().to_string();
        assert!(refused(BenchmarkInput { before: Some(short), ..input }).contains("before"));
        assert!(refused(BenchmarkInput { truth: Some(short), ..input }).contains("truth"));
        assert!(benchmark(short, &input, &BenchmarkConfig::default()).is_err());
    }
}
