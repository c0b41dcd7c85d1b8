//! What a trained model gives: either embedding, and itself as a function of the genes.

use std::sync::Arc;

use candle_core::Tensor;
use ndarray::{Array2, s};

use super::{Embedding, Lcl};
use crate::data::CellSource;
use crate::error::{Error, Result};
use crate::model::{Network, each_block, to_array};
use crate::nn::Pass;
use crate::ops::sparse_batch::SparseBatch;

impl Lcl {
    /// The embedding that the settings name, [n_cells, latent_dim] of the projection head or [n_cells, base width] of the base encoder, of
    /// length 1 unless `unit_length` is off. `source` has the model's genes in the model's order, preprocessed as in training.
    ///
    /// # Errors
    /// Another number of genes; what the source fails at.
    pub fn embed(&self, source: &dyn CellSource) -> Result<Array2<f32>> {
        self.embed_by(source, self.config.embedding)
    }

    /// As [`Lcl::embed`], by the output asked for.
    ///
    /// # Errors
    /// As [`Lcl::embed`].
    pub fn embed_by(&self, source: &dyn CellSource, embedding: Embedding) -> Result<Array2<f32>> {
        let base_dim = self.config.encoder_dims[self.config.encoder_dims.len() - 1];
        let width = if embedding == Embedding::Base { base_dim } else { self.config.latent_dim };
        let mut out = Array2::zeros((source.n_cells(), width));
        let (encoder, projection) = (self.encoder.detached(), self.projection.detached());
        each_block(source, self.genes.len(), |rows, x| {
            let h = encoder.forward(&x, None, Pass::EVAL)?;
            let z = if embedding == Embedding::Base { h } else { projection.forward(&h, Pass::EVAL)? };
            out.slice_mut(s![rows, ..]).assign(&to_array(&z)?);
            Ok(())
        })?;
        if self.config.unit_length {
            out.rows_mut().into_iter().for_each(|mut row| {
                let length = row.dot(&row).sqrt().max(1e-12);
                row.mapv_inplace(|v| v / length);
            });
        }
        Ok(out)
    }
}

impl Network for Lcl {
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
        let layers = self.encoder.detached().activations(first)?;
        let base = layers.into_iter().next_back().ok_or_else(|| Error::data("the encoder has no layers", "report this"))?;
        match self.config.embedding {
            Embedding::Base => Ok(base),
            Embedding::Projection => self.projection.detached().forward(&base, Pass::EVAL),
        }
    }
}
