//! Clusters of cells.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::neighbors::{Centroids, Lloyd};
use crate::observe::may_stop;
use crate::ops::squared_distances;
use crate::rng::{Rng, Stream};

/// Settings of [`k_means`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KMeansConfig {
    /// Clusters, at least 1.
    pub n_clusters: usize,
    /// Starts, of which the tightest result is kept. Default 10.
    pub n_init: usize,
    /// Rounds at most per start. Default 300.
    pub max_iter: usize,
    /// A start ends when the squared moves of the centroids in a round sum to at most this times the mean variance of the columns; 0 goes on until
    /// no cell changes its cluster. Default 1e-4, as in scikit-learn.
    pub tol: f64,
    /// Names the starting cells.
    pub seed: u64,
}

impl Default for KMeansConfig {
    fn default() -> Self {
        Self { n_clusters: 8, n_init: 10, max_iter: 300, tol: 1e-4, seed: 0 }
    }
}

/// Clusters around centroids.
#[derive(Debug, Clone, PartialEq)]
pub struct KMeans {
    /// Cluster of each cell.
    pub labels: Vec<u32>,
    /// Means of the clusters, [n_clusters, d].
    pub centroids: Array2<f32>,
    /// Sum of squared distances to the own centroid.
    pub inertia: f64,
}

/// k-means (Lloyd 1982) from greedy k-means++ starts (Arthur and Vassilvitskii 2007), as scikit-learn's `KMeans`, but that a cluster which loses
/// all its cells keeps its place. x: [n_cells, d]. Parallel in the caller's pool; the same for any number of threads.
///
/// # Errors
/// [`Error::Argument`] for no clusters or more than cells, or a tolerance below 0; values that are not finite.
pub fn k_means(x: ArrayView2<'_, f32>, config: &KMeansConfig) -> Result<KMeans> {
    if config.n_clusters == 0 || config.n_clusters > x.nrows() {
        let problem = format!("must be between 1 and the number of cells, {} (got {})", x.nrows(), config.n_clusters);
        return Err(Error::argument("n_clusters", problem, "give the number of cell types expected"));
    }
    if config.tol.is_nan() || config.tol < 0.0 {
        return Err(Error::argument("tol", format!("is {}", config.tol), "give 0 or a small number, e.g. 1e-4"));
    }
    if x.ncols() == 0 {
        return Err(Error::data("the cells have no dimensions", "give an embedding"));
    }
    if let Some(i) = x.rows().into_iter().position(|row| row.iter().any(|v| !v.is_finite())) {
        return Err(Error::data(format!("row {} is not finite", i + 1), "leave the cell out or train again"));
    }
    let rng = Rng::new(config.seed);
    let rounds = Lloyd::new(x);
    let mut best: Option<KMeans> = None;
    for start in 0..config.n_init.max(1) {
        let mut stream = rng.stream("k-means++", 0, start as u64);
        let first = PlusPlus::new(rounds.centred()).start(config.n_clusters, &mut stream);
        let Centroids { means, labels } = rounds.run(&first, config.max_iter, config.tol);
        let inertia = inertia(x, &means, &labels);
        if best.as_ref().is_none_or(|b| inertia < b.inertia) {
            best = Some(KMeans { labels, centroids: means, inertia });
        }
    }
    best.ok_or_else(|| Error::data("no start was made", "report this"))
}

/// Cells of one task; fixed, as is the order in which the sums of the tasks are added, so that threads change no bit.
const TASK: usize = 2048;

fn inertia(x: ArrayView2<'_, f32>, centroids: &Array2<f32>, labels: &[u32]) -> f64 {
    let task = |(rows, labels): (ArrayView2<'_, f32>, &[u32])| -> f64 {
        let squared =
            |a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>| a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        rows.rows().into_iter().zip(labels).map(|(row, label)| squared(row, centroids.row(*label as usize))).sum()
    };
    let tasks: Vec<f64> = x.axis_chunks_iter(Axis(0), TASK).into_par_iter().zip(labels.par_chunks(TASK)).map(task).collect();
    tasks.iter().sum()
}

/// Draws starting centroids: each next one is a cell drawn in proportion to its squared distance from the nearest so far; of a few drawn, the
/// one that brings the cells nearest to centroids.
struct PlusPlus<'a> {
    /// [n_cells, d], row after row.
    x: &'a [f32],
    d: usize,
    /// Squared distance of each cell from the nearest centroid so far.
    nearest: Vec<f32>,
}

impl<'a> PlusPlus<'a> {
    /// `x` in standard layout.
    fn new(x: &'a Array2<f32>) -> Self {
        Self { x: x.as_slice().unwrap_or_default(), d: x.ncols(), nearest: vec![f32::INFINITY; x.nrows()] }
    }

    /// Cells that are the first centroids.
    fn start(mut self, k: usize, stream: &mut Stream) -> Vec<usize> {
        let n_trials = 2 + (k as f64).ln() as usize;
        let mut chosen = vec![stream.below(self.nearest.len())];
        self.add(chosen[0]);
        while chosen.len() < k {
            may_stop();
            let sums = self.task_sums();
            let drawn: Vec<usize> = (0..n_trials).map(|_| self.draw(&sums, stream)).collect();
            let left = self.left_with(&drawn);
            let best = (0..n_trials).min_by(|a, b| left[*a].total_cmp(&left[*b])).map_or(0, |best| drawn[best]);
            self.add(best);
            chosen.push(best);
        }
        chosen
    }

