//! Groups of counts after Splatter (Zappia, Phipson and Oshlack 2017).

use serde::{Deserialize, Serialize};

use super::draw::{Counts, gamma};
use super::plan::Sizes;
use super::spec::{at_least_one, not_negative, positive, probability};
use crate::error::Result;
use crate::rng::{Rng, Stream};

/// Groups whose genes differ by log-normal factors; defaults are Splatter's. Batches of such data are told apart by
/// [`EffectKind::GeneFactors`](super::EffectKind::GeneFactors), losses by [`DropoutCurve`](super::DropoutCurve). Truth: `cell_type`.
///
/// Gene means are Gamma(`mean_shape`, `mean_rate`), some of them raised as outliers; shares of a group's genes times a log-normal library
/// size are the noise-free expression; counts are Poisson around a gamma of coefficient of variation
/// `(bcv + 1 / sqrt(mean)) sqrt(bcv_df / chi²(bcv_df))`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Groups {
    /// Number of groups, at least 1. Default 5.
    pub n: usize,
    /// Shares of the cells. Default: equal.
    pub sizes: Sizes,
    /// Probability that a gene differs in a group, 0 to 1. Default 0.1.
    pub de_prob: f64,
    /// Mean of the log of its factor. Default 0.1.
    pub de_loc: f64,
    /// Standard deviation of the log of its factor: the strength of the signal. Default 0.4.
    pub de_scale: f64,
    /// Probability that a factor lowers, 0 to 1. Default 0.5.
    pub down_prob: f64,
    /// Shape of the gamma of gene means. Default 0.6.
    pub mean_shape: f64,
    /// Rate of the gamma of gene means. Default 0.3.
    pub mean_rate: f64,
    /// Probability that a gene is an outlier. Default 0.05.
    pub outlier_prob: f64,
    /// Mean of the log of an outlier's factor. Default 4.
    pub outlier_loc: f64,
    /// Standard deviation of the log of an outlier's factor. Default 0.5.
    pub outlier_scale: f64,
    /// Mean of the log of the library size. Default 11, which suits 10,000 genes.
    pub library_loc: f64,
    /// Standard deviation of the log of the library size. Default 0.2.
    pub library_scale: f64,
    /// Coefficient of variation of highly expressed genes, 0 or above. Default 0.1.
    pub bcv: f64,
    /// Degrees of freedom of its spread over genes, above 0. Default 60.
    pub bcv_df: f64,
}

impl Default for Groups {
    fn default() -> Self {
        Self {
            n: 5,
            sizes: Sizes::Equal,
            de_prob: 0.1,
            de_loc: 0.1,
            de_scale: 0.4,
            down_prob: 0.5,
            mean_shape: 0.6,
            mean_rate: 0.3,
            outlier_prob: 0.05,
            outlier_loc: 4.0,
            outlier_scale: 0.5,
            library_loc: 11.0,
            library_scale: 0.2,
            bcv: 0.1,
            bcv_df: 60.0,
        }
    }
}

impl Groups {
    pub(super) fn validate(&self) -> Result<()> {
        at_least_one("structure.n", self.n)?;
        for (name, value) in [("de_prob", self.de_prob), ("down_prob", self.down_prob), ("outlier_prob", self.outlier_prob)] {
            probability(&format!("structure.{name}"), value)?;
        }
        for (name, value) in [("mean_shape", self.mean_shape), ("mean_rate", self.mean_rate), ("bcv_df", self.bcv_df)] {
            positive(&format!("structure.{name}"), value)?;
        }
        let widths = [
            ("de_loc", self.de_loc),
            ("de_scale", self.de_scale),
            ("outlier_loc", self.outlier_loc),
            ("outlier_scale", self.outlier_scale),
            ("library_loc", self.library_loc),
            ("library_scale", self.library_scale),
            ("bcv", self.bcv),
        ];
        widths.iter().try_for_each(|(name, value)| not_negative(&format!("structure.{name}"), *value))
    }
}

/// What is drawn once for all cells: n_groups x n_genes shares.
#[derive(Debug, Clone)]
pub(super) struct GroupModel {
    n_genes: usize,
    /// Share of each gene in the counts of a group, [n_groups, n_genes].
    shares: Vec<f32>,
    /// sqrt(df / chi²) of each gene.
    spread: Vec<f32>,
    library: (f64, f64),
    bcv: f64,
}

impl GroupModel {
    pub(super) fn new(config: &Groups, n_genes: usize, rng: &Rng) -> Self {
        let mut stream = rng.stream("gene_means", 0, 0);
        let mut means: Vec<f64> = (0..n_genes).map(|_| gamma(config.mean_shape, &mut stream) / config.mean_rate).collect();
        let mut sorted = means.clone();
        sorted.sort_by(f64::total_cmp);
        let median = sorted[n_genes / 2];
        for mean in &mut means {
            if stream.bernoulli(config.outlier_prob) {
                *mean = median * log_normal(config.outlier_loc, config.outlier_scale, &mut stream);
            }
        }
        let mut shares = Vec::with_capacity(config.n * n_genes);
        for group in 0..config.n {
            let mut stream = rng.stream("group_factors", 0, group as u64);
            let levels: Vec<f64> = means.iter().map(|m| m * config.factor(&mut stream)).collect();
            let total: f64 = levels.iter().sum();
            shares.extend(levels.iter().map(|l| (l / total) as f32));
        }
        let half = config.bcv_df / 2.0;
        let mut stream = rng.stream("gene_spread", 0, 0);
        let spread = (0..n_genes).map(|_| (half / gamma(half, &mut stream)).sqrt() as f32).collect();
        Self { n_genes, shares, spread, library: (config.library_loc, config.library_scale), bcv: config.bcv }
    }

    /// Noise-free expression of one cell.
    pub(super) fn express(&self, group: usize, stream: &mut Stream, mean: &mut [f32]) {
        let library = log_normal(self.library.0, self.library.1, stream) as f32;
        let shares = &self.shares[group * self.n_genes..(group + 1) * self.n_genes];
        mean.iter_mut().zip(shares).for_each(|(m, s)| *m = s * library);
    }

    /// Expression of a gene on average over groups, at the median library size.
    pub(super) fn usual(&self, gene: usize) -> f64 {
        let shares = self.shares.iter().skip(gene).step_by(self.n_genes);
        let n_groups = self.shares.len() / self.n_genes;
        shares.map(|s| f64::from(*s)).sum::<f64>() / n_groups as f64 * self.library.0.exp()
    }

    /// Counts around the means of one cell.
    pub(super) fn add_noise(&self, values: &mut [f32], stream: &mut Stream) {
        for (value, spread) in values.iter_mut().zip(&self.spread).filter(|(v, _)| **v > 0.0) {
            let mean = f64::from(*value);
            let cv = (self.bcv + 1.0 / mean.sqrt()) * f64::from(*spread);
            *value = Counts::new(mean, cv * cv).draw(stream) as f32;
        }
    }
}

impl Groups {
    /// Factor of one gene in one group.
    fn factor(&self, stream: &mut Stream) -> f64 {
        if !stream.bernoulli(self.de_prob) {
            return 1.0;
        }
        // A factor below 1 would turn the direction round: Splatter takes its inverse, and lowers by the inverse of that.
        let drawn = log_normal(self.de_loc, self.de_scale, stream);
        let raised = if drawn < 1.0 { 1.0 / drawn } else { drawn };
        if stream.bernoulli(self.down_prob) { 1.0 / raised } else { raised }
    }
}

fn log_normal(location: f64, scale: f64, stream: &mut Stream) -> f64 {
    (location + scale * stream.normal()).exp()
}
