//! Settings of CellPredX; `Default` is what works for labels carried from RNA to RNA.

use serde::{Deserialize, Serialize};

use super::Scenario;
use crate::error::{Error, Result};
use crate::neighbors::Metric;
use crate::optim::{Decay, OptimizerConfig, Schedule, SgdConfig};
use crate::sampler::PairedSamplerConfig;
use crate::train::TrainConfig;

/// Named settings; each has values for every [`Scenario`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// The paper's losses and weights, but for the code's lighter regularisation of the projection, with what training lacked there: a start at principal
    /// components, twice the steps within a modality, held-out reference cells that decide when to stop, clipped gradients, a gate that cannot close.
    #[default]
    Default,
    /// What the paper writes.
    Paper,
    /// What the published code does, but for what is broken there: centres are learned.
    ReferenceCode,
}

impl Preset {
    /// All of them with what they are.
    pub const ALL: [(Preset, &str); 3] =
        [(Preset::Default, "default"), (Preset::Paper, "paper"), (Preset::ReferenceCode, "reference-code")];
}

/// What becomes of the class centres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Centers {
    /// They move towards the cells of their class, as the paper has it.
    #[default]
    Learned,
    /// They stay at their random initial values, which is what the published code does: its optimisers do not know of them.
    Fixed,
}

/// Where encoder and classifier start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// The encoder at the principal components of all cells, with the size of random weights, and the classifier at zero. Where the reference does not
    /// vary, nothing trains the weights: random ones stay there and give a query that differs from it random logits.
    #[default]
    Components,
    /// Both at random (He et al. 2015), as published.
    Random,
}

/// What decides when to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stopping {
    /// The losses of held-out reference cells, together with those of the query that need no label.
    #[default]
    HeldOut,
    /// The sparse centre loss alone, on cells that are trained on, as the paper has it.
    CenterLoss,
    /// Nothing: training makes all its steps.
    Never,
}

/// Settings of CellPredX. Weights of losses are 0 or more; 0 leaves a loss out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CellPredXConfig {
    /// Width of the embedding. Default 64.
    pub latent_dim: usize,
    /// Width of the gate's context. Default 64, as in the code.
    pub gate_dim: usize,
    /// Weight of the cross-entropy of reference cells. Default 1.
    pub classification_weight: f64,
    /// Weight of the projection's regularisation. Default 0.1 within a modality, as in the code: the paper's 1 leaves the classes little room there, and
    /// fewer cells get the right label; 1 from RNA to ATAC.
    pub projection_weight: f64,
    /// Whether the regularisation keeps the reference's cells apart, by 1 / mean |z - mean|, as it does the query's. Default true; the code computes the term and
    /// leaves it out.
    pub reference_spread: bool,
    /// Weight of NT-Xent between query cells and their neighbours. Default 0.1, by scenario.
    pub contrastive_weight: f64,
    /// Weight of the cosine alignment of query with reference cells. Default 0, by scenario: within one modality the projections agree.
    pub alignment_weight: f64,
    /// Weight of the sparse centre loss. Default 0.1, by scenario.
    pub center_weight: f64,
    /// Weight of the L1 penalty on encoder, gate and classifier. Default 0; the code has 0.1.
    pub l1_weight: f64,
    /// Temperature of NT-Xent, above 0. Default 0.8; 0.04 from RNA to ATAC of the same cells, which may be a slip of 0.4: on 40 real cells 0.4 did
    /// better, on simulated ones 0.04.
    pub temperature: f64,
    /// Neighbours of a query cell, of which one is its partner, at least 1. Default 10.
    pub n_neighbors: usize,
    /// Whether NT-Xent leaves out of a cell's negatives what lies near it: the query cells of the mini-batch that are its neighbours, or that it is a neighbour of, and
    /// itself where it came as another's partner too. Default false, as published.
    pub mask_neighbors: bool,
    /// Principal components in which neighbours are searched. Default 50.
    pub n_pcs: usize,
    /// Share of the query cells of a mini-batch that are aligned, above 0 to 1: those nearest to the reference. Default 0.8.
    pub top_p: f64,
    /// Cosine, with its sign changed, to which a reference cell is pushed from query cells that are not its own. Default none; the code has
    /// 0.5.
    pub negative_margin: Option<f64>,
    /// Query cells whose class is the surest serve the centre loss, with their predicted class: those above this quantile of the mini-batch's
    /// largest probabilities, 0 to 1. Default 0.75.
    pub pseudo_label_quantile: f64,
    /// Steps before the centre loss is trained on. Default 10.
    pub center_start: usize,
    /// What becomes of the class centres. Default learned.
    pub centers: Centers,
    /// How far centres move in a step, above 0 to 1. Default 0.5.
    pub center_rate: f64,
    /// Mean of the gate below which a penalty opens it again, 0 to below 1: nothing else keeps it from closing, which would switch the centre
    /// loss off. 0 lets it close, as published. Default 0.2.
    pub gate_floor: f64,
    /// Whether the centre loss takes the gate of each cell divided by its mean over the dimensions, see [`crate::loss::normalized_gate`]: closing it then gains
    /// nothing, so that `gate_floor` has no effect. Centres still move by the gate as it is. Default false, as published.
    pub normalize_gate: bool,
    /// Where encoder and classifier start; it decides [`CellPredXConfig::metric`]. Default at principal components and at zero.
    pub start: Start,
    /// Cells of each reference and each query in a mini-batch, at least 2. Default 512.
    pub batch_size: usize,
    /// Steps at most, rounded up to whole rounds. Default 400, 3000 from RNA to ATAC; the paper has 200 within a
    /// modality, in which types of a few cells are not learned.
    pub n_steps: usize,
    /// Steps between two looks at the validation loss. Default 10.
    pub steps_per_round: usize,
    /// Learning rate at the start. Default 0.01; the paper has 0.001.
    pub lr: f64,
    /// Factor on it after half of the steps, above 0. Default 0.1, as in the code.
    pub lr_drop: f64,
    /// Momentum of gradient descent, 0 to below 1. Default 0.9, as in the code.
    pub momentum: f64,
    /// Weight decay, 0 or more. Default 5e-4, as in the code.
    pub weight_decay: f64,
    /// Longest gradient; a longer one is scaled down to it. Default 10; published: none.
    pub clip_norm: Option<f64>,
    /// What decides when to stop. Default held-out reference cells.
    pub stopping: Stopping,
    /// Share of each class of the reference that is trained on, above 0 to 1; the rest decides when to stop, and serves to calibrate
    /// probabilities. Default 0.9.
    pub train_frac: f64,
    /// Rounds without a better validation loss before training stops. Default 20.
    pub patience: usize,
    /// Least gain of the validation loss that counts, 0 or more. Default 0.001.
    pub min_delta: f64,
    /// Names all random draws. Default 0.
    pub seed: u64,
}

