//! Settings of CONCORD; `Default` is the published method.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::augment::RandomMask;
use crate::error::{Error, Result};
use crate::loss::{NtXentConfig, Penalty};
use crate::neighbors::Metric;
use crate::nn::{Activation, FinalActivation, MlpConfig, Norm};
use crate::optim::Schedule;
use crate::sampler::{DomainSamplerConfig, MinibatchStrategy};
use crate::train::TrainConfig;

/// Named settings of the paper's two modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Hard negatives weighted in the loss, mini-batches of one batch: the published default.
    #[default]
    HardNegative,
    /// Mini-batches enriched for neighbourhoods: the preprint's method.
    Knn,
}

/// Where the neighbour graph of the sampler comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GraphSource {
    /// The embedding of the model itself after `knn_warmup_epochs` epochs without neighbourhoods.
    #[default]
    Warmup,
    /// Principal components of the input.
    Pca,
    /// An embedding given by the caller.
    Given,
}

/// Settings of CONCORD (Zhu et al., Nature Biotechnology 2025).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConcordConfig {
    /// Width of the embedding. Default 100.
    pub latent_dim: usize,
    /// Widths of the hidden layers; none makes the encoder one linear layer. Default \[1000\].
    pub encoder_dims: Vec<usize>,
    /// Normalisation after each linear layer. Default layer norm.
    pub norm: Norm,
    /// Dropout inside of encoder and decoder, 0 up to but not 1. Default 0.
    pub dropout: f64,
    /// Probability that a non-zero entry is masked, per view. Default 0.4.
    pub element_mask_prob: f64,
    /// Probability that a gene is masked in a whole mini-batch, per view. Default 0.3.
    pub feature_mask_prob: f64,
    /// Temperature of NT-Xent, above 0 to 1. Smaller separates near cells more. Default 0.4.
    pub temperature: f64,
    /// Strength of hard-negative weighting, 0 or more. Default 1.
    pub hard_negative_beta: f64,
    /// Weight of NT-Xent. Default 1.
    pub contrastive_weight: f64,
    /// Gradient through both views, as the paper writes it, or through the first alone, as its code does. Default the first alone:
    /// neither wins everywhere (`benches/results/gradient.md`), and it takes two thirds of the time.
    pub symmetric_gradient: bool,
    /// Cells per mini-batch. Default 256.
    pub batch_size: usize,
    /// Share of a mini-batch that comes from its batch, 0 to 1. Smaller corrects less. Default 1.
    pub p_intra_domain: f64,
    /// Share of a mini-batch that comes from one neighbourhood, 0 to 1. Default 0.
    pub p_intra_knn: f64,
    /// Neighbours per cell that a neighbourhood is drawn from. Default the smaller of 1000 and a tenth of the cells.
    pub sampler_knn: Option<usize>,
    /// Where the neighbour graph comes from.
    pub sampler_graph: GraphSource,
    /// Distance of the neighbour graph. Default Euclidean.
    pub sampler_metric: Metric,
    /// Epochs without neighbourhoods before the model's own embedding gives the graph. Default 2.
    pub knn_warmup_epochs: usize,
    /// How many mini-batches each batch gets.
    pub minibatch_strategy: MinibatchStrategy,
    /// Leaves out, at random in every epoch, the cells of a batch that fill no whole mini-batch, as the published code does. Otherwise
    /// all are trained on: the mini-batches of a batch are one more and equally large. Default false.
    pub drop_last: bool,
    /// For the strategy `coverage`: a score per batch, by name.
    pub domain_coverage: BTreeMap<String, f64>,
    /// Trains a decoder to the expression. Default false.
    pub use_decoder: bool,
    /// Widths of the decoder's hidden layers. Default \[1000\].
    pub decoder_dims: Vec<usize>,
    /// Weight of the reconstruction. Default 1.
    pub decoder_weight: f64,
    /// Last step of the decoder. Default softplus: behind the ReLU of the published code most genes decode to zero.
    pub decoder_final_activation: FinalActivation,
    /// Reconstructs the whole profile instead of the masked one that the encoder saw, as the published code does. Default true: decoded
    /// values are then on the scale of the input.
    pub decoder_target_unmasked: bool,
    /// Width of the decoder's batch embedding. Default 8.
    pub domain_embedding_dim: usize,
    /// Widths of the decoder's covariate embeddings, by obs column.
    pub covariate_embedding_dims: BTreeMap<String, usize>,
    /// Trains a classifier on `class_key`. Default false.
    pub use_classifier: bool,
    /// Weight of the classifier. Default 1.
    pub classifier_weight: f64,
    /// Class that counts as no label.
    pub unlabeled_class: Option<String>,
    /// Learns a weight per gene (experimental). Default false.
    pub use_importance_mask: bool,
    /// Weight of the penalty on gene weights. Default 0.
    pub importance_penalty_weight: f64,
    /// Norm of that penalty.
    pub importance_penalty: Penalty,
    /// Passes over the mini-batches. Default 15.
    pub n_epochs: usize,
    /// Learning rate of Adam. Default 0.01.
    pub lr: f64,
    /// Factor on the learning rate. Default 0.97.
    pub schedule_ratio: f64,
    /// How often the factor is applied at the end of an epoch. Default 2, as the published code does.
    pub schedule_steps_per_epoch: u32,
    /// Longest gradient. Default none.
    pub clip_norm: Option<f64>,
    /// Share of the cells that are trained on; the others decide when to stop. Default 1.
    pub train_frac: f64,
    /// Epochs without a better validation loss before training stops. Default 2.
    pub patience: usize,
    /// Names all random draws. Default 0.
    pub seed: u64,
}

