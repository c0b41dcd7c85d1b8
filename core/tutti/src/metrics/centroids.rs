//! Where the groups of cells lie, and how wide they are.

use ndarray::{Array1, Array2, ArrayView2, Axis};

use super::check_cells;
use super::geometry::{Correlation, Distances, correlate};
use crate::error::{Error, Result};
use crate::neighbors::Metric;

/// Calinski-Harabasz index (1974): between-group over within-group variance, (B / (k - 1)) / (W / (n - k)); higher is further apart.
///
/// # Errors
/// [`Error::Data`] for unequal numbers of cells, fewer than 2 groups, or no group of 2 cells.
pub fn calinski_harabasz(x: ArrayView2<'_, f32>, codes: &[u32]) -> Result<f64> {
    let groups = Groups::new(x, codes)?;
    let (n, k) = (codes.len() as f64, groups.cells.len() as f64);
    let mean = groups.x.mean_axis(Axis(0)).unwrap_or_default();
    let squared = |a: &Array1<f64>| a.dot(a);
    let between: f64 = groups.cells.iter().zip(&groups.centroids).map(|(c, m)| c.len() as f64 * squared(&(m - &mean))).sum();
    let within: f64 = (0..groups.cells.len()).map(|g| groups.squares(g)).sum();
    if n == k {
        return Err(Error::data("every cell is a group of its own", "choose a column with fewer levels"));
    }
    // As scikit-learn: 1 where no group has any width.
    Ok(if within > 0.0 { between / (k - 1.0) / (within / (n - k)) } else { 1.0 })
}

/// Correlation over groups of their width in two spaces, -1 to 1: whether wide states stay wide. The width is the mean squared
/// Euclidean distance of the cells of a group from its mean.
///
/// # Errors
/// [`Error::Data`] for unequal numbers of cells, fewer than 3 groups, or widths all equal in one space.
pub fn state_dispersion_correlation(
    original: ArrayView2<'_, f32>,
    embedding: ArrayView2<'_, f32>,
    states: &[u32],
    correlation: Correlation,
) -> Result<f64> {
    let widths = |x| -> Result<Vec<f64>> {
        let groups = Groups::new(x, states)?;
        Ok((0..groups.cells.len()).map(|g| groups.squares(g) / groups.cells[g].len() as f64).collect())
    };
    over_states(&widths(original)?, &widths(embedding)?, states, correlation)
}

/// Correlation over pairs of groups of the distance between their means in two spaces, -1 to 1.
///
/// # Errors
/// As [`state_dispersion_correlation`].
pub fn state_distance_correlation(
    original: ArrayView2<'_, f32>,
    embedding: ArrayView2<'_, f32>,
    states: &[u32],
    metric: Metric,
    correlation: Correlation,
) -> Result<f64> {
    let distances = |x| -> Result<Vec<f64>> { Ok(between(&Groups::new(x, states)?.centroids, metric)) };
    over_states(&distances(original)?, &distances(embedding)?, states, correlation)
}

/// Correlation over pairs of states of the distance between their means in an embedding and the number of branches between them in the tree of
/// lineages, -1 to 1: whether what parted late lies near. `parents[s]` is the state that state s comes from, `None` for the root or roots; pairs
/// in different trees are left out. States without cells may stand within the tree.
///
/// # Errors
/// [`Error::Data`] for unequal numbers of cells, a state without a place in the tree, a tree that runs in a circle, or fewer than 3 states with cells.
pub fn lineage_distance_correlation(
    embedding: ArrayView2<'_, f32>,
    states: &[u32],
    parents: &[Option<u32>],
    metric: Metric,
    correlation: Correlation,
) -> Result<f64> {
    let mut there = states.to_vec();
    there.sort_unstable();
    there.dedup();
    let ways: Vec<Vec<u32>> = there.iter().map(|state| way_to_root(*state, parents)).collect::<Result<_>>()?;
    let distances = between(&Groups::new(embedding, states)?.centroids, metric);
    let pairs = (0..ways.len()).flat_map(|i| (i + 1..ways.len()).map(move |j| (i, j)));
    let (tree, embedded): (Vec<f64>, Vec<f64>) =
        pairs.zip(distances).filter_map(|((i, j), d)| Some((branches_between(&ways[i], &ways[j])? as f64, d))).unzip();
    over_states(&tree, &embedded, states, correlation)
}

