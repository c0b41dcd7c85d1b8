//! Decoder from latent coordinates, batch and covariates to expression.

use candle_core::{Module, Tensor};
use candle_nn::Embedding;
use serde::{Deserialize, Serialize};

use super::{Dense, LEAKY_SLOPE, Mlp, MlpConfig, Parameters, Pass};
use crate::error::Result;
use crate::ops::elementwise::softplus;

/// Last step of a decoder, which keeps expression from becoming negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinalActivation {
    /// `log(1 + exp(x))`: has a gradient everywhere, so that no gene can stay at zero for good.
    #[default]
    Softplus,
    /// `max(0, x)`.
    Relu,
    /// `max(0.1 x, x)`.
    LeakyRelu,
}

impl FinalActivation {
    fn apply(self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Softplus => softplus(x)?,
            Self::Relu => x.relu()?,
            Self::LeakyRelu => candle_nn::ops::leaky_relu(x, f64::from(LEAKY_SLOPE))?,
        })
    }

    /// The value that becomes `y`.
    fn inverse(self, y: f32) -> f32 {
        match self {
            Self::Softplus => {
                let y = y.max(1e-4);
                y + (-(-y).exp_m1()).ln()
            }
            Self::Relu | Self::LeakyRelu => y,
        }
    }
}

/// Perceptron on the latent coordinates joined with learned embeddings of categories (batch, covariates).
///
/// Adam moves every weight by about the learning rate, so that an output of `width` inputs may move by `width` times that in one step:
/// at the rates the encoder needs, outputs overshoot and, behind a ReLU, stay at zero. The last layer therefore reads its inputs divided
/// by sqrt(width).
#[derive(Debug, Clone)]
pub struct Decoder {
    embeddings: Vec<Embedding>,
    hidden: Mlp,
    out: Dense,
    activation: Option<FinalActivation>,
}

const OUT: &str = "decoder.out";

/// Number of levels and width of one embedded category.
pub type EmbeddingShape = (usize, usize);

impl Decoder {
    /// `categories` are embedded in this order. Without hidden layers the decoder is one linear layer without activation.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn new(
        parameters: &mut Parameters,
        latent_dim: usize,
        categories: &[(String, EmbeddingShape)],
        config: &MlpConfig,
        n_genes: usize,
        activation: FinalActivation,
    ) -> Result<Self> {
        let mut width = latent_dim;
        let mut embeddings = Vec::new();
        for (name, (n_levels, dim)) in categories {
            let table = parameters.normal(&format!("embedding.{name}"), (*n_levels, *dim), 1.0)?;
            embeddings.push(Embedding::new(table.as_tensor().clone(), *dim));
            width += dim;
        }
        let hidden = Mlp::new(parameters, "decoder", width, config)?;
        let out = Dense::new(parameters, OUT, config.dims.last().copied().unwrap_or(width), n_genes)?;
        let activation = (!config.dims.is_empty()).then_some(activation);
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
        let hidden = self.hidden.forward(&Tensor::cat(&parts, 1)?, pass)?;
        let width = hidden.dims2()?.1 as f64;
        let x = self.out.forward(&(hidden * (1.0 / width.sqrt()))?)?;
        self.activation.map_or(Ok(x.clone()), |activation| activation.apply(&x))
    }

    /// Makes the decoder start from these values, \[n_genes\]: the mean expression, so that nothing is spent on finding it.
    ///
    /// # Errors
    /// Another number of genes.
    pub fn start_from(&self, parameters: &Parameters, mean: &[f32]) -> Result<()> {
        let bias: Vec<f32> = mean.iter().map(|m| self.activation.map_or(*m, |a| a.inverse(*m))).collect();
        parameters.set(&format!("{OUT}.bias"), bias)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::nn::{Norm, Parameters};
    use crate::rng::Rng;

    #[test]
    fn activations_equal_their_formulas_and_are_undone() {
        let values = [-40.0f32, -2.0, -0.3, 0.4, 3.0, 90.0];
        let x = Var::from_slice(&values, values.len(), &Device::Cpu).unwrap();
        for activation in [FinalActivation::Softplus, FinalActivation::Relu, FinalActivation::LeakyRelu] {
            let formula = |x: f64| match activation {
                FinalActivation::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
                FinalActivation::Relu => x.max(0.0),
                FinalActivation::LeakyRelu => x.max(0.1 * x),
            };
            let y = activation.apply(&x).unwrap();
            let gradient: Vec<f32> = y.sum_all().unwrap().backward().unwrap().get(&x).unwrap().to_vec1().unwrap();
            for ((x, y), g) in values.iter().zip(y.to_vec1::<f32>().unwrap()).zip(gradient) {
                let x = f64::from(*x);
                assert!((f64::from(y) - formula(x)).abs() < 1e-6 * (1.0 + x.abs()), "{activation:?} {x}: {y}");
                let slope = (formula(x + 1e-5) - formula(x - 1e-5)) / 2e-5;
                assert!((f64::from(g) - slope).abs() < 1e-4, "{activation:?} {x}: slope {g}, {slope}");
            }
            for y in [0.01f32, 0.5, 4.0] {
                assert!((formula(f64::from(activation.inverse(y))) - f64::from(y)).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn it_starts_from_the_mean() {
        let mut parameters = Parameters::new(&Device::Cpu, Rng::new(1));
        let config =
            MlpConfig { dims: vec![400], norm: Norm::LayerNorm, activation: crate::nn::Activation::LeakyRelu, dropout: 0.0 };
        let decoder =
            Decoder::new(&mut parameters, 5, &[("batch".into(), (2, 3))], &config, 3, FinalActivation::Softplus).unwrap();
        let mean = [0.02f32, 0.5, 2.0];
        decoder.start_from(&parameters, &mean).unwrap();
        let z = Tensor::ones((4, 5), candle_core::DType::F32, &Device::Cpu).unwrap();
        let codes = Tensor::new(&[0u32, 1, 0, 1], &Device::Cpu).unwrap();
        for row in decoder.forward(&z, &[codes], Pass::EVAL).unwrap().to_vec2::<f32>().unwrap() {
            assert!(row.iter().zip(mean).all(|(y, m)| (y - m).abs() < 0.2 + 0.1 * m), "{row:?}");
        }
        assert!(decoder.start_from(&parameters, &[1.0]).is_err());
    }
}