impl Default for CellPredXConfig {
    fn default() -> Self {
        Self {
            latent_dim: 64,
            gate_dim: 64,
            classification_weight: 1.0,
            projection_weight: 0.1,
            reference_spread: true,
            contrastive_weight: 0.1,
            alignment_weight: 0.0,
            center_weight: 0.1,
            l1_weight: 0.0,
            temperature: 0.8,
            n_neighbors: 10,
            mask_neighbors: false,
            n_pcs: 50,
            top_p: 0.8,
            negative_margin: None,
            pseudo_label_quantile: 0.75,
            center_start: 10,
            centers: Centers::Learned,
            center_rate: 0.5,
            gate_floor: 0.2,
            normalize_gate: false,
            start: Start::Components,
            batch_size: 512,
            n_steps: 400,
            steps_per_round: 10,
            lr: 1e-2,
            lr_drop: 0.1,
            momentum: 0.9,
            weight_decay: 5e-4,
            clip_norm: Some(10.0),
            stopping: Stopping::HeldOut,
            train_frac: 0.9,
            patience: 20,
            min_delta: 1e-3,
            seed: 0,
        }
    }
}

impl CellPredXConfig {
    /// The settings of a preset for data of this kind. The paper's table of weights has lost its symbols: which of its columns is which is
    /// inferred from their order and from the alignment's being 0 within one modality.
    pub fn preset(preset: Preset, scenario: Scenario) -> Self {
        let weights = |contrastive_weight, alignment_weight, center_weight, temperature, n_steps| Self {
            contrastive_weight,
            alignment_weight,
            center_weight,
            temperature,
            n_steps,
            ..Self::default()
        };
        let of_scenario = match scenario {
            Scenario::MatchedRnaToAtac => weights(0.06, 0.05, 0.01, 0.04, 3000),
            Scenario::UnmatchedRnaToAtac => weights(1.2, 0.05, 0.01, 0.8, 3000),
            Scenario::RnaToRna => weights(0.1, 0.0, 0.1, 0.8, 200),
            Scenario::AtacToAtac => weights(0.1, 0.0, 0.001, 0.8, 200),
        };
        match preset {
            Preset::Default => match scenario {
                Scenario::MatchedRnaToAtac | Scenario::UnmatchedRnaToAtac => Self { projection_weight: 1.0, ..of_scenario },
                Scenario::RnaToRna | Scenario::AtacToAtac => Self { n_steps: Self::default().n_steps, ..of_scenario },
            },
            Preset::Paper => Self {
                lr: 1e-3,
                projection_weight: 1.0,
                gate_floor: 0.0,
                start: Start::Random,
                clip_norm: None,
                train_frac: 1.0,
                center_start: 0,
                stopping: if of_scenario.n_steps > 200 { Stopping::CenterLoss } else { Stopping::Never },
                ..of_scenario
            },
            Preset::ReferenceCode => Self {
                // It adds NT-Xent of both orders of the views, which are equal.
                contrastive_weight: 2.0 * of_scenario.contrastive_weight,
                l1_weight: 0.1,
                reference_spread: false,
                negative_margin: Some(0.5),
                gate_floor: 0.0,
                start: Start::Random,
                clip_norm: None,
                train_frac: 1.0,
                stopping: Stopping::Never,
                ..of_scenario
            },
        }
    }

