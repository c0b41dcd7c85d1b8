//! Normalisation followed by a leaky ReLU.

use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

use super::{Kernels, Parameters, Pass};
use crate::error::Result;
use crate::ops::layer_norm::{layer_norm_leaky_relu, layer_norm_leaky_relu_plain};

/// Slope of the leaky ReLU below zero.
pub const LEAKY_SLOPE: f32 = 0.1;

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

/// A normalisation and a leaky ReLU of slope 0.1.
#[derive(Debug, Clone)]
pub struct NormActivation {
    kind: Kind,
    kernels: Kernels,
}

#[derive(Debug, Clone)]
enum Kind {
    Layer { gamma: Tensor, beta: Tensor },
    Batch { gamma: Tensor, beta: Tensor, mean: Var, variance: Var },
    None,
}

const BATCH_EPS: f64 = 1e-5;
const BATCH_MOMENTUM: f64 = 0.1;

impl NormActivation {
    /// For `d` features; gamma 1, beta 0.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn new(parameters: &mut Parameters, name: &str, norm: Norm, d: usize) -> Result<Self> {
        let affine = |parameters: &mut Parameters| -> Result<(Tensor, Tensor)> {
            let gamma = parameters.constant(&format!("{name}.gamma"), d, 1.0)?;
            let beta = parameters.constant(&format!("{name}.beta"), d, 0.0)?;
            Ok((gamma.as_tensor().clone(), beta.as_tensor().clone()))
        };
        let kind = match norm {
            Norm::LayerNorm => {
                let (gamma, beta) = affine(parameters)?;
                Kind::Layer { gamma, beta }
            }
            Norm::BatchNorm => {
                let (gamma, beta) = affine(parameters)?;
                let mean = parameters.buffer(&format!("{name}.running_mean"), d, 0.0)?;
                let variance = parameters.buffer(&format!("{name}.running_variance"), d, 1.0)?;
                Kind::Batch { gamma, beta, mean, variance }
            }
            Norm::None => Kind::None,
        };
        Ok(Self { kind, kernels: parameters.kernels() })
    }

    /// x: [n, d].
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor> {
        match &self.kind {
            Kind::Layer { gamma, beta } => match self.kernels {
                Kernels::Fused => layer_norm_leaky_relu(x, gamma, beta, LEAKY_SLOPE),
                Kernels::Plain => layer_norm_leaky_relu_plain(x, gamma, beta, LEAKY_SLOPE),
            },
            Kind::Batch { gamma, beta, mean, variance } => {
                let normed = match pass.draws {
                    Some(_) => batch_norm_training(x, mean, variance)?,
                    None => x.broadcast_sub(mean.as_tensor())?.broadcast_div(&(variance.as_tensor() + BATCH_EPS)?.sqrt()?)?,
                };
                activate(&normed.broadcast_mul(gamma)?.broadcast_add(beta)?)
            }
            Kind::None => activate(x),
        }
    }

    /// The same layer, through which no gradient passes to the parameters.
    pub fn detached(&self) -> Self {
        let kind = match &self.kind {
            Kind::Layer { gamma, beta } => Kind::Layer { gamma: gamma.detach(), beta: beta.detach() },
            Kind::Batch { gamma, beta, mean, variance } => {
                Kind::Batch { gamma: gamma.detach(), beta: beta.detach(), mean: mean.clone(), variance: variance.clone() }
            }
            Kind::None => Kind::None,
        };
        Self { kind, kernels: self.kernels }
    }
}

fn activate(x: &Tensor) -> Result<Tensor> {
    Ok(candle_nn::ops::leaky_relu(x, f64::from(LEAKY_SLOPE))?)
}

/// Normalises by the mini-batch's own statistics and moves the running ones towards them (unbiased variance, as in PyTorch).
fn batch_norm_training(x: &Tensor, running_mean: &Var, running_variance: &Var) -> Result<Tensor> {
    let (n, _) = x.dims2()?;
    let mean = x.mean_keepdim(0)?;
    let centred = x.broadcast_sub(&mean)?;
    let variance = centred.sqr()?.mean_keepdim(0)?;
    let unbiased = (variance.squeeze(0)?.detach() * (n as f64 / (n.max(2) - 1) as f64))?;
    let moved = |running: &Var, now: &Tensor| -> Result<()> {
        Ok(running.set(&((running.as_tensor() * (1.0 - BATCH_MOMENTUM))? + (now * BATCH_MOMENTUM)?)?)?)
    };
    moved(running_mean, &mean.squeeze(0)?.detach())?;
    moved(running_variance, &unbiased)?;
    Ok(centred.broadcast_div(&(variance + BATCH_EPS)?.sqrt()?)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::Draws;
    use crate::rng::Rng;

    #[test]
    fn batch_norm_has_zero_mean_in_training_and_learns_running_statistics() {
        let mut parameters = Parameters::new(&Device::Cpu, Rng::new(1));
        let norm = NormActivation::new(&mut parameters, "n", Norm::BatchNorm, 2).unwrap();
        let x = Tensor::new(&[[1f32, 10.0], [3.0, 30.0], [5.0, 20.0]], &Device::Cpu).unwrap();
        let draws = Draws::new(Rng::new(1), 1, 1);
        for _ in 0..200 {
            norm.forward(&x, Pass { draws: Some(&draws), index: 0 }).unwrap();
        }
        // Running statistics have converged to mean 3, 20 and unbiased variance 4, 100: the eval pass uses these.
        let y: Vec<Vec<f32>> = norm.forward(&x, Pass::EVAL).unwrap().to_vec2().unwrap();
        let expected = [[-0.1f32, -0.1], [0.0, 1.0], [1.0, 0.0]];
        for (row, expected) in y.iter().zip(expected) {
            for (a, b) in row.iter().zip(expected) {
                assert!((a - b).abs() < 1e-4, "{a} and {b}");
            }
        }
    }
}
