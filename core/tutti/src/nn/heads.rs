//! Heads on the latent coordinates, and the one that joins assays.

use candle_core::Tensor;

use super::{Activation, Dense, Mlp, MlpConfig, Norm, NormActivation, Parameters, Pass, dropout};
use crate::error::{Error, Result};
use crate::ops::chain::Chain;

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
        let config = MlpConfig { dims: vec![latent_dim], norm, activation: Activation::LeakyRelu, dropout: 0.0 };
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

    /// The same classifier without gradient to its parameters.
    pub fn detached(&self) -> Self {
        Self { hidden: self.hidden.detached(), out: self.out.detached() }
    }
}

/// Projection head of contrastive learning (Chen et al. 2020): hidden layers with ReLU, then a linear layer, optionally normalised.
#[derive(Debug, Clone)]
pub struct ProjectionHead {
    hidden: Mlp,
    out: Dense,
    norm: NormActivation,
}

impl ProjectionHead {
    /// From `n_in` features through `hidden` layers to `n_out`; `norm` follows every linear layer, the last one too. Named `projection`.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn new(parameters: &mut Parameters, n_in: usize, hidden: &[usize], n_out: usize, norm: Norm) -> Result<Self> {
        let config = MlpConfig { dims: hidden.to_vec(), norm, activation: Activation::Relu, dropout: 0.0 };
        let before = hidden.last().copied().unwrap_or(n_in);
        Ok(Self {
            hidden: Mlp::new(parameters, "projection", n_in, &config)?,
            out: Dense::new(parameters, "projection.out", before, n_out)?,
            norm: NormActivation::new(parameters, "projection.out", norm, Activation::None, n_out)?,
        })
    }

    /// h: [n, n_in]; returns [n, n_out].
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, h: &Tensor, pass: Pass<'_>) -> Result<Tensor> {
        if self.hidden.chains(pass) {
            let mut chain = Chain::new(&h.contiguous()?);
            self.hidden.pass(&mut chain, pass)?;
            self.out.pass(&mut chain)?;
            self.norm.pass(&mut chain, pass)?;
            return chain.end();
        }
        self.norm.forward(&self.out.forward(&self.hidden.forward(h, pass)?)?, pass)
    }

    /// The same head without gradient to its parameters.
    pub fn detached(&self) -> Self {
        Self { hidden: self.hidden.detached(), out: self.out.detached(), norm: self.norm.detached() }
    }
}

/// Joins the assays of a cell (Concerto): their sum, dropout, a linear layer as wide as it, ReLU.
#[derive(Debug, Clone)]
pub struct JointHead {
    name: String,
    dropout: f64,
    out: Dense,
}

impl JointHead {
    /// Of `d` features.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn new(parameters: &mut Parameters, name: &str, d: usize, dropout: f64) -> Result<Self> {
        Ok(Self { name: name.to_owned(), dropout, out: Dense::new(parameters, name, d, d)? })
    }

    /// `assays`: [n, d] each, one at least; returns [n, d].
    ///
    /// # Errors
    /// Shapes that do not fit; no assay.
    pub fn forward(&self, assays: &[Tensor], pass: Pass<'_>) -> Result<Tensor> {
        let Some((first, others)) = assays.split_first() else {
            return Err(Error::data("a cell has no assay", "give at least one"));
        };
        let sum = others.iter().try_fold(first.clone(), |sum, x| sum + x)?;
        Activation::Relu.apply(&self.out.forward(&dropout(&sum, self.dropout, pass, &self.name)?)?)
    }

    /// The same head without gradient to its parameters.
    pub fn detached(&self) -> Self {
        Self { out: self.out.detached(), ..self.clone() }
    }
}