impl Default for ConcordConfig {
    fn default() -> Self {
        Self {
            latent_dim: 100,
            encoder_dims: vec![1000],
            norm: Norm::LayerNorm,
            dropout: 0.0,
            element_mask_prob: 0.4,
            feature_mask_prob: 0.3,
            temperature: 0.4,
            hard_negative_beta: 1.0,
            contrastive_weight: 1.0,
            symmetric_gradient: false,
            batch_size: 256,
            p_intra_domain: 1.0,
            p_intra_knn: 0.0,
            sampler_knn: None,
            sampler_graph: GraphSource::Warmup,
            sampler_metric: Metric::Euclidean,
            knn_warmup_epochs: 2,
            minibatch_strategy: MinibatchStrategy::Proportional,
            drop_last: false,
            domain_coverage: BTreeMap::new(),
            use_decoder: false,
            decoder_dims: vec![1000],
            decoder_weight: 1.0,
            decoder_final_activation: FinalActivation::Softplus,
            decoder_target_unmasked: true,
            domain_embedding_dim: 8,
            covariate_embedding_dims: BTreeMap::new(),
            use_classifier: false,
            classifier_weight: 1.0,
            unlabeled_class: None,
            use_importance_mask: false,
            importance_penalty_weight: 0.0,
            importance_penalty: Penalty::L1,
            n_epochs: 15,
            lr: 1e-2,
            schedule_ratio: 0.97,
            schedule_steps_per_epoch: 2,
            clip_norm: None,
            train_frac: 1.0,
            patience: 2,
            seed: 0,
        }
    }
}

impl ConcordConfig {
    /// The settings of a preset.
    pub fn preset(preset: Preset) -> Self {
        match preset {
            Preset::HardNegative => Self::default(),
            Preset::Knn => {
                Self { p_intra_knn: 0.3, p_intra_domain: 0.95, temperature: 0.5, hard_negative_beta: 0.0, ..Self::default() }
            }
        }
    }

