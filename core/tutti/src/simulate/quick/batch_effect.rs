//! What tells batches apart though the cells are alike: factors per gene, and depth.

use super::SimulateConfig;
use crate::rng::{Rng, Stream};

/// Batches: their sizes, depths and gene factors.
pub(super) struct BatchEffect {
    n_genes: usize,
    /// Log-fold factors, [n_batches, n_genes].
    log_folds: Vec<f64>,
    sizes: Vec<f64>,
    log_depths: Vec<f64>,
    library_spread: f64,
}

impl BatchEffect {
    pub(super) fn draw(config: &SimulateConfig, rng: &Rng) -> Self {
        let mut log_folds = Vec::with_capacity(config.n_batches * config.n_genes);
        for batch in 0..config.n_batches {
            let mut stream = rng.stream("batch_factor", 0, batch as u64);
            log_folds.extend((0..config.n_genes).map(|_| stream.normal() * config.batch_strength));
        }
        Self {
            n_genes: config.n_genes,
            log_folds,
            // Each batch is a fifth smaller than the one before it.
            sizes: (0..config.n_batches).map(|b| 0.8f64.powi(b as i32)).collect(),
            log_depths: (0..config.n_batches).map(|b| config.library_size.ln() + depth(b, config.batch_strength)).collect(),
            library_spread: config.library_spread,
        }
    }

    /// Log-fold factor of each gene in a batch.
    pub(super) fn log_folds(&self, batch: usize) -> &[f64] {
        &self.log_folds[batch * self.n_genes..(batch + 1) * self.n_genes]
    }

    /// Weights of the batches.
    pub(super) fn sizes(&self) -> &[f64] {
        &self.sizes
    }

    /// Draws the expected number of counts of a cell: log-normal around the depth of its batch.
    pub(super) fn library_size(&self, batch: usize, stream: &mut Stream) -> f64 {
        (self.log_depths[batch] + self.library_spread * stream.normal()).exp()
    }
}

/// Log of the depth of a batch relative to the first: up, down, up further and so on; none without a batch effect.
fn depth(batch: usize, strength: f64) -> f64 {
    let step = batch.div_ceil(2) as f64;
    let sign = if batch % 2 == 1 { 1.0 } else { -1.0 };
    // Depth differs about as much as a single gene does, up to twofold per step.
    sign * step * strength.min(std::f64::consts::LN_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_strength_means_no_effect() {
        let config = SimulateConfig { batch_strength: 0.0, library_spread: 0.0, ..Default::default() };
        let effect = BatchEffect::draw(&config, &Rng::new(0));
        let mut stream = Rng::new(0).stream("test", 0, 0);
        for batch in 0..3 {
            assert!(effect.log_folds(batch).iter().all(|f| *f == 0.0));
            assert!((effect.library_size(batch, &mut stream) - config.library_size).abs() < 1e-9);
        }
    }

    #[test]
    fn batches_differ_in_depth_up_and_down() {
        assert_eq!(depth(0, 0.6), 0.0);
        assert!(depth(1, 0.6) > 0.0 && depth(2, 0.6) < 0.0);
    }
}
