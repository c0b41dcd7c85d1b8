//! What simple readers find in an embedding: probes of labels, batches and numbers.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use ndarray_linalg::SolveH;

use super::check_cells;
use crate::error::{Error, Result};
use crate::neighbors::Neighbors;
use crate::rng::Rng;

/// Share of the cells whose label is that of most of their neighbours, the cell itself not among them; ties go to the nearest. Every cell is
/// left out once: there is no split. `neighbors` are those of [`crate::neighbors::nearest_self`]; CONCORD's benchmark takes 30.
///
/// # Errors
/// [`Error::Data`] for labels of another number of cells.
pub fn knn_probe(neighbors: &Neighbors, labels: &[u32]) -> Result<f64> {
    let n = neighbors.n_queries();
    check_cells(n, &[("labels", labels.len())])?;
    let mut votes = vec![0usize; labels.iter().max().map_or(0, |l| *l as usize + 1)];
    let mut right = 0;
    for i in 0..n {
        votes.fill(0);
        let others = || neighbors.row(i).0.iter().filter(|j| **j as usize != i).map(|j| labels[*j as usize]);
        others().for_each(|label| votes[label as usize] += 1);
        let most = votes.iter().max().copied().unwrap_or(0);
        right += usize::from(others().find(|label| votes[*label as usize] == most) == Some(labels[i]));
    }
    Ok(right as f64 / n.max(1) as f64)
}

/// Settings of the linear probes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProbeConfig {
    /// Share of the cells that are held out and scored, above 0 and below 1. Default 0.2.
    pub held_out: f64,
    /// Weight of the squared coefficients, per training cell, above 0. Default 1e-3.
    pub ridge: f64,
    /// Chooses the cells held out.
    pub seed: u64,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self { held_out: 0.2, ridge: 1e-3, seed: 0 }
    }
}

/// Share of held-out cells whose label a linear reader finds: ridge regression on one column of 0 and 1 per label, the largest wins (as
/// scikit-learn's `RidgeClassifier`), on dimensions scaled to mean 0 and variance 1. x: [n_cells, d].
///
/// # Errors
/// [`Error::Argument`] for a setting outside its range; [`Error::Data`] for unequal numbers of cells, values that are not finite, or too few cells
/// to hold some out.
pub fn linear_probe(x: ArrayView2<'_, f32>, labels: &[u32], config: &ProbeConfig) -> Result<f64> {
    check_cells(x.nrows(), &[("labels", labels.len())])?;
    let n_labels = labels.iter().max().map_or(0, |l| *l as usize + 1);
    let targets = Array2::from_shape_fn((labels.len(), n_labels), |(i, l)| f64::from(u8::from(labels[i] as usize == l)));
    let (held_out, predicted) = ridge(x, targets, config)?;
    let largest = |row: ndarray::ArrayView1<'_, f64>| {
        let best = row.iter().enumerate().fold((0, f64::NEG_INFINITY), |b, (l, v)| if *v > b.1 { (l, *v) } else { b });
        best.0
    };
    let right = held_out.iter().zip(predicted.rows()).filter(|(i, row)| largest(*row) == labels[**i] as usize).count();
    Ok(right as f64 / held_out.len() as f64)
}

/// Share of the variance of a number, such as pseudotime, that a linear reader finds in held-out cells (R²): 1 is all, 0 no more than the mean,
/// below 0 less. Ridge regression as in [`linear_probe`].
///
/// # Errors
/// As [`linear_probe`]; numbers that are not finite or all equal.
pub fn linear_probe_r2(x: ArrayView2<'_, f32>, values: &[f64], config: &ProbeConfig) -> Result<f64> {
    check_cells(x.nrows(), &[("values", values.len())])?;
    if let Some(i) = values.iter().position(|v| !v.is_finite()) {
        return Err(Error::data(format!("the value of cell number {} is not finite", i + 1), "leave the cell out"));
    }
    let targets = Array2::from_shape_fn((values.len(), 1), |(i, _)| values[i]);
    let (held_out, predicted) = ridge(x, targets, config)?;
    let mean = held_out.iter().map(|i| values[*i]).sum::<f64>() / held_out.len() as f64;
    let total: f64 = held_out.iter().map(|i| (values[*i] - mean).powi(2)).sum();
    if total == 0.0 {
        return Err(Error::data("the values of the cells held out are all equal", "give numbers that differ"));
    }
    let rest: f64 = held_out.iter().zip(predicted.column(0)).map(|(i, p)| (values[*i] - p).powi(2)).sum();
    Ok(1.0 - rest / total)
}

