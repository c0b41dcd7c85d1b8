//! Term frequency, inverse document frequency: peaks weighted so that depth and common peaks count less.

use std::ops::Range;
use std::sync::Arc;

use super::filter::each_row;
use crate::data::{CellSource, Csr};
use crate::error::{Error, Result};

/// Weight of each feature, learnt from cells and applied to these or to others.
#[derive(Debug, Clone, PartialEq)]
pub struct IdfWeights {
    /// Cells / total over cells, of every feature; 0 for one without counts.
    pub idf: Vec<f32>,
}

impl IdfWeights {
    /// Reads all cells once.
    ///
    /// # Errors
    /// [`Error::Data`] for a value below 0; what the source fails at.
    pub fn of(source: &dyn CellSource) -> Result<Self> {
        let mut totals = vec![0f64; source.n_genes()];
        let mut negative = None;
        each_row(source, |i, columns, values| {
            for (column, value) in columns.iter().zip(values) {
                totals[*column as usize] += f64::from(*value);
                if *value < 0.0 {
                    negative.get_or_insert((i, *value));
                }
            }
        })?;
        if let Some((i, value)) = negative {
            return Err(Error::data(format!("cell number {} has the value {value}", i + 1), "give counts of peaks"));
        }
        let n_cells = source.n_cells() as f64;
        Ok(Self { idf: totals.iter().map(|total| if *total > 0.0 { (n_cells / total) as f32 } else { 0.0 }).collect() })
    }
}

/// A source whose rows are weighted as they are read: log(1 + tf * idf * scale_factor), where tf is the value's share of its cell's total and idf the
/// feature's weight.
///
/// The first method of Signac's `RunTFIDF` (Stuart et al. 2021) and that of muon, `scale_factor` 10,000 in both. Zeros stay zeros; a cell without
/// counts stays zero.
#[derive(Debug, Clone)]
pub struct TfIdf<S> {
    source: S,
    weights: Arc<IdfWeights>,
    scale_factor: f64,
}

impl<S: CellSource> TfIdf<S> {
    /// With weights of these or of other cells with the same features.
    ///
    /// # Errors
    /// [`Error::Data`] for weights of other features; [`Error::Argument`] for a scale factor not above 0.
    pub fn new(source: S, weights: Arc<IdfWeights>, scale_factor: f64) -> Result<Self> {
        if weights.idf.len() != source.n_genes() {
            let problem = format!("weights of {} features for {}", weights.idf.len(), source.n_genes());
            return Err(Error::data(problem, "give cells with the features that the weights were learnt from"));
        }
        if !(scale_factor > 0.0 && scale_factor.is_finite()) {
            return Err(Error::argument("scale_factor", format!("must be above 0 (got {scale_factor})"), "use 10000"));
        }
        Ok(Self { source, weights, scale_factor })
    }

    fn transform(&self, rows: &mut Csr) {
        for i in 0..rows.n_rows() {
            let (columns, values) = rows.row_mut(i);
            let total: f64 = values.iter().map(|v| f64::from(*v)).sum();
            if total > 0.0 {
                let scale = self.scale_factor / total;
                for (column, value) in columns.iter().zip(values) {
                    *value = (f64::from(*value) * scale * f64::from(self.weights.idf[*column as usize])).ln_1p() as f32;
                }
            }
        }
    }
}

impl<S: CellSource> CellSource for TfIdf<S> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::to_memory;

    #[test]
    fn values_by_hand_and_weights_for_other_cells() {
        let x =
            Csr::from_dense(ndarray::arr2(&[[1.0, 0.0, 3.0, 0.0], [0.0, 2.0, 0.0, 0.0], [0.0; 4], [1.0, 0.0, 0.0, 0.0]]).view())
                .unwrap();
        let weights = Arc::new(IdfWeights::of(&x).unwrap());
        assert_eq!(weights.idf, [2.0, 2.0, 4.0 / 3.0, 0.0]);
        let found = to_memory(&TfIdf::new(&x, weights.clone(), 1e4).unwrap()).unwrap().to_dense();
        let log = |tf: f64, idf: f64| (1e4 * tf * idf).ln_1p() as f32;
        let expected = ndarray::arr2(&[
            [log(0.25, 2.0), 0.0, log(0.75, 4.0 / 3.0), 0.0],
            [0.0, log(1.0, 2.0), 0.0, 0.0],
            [0.0; 4],
            [log(1.0, 2.0), 0.0, 0.0, 0.0],
        ]);
        assert!((&found - &expected).iter().all(|d| d.abs() < 1e-5), "{found}");
        let other = Csr::from_dense(ndarray::arr2(&[[0.0, 1.0, 1.0, 2.0]]).view()).unwrap();
        let found = to_memory(&TfIdf::new(&other, weights.clone(), 1e4).unwrap()).unwrap().to_dense();
        assert!((found[[0, 1]] - log(0.25, 2.0)).abs() < 1e-5 && found[[0, 3]] == 0.0);
        assert!(TfIdf::new(Csr::empty(3), weights.clone(), 1e4).is_err() && TfIdf::new(&other, weights, 0.0).is_err());
        assert!(IdfWeights::of(&Csr::from_dense(ndarray::arr2(&[[-1.0]]).view()).unwrap()).is_err());
    }
}
