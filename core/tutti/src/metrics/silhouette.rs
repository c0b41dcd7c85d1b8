//! Silhouette widths (Rousseeuw 1987), and the two scores of scIB made of them (Luecken et al. 2022).

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use super::check_cells;
use crate::error::{Error, Result};
use crate::neighbors::{Metric, products};
use crate::observe::may_stop;
use crate::ops::sum_of_distances;

/// Cells of one task; fixed, so that threads change no bit.
const BLOCK: usize = 64;

/// Silhouette width of each cell, -1 to 1: (b - a) / max(a, b) for the mean distance a to its own group and b to the nearest other.
///
/// x: [n_cells, d]; `groups`: one code per cell. A cell that is alone in its group gets 0. Euclidean: time n² d, by blocked matrix
/// products in single precision (widths to about 1e-5); cosine: time n * n_groups * d. Memory: n * 64 * 4 bytes per thread.
///
/// # Errors
/// [`Error::Data`] for fewer than two groups or unequal numbers of cells.
pub fn silhouette_samples(x: ArrayView2<'_, f32>, groups: &[u32], metric: Metric) -> Result<Vec<f64>> {
    widths(x, groups, metric, Other::Nearest)
}

/// Which mean distance to cells of other groups a width compares with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Other {
    /// The smallest over the groups.
    Nearest,
    /// Over all cells of all other groups.
    Mean,
}

fn widths(x: ArrayView2<'_, f32>, groups: &[u32], metric: Metric, other: Other) -> Result<Vec<f64>> {
    check_cells(x.nrows(), &[("groups", groups.len())])?;
    let n_groups = groups.iter().max().map_or(0, |g| *g as usize + 1);
    let mut sizes = vec![0usize; n_groups];
    groups.iter().for_each(|g| sizes[*g as usize] += 1);
    if sizes.iter().filter(|n| **n > 0).count() < 2 {
        return Err(Error::data("a silhouette needs at least two groups", "choose a column with more levels"));
    }
    let sums = match metric {
        Metric::Euclidean => euclidean_sums(x, groups, &sizes),
        Metric::Cosine => cosine_sums(x, groups, &sizes),
    };
    let width = |(mine, sums): (&u32, &[f64])| {
        let mine = *mine as usize;
        if sizes[mine] < 2 {
            return 0.0;
        }
        let a = sums[mine] / (sizes[mine] - 1) as f64;
        let others = (0..n_groups).filter(|g| *g != mine && sizes[*g] > 0);
        let b = match other {
            Other::Nearest => others.map(|g| sums[g] / sizes[g] as f64).fold(f64::INFINITY, f64::min),
            Other::Mean => others.map(|g| sums[g]).sum::<f64>() / (groups.len() - sizes[mine]) as f64,
        };
        (b - a) / a.max(b).max(f64::MIN_POSITIVE)
    };
    Ok(groups.iter().zip(sums.chunks_exact(n_groups)).map(width).collect())
}

/// For each cell, the sum of its distances to the cells of each group, [n_cells, n_groups].
fn euclidean_sums(x: ArrayView2<'_, f32>, groups: &[u32], sizes: &[usize]) -> Vec<f64> {
    // Centred, because the expanded square loses digits far from the origin; one group after the other, so that each is a run of columns.
    let mean = x.mean_axis(Axis(0)).unwrap_or_default();
    let queries = (&x - &mean).as_standard_layout().into_owned();
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(|i| groups[*i]);
    let sorted = queries.select(Axis(0), &order);
    let norms = |x: &Array2<f32>| x.rows().into_iter().map(|r| r.dot(&r)).collect::<Vec<f32>>();
    let (norms, own) = (norms(&sorted), norms(&queries));
    let mut sums = vec![0f64; groups.len() * sizes.len()];
    sums.par_chunks_mut(BLOCK * sizes.len()).enumerate().for_each(|(block, sums)| {
        let n = sums.len() / sizes.len();
        let products = products(sorted.view(), queries.slice(ndarray::s![block * BLOCK..block * BLOCK + n, ..]));
        for (i, (sums, products)) in sums.chunks_exact_mut(sizes.len()).zip(products.chunks_exact(norms.len())).enumerate() {
            let mut from = 0;
            for (sum, size) in sums.iter_mut().zip(sizes) {
                let run = from..from + size;
                *sum = sum_of_distances(&products[run.clone()], &norms[run], own[block * BLOCK + i]);
                from += size;
            }
        }
    });
    sums
}

