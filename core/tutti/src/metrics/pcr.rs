//! Variance that the batch explains before and after integration (Büttner et al. 2019, principal component regression).

use ndarray::{Array1, ArrayView2};

use super::check_cells;
use crate::error::Result;

/// Share of the variance that a grouping explains, 0 to 1.
///
/// Regressing every principal component on the groups and weighting by its variance gives the sum of squares between the groups over
/// the total, whatever the rotation: no components are computed.
///
/// # Errors
/// [`Error::Data`](crate::Error::Data) for unequal numbers of cells.
pub fn explained_by_groups(x: ArrayView2<'_, f32>, codes: &[u32]) -> Result<f64> {
    check_cells(x.nrows(), &[("groups", codes.len())])?;
    let n_groups = codes.iter().max().map_or(0, |c| *c as usize + 1);
    let (mut sums, mut sizes) = (vec![Array1::<f64>::zeros(x.ncols()); n_groups], vec![0f64; n_groups]);
    let (mut all, mut squares) = (Array1::<f64>::zeros(x.ncols()), 0.0);
    for (row, code) in x.rows().into_iter().zip(codes) {
        let row = row.mapv(f64::from);
        squares += row.dot(&row);
        all += &row;
        sums[*code as usize] += &row;
        sizes[*code as usize] += 1.0;
    }
    let about_mean = all.dot(&all) / codes.len().max(1) as f64;
    let between: f64 = sums.iter().zip(&sizes).filter(|(_, n)| **n > 0.0).map(|(s, n)| s.dot(s) / n).sum();
    let total = squares - about_mean;
    Ok(if total > 0.0 { ((between - about_mean) / total).clamp(0.0, 1.0) } else { 0.0 })
}

/// How much less of the variance the batches explain after integration, 0 (not less) to 1 (nothing).
///
/// # Errors
/// As [`explained_by_groups`].
pub fn pcr_comparison(before: ArrayView2<'_, f32>, after: ArrayView2<'_, f32>, batches: &[u32]) -> Result<f64> {
    let (before, after) = (explained_by_groups(before, batches)?, explained_by_groups(after, batches)?);
    Ok(if before > 0.0 { ((before - after) / before).max(0.0) } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_by_hand() {
        // Group means 1 and 5 about 3: between 4 * 4 = 16; within 4 * 1 = 4.
        let x = ndarray::arr2(&[[0.0f32, 7.0], [2.0, 7.0], [4.0, 7.0], [6.0, 7.0]]);
        assert!((explained_by_groups(x.view(), &[0, 0, 1, 1]).unwrap() - 16.0 / 20.0).abs() < 1e-12);
        let mixed = ndarray::arr2(&[[0.0f32], [6.0], [0.0], [6.0]]);
        assert_eq!(pcr_comparison(x.view(), mixed.view(), &[0, 0, 1, 1]).unwrap(), 1.0);
        assert_eq!(pcr_comparison(mixed.view(), x.view(), &[0, 0, 1, 1]).unwrap(), 0.0);
    }
}
