//! Whether distances and neighbourhoods of one space hold in another.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::check_cells;
use crate::error::{Error, Result};
use crate::neighbors::{Metric, NeighborConfig, nearest_self};
use crate::observe::may_stop;
use crate::rng::Rng;

/// Trustworthiness (Venna and Kaski 2001) at each of `n_neighbors`, 0 to 1: 1 where all neighbours in `embedding` are neighbours in
/// `original`; strangers cost by their rank there.
///
/// Both [n_cells, any]; `metric` holds for both. Time n² (d + log n), memory n * 8 bytes per thread.
///
/// # Errors
/// [`Error::Data`] for unequal numbers of cells; [`Error::Argument`] for numbers of neighbours outside of 1 to n / 2.
pub fn trustworthiness(
    original: ArrayView2<'_, f32>,
    embedding: ArrayView2<'_, f32>,
    n_neighbors: &[usize],
    metric: Metric,
) -> Result<Vec<f64>> {
    let n = original.nrows();
    check_cells(n, &[("an embedding", embedding.nrows())])?;
    let Some(most) = n_neighbors.iter().max().copied() else { return Ok(Vec::new()) };
    if n_neighbors.contains(&0) || 2 * most >= n {
        let problem = format!("must be at least 1 and below half of the {n} cells (got {n_neighbors:?})");
        return Err(Error::argument("n_neighbors", problem, "use 10 to 100, and fewer for few cells"));
    }
    let config = NeighborConfig { n_neighbors: most + 1, metric, ..Default::default() };
    let near = nearest_self(embedding, &config)?;
    let ranks = Distances::new(original, metric);
    let penalties: Vec<Vec<f64>> = (0..n)
        .into_par_iter()
        .map(|i| {
            may_stop();
            let mut order: Vec<(f64, u32)> = (0..n).filter(|j| *j != i).map(|j| (ranks.between(i, j), j as u32)).collect();
            order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let mut rank = vec![0u32; n];
            order.iter().zip(1u32..).for_each(|((_, j), r)| rank[*j as usize] = r);
            let others: Vec<u32> = near.row(i).0.iter().copied().filter(|j| *j as usize != i).take(most).collect();
            let penalty =
                |k: &usize| others[..*k].iter().map(|j| f64::from(rank[*j as usize]) - *k as f64).filter(|p| *p > 0.0).sum();
            n_neighbors.iter().map(penalty).collect()
        })
        .collect();
    let score = |(at, k): (usize, &usize)| {
        let (n, k) = (n as f64, *k as f64);
        1.0 - 2.0 / (n * k * (2.0 * n - 3.0 * k - 1.0)) * penalties.iter().map(|p| p[at]).sum::<f64>()
    };
    Ok(n_neighbors.iter().enumerate().map(score).collect())
}

/// Which correlation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Correlation {
    /// Of the values.
    Pearson,
    /// Of the ranks, ties at their mean rank.
    Spearman,
    /// Of the orders of pairs, tau-b.
    Kendall,
}

/// Pairs above which distances are compared on a random sample.
const PAIRS: usize = 2_000_000;

/// Correlation of the distances between cells in two spaces, -1 to 1: over all pairs up to 2 million, over as many random ones above.
///
/// # Errors
/// [`Error::Data`] for unequal numbers of cells, fewer than 3, or a space in which all distances are equal.
pub fn distance_correlation(
    a: ArrayView2<'_, f32>,
    b: ArrayView2<'_, f32>,
    metric: Metric,
    correlation: Correlation,
    seed: u64,
) -> Result<f64> {
    let n = a.nrows();
    check_cells(n, &[("the second space", b.nrows())])?;
    if n < 3 {
        return Err(Error::data(format!("{n} cells have no distances to compare"), "give at least 3"));
    }
    let all = n * (n - 1) / 2;
    let pairs: Vec<(usize, usize)> = if all <= PAIRS {
        (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))).collect()
    } else {
        let mut stream = Rng::new(seed).stream("pairs of cells", 0, 0);
        let pair = |_| {
            let (i, j) = (stream.below(n), stream.below(n - 1));
            (i, if j < i { j } else { j + 1 })
        };
        (0..PAIRS).map(pair).collect()
    };
    let distances = |x| {
        let distances = Distances::new(x, metric);
        pairs.par_iter().map(|(i, j)| distances.between(*i, *j)).collect::<Vec<f64>>()
    };
    let (a, b) = (distances(a), distances(b));
    let found = correlate(&a, &b, correlation);
    found.ok_or_else(|| Error::data("all distances of one space are equal", "give an embedding that tells cells apart"))
}

/// `None` where one side does not vary.
pub(super) fn correlate(a: &[f64], b: &[f64], correlation: Correlation) -> Option<f64> {
    match correlation {
        Correlation::Pearson => pearson(a, b),
        Correlation::Spearman => pearson(&ranks(a), &ranks(b)),
        Correlation::Kendall => kendall(a, b),
    }
}

/// Distances between rows.
pub(super) struct Distances {
    x: Array2<f64>,
    metric: Metric,
}

impl Distances {
    pub(super) fn new(x: ArrayView2<'_, f32>, metric: Metric) -> Self {
        Self::of(x.mapv(f64::from), metric)
    }

    pub(super) fn of(mut x: Array2<f64>, metric: Metric) -> Self {
        if metric == Metric::Cosine {
            for mut row in x.rows_mut() {
                let length = row.dot(&row).sqrt().max(f64::MIN_POSITIVE);
                row.mapv_inplace(|v| v / length);
            }
        }
        Self { x, metric }
    }

