//! Exact search by a ball tree of petal-neighbors.

use ndarray::ArrayView2;
use petal_neighbors::BallTree;
use rayon::prelude::*;

use super::Neighbors;
use crate::error::{Error, Result};
use crate::observe::may_stop;

fn tree(reference: ArrayView2<'_, f32>) -> Result<BallTree<'_, f32, petal_neighbors::distance::Euclidean>> {
    BallTree::euclidean(reference).map_err(|e| Error::data(format!("no tree over the cells: {e}"), "give at least one cell"))
}

/// `reference` and `query` in standard layout.
pub(super) fn search(reference: ArrayView2<'_, f32>, query: ArrayView2<'_, f32>, k: usize) -> Result<Neighbors> {
    let tree = tree(reference)?;
    let found: Vec<Vec<(f32, u32)>> = (0..query.nrows())
        .into_par_iter()
        .map(|i| {
            may_stop();
            let (indices, distances) = tree.query(&query.row(i), k);
            let mut row: Vec<(f32, u32)> = distances.into_iter().zip(indices).map(|(d, j)| (d, j as u32)).collect();
            row.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            row
        })
        .collect();
    let (distances, indices) = found.into_iter().flatten().unzip();
    Ok(Neighbors { k, indices, distances })
}

/// Rows of `reference` [n, d] within `radius` (Euclidean) of each row of `query` [m, d], ascending.
///
/// # Errors
/// [`Error::Argument`] for a radius that is no number of 0 or more; [`Error::Data`] for an empty reference.
pub fn within_radius(reference: ArrayView2<'_, f32>, query: ArrayView2<'_, f32>, radius: f32) -> Result<Vec<Vec<u32>>> {
    if !(radius >= 0.0) {
        return Err(Error::argument("radius", format!("must be 0 or more (got {radius})"), "give a distance"));
    }
    let (reference, query) = (reference.as_standard_layout(), query.as_standard_layout());
    let tree = tree(reference.view())?;
    let row = |i: usize| {
        may_stop();
        let mut found: Vec<u32> = tree.query_radius(&query.row(i), radius).into_iter().map(|j| j as u32).collect();
        found.sort_unstable();
        found
    };
    Ok((0..query.nrows()).into_par_iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_radius_takes_what_lies_in_it() {
        let x = ndarray::arr2(&[[0.0f32], [1.0], [2.5], [3.0]]);
        let found = within_radius(x.view(), ndarray::arr2(&[[2.0f32]]).view(), 1.0).unwrap();
        assert_eq!(found, [vec![1, 2, 3]]);
        assert!(within_radius(x.view(), x.view(), -1.0).is_err());
    }
}
