//! Which genes hold the cells of a lineage together.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use super::integrated_gradients::{BLOCK, GradientConfig, Target, integrated_gradients};
use crate::data::{CellSource, Csr, Lineages};
use crate::error::{Error, Result};
use crate::model::Network;
use crate::ops::sparse_batch::SparseBatch;
use crate::rng::Rng;

/// Settings of [`lineage_genes`]; the defaults are LCL's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineageGenesConfig {
    /// Fewest cells of a lineage. Default 10.
    pub min_cells: usize,
    /// Lineages at most, the largest first. Default 50.
    pub max_lineages: usize,
    /// Cells of a lineage at most, at random. Default 200.
    pub max_cells: usize,
    /// Of the integration. Default zero baseline, 100 steps.
    pub gradients: GradientConfig,
    /// Names the draws of cells.
    pub seed: u64,
}

impl Default for LineageGenesConfig {
    fn default() -> Self {
        let gradients = GradientConfig { n_steps: 100, ..Default::default() };
        Self { min_cells: 10, max_lineages: 50, max_cells: 200, gradients, seed: 0 }
    }
}

/// How much the place of a lineage in the embedding rests on each gene.
#[derive(Debug, Clone, PartialEq)]
pub struct LineageGenes {
    /// Lineages that were looked at, the largest first.
    pub lineages: Vec<String>,
    /// Mean absolute attribution of the cosine with the lineage's centroid, [n_lineages, n_genes].
    pub importance: Array2<f32>,
    /// The mean of it over lineages, \[n_genes\].
    pub global: Array1<f32>,
    /// Mean completeness error of each lineage's cells.
    pub completeness_error: Vec<f32>,
}

impl LineageGenes {
    /// The `n` genes of the largest importance over all lineages.
    pub fn top(&self, n: usize) -> Vec<(usize, f32)> {
        largest(self.global.view(), n)
    }

    /// The `n` genes of the largest importance for lineage number `i`.
    pub fn top_of(&self, i: usize, n: usize) -> Vec<(usize, f32)> {
        largest(self.importance.row(i), n)
    }
}

fn largest(values: ndarray::ArrayView1<'_, f32>, n: usize) -> Vec<(usize, f32)> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    order.into_iter().take(n).map(|gene| (gene, values[gene])).collect()
}

/// Genes by which cells lie near the others of their lineage (LCL, section 3.3): integrated gradients of the cosine with the centroid, the
/// mean of the lineage's latent coordinates; their absolute values averaged over its cells, then over lineages.
///
/// # Errors
/// [`Error::Data`] where no lineage is large enough; as [`integrated_gradients`].
pub fn lineage_genes(
    network: &dyn Network,
    source: &dyn CellSource,
    lineages: &Lineages,
    config: &LineageGenesConfig,
) -> Result<LineageGenes> {
    let mut groups: Vec<(usize, Vec<usize>)> = lineages.members().into_iter().enumerate().collect();
    groups.retain(|(_, members)| members.len() >= config.min_cells.max(1));
    if groups.is_empty() {
        let problem = format!("no lineage has {} cells", config.min_cells);
        return Err(Error::data(problem, "lower `min_cells`"));
    }
    groups.sort_by_key(|(_, members)| std::cmp::Reverse(members.len()));
    groups.truncate(config.max_lineages);
    let n_genes = network.genes().len();
    let mut out = LineageGenes {
        lineages: groups.iter().map(|(l, _)| lineages.names()[*l].clone()).collect(),
        importance: Array2::zeros((groups.len(), n_genes)),
        global: Array1::zeros(n_genes),
        completeness_error: Vec::new(),
    };
    let rng = Rng::new(config.seed);
    for (k, (lineage, members)) in groups.iter().enumerate() {
        let target = Target::Cosine(centroid(network, source, members)?);
        let cells = rng.stream("cells to attribute", 0, *lineage as u64).choose(members, config.max_cells);
        let found = integrated_gradients(network, source, &cells, &target, &config.gradients)?;
        out.importance.row_mut(k).assign(&found.mean_absolute());
        out.completeness_error.push(found.completeness_error.iter().sum::<f32>() / cells.len() as f32);
    }
    out.global = out.importance.mean_axis(ndarray::Axis(0)).unwrap_or(out.global);
    Ok(out)
}

/// Mean latent coordinates of some cells.
///
/// # Errors
/// What the source fails at.
pub fn centroid(network: &dyn Network, source: &dyn CellSource, rows: &[usize]) -> Result<Vec<f32>> {
    let mut sum: Option<Tensor> = None;
    let mut x = Csr::empty(source.n_genes());
    for block in rows.chunks(BLOCK) {
        source.read_rows(block, &mut x)?;
        let batch = Arc::new(SparseBatch::without_gradient(std::mem::take(&mut x)));
        let part = network.latent(&network.first_layer(&batch)?)?.sum(0)?.detach();
        sum = Some(match sum {
            Some(sum) => (sum + part)?,
            None => part,
        });
    }
    let Some(sum) = sum else { return Err(Error::data("a centroid of no cells was asked for", "give cells")) };
    Ok(sum.affine(1.0 / rows.len() as f64, 0.0)?.to_device(&Device::Cpu)?.to_vec1()?)
}
