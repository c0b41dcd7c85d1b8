//! Attention over latent dimensions.

use candle_core::{D, Tensor};

use super::{Activation, Dense, Norm, NormActivation, Parameters, Pass};
use crate::error::Result;
use crate::ops::elementwise::{sigmoid, tanh};

/// Which latent dimensions of a cell count, as probabilities (deep attentive centre loss, Farzaneh and Qi 2021; CellPredX, eqs. 8 to 10): a
/// linear layer, batch norm and tanh give the cell's context, from which a linear layer makes two logits per dimension, to include and to
/// exclude it.
#[derive(Debug, Clone)]
pub struct FeatureGate {
    context: Dense,
    norm: NormActivation,
    heads: Dense,
}

impl FeatureGate {
    /// For `latent_dim` dimensions by a context of `hidden`. Named `gate`.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn new(parameters: &mut Parameters, latent_dim: usize, hidden: usize) -> Result<Self> {
        Ok(Self {
            context: Dense::new(parameters, "gate.context", latent_dim, hidden)?,
            norm: NormActivation::new(parameters, "gate.context", Norm::BatchNorm, Activation::None, hidden)?,
            heads: Dense::new(parameters, "gate.heads", hidden, 2 * latent_dim)?,
        })
    }

    /// z: [n, latent_dim]; returns the probability of each dimension to be included, [n, latent_dim].
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, z: &Tensor, pass: Pass<'_>) -> Result<Tensor> {
        let (n, m) = z.dims2()?;
        let context = tanh(&self.norm.forward(&self.context.forward(z)?, pass)?)?;
        let heads = self.heads.forward(&context)?.reshape((n, m, 2))?;
        let (include, exclude) = (heads.narrow(D::Minus1, 0, 1)?, heads.narrow(D::Minus1, 1, 1)?);
        // A softmax over two is the logistic function of their difference.
        sigmoid(&(include - exclude)?.squeeze(D::Minus1)?)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn equals_a_softmax_over_two_heads() {
        let mut parameters = Parameters::new(&Device::Cpu, Rng::new(1));
        let gate = FeatureGate::new(&mut parameters, 3, 4).unwrap();
        let rows = [[0.5f32, -1.0, 2.0], [1.5, 0.0, -0.5]];
        let z = Tensor::new(&rows, &Device::Cpu).unwrap();
        let ours = gate.forward(&z, Pass::EVAL).unwrap().to_vec2::<f32>().unwrap();
        let get = |name: &str| -> Vec<f32> {
            let all = parameters.snapshot().unwrap();
            all.iter().find(|(n, _)| n == name).unwrap().1.flatten_all().unwrap().to_vec1().unwrap()
        };
        let (w, v) = (get("gate.context.weight"), get("gate.heads.weight"));
        for (row, ours) in rows.iter().zip(ours) {
            // Running statistics are 0 and 1 at the start; batch norm divides by the root of 1 + 1e-5.
            let context: Vec<f32> =
                (0..4).map(|k| ((0..3).map(|j| w[k * 3 + j] * row[j]).sum::<f32>() / (1.0f32 + 1e-5).sqrt()).tanh()).collect();
            let head = |h: usize| (0..4).map(|k| v[h * 4 + k] * context[k]).sum::<f32>().exp();
            for (j, a) in ours.iter().enumerate() {
                assert!((a - head(2 * j) / (head(2 * j) + head(2 * j + 1))).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn passes_gradient_to_cells_and_parameters() {
        let mut parameters = Parameters::new(&Device::Cpu, Rng::new(1));
        let gate = FeatureGate::new(&mut parameters, 3, 4).unwrap();
        let z = Var::new(&[[0.5f32, -1.0, 2.0], [1.5, 0.0, -0.5], [0.1, 0.2, 0.3]], &Device::Cpu).unwrap();
        let draws = super::super::Draws::new(Rng::new(1), 0, 0);
        let a = gate.forward(&z, Pass::train(&draws, 0)).unwrap();
        let store = a.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        assert!(store.get(&z).unwrap().abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap() > 1e-3);
        // A bias before batch norm is without effect, not without gradient.
        let left = |p: &crate::nn::Parameter| p.slot.as_ref().is_some_and(|slot| slot.take().len() == 1);
        assert!(parameters.iter().all(|p| store.get(&p.var).is_some() || left(p)));
    }
}
