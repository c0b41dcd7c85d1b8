//! Labels that few batches have, which an integration may merge into others (Luecken et al. 2022).

use std::collections::BTreeSet;

use ndarray::ArrayView2;

use super::{check_cells, silhouette_samples};
use crate::error::Result;
use crate::neighbors::Metric;

/// Mean over the isolated labels of their mean silhouette width by label, scaled to 0 to 1. Isolated are the labels in the fewest
/// batches.
///
/// # Errors
/// As [`silhouette_samples`]; unequal numbers of cells.
pub fn isolated_labels(x: ArrayView2<'_, f32>, labels: &[u32], batches: &[u32], metric: Metric) -> Result<f64> {
    check_cells(x.nrows(), &[("batches", batches.len())])?;
    let widths = silhouette_samples(x, labels, metric)?;
    let n_labels = labels.iter().max().map_or(0, |l| *l as usize + 1);
    let mut batches_of = vec![BTreeSet::new(); n_labels];
    let (mut sum, mut count) = (vec![0.0; n_labels], vec![0usize; n_labels]);
    for ((label, batch), width) in labels.iter().zip(batches).zip(widths) {
        let label = *label as usize;
        batches_of[label].insert(*batch);
        sum[label] += (width + 1.0) / 2.0;
        count[label] += 1;
    }
    let present = || (0..n_labels).filter(|l| count[*l] > 0);
    let fewest = present().map(|l| batches_of[l].len()).min().unwrap_or(0);
    let scores: Vec<f64> = present().filter(|l| batches_of[*l].len() == fewest).map(|l| sum[l] / count[l] as f64).collect();
    Ok(scores.iter().sum::<f64>() / scores.len().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_labels_of_the_fewest_batches_count() {
        let x = ndarray::arr2(&[[0.0f32], [0.2], [5.0], [5.2], [9.0], [9.4]]);
        let (labels, batches) = ([0u32, 0, 1, 1, 2, 2], [0u32, 1, 0, 1, 1, 1]);
        let widths = silhouette_samples(x.view(), &labels, Metric::Euclidean).unwrap();
        let expected = ((widths[4] + 1.0) / 2.0 + (widths[5] + 1.0) / 2.0) / 2.0;
        assert!((isolated_labels(x.view(), &labels, &batches, Metric::Euclidean).unwrap() - expected).abs() < 1e-12);
    }
}
