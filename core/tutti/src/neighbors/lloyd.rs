//! The rounds of k-means, behind the approximate search and the clusters.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

use super::exact::products;

/// Rows of one task; fixed, as is the order in which the sums of the tasks are added, so that threads change no bit.
const TASK: usize = 2048;

/// Rows of one matrix product, whose scores stay in the nearest cache.
const BLOCK: usize = 256;

/// Centroids after some rounds, and the nearest of them for each row.
#[derive(Debug, Clone)]
pub(crate) struct Centroids {
    /// [k, d].
    pub means: Array2<f32>,
    /// Nearest centroid of each row, ties by index.
    pub labels: Vec<u32>,
}

/// Rows made ready for the rounds of k-means (Lloyd 1982).
pub(crate) struct Lloyd {
    mean: Array1<f32>,
    /// Less the mean, in standard layout: far from the origin the expanded square would lose its digits.
    x: Array2<f32>,
}

impl Lloyd {
    /// x: [n, d], finite.
    pub fn new(x: ArrayView2<'_, f32>) -> Self {
        let mean = x.mean_axis(Axis(0)).unwrap_or_default();
        let x = (&x - &mean).as_standard_layout().into_owned();
        Self { mean, x }
    }

    /// The rows less their mean.
    pub fn centred(&self) -> &Array2<f32> {
        &self.x
    }

    /// Moves each centroid to the mean of its rows until none changes its centroid, the squared moves of all centroids sum to at most `tol` times
    /// the mean variance of the columns, or `max_iter` rounds are over. `start`: the rows that are the first centroids.
    pub fn run(&self, start: &[usize], max_iter: usize, tol: f64) -> Centroids {
        let tol = tol * self.mean_variance();
        let mut centroids = self.x.select(Axis(0), start);
        let mut before: Vec<u32> = Vec::new();
        let mut settled = false;
        let mut round = 0;
        loop {
            let (labels, sums) = self.assign(&centroids);
            if labels == before || settled || round == max_iter {
                return Centroids { means: centroids + &self.mean, labels };
            }
            settled = sums.move_centroids(&mut centroids) <= tol;
            before = labels;
            round += 1;
        }
    }

    fn mean_variance(&self) -> f64 {
        let tasks: Vec<f64> = self
            .x
            .axis_chunks_iter(Axis(0), TASK)
            .into_par_iter()
            .map(|rows| rows.iter().map(|v| f64::from(*v).powi(2)).sum())
            .collect();
        tasks.iter().sum::<f64>() / self.x.len().max(1) as f64
    }

    /// Nearest centroid of each row, and the sums of the rows of each.
    fn assign(&self, centroids: &Array2<f32>) -> (Vec<u32>, Sums) {
        let norms: Vec<f32> = centroids.rows().into_iter().map(|c| c.dot(&c)).collect();
        let mut labels = vec![0u32; self.x.nrows()];
        let tasks: Vec<Sums> = labels
            .par_chunks_mut(TASK)
            .zip(self.x.axis_chunks_iter(Axis(0), TASK).into_par_iter())
            .map(|(labels, rows)| {
                let mut sums = Sums::new(centroids);
                for (labels, rows) in labels.chunks_mut(BLOCK).zip(rows.axis_chunks_iter(Axis(0), BLOCK)) {
                    nearest(centroids.view(), &norms, rows, labels);
                    sums.add_rows(rows, labels);
                }
                sums
            })
            .collect();
        let sums = tasks.into_iter().fold(Sums::new(centroids), Sums::joined);
        (labels, sums)
    }
}

/// Nearest centroid of each of a block of rows, by |c|² - 2 x c.
fn nearest(centroids: ArrayView2<'_, f32>, norms: &[f32], rows: ArrayView2<'_, f32>, labels: &mut [u32]) {
    let scores = products(rows, centroids); // [k, rows]: the loop over rows vectorises
    let mut best = [f32::INFINITY; BLOCK];
    for (k, (products, norm)) in scores.chunks_exact(labels.len()).zip(norms).enumerate() {
        for ((product, best), label) in products.iter().zip(&mut best).zip(&mut *labels) {
            let score = norm - 2.0 * product;
            let closer = score < *best;
            *best = if closer { score } else { *best };
            *label = if closer { k as u32 } else { *label };
        }
    }
}

/// Sums and numbers of the rows of each centroid.
struct Sums {
    rows: Array2<f64>,
    n_rows: Vec<usize>,
}

impl Sums {
    fn new(centroids: &Array2<f32>) -> Self {
        Self { rows: Array2::zeros(centroids.raw_dim()), n_rows: vec![0; centroids.nrows()] }
    }

    fn add_rows(&mut self, rows: ArrayView2<'_, f32>, labels: &[u32]) {
        for (row, label) in rows.rows().into_iter().zip(labels) {
            self.rows.row_mut(*label as usize).zip_mut_with(&row, |sum, v| *sum += f64::from(*v));
            self.n_rows[*label as usize] += 1;
        }
    }

    fn joined(mut self, other: Self) -> Self {
        self.rows += &other.rows;
        self.n_rows.iter_mut().zip(other.n_rows).for_each(|(own, more)| *own += more);
        self
    }

    /// Puts each centroid on the mean of its rows, one without rows left where it is; the sum of the squared moves.
    fn move_centroids(&self, centroids: &mut Array2<f32>) -> f64 {
        let mut moved = 0.0;
        for (k, n) in self.n_rows.iter().enumerate().filter(|(_, n)| **n > 0) {
            centroids.slice_mut(s![k, ..]).zip_mut_with(&self.rows.row(k), |c, sum| {
                let mean = (sum / *n as f64) as f32;
                moved += f64::from(mean - *c).powi(2);
                *c = mean;
            });
        }
        moved
    }
}
