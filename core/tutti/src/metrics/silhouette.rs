//! Silhouette widths (Rousseeuw 1987), and the two scores of scIB made of them (Luecken et al. 2022).

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::neighbors::Metric;

/// Silhouette width of each cell, -1 to 1: (b - a) / max(a, b) for the mean distance a to its own group and b to the nearest other.
///
/// x: [n_cells, d]; `groups`: one code per cell. A cell that is alone in its group gets 0. Time n² d, memory n * n_groups * 8 bytes at
/// most.
///
/// # Errors
/// [`Error::Data`] for fewer than two groups.
pub fn silhouette_samples(x: ArrayView2<'_, f32>, groups: &[u32], metric: Metric) -> Result<Vec<f64>> {
    let n_groups = groups.iter().max().map_or(0, |g| *g as usize + 1);
    let mut sizes = vec![0usize; n_groups];
    groups.iter().for_each(|g| sizes[*g as usize] += 1);
    if sizes.iter().filter(|n| **n > 0).count() < 2 {
        return Err(Error::data("a silhouette needs at least two groups", "choose a column with more levels"));
    }
    let x = unit_rows(x, metric);
    let width = |i: usize| {
        let mut sums = vec![0f64; n_groups];
        let own = x.row(i);
        for (j, other) in x.rows().into_iter().enumerate() {
            let distance = match metric {
                Metric::Euclidean => own.iter().zip(other).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt(),
                Metric::Cosine => 1.0 - f64::from(own.dot(&other)),
            };
            sums[groups[j] as usize] += distance;
        }
        let mine = groups[i] as usize;
        if sizes[mine] < 2 {
            return 0.0;
        }
        let a = sums[mine] / (sizes[mine] - 1) as f64;
        let others = (0..n_groups).filter(|g| *g != mine && sizes[*g] > 0);
        let b = others.map(|g| sums[g] / sizes[g] as f64).fold(f64::INFINITY, f64::min);
        (b - a) / a.max(b).max(f64::MIN_POSITIVE)
    };
    Ok((0..groups.len()).into_par_iter().map(width).collect())
}

/// How far labels lie apart, 0 to 1: (mean width + 1) / 2.
///
/// # Errors
/// As [`silhouette_samples`].
pub fn label_silhouette(x: ArrayView2<'_, f32>, labels: &[u32], metric: Metric) -> Result<f64> {
    let widths = silhouette_samples(x, labels, metric)?;
    Ok((widths.iter().sum::<f64>() / widths.len() as f64 + 1.0) / 2.0)
}

/// How well batches mix inside of each label, 0 to 1: the mean over labels of the mean of 1 - |width by batch|. Labels of a single
/// batch, or in which every cell is a batch of its own, are left out.
///
/// # Errors
/// [`Error::Data`] where no label has two batches.
pub fn batch_silhouette(x: ArrayView2<'_, f32>, labels: &[u32], batches: &[u32], metric: Metric) -> Result<f64> {
    let n_labels = labels.iter().max().map_or(0, |l| *l + 1);
    let mut scores = Vec::new();
    for label in 0..n_labels {
        let cells: Vec<usize> = (0..labels.len()).filter(|i| labels[*i] == label).collect();
        let codes: Vec<u32> = cells.iter().map(|i| batches[*i]).collect();
        let mut levels = codes.clone();
        levels.sort_unstable();
        levels.dedup();
        if levels.len() < 2 || levels.len() == cells.len() {
            continue;
        }
        let part = x.select(ndarray::Axis(0), &cells);
        let widths = silhouette_samples(part.view(), &codes, metric)?;
        scores.push(widths.iter().map(|w| 1.0 - w.abs()).sum::<f64>() / widths.len() as f64);
    }
    if scores.is_empty() {
        return Err(Error::data("no label has cells of two batches", "choose another label or batch column"));
    }
    Ok(scores.iter().sum::<f64>() / scores.len() as f64)
}

fn unit_rows(x: ArrayView2<'_, f32>, metric: Metric) -> Array2<f32> {
    let mut x = x.as_standard_layout().into_owned();
    if metric == Metric::Cosine {
        for mut row in x.rows_mut() {
            let length = row.dot(&row).sqrt().max(f32::MIN_POSITIVE);
            row.mapv_inplace(|v| v / length);
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_by_hand() {
        let x = ndarray::arr2(&[[0.0f32], [1.0], [4.0], [6.0], [20.0]]);
        let widths = silhouette_samples(x.view(), &[0, 0, 1, 1, 2], Metric::Euclidean).unwrap();
        // Cell 0: a = 1, b = (4 + 6) / 2 = 5. Cell 2: a = 2, b = (4 + 3) / 2. The last is alone.
        assert!((widths[0] - 4.0 / 5.0).abs() < 1e-12);
        assert!((widths[2] - (3.5 - 2.0) / 3.5).abs() < 1e-12);
        assert_eq!(widths[4], 0.0);
    }

    #[test]
    fn mixed_batches_score_high_and_apart_low() {
        let labels = [0u32; 40];
        let batches: Vec<u32> = (0..40).map(|i| i % 2).collect();
        let mixed = ndarray::Array2::from_shape_fn((40, 2), |(i, j)| ((i / 2 * 7 + j * 3) % 11) as f32);
        let apart = ndarray::Array2::from_shape_fn((40, 2), |(i, j)| ((i / 2 * 7 + j * 3) % 11) as f32 + 100.0 * (i % 2) as f32);
        let score = |x: &Array2<f32>| batch_silhouette(x.view(), &labels, &batches, Metric::Euclidean).unwrap();
        assert!(score(&mixed) > 0.9 && score(&apart) < 0.1);
        assert!(batch_silhouette(mixed.view(), &labels, &[0; 40], Metric::Euclidean).is_err());
    }

    #[test]
    fn cosine_ignores_length() {
        let x = ndarray::arr2(&[[1.0f32, 0.0], [5.0, 0.1], [0.0, 2.0], [0.1, 9.0]]);
        let scaled = ndarray::arr2(&[[3.0f32, 0.0], [0.5, 0.01], [0.0, 7.0], [0.01, 0.9]]);
        let labels = [0, 0, 1, 1];
        let score = |x: &Array2<f32>| label_silhouette(x.view(), &labels, Metric::Cosine).unwrap();
        assert!((score(&x) - score(&scaled)).abs() < 1e-5 && score(&x) > 0.9);
    }
}
