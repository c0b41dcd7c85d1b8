//! Betti numbers along the filtration, and a score against those expected.

use super::Interval;
use crate::error::{Error, Result};

/// Number of classes alive along the filtration, in one dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct BettiCurve {
    /// Lengths, from 0 to the last finite death of any dimension: the same in all dimensions.
    pub lengths: Vec<f64>,
    /// Classes with birth <= length < death.
    pub betti: Vec<usize>,
}

impl BettiCurve {
    /// The most frequent number; the smallest of several.
    pub fn mode(&self) -> usize {
        self.counts().into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0))).map_or(0, |(betti, _)| betti)
    }

    /// 1 / (1 + variance of the numbers), 0 to 1.
    pub fn stability(&self) -> f64 {
        let n = self.betti.len().max(1) as f64;
        let mean = self.betti.iter().sum::<usize>() as f64 / n;
        1.0 / (1.0 + self.betti.iter().map(|b| (*b as f64 - mean).powi(2)).sum::<f64>() / n)
    }

    /// Shannon entropy of how often each number occurs, nats.
    pub fn entropy(&self) -> f64 {
        let n = self.betti.len().max(1) as f64;
        self.counts().into_iter().map(|(_, count)| count as f64 / n).map(|p| -p * p.ln()).sum()
    }

    fn counts(&self) -> Vec<(usize, usize)> {
        let mut sorted = self.betti.clone();
        sorted.sort_unstable();
        sorted.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect()
    }
}

/// Betti curves of all dimensions on one grid of `n_bins` lengths (100 in the CONCORD paper).
///
/// # Errors
/// [`Error::Argument`] for fewer than 2 bins.
pub fn betti_curves(diagrams: &[Vec<Interval>], n_bins: usize) -> Result<Vec<BettiCurve>> {
    if n_bins < 2 {
        return Err(Error::argument("n_bins", format!("must be at least 2 (got {n_bins})"), "use 100"));
    }
    let ends = diagrams.iter().flatten().flat_map(|i| [i.birth, i.death]).filter(|x| x.is_finite());
    let last = ends.fold(0.0, f64::max);
    let lengths: Vec<f64> = (0..n_bins).map(|i| last * i as f64 / (n_bins - 1) as f64).collect();
    let curve = |diagram: &Vec<Interval>| {
        let alive = |t: &f64| diagram.iter().filter(|i| i.birth <= *t && *t < i.death).count();
        BettiCurve { betti: lengths.iter().map(alive).collect(), lengths: lengths.clone() }
    };
    Ok(diagrams.iter().map(curve).collect())
}

/// How well diagrams show the Betti numbers expected.
#[derive(Debug, Clone, PartialEq)]
pub struct TopologyScore {
    /// Betti number of each dimension: the mode of its curve.
    pub betti: Vec<usize>,
    /// 1 / (1 + sum of the absolute differences to the expected numbers), 0 to 1.
    pub accuracy: f64,
    /// Mean of [`BettiCurve::stability`] over dimensions, 0 to 1.
    pub stability: f64,
    /// Mean of [`BettiCurve::entropy`] over dimensions, nats; not part of the score.
    pub entropy: f64,
    /// 0.8 * accuracy + 0.2 * stability.
    pub score: f64,
}

/// Topology score of the CONCORD benchmark. `expected`: Betti numbers from dimension 0, reduced: 5 clusters are [4, 0, 0], one loop
/// [0, 1, 0], a sphere [0, 0, 1], a torus [0, 2, 1].
///
/// # Errors
/// As [`betti_curves`]; [`Error::Argument`] where `expected` has not one number for each diagram.
pub fn topology_score(diagrams: &[Vec<Interval>], expected: &[usize], n_bins: usize) -> Result<TopologyScore> {
    if expected.len() != diagrams.len() || expected.is_empty() {
        let problem = format!("has {} numbers for {} dimensions", expected.len(), diagrams.len());
        return Err(Error::argument("expected", problem, "give one Betti number for each dimension from 0"));
    }
    let curves = betti_curves(diagrams, n_bins)?;
    let mean = |value: fn(&BettiCurve) -> f64| curves.iter().map(value).sum::<f64>() / curves.len() as f64;
    let betti: Vec<usize> = curves.iter().map(BettiCurve::mode).collect();
    let apart: usize = betti.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).sum();
    let (accuracy, stability) = (1.0 / (1.0 + apart as f64), mean(BettiCurve::stability));
    Ok(TopologyScore { betti, accuracy, stability, entropy: mean(BettiCurve::entropy), score: 0.8 * accuracy + 0.2 * stability })
}
