//! Local inverse Simpson index (Korsunsky et al. 2019): how many groups a cell's neighbourhood holds.

use rayon::prelude::*;

use super::check_cells;
use crate::error::{Error, Result};
use crate::neighbors::Neighbors;
use crate::observe::may_stop;

/// Steps of the search for the width of a neighbourhood, and the difference in entropy at which it ends.
const STEPS: usize = 50;
const TOLERANCE: f64 = 1e-5;

/// Effective number of groups around each cell, 1 to the number of groups: one over the sum of squared shares, neighbours weighted by
/// a kernel of the given `perplexity` (default: a third of the neighbours, rounded down). The cell itself does not count.
///
/// # Errors
/// [`Error::Data`] where graph and groups have unequal numbers of cells.
pub fn lisi(neighbors: &Neighbors, codes: &[u32], perplexity: Option<f64>) -> Result<Vec<f64>> {
    check_cells(neighbors.n_queries(), &[("groups", codes.len())])?;
    let n_groups = codes.iter().max().map_or(0, |c| *c as usize + 1);
    let target = perplexity.unwrap_or((neighbors.k() / 3) as f64).ln();
    let one = |i: usize| {
        may_stop();
        let (indices, distances) = neighbors.row(i);
        let others: Vec<(usize, f64)> =
            indices.iter().zip(distances).filter(|(j, _)| **j as usize != i).map(|(j, d)| (*j as usize, f64::from(*d))).collect();
        let mut shares = vec![0.0; n_groups];
        weights(&others, target).into_iter().zip(&others).for_each(|(w, (j, _))| shares[codes[*j] as usize] += w);
        1.0 / shares.iter().map(|s| s * s).sum::<f64>().max(f64::MIN_POSITIVE)
    };
    Ok((0..codes.len()).into_par_iter().map(one).collect())
}

/// Weights exp(-beta d) that sum to 1, with the beta that gives the entropy asked for (van der Maaten and Hinton 2008, section 2).
fn weights(others: &[(usize, f64)], entropy: f64) -> Vec<f64> {
    let (mut beta, mut low, mut high) = (1.0, f64::NEG_INFINITY, f64::INFINITY);
    let mut out = Vec::new();
    for _ in 0..=STEPS {
        out = others.iter().map(|(_, d)| (-d * beta).exp()).collect::<Vec<f64>>();
        let sum: f64 = out.iter().sum();
        let mut found = 0.0;
        if sum > 0.0 {
            found = sum.ln() + beta * others.iter().zip(&out).map(|((_, d), w)| d * w).sum::<f64>() / sum;
            out.iter_mut().for_each(|w| *w /= sum);
        }
        let difference = found - entropy;
        if difference.abs() < TOLERANCE {
            break;
        }
        if difference > 0.0 {
            low = beta;
            beta = if high.is_finite() { (beta + high) / 2.0 } else { beta * 2.0 };
        } else {
            high = beta;
            beta = if low.is_finite() { (beta + low) / 2.0 } else { beta / 2.0 };
        }
    }
    out
}

/// Batches mixed: the median [`lisi`] over batches, scaled so that 0 is apart and 1 perfectly mixed.
///
/// # Errors
/// As [`lisi`]; a single batch.
pub fn ilisi(neighbors: &Neighbors, batches: &[u32], perplexity: Option<f64>) -> Result<f64> {
    let n = levels(batches)?;
    Ok((median(lisi(neighbors, batches, perplexity)?) - 1.0) / (n - 1.0))
}

/// Labels apart: the median [`lisi`] over labels, scaled so that 1 is apart and 0 perfectly mixed.
///
/// # Errors
/// As [`lisi`]; a single label.
pub fn clisi(neighbors: &Neighbors, labels: &[u32], perplexity: Option<f64>) -> Result<f64> {
    let n = levels(labels)?;
    Ok((n - median(lisi(neighbors, labels, perplexity)?)) / (n - 1.0))
}

fn levels(codes: &[u32]) -> Result<f64> {
    let mut seen = codes.to_vec();
    seen.sort_unstable();
    seen.dedup();
    if seen.len() < 2 {
        return Err(Error::data("all cells are of one group", "choose a column with more levels"));
    }
    Ok(seen.len() as f64)
}

fn median(mut x: Vec<f64>) -> f64 {
    x.sort_unstable_by(f64::total_cmp);
    let n = x.len();
    if n % 2 == 1 { x[n / 2] } else { (x[n / 2 - 1] + x[n / 2]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbors::{NeighborConfig, nearest_self};

    #[test]
    fn weights_have_the_entropy_asked_for() {
        let others: Vec<(usize, f64)> = (0..30).map(|i| (i, 0.1 + 0.05 * i as f64)).collect();
        let w = weights(&others, 10f64.ln());
        let entropy = -w.iter().map(|w| w * w.ln()).sum::<f64>();
        assert!((entropy - 10f64.ln()).abs() < 2e-5 && (w.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn separate_groups_give_one_and_mixed_ones_their_number() {
        // Two lines far apart; on each, the batches alternate.
        let x = ndarray::Array2::from_shape_fn((200, 1), |(i, _)| i as f32 + if i < 100 { 0.0 } else { 1e4 });
        let neighbors = nearest_self(x.view(), &NeighborConfig { n_neighbors: 31, ..Default::default() }).unwrap();
        let (label, batch): (Vec<u32>, Vec<u32>) = ((0..200).map(|i| i / 100).collect(), (0..200).map(|i| i % 2).collect());
        assert!((clisi(&neighbors, &label, None).unwrap() - 1.0).abs() < 1e-9);
        assert!(ilisi(&neighbors, &label, None).unwrap().abs() < 1e-9);
        let mixed = ilisi(&neighbors, &batch, None).unwrap();
        // The next neighbour is always of the other batch, which the kernel weighs most.
        assert!(mixed > 0.8, "{mixed}");
        assert!(ilisi(&neighbors, &[0; 200], None).is_err());
    }
}