/// The sum of 1 - cos over a group is its size less the product with the sum of its unit vectors.
fn cosine_sums(x: ArrayView2<'_, f32>, groups: &[u32], sizes: &[usize]) -> Vec<f64> {
    let x = unit_rows(x);
    let mut totals = Array2::<f64>::zeros((sizes.len(), x.ncols()));
    x.rows().into_iter().zip(groups).for_each(|(row, group)| {
        let mut total = totals.row_mut(*group as usize);
        total += &row;
    });
    let mut sums = vec![0f64; groups.len() * sizes.len()];
    sums.par_chunks_mut(sizes.len()).enumerate().for_each(|(i, sums)| {
        may_stop();
        for (g, sum) in sums.iter_mut().enumerate() {
            *sum = (sizes[g] as f64 - x.row(i).dot(&totals.row(g))).max(0.0);
        }
    });
    sums
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
/// [`Error::Data`] where no label has two batches, or for unequal numbers of cells.
pub fn batch_silhouette(x: ArrayView2<'_, f32>, labels: &[u32], batches: &[u32], metric: Metric) -> Result<f64> {
    within_labels(x, labels, batches, metric, Other::Nearest)
}

/// Batch removal adapted silhouette (Rautenstrauch and Ohler 2025), 0 to 1: as [`batch_silhouette`] by the cosine, but each cell is
/// compared with all cells of other batches and not with the nearest batch alone, which a single well mixed pair of batches satisfies.
///
/// # Errors
/// As [`batch_silhouette`].
pub fn bras(x: ArrayView2<'_, f32>, labels: &[u32], batches: &[u32]) -> Result<f64> {
    within_labels(x, labels, batches, Metric::Cosine, Other::Mean)
}

fn within_labels(x: ArrayView2<'_, f32>, labels: &[u32], batches: &[u32], metric: Metric, other: Other) -> Result<f64> {
    check_cells(x.nrows(), &[("labels", labels.len()), ("batches", batches.len())])?;
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
        let part = x.select(Axis(0), &cells);
        let widths = widths(part.view(), &codes, metric, other)?;
        scores.push(widths.iter().map(|w| 1.0 - w.abs()).sum::<f64>() / widths.len() as f64);
    }
    if scores.is_empty() {
        return Err(Error::data("no label has cells of two batches", "choose another label or batch column"));
    }
    Ok(scores.iter().sum::<f64>() / scores.len() as f64)
}

fn unit_rows(x: ArrayView2<'_, f32>) -> Array2<f64> {
    let mut x = x.mapv(f64::from);
    for mut row in x.rows_mut() {
        let length = row.dot(&row).sqrt().max(f64::MIN_POSITIVE);
        row.mapv_inplace(|v| v / length);
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
        assert!((widths[0] - 4.0 / 5.0).abs() < 1e-6);
        assert!((widths[2] - (3.5 - 2.0) / 3.5).abs() < 1e-6);
        assert_eq!(widths[4], 0.0);
        assert!(silhouette_samples(x.view(), &[0, 1], Metric::Euclidean).is_err());
    }

    #[test]
    fn widths_equal_loops_for_both_distances_far_from_the_origin() {
        let mut stream = crate::rng::Rng::new(9).stream("points", 0, 0);
        let x = Array2::from_shape_fn((150, 7), |_| 40.0 + stream.normal() as f32);
        let groups: Vec<u32> = (0..150).map(|i| [0, 2, 2, 5][i % 4]).collect();
        for metric in [Metric::Euclidean, Metric::Cosine] {
            let distance = |i: usize, j: usize| {
                let (a, b) = (x.row(i).mapv(f64::from), x.row(j).mapv(f64::from));
                match metric {
                    Metric::Euclidean => (&a - &b).mapv(|v| v * v).sum().sqrt(),
                    Metric::Cosine => 1.0 - a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt(),
                }
            };
            let mean = |i: usize, group: u32| {
                let others: Vec<f64> = (0..150).filter(|j| *j != i && groups[*j] == group).map(|j| distance(i, j)).collect();
                others.iter().sum::<f64>() / others.len() as f64
            };
            let widths = silhouette_samples(x.view(), &groups, metric).unwrap();
            for i in 0..150 {
                let a = mean(i, groups[i]);
                let b = [0, 2, 5].into_iter().filter(|g| *g != groups[i]).map(|g| mean(i, g)).fold(f64::INFINITY, f64::min);
                assert!((widths[i] - (b - a) / a.max(b)).abs() < 1e-4, "{metric:?} {i}");
            }
        }
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
    fn two_mixed_batches_hide_a_third_from_the_nearest_batch_but_not_from_all() {
        // Directions of batches 0 and 1 are the same, batch 2 lies at a right angle.
        let x = Array2::from_shape_fn((30, 2), |(i, j)| f32::from(u8::from((i % 3 == 2) == (j == 1))) + 0.01 * (i / 3) as f32);
        let batches: Vec<u32> = (0..30).map(|i| i as u32 % 3).collect();
        let all = bras(x.view(), &[0; 30], &batches).unwrap();
        assert!(all + 0.2 < batch_silhouette(x.view(), &[0; 30], &batches, Metric::Cosine).unwrap());
        // By loops: 1 - |b - a| / max(a, b) with b over all cells of other batches.
        let cosine = |i: usize, j: usize| {
            let (a, b) = (x.row(i).mapv(f64::from), x.row(j).mapv(f64::from));
            1.0 - a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt()
        };
        let mean = |i: usize, of: &dyn Fn(usize) -> bool| {
            let cells: Vec<usize> = (0..30).filter(|j| *j != i && of(*j)).collect();
            cells.iter().map(|j| cosine(i, *j)).sum::<f64>() / cells.len() as f64
        };
        let width = |i: usize| {
            let (a, b) = (mean(i, &|j| batches[j] == batches[i]), mean(i, &|j| batches[j] != batches[i]));
            1.0 - (b - a).abs() / a.max(b)
        };
        assert!((all - (0..30).map(width).sum::<f64>() / 30.0).abs() < 1e-6);
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
