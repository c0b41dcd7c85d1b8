//! What a trained model gives: embedding, classes, and itself as a function of the genes.

use std::sync::Arc;

use candle_core::Tensor;
use ndarray::{Array2, ArrayView2, s};

use super::CellPredX;
use crate::data::{CellSource, row_blocks};
use crate::error::{Error, Result};
use crate::model::{BLOCK, Network, PredictedClasses, each_block, to_array};
use crate::nn::Pass;
use crate::ops::sparse_batch::SparseBatch;

/// Largest probability at or below which the paper calls a cell unknown. It is one of a softmax that nothing calibrates: choose the limit on
/// held-out reference cells where there are some.
pub const UNKNOWN_BELOW: f32 = 0.95;

impl CellPredX {
    /// Latent coordinates, [n_cells, latent_dim], not normalised. `source` has the model's genes in the model's order, preprocessed as in
    /// training.
    ///
    /// # Errors
    /// Another number of genes; what the source fails at.
    pub fn embed(&self, source: &dyn CellSource) -> Result<Array2<f32>> {
        let mut out = Array2::zeros((source.n_cells(), self.config.latent_dim));
        let encoder = self.encoder.detached();
        each_block(source, self.genes.len(), |rows, x| {
            out.slice_mut(s![rows, ..]).assign(&to_array(&encoder.forward(&x, None, Pass::EVAL)?)?);
            Ok(())
        })?;
        Ok(out)
    }

    /// A logit per class, [n_cells, n_classes], in the order of [`CellPredX::classes`]; z from [`CellPredX::embed`].
    ///
    /// # Errors
    /// Another width.
    pub fn logits(&self, z: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        if z.ncols() != self.config.latent_dim {
            let problem = format!("has {} dimensions, the model {}", z.ncols(), self.config.latent_dim);
            return Err(Error::argument("embedding", problem, "give one of this model"));
        }
        let mut out = Array2::zeros((z.nrows(), self.classes.len()));
        for rows in row_blocks(z.nrows(), BLOCK) {
            let block = z.slice(s![rows.clone(), ..]);
            let block = Tensor::from_vec(block.iter().copied().collect::<Vec<f32>>(), block.dim(), self.parameters.device())?;
            out.slice_mut(s![rows, ..]).assign(&to_array(&self.classifier.detached().forward(&block)?)?);
        }
        Ok(out)
    }

    /// The likeliest class of each cell with its probability; z from [`CellPredX::embed`].
    ///
    /// # Errors
    /// As [`CellPredX::logits`].
    pub fn predict(&self, z: ArrayView2<'_, f32>) -> Result<PredictedClasses> {
        PredictedClasses::from_logits(self.logits(z)?, &self.classes)
    }
}

impl Network for CellPredX {
    fn genes(&self) -> &[String] {
        &self.genes
    }

    fn first_layer(&self, x: &Arc<SparseBatch>) -> Result<Tensor> {
        self.encoder.detached().first_layer(x, None)
    }

    fn first_weight(&self) -> Result<Option<Array2<f32>>> {
        Ok(Some(to_array(self.encoder.first_weight())?))
    }

    fn latent(&self, first: &Tensor) -> Result<Tensor> {
        // The encoder is one linear layer.
        Ok(first.clone())
    }

    fn logits(&self, latent: &Tensor) -> Result<Tensor> {
        self.classifier.detached().forward(latent)
    }
}
