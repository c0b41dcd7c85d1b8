//! Rows on demand: one trait for memory, disk and other languages' matrices.

use std::ops::Range;

use super::Csr;
use crate::error::Result;
use crate::observe::may_stop;

/// A matrix of cells x genes whose rows can be read in any order.
///
/// Trainer, PCA, neighbours and scores see only this trait. An implementation must be able to read from several threads.
pub trait CellSource: Send + Sync {
    /// Number of cells (rows).
    fn n_cells(&self) -> usize;

    /// Number of genes (columns).
    fn n_genes(&self) -> usize;

    /// Number of stored values, where it is known without reading.
    fn nnz(&self) -> Option<usize> {
        None
    }

    /// Replaces the content of `out` by the rows `rows`, in that order; repeats are allowed.
    ///
    /// # Errors
    /// What reading can fail at; memory cannot.
    fn read_rows(&self, rows: &[usize], out: &mut Csr) -> Result<()>;

    /// Replaces the content of `out` by a run of rows. Sources on disk override it by one sequential read.
    ///
    /// # Errors
    /// As [`CellSource::read_rows`].
    fn read_range(&self, rows: Range<usize>, out: &mut Csr) -> Result<()> {
        self.read_rows(&rows.collect::<Vec<_>>(), out)
    }
}

impl<S: CellSource + ?Sized> CellSource for &S {
    fn n_cells(&self) -> usize {
        (**self).n_cells()
    }
    fn n_genes(&self) -> usize {
        (**self).n_genes()
    }
    fn nnz(&self) -> Option<usize> {
        (**self).nnz()
    }
    fn read_rows(&self, rows: &[usize], out: &mut Csr) -> Result<()> {
        (**self).read_rows(rows, out)
    }
    fn read_range(&self, rows: Range<usize>, out: &mut Csr) -> Result<()> {
        (**self).read_range(rows, out)
    }
}

impl<S: CellSource + ?Sized> CellSource for std::sync::Arc<S> {
    fn n_cells(&self) -> usize {
        (**self).n_cells()
    }
    fn n_genes(&self) -> usize {
        (**self).n_genes()
    }
    fn nnz(&self) -> Option<usize> {
        (**self).nnz()
    }
    fn read_rows(&self, rows: &[usize], out: &mut Csr) -> Result<()> {
        (**self).read_rows(rows, out)
    }
    fn read_range(&self, rows: Range<usize>, out: &mut Csr) -> Result<()> {
        (**self).read_range(rows, out)
    }
}

/// Runs of at most `block` rows that cover `n_cells`. Between them, a guarded call may stop.
pub fn row_blocks(n_cells: usize, block: usize) -> impl Iterator<Item = Range<usize>> {
    (0..n_cells.div_ceil(block.max(1))).map(move |i| {
        may_stop();
        i * block..((i + 1) * block).min(n_cells)
    })
}

/// Some genes of a source, in the order asked for; genes without a source column are zero.
#[derive(Debug, Clone)]
pub struct GeneSubset<S> {
    source: S,
    /// New column of each source column.
    column: Vec<Option<u32>>,
    n_genes: usize,
    ascending: bool,
}

impl<S: CellSource> GeneSubset<S> {
    /// `genes[j]` is the source column that becomes column `j`, or `None` for a column of zeros. A source column is used once.
    pub fn new(source: S, genes: &[Option<usize>]) -> Self {
        let mut column = vec![None; source.n_genes()];
        for (new, old) in genes.iter().enumerate() {
            if let Some(old) = old {
                column[*old] = Some(new as u32);
            }
        }
        let kept: Vec<u32> = column.iter().flatten().copied().collect();
        let ascending = kept.windows(2).all(|w| w[0] < w[1]);
        Self { source, column, n_genes: genes.len(), ascending }
    }

    fn take(&self, full: &Csr, out: &mut Csr) {
        out.clear(self.n_genes);
        let mut entries = Vec::new();
        for i in 0..full.n_rows() {
            let (columns, values) = full.row(i);
            entries.clear();
            entries.extend(columns.iter().zip(values).filter_map(|(c, v)| self.column[*c as usize].map(|new| (new, *v))));
            if !self.ascending {
                entries.sort_unstable_by_key(|e| e.0);
            }
            out.push_row(entries.iter().copied());
        }
    }
}

impl<S: CellSource> CellSource for GeneSubset<S> {
    fn n_cells(&self) -> usize {
        self.source.n_cells()
    }

    fn n_genes(&self) -> usize {
        self.n_genes
    }

    fn read_rows(&self, rows: &[usize], out: &mut Csr) -> Result<()> {
        let mut full = Csr::empty(self.source.n_genes());
        self.source.read_rows(rows, &mut full)?;
        self.take(&full, out);
        Ok(())
    }

    fn read_range(&self, rows: Range<usize>, out: &mut Csr) -> Result<()> {
        let mut full = Csr::empty(self.source.n_genes());
        self.source.read_range(rows, &mut full)?;
        self.take(&full, out);
        Ok(())
    }
}

/// Some cells of a source, in the order asked for.
#[derive(Debug, Clone)]
pub struct RowSubset<'a, S> {
    source: S,
    rows: std::borrow::Cow<'a, [usize]>,
}

impl<'a, S: CellSource> RowSubset<'a, S> {
    /// `rows[i]` is the source row that becomes row `i`; repeats are allowed.
    pub fn new(source: S, rows: impl Into<std::borrow::Cow<'a, [usize]>>) -> Self {
        Self { source, rows: rows.into() }
    }
}

impl<S: CellSource> CellSource for RowSubset<'_, S> {
    fn n_cells(&self) -> usize {
        self.rows.len()
    }

    fn n_genes(&self) -> usize {
        self.source.n_genes()
    }

    fn read_rows(&self, rows: &[usize], out: &mut Csr) -> Result<()> {
        self.source.read_rows(&rows.iter().map(|i| self.rows[*i]).collect::<Vec<_>>(), out)
    }

    fn read_range(&self, rows: Range<usize>, out: &mut Csr) -> Result<()> {
        self.source.read_rows(&self.rows[rows], out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_all_rows_once() {
        assert_eq!(row_blocks(5, 2).collect::<Vec<_>>(), [0..2, 2..4, 4..5]);
        assert_eq!(row_blocks(0, 2).count(), 0);
    }

    #[test]
    fn a_subset_reorders_and_fills_with_zeros() {
        let x = Csr::new(3, vec![0, 3], vec![0, 1, 2], vec![1.0, 2.0, 3.0]).unwrap();
        let subset = GeneSubset::new(&x, &[Some(2), None, Some(0)]);
        let mut out = Csr::empty(0);
        subset.read_range(0..1, &mut out).unwrap();
        assert_eq!(out.to_dense().row(0).to_vec(), [3.0, 0.0, 1.0]);
    }

    #[test]
    fn a_subset_of_rows_reads_those_in_its_order() {
        let x = Csr::new(2, vec![0, 1, 2, 3], vec![0, 1, 0], vec![1.0, 2.0, 3.0]).unwrap();
        let subset = RowSubset::new(&x, vec![2, 0, 2]);
        let mut out = Csr::empty(0);
        subset.read_range(1..3, &mut out).unwrap();
        assert_eq!(out.to_dense(), ndarray::array![[1.0, 0.0], [3.0, 0.0]]);
        subset.read_rows(&[0], &mut out).unwrap();
        assert_eq!((subset.n_cells(), out.to_dense().row(0).to_vec()), (3, vec![3.0, 0.0]));
    }
}
