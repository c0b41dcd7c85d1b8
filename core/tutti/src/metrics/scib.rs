//! The suite of Luecken et al. 2022 (scIB): is the biology kept, are the batches gone?

use std::borrow::Cow;

use ndarray::{ArrayView2, Axis};

use super::{
    adjusted_rand_index, batch_silhouette, bras, check_cells, clisi, graph_connectivity, ilisi, isolated_labels, kbet,
    label_silhouette, normalized_mutual_information, pcr_comparison,
};
use crate::data::Categorical;
use crate::error::{Error, Result};
use crate::neighbors::{Metric, NeighborConfig, Neighbors, nearest_self};

/// Settings of [`scib`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScibConfig {
    /// Neighbours, the cell itself among them, for cLISI and iLISI. Default 90.
    pub n_neighbors: usize,
    /// Neighbours, the cell itself among them, for the graph connectivity. Default 15.
    pub n_neighbors_graph: usize,
    /// Neighbours, the cell itself among them, for kBET. Default 50.
    pub n_neighbors_kbet: usize,
    /// Distance. Default Euclidean, as in scIB; the cosine suits embeddings of contrastive systems.
    pub metric: Metric,
}

impl Default for ScibConfig {
    fn default() -> Self {
        Self { n_neighbors: 90, n_neighbors_graph: 15, n_neighbors_kbet: 50, metric: Metric::Euclidean }
    }
}

impl ScibConfig {
    /// Neighbours, the cell itself among them, that the scores of `n_cells` read.
    pub fn n_neighbors_at_most(&self, n_cells: usize) -> usize {
        self.n_neighbors.max(self.n_neighbors_graph).max(self.n_neighbors_kbet).min(n_cells)
    }
}

/// What is scored.
#[derive(Debug, Clone, Copy)]
pub struct ScibInput<'a> {
    /// The embedding, [n_cells, d].
    pub embedding: ArrayView2<'a, f32>,
    /// Nearest neighbours of the embedding by [`nearest_self`] and the metric of the settings, where they are known: at least
    /// [`ScibConfig::n_neighbors_at_most`]. Every cell must then have a label and a batch.
    pub neighbors: Option<&'a Neighbors>,
    /// Cell type of each cell; cells without one are left out.
    pub label: &'a Categorical,
    /// Batch of each cell; cells without one are left out.
    pub batch: &'a Categorical,
    /// k-means clusters of the embedding, as many as labels, one code per cell.
    pub clusters: Option<&'a [u32]>,
    /// Leiden clusters of the embedding at several resolutions, of which the one with the best NMI is scored; may be empty.
    pub leiden: &'a [Vec<u32>],
    /// The same cells before integration, [n_cells, any], for the comparison of explained variance.
    pub before: Option<ArrayView2<'a, f32>>,
}

/// Scores, each 0 to 1, more is better. `None` where the input cannot have the score.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct ScibScores {
    /// Isolated labels (silhouette).
    pub isolated_labels: Option<f64>,
    /// Normalised mutual information of k-means clusters and labels.
    pub nmi: Option<f64>,
    /// Adjusted Rand index of k-means clusters and labels.
    pub ari: Option<f64>,
    /// Normalised mutual information of Leiden clusters and labels, at the best resolution.
    pub nmi_leiden: Option<f64>,
    /// Adjusted Rand index of Leiden clusters and labels, at the resolution of `nmi_leiden`.
    pub ari_leiden: Option<f64>,
    /// Silhouette of the labels.
    pub label_silhouette: Option<f64>,
    /// cLISI.
    pub clisi: Option<f64>,
    /// Silhouette of the batches within labels.
    pub batch_silhouette: Option<f64>,
    /// Batch removal adapted silhouette.
    pub bras: Option<f64>,
    /// iLISI.
    pub ilisi: Option<f64>,
    /// kBET within labels.
    pub kbet: Option<f64>,
    /// Graph connectivity.
    pub graph_connectivity: Option<f64>,
    /// Less variance explained by the batch than before.
    pub pcr_comparison: Option<f64>,
}

impl ScibScores {
    /// Mean of the scores of kept biology that there are. As in scib-metrics, clusters count by k-means; those of Leiden stand beside.
    pub fn bio_conservation(&self) -> Option<f64> {
        mean([self.isolated_labels, self.nmi, self.ari, self.label_silhouette, self.clisi])
    }

    /// Mean of the scores of batch correction that there are. As in scib-metrics 0.5, BRAS counts; the batch silhouette stands beside.
    pub fn batch_correction(&self) -> Option<f64> {
        // Without batches, the connectivity of the labels says nothing of them.
        self.bras.or(self.ilisi)?;
        mean([self.bras, self.ilisi, self.kbet, self.graph_connectivity, self.pcr_comparison])
    }

    /// 0.6 times the biology plus 0.4 times the correction.
    pub fn total(&self) -> Option<f64> {
        Some(0.6 * self.bio_conservation()? + 0.4 * self.batch_correction()?)
    }
}

