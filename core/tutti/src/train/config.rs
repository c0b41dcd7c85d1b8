//! Settings of the training loop.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::optim::{OptimizerConfig, Schedule};

/// Settings of the training loop, the same for every system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainConfig {
    /// Passes over the mini-batches, at least 1.
    pub n_epochs: usize,
    /// Learning rate at the start, above 0.
    pub learning_rate: f64,
    /// How it changes.
    pub schedule: Schedule,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// Mini-batches whose gradients are averaged for one update, at least 1: a larger mini-batch, except that cells of different ones are
    /// not contrasted (and in the memory of a small one, unless the system stacks them). The last update of an epoch takes those that are left.
    pub accumulate: usize,
    /// Longest gradient: a longer one is scaled down to it. `None` (default) leaves gradients as they are.
    pub clip_norm: Option<f64>,
    /// Share of the cells that are trained on, above 0 to 1; the others validate. 1 trains on all and never stops early.
    pub train_frac: f64,
    /// Epochs without a better validation loss before training stops.
    pub patience: usize,
    /// By how much a validation loss must be smaller than the best to count as better, 0 or more.
    pub min_delta: f64,
    /// Whether the weights of the best validation loss are kept, or those of the last step.
    pub keep_best: bool,
    /// Cells per mini-batch when validating.
    pub validation_batch_size: usize,
    /// Names all random draws.
    pub seed: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            n_epochs: 15,
            learning_rate: 1e-2,
            schedule: Schedule::StepDecay { gamma: 0.97, per_epoch: 2 },
            optimizer: OptimizerConfig::default(),
            accumulate: 1,
            clip_norm: None,
            train_frac: 1.0,
            patience: 2,
            min_delta: 0.0,
            keep_best: true,
            validation_batch_size: 256,
            seed: 0,
        }
    }
}

impl TrainConfig {
    /// The learning rate of step `step` of `n_steps` in epoch `epoch`, all from 0.
    pub fn learning_rate_at(&self, epoch: usize, step: usize, n_steps: usize) -> f64 {
        self.learning_rate * self.schedule.factor(epoch, self.n_epochs, step, n_steps)
    }

    /// Checks every range.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        let refuse = |name: &str, value: f64, range: &str, fix: &str| {
            Err(Error::argument(name, format!("must be {range} (got {value})"), fix))
        };
        if self.n_epochs == 0 {
            return refuse("n_epochs", 0.0, "at least 1", "use 15");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return refuse("lr", self.learning_rate, "above 0", "use 0.01");
        }
        if !(self.train_frac > 0.0 && self.train_frac <= 1.0) {
            return refuse(
                "train_frac",
                self.train_frac,
                "above 0 and at most 1",
                "use 1 to train on all cells or 0.9 to validate",
            );
        }
        if self.accumulate == 0 {
            return refuse("accumulate", 0.0, "at least 1", "use 1 for an update per mini-batch");
        }
        if !(self.min_delta >= 0.0 && self.min_delta.is_finite()) {
            return refuse("min_delta", self.min_delta, "0 or more", "use 0 or 0.001");
        }
        self.optimizer.validate()?;
        if let Some(norm) = self.clip_norm.filter(|n| !(*n > 0.0)) {
            return refuse("clip_norm", norm, "above 0", "leave it out for no clipping");
        }
        if let Schedule::StepDecay { gamma, .. } = self.schedule
            && !(gamma > 0.0 && gamma.is_finite())
        {
            return refuse("schedule_ratio", gamma, "above 0", "use 0.97");
        }
        Ok(())
    }
}
