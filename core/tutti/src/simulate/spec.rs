//! What to simulate, as a plain value that reads and writes as TOML or JSON.

use serde::{Deserialize, Serialize};

use super::effect::BatchEffect;
use super::groups::Groups;
use super::lineage::Lineage;
use super::modality::Modality;
use super::plan::{Overlap, Sizes};
use super::structure::{Clusters, Paths, Trajectory, Tree};
use crate::error::{Error, Result};

/// Everything that fixes a simulation. The default: three clusters of 1000 cells, normal noise, one batch.
///
/// A spec as TOML; what it leaves out has its default:
///
/// ```toml
/// n_cells = 5000
/// n_genes = 2000
/// level = 2.0
///
/// [structure]
/// kind = "trajectory"        # clusters, trajectory, paths, tree, groups, lineage
/// n_programmes = 5
/// loop_to = [1]              # back to programme 1: a closed loop
///
/// [noise]
/// distribution = "negative_binomial"
/// dispersion = 0.5
///
/// [batches]
/// n = 2
/// sizes = { dirichlet = 1.0 }
/// overlap = { partial = 0.4 }
///
/// [[batches.effects]]
/// kind = "downsampling"
/// level = 0.5
/// batches = [2]
/// ```
///
/// Steps per cell: noise-free expression of its state → noise → dropout → `non_neg` → `to_int` → the effects of its batch → `non_neg` and
/// `to_int` again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spec {
    /// Number of cells, all batches together, at least 1.
    pub n_cells: usize,
    /// Number of genes, at least 1; batch-specific features come on top.
    pub n_genes: usize,
    /// Seed of all draws.
    pub seed: u64,
    /// Cells in random order. Default: batch after batch, within a batch state after state (a lineage: as drawn).
    pub shuffle: bool,
    /// Noise-free expression of a gene that is on, above 0 where counts are drawn.
    pub level: f64,
    /// Noise-free expression of a gene that is off, 0 or above. Above 0 every gene is drawn in every cell.
    pub min_level: f64,
    /// Share of the genes that are on in every cell, 0 to below 1; the programmes share the others.
    pub non_specific_gene_fraction: f64,
    /// Probability that a value is lost whatever its size, 0 to below 1.
    pub dropout: f64,
    /// Negative values become 0.
    pub non_neg: bool,
    /// Values are rounded to the nearest integer.
    pub to_int: bool,
    /// How states relate.
    pub structure: Structure,
    /// What is drawn around the noise-free expression.
    pub noise: Noise,
    /// Losses that depend on the noise-free expression, as Splatter draws them; none by default.
    pub dropout_curve: Option<DropoutCurve>,
    /// Batches and what sets them apart.
    pub batches: Batches,
    /// A second assay of the same cells; none by default.
    pub modality: Option<Modality>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            n_cells: 1000,
            n_genes: 1000,
            seed: 0,
            shuffle: false,
            level: 1.0,
            min_level: 0.0,
            non_specific_gene_fraction: 0.0,
            dropout: 0.0,
            non_neg: false,
            to_int: false,
            structure: Structure::Clusters(Clusters::default()),
            noise: Noise::default(),
            dropout_curve: None,
            batches: Batches::default(),
            modality: None,
        }
    }
}

/// How the states of the cells relate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Structure {
    /// Separate groups.
    Clusters(Clusters),
    /// One path through programmes, with loops back to earlier ones.
    Trajectory(Trajectory),
    /// Several paths that may cross.
    Paths(Paths),
    /// A branching lineage.
    Tree(Tree),
    /// Groups of counts as Splatter draws them.
    Groups(Groups),
    /// Barcoded clones that reach fates over several days.
    Lineage(Lineage),
}

impl Structure {
    /// Name in a spec.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Clusters(_) => "clusters",
            Self::Trajectory(_) => "trajectory",
            Self::Paths(_) => "paths",
            Self::Tree(_) => "tree",
            Self::Groups(_) => "groups",
            Self::Lineage(_) => "lineage",
        }
    }
}

/// A distribution around a mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Additive, standard deviation `dispersion`; also where the mean is 0, so that the matrix is dense.
    Normal,
    /// Counts of variance `mean`.
    Poisson,
    /// Counts of variance `mean + dispersion mean²` (1 / dispersion is the `theta` of other packages).
    NegativeBinomial,
    /// Factors `exp(N(-dispersion² / 2, dispersion))`, whose mean is 1.
    LogNormal,
}

/// Noise of every value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Noise {
    /// What is drawn; the default is normal.
    pub distribution: Distribution,
    /// Its width (see [`Distribution`]; Poisson has none), 0 or above, one for all states or one per state in their order. Default 0.1.
    pub dispersion: PerState,
}

impl Default for Noise {
    fn default() -> Self {
        Self { distribution: Distribution::Normal, dispersion: PerState::One(0.1) }
    }
}

/// One number for all states, or one for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "give one number, or a list of one number per state")]
pub enum PerState {
    /// For all.
    One(f64),
    /// For each state, in their order.
    Each(Vec<f64>),
}