    pub(super) fn between(&self, i: usize, j: usize) -> f64 {
        let (a, b) = (self.x.row(i), self.x.row(j));
        match self.metric {
            Metric::Euclidean => a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt(),
            Metric::Cosine => 1.0 - a.dot(&b),
        }
    }
}

/// `None` where one side does not vary.
fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    let n = a.len() as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    (aa > 0.0 && bb > 0.0).then(|| ab / (aa * bb).sqrt())
}

/// tau-b by counting the swaps that sort `b` once `a` is sorted (Knight 1966); `None` where one side does not vary.
fn kendall(a: &[f64], b: &[f64]) -> Option<f64> {
    let mut order: Vec<usize> = (0..a.len()).collect();
    order.sort_unstable_by(|i, j| a[*i].total_cmp(&a[*j]).then(b[*i].total_cmp(&b[*j])));
    let tied = |x: &dyn Fn(usize, usize) -> bool, order: &[usize]| {
        let runs = order.chunk_by(|i, j| x(*i, *j)).map(<[usize]>::len);
        runs.map(|n| n as f64 * (n as f64 - 1.0) / 2.0).sum::<f64>()
    };
    let in_a = tied(&|i, j| a[i] == a[j], &order);
    let in_both = tied(&|i, j| a[i] == a[j] && b[i] == b[j], &order);
    let mut sorted: Vec<f64> = order.iter().map(|i| b[*i]).collect();
    let swaps = merge_sort(&mut sorted);
    order.sort_unstable_by(|i, j| b[*i].total_cmp(&b[*j]));
    let in_b = tied(&|i, j| b[i] == b[j], &order);
    let pairs = a.len() as f64 * (a.len() as f64 - 1.0) / 2.0;
    let (untied_a, untied_b) = (pairs - in_a, pairs - in_b);
    (untied_a > 0.0 && untied_b > 0.0).then(|| (pairs - in_a - in_b + in_both - 2.0 * swaps) / (untied_a * untied_b).sqrt())
}

/// Sorts and returns the number of pairs that stood in the wrong order.
fn merge_sort(x: &mut [f64]) -> f64 {
    if x.len() < 2 {
        return 0.0;
    }
    let (low, high) = x.split_at_mut(x.len() / 2);
    let mut swaps = merge_sort(low) + merge_sort(high);
    let mut merged = Vec::with_capacity(low.len() + high.len());
    let (mut i, mut j) = (0, 0);
    while i < low.len() || j < high.len() {
        if j == high.len() || (i < low.len() && low[i] <= high[j]) {
            merged.push(low[i]);
            i += 1;
        } else {
            swaps += (low.len() - i) as f64;
            merged.push(high[j]);
            j += 1;
        }
    }
    x.copy_from_slice(&merged);
    swaps
}

/// Ranks from 1, ties at their mean.
pub(super) fn ranks(x: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_unstable_by(|a, b| x[*a].total_cmp(&x[*b]));
    let mut out = vec![0.0; x.len()];
    let mut from = 0;
    while from < order.len() {
        let ties = order[from..].iter().take_while(|i| x[**i] == x[order[from]]).count();
        let mean = from as f64 + (ties as f64 + 1.0) / 2.0;
        order[from..from + ties].iter().for_each(|i| out[*i] = mean);
        from += ties;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_space_is_trusted_and_correlates() {
        let mut stream = Rng::new(4).stream("points", 0, 0);
        let x = Array2::from_shape_fn((60, 3), |_| stream.normal() as f32);
        let doubled = x.mapv(|v| 2.0 * v);
        assert_eq!(trustworthiness(x.view(), doubled.view(), &[5, 10], Metric::Euclidean).unwrap(), [1.0, 1.0]);
        for correlation in [Correlation::Pearson, Correlation::Spearman, Correlation::Kendall] {
            let found = distance_correlation(x.view(), doubled.view(), Metric::Euclidean, correlation, 0).unwrap();
            assert!((found - 1.0).abs() < 1e-9);
        }
        assert!(trustworthiness(x.view(), x.view(), &[30], Metric::Euclidean).is_err());
        let flat = Array2::<f32>::zeros((60, 2));
        assert!(distance_correlation(x.view(), flat.view(), Metric::Euclidean, Correlation::Pearson, 0).is_err());
    }

    #[test]
    fn strangers_cost_by_their_rank() {
        // On a line, in another order: the neighbours of the embedding and their ranks by hand.
        let original = ndarray::arr2(&[[0.0f32], [1.0], [2.1], [3.3], [4.6], [6.0]]);
        let embedding = ndarray::arr2(&[[0.0f32], [6.0], [2.1], [3.3], [4.6], [1.0]]);
        // k = 1. Nearest in the embedding: 0-5, 1-4, 2-5, 3-2, 4-3, 5-0; ranks there: 5, 4, 5, 1, 1, 5.
        let penalty = 4.0 + 3.0 + 4.0 + 0.0 + 0.0 + 4.0;
        let expected = 1.0 - 2.0 / (6.0 * 1.0 * (12.0 - 3.0 - 1.0)) * penalty;
        let found = trustworthiness(original.view(), embedding.view(), &[1], Metric::Euclidean).unwrap()[0];
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        // Pairs: 12 tied in b, 13 and 23 in order, 14 and 24 and 34 not: (2 - 3) / sqrt(6 * 5).
        let tau = kendall(&[1.0, 2.0, 3.0, 4.0], &[2.0, 2.0, 5.0, 1.0]).unwrap();
        assert!((tau + 1.0 / 30f64.sqrt()).abs() < 1e-12, "{tau}");
    }
}
