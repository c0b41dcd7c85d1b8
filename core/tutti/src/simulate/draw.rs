//! Random numbers of the distributions that expression and batches are drawn from.

use crate::rng::Stream;

/// Poisson count whose mean is gamma-distributed: mean `mean`, variance `mean + dispersion * mean²`.
pub(super) fn negative_binomial(mean: f64, dispersion: f64, stream: &mut Stream) -> u64 {
    if dispersion <= 0.0 {
        return poisson(mean, stream);
    }
    let shape = 1.0 / dispersion;
    poisson(gamma(shape, stream) * mean * dispersion, stream)
}

/// Negative binomial of small means by one uniform number, several times faster than by gamma and Poisson.
///
/// Where most genes have one of few means, a search is prepared once for many draws.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    mean: f64,
    dispersion: f64,
    /// Probability of 0, and r and q of `p(k + 1) = p(k) q (k + r) / (k + 1)`; `None` where the search would be long.
    search: Option<(f64, f64, f64)>,
}

impl Counts {
    /// Mean `mean`, variance `mean + dispersion * mean²`.
    pub(super) fn new(mean: f64, dispersion: f64) -> Self {
        let odds = dispersion * mean;
        // Then q is at most 4/5, and all but 1e-16 of the probability lies below a few hundred.
        let short = dispersion > 0.0 && mean < 4.0 && odds < 4.0;
        let search = short.then(|| ((-odds.ln_1p() / dispersion).exp(), 1.0 / dispersion, odds / (1.0 + odds)));
        Self { mean, dispersion, search }
    }

    /// One count.
    pub(super) fn draw(&self, stream: &mut Stream) -> u64 {
        let Some((mut probability, r, q)) = self.search else { return negative_binomial(self.mean, self.dispersion, stream) };
        let mut left = stream.uniform();
        let mut count = 0u64;
        while left >= probability && count < 1000 {
            left -= probability;
            probability *= q * (count as f64 + r) / (count + 1) as f64;
            count += 1;
        }
        count
    }
}

/// Gamma with scale 1 by Marsaglia and Tsang (2000); below shape 1 by their boost, Gamma(a) = Gamma(a + 1) U^(1/a).
pub(super) fn gamma(shape: f64, stream: &mut Stream) -> f64 {
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
pub(super) fn poisson(mean: f64, stream: &mut Stream) -> u64 {
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

/// Count of successes in `n` trials: halves the trials by the beta-distributed middle one (Devroye 1986, X.4.3), then counts.
pub(super) fn binomial(mut n: u64, mut p: f64, stream: &mut Stream) -> u64 {
    let mut successes = 0;
    while n > 32 && p > 0.0 && p < 1.0 {
        let middle = 1 + n / 2;
        let (a, b) = (gamma(middle as f64, stream), gamma((n + 1 - middle) as f64, stream));
        let at = a / (a + b);
        if at <= p {
            successes += middle;
            n -= middle;
            p = (p - at) / (1.0 - at);
        } else {
            n = middle - 1;
            p /= at;
        }
    }
    successes + (0..n).filter(|_| stream.bernoulli(p)).count() as u64
}

/// Shares that sum to 1; a larger concentration makes them more equal.
pub(super) fn dirichlet(n: usize, concentration: f64, stream: &mut Stream) -> Vec<f64> {
    let draws: Vec<f64> = (0..n).map(|_| gamma(concentration, stream)).collect();
    let total: f64 = draws.iter().sum();
    if total > 0.0 { draws.iter().map(|d| d / total).collect() } else { vec![1.0 / n as f64; n] }
}

/// An index with probability in proportion to its weight. Weights are not negative and not all zero.
pub(super) fn pick(weights: &[f64], stream: &mut Stream) -> usize {
    let mut left = stream.uniform() * weights.iter().sum::<f64>();
    for (i, weight) in weights.iter().enumerate() {
        if left < *weight {
            return i;
        }
        left -= weight;
    }
    // Rounding can leave a rest; the last possible index takes it.
    weights.iter().rposition(|w| *w > 0.0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

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
    fn counts_by_search_have_the_probabilities_of_the_negative_binomial() {
        for (mean, dispersion) in [(0.15, 0.5), (2.0, 0.5), (3.9, 1.0), (0.5, 1e-9)] {
            let counts = Counts::new(mean, dispersion);
            assert!(counts.search.is_some());
            let (m, v) = mean_and_variance(N, |s| counts.draw(s) as f64);
            assert_near(m, mean, 0.03);
            assert_near(v, mean + dispersion * mean * mean, 0.06);
            let mut stream = Rng::new(3).stream("test", 0, 0);
            let zeros = (0..N).filter(|_| counts.draw(&mut stream) == 0).count() as f64 / N as f64;
            assert_near(zeros, (1.0 + dispersion * mean).powf(-1.0 / dispersion), 0.02);
        }
        assert!(Counts::new(50.0, 0.5).search.is_none() && Counts::new(1.0, 0.0).search.is_none());
    }

    #[test]
    fn binomial_has_its_mean_and_variance_on_both_sides_of_the_switch() {
        for (n, p) in [(5u64, 0.3), (32, 0.9), (33, 0.5), (1000, 0.02), (100_000, 0.7)] {
            let (m, v) = mean_and_variance(50_000, |s| binomial(n, p, s) as f64);
            assert_near(m, n as f64 * p, 0.02);
            assert_near(v, n as f64 * p * (1.0 - p), 0.04);
        }
        let mut stream = Rng::new(0).stream("test", 0, 0);
        assert_eq!((binomial(500, 1.0, &mut stream), binomial(500, 0.0, &mut stream)), (500, 0));
    }

    #[test]
    fn dirichlet_shares_sum_to_one_with_the_variance_of_a_beta() {
        // One share of n with concentration a is Beta(a, (n - 1) a).
        let (n, a) = (5.0, 0.8);
        let (m, v) = mean_and_variance(50_000, |s| {
            let shares = dirichlet(5, a, s);
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            shares[0]
        });
        assert_near(m, 1.0 / n, 0.02);
        assert_near(v, (1.0 / n) * (1.0 - 1.0 / n) / (n * a + 1.0), 0.04);
    }

    #[test]
    fn log_factorial_is_continuous_at_its_switch() {
        let product = |k: u64| (2..=k).map(|i| (i as f64).ln()).sum::<f64>();
        for k in [0u64, 1, 9, 10, 11, 50] {
            assert!((log_factorial(k as f64) - product(k)).abs() < 1e-9);
        }
    }
}
