//! Expected shares of the genes, and the counts drawn from them.

use super::SimulateConfig;
use super::batch_effect::BatchEffect;
use super::topology::Topology;
use crate::rng::{Rng, Stream};
use crate::simulate::draw::negative_binomial;

/// Spread of the genes' base level (log scale): few genes make most of the counts.
const GENE_SPREAD: f64 = 1.6;

/// Expected share of each gene, one profile per batch and type; each sums to 1.
pub(super) struct Profiles {
    n_genes: usize,
    n_types: usize,
    shares: Vec<f64>,
}

impl Profiles {
    pub(super) fn new(config: &SimulateConfig, topology: &Topology, effect: &BatchEffect, rng: &Rng) -> Self {
        let mut stream = rng.stream("gene_level", 0, 0);
        let base: Vec<f64> = (0..config.n_genes).map(|_| stream.normal() * GENE_SPREAD).collect();
        let mut shares = Vec::with_capacity(config.n_batches * config.n_types * config.n_genes);
        for batch in 0..config.n_batches {
            for cell_type in 0..config.n_types {
                let changes = topology.log_folds(cell_type).iter().zip(effect.log_folds(batch));
                let levels: Vec<f64> = base.iter().zip(changes).map(|(b, (t, e))| (b + t + e).exp()).collect();
                let total: f64 = levels.iter().sum();
                shares.extend(levels.iter().map(|l| l / total));
            }
        }
        Self { n_genes: config.n_genes, n_types: config.n_types, shares }
    }

    /// Share of each gene in the counts of a cell of this batch and type.
    pub(super) fn shares(&self, batch: usize, cell_type: usize) -> &[f64] {
        let profile = batch * self.n_types + cell_type;
        &self.shares[profile * self.n_genes..(profile + 1) * self.n_genes]
    }
}

/// Counts of one cell, genes ascending, zeros left out.
pub(super) fn draw_row(shares: &[f64], library_size: f64, config: &SimulateConfig, stream: &mut Stream) -> Vec<(u32, f32)> {
    let mut row = Vec::new();
    for (gene, share) in shares.iter().enumerate() {
        let count = negative_binomial(share * library_size, config.dispersion, stream);
        if count > 0 && !(config.dropout > 0.0 && stream.bernoulli(config.dropout)) {
            row.push((gene as u32, count as f32));
        }
    }
    row
}
