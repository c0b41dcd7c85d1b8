//! Multi-layer perceptrons, on dense input and on sparse rows.

use std::sync::Arc;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{Activation, Kernels, Norm, NormActivation, Parameters, Pass, dropout};
use crate::error::Result;
use crate::ops::factored::GradientSlot;
use crate::ops::linear::linear;
use crate::ops::sparse_linear::{SparseBatch, sparse_linear, sparse_linear_plain};

/// Shape of a perceptron: every layer is linear, normalised, activated and dropped out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MlpConfig {
    /// Outputs of each layer, the last one included.
    pub dims: Vec<usize>,
    /// Normalisation after each linear layer.
    pub norm: Norm,
    /// What follows the normalisation.
    pub activation: Activation,
    /// Probability of dropping a value, 0 to 1.
    pub dropout: f64,
}

/// A linear layer, weight [n_out, n_in], Kaiming normal, bias 0.
#[derive(Debug, Clone)]
pub struct Dense {
    weight: Tensor,
    bias: Tensor,
    slot: GradientSlot,
    kernels: Kernels,
}

impl Dense {
    /// From `n_in` to `n_out` features.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn new(parameters: &mut Parameters, name: &str, n_in: usize, n_out: usize) -> Result<Self> {
        let (weight, slot) = parameters.factored_weight(&format!("{name}.weight"), (n_out, n_in), n_in)?;
        let bias = parameters.constant(&format!("{name}.bias"), n_out, 0.0)?;
        let (weight, bias) = (weight.as_tensor().clone(), bias.as_tensor().clone());
        Ok(Self { weight, bias, slot, kernels: parameters.kernels() })
    }

    /// x: [n, n_in]; returns [n, n_out].
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self.kernels {
            Kernels::Fused => linear(x, &self.weight, &self.bias, Some(&self.slot)),
            Kernels::Plain => Ok(x.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)?),
        }
    }

    /// The same layer without gradient to its parameters.
    pub fn detached(&self) -> Self {
        Self { weight: self.weight.detach(), bias: self.bias.detach(), ..self.clone() }
    }
}

#[derive(Debug, Clone)]
struct Block {
    linear: Dense,
    norm: NormActivation,
}

/// A perceptron on dense input.
#[derive(Debug, Clone)]
pub struct Mlp {
    name: String,
    blocks: Vec<Block>,
    dropout: f64,
}

impl Mlp {
    /// From `n_in` features; layers are named `name.0`, `name.1` and so on.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn new(parameters: &mut Parameters, name: &str, n_in: usize, config: &MlpConfig) -> Result<Self> {
        Self::from_layer(parameters, name, 0, n_in, config)
    }

    fn from_layer(parameters: &mut Parameters, name: &str, first: usize, n_in: usize, config: &MlpConfig) -> Result<Self> {
        let mut n_in = n_in;
        let mut blocks = Vec::new();
        for (i, n_out) in config.dims.iter().enumerate().skip(first) {
            let name = format!("{name}.{i}");
            let linear = Dense::new(parameters, &name, n_in, *n_out)?;
            let norm = NormActivation::new(parameters, &name, config.norm, config.activation, *n_out)?;
            blocks.push(Block { linear, norm });
            n_in = *n_out;
        }
        Ok(Self { name: format!("{name}.{first}"), blocks, dropout: config.dropout })
    }

    /// x: [n, n_in]; returns [n, last of dims].
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor> {
        let mut x = x.clone();
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.norm.forward(&block.linear.forward(&x)?, pass)?;
            x = dropout(&x, self.dropout, pass, &format!("{} {i}", self.name))?;
        }
        Ok(x)
    }

    /// The same network without gradient to its parameters.
    pub fn detached(&self) -> Self {
        let blocks = self.blocks.iter().map(|b| Block { linear: b.linear.detached(), norm: b.norm.detached() }).collect();
        Self { name: self.name.clone(), blocks, dropout: self.dropout }
    }
}

/// A perceptron whose first layer reads sparse rows; its weight is stored [n_genes, hidden].
#[derive(Debug, Clone)]
pub struct SparseMlp {
    name: String,
    weight: Tensor,
    bias: Tensor,
    slot: GradientSlot,
    norm: NormActivation,
    rest: Mlp,
    kernels: Kernels,
}

