//! Who lives next to whom.

use super::check_cells;
use crate::error::Result;
use crate::neighbors::Neighbors;

/// Mean share of the neighbours that have the cell's own code, itself left out; 0 to 1.
///
/// # Errors
/// [`Error::Data`](crate::Error::Data) for unequal numbers of cells.
pub fn knn_purity(neighbors: &Neighbors, codes: &[u32]) -> Result<f64> {
    check_cells(neighbors.n_queries(), &[("codes", codes.len())])?;
    Ok(mean(codes.len(), |i| share_same(neighbors, codes, i, |_| true)))
}

/// Same-batch neighbours over what mixing at random would give: 1 is perfectly mixed, 1 / share of the batch is apart.
///
/// The expectation is the batch's share among the cells of the same label (all cells, without labels), so that a type present in one
/// batch alone counts as mixed. Cells whose label is in one batch alone are left out.
///
/// # Errors
/// [`Error::Data`](crate::Error::Data) for unequal numbers of cells.
pub fn same_batch_ratio(neighbors: &Neighbors, batches: &[u32], labels: Option<&[u32]>) -> Result<f64> {
    let n_labels = labels.map_or(batches.len(), <[u32]>::len);
    check_cells(neighbors.n_queries(), &[("batches", batches.len()), ("labels", n_labels)])?;
    let label = |i: usize| labels.map_or(0, |l| l[i]);
    let n_labels = (0..batches.len()).map(label).max().map_or(0, |l| l as usize + 1);
    let n_batches = batches.iter().max().map_or(0, |b| *b as usize + 1);
    let mut counts = vec![0usize; n_labels * n_batches];
    (0..batches.len()).for_each(|i| counts[label(i) as usize * n_batches + batches[i] as usize] += 1);
    let expected = |i: usize| {
        let row = &counts[label(i) as usize * n_batches..][..n_batches];
        let all: usize = row.iter().sum();
        (row[batches[i] as usize] as f64 - 1.0) / (all as f64 - 1.0).max(1.0)
    };
    let used: Vec<usize> = (0..batches.len()).filter(|i| expected(*i) > 0.0 && expected(*i) < 1.0).collect();
    Ok(mean(used.len(), |k| {
        let i = used[k];
        share_same(neighbors, batches, i, |j| label(j) == label(i)) / expected(i)
    }))
}

/// Share of the neighbours of `i` (that `count` takes) with its code.
fn share_same(neighbors: &Neighbors, codes: &[u32], i: usize, count: impl Fn(usize) -> bool) -> f64 {
    let others = neighbors.row(i).0.iter().map(|j| *j as usize).filter(|j| *j != i && count(*j));
    let (same, all) = others.fold((0u32, 0u32), |(same, all), j| (same + u32::from(codes[j] == codes[i]), all + 1));
    if all == 0 { 1.0 } else { f64::from(same) / f64::from(all) }
}

fn mean(n: usize, value: impl Fn(usize) -> f64) -> f64 {
    (0..n).map(value).sum::<f64>() / n.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbors::{NeighborConfig, nearest_self};

    #[test]
    fn shares_by_hand() {
        let x = ndarray::arr2(&[[0.0f32], [1.0], [2.1], [10.0], [11.0], [12.1]]);
        let neighbors = nearest_self(x.view(), &NeighborConfig { n_neighbors: 3, ..Default::default() }).unwrap();
        assert_eq!(knn_purity(&neighbors, &[0, 0, 0, 1, 1, 1]).unwrap(), 1.0);
        assert!(knn_purity(&neighbors, &[0; 7]).unwrap_err().to_string().contains("codes of 7 cells for 6 cells"));
        assert!(same_batch_ratio(&neighbors, &[0; 6], Some(&[0; 5])).unwrap_err().to_string().contains("labels of 5 cells"));
        assert!((knn_purity(&neighbors, &[0, 0, 1, 1, 1, 1]).unwrap() - (0.5 + 0.5 + 0.0 + 1.0 + 1.0 + 1.0) / 6.0).abs() < 1e-12);
        // Apart: all neighbours of the same batch, where 2 of 5 others are expected.
        let apart = same_batch_ratio(&neighbors, &[0, 0, 0, 1, 1, 1], None).unwrap();
        assert!((apart - 1.0 / (2.0 / 5.0)).abs() < 1e-12);
    }
}
