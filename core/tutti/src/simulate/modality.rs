//! A second assay of the same cells: gene activity from open chromatin, or surface proteins.

use serde::{Deserialize, Serialize};

use super::draw::Counts;
use super::spec::{at_least_one, not_negative, positive, probability, share};
use crate::error::{Error, Result};
use crate::rng::{Rng, Stream};

/// A second assay. Its counts are negative-binomial around what the noise-free expression of the RNA says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Modality {
    /// Gene activity: the genes of the RNA, counted in open chromatin.
    Atac(Atac),
    /// Surface proteins, each of one gene.
    Protein(Protein),
}

/// Gene activity. Mean of a gene: its accessibility x (`background` + `level` x relative expression).
///
/// Relative expression is 0 for off and 1 for on (for groups: relative to the gene's mean over groups).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Atac {
    /// Mean counts of a gene that is on, above 0. Default 0.6: sparser than RNA.
    pub level: f64,
    /// Mean counts of a gene that is off, 0 or above. Default 0.1.
    pub background: f64,
    /// Share of the genes whose activity follows the RNA, 0 to 1; the others are half open in all cells. Default 0.8.
    pub concordance: f64,
    /// Standard deviation of the log of a gene's accessibility. Default 0.5.
    pub accessibility_spread: f64,
    /// Standard deviation of the log of a cell's depth. Default 0.4.
    pub depth_spread: f64,
    /// Overdispersion: variance = mean + dispersion mean². Default 0.5.
    pub dispersion: f64,
    /// Probability that a count is lost, 0 to below 1. Default 0.3.
    pub dropout: f64,
}

impl Default for Atac {
    fn default() -> Self {
        Self {
            level: 0.6,
            background: 0.1,
            concordance: 0.8,
            accessibility_spread: 0.5,
            depth_spread: 0.4,
            dispersion: 0.5,
            dropout: 0.3,
        }
    }
}

/// Surface proteins. Mean of a protein: ambient background + `level` x relative expression of its gene.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Protein {
    /// Number of proteins, at most n_genes. Default 30.
    pub n: usize,
    /// Mean counts of a protein whose gene is on, above 0. Default 100.
    pub level: f64,
    /// Median counts of ambient antibody, 0 or above. Default 10.
    pub background: f64,
    /// Standard deviation of the log of that background over proteins. Default 0.5.
    pub background_spread: f64,
    /// Standard deviation of the log of a cell's depth. Default 0.2.
    pub depth_spread: f64,
    /// Overdispersion: variance = mean + dispersion mean². Default 0.1.
    pub dispersion: f64,
}

impl Default for Protein {
    fn default() -> Self {
        Self { n: 30, level: 100.0, background: 10.0, background_spread: 0.5, depth_spread: 0.2, dispersion: 0.1 }
    }
}

impl Modality {
    /// `atac` or `protein`, as files of it are named.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Atac(_) => "atac",
            Self::Protein(_) => "protein",
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        let (level, not_below_0) = match self {
            Self::Atac(a) => {
                probability("modality.concordance", a.concordance)?;
                share("modality.dropout", a.dropout)?;
                let spreads = ("accessibility_spread", a.accessibility_spread);
                (a.level, [("background", a.background), spreads, ("depth_spread", a.depth_spread), ("dispersion", a.dispersion)])
            }
            Self::Protein(p) => {
                at_least_one("modality.n", p.n)?;
                let spreads = ("background_spread", p.background_spread);
                (p.level, [("background", p.background), spreads, ("depth_spread", p.depth_spread), ("dispersion", p.dispersion)])
            }
        };
        positive("modality.level", level)?;
        not_below_0.iter().try_for_each(|(name, value)| not_negative(&format!("modality.{name}"), *value))
    }
}

/// One feature of the second assay.
#[derive(Debug, Clone)]
struct Feature {
    gene: usize,
    /// Mean counts where the gene is off and on.
    off: f64,
    on: f64,
}

/// What is drawn once for all cells.
#[derive(Debug, Clone)]
pub(super) struct ModalityModel {
    pub names: Vec<String>,
    features: Vec<Feature>,
    depth_spread: f64,
    dispersion: f64,
    dropout: f64,
}

impl ModalityModel {
    pub(super) fn new(modality: &Modality, gene_names: &[String], rng: &Rng) -> Result<Self> {
        let mut stream = rng.stream("modality", 0, 0);
        let n_genes = gene_names.len();
        match modality {
            Modality::Atac(a) => {
                let features = (0..n_genes).map(|gene| {
                    let open = (a.accessibility_spread * stream.normal()).exp();
                    let (off, on) = if stream.bernoulli(a.concordance) {
                        (a.background, a.background + a.level)
                    } else {
                        (a.background + a.level / 2.0, a.background + a.level / 2.0)
                    };
                    Feature { gene, off: open * off, on: open * on }
                });
                let features = features.collect();
                let (depth_spread, dispersion, dropout) = (a.depth_spread, a.dispersion, a.dropout);
                Ok(Self { names: gene_names.to_vec(), features, depth_spread, dispersion, dropout })
            }
            Modality::Protein(p) => {
                if p.n > n_genes {
                    let problem = format!("is {} for {n_genes} genes", p.n);
                    return Err(Error::argument("modality.n", problem, "give at most one protein per gene"));
                }
                // Evenly over the genes, so that every programme has its share.
                let features = (0..p.n).map(|i| {
                    let gene = (2 * i + 1) * n_genes / (2 * p.n);
                    let off = p.background * (p.background_spread * stream.normal()).exp();
                    Feature { gene, off, on: off + p.level }
                });
                let features: Vec<Feature> = features.collect();
                let names = features.iter().map(|f| format!("protein_of_{}", gene_names[f.gene])).collect();
                Ok(Self { names, features, depth_spread: p.depth_spread, dispersion: p.dispersion, dropout: 0.0 })
            }
        }
    }

    /// Mean counts of each feature before depth; `relative`: expression of a gene, 0 off, 1 on.
    pub(super) fn express(&self, relative: impl Fn(usize) -> f64, mean: &mut [f32]) {
        for (m, feature) in mean.iter_mut().zip(&self.features) {
            *m = (feature.off + (feature.on - feature.off) * relative(feature.gene)) as f32;
        }
    }

    /// Counts of one cell around the means.
    pub(super) fn add_noise(&self, values: &mut [f32], stream: &mut Stream) {
        let depth = (self.depth_spread * stream.normal()).exp();
        for value in values {
            let count = Counts::new(f64::from(*value) * depth, self.dispersion).draw(stream);
            *value = if count > 0 && stream.bernoulli(self.dropout) { 0.0 } else { count as f32 };
        }
    }
}