    /// Distance by which cells are compared in the embedding, as novelty, votes of neighbours and smoothing take it; it follows [`CellPredXConfig::start`].
    ///
    /// From principal components, the default, Euclidean: encoder and classifier are linear and no layer normalises, so that lengths tell types apart too, and by
    /// cosine a batch effect counts for more and a new type for less. From random weights, as [`Preset::Paper`] and [`Preset::ReferenceCode`] start, cosine: weights
    /// that no loss trains stay random, and lengths in which they have a part order the cells badly.
    pub fn metric(&self) -> Metric {
        match self.start {
            Start::Components => Metric::Euclidean,
            Start::Random => Metric::Cosine,
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
        let counts = [
            ("latent_dim", self.latent_dim, 1, "use 64"),
            ("gate_dim", self.gate_dim, 1, "use 64"),
            ("n_neighbors", self.n_neighbors, 1, "use 10"),
            ("n_pcs", self.n_pcs, 1, "use 50"),
            ("batch_size", self.batch_size, 2, "use 512"),
            ("n_steps", self.n_steps, 1, "use 200 to 3000"),
            ("steps_per_round", self.steps_per_round, 1, "use 10"),
        ];
        for (name, value, least, fix) in counts {
            if value < least {
                return refuse(name, value as f64, &format!("at least {least}"), fix);
            }
        }
        let weights = [
            ("classification_weight", self.classification_weight),
            ("projection_weight", self.projection_weight),
            ("contrastive_weight", self.contrastive_weight),
            ("alignment_weight", self.alignment_weight),
            ("center_weight", self.center_weight),
            ("l1_weight", self.l1_weight),
        ];
        for (name, weight) in weights {
            if !(weight >= 0.0 && weight.is_finite()) {
                return refuse(name, weight, "0 or more", "use 0 to leave the loss out");
            }
        }
        if self.classification_weight == 0.0 {
            return refuse("classification_weight", 0.0, "above 0", "use 1: nothing else knows of the classes");
        }
        for (name, value) in [("top_p", self.top_p), ("center_rate", self.center_rate)] {
            if !(value > 0.0 && value <= 1.0) {
                return refuse(name, value, "above 0 and at most 1", "leave it out for the default");
            }
        }
        for (name, value) in [("temperature", self.temperature), ("lr_drop", self.lr_drop)] {
            if !(value > 0.0 && value.is_finite()) {
                return refuse(name, value, "above 0", "leave it out for the default");
            }
        }
        if !(0.0..=1.0).contains(&self.pseudo_label_quantile) {
            return refuse("pseudo_label_quantile", self.pseudo_label_quantile, "between 0 and 1", "use 0.75");
        }
        if !(0.0..1.0).contains(&self.gate_floor) {
            return refuse("gate_floor", self.gate_floor, "0 to below 1", "use 0.2");
        }
        if let Some(margin) = self.negative_margin.filter(|m| !(-1.0..=1.0).contains(m)) {
            return refuse("negative_margin", margin, "between -1 and 1", "leave it out for none");
        }
        if self.mask_neighbors && self.contrastive_weight == 0.0 {
            let fix = "leave it out, or give a `contrastive_weight`";
            return Err(Error::argument("mask_neighbors", "has no effect without NT-Xent", fix));
        }
        if self.normalize_gate && self.center_weight == 0.0 {
            let fix = "leave it out, or give a `center_weight`";
            return Err(Error::argument("normalize_gate", "has no effect without the centre loss", fix));
        }
        if self.stopping == Stopping::HeldOut && self.train_frac >= 1.0 {
            let fix = "set `train_frac` below 1, or `stopping` to `never`";
            return Err(Error::argument("stopping", "is `held_out` where no cells are held out", fix));
        }
        self.train().validate()
    }

    pub(super) fn sampler(&self) -> PairedSamplerConfig {
        PairedSamplerConfig { batch_size: self.batch_size, n_batches: self.steps_per_round.min(self.n_steps) }
    }

    /// Settings of the training loop, whose epochs are the rounds.
    pub fn train(&self) -> TrainConfig {
        TrainConfig {
            n_epochs: self.n_steps.div_ceil(self.steps_per_round.max(1)),
            learning_rate: self.lr,
            schedule: Schedule::Drop { at: 0.5, factor: self.lr_drop },
            optimizer: OptimizerConfig::Sgd(SgdConfig {
                momentum: self.momentum,
                weight_decay: self.weight_decay,
                decay: Decay::All,
                nesterov: false,
            }),
            accumulate: 1,
            clip_norm: self.clip_norm,
            train_frac: self.train_frac,
            patience: self.patience,
            min_delta: self.min_delta,
            keep_best: self.stopping == Stopping::HeldOut,
            validation_batch_size: self.batch_size,
            seed: self.seed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_in_every_scenario_and_have_their_names() {
        for (preset, name) in Preset::ALL {
            assert_eq!(serde_json::to_value(preset).unwrap(), name);
            for (scenario, _) in Scenario::ALL {
                CellPredXConfig::preset(preset, scenario).validate().unwrap();
            }
        }
        assert_eq!(CellPredXConfig::preset(Preset::Default, Scenario::RnaToRna), CellPredXConfig::default());
        let matched = CellPredXConfig::preset(Preset::Paper, Scenario::MatchedRnaToAtac);
        assert_eq!((matched.contrastive_weight, matched.alignment_weight, matched.center_weight), (0.06, 0.05, 0.01));
        assert_eq!((matched.temperature, matched.n_steps, matched.stopping), (0.04, 3000, Stopping::CenterLoss));
        let steps = |preset| CellPredXConfig::preset(preset, Scenario::AtacToAtac).n_steps;
        assert_eq!((steps(Preset::Default), steps(Preset::Paper), steps(Preset::ReferenceCode)), (400, 200, 200));
        let code = CellPredXConfig::preset(Preset::ReferenceCode, Scenario::RnaToRna);
        assert_eq!((code.contrastive_weight, code.projection_weight, code.l1_weight), (0.2, 0.1, 0.1));
        assert!(!code.reference_spread && matched.reference_spread && !code.normalize_gate);
    }

    #[test]
    fn distances_follow_the_start() {
        for (scenario, _) in Scenario::ALL {
            let metric = |preset| CellPredXConfig::preset(preset, scenario).metric();
            assert_eq!(
                Preset::ALL.map(|(preset, _)| (preset, metric(preset))),
                [(Preset::Default, Metric::Euclidean), (Preset::Paper, Metric::Cosine), (Preset::ReferenceCode, Metric::Cosine)]
            );
        }
        assert_eq!(CellPredXConfig { start: Start::Random, ..Default::default() }.metric(), Metric::Cosine);
    }

    #[test]
    fn each_bad_option_is_named() {
        let base = CellPredXConfig::default;
        let bad = [
            ("latent_dim", CellPredXConfig { latent_dim: 0, ..base() }),
            ("batch_size", CellPredXConfig { batch_size: 1, ..base() }),
            ("classification_weight", CellPredXConfig { classification_weight: 0.0, ..base() }),
            ("center_weight", CellPredXConfig { center_weight: f64::NAN, ..base() }),
            ("temperature", CellPredXConfig { temperature: 0.0, ..base() }),
            ("top_p", CellPredXConfig { top_p: 0.0, ..base() }),
            ("pseudo_label_quantile", CellPredXConfig { pseudo_label_quantile: 1.5, ..base() }),
            ("gate_floor", CellPredXConfig { gate_floor: 1.0, ..base() }),
            ("normalize_gate", CellPredXConfig { normalize_gate: true, center_weight: 0.0, ..base() }),
            ("mask_neighbors", CellPredXConfig { mask_neighbors: true, contrastive_weight: 0.0, ..base() }),
            ("negative_margin", CellPredXConfig { negative_margin: Some(2.0), ..base() }),
            ("stopping", CellPredXConfig { train_frac: 1.0, ..base() }),
            ("momentum", CellPredXConfig { momentum: 1.0, ..base() }),
            ("lr", CellPredXConfig { lr: 0.0, ..base() }),
        ];
        for (name, config) in bad {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(name), "{name}: {message}");
        }
    }
}
