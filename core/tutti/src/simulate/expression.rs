//! From expected shares to counts: gamma, Poisson and their mixture, the negative binomial.

use super::SimulateConfig;
use super::batch_effect::BatchEffect;
use super::topology::Topology;
use crate::rng::{Rng, Stream};

/// Spread of the genes' base level (log scale): few genes make most of the counts.
const GENE_SPREAD: f64 = 1.6;

/// Expected share of each gene, one profile per batch and type; each sums to 1.
pub(super) struct Profiles {
    n_genes: usize,
    n_types: usize,
    shares: Vec<f64>,
}

impl Profiles {
    pub(super) fn new(config: &SimulateConfig, topology: &Topology, effect: &BatchEffect, rng: &Rng) -> Self {
        let mut stream = rng.stream("gene_level", 0, 0);
        let base: Vec<f64> = (0..config.n_genes).map(|_| stream.normal() * GENE_SPREAD).collect();
        let mut shares = Vec::with_capacity(config.n_batches * config.n_types * config.n_genes);
        for batch in 0..config.n_batches {
            for cell_type in 0..config.n_types {
                let changes = topology.log_folds(cell_type).iter().zip(effect.log_folds(batch));
                let levels: Vec<f64> = base.iter().zip(changes).map(|(b, (t, e))| (b + t + e).exp()).collect();
                let total: f64 = levels.iter().sum();
                shares.extend(levels.iter().map(|l| l / total));
            }
        }
        Self { n_genes: config.n_genes, n_types: config.n_types, shares }
    }

    /// Share of each gene in the counts of a cell of this batch and type.
    pub(super) fn shares(&self, batch: usize, cell_type: usize) -> &[f64] {
        let profile = batch * self.n_types + cell_type;
        &self.shares[profile * self.n_genes..(profile + 1) * self.n_genes]
    }
}

/// Counts of one cell, genes ascending, zeros left out.
pub(super) fn draw_row(shares: &[f64], library_size: f64, config: &SimulateConfig, stream: &mut Stream) -> Vec<(u32, f32)> {
    let mut row = Vec::new();
    for (gene, share) in shares.iter().enumerate() {
        let count = negative_binomial(share * library_size, config.dispersion, stream);
        if count > 0 && !(config.dropout > 0.0 && stream.bernoulli(config.dropout)) {
            row.push((gene as u32, count as f32));
        }
    }
    row
}

/// Poisson count whose mean is gamma-distributed: mean `mean`, variance `mean + dispersion * mean²`.
fn negative_binomial(mean: f64, dispersion: f64, stream: &mut Stream) -> u64 {
    if dispersion <= 0.0 {
        return poisson(mean, stream);
    }
    let shape = 1.0 / dispersion;
    poisson(gamma(shape, stream) * mean * dispersion, stream)
}

