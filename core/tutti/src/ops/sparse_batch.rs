//! Sparse rows of a mini-batch.

use candle_core::Tensor;

use crate::data::Csr;
use crate::error::Result;

/// Rows of a mini-batch, and their transpose where a gradient will be asked for.
#[derive(Debug)]
pub struct SparseBatch {
    rows: Csr,
    transposed: Option<Csr>,
}

impl SparseBatch {
    /// Rows, with their transpose where a gradient will be asked for.
    pub fn new(rows: Csr, gradient: bool) -> Self {
        if gradient { Self::with_gradient(rows) } else { Self::without_gradient(rows) }
    }

    /// Rows with their transpose, for training.
    pub fn with_gradient(rows: Csr) -> Self {
        let transposed = Some(rows.transpose());
        Self { rows, transposed }
    }

    /// Rows only, for embedding and for views without gradient.
    pub fn without_gradient(rows: Csr) -> Self {
        Self { rows, transposed: None }
    }

    /// The rows, [n_rows, n_genes].
    pub fn rows(&self) -> &Csr {
        &self.rows
    }

    /// The transposed rows, where they were made.
    pub(super) fn transposed(&self) -> Option<&Csr> {
        self.transposed.as_ref()
    }

    /// Dense copy, [n_rows, n_genes].
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn to_tensor(&self, device: &candle_core::Device) -> Result<Tensor> {
        let dense = self.rows.to_dense();
        let (n_rows, n_genes) = dense.dim();
        Ok(Tensor::from_vec(dense.into_raw_vec_and_offset().0, (n_rows, n_genes), device)?)
    }
}