    /// Takes a cell for a centroid.
    fn add(&mut self, cell: usize) {
        let (x, point) = (self.x, self.row(cell));
        self.nearest.par_chunks_mut(TASK).zip(x.par_chunks(TASK * self.d)).for_each(|(nearest, rows)| {
            let mut distances = [0f32; TASK];
            squared_distances(&mut distances, rows, point);
            nearest.iter_mut().zip(distances).for_each(|(nearest, distance)| *nearest = nearest.min(distance));
        });
    }

    /// For each of the cells, what the squared distances would sum to if it were the next centroid.
    fn left_with(&self, cells: &[usize]) -> Vec<f64> {
        let task = |(nearest, rows): (&[f32], &[f32])| -> Vec<f64> {
            let mut distances = [0f32; TASK];
            let left = |cell: &usize| {
                squared_distances(&mut distances, rows, self.row(*cell));
                nearest.iter().zip(distances).map(|(nearest, distance)| f64::from(nearest.min(distance))).sum()
            };
            cells.iter().map(left).collect()
        };
        let tasks: Vec<Vec<f64>> = self.nearest.par_chunks(TASK).zip(self.x.par_chunks(TASK * self.d)).map(task).collect();
        (0..cells.len()).map(|cell| tasks.iter().map(|left| left[cell]).sum()).collect()
    }

    /// The squared distances summed by task.
    fn task_sums(&self) -> Vec<f64> {
        self.nearest.par_chunks(TASK).map(|nearest| nearest.iter().map(|d| f64::from(*d)).sum()).collect()
    }

    /// A cell, in proportion to its squared distance.
    fn draw(&self, task_sums: &[f64], stream: &mut Stream) -> usize {
        let mut left = stream.uniform() * task_sums.iter().sum::<f64>();
        let mut is_in = |part: f64| {
            let is_in = left < part;
            left -= if is_in { 0.0 } else { part };
            is_in
        };
        let task = task_sums.iter().position(|sum| is_in(*sum));
        let drawn = task.and_then(|task| (task * TASK..self.nearest.len()).find(|cell| is_in(f64::from(self.nearest[*cell]))));
        // All cells lie on centroids: any will do.
        drawn.unwrap_or_else(|| stream.below(self.nearest.len()))
    }

    fn row(&self, cell: usize) -> &'a [f32] {
        &self.x[cell * self.d..(cell + 1) * self.d]
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::Threads;

    /// More cells than three tasks hold, around three centres.
    fn planted(origin: f32) -> Array2<f32> {
        let mut stream = Rng::new(3).stream("points", 0, 0);
        Array2::from_shape_fn((6300, 17), |(i, j)| origin + 8.0 * f32::from(u8::from(i % 3 == j)) + stream.normal() as f32)
    }

    fn squared(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f64 {
        a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
    }

    #[test]
    fn planted_clusters_are_found_with_any_number_of_threads() {
        let x = planted(0.0);
        let config = KMeansConfig { n_clusters: 3, ..Default::default() };
        let run = |n| Threads::new(n).unwrap().run(|| k_means(x.view(), &config).unwrap());
        let found = run(1);
        assert_eq!(found, run(2));
        assert!((0..6300).all(|i| found.labels[i] == found.labels[i % 3]));
    }

    #[test]
    fn without_tolerance_cells_are_with_their_nearest_centroid_and_centroids_are_means() {
        // Far from the origin, and with more clusters than groups, so that many borders are close.
        let x = planted(1000.0);
        let found = k_means(x.view(), &KMeansConfig { n_clusters: 9, n_init: 1, tol: 0.0, ..Default::default() }).unwrap();
        let mut sums = Array2::<f64>::zeros((9, 17));
        let (mut sizes, mut inertia) = ([0.0; 9], 0.0);
        for (row, label) in x.rows().into_iter().zip(&found.labels) {
            let distances: Vec<f64> = found.centroids.rows().into_iter().map(|c| squared(row, c)).collect();
            let own = distances[*label as usize];
            assert!(distances.iter().all(|d| own <= d + 1e-2), "{label}: {distances:?}");
            inertia += own;
            sums.row_mut(*label as usize).zip_mut_with(&row, |sum, v| *sum += f64::from(*v));
            sizes[*label as usize] += 1.0;
        }
        for ((k, j), sum) in sums.indexed_iter() {
            assert!((sum / sizes[k] - f64::from(found.centroids[[k, j]])).abs() < 1e-3);
        }
        assert!((inertia / found.inertia - 1.0).abs() < 1e-5);
    }

    #[test]
    fn starts_never_take_a_cell_twice_while_others_are_left() {
        // Five places, each of many cells: only a start with all five ends at an inertia of 0.
        let x = Array2::from_shape_fn((3000, 3), |(i, j)| (i % 5 * (j + 1)) as f32 + 0.1);
        for seed in 0..20 {
            let found = k_means(x.view(), &KMeansConfig { n_clusters: 5, n_init: 1, seed, ..Default::default() }).unwrap();
            assert!(found.inertia < 1e-6, "seed {seed}: {}", found.inertia);
        }
        // Fewer places than clusters: some stay empty.
        let found = k_means(x.view(), &KMeansConfig { n_clusters: 8, ..Default::default() }).unwrap();
        assert!(found.inertia < 1e-6);
    }

    #[test]
    fn bad_requests_are_refused() {
        let x = planted(0.0);
        let of = |config: KMeansConfig| k_means(x.view(), &config).unwrap_err().to_string();
        assert!(of(KMeansConfig { n_clusters: 6301, ..Default::default() }).contains("n_clusters"));
        assert!(of(KMeansConfig { tol: -1.0, ..Default::default() }).contains("tol"));
        assert!(k_means(x.slice(ndarray::s![.., ..0]), &KMeansConfig::default()).is_err());
    }
}
