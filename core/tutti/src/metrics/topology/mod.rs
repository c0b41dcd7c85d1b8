//! Holes of an embedding: Vietoris-Rips persistent homology, and how well it shows the topology expected.

mod betti;
mod cohomology;
mod collapse;

pub use betti::{BettiCurve, TopologyScore, betti_curves, topology_score};

use ndarray::{ArrayView2, Axis};

use super::geometry::Distances as Between;
use crate::error::{Error, Result};
use crate::neighbors::Metric;
use crate::observe::may_stop;
use crate::rng::Rng;
use collapse::Distances;

/// Life of one class: from the length at which it appears to that at which it is filled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Length at which the class appears.
    pub birth: f64,
    /// Length at which it is filled; infinite where it is not, up to the threshold.
    pub death: f64,
}

/// Settings of [`persistence`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopologyConfig {
    /// Highest dimension: 0 components, 1 loops, 2 cavities. Default 2.
    pub max_dim: usize,
    /// Distance. Default Euclidean; the cosine one is 1 - cos.
    pub metric: Metric,
    /// Points above which a random sample of as many is used. Default 1000; time grows with more than its cube.
    pub max_points: usize,
    /// Longest edge. Default none: the enclosing radius, beyond which nothing lives.
    pub threshold: Option<f64>,
    /// Fixes the sample. Default 0.
    pub seed: u64,
}

impl Default for TopologyConfig {
    fn default() -> Self {
        Self { max_dim: 2, metric: Metric::Euclidean, max_points: 1000, threshold: None, seed: 0 }
    }
}

/// Most points: their numbers have 16 bits.
const MOST: usize = 1 << 16;

/// Share of the edges that the collapse may leave to be used.
const WORTH: f64 = 0.9;

/// Persistence diagrams of an embedding [n_cells, d], one per dimension from 0 to `max_dim`.
///
/// As [`rips_persistence`], of the distances between all cells or a sample of `max_points`.
///
/// # Errors
/// As [`rips_persistence`]; [`Error::Argument`] for `max_points` below 2; [`Error::Data`] for a value that is not finite.
pub fn persistence(x: ArrayView2<'_, f32>, config: &TopologyConfig) -> Result<Vec<Vec<Interval>>> {
    if config.max_points < 2 {
        let problem = format!("must be at least 2 (got {})", config.max_points);
        return Err(Error::argument("max_points", problem, "use 500 to 2000"));
    }
    if let Some(cell) = x.rows().into_iter().position(|row| row.iter().any(|v| !v.is_finite())) {
        return Err(Error::data(format!("cell number {} has coordinates that are not finite", cell + 1), "drop the cell"));
    }
    let mut cells: Vec<usize> = (0..x.nrows()).collect();
    if cells.len() > config.max_points {
        cells = Rng::new(config.seed).stream("points of the topology", 0, 0).choose(&cells, config.max_points);
        cells.sort_unstable();
    }
    let between = Between::new(x.select(Axis(0), &cells).view(), config.metric);
    // 1 - cos of a cell with itself may round to below 0.
    of(cells.len(), |i, j| between.between(i, j).max(0.0), config.max_dim, config.threshold)
}

/// Persistence diagrams of the Vietoris-Rips filtration of a distance matrix [n, n], over the field of two elements: one per
/// dimension from 0 to `max_dim`, each ordered by birth and death.
///
/// A simplex enters at its longest edge. Dimension 0 is reduced: the component that never dies is left out, so that k clusters have
/// k - 1 long intervals. Intervals of no length are left out. Without a `threshold`, edges above the enclosing radius (the least, over
/// points, of the largest distance from one) are not needed: the complex is a cone there. Edges that a vertex dominates are collapsed
/// first, which changes no interval (Boissonnat and Pritam 2020; Glisse and Pritam 2022); then follows cohomology (Bauer 2021).
/// Where the collapse finds little to drop, as among points spread evenly over a sphere, dimension 2 takes time with the cube of the
/// points and more: about 20 s for 500 on two processors; a `threshold` shortens it. Memory n² * 8 bytes, and 16 bytes for each simplex left
/// by the collapse.
///
/// # Errors
/// [`Error::Argument`] for `max_dim` above 2 or a `threshold` not above 0; [`Error::Data`] for a matrix that is not square and
/// symmetric with distances of 0 or more, or of fewer than 2 or more than 65,536 points.
pub fn rips_persistence(distances: ArrayView2<'_, f64>, max_dim: usize, threshold: Option<f64>) -> Result<Vec<Vec<Interval>>> {
    let n = distances.nrows();
    if distances.ncols() != n {
        let problem = format!("a distance matrix of {n} rows and {} columns", distances.ncols());
        return Err(Error::data(problem, "give one row and one column for each point"));
    }
    let valid = |i: usize, j: usize| distances[[i, j]] >= 0.0 && distances[[i, j]] == distances[[j, i]];
    if let Some((i, j)) = (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).find(|(i, j)| !valid(*i, *j)) {
        let problem = format!("distances {} and {} of points {} and {}", distances[[i, j]], distances[[j, i]], i + 1, j + 1);
        return Err(Error::data(problem, "give a symmetric matrix of distances of 0 or more"));
    }
    of(n, |i, j| distances[[i, j]], max_dim, threshold)
}

fn of(n: usize, between: impl Fn(usize, usize) -> f64, max_dim: usize, threshold: Option<f64>) -> Result<Vec<Vec<Interval>>> {
    if max_dim > 2 {
        return Err(Error::argument("max_dim", format!("must be 0, 1 or 2 (got {max_dim})"), "use 2 for cavities"));
    }
    if let Some(t) = threshold.filter(|t| !(*t > 0.0)) {
        return Err(Error::argument("threshold", format!("must be above 0 (got {t})"), "leave it out to see all"));
    }
    if !(2..=MOST).contains(&n) {
        return Err(Error::data(format!("{n} points have no topology to compute"), "give 2 to 65536 points"));
    }
    let reach = |i: usize| {
        may_stop();
        (0..n).filter(|j| *j != i).map(|j| between(i.max(j), i.min(j))).fold(0.0, f64::max)
    };
    let enclosing = (0..n).map(reach).fold(f64::INFINITY, f64::min);
    let graph = Distances::new(n, threshold.unwrap_or(f64::INFINITY).min(enclosing), between);
    let collapsed = graph.collapsed();
    // Delayed edges enter together and so are slower to pair: worth it only where many others are gone.
    let worth = collapsed.n_edges() as f64 <= WORTH * graph.n_edges() as f64;
    let mut diagrams = cohomology::intervals(if worth { &collapsed } else { &graph }, max_dim);
    for diagram in &mut diagrams {
        diagram.sort_unstable_by(|a, b| a.birth.total_cmp(&b.birth).then(a.death.total_cmp(&b.death)));
    }
    Ok(diagrams)
}

#[cfg(test)]
mod tests;
