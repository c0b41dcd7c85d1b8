//! What sets batches apart though their cells are alike: the eight effects of the CONCORD paper, and Splatter's gene factors.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::draw::binomial;
use super::noise::draw;
use super::spec::{Distribution, not_negative, number, probability};
use crate::error::{Error, Result};
use crate::rng::{Rng, Stream};

/// Kind of a batch effect; x is a value of one cell and gene.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectKind {
    /// `x (1 + N(0, level))`.
    VarianceInflation,
    /// Adds a draw of `distribution` with mean `level` and width `dispersion` to every value.
    BatchSpecificDistribution,
    /// Loses values with probability `level`.
    UniformDropout,
    /// Loses values with probability `exp(-level x²)`: low ones first. (The published program loses high ones.)
    ValueDependentDropout,
    /// Keeps each count with probability `level`.
    Downsampling,
    /// `level x`.
    ScalingFactor,
    /// Adds a draw of `distribution` around `level` to a random `gene_fraction` of the genes.
    BatchSpecificExpression,
    /// Appends `gene_fraction` x n_genes new genes, drawn around `level` in this batch and 0 in all others.
    BatchSpecificFeatures,
    /// Multiplies the noise-free expression of each gene by one factor `exp(N(level, dispersion))`, as Splatter's batches.
    GeneFactors,
}

/// One effect on some or all batches. A setting that the kind does not use is refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchEffect {
    /// What happens.
    pub kind: EffectKind,
    /// Strength, see [`EffectKind`]. Default 1, a probability 0.5, the log of gene factors 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<f64>,
    /// Width of what is drawn, see [`Distribution`]. Default 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispersion: Option<f64>,
    /// What is drawn. Default normal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    /// Share of the genes, 0 to 1. Default 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gene_fraction: Option<f64>,
    /// Batches it is on, by number from 1. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batches: Option<Vec<usize>>,
}

impl BatchEffect {
    /// An effect on all batches, its settings at their defaults.
    pub fn new(kind: EffectKind) -> Self {
        Self { kind, level: None, dispersion: None, distribution: None, gene_fraction: None, batches: None }
    }

    pub(super) fn validate(&self, n_batches: usize) -> Result<()> {
        use EffectKind::*;
        let level = self.level();
        match self.kind {
            UniformDropout | Downsampling => probability("batches.effects.level", level)?,
            GeneFactors if !level.is_finite() => {
                return Err(Error::argument("batches.effects.level", format!("is {level}"), "give a finite number"));
            }
            GeneFactors => {}
            _ => not_negative("batches.effects.level", level)?,
        }
        not_negative("batches.effects.dispersion", self.dispersion())?;
        probability("batches.effects.gene_fraction", self.gene_fraction())?;
        let draws = matches!(self.kind, BatchSpecificDistribution | BatchSpecificExpression | BatchSpecificFeatures);
        let unused = [
            ("dispersion", self.dispersion.is_some() && !draws && self.kind != GeneFactors),
            ("distribution", self.distribution.is_some() && !draws),
            (
                "gene_fraction",
                self.gene_fraction.is_some() && !matches!(self.kind, BatchSpecificExpression | BatchSpecificFeatures),
            ),
        ];
        if let Some((name, _)) = unused.iter().find(|(_, given)| *given) {
            let problem = format!("has no effect on {:?}", self.kind);
            return Err(Error::argument(format!("batches.effects.{name}"), problem, "leave it out"));
        }
        let named = self.batches.iter().flatten();
        named.copied().try_for_each(|b| number("batches.effects.batches", b, n_batches).map(|_| ()))
    }

    pub(super) fn is_on(&self, batch: usize) -> bool {
        self.batches.as_ref().is_none_or(|list| list.contains(&(batch + 1)))
    }

    fn level(&self) -> f64 {
        self.level.unwrap_or(match self.kind {
            EffectKind::UniformDropout | EffectKind::Downsampling => 0.5,
            EffectKind::GeneFactors => 0.0,
            _ => 1.0,
        })
    }

    fn dispersion(&self) -> f64 {
        self.dispersion.unwrap_or(0.1)
    }

    fn gene_fraction(&self) -> f64 {
        self.gene_fraction.unwrap_or(0.1)
    }
}

/// One effect on one batch, with what it draws once.
#[derive(Debug, Clone)]
pub(super) enum Effect {
    /// Factor of every gene.
    Factors(Vec<f32>),
    /// New values around a mean, added to some genes.
    Add {
        genes: Genes,
        distribution: Distribution,
        level: f64,
        dispersion: f64,
    },
    Inflate(f64),
    Lose(f64),
    LoseLow(f64),
    Thin(f64),
    Scale(f64),
}

