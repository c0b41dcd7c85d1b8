//! An h5ad matrix on disk, read by rows.

use std::ops::Range;
use std::path::{Path, PathBuf};

use tutti::data::{CellSource, Csr};

use crate::error::Result;
use crate::h5ad::Layout;

/// A dense or CSR matrix of an h5ad file. Memory: 8 bytes per cell for the row offsets, and the rows asked for.
#[derive(Debug, Clone)]
pub struct BackedH5ad {
    path: PathBuf,
    layout: Layout,
    shape: (usize, usize),
}

impl BackedH5ad {
    pub(crate) fn new(path: &Path, layout: Layout, shape: (usize, usize)) -> Result<Self> {
        Ok(Self { path: path.to_owned(), layout, shape })
    }
}

/// Rows between two wanted ones that are read along rather than seeking anew.
const GAP: usize = 8;

impl CellSource for BackedH5ad {
    fn n_cells(&self) -> usize {
        self.shape.0
    }

    fn n_genes(&self) -> usize {
        self.shape.1
    }

    fn nnz(&self) -> Option<usize> {
        matches!(self.layout, Layout::Csr(_)).then(|| self.layout.n_stored())
    }

    fn read_rows(&self, rows: &[usize], out: &mut Csr) -> tutti::Result<()> {
        // Sorted runs of near rows are read at once, then put into the order asked for.
        let mut sorted: Vec<usize> = rows.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut read = Csr::empty(self.shape.1);
        let mut place = vec![0usize; sorted.len()];
        let mut start = 0;
        while start < sorted.len() {
            let mut end = start + 1;
            while end < sorted.len() && sorted[end] - sorted[end - 1] <= GAP {
                end += 1;
            }
            let first = read.n_rows();
            self.layout.read_rows(sorted[start]..sorted[end - 1] + 1, self.shape.1, &self.path, &mut read)?;
            (start..end).for_each(|k| place[k] = first + sorted[k] - sorted[start]);
            start = end;
        }
        out.clear(self.shape.1);
        for row in rows {
            let Ok(k) = sorted.binary_search(row) else { continue };
            let (columns, values) = read.row(place[k]);
            out.push_row(columns.iter().copied().zip(values.iter().copied()));
        }
        Ok(())
    }

    fn read_range(&self, rows: Range<usize>, out: &mut Csr) -> tutti::Result<()> {
        out.clear(self.shape.1);
        Ok(self.layout.read_rows(rows, self.shape.1, &self.path, out)?)
    }
}
