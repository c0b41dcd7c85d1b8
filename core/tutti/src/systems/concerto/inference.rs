//! What a trained model gives: embedding, and the attention behind it.

use ndarray::{Array2, s};

use super::{Concerto, Teacher};
use crate::data::CellSource;
use crate::error::{Error, Result};
use crate::model::{each_block, to_array};
use crate::nn::Pass;

impl Concerto {
    /// The teacher's output, [n_cells, latent_dim], of length 1 and without negative values, so that cosines lie within 0 and 1. `source` has the model's
    /// genes in the model's order, preprocessed as in training.
    ///
    /// # Errors
    /// Another number of genes; what the source fails at.
    pub fn embed(&self, source: &dyn CellSource) -> Result<Array2<f32>> {
        let mut out = Array2::zeros((source.n_cells(), self.config.latent_dim));
        let teacher = Teacher { rna: self.teacher.rna.detached(), head: self.teacher.head.detached() };
        each_block(source, self.genes.len(), |rows, x| {
            out.slice_mut(s![rows, ..]).assign(&to_array(&teacher.forward(&x, Pass::EVAL)?)?);
            Ok(())
        })?;
        out.rows_mut().into_iter().for_each(|mut row| {
            let length = row.dot(&row).sqrt().max(1e-12);
            row.mapv_inplace(|v| v / length);
        });
        Ok(out)
    }

    /// How much each gene counts in the embedding of each cell, [n_cells, n_genes]; rows sum to 1. Genes that a cell does not express take part, as they do in
    /// training. Dense, so give blocks of cells where memory is short.
    ///
    /// # Errors
    /// As [`Concerto::embed`]; [`Error::Argument`] for a model that is not on the CPU.
    pub fn attention(&self, source: &dyn CellSource) -> Result<Array2<f32>> {
        if !self.parameters.device().is_cpu() {
            return Err(Error::argument("attention", "needs a model on the CPU", "load the model there"));
        }
        let mut out = Array2::zeros((source.n_cells(), self.genes.len()));
        each_block(source, self.genes.len(), |rows, x| {
            out.slice_mut(s![rows, ..]).assign(&self.teacher.rna.weights(x.rows())?);
            Ok(())
        })?;
        Ok(out)
    }
}
