//! Settings of Concerto; `Default` is the published run on a reference together with its query.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::loss::NtXentConfig;
use crate::optim::{OptimizerConfig, Schedule};
use crate::sampler::{DomainSamplerConfig, MIN_CELLS};
use crate::train::TrainConfig;

/// Passes over the cells, as published.
const EPOCHS: usize = 3;

/// Passes over few cells by default, at most.
const MOST_EPOCHS: usize = 30;

/// Mini-batches of a run by default, at least: those of the published 3 passes over 10,000 cells.
const UPDATES: usize = 1000;

/// Named settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// The published code's run on a reference together with its query, with a learning rate that falls over the whole run.
    #[default]
    Default,
    /// What the paper writes: more dropout, small mini-batches.
    Paper,
    /// What the published code does with a reference alone: a small learning rate that has fallen after 150 mini-batches per epoch, however many
    /// there are.
    ReferenceCode,
}

impl Preset {
    /// All of them with what they are.
    pub const ALL: [(Preset, &str); 3] =
        [(Preset::Default, "default"), (Preset::Paper, "paper"), (Preset::ReferenceCode, "reference-code")];
}

/// Settings of Concerto.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConcertoConfig {
    /// Width of the embedding, of the embedding of genes and of the hidden layers, at least 1. Default 128.
    pub latent_dim: usize,
    /// Probability of dropping a value before the last layer of teacher and student, 0 to below 1: with the difference of the two networks the only
    /// augmentation. Default 0.1, as in the code; the paper has 0.2.
    pub dropout: f64,
    /// Temperature of NT-Xent, above 0. Default 0.1.
    pub temperature: f64,
    /// Cells per mini-batch, at least 4, all of one batch. Default 64.
    pub batch_size: usize,
    /// Passes over the cells. Default 3, as published for tens of thousands of cells, and up to 30 over fewer cells, so that there are 1,000 mini-batches: in 3
    /// passes over 3,000 cells the network hardly moves from its initial weights, in more than 30 it learns to tell each cell from all others.
    pub n_epochs: Option<usize>,
    /// Learning rate of Adam at the start, above 0. Default 1e-4.
    pub lr: f64,
    /// Share of it at the end, to which it falls linearly, above 0 to 1. Default 0.01.
    pub lr_last: f64,
    /// Mini-batches, times the number of epochs, after which it has fallen there and stays. Default none: at the end of training.
    pub decay_steps: Option<usize>,
    /// Longest gradient. Default none.
    pub clip_norm: Option<f64>,
    /// Share of the cells that is trained on, above 0 to 1; the rest validates. Default 1, which never stops early.
    pub train_frac: f64,
    /// Epochs without a better validation loss before training stops. Default 2.
    pub patience: usize,
    /// Keeps the weights of the best validation loss. Default true.
    pub keep_best: bool,
    /// Names all random draws. Default 0.
    pub seed: u64,
}

impl Default for ConcertoConfig {
    fn default() -> Self {
        Self {
            latent_dim: 128,
            dropout: 0.1,
            temperature: 0.1,
            batch_size: 64,
            n_epochs: None,
            lr: 1e-4,
            lr_last: 0.01,
            decay_steps: None,
            clip_norm: None,
            train_frac: 1.0,
            patience: 2,
            keep_best: true,
            seed: 0,
        }
    }
}

impl ConcertoConfig {
    /// The settings of a preset.
    pub fn preset(preset: Preset) -> Self {
        match preset {
            Preset::Default => Self::default(),
            Preset::Paper => Self { dropout: 0.2, batch_size: 32, n_epochs: Some(EPOCHS), ..Self::default() },
            Preset::ReferenceCode => {
                Self { batch_size: 32, n_epochs: Some(EPOCHS), lr: 1e-5, decay_steps: Some(150), ..Self::default() }
            }
        }
    }

