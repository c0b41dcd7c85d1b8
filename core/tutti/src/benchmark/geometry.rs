//! Whether an embedding keeps the geometry of a known truth.

use ndarray::{ArrayView2, Axis};

use super::BenchmarkConfig;
use crate::error::Result;
use crate::metrics::{Correlation, distance_correlation, trustworthiness};
use crate::rng::Rng;

/// Agreement with the truth, more is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GeometryScores {
    /// Mean trustworthiness over 10, 20, ... 100 neighbours, 0 to 1; those of at least half of the cells are left out.
    pub trustworthiness: Option<f64>,
    /// Pearson correlation of the distances between cells, -1 to 1.
    pub pearson: f64,
    /// Spearman correlation of the distances between cells, -1 to 1.
    pub spearman: f64,
}

impl GeometryScores {
    /// Mean of trustworthiness and Pearson correlation: the geometry score of CONCORD's benchmark.
    pub fn mean(&self) -> f64 {
        self.trustworthiness.map_or(self.pearson, |t| 0.5 * (t + self.pearson))
    }
}

/// Both [n_cells, any]; at most `max_cells` of the cells are compared.
pub(super) fn compare(truth: ArrayView2<'_, f32>, x: ArrayView2<'_, f32>, config: &BenchmarkConfig) -> Result<GeometryScores> {
    let cells = drawn(x.nrows(), config.max_cells, config.seed);
    let (truth, x) = (truth.select(Axis(0), &cells), x.select(Axis(0), &cells));
    let n_neighbors: Vec<usize> = (1..=10).map(|k| 10 * k).filter(|k| 2 * k < cells.len()).collect();
    let trusted = trustworthiness(truth.view(), x.view(), &n_neighbors, config.metric)?;
    let correlated = |which| distance_correlation(truth.view(), x.view(), config.metric, which, config.seed);
    Ok(GeometryScores {
        trustworthiness: (!trusted.is_empty()).then(|| trusted.iter().sum::<f64>() / trusted.len() as f64),
        pearson: correlated(Correlation::Pearson)?,
        spearman: correlated(Correlation::Spearman)?,
    })
}

/// All of `n` cells, or `most` of them, ascending.
fn drawn(n: usize, most: usize, seed: u64) -> Vec<usize> {
    let mut cells: Vec<usize> = (0..n).collect();
    if n > most {
        let mut stream = Rng::new(seed).stream("cells to compare", 0, 0);
        (0..most).for_each(|i| cells.swap(i, i + stream.below(n - i)));
        cells.truncate(most);
        cells.sort_unstable();
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn what_is_true_scores_one_also_on_a_part_of_the_cells() {
        let mut stream = Rng::new(2).stream("points", 0, 0);
        let x = Array2::from_shape_fn((400, 3), |_| stream.normal() as f32);
        let scores = compare(x.view(), x.view(), &BenchmarkConfig { max_cells: 150, ..Default::default() }).unwrap();
        assert_eq!(scores.trustworthiness, Some(1.0));
        assert!((scores.mean() - 1.0).abs() < 1e-9 && (scores.spearman - 1.0).abs() < 1e-9);
        let cells = drawn(400, 150, 0);
        assert!(cells.len() == 150 && cells.windows(2).all(|w| w[0] < w[1]) && cells[149] < 400);
    }
}
