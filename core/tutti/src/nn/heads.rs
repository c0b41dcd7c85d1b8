//! Heads on the latent coordinates.

use candle_core::Tensor;

use super::{Dense, Mlp, MlpConfig, Norm, Parameters, Pass};
use crate::error::Result;

/// Classifier: one hidden layer as wide as the latent space, then one logit per class.
#[derive(Debug, Clone)]
pub struct Classifier {
    hidden: Mlp,
    out: Dense,
}

impl Classifier {
    /// From `latent_dim` coordinates to `n_classes` logits.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn new(parameters: &mut Parameters, latent_dim: usize, n_classes: usize, norm: Norm) -> Result<Self> {
        let config = MlpConfig { dims: vec![latent_dim], norm, dropout: 0.0 };
        let hidden = Mlp::new(parameters, "classifier", latent_dim, &config)?;
        let out = Dense::new(parameters, "classifier.out", latent_dim, n_classes)?;
        Ok(Self { hidden, out })
    }

    /// z: [n, latent_dim]; returns logits [n, n_classes].
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, z: &Tensor, pass: Pass<'_>) -> Result<Tensor> {
        self.out.forward(&self.hidden.forward(z, pass)?)
    }
}