    /// Checks ranges and combinations.
    ///
    /// # Errors
    /// [`Error::Argument`], also for an option without effect.
    pub fn validate(&self) -> Result<()> {
        let positive = [("latent_dim", self.latent_dim)].into_iter();
        let layers =
            self.encoder_dims.iter().map(|d| ("encoder_dims", *d)).chain(self.decoder_dims.iter().map(|d| ("decoder_dims", *d)));
        if let Some((name, _)) = positive.chain(layers).find(|(_, n)| *n == 0) {
            return Err(Error::argument(
                name,
                "must be at least 1 (got 0)",
                "use 100 for the latent space, 1000 for a hidden layer",
            ));
        }
        self.mask().validate()?;
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::argument("dropout", format!("must be at least 0 and below 1 (got {})", self.dropout), "use 0"));
        }
        if !(self.temperature > 0.0 && self.temperature <= 1.0) {
            let problem = format!("must be above 0 and at most 1 (got {})", self.temperature);
            return Err(Error::argument("temperature", problem, "use 0.2 to 0.6"));
        }
        if !(self.hard_negative_beta >= 0.0) || !self.hard_negative_beta.is_finite() {
            let problem = format!("must be 0 or more (got {})", self.hard_negative_beta);
            return Err(Error::argument("hard_negative_beta", problem, "use 0 for plain NT-Xent or 1 to 2"));
        }
        let weights = [
            ("contrastive_weight", self.contrastive_weight),
            ("decoder_weight", self.decoder_weight),
            ("classifier_weight", self.classifier_weight),
            ("importance_penalty_weight", self.importance_penalty_weight),
        ];
        if let Some((name, weight)) = weights.into_iter().find(|(_, w)| !(*w >= 0.0) || !w.is_finite()) {
            return Err(Error::argument(name, format!("must be 0 or more (got {weight})"), "use 1"));
        }
        self.validate_combinations()?;
        self.train().validate()
    }

    fn validate_combinations(&self) -> Result<()> {
        let knn = self.p_intra_knn > 0.0;
        let without_effect = [
            ("sampler_knn", self.sampler_knn.is_some() && !knn, "p_intra_knn"),
            ("covariate_embedding_dims", !self.covariate_embedding_dims.is_empty() && !self.use_decoder, "use_decoder"),
            ("unlabeled_class", self.unlabeled_class.is_some() && !self.use_classifier, "use_classifier"),
            (
                "importance_penalty_weight",
                self.importance_penalty_weight > 0.0 && !self.use_importance_mask,
                "use_importance_mask",
            ),
        ];
        if let Some((name, _, needs)) = without_effect.into_iter().find(|(_, wrong, _)| *wrong) {
            return Err(Error::argument(
                name,
                format!("has no effect without `{needs}`"),
                format!("set `{needs}` or leave it out"),
            ));
        }
        Ok(())
    }

    /// What the user should know about this combination.
    pub fn warnings(&self) -> Vec<String> {
        let mut out = Vec::new();
        if self.hard_negative_beta > 0.0 && self.p_intra_domain < 0.95 {
            out.push(format!(
                "hard negatives with p_intra_domain {} weigh up the differences between batches; use 0.95 or more",
                self.p_intra_domain
            ));
        }
        if self.hard_negative_beta > 0.0 && self.p_intra_knn > 0.0 {
            out.push("hard negatives and neighbourhood sampling together sharpen the same contrasts twice".to_owned());
        }
        out
    }

    pub(super) fn mask(&self) -> RandomMask {
        RandomMask { element: self.element_mask_prob, feature: self.feature_mask_prob }
    }

    pub(super) fn encoder(&self) -> MlpConfig {
        let dims = self.encoder_dims.iter().copied().chain([self.latent_dim]).collect();
        MlpConfig { dims, norm: self.norm, activation: Activation::LeakyRelu, dropout: self.dropout }
    }

    pub(super) fn decoder(&self) -> MlpConfig {
        MlpConfig { dims: self.decoder_dims.clone(), ..self.encoder() }
    }

    pub(super) fn nt_xent(&self) -> NtXentConfig {
        let (temperature, hard_negative_beta) = (self.temperature, self.hard_negative_beta);
        NtXentConfig { temperature, hard_negative_beta, ..Default::default() }
    }

    pub(super) fn sampler(&self, levels: &[String]) -> Result<DomainSamplerConfig> {
        let coverage = match self.minibatch_strategy {
            MinibatchStrategy::Coverage => {
                let score = |level: &String| {
                    self.domain_coverage.get(level).copied().ok_or_else(|| {
                        Error::argument("domain_coverage", format!("has no score for batch `{level}`"), "give one per batch")
                    })
                };
                Some(levels.iter().map(score).collect::<Result<Vec<f64>>>()?)
            }
            _ if self.domain_coverage.is_empty() => None,
            _ => {
                let fix = "set it or leave the scores out";
                return Err(Error::argument("domain_coverage", "has no effect without the strategy `coverage`", fix));
            }
        };
        Ok(DomainSamplerConfig {
            batch_size: self.batch_size,
            p_intra_domain: self.p_intra_domain,
            strategy: self.minibatch_strategy,
            domain_coverage: coverage,
            drop_last: self.drop_last,
        })
    }

    /// Settings of the training loop.
    pub fn train(&self) -> TrainConfig {
        TrainConfig {
            n_epochs: self.n_epochs,
            learning_rate: self.lr,
            schedule: Schedule::StepDecay { gamma: self.schedule_ratio, per_epoch: self.schedule_steps_per_epoch },
            clip_norm: self.clip_norm,
            train_frac: self.train_frac,
            patience: self.patience,
            validation_batch_size: self.batch_size,
            seed: self.seed,
            ..Default::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_the_published_values() {
        let hard = ConcordConfig::preset(Preset::HardNegative);
        assert_eq!((hard.hard_negative_beta, hard.p_intra_knn, hard.temperature, hard.p_intra_domain), (1.0, 0.0, 0.4, 1.0));
        let knn = ConcordConfig::preset(Preset::Knn);
        assert_eq!((knn.hard_negative_beta, knn.p_intra_knn, knn.temperature, knn.p_intra_domain), (0.0, 0.3, 0.5, 0.95));
        hard.validate().unwrap();
        knn.validate().unwrap();
    }

    #[test]
    fn each_bad_option_is_named() {
        let base = ConcordConfig::default;
        let bad = [
            ("temperature", ConcordConfig { temperature: 0.0, ..base() }),
            ("element_mask_prob", ConcordConfig { element_mask_prob: 1.0, ..base() }),
            ("latent_dim", ConcordConfig { latent_dim: 0, ..base() }),
            ("hard_negative_beta", ConcordConfig { hard_negative_beta: f64::NAN, ..base() }),
            ("lr", ConcordConfig { lr: -1.0, ..base() }),
            ("sampler_knn", ConcordConfig { sampler_knn: Some(10), ..base() }),
            ("unlabeled_class", ConcordConfig { unlabeled_class: Some("x".into()), ..base() }),
        ];
        for (name, config) in bad {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(&format!("`{name}`")), "{message}");
        }
    }
}
