//! Settings of LCL; `Default` is the published method.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::nn::{Activation, MlpConfig, Norm};
use crate::optim::{AdamConfig, Decay, OptimizerConfig, Schedule};
use crate::sampler::LineageSamplerConfig;
use crate::train::TrainConfig;

/// Named settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// The values of the published command line.
    #[default]
    Default,
    /// What the paper writes: no positive pair in the denominator, no normalisation in the projection head.
    Paper,
    /// What the published code does: the same mini-batches in every epoch, a fifth of them to validate, the weights of the last step.
    ReferenceCode,
    /// The run on CellTag (Biddy et al. 2018).
    CellTag,
    /// The run on all of LARRY (Weinreb et al. 2020).
    Larry,
    /// The run on the 200 largest clones of LARRY.
    LarryTop200,
    /// The run on CellTag-multi (Jindal et al. 2024).
    CellTagMulti,
    /// The run that carries lineages from CellTag-multi to CellTag.
    Transfer,
    /// One wide layer and a linear head without normalisation: for lineages that were never seen, and for lineages of few cells. Measured in
    /// `benches/results/lcl.md`.
    Shallow,
}

impl Preset {
    /// All of them with what they are.
    pub const ALL: [(Preset, &str); 9] = [
        (Preset::Default, "default"),
        (Preset::Paper, "paper"),
        (Preset::ReferenceCode, "reference-code"),
        (Preset::CellTag, "cell-tag"),
        (Preset::Larry, "larry"),
        (Preset::LarryTop200, "larry-top200"),
        (Preset::CellTagMulti, "cell-tag-multi"),
        (Preset::Transfer, "transfer"),
        (Preset::Shallow, "shallow"),
    ];
}

/// Which cells the entropy penalty sees beside those without a barcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// None: test cells are not seen in training at all.
    #[default]
    Inductive,
    /// The test cells' expression, not their barcodes, as in the published runs. What is measured on these cells afterwards is not what
    /// cells that come later can expect.
    Transductive,
}

/// What decides when to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Validation {
    /// Cells that are not trained on, each paired with one of its lineage that is.
    #[default]
    Cells,
    /// Mini-batches that are not trained on, though their cells are, as in the published code. All epochs have the same mini-batches.
    MiniBatches,
}

/// Which output is the embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Embedding {
    /// The projection head's, on which the loss acts.
    #[default]
    Projection,
    /// The base encoder's, before the projection head.
    Base,
}

/// Settings of LCL (lineage-aware contrastive learning).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LclConfig {
    /// Widths of the base encoder's layers, the last one its output. Default \[1024, 256, 64\].
    pub encoder_dims: Vec<usize>,
    /// Widths of the projection head's hidden layers. Default \[64\].
    pub projection_dims: Vec<usize>,
    /// Width of the projection head's output. Default 32.
    pub latent_dim: usize,
    /// Normalisation after each linear layer of the projection head, its last one included. Default batch norm, as in the code.
    pub projection_norm: Norm,
    /// Which output is the embedding. Default the projection head's.
    pub embedding: Embedding,
    /// Scales embeddings to length 1. Default true.
    pub unit_length: bool,
    /// Pairs per mini-batch, each of another lineage, at least 2. More negatives tell more lineages apart at once. Default 25.
    pub n_pairs: usize,
    /// Share of a lineage's pairs in an epoch, above 0 to 1. Large lineages have pairs by the square of their size: smaller for these. Default
    /// 0.3.
    pub size_factor: f64,
    /// Cells without a barcode per mini-batch. Default 5.
    pub n_unlabelled: usize,
    /// Weight of the entropy penalty on these, 0 or more. Default 1.
    pub entropy_weight: f64,
    /// Temperature of both losses, above 0. Default 0.5.
    pub temperature: f64,
    /// Leaves the positive pair out of the denominator, as the paper writes it. Default false, as the code does.
    pub decoupled: bool,
    /// Takes cells of one lineage that are no partners out of each other's negatives; the published code pushes them apart. They meet in a
    /// mini-batch where cells carry several barcodes. Default true.
    pub mask_related: bool,
    /// Whether test cells serve as cells without a barcode. Default inductive: they do not.
    pub mode: Mode,
    /// What decides when to stop. Default held-out cells.
    pub validation: Validation,
    /// Share that is trained on, above 0 to 1; the rest validates. 1 trains on all and never stops early. Default 0.8.
    pub train_frac: f64,
    /// Epochs without a better validation loss before training stops. Default 10.
    pub patience: usize,
    /// Least gain of the validation loss that counts, 0 or more. Default 0.001.
    pub min_delta: f64,
    /// Keeps the weights of the best validation loss. Default true.
    pub keep_best: bool,
    /// Takes the same pairs in every epoch, as the published code does. Default false.
    pub fixed_pairs: bool,
    /// Passes over the pairs at most. Default 220.
    pub n_epochs: usize,
    /// Highest learning rate of AdamW. Default 3e-4.
    pub lr: f64,
    /// Epochs in which the learning rate rises; then it falls as half a cosine. Default 10.
    pub warmup_epochs: usize,
    /// Weight decay, 0 or more. More, 0.3, did better on 1,500 simulated cells. Default 1e-6.
    pub weight_decay: f64,
    /// What decays. Default weights alone.
    pub decay: Decay,
    /// Mini-batches per update, which pass the network together; statistics and losses are of each. Default 5.
    pub accumulate: usize,
    /// Longest gradient. Default none.
    pub clip_norm: Option<f64>,
    /// Names all random draws. Default 0.
    pub seed: u64,
}

