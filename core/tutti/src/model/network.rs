//! What attribution needs to know of a trained system.

use std::sync::Arc;

use candle_core::Tensor;
use ndarray::Array2;

use crate::error::{Error, Result};
use crate::ops::sparse_batch::SparseBatch;

/// A trained network as a function of expression, to be differentiated: without randomness, and without gradient to its parameters.
///
/// It is taken in two parts: a first layer that is affine in the expression, and the rest. So gradients are formed for the first layer's
/// outputs and reach the genes by one product, whatever is asked.
pub trait Network: Send + Sync {
    /// Genes that the network reads, in order.
    fn genes(&self) -> &[String];

    /// Outputs of the first layer, [n, hidden].
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn first_layer(&self, x: &Arc<SparseBatch>) -> Result<Tensor>;

    /// What a unit of each gene adds to them, [n_genes, hidden]; `None` for a network that starts with no affine layer, whose
    /// [`Network::first_layer`] gives the expression itself, [n, n_genes].
    ///
    /// # Errors
    /// Where the device fails.
    fn first_weight(&self) -> Result<Option<Array2<f32>>>;

    /// Latent coordinates, [n, latent_dim], not normalised, from the outputs of the first layer.
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn latent(&self, first: &Tensor) -> Result<Tensor>;

    /// A logit per class, [n, n_classes], from latent coordinates.
    ///
    /// # Errors
    /// [`Error::Argument`] for a network without a classifier.
    fn logits(&self, _latent: &Tensor) -> Result<Tensor> {
        Err(Error::argument("class", "needs a network with a classifier", "ask for a latent dimension or a centroid"))
    }
}