    /// Checks every range.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        let refuse = |name: &str, value: f64, range: &str, fix: &str| {
            Err(Error::argument(name, format!("must be {range} (got {value})"), fix))
        };
        if self.latent_dim == 0 {
            return refuse("latent_dim", 0.0, "at least 1", "use 128");
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return refuse("dropout", self.dropout, "0 to below 1", "use 0.1");
        }
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return refuse("temperature", self.temperature, "above 0", "use 0.1");
        }
        if self.batch_size < MIN_CELLS {
            return refuse("batch_size", self.batch_size as f64, &format!("at least {MIN_CELLS}"), "use 32 to 256");
        }
        if !(self.lr_last > 0.0 && self.lr_last <= 1.0) {
            return refuse("lr_last", self.lr_last, "above 0 and at most 1", "use 0.01, or 1 for a learning rate that stays");
        }
        if self.decay_steps == Some(0) {
            return refuse("decay_steps", 0.0, "at least 1", "leave it out for a decay over all of training");
        }
        self.train().validate()
    }

    /// The number of epochs where it is left to the data, for batches of these sizes.
    pub(super) fn epochs_of(&self, sizes: &[usize]) -> usize {
        self.n_epochs.unwrap_or_else(|| UPDATES.div_ceil(self.n_batches(sizes).max(1)).clamp(EPOCHS, MOST_EPOCHS))
    }

    /// Mini-batches of an epoch over batches of these sizes.
    pub(super) fn n_batches(&self, sizes: &[usize]) -> usize {
        sizes.iter().filter(|n| **n >= MIN_CELLS).map(|n| n.div_ceil(self.batch_size)).sum()
    }

    pub(super) fn nt_xent(&self) -> NtXentConfig {
        NtXentConfig { temperature: self.temperature, hard_negative_beta: 0.0, ..Default::default() }
    }

    /// Mini-batches of one batch each: what the paper calls source-aware batch normalisation is that their statistics are of one source.
    pub(super) fn sampler(&self) -> DomainSamplerConfig {
        DomainSamplerConfig { batch_size: self.batch_size, ..Default::default() }
    }

    /// Settings of the training loop; [`Concerto::trainer`](super::Concerto::trainer) has set the number of epochs.
    pub fn train(&self) -> TrainConfig {
        let n_epochs = self.n_epochs.unwrap_or(EPOCHS);
        TrainConfig {
            n_epochs,
            learning_rate: self.lr,
            schedule: match self.decay_steps {
                None => Schedule::Linear { last: self.lr_last },
                Some(n) => Schedule::LinearThenFlat { last: self.lr_last, n_steps: n * n_epochs },
            },
            optimizer: OptimizerConfig::default(),
            accumulate: 1,
            clip_norm: self.clip_norm,
            train_frac: self.train_frac,
            patience: self.patience,
            min_delta: 0.0,
            keep_best: self.keep_best,
            validation_batch_size: self.batch_size,
            seed: self.seed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_and_have_their_names() {
        for (preset, name) in Preset::ALL {
            ConcertoConfig::preset(preset).validate().unwrap();
            assert_eq!(serde_json::to_value(preset).unwrap(), name);
        }
        let [default, paper, code] = Preset::ALL.map(|(preset, _)| ConcertoConfig::preset(preset));
        assert_eq!([default.dropout, paper.dropout, code.dropout], [0.1, 0.2, 0.1]);
        assert_eq!([default.batch_size, paper.batch_size, code.batch_size], [64, 32, 32]);
        assert_eq!(code.train().schedule, Schedule::LinearThenFlat { last: 0.01, n_steps: 450 });
    }

    #[test]
    fn few_cells_are_seen_more_often() {
        let config = ConcertoConfig::default();
        // 10 and 6 mini-batches of 64 cells; a batch of three cells has none.
        assert_eq!((config.n_batches(&[600, 384, 3]), config.epochs_of(&[600, 384, 3])), (16, 30));
        assert_eq!([6_400, 50_000].map(|n| config.epochs_of(&[n])), [10, 3]);
        assert_eq!(ConcertoConfig { n_epochs: Some(1), ..config }.epochs_of(&[10]), 1);
    }

    #[test]
    fn each_bad_option_is_named() {
        let base = ConcertoConfig::default;
        let bad = [
            ("latent_dim", ConcertoConfig { latent_dim: 0, ..base() }),
            ("dropout", ConcertoConfig { dropout: 1.0, ..base() }),
            ("temperature", ConcertoConfig { temperature: 0.0, ..base() }),
            ("batch_size", ConcertoConfig { batch_size: 3, ..base() }),
            ("lr_last", ConcertoConfig { lr_last: 0.0, ..base() }),
            ("decay_steps", ConcertoConfig { decay_steps: Some(0), ..base() }),
            ("lr", ConcertoConfig { lr: f64::NAN, ..base() }),
            ("train_frac", ConcertoConfig { train_frac: 0.0, ..base() }),
        ];
        for (name, config) in bad {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(name), "{name}: {message}");
        }
    }
}
