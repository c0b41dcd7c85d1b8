//! A few scores of one embedding at once.

use ndarray::ArrayView2;

use super::{batch_silhouette, knn_purity, label_silhouette, same_batch_ratio};
use crate::data::Categorical;
use crate::error::Result;
use crate::neighbors::{Metric, NeighborConfig, nearest_self};

/// Settings of [`score`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreConfig {
    /// Neighbours per cell. Default 30.
    pub n_neighbors: usize,
    /// Distance. Default Euclidean; use the cosine for CONCORD.
    pub metric: Metric,
}

impl Default for ScoreConfig {
    fn default() -> Self {
        Self { n_neighbors: 30, metric: Metric::Euclidean }
    }
}

/// Scores of one embedding; those of labels need labels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// Labels apart, 0 to 1.
    pub label_silhouette: Option<f64>,
    /// Batches mixed inside of labels, 0 to 1.
    pub batch_silhouette: Option<f64>,
    /// Neighbours of the same label, 0 to 1.
    pub knn_purity: Option<f64>,
    /// Neighbours of the same batch over the number expected; 1 is perfectly mixed.
    pub same_batch_ratio: f64,
}

/// Scores an embedding [n_cells, d]. Cells without a label or batch are left out.
///
/// # Errors
/// What the metrics refuse, e.g. a single label.
pub fn score(x: ArrayView2<'_, f32>, label: Option<&Categorical>, batch: &Categorical, config: &ScoreConfig) -> Result<Scores> {
    let known = |column: Option<&Categorical>, i: usize| column.is_none_or(|c| c.codes()[i].is_some());
    let cells: Vec<usize> = (0..x.nrows()).filter(|i| known(Some(batch), *i) && known(label, *i)).collect();
    let x = x.select(ndarray::Axis(0), &cells);
    let codes = |column: &Categorical| -> Vec<u32> { cells.iter().filter_map(|i| column.codes()[*i]).collect() };
    let (batches, labels) = (codes(batch), label.map(codes));
    let n_neighbors = (config.n_neighbors + 1).min(x.nrows());
    let neighbors = nearest_self(x.view(), &NeighborConfig { n_neighbors, metric: config.metric, ..Default::default() })?;
    let labels = labels.as_deref();
    Ok(Scores {
        label_silhouette: labels.map(|l| label_silhouette(x.view(), l, config.metric)).transpose()?,
        // No label in two batches is no error of the embedding: there is nothing to score.
        batch_silhouette: labels.and_then(|l| batch_silhouette(x.view(), l, &batches, config.metric).ok()),
        knn_purity: labels.map(|l| knn_purity(&neighbors, l)).transpose()?,
        same_batch_ratio: same_batch_ratio(&neighbors, &batches, labels)?,
    })
}