/// Gamma with scale 1 by Marsaglia and Tsang (2000); below shape 1 by their boost, Gamma(a) = Gamma(a + 1) U^(1/a).
fn gamma(shape: f64, stream: &mut Stream) -> f64 {
    if shape < 1.0 {
        let boost = (1.0 - stream.uniform()).powf(1.0 / shape);
        return gamma(shape + 1.0, stream) * boost;
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = stream.normal();
        let v = (1.0 + c * x).powi(3);
        // 1 - uniform lies in (0, 1], so that its logarithm is finite.
        if v > 0.0 && (1.0 - stream.uniform()).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

/// Poisson: sequential search for small means, Hörmann's transformed rejection (PTRS, 1993) from 10 on.
fn poisson(mean: f64, stream: &mut Stream) -> u64 {
    if mean < 10.0 { poisson_by_search(mean, stream) } else { poisson_by_rejection(mean, stream) }
}

fn poisson_by_search(mean: f64, stream: &mut Stream) -> u64 {
    let mut left = stream.uniform();
    let (mut count, mut probability) = (0u64, (-mean).exp());
    // Past 200 (mean below 10) the probabilities are below rounding; the bound ends the search for `left` next to 1.
    while left >= probability && count < 200 {
        left -= probability;
        count += 1;
        probability *= mean / count as f64;
    }
    count
}

fn poisson_by_rejection(mean: f64, stream: &mut Stream) -> u64 {
    let log_mean = mean.ln();
    let b = 0.931 + 2.53 * mean.sqrt();
    let a = -0.059 + 0.02483 * b;
    let log_inverse_alpha = (1.1239 + 1.1328 / (b - 3.4)).ln();
    let accept_below = 0.9277 - 3.6224 / (b - 2.0);
    loop {
        let u = stream.uniform() - 0.5;
        let v = 1.0 - stream.uniform();
        let edge = 0.5 - u.abs();
        if edge <= 0.0 {
            continue;
        }
        let k = ((2.0 * a / edge + b) * u + mean + 0.43).floor();
        if edge >= 0.07 && v <= accept_below {
            return k as u64;
        }
        if k < 0.0 || (edge < 0.013 && v > edge) {
            continue;
        }
        let bound = k * log_mean - mean - log_factorial(k);
        if v.ln() + log_inverse_alpha - (a / (edge * edge) + b).ln() <= bound {
            return k as u64;
        }
    }
}

/// ln k! by its product up to 9, by Stirling's series from 10 on (error below 1e-9).
fn log_factorial(k: f64) -> f64 {
    if k < 10.0 {
        return (2..=k as u64).map(|i| (i as f64).ln()).sum();
    }
    let inverse = 1.0 / k;
    let series = inverse * (1.0 / 12.0 - inverse * inverse * (1.0 / 360.0 - inverse * inverse / 1260.0));
    (k + 0.5) * k.ln() - k + 0.5 * std::f64::consts::TAU.ln() + series
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_and_variance(n: usize, mut draw: impl FnMut(&mut Stream) -> f64) -> (f64, f64) {
        let mut stream = Rng::new(11).stream("test", 0, 0);
        let values: Vec<f64> = (0..n).map(|_| draw(&mut stream)).collect();
        let mean = values.iter().sum::<f64>() / n as f64;
        (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64)
    }

    #[track_caller]
    fn assert_near(seen: f64, wanted: f64, tolerance: f64) {
        assert!((seen - wanted).abs() <= tolerance * wanted, "{seen} instead of {wanted}");
    }

    const N: usize = 200_000;

    #[test]
    fn gamma_has_mean_and_variance_equal_to_its_shape() {
        for shape in [0.3, 1.0, 2.5, 40.0] {
            let (mean, variance) = mean_and_variance(N, |s| gamma(shape, s));
            assert_near(mean, shape, 0.02);
            assert_near(variance, shape, 0.04);
        }
    }

    #[test]
    fn poisson_has_mean_and_variance_equal_to_its_rate_on_both_sides_of_the_switch() {
        for rate in [0.05, 1.0, 9.9, 10.1, 30.0, 4000.0] {
            let (mean, variance) = mean_and_variance(N, |s| poisson(rate, s) as f64);
            assert_near(mean, rate, 0.03);
            assert_near(variance, rate, 0.04);
        }
        let mut stream = Rng::new(0).stream("test", 0, 0);
        assert_eq!(poisson(0.0, &mut stream), 0);
    }

    #[test]
    fn poisson_by_rejection_has_the_right_probabilities() {
        // Chi-square over counts 5..=20 of a Poisson of mean 12, the rest in one class: 16 degrees of freedom, p = 0.001.
        let mut stream = Rng::new(5).stream("test", 0, 0);
        let mut seen = [0f64; 17];
        for _ in 0..N {
            let k = poisson(12.0, &mut stream) as usize;
            seen[if (5..=20).contains(&k) { k - 5 } else { 16 }] += 1.0;
        }
        let mut expected: Vec<f64> =
            (5..=20).map(|k| N as f64 * (k as f64 * 12f64.ln() - 12.0 - log_factorial(k as f64)).exp()).collect();
        expected.push(N as f64 - expected.iter().sum::<f64>());
        let chi2: f64 = seen.iter().zip(&expected).map(|(s, e)| (s - e).powi(2) / e).sum();
        assert!(chi2 < 39.3, "chi-square {chi2}");
    }

    #[test]
    fn negative_binomial_has_its_overdispersion() {
        for (mean, dispersion) in [(0.2, 0.4), (3.0, 0.4), (50.0, 2.0), (3.0, 0.0)] {
            let (m, v) = mean_and_variance(N, |s| negative_binomial(mean, dispersion, s) as f64);
            assert_near(m, mean, 0.03);
            assert_near(v, mean + dispersion * mean * mean, 0.06);
        }
    }

    #[test]
    fn log_factorial_is_continuous_at_its_switch() {
        let product = |k: u64| (2..=k).map(|i| (i as f64).ln()).sum::<f64>();
        for k in [0u64, 1, 9, 10, 11, 50] {
            assert!((log_factorial(k as f64) - product(k)).abs() < 1e-9);
        }
    }
}