impl PerState {
    pub(super) fn values(&self) -> &[f64] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Each(values) => values,
        }
    }

    pub(super) fn of(&self, state: usize) -> f64 {
        match self {
            Self::One(value) => *value,
            Self::Each(values) => values[state],
        }
    }
}

/// Logistic loss of values, `1 / (1 + exp(-shape (ln mean - mid)))` (Zappia et al. 2017). Splatter's own default has `shape = -1`: low
/// values are lost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DropoutCurve {
    /// ln of the noise-free expression at which half are lost; larger loses more. Default 0.
    pub mid: f64,
    /// Steepness; below 0 low values are lost, above 0 high ones. Default -1.
    pub shape: f64,
}

impl Default for DropoutCurve {
    fn default() -> Self {
        Self { mid: 0.0, shape: -1.0 }
    }
}

/// Batches: how many, how large, which states, which effects. Every cell is of exactly one batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Batches {
    /// Number of batches, at least 1 and at most `n_cells`. Default 1.
    pub n: usize,
    /// Shares of the cells. Default: equal.
    pub sizes: Sizes,
    /// Which part of the states each batch has. Default: all.
    pub overlap: Overlap,
    /// States of each batch by number from 1, instead of `overlap`; empty by default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<Vec<usize>>,
    /// Effects, applied in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<BatchEffect>,
}

impl Default for Batches {
    fn default() -> Self {
        Self { n: 1, sizes: Sizes::Equal, overlap: Overlap::Full, states: Vec::new(), effects: Vec::new() }
    }
}

impl Spec {
    /// Refuses what cannot be simulated.
    ///
    /// # Errors
    /// [`Error::Argument`], naming the first key at fault as written in a spec.
    pub fn validate(&self) -> Result<()> {
        at_least_one("n_cells", self.n_cells)?;
        at_least_one("n_genes", self.n_genes)?;
        for (name, n) in [("n_cells", self.n_cells), ("n_genes", self.n_genes)] {
            if n > i32::MAX as usize {
                return Err(Error::argument(name, format!("is {n}"), "give at most 2147483647"));
            }
        }
        at_least_one("batches.n", self.batches.n)?;
        if self.batches.n > self.n_cells {
            let problem = format!("is {} for {} cells", self.batches.n, self.n_cells);
            return Err(Error::argument("batches.n", problem, "give at most one batch per cell"));
        }
        not_negative("level", self.level)?;
        not_negative("min_level", self.min_level)?;
        share("non_specific_gene_fraction", self.non_specific_gene_fraction)?;
        share("dropout", self.dropout)?;
        self.noise.dispersion.values().iter().try_for_each(|d| not_negative("noise.dispersion", *d))?;
        if let Some(curve) = self.dropout_curve
            && !(curve.mid.is_finite() && curve.shape.is_finite())
        {
            return Err(Error::argument("dropout_curve", "is not finite", "give finite `mid` and `shape`"));
        }
        self.batches.sizes.validate("batches.sizes", self.batches.n)?;
        self.batches.overlap.validate()?;
        if !self.batches.states.is_empty() && self.batches.overlap != Overlap::Full {
            return Err(Error::argument("batches.states", "is given beside `overlap`", "leave one of them out"));
        }
        self.batches.effects.iter().try_for_each(|e| e.validate(self.batches.n))?;
        if let Structure::Groups(groups) = &self.structure {
            self.only_groups()?;
            groups.validate()?;
        }
        if let Structure::Lineage(lineage) = &self.structure {
            lineage.validate()?;
        }
        self.modality.as_ref().map_or(Ok(()), Modality::validate)
    }

    /// Groups bring expression and noise of their own: settings they would ignore are refused.
    fn only_groups(&self) -> Result<()> {
        let plain = Self::default();
        let ignored = [
            ("level", self.level != plain.level),
            ("min_level", self.min_level != plain.min_level),
            ("non_specific_gene_fraction", self.non_specific_gene_fraction != 0.0),
            ("noise", self.noise != plain.noise),
        ];
        match ignored.iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(Error::argument(
                *name,
                "has no effect on groups",
                "leave it out, or use `structure.mean_rate` and `structure.bcv`",
            )),
            None => Ok(()),
        }
    }
}

pub(super) fn at_least_one(name: &str, n: usize) -> Result<()> {
    if n == 0 { Err(Error::argument(name, "is 0", "give at least 1")) } else { Ok(()) }
}

pub(super) fn not_negative(name: &str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::argument(name, format!("is {value}"), "give 0 or a positive number"))
}

pub(super) fn positive(name: &str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(Error::argument(name, format!("is {value}"), "give a number above 0"))
}

/// A share from 0 up to but not 1.
pub(super) fn share(name: &str, value: f64) -> Result<()> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::argument(name, format!("is {value}"), "give a number from 0 to below 1"))
}

/// A share from 0 to 1.
pub(super) fn probability(name: &str, value: f64) -> Result<()> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::argument(name, format!("is {value}"), "give a number from 0 to 1"))
}

/// A number from 1 to `n` as an index.
pub(super) fn number(name: &str, value: usize, n: usize) -> Result<usize> {
    if (1..=n).contains(&value) {
        return Ok(value - 1);
    }
    Err(Error::argument(name, format!("is {value}"), format!("give a number from 1 to {n}")))
}
