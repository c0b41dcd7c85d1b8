//! Scaling to a common total and log(1 + x), or presence alone, as rows are read.

use std::ops::Range;

use super::filter::each_row;
use crate::data::{CellSource, Csr, row_blocks};
use crate::error::Result;

/// Total that every cell is scaled to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TargetSum {
    /// This total, usually 10 000.
    Fixed(f32),
    /// The median total of the cells that have any count.
    Median,
}

impl TargetSum {
    /// The total in numbers; [`TargetSum::Median`] reads all cells once.
    ///
    /// # Errors
    /// What the source fails at.
    pub fn resolve(self, source: &dyn CellSource) -> Result<f32> {
        match self {
            Self::Fixed(total) => Ok(total),
            Self::Median => {
                let mut totals = Vec::with_capacity(source.n_cells());
                each_row(source, |_, _, values| totals.push(values.iter().map(|v| f64::from(*v)).sum::<f64>()))?;
                totals.retain(|t| *t > 0.0);
                totals.sort_unstable_by(f64::total_cmp);
                let half = totals.len() / 2;
                Ok(match totals.len() {
                    0 => 1.0,
                    n if n % 2 == 1 => totals[half] as f32,
                    _ => (0.5 * (totals[half - 1] + totals[half])) as f32,
                })
            }
        }
    }
}

/// A source whose rows are normalised as they are read: the matrix behind it stays as it is.
///
/// Totals are over all genes of the source, so that genes are to be picked afterwards. A cell without counts stays zero.
#[derive(Debug, Clone)]
pub struct Normalized<S> {
    source: S,
    target_sum: Option<f32>,
    log1p: bool,
}

impl<S: CellSource> Normalized<S> {
    /// `target_sum` `None` leaves totals as they are.
    ///
    /// # Errors
    /// What the source fails at, for the median.
    pub fn new(source: S, target_sum: Option<TargetSum>, log1p: bool) -> Result<Self> {
        let target_sum = target_sum.map(|t| t.resolve(&source)).transpose()?;
        Ok(Self { source, target_sum, log1p })
    }

    /// The total in use.
    pub fn target_sum(&self) -> Option<f32> {
        self.target_sum
    }

    fn transform(&self, rows: &mut Csr) {
        for i in 0..rows.n_rows() {
            let (_, values) = rows.row_mut(i);
            if let Some(target) = self.target_sum {
                let total: f64 = values.iter().map(|v| f64::from(*v)).sum();
                if total > 0.0 {
                    let scale = f64::from(target) / total;
                    values.iter_mut().for_each(|v| *v = (f64::from(*v) * scale) as f32);
                }
            }
            if self.log1p {
                values.iter_mut().for_each(|v| *v = v.ln_1p());
            }
        }
    }
}

impl<S: CellSource> CellSource for Normalized<S> {
    fn n_cells(&self) -> usize {
        self.source.n_cells()
    }

    fn n_genes(&self) -> usize {
        self.source.n_genes()
    }

    fn nnz(&self) -> Option<usize> {
        self.source.nnz()
    }

    fn read_rows(&self, rows: &[usize], out: &mut Csr) -> Result<()> {
        self.source.read_rows(rows, out)?;
        self.transform(out);
        Ok(())
    }

    fn read_range(&self, rows: Range<usize>, out: &mut Csr) -> Result<()> {
        self.source.read_range(rows, out)?;
        self.transform(out);
        Ok(())
    }
}

/// A source whose values above 0 read as 1: whether a gene or peak was seen at all.
#[derive(Debug, Clone)]
pub struct Binarized<S>(S);

impl<S: CellSource> Binarized<S> {
    /// The matrix behind it stays as it is. Values that are not above 0 read as 0.
    pub fn new(source: S) -> Self {
        Self(source)
    }

    fn transform(rows: &mut Csr) {
        for i in 0..rows.n_rows() {
            rows.row_mut(i).1.iter_mut().for_each(|v| *v = f32::from(u8::from(*v > 0.0)));
        }
    }
}

impl<S: CellSource> CellSource for Binarized<S> {
    fn n_cells(&self) -> usize {
        self.0.n_cells()
    }

    fn n_genes(&self) -> usize {
        self.0.n_genes()
    }

    fn nnz(&self) -> Option<usize> {
        self.0.nnz()
    }

    fn read_rows(&self, rows: &[usize], out: &mut Csr) -> Result<()> {
        self.0.read_rows(rows, out)?;
        Self::transform(out);
        Ok(())
    }

    fn read_range(&self, rows: Range<usize>, out: &mut Csr) -> Result<()> {
        self.0.read_range(rows, out)?;
        Self::transform(out);
        Ok(())
    }
}

/// The whole source as one matrix in memory.
///
/// # Errors
/// What the source fails at.
pub fn to_memory(source: &dyn CellSource) -> Result<Csr> {
    let mut out = Csr::empty(source.n_genes());
    let mut rows = Csr::empty(source.n_genes());
    for block in row_blocks(source.n_cells(), 4096) {
        source.read_range(block, &mut rows)?;
        for i in 0..rows.n_rows() {
            let (columns, values) = rows.row(i);
            out.push_row(columns.iter().copied().zip(values.iter().copied()));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_reads_as_one() {
        let x = Csr::from_dense(ndarray::arr2(&[[1.0, 0.0, 3.0], [0.0, 0.25, 0.0], [0.0, 0.0, 0.0]]).view()).unwrap();
        let there = Binarized::new(&x);
        let expected = ndarray::arr2(&[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]);
        assert_eq!(to_memory(&there).unwrap().to_dense(), expected);
        let mut rows = Csr::empty(3);
        there.read_rows(&[1, 0], &mut rows).unwrap();
        assert_eq!(rows.to_dense(), ndarray::arr2(&[[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]));
    }

    #[test]
    fn totals_become_equal_and_empty_cells_stay() {
        let x = Csr::from_dense(ndarray::arr2(&[[1.0, 0.0, 3.0], [0.0, 10.0, 0.0], [0.0, 0.0, 0.0]]).view()).unwrap();
        let before = x.clone();
        let scaled = to_memory(&Normalized::new(&x, Some(TargetSum::Fixed(100.0)), false).unwrap()).unwrap();
        assert_eq!(scaled.to_dense(), ndarray::arr2(&[[25.0, 0.0, 75.0], [0.0, 100.0, 0.0], [0.0, 0.0, 0.0]]));
        let logged = to_memory(&Normalized::new(&x, Some(TargetSum::Median), true).unwrap()).unwrap();
        // Totals 4 and 10: the median is 7.
        assert!((logged.to_dense()[[0, 2]] - (1.0f32 + 7.0 * 0.75).ln()).abs() < 1e-6);
        assert_eq!(x, before);
    }
}