impl Default for LclConfig {
    fn default() -> Self {
        Self {
            encoder_dims: vec![1024, 256, 64],
            projection_dims: vec![64],
            latent_dim: 32,
            projection_norm: Norm::BatchNorm,
            embedding: Embedding::Projection,
            unit_length: true,
            n_pairs: 25,
            size_factor: 0.3,
            n_unlabelled: 5,
            entropy_weight: 1.0,
            temperature: 0.5,
            decoupled: false,
            mask_related: true,
            mode: Mode::Inductive,
            validation: Validation::Cells,
            train_frac: 0.8,
            patience: 10,
            min_delta: 1e-3,
            keep_best: true,
            fixed_pairs: false,
            n_epochs: 220,
            lr: 3e-4,
            warmup_epochs: 10,
            weight_decay: 1e-6,
            decay: Decay::Weights,
            accumulate: 5,
            clip_norm: None,
            seed: 0,
        }
    }
}

impl LclConfig {
    /// The settings of a preset.
    pub fn preset(preset: Preset) -> Self {
        let run = |n_pairs, size_factor, n_unlabelled, entropy_weight| Self {
            n_pairs,
            size_factor,
            n_unlabelled,
            entropy_weight,
            ..Self::default()
        };
        match preset {
            Preset::Default => Self::default(),
            Preset::Paper => Self { decoupled: true, projection_norm: Norm::None, ..Self::default() },
            Preset::ReferenceCode => Self {
                mask_related: false,
                validation: Validation::MiniBatches,
                keep_best: false,
                fixed_pairs: true,
                decay: Decay::AllButBiases,
                mode: Mode::Transductive,
                ..Self::default()
            },
            Preset::CellTag => run(50, 0.04, 5, 0.05),
            Preset::Larry => run(260, 0.45, 15, 0.01),
            Preset::LarryTop200 => run(150, 0.5, 15, 0.01),
            Preset::CellTagMulti => run(250, 0.02, 50, 0.01),
            Preset::Transfer => run(250, 0.02, 50, 0.05),
            Preset::Shallow => Self {
                encoder_dims: vec![1024],
                projection_dims: Vec::new(),
                latent_dim: 128,
                projection_norm: Norm::None,
                entropy_weight: 0.05,
                n_epochs: 20,
                lr: 1e-3,
                warmup_epochs: 5,
                weight_decay: 0.01,
                accumulate: 1,
                ..Self::default()
            },
        }
    }