/// The state and all that it comes from.
fn way_to_root(state: u32, parents: &[Option<u32>]) -> Result<Vec<u32>> {
    let mut way = vec![state];
    loop {
        let last = way[way.len() - 1];
        match parents.get(last as usize) {
            None => {
                let problem = format!("state number {last} has no place among {} parents", parents.len());
                return Err(Error::data(problem, "give the parent of every state, none for the root"));
            }
            Some(None) => return Ok(way),
            Some(Some(_)) if way.len() > parents.len() => {
                return Err(Error::data(format!("the parents of state number {state} run in a circle"), "correct the tree"));
            }
            Some(Some(parent)) => way.push(*parent),
        }
    }
}

/// Steps from the one up to the nearest state that both come from, and down to the other.
fn branches_between(a: &[u32], b: &[u32]) -> Option<usize> {
    a.iter().enumerate().find_map(|(up, state)| b.iter().position(|other| other == state).map(|down| up + down))
}

/// log10 of the mean distance between the means of states, over the mean distance between the means of the batches of a state: above
/// 0 where states are further apart than batches.
///
/// The lower mean is over all pairs of batches within a state, states with one batch giving none.
///
/// # Errors
/// [`Error::Data`] for unequal numbers of cells, fewer than 2 states, no state in 2 batches, or a mean distance of 0.
pub fn state_batch_distance_ratio(x: ArrayView2<'_, f32>, states: &[u32], batches: &[u32], metric: Metric) -> Result<f64> {
    check_cells(x.nrows(), &[("states", states.len()), ("batches", batches.len())])?;
    let of_states = between(&Groups::new(x, states)?.centroids, metric);
    let mut of_batches = Vec::new();
    let n_states = states.iter().max().map_or(0, |s| *s + 1);
    for state in 0..n_states {
        let cells: Vec<usize> = (0..states.len()).filter(|i| states[*i] == state).collect();
        let codes: Vec<u32> = cells.iter().map(|i| batches[*i]).collect();
        if codes.iter().any(|c| *c != codes[0]) {
            of_batches.extend(between(&Groups::new(x.select(Axis(0), &cells).view(), &codes)?.centroids, metric));
        }
    }
    let mean = |d: &[f64]| d.iter().sum::<f64>() / d.len().max(1) as f64;
    let (above, below) = (mean(&of_states), mean(&of_batches));
    if !(above > 0.0 && below > 0.0) {
        let problem = format!("mean distances of {above} between states and {below} between batches have no ratio");
        return Err(Error::data(problem, "choose states that occur in two batches"));
    }
    Ok((above / below).log10())
}

fn over_states(a: &[f64], b: &[f64], states: &[u32], correlation: Correlation) -> Result<f64> {
    let mut seen = states.to_vec();
    seen.sort_unstable();
    seen.dedup();
    if seen.len() < 3 {
        return Err(Error::data(format!("{} states cannot be correlated", seen.len()), "give at least 3"));
    }
    correlate(a, b, correlation)
        .ok_or_else(|| Error::data("all states are alike in one space", "give an embedding that tells them apart"))
}

/// Distances between all pairs.
fn between(centroids: &[Array1<f64>], metric: Metric) -> Vec<f64> {
    let n = centroids.len();
    let rows = Array2::from_shape_fn((n, centroids[0].len()), |(i, j)| centroids[i][j]);
    let distances = Distances::of(rows, metric);
    (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))).map(|(i, j)| distances.between(i, j)).collect()
}

/// Cells and mean of each group that occurs.
struct Groups {
    x: Array2<f64>,
    cells: Vec<Vec<usize>>,
    centroids: Vec<Array1<f64>>,
}

impl Groups {
    fn new(x: ArrayView2<'_, f32>, codes: &[u32]) -> Result<Self> {
        check_cells(x.nrows(), &[("groups", codes.len())])?;
        let mut by_code = std::collections::BTreeMap::<u32, Vec<usize>>::new();
        codes.iter().enumerate().for_each(|(i, c)| by_code.entry(*c).or_default().push(i));
        if by_code.len() < 2 {
            return Err(Error::data("all cells are of one group", "choose a column with more levels"));
        }
        let x = x.mapv(f64::from);
        let cells: Vec<Vec<usize>> = by_code.into_values().collect();
        let mean = |cells: &Vec<usize>| {
            let sum = cells.iter().fold(Array1::zeros(x.ncols()), |sum: Array1<f64>, i| sum + x.row(*i));
            sum / cells.len() as f64
        };
        let centroids = cells.iter().map(mean).collect();
        Ok(Self { x, cells, centroids })
    }