#[derive(Debug, Clone)]
pub(super) enum Genes {
    Run(Range<usize>),
    Chosen(Vec<usize>),
}

/// The effects of every batch, and the number of genes with all that they append.
pub(super) fn prepare(effects: &[BatchEffect], n_batches: usize, n_genes: usize, rng: &Rng) -> (Vec<Vec<Effect>>, usize) {
    let mut total = n_genes;
    let mut out = vec![Vec::new(); n_batches];
    for (e, effect) in effects.iter().enumerate() {
        for (batch, list) in out.iter_mut().enumerate().filter(|(b, _)| effect.is_on(*b)) {
            let mut stream = rng.stream("batch_effect", e as u64, batch as u64);
            let n_chosen = (effect.gene_fraction() * n_genes as f64).round() as usize;
            let (level, dispersion) = (effect.level(), effect.dispersion());
            let add = |genes| {
                let distribution = effect.distribution.unwrap_or(Distribution::Normal);
                Effect::Add { genes, distribution, level, dispersion }
            };
            list.push(match effect.kind {
                EffectKind::VarianceInflation => Effect::Inflate(level),
                EffectKind::UniformDropout => Effect::Lose(level),
                EffectKind::ValueDependentDropout => Effect::LoseLow(level),
                EffectKind::Downsampling => Effect::Thin(level),
                EffectKind::ScalingFactor => Effect::Scale(level),
                EffectKind::BatchSpecificDistribution => add(Genes::Run(0..n_genes)),
                EffectKind::BatchSpecificExpression => {
                    let mut genes = stream.choose(&(0..n_genes).collect::<Vec<_>>(), n_chosen);
                    genes.sort_unstable();
                    add(Genes::Chosen(genes))
                }
                EffectKind::BatchSpecificFeatures => {
                    total += n_chosen;
                    add(Genes::Run(total - n_chosen..total))
                }
                EffectKind::GeneFactors => {
                    Effect::Factors((0..n_genes).map(|_| (level + dispersion * stream.normal()).exp() as f32).collect())
                }
            });
        }
    }
    (out, total)
}

/// Names of the appended genes in their order: the batch, and a number within it.
pub(super) fn appended_names(effects: &[Vec<Effect>], n_genes: usize) -> Vec<String> {
    let mut names = Vec::new();
    for (batch, list) in effects.iter().enumerate() {
        let runs = list.iter().filter_map(|e| match e {
            Effect::Add { genes: Genes::Run(run), .. } if run.start >= n_genes => Some(run.clone()),
            _ => None,
        });
        names.extend(runs.flatten().enumerate().map(|(i, gene)| (gene, format!("batch_{}_gene_{}", batch + 1, i + 1))));
    }
    names.sort_unstable();
    names.into_iter().map(|(_, name)| name).collect()
}

impl Effect {
    /// The part on the noise-free expression.
    pub(super) fn on_mean(&self, mean: &mut [f32]) {
        if let Self::Factors(factors) = self {
            mean.iter_mut().zip(factors).for_each(|(m, f)| *m *= f);
        }
    }

    /// The part on the values of one cell, all genes of all batches.
    pub(super) fn on_values(&self, values: &mut [f32], stream: &mut Stream) {
        match self {
            Self::Factors(_) => {}
            Self::Add { genes, distribution, level, dispersion } => {
                let mut add = |v: &mut f32| *v += draw(*distribution, *level, *dispersion, stream) as f32;
                match genes {
                    Genes::Run(run) => values[run.clone()].iter_mut().for_each(add),
                    Genes::Chosen(list) => list.iter().for_each(|g| add(&mut values[*g])),
                }
            }
            Self::Inflate(level) => change(values, |x| x * (1.0 + level * stream.normal())),
            Self::Lose(p) => change(values, |x| if stream.bernoulli(*p) { 0.0 } else { x }),
            Self::LoseLow(level) => change(values, |x| if stream.bernoulli((-level * x * x).exp()) { 0.0 } else { x }),
            Self::Thin(p) => change(values, |x| x.signum() * thin(x.abs(), *p, stream)),
            Self::Scale(level) => change(values, |x| x * level),
        }
    }
}

/// Zeros stay zero: they cost no draw.
fn change(values: &mut [f32], mut by: impl FnMut(f64) -> f64) {
    values.iter_mut().filter(|v| **v != 0.0).for_each(|v| *v = by(f64::from(*v)) as f32);
}

/// Counts kept of `x`; what is beyond the whole counts is kept or lost as one.
fn thin(x: f64, p: f64, stream: &mut Stream) -> f64 {
    let whole = x.floor();
    let rest = x - whole;
    binomial(whole as u64, p, stream) as f64 + if rest > 0.0 && stream.bernoulli(p) { rest } else { 0.0 }
}
