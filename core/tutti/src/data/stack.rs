//! Several matrices as one, the rows of the next below those of the one before.

use super::{CellSource, Csr};
use crate::error::{Error, Result};

/// Sources of the same genes, in the same order, as one source; nothing is copied.
///
/// For cells that come in parts: layers by batch, blocks on disk, files.
#[derive(Debug, Clone)]
pub struct Stacked<S> {
    parts: Vec<S>,
    /// Row at which each part begins, and the number of rows.
    starts: Vec<usize>,
    n_genes: usize,
}

impl<S: CellSource> Stacked<S> {
    /// The parts from the top down.
    ///
    /// # Errors
    /// [`Error::Data`] for no part or parts of unequal numbers of genes.
    pub fn new(parts: Vec<S>) -> Result<Self> {
        let Some(n_genes) = parts.first().map(S::n_genes) else {
            return Err(Error::data("there is no matrix", "give at least one"));
        };
        if let Some(at) = parts.iter().position(|p| p.n_genes() != n_genes) {
            let problem = format!("matrix {} has {} genes, the first {n_genes}", at + 1, parts[at].n_genes());
            return Err(Error::data(problem, "give all with the same genes in the same order"));
        }
        let mut starts = vec![0];
        parts.iter().for_each(|p| starts.push(starts[starts.len() - 1] + p.n_cells()));
        Ok(Self { parts, starts, n_genes })
    }

    /// The part of a row. Parts without rows have none.
    fn part_of(&self, row: usize) -> usize {
        self.starts.partition_point(|start| *start <= row) - 1
    }
}

impl<S: CellSource> CellSource for Stacked<S> {
    fn n_cells(&self) -> usize {
        self.starts[self.parts.len()]
    }

    fn n_genes(&self) -> usize {
        self.n_genes
    }

    fn nnz(&self) -> Option<usize> {
        self.parts.iter().map(S::nnz).sum()
    }

    fn read_rows(&self, rows: &[usize], out: &mut Csr) -> Result<()> {
        if let [only] = &self.parts[..] {
            return only.read_rows(rows, out);
        }
        out.clear(self.n_genes);
        let mut some = Csr::empty(self.n_genes);
        for run in rows.chunk_by(|a, b| self.part_of(*a) == self.part_of(*b)) {
            let part = self.part_of(run[0]);
            let local: Vec<usize> = run.iter().map(|row| row - self.starts[part]).collect();
            self.parts[part].read_rows(&local, &mut some)?;
            for i in 0..some.n_rows() {
                let (columns, values) = some.row(i);
                out.push_row(columns.iter().copied().zip(values.iter().copied()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_all_parts_in_any_order() {
        let dense =
            |values: &[f32]| Csr::from_dense(ndarray::ArrayView2::from_shape((values.len() / 2, 2), values).unwrap()).unwrap();
        let whole = dense(&[1.0, 0.0, 0.0, 2.0, 3.0, 4.0, 5.0, 0.0]);
        let stacked = Stacked::new(vec![dense(&[1.0, 0.0]), Csr::empty(2), dense(&[0.0, 2.0, 3.0, 4.0, 5.0, 0.0])]).unwrap();
        assert_eq!((stacked.n_cells(), stacked.nnz()), (4, Some(5)));
        let (mut a, mut b) = (Csr::empty(2), Csr::empty(2));
        for rows in [vec![3, 0, 2, 2, 1], vec![], vec![0]] {
            stacked.read_rows(&rows, &mut a).unwrap();
            whole.read_rows(&rows, &mut b).unwrap();
            assert_eq!(a, b);
        }
        stacked.read_range(1..4, &mut a).unwrap();
        whole.read_range(1..4, &mut b).unwrap();
        assert_eq!(a, b);
    }

    #[test]
    fn parts_of_other_genes_are_refused() {
        assert!(Stacked::<Csr>::new(vec![]).is_err());
        let problem = Stacked::new(vec![Csr::empty(2), Csr::empty(3)]).unwrap_err().to_string();
        assert!(problem.contains("matrix 2 has 3 genes"), "{problem}");
    }
}