/// Rows held out, and what is predicted for them.
fn ridge(x: ArrayView2<'_, f32>, targets: Array2<f64>, config: &ProbeConfig) -> Result<(Vec<usize>, Array2<f64>)> {
    if !(config.held_out > 0.0 && config.held_out < 1.0) {
        return Err(Error::argument("held_out", format!("is {}", config.held_out), "give a share above 0 and below 1, e.g. 0.2"));
    }
    if !(config.ridge.is_finite() && config.ridge > 0.0) {
        return Err(Error::argument("ridge", format!("is {}", config.ridge), "give a number above 0, e.g. 0.001"));
    }
    if let Some(i) = x.rows().into_iter().position(|row| row.iter().any(|v| !v.is_finite())) {
        return Err(Error::data(format!("row {} of the embedding is not finite", i + 1), "leave the cell out"));
    }
    let mut cells: Vec<usize> = (0..x.nrows()).collect();
    Rng::new(config.seed).stream("cells held out", 0, 0).shuffle(&mut cells);
    let n_held_out = (config.held_out * cells.len() as f64).round() as usize;
    if n_held_out == 0 || cells.len() - n_held_out < 2 {
        return Err(Error::data(format!("{} cells are too few to hold some out", cells.len()), "give at least 5"));
    }
    let (held_out, train) = cells.split_at(n_held_out);
    let part = x.select(Axis(0), train).mapv(f64::from);
    let n = train.len() as f64;
    let mean = part.sum_axis(Axis(0)) / n;
    let deviation: Array1<f64> =
        part.columns().into_iter().zip(&mean).map(|(c, m)| (c.mapv(|v| (v - m).powi(2)).sum() / n).sqrt()).collect();
    // A dimension that never changes says nothing.
    let deviation = deviation.mapv(|d| if d > 0.0 { d } else { 1.0 });
    let part = (part - &mean) / &deviation;
    let targets = targets.select(Axis(0), train);
    let intercept = targets.sum_axis(Axis(0)) / n;
    let products = part.t().dot(&part) + Array2::<f64>::eye(x.ncols()) * (config.ridge * n);
    let with_targets = part.t().dot(&(&targets - &intercept));
    let failed =
        |e: ndarray_linalg::error::LinalgError| Error::data(format!("the regression has no solution ({e})"), "raise the ridge");
    let mut coefficients = Array2::zeros(with_targets.dim());
    for (mut to, right) in coefficients.columns_mut().into_iter().zip(with_targets.columns()) {
        to.assign(&products.solveh(&right.to_owned()).map_err(failed)?);
    }
    let wanted = (x.select(Axis(0), held_out).mapv(f64::from) - &mean) / &deviation;
    Ok((held_out.to_vec(), wanted.dot(&coefficients) + &intercept))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbors::{NeighborConfig, nearest_self};

    fn groups(apart: f32) -> (Array2<f32>, Vec<u32>) {
        let mut stream = Rng::new(3).stream("points", 0, 0);
        let labels: Vec<u32> = (0..600).map(|i| i % 3).collect();
        let x = Array2::from_shape_fn((600, 6), |(i, d)| {
            apart * f32::from(u8::from(labels[i] as usize == d)) + stream.normal() as f32
        });
        (x, labels)
    }

    #[test]
    fn groups_apart_are_read_and_noise_is_read_by_chance() {
        let (x, labels) = groups(8.0);
        let neighbors =
            |x: &Array2<f32>| nearest_self(x.view(), &NeighborConfig { n_neighbors: 31, ..Default::default() }).unwrap();
        assert_eq!(linear_probe(x.view(), &labels, &ProbeConfig::default()).unwrap(), 1.0);
        assert_eq!(knn_probe(&neighbors(&x), &labels).unwrap(), 1.0);
        let (noise, _) = groups(0.0);
        let chance = linear_probe(noise.view(), &labels, &ProbeConfig::default()).unwrap();
        assert!((chance - 1.0 / 3.0).abs() < 0.15, "{chance}");
        assert!((knn_probe(&neighbors(&noise), &labels).unwrap() - 1.0 / 3.0).abs() < 0.1);
    }

    #[test]
    fn votes_by_hand() {
        let x = ndarray::array![[0.0f32], [1.0], [2.1], [10.0], [11.0], [12.1]];
        let near = nearest_self(x.view(), &NeighborConfig { n_neighbors: 3, ..Default::default() }).unwrap();
        assert_eq!(knn_probe(&near, &[0, 0, 0, 1, 1, 1]).unwrap(), 1.0);
        // Of the neighbours of cell 0 and cell 1, the nearest has their label; those of cell 2 are both of the other one.
        assert!((knn_probe(&near, &[0, 0, 1, 1, 1, 1]).unwrap() - 5.0 / 6.0).abs() < 1e-12);
    }

    #[test]
    fn a_linear_number_is_found_and_its_slope_is_that_of_ridge_regression() {
        let mut stream = Rng::new(5).stream("points", 0, 0);
        let x = Array2::from_shape_fn((500, 3), |_| 5.0 + 2.0 * stream.normal() as f32);
        let values: Vec<f64> = x.rows().into_iter().map(|r| f64::from(r[0]) - 2.0 * f64::from(r[2])).collect();
        let tight = ProbeConfig { ridge: 1e-9, ..Default::default() };
        assert!(linear_probe_r2(x.view(), &values, &tight).unwrap() > 1.0 - 1e-9);
        // In one dimension of variance 1, ridge shrinks the slope by 1 / (1 + ridge): a ridge of 1 leaves a quarter of the variance.
        let one = x.slice(ndarray::s![.., ..1]);
        let first: Vec<f64> = one.iter().map(|v| f64::from(*v)).collect();
        let halved = linear_probe_r2(one, &first, &ProbeConfig { ridge: 1.0, ..Default::default() }).unwrap();
        assert!((halved - 0.75).abs() < 0.02, "{halved}");
        assert!(linear_probe_r2(one, &vec![1.0; 500], &tight).is_err());
        assert!(
            linear_probe(one, &[0; 499], &tight).is_err()
                && linear_probe(one, &[0; 500], &ProbeConfig { held_out: 1.0, ..tight }).is_err()
        );
    }
}