impl SparseMlp {
    /// From `n_genes` genes; `config.dims` has at least one layer.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn new(parameters: &mut Parameters, name: &str, n_genes: usize, config: &MlpConfig) -> Result<Self> {
        let hidden = config.dims[0];
        let (weight, slot) = parameters.factored_weight(&format!("{name}.0.weight"), (n_genes, hidden), n_genes)?;
        let bias = parameters.constant(&format!("{name}.0.bias"), hidden, 0.0)?;
        let norm = NormActivation::new(parameters, &format!("{name}.0"), config.norm, config.activation, hidden)?;
        let rest = Mlp::from_layer(parameters, name, 1, hidden, config)?;
        let kernels = parameters.kernels();
        let (weight, bias) = (weight.as_tensor().clone(), bias.as_tensor().clone());
        Ok(Self { name: name.to_owned(), weight, bias, slot, norm, rest, kernels })
    }

    /// x: [n, n_genes]; returns [n, last of dims]. `gene_weights` \[n_genes\] multiplies the genes first, where given.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, x: &Arc<SparseBatch>, gene_weights: Option<&Tensor>, pass: Pass<'_>) -> Result<Tensor> {
        let hidden = self.norm.forward(&self.first_layer(x, gene_weights)?, pass)?;
        let hidden = dropout(&hidden, self.rest.dropout, pass, &self.name)?;
        self.rest.forward(&hidden, pass)
    }

    /// Values before the first normalisation, [n, hidden].
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn first_layer(&self, x: &Arc<SparseBatch>, gene_weights: Option<&Tensor>) -> Result<Tensor> {
        // (x diag(w)) W = x (diag(w) W): the sparse rows stay as they are and autograd sees the product of the two parameters.
        let weighted = gene_weights.map(|w| self.weight.broadcast_mul(&w.unsqueeze(1)?)).transpose()?;
        let weight = weighted.as_ref().unwrap_or(&self.weight);
        match self.kernels {
            Kernels::Plain => sparse_linear_plain(x, weight, &self.bias),
            Kernels::Fused if weight.is_variable() => sparse_linear(x, weight, &self.bias, Some(&self.slot)),
            Kernels::Fused => sparse_linear(x, weight, &self.bias, None),
        }
    }

    /// Activations of every layer, from the values of [`SparseMlp::first_layer`], outside of training.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn activations(&self, first: &Tensor) -> Result<Vec<Tensor>> {
        let mut layers = vec![self.norm.forward(first, Pass::EVAL)?];
        for block in &self.rest.blocks {
            let last = &layers[layers.len() - 1];
            layers.push(block.norm.forward(&block.linear.forward(last)?, Pass::EVAL)?);
        }
        Ok(layers)
    }

    /// Weight of the first layer, [n_genes, hidden].
    pub fn first_weight(&self) -> &Tensor {
        &self.weight
    }

    /// The same network without gradient to its parameters.
    pub fn detached(&self) -> Self {
        Self {
            name: self.name.clone(),
            weight: self.weight.detach(),
            bias: self.bias.detach(),
            slot: self.slot.clone(),
            norm: self.norm.detached(),
            rest: self.rest.detached(),
            kernels: self.kernels,
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::data::Csr;
    use crate::rng::Rng;

    #[test]
    fn sparse_and_dense_and_plain_agree() {
        let config = MlpConfig { dims: vec![20, 7], norm: Norm::LayerNorm, activation: Activation::LeakyRelu, dropout: 0.0 };
        let dense = ndarray::Array2::from_shape_fn((5, 11), |(i, j)| if (i + j) % 3 == 0 { (i + j) as f32 } else { 0.0 });
        let batch = Arc::new(SparseBatch::without_gradient(Csr::from_dense(dense.view()).unwrap()));
        let forward = |kernels| {
            let mut parameters = Parameters::new(&Device::Cpu, Rng::new(3)).with_kernels(kernels);
            let mlp = SparseMlp::new(&mut parameters, "encoder", 11, &config).unwrap();
            let sparse = mlp.forward(&batch, None, Pass::EVAL).unwrap();
            let first = mlp.first_layer(&batch, None).unwrap();
            let dense = mlp.activations(&first).unwrap().pop().unwrap();
            assert_eq!(parameters.n_parameters(), 11 * 20 + 20 * 3 + 20 * 7 + 7 * 3);
            [sparse, dense].map(|t| t.to_vec2::<f32>().unwrap().concat())
        };
        let (fused, plain) = (forward(Kernels::Fused), forward(Kernels::Plain));
        for other in [&fused[1], &plain[0], &plain[1]] {
            for (a, b) in fused[0].iter().zip(other) {
                assert!((a - b).abs() < 1e-5, "{a} and {b}");
            }
        }
    }
}
