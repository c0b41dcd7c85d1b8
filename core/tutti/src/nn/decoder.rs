//! Decoder from latent coordinates, batch and covariates to expression.

use candle_core::{Module, Tensor};
use candle_nn::Embedding;

use super::{Dense, LEAKY_SLOPE, Mlp, MlpConfig, Parameters, Pass};
use crate::error::Result;

/// Perceptron on the latent coordinates joined with learned embeddings of categories (batch, covariates).
#[derive(Debug, Clone)]
pub struct Decoder {
    embeddings: Vec<Embedding>,
    hidden: Mlp,
    out: Dense,
    activation: Option<f64>,
}

/// Number of levels and width of one embedded category.
pub type EmbeddingShape = (usize, usize);

impl Decoder {
    /// `categories` are embedded in this order; `final_leaky` chooses a leaky ReLU of slope 0.1 instead of a ReLU at the end. Without
    /// hidden layers the decoder is one linear layer without activation.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn new(
        parameters: &mut Parameters,
        latent_dim: usize,
        categories: &[(String, EmbeddingShape)],
        config: &MlpConfig,
        n_genes: usize,
        final_leaky: bool,
    ) -> Result<Self> {
        let mut width = latent_dim;
        let mut embeddings = Vec::new();
        for (name, (n_levels, dim)) in categories {
            let table = parameters.normal(&format!("embedding.{name}"), (*n_levels, *dim), 1.0)?;
            embeddings.push(Embedding::new(table.as_tensor().clone(), *dim));
            width += dim;
        }
        let hidden = Mlp::new(parameters, "decoder", width, config)?;
        let out = Dense::new(parameters, "decoder.out", config.dims.last().copied().unwrap_or(width), n_genes)?;
        let slope = if final_leaky { f64::from(LEAKY_SLOPE) } else { 0.0 };
        let activation = (!config.dims.is_empty()).then_some(slope);
        Ok(Self { embeddings, hidden, out, activation })
    }

    /// z: [n, latent_dim]; `codes`: one tensor \[n\] (u32) per category; returns [n, n_genes].
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, z: &Tensor, codes: &[Tensor], pass: Pass<'_>) -> Result<Tensor> {
        let mut parts = vec![z.clone()];
        for (embedding, codes) in self.embeddings.iter().zip(codes) {
            parts.push(embedding.forward(codes)?);
        }
        let x = self.out.forward(&self.hidden.forward(&Tensor::cat(&parts, 1)?, pass)?)?;
        Ok(match self.activation {
            Some(0.0) => x.relu()?,
            Some(slope) => candle_nn::ops::leaky_relu(&x, slope)?,
            None => x,
        })
    }
}