    /// Sum of squared distances from the mean of group `g`.
    fn squares(&self, g: usize) -> f64 {
        let squared = |i: &usize| (&self.x.row(*i) - &self.centroids[g]).mapv(|v| v * v).sum();
        self.cells[g].iter().map(squared).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_laid_out_by_its_branches_is_kept_and_a_shuffled_one_is_not() {
        // 0 is the root; 1 and 2 come from it, 3 and 4 from 1, 5 from 2. States lie where their branches lead.
        let parents = [None, Some(0), Some(0), Some(1), Some(1), Some(2)];
        let place: [[f32; 4]; 6] =
            [[0., 0., 0., 0.], [1., 0., 0., 0.], [-1., 0., 0., 0.], [1., 1., 0., 0.], [1., 0., 1., 0.], [-1., 0., 0., 1.]];
        let states: Vec<u32> = (0..60).map(|i| i % 6).collect();
        let score = |of: &dyn Fn(usize) -> usize| {
            let x = Array2::from_shape_fn((60, 4), |(i, d)| place[of(i % 6)][d]);
            lineage_distance_correlation(x.view(), &states, &parents, Metric::Euclidean, Correlation::Spearman).unwrap()
        };
        assert!(score(&|s| s) > 0.9, "{}", score(&|s| s));
        assert!(score(&|s| (s * 5 + 2) % 6) < 0.5);
        assert_eq!(branches_between(&way_to_root(3, &parents).unwrap(), &way_to_root(5, &parents).unwrap()), Some(4));
        let circle = [Some(1), Some(0), None, None, None, None];
        let x = Array2::<f32>::zeros((60, 4));
        let of = |parents: &[Option<u32>]| {
            lineage_distance_correlation(x.view(), &states, parents, Metric::Euclidean, Correlation::Spearman)
                .unwrap_err()
                .to_string()
        };
        assert!(of(&circle).contains("circle") && of(&parents[..4]).contains("state number 4"));
    }

    #[test]
    fn values_by_hand() {
        // Groups at 1 and 5 of width 1 each: between 16 over 1, within 4 over 2.
        let x = ndarray::arr2(&[[0.0f32], [2.0], [4.0], [6.0]]);
        assert!((calinski_harabasz(x.view(), &[0, 0, 7, 7]).unwrap() - 16.0 / 2.0).abs() < 1e-12);
        assert!(calinski_harabasz(x.view(), &[0; 4]).is_err() && calinski_harabasz(x.view(), &[0, 1, 2, 3]).is_err());
        // Means of states 1 and 5, of batches 0 and 2, 4 and 6.
        let ratio = state_batch_distance_ratio(x.view(), &[0, 0, 1, 1], &[0, 1, 0, 1], Metric::Euclidean).unwrap();
        assert!((ratio - 2f64.log10()).abs() < 1e-12);
        assert!(state_batch_distance_ratio(x.view(), &[0, 0, 1, 1], &[0; 4], Metric::Euclidean).is_err());
    }

    #[test]
    fn widths_and_distances_of_states_correlate_by_hand() {
        // Widths 1, 4, 9 and means 0, 10, 30; in the embedding widths 1, 9, 4 and means 0, 30, 10.
        let at = |values: [f32; 6]| Array2::from_shape_fn((6, 1), |(i, _)| values[i]);
        let (x, z) = (at([-1.0, 1.0, 8.0, 12.0, 27.0, 33.0]), at([-1.0, 1.0, 27.0, 33.0, 8.0, 12.0]));
        let states = [0, 0, 1, 1, 2, 2];
        let width = state_dispersion_correlation(x.view(), z.view(), &states, Correlation::Spearman).unwrap();
        assert!((width - 0.5).abs() < 1e-12);
        // Distances 10, 30, 20 and 30, 10, 20.
        let distance = state_distance_correlation(x.view(), z.view(), &states, Metric::Euclidean, Correlation::Pearson).unwrap();
        assert!((distance + 1.0).abs() < 1e-12);
        assert!(state_dispersion_correlation(x.view(), z.view(), &[0, 0, 0, 1, 1, 1], Correlation::Pearson).is_err());
    }
}
