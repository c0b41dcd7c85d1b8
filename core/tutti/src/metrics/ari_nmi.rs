//! Agreement of two groupings of the same cells, e.g. clusters and cell types.

use crate::error::{Error, Result};

/// Counts of cells by group of the one and group of the other.
struct Contingency {
    cells: Vec<Vec<f64>>,
    rows: Vec<f64>,
    columns: Vec<f64>,
    n: f64,
}

impl Contingency {
    fn of(a: &[u32], b: &[u32]) -> Result<Self> {
        if a.len() != b.len() || a.is_empty() {
            let problem = format!("groupings of {} and {} cells cannot be compared", a.len(), b.len());
            return Err(Error::data(problem, "give one group for each cell in both"));
        }
        let levels = |x: &[u32]| x.iter().max().map_or(0, |m| *m as usize + 1);
        let mut cells = vec![vec![0.0; levels(b)]; levels(a)];
        a.iter().zip(b).for_each(|(a, b)| cells[*a as usize][*b as usize] += 1.0);
        let rows: Vec<f64> = cells.iter().map(|row| row.iter().sum()).collect();
        let columns = (0..levels(b)).map(|j| cells.iter().map(|row| row[j]).sum()).collect();
        Ok(Self { cells, rows, columns, n: a.len() as f64 })
    }
}

/// Adjusted Rand index (Hubert and Arabie 1985, eq. 5): 1 for the same grouping, 0 in the mean of random ones, may be below 0.
///
/// # Errors
/// [`Error::Data`] for groupings of unequal length or of no cells.
pub fn adjusted_rand_index(a: &[u32], b: &[u32]) -> Result<f64> {
    let t = Contingency::of(a, b)?;
    let pairs = |n: &f64| n * (n - 1.0) / 2.0;
    let together: f64 = t.cells.iter().flatten().map(pairs).sum();
    let (rows, columns): (f64, f64) = (t.rows.iter().map(pairs).sum(), t.columns.iter().map(pairs).sum());
    let expected = rows * columns / pairs(&t.n).max(f64::MIN_POSITIVE);
    let most = (rows + columns) / 2.0;
    // One group, or all cells alone, in both.
    Ok(if most == expected { 1.0 } else { (together - expected) / (most - expected) })
}

/// Mutual information over the mean of both entropies, 0 to 1.
///
/// # Errors
/// As [`adjusted_rand_index`].
pub fn normalized_mutual_information(a: &[u32], b: &[u32]) -> Result<f64> {
    let t = Contingency::of(a, b)?;
    let entropy = |counts: &[f64]| -counts.iter().filter(|c| **c > 0.0).map(|c| c / t.n * (c / t.n).ln()).sum::<f64>();
    let mut information = 0.0;
    for (row, in_row) in t.cells.iter().zip(&t.rows) {
        for (count, in_column) in row.iter().zip(&t.columns).filter(|(c, _)| **c > 0.0) {
            information += count / t.n * (count * t.n / (in_row * in_column)).ln();
        }
    }
    let mean = (entropy(&t.rows) + entropy(&t.columns)) / 2.0;
    Ok(if mean > 0.0 { (information / mean).clamp(0.0, 1.0) } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_groupings_agree_whatever_the_names_and_hand_counts_hold() {
        let (a, renamed) = ([0u32, 0, 1, 1, 2, 2], [2u32, 2, 0, 0, 1, 1]);
        assert_eq!(
            (adjusted_rand_index(&a, &renamed).unwrap(), normalized_mutual_information(&a, &renamed).unwrap()),
            (1.0, 1.0)
        );
        // 2 x 2 table (2 1 / 1 2): pairs 2, expected 6 * 6 / 15, most 6.
        let (x, y) = ([0u32, 0, 0, 1, 1, 1], [0u32, 0, 1, 0, 1, 1]);
        assert!((adjusted_rand_index(&x, &y).unwrap() - (2.0 - 2.4) / (6.0 - 2.4)).abs() < 1e-12);
        let information = 2.0 * (2.0 / 6.0) * (4.0f64 / 3.0).ln() + 2.0 * (1.0 / 6.0) * (2.0f64 / 3.0).ln();
        assert!((normalized_mutual_information(&x, &y).unwrap() - information / 2f64.ln()).abs() < 1e-12);
        assert!(normalized_mutual_information(&x, &[0; 6]).unwrap() < 1e-12);
        assert!(adjusted_rand_index(&x, &[0]).is_err());
    }
}
