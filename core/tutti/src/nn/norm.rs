//! Normalisation followed by an activation.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{BatchNorm, Kernels, Parameters, Pass};
use crate::error::Result;
use crate::ops::chain::{Chain, Trained, activate_step};
use crate::ops::layer_norm::{layer_norm_leaky_relu, layer_norm_leaky_relu_plain, layer_norm_step};

/// Slope of the leaky ReLU below zero.
pub const LEAKY_SLOPE: f32 = 0.1;

/// What follows a normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `max(0.1 x, x)`.
    #[default]
    LeakyRelu,
    /// `max(0, x)`.
    Relu,
    /// `x`.
    None,
}

impl Activation {
    /// Slope below zero.
    pub fn slope(self) -> f32 {
        match self {
            Self::LeakyRelu => LEAKY_SLOPE,
            Self::Relu => 0.0,
            Self::None => 1.0,
        }
    }

    /// Applied to each value.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn apply(self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::LeakyRelu => candle_nn::ops::leaky_relu(x, f64::from(LEAKY_SLOPE))?,
            Self::Relu => x.relu()?,
            Self::None => x.clone(),
        })
    }
}

/// Kind of normalisation after a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// Over the features of a cell (Ba et al. 2016).
    #[default]
    LayerNorm,
    /// Over the cells of a mini-batch (Ioffe and Szegedy 2015), running statistics with momentum 0.1 for embedding.
    BatchNorm,
    /// None.
    None,
}

/// A normalisation and an activation.
#[derive(Debug, Clone)]
pub struct NormActivation {
    kind: Kind,
    activation: Activation,
    kernels: Kernels,
}

#[derive(Debug, Clone)]
enum Kind {
    Layer { gamma: Trained, beta: Trained },
    Batch(BatchNorm),
    None,
}

impl NormActivation {
    /// For `d` features; gamma 1, beta 0.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn new(parameters: &mut Parameters, name: &str, norm: Norm, activation: Activation, d: usize) -> Result<Self> {
        let kind = match norm {
            Norm::LayerNorm => {
                let gamma = parameters.filled(&format!("{name}.gamma"), d, 1.0)?;
                Kind::Layer { gamma, beta: parameters.filled(&format!("{name}.beta"), d, 0.0)? }
            }
            Norm::BatchNorm => Kind::Batch(BatchNorm::new(parameters, name, d)?),
            Norm::None => Kind::None,
        };
        Ok(Self { kind, activation, kernels: parameters.kernels() })
    }

    /// x: [n, d].
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor> {
        let slope = self.activation.slope();
        match (&self.kind, self.kernels) {
            (Kind::Layer { gamma, beta }, Kernels::Fused) => layer_norm_leaky_relu(x, &gamma.tensor, &beta.tensor, slope),
            (Kind::Layer { gamma, beta }, Kernels::Plain) => layer_norm_leaky_relu_plain(x, &gamma.tensor, &beta.tensor, slope),
            (Kind::Batch(norm), _) => norm.forward(x, self.activation, pass),
            (Kind::None, _) => self.activation.apply(x),
        }
    }

    /// Passes it in a chain, in training, on the CPU.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub(super) fn pass(&self, chain: &mut Chain, pass: Pass<'_>) -> Result<()> {
        let slope = self.activation.slope();
        match &self.kind {
            Kind::Layer { gamma, beta } => chain.then(Some(&gamma.tensor), |x, _| layer_norm_step(x, gamma, beta, slope)),
            Kind::Batch(norm) => chain.then(Some(norm.gamma()), |x, _| norm.step(x, self.activation, pass.n_stacked)),
            Kind::None => chain.then(None, |x, _| activate_step(x, slope)),
        }
    }

    /// The same layer, through which no gradient passes to the parameters.
    pub fn detached(&self) -> Self {
        let kind = match &self.kind {
            Kind::Layer { gamma, beta } => Kind::Layer { gamma: gamma.detached(), beta: beta.detached() },
            Kind::Batch(norm) => Kind::Batch(norm.detached()),
            Kind::None => Kind::None,
        };
        Self { kind, activation: self.activation, kernels: self.kernels }
    }
}