fn mean<const N: usize>(scores: [Option<f64>; N]) -> Option<f64> {
    let there: Vec<f64> = scores.into_iter().flatten().collect();
    (!there.is_empty()).then(|| there.iter().sum::<f64>() / there.len() as f64)
}

/// Scores an embedding. Parallel in the caller's pool; the same for any number of threads. Time n² d for the silhouettes.
///
/// # Errors
/// [`Error::Data`] for unequal numbers of cells, fewer than 3 cells with label and batch, or values that are not finite; [`Error::Argument`] for
/// neighbours of other cells or too few of them.
pub fn scib(input: &ScibInput<'_>, config: &ScibConfig) -> Result<ScibScores> {
    let n = input.embedding.nrows();
    let clusters = input.clusters.map_or(n, <[u32]>::len);
    let before = input.before.map_or(n, |b| b.nrows());
    let parts =
        [("labels", input.label.len()), ("batches", input.batch.len()), ("clusters", clusters), ("an embedding before", before)];
    check_cells(n, &parts)?;
    input.leiden.iter().try_for_each(|clusters| check_cells(n, &[("Leiden clusters", clusters.len())]))?;
    let cells: Vec<usize> = (0..n).filter(|i| input.label.codes()[*i].is_some() && input.batch.codes()[*i].is_some()).collect();
    if cells.len() < 3 {
        return Err(Error::data(format!("{} cells have a label and a batch", cells.len()), "choose other columns"));
    }
    let x = input.embedding.select(Axis(0), &cells);
    let codes = |column: &Categorical| cells.iter().filter_map(|i| column.codes()[*i]).collect::<Vec<u32>>();
    let (labels, batches) = (codes(input.label), codes(input.batch));
    let clusters: Option<Vec<u32>> = input.clusters.map(|c| cells.iter().map(|i| c[*i]).collect());
    let n_neighbors = config.n_neighbors_at_most(cells.len());
    let all = match input.neighbors {
        Some(known) => Cow::Borrowed(checked(known, n_neighbors, cells.len())?),
        None => Cow::Owned(nearest_self(x.view(), &NeighborConfig { n_neighbors, metric: config.metric, ..Default::default() })?),
    };
    let wide = all.first(config.n_neighbors);
    let leiden = best_by_nmi(input.leiden, &cells, &labels)?;
    let against = |f: fn(&[u32], &[u32]) -> Result<f64>| clusters.as_ref().map(|c| f(&labels, c)).transpose();
    let many = |codes: &[u32]| codes.iter().any(|c| *c != codes[0]);
    let of = |there: bool, f: &dyn Fn() -> Result<f64>| if there { f().map(Some) } else { Ok(None) };
    Ok(ScibScores {
        isolated_labels: of(many(&labels), &|| isolated_labels(x.view(), &labels, &batches, config.metric))?,
        nmi: against(normalized_mutual_information)?,
        ari: against(adjusted_rand_index)?,
        nmi_leiden: leiden.map(|(nmi, _)| nmi),
        ari_leiden: leiden.map(|(_, ari)| ari),
        label_silhouette: of(many(&labels), &|| label_silhouette(x.view(), &labels, config.metric))?,
        clisi: of(many(&labels), &|| clisi(&wide, &labels, None))?,
        // Labels that all lie in a single batch leave nothing to score.
        batch_silhouette: batch_silhouette(x.view(), &labels, &batches, config.metric).ok(),
        bras: bras(x.view(), &labels, &batches).ok(),
        ilisi: of(many(&batches), &|| ilisi(&wide, &batches, None))?,
        kbet: kbet(&all.first(config.n_neighbors_kbet), &batches, &labels)?,
        graph_connectivity: Some(graph_connectivity(&all.first(config.n_neighbors_graph), &labels)?),
        pcr_comparison: match input.before.filter(|_| many(&batches)) {
            Some(before) => Some(pcr_comparison(before.select(Axis(0), &cells).view(), x.view(), &batches)?),
            None => None,
        },
    })
}

/// Neighbours that someone else searched, if they will do.
fn checked(known: &Neighbors, n_neighbors: usize, n_cells: usize) -> Result<&Neighbors> {
    if known.n_queries() != n_cells {
        let problem = format!("are of {} cells, {n_cells} cells have a label and a batch", known.n_queries());
        return Err(Error::argument("neighbors", problem, "search among the cells that have both"));
    }
    if known.k() < n_neighbors {
        return Err(Error::argument("neighbors", format!("are {} per cell", known.k()), format!("give {n_neighbors}")));
    }
    Ok(known)
}

/// NMI and ARI with the labels of the clusters whose NMI is best.
fn best_by_nmi(clusters: &[Vec<u32>], cells: &[usize], labels: &[u32]) -> Result<Option<(f64, f64)>> {
    let mut best: Option<(f64, f64)> = None;
    for clusters in clusters {
        let clusters: Vec<u32> = cells.iter().map(|i| clusters[*i]).collect();
        let nmi = normalized_mutual_information(labels, &clusters)?;
        if best.is_none_or(|(b, _)| nmi > b) {
            best = Some((nmi, adjusted_rand_index(labels, &clusters)?));
        }
    }
    Ok(best)
}
