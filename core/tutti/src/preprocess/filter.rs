//! Which cells and genes to keep.

use crate::data::{CellSource, Csr, row_blocks};
use crate::error::Result;

/// Smallest values a cell must reach. Default 0: keeps all.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CellFilter {
    /// Genes with a value above 0.
    pub min_genes: usize,
    /// Sum over all genes.
    pub min_counts: f64,
}

/// Smallest values a gene must reach. Default 0: keeps all.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GeneFilter {
    /// Cells with a value above 0.
    pub min_cells: usize,
    /// Sum over all cells.
    pub min_counts: f64,
}

/// Row numbers of the cells that pass.
///
/// # Errors
/// What the source fails at.
pub fn keep_cells(source: &dyn CellSource, filter: CellFilter) -> Result<Vec<usize>> {
    let mut kept = Vec::new();
    each_row(source, |i, _, values| {
        let expressed = values.iter().filter(|v| **v > 0.0).count();
        let total: f64 = values.iter().map(|v| f64::from(*v)).sum();
        if expressed >= filter.min_genes && total >= filter.min_counts {
            kept.push(i);
        }
    })?;
    Ok(kept)
}

/// Column numbers of the genes that pass.
///
/// # Errors
/// What the source fails at.
pub fn keep_genes(source: &dyn CellSource, filter: GeneFilter) -> Result<Vec<usize>> {
    let mut cells = vec![0usize; source.n_genes()];
    let mut totals = vec![0f64; source.n_genes()];
    each_row(source, |_, columns, values| {
        for (column, value) in columns.iter().zip(values) {
            cells[*column as usize] += usize::from(*value > 0.0);
            totals[*column as usize] += f64::from(*value);
        }
    })?;
    Ok((0..cells.len()).filter(|g| cells[*g] >= filter.min_cells && totals[*g] >= filter.min_counts).collect())
}

/// Mean of each gene, \[n_genes\].
///
/// # Errors
/// What the source fails at.
pub fn gene_means(source: &dyn CellSource) -> Result<ndarray::Array1<f64>> {
    let mut sums = ndarray::Array1::<f64>::zeros(source.n_genes());
    each_row(source, |_, columns, values| columns.iter().zip(values).for_each(|(c, v)| sums[*c as usize] += f64::from(*v)))?;
    Ok(sums / source.n_cells().max(1) as f64)
}

/// Calls `f` with number, columns and values of each row, by blocks.
pub(super) fn each_row(source: &dyn CellSource, mut f: impl FnMut(usize, &[u32], &[f32])) -> Result<()> {
    let mut rows = Csr::empty(source.n_genes());
    for block in row_blocks(source.n_cells(), 4096) {
        source.read_range(block.clone(), &mut rows)?;
        for i in 0..rows.n_rows() {
            let (columns, values) = rows.row(i);
            f(block.start + i, columns, values);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_inclusive() {
        let x = Csr::from_dense(ndarray::arr2(&[[1.0, 0.0, 3.0], [0.0, 0.0, 2.0], [0.0, 0.0, 0.0]]).view()).unwrap();
        assert_eq!(keep_cells(&x, CellFilter { min_genes: 1, min_counts: 0.0 }).unwrap(), [0, 1]);
        assert_eq!(keep_cells(&x, CellFilter { min_genes: 0, min_counts: 4.0 }).unwrap(), [0]);
        assert_eq!(keep_genes(&x, GeneFilter { min_cells: 2, min_counts: 0.0 }).unwrap(), [2]);
        assert_eq!(keep_genes(&x, GeneFilter { min_cells: 0, min_counts: 1.0 }).unwrap(), [0, 2]);
    }
}
