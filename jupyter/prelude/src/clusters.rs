//! Clusters of cells.

use tutti::data::Categorical;
use tutti::downstream::{CommunityConfig, KMeansConfig};
use tutti::threads::Threads;

use crate::builder::changed;
use crate::column::{Column, Values};
use crate::embedding::{Embedding, parse_metric};
use crate::error::Result;
use crate::kernel::stoppable;

/// Clusters by the Leiden algorithm on the graph of 15 neighbours, at resolution 1, as scanpy has them by default; 0 is the largest.
///
/// # Errors
/// Values that are not finite.
pub fn leiden(embedding: impl Into<Embedding>) -> Result<Column> {
    leiden_with(embedding).run()
}

/// As [`leiden()`], with options: `leiden_with(&z).resolution(0.5).run()?`.
pub fn leiden_with(embedding: impl Into<Embedding>) -> Leiden {
    Leiden { embedding: embedding.into(), config: CommunityConfig::default(), n_neighbors: 15, metric: None, threads: 0 }
}

/// How clusters are found; [`Leiden::run`] does it.
#[derive(Clone)]
pub struct Leiden {
    embedding: Embedding,
    config: CommunityConfig,
    n_neighbors: usize,
    metric: Option<String>,
    threads: usize,
}

impl Leiden {
    /// How fine the clusters are, above 0; larger gives more. Default 1.
    pub fn resolution(&self, resolution: f64) -> Leiden {
        changed(self, |run| run.config.resolution = resolution)
    }

    /// Neighbours per cell in the graph, the cell itself among them. Default 15.
    pub fn n_neighbors(&self, n: usize) -> Leiden {
        changed(self, |run| run.n_neighbors = n)
    }

    /// Distance: `"cosine"` or `"euclidean"`. Default: that of the embedding.
    pub fn metric(&self, name: &str) -> Leiden {
        changed(self, |run| run.metric = Some(name.to_owned()))
    }

    /// Names all random draws. Default 0.
    pub fn seed(&self, seed: u64) -> Leiden {
        changed(self, |run| run.config.seed = seed)
    }

    /// Threads; the result does not depend on them. Default: all processors.
    pub fn threads(&self, n: usize) -> Leiden {
        changed(self, |run| run.threads = n)
    }

    /// Finds the clusters.
    ///
    /// # Errors
    /// As [`leiden()`]; a setting outside its range.
    pub fn run(&self) -> Result<Column> {
        let metric = self.metric.as_deref().map_or(Ok(self.embedding.raw_metric()), parse_metric)?;
        let clusters = || -> tutti::Result<_> {
            let graph = self.embedding.graph(self.n_neighbors, metric, self.config.seed)?;
            tutti::downstream::leiden(&graph, &self.config)
        };
        let found = stoppable(|| Ok(Threads::new(self.threads)?.run(clusters)?))?;
        let note = format!("Leiden at resolution {}, modularity {:.3}", self.config.resolution, found.modularity);
        Ok(Column::new("leiden", Values::Category(numbered(&found.labels)), Some(note)))
    }
}

/// Clusters by k-means, the best of ten starts.
///
/// # Errors
/// No clusters, or more than cells.
pub fn k_means(embedding: impl Into<Embedding>, n_clusters: usize) -> Result<Column> {
    let embedding = embedding.into();
    let config = KMeansConfig { n_clusters, ..Default::default() };
    let x = embedding.array().view();
    let found = stoppable(|| Ok(Threads::new(0)?.run(|| tutti::downstream::k_means(x, &config))?))?;
    Ok(Column::new("k_means", Values::Category(numbered(&found.labels)), Some(format!("k-means, inertia {:.4}", found.inertia))))
}

fn numbered(labels: &[u32]) -> Categorical {
    Categorical::from_values(labels.iter().map(|label| Some(label.to_string())))
}
