//! What was learned by the epoch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One epoch.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Learning rate of its last step.
    pub learning_rate: f64,
    /// Total loss, the mean over its steps.
    pub loss: f64,
    /// Each loss by name, unweighted, the mean over its steps.
    pub terms: BTreeMap<String, f64>,
    /// Total loss on held-out cells, where there are any.
    pub validation_loss: Option<f64>,
    /// Steps made.
    pub n_steps: usize,
    /// Cells seen, repeats counted.
    pub n_cells: usize,
}

/// All epochs so far.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct History {
    /// In order.
    pub epochs: Vec<EpochRecord>,
    /// Epoch (from 1) whose weights were kept, where held-out cells chose it.
    pub best_epoch: Option<usize>,
}

/// Sums over the steps of an epoch.
#[derive(Debug, Clone, Default)]
pub(super) struct EpochSums {
    pub loss: f64,
    pub terms: BTreeMap<String, f64>,
    pub n_steps: usize,
    pub n_cells: usize,
}

impl EpochSums {
    /// Losses, the mean of `n_steps` steps, with the cells of these.
    pub fn add(&mut self, values: &[(&'static str, f64, f64)], n_steps: usize, n_cells: usize) {
        let n = n_steps as f64;
        for (name, weight, value) in values {
            *self.terms.entry((*name).to_owned()).or_default() += n * value;
            self.loss += n * weight * value;
        }
        self.n_steps += n_steps;
        self.n_cells += n_cells;
    }

    pub fn record(self, epoch: usize, learning_rate: f64) -> EpochRecord {
        let n = self.n_steps.max(1) as f64;
        EpochRecord {
            epoch,
            learning_rate,
            loss: self.loss / n,
            terms: self.terms.into_iter().map(|(name, sum)| (name, sum / n)).collect(),
            validation_loss: None,
            n_steps: self.n_steps,
            n_cells: self.n_cells,
        }
    }
}