    /// Checks ranges and combinations.
    ///
    /// # Errors
    /// [`Error::Argument`], also for an option without effect.
    pub fn validate(&self) -> Result<()> {
        let widths = self.encoder_dims.iter().map(|d| ("encoder_dims", *d));
        let widths = widths.chain(self.projection_dims.iter().map(|d| ("projection_dims", *d)));
        if let Some((name, _)) = widths.chain([("latent_dim", self.latent_dim)]).find(|(_, n)| *n == 0) {
            return Err(Error::argument(
                name,
                "must be at least 1 (got 0)",
                "use 32 for the latent space, 64 to 1024 for a layer",
            ));
        }
        if self.encoder_dims.is_empty() {
            return Err(Error::argument("encoder_dims", "has no layers", "use [1024, 256, 64]"));
        }
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            let problem = format!("must be above 0 (got {})", self.temperature);
            return Err(Error::argument("temperature", problem, "use 0.5"));
        }
        if !(self.entropy_weight >= 0.0 && self.entropy_weight.is_finite()) {
            let problem = format!("must be 0 or more (got {})", self.entropy_weight);
            return Err(Error::argument("entropy_weight", problem, "use 0.01 to 1"));
        }
        if self.mode == Mode::Transductive && self.n_drawn_unlabelled() == 0 {
            let fix = "set both, or the mode `inductive`";
            return Err(Error::argument(
                "mode",
                "is `transductive`, without effect without `n_unlabelled` and `entropy_weight`",
                fix,
            ));
        }
        self.train().validate()
    }

    /// What a user should know of the mode, where `n_test` cells are held out.
    pub fn mode_note(&self, n_test: usize) -> Option<&'static str> {
        let idle = self.mode == Mode::Transductive && n_test == 0;
        idle.then_some("the mode `transductive` changes nothing: no test cells are held out")
    }

    /// Cells without a barcode that each mini-batch has: none without a weight on them.
    pub(super) fn n_drawn_unlabelled(&self) -> usize {
        if self.entropy_weight > 0.0 { self.n_unlabelled } else { 0 }
    }

    pub(super) fn encoder(&self) -> MlpConfig {
        MlpConfig { dims: self.encoder_dims.clone(), norm: Norm::BatchNorm, activation: Activation::Relu, dropout: 0.0 }
    }

    pub(super) fn sampler(&self) -> LineageSamplerConfig {
        LineageSamplerConfig {
            n_pairs: self.n_pairs,
            size_factor: self.size_factor,
            n_unlabelled: self.n_drawn_unlabelled(),
            held_out: if self.validation == Validation::MiniBatches { 1.0 - self.train_frac } else { 0.0 },
            fixed: self.fixed_pairs,
        }
    }

    /// Settings of the training loop.
    pub fn train(&self) -> TrainConfig {
        TrainConfig {
            n_epochs: self.n_epochs,
            learning_rate: self.lr,
            schedule: Schedule::WarmupCosine { warmup_epochs: self.warmup_epochs },
            optimizer: OptimizerConfig::Adam(AdamConfig {
                weight_decay: self.weight_decay,
                decay: self.decay,
                ..Default::default()
            }),
            accumulate: self.accumulate,
            clip_norm: self.clip_norm,
            train_frac: self.train_frac,
            patience: self.patience,
            min_delta: self.min_delta,
            keep_best: self.keep_best,
            validation_batch_size: 2 * self.n_pairs,
            seed: self.seed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_the_published_runs_and_one_more_and_have_their_names() {
        for (preset, name) in Preset::ALL {
            let config = LclConfig::preset(preset);
            config.validate().unwrap();
            assert_eq!(serde_json::to_value(preset).unwrap(), name);
            assert_eq!(config.temperature, 0.5);
        }
        let larry = LclConfig::preset(Preset::LarryTop200);
        assert_eq!((larry.n_pairs, larry.size_factor, larry.n_unlabelled, larry.entropy_weight), (150, 0.5, 15, 0.01));
        let (paper, code) = (LclConfig::preset(Preset::Paper), LclConfig::preset(Preset::ReferenceCode));
        assert!(paper.decoupled && !code.decoupled && paper.projection_norm == Norm::None && code.fixed_pairs && !code.keep_best);
        let shallow = LclConfig::preset(Preset::Shallow);
        assert!(shallow.encoder_dims.len() == 1 && shallow.projection_dims.is_empty() && shallow.projection_norm == Norm::None);
    }

    #[test]
    fn each_bad_option_is_named() {
        let base = LclConfig::default;
        let bad = [
            ("temperature", LclConfig { temperature: 0.0, ..base() }),
            ("entropy_weight", LclConfig { entropy_weight: -1.0, ..base() }),
            ("encoder_dims", LclConfig { encoder_dims: Vec::new(), ..base() }),
            ("latent_dim", LclConfig { latent_dim: 0, ..base() }),
            ("accumulate", LclConfig { accumulate: 0, ..base() }),
            ("weight_decay", LclConfig { weight_decay: f64::NAN, ..base() }),
            ("mode", LclConfig { mode: Mode::Transductive, entropy_weight: 0.0, ..base() }),
            ("min_delta", LclConfig { min_delta: -0.1, ..base() }),
        ];
        for (name, config) in bad {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(name), "{name}: {message}");
        }
    }
}
