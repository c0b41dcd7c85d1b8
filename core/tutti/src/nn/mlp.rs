//! Multi-layer perceptrons, on dense input and on sparse rows.

use std::sync::Arc;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::dropout::{dropout, pass_dropout};
use super::{Activation, Kernels, Norm, NormActivation, Parameters, Pass};
use crate::error::Result;
use crate::ops::chain::{Chain, Trained};
use crate::ops::linear::{linear, linear_step};
use crate::ops::sparse_batch::SparseBatch;
use crate::ops::sparse_linear::{sparse_linear, sparse_linear_plain, sparse_linear_step};

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
    weight: Trained,
    bias: Trained,
    kernels: Kernels,
}

impl Dense {
    /// From `n_in` to `n_out` features.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn new(parameters: &mut Parameters, name: &str, n_in: usize, n_out: usize) -> Result<Self> {
        let weight = parameters.weight(&format!("{name}.weight"), (n_out, n_in), n_in)?;
        let bias = parameters.filled(&format!("{name}.bias"), n_out, 0.0)?;
        Ok(Self { weight, bias, kernels: parameters.kernels() })
    }

    /// x: [n, n_in]; returns [n, n_out].
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self.kernels {
            Kernels::Fused => linear(x, &self.weight.tensor, &self.bias.tensor, Some(&self.weight.slot)),
            Kernels::Plain => Ok(x.matmul(&self.weight.tensor.t()?)?.broadcast_add(&self.bias.tensor)?),
        }
    }

    /// Passes it in a chain, on the CPU.
    pub(super) fn pass(&self, chain: &mut Chain) -> Result<()> {
        let Self { weight, bias, .. } = self;
        chain.then(Some(&weight.tensor), |x, to_input| linear_step(x, weight, bias, to_input))
    }

    /// The same layer without gradient to its parameters.
    pub fn detached(&self) -> Self {
        Self { weight: self.weight.detached(), bias: self.bias.detached(), kernels: self.kernels }
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
        if self.chains(pass) {
            let mut chain = Chain::new(&x.contiguous()?);
            self.pass(&mut chain, pass)?;
            return chain.end();
        }
        let mut x = x.clone();
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.norm.forward(&block.linear.forward(&x)?, pass)?;
            x = dropout(&x, self.dropout, pass, &format!("{} {i}", self.name))?;
        }
        Ok(x)
    }

    /// Whether the layers are one node of candle's graph: in training, on the CPU.
    pub(super) fn chains(&self, pass: Pass<'_>) -> bool {
        pass.draws.is_some() && self.blocks.iter().all(|b| b.linear.kernels == Kernels::Fused)
    }

    /// Passes all layers in a chain.
    pub(super) fn pass(&self, chain: &mut Chain, pass: Pass<'_>) -> Result<()> {
        for (i, block) in self.blocks.iter().enumerate() {
            block.linear.pass(chain)?;
            block.norm.pass(chain, pass)?;
            pass_dropout(chain, self.dropout, pass, &format!("{} {i}", self.name))?;
        }
        Ok(())
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
    weight: Trained,
    bias: Trained,
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
        let weight = parameters.weight(&format!("{name}.0.weight"), (n_genes, hidden), n_genes)?;
        let bias = parameters.filled(&format!("{name}.0.bias"), hidden, 0.0)?;
        let norm = NormActivation::new(parameters, &format!("{name}.0"), config.norm, config.activation, hidden)?;
        let rest = Mlp::from_layer(parameters, name, 1, hidden, config)?;
        Ok(Self { name: name.to_owned(), weight, bias, norm, rest, kernels: parameters.kernels() })
    }

    /// x: [n, n_genes]; returns [n, last of dims]. `gene_weights` \[n_genes\] multiplies the genes first, where given.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, x: &Arc<SparseBatch>, gene_weights: Option<&Tensor>, pass: Pass<'_>) -> Result<Tensor> {
        if gene_weights.is_none() && self.kernels == Kernels::Fused && pass.draws.is_some() {
            let first = || sparse_linear_step(x, &self.weight, &self.bias);
            let mut chain = Chain::with_first(&self.weight.tensor, first)?;
            self.norm.pass(&mut chain, pass)?;
            pass_dropout(&mut chain, self.rest.dropout, pass, &self.name)?;
            self.rest.pass(&mut chain, pass)?;
            return chain.end();
        }
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
        let weighted = gene_weights.map(|w| self.weight.tensor.broadcast_mul(&w.unsqueeze(1)?)).transpose()?;
        let weight = weighted.as_ref().unwrap_or(&self.weight.tensor);
        match self.kernels {
            Kernels::Plain => sparse_linear_plain(x, weight, &self.bias.tensor),
            Kernels::Fused if weight.is_variable() => sparse_linear(x, weight, &self.bias.tensor, Some(&self.weight.slot)),
            Kernels::Fused => sparse_linear(x, weight, &self.bias.tensor, None),
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
        &self.weight.tensor
    }

    /// The same network without gradient to its parameters.
    pub fn detached(&self) -> Self {
        Self {
            name: self.name.clone(),
            weight: self.weight.detached(),
            bias: self.bias.detached(),
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
    use crate::nn::{Draws, ProjectionHead};
    use crate::rng::Rng;

    /// Outputs of an encoder on sparse rows and a head behind it, and the gradients of all their parameters, in training.
    fn train(config: &MlpConfig, kernels: Kernels, detach_head: bool) -> Vec<(String, Vec<f32>)> {
        let x =
            ndarray::Array2::from_shape_fn((6, 11), |(i, j)| if (i * 5 + j) % 3 == 0 { 1.0 + (i * j % 4) as f32 } else { 0.0 });
        let batch = Arc::new(SparseBatch::with_gradient(Csr::from_dense(x.view()).unwrap()));
        let mut parameters = Parameters::new(&Device::Cpu, Rng::new(3)).with_kernels(kernels);
        let encoder = SparseMlp::new(&mut parameters, "encoder", 11, config).unwrap();
        let head = ProjectionHead::new(&mut parameters, 7, &[5], 4, config.norm).unwrap();
        let head = if detach_head { head.detached() } else { head };
        let draws = Draws::new(Rng::new(1), 0, 0);
        let pass = Pass { n_stacked: 2, ..Pass::train(&draws, 0) };
        let z = head.forward(&encoder.forward(&batch, None, pass).unwrap(), pass).unwrap();
        let probe = Tensor::arange(0f32, 24.0, &Device::Cpu).unwrap().reshape((6, 4)).unwrap().cos().unwrap();
        let store = (&z * probe).unwrap().sum_all().unwrap().backward().unwrap();
        let mut out = vec![("z".to_owned(), z.flatten_all().unwrap().to_vec1().unwrap())];
        for p in parameters.iter() {
            let left = p.slot.as_ref().map(|slot| slot.take()).unwrap_or_default();
            let gradient = crate::ops::factored::total(&left, store.get(&p.var), p.var.shape()).unwrap();
            out.push((p.name.clone(), gradient.flatten_all().unwrap().to_vec1().unwrap()));
        }
        out
    }

    #[test]
    fn layers_in_a_chain_have_the_gradients_of_stock_layers() {
        for (norm, activation) in [
            (Norm::LayerNorm, Activation::LeakyRelu),
            (Norm::BatchNorm, Activation::Relu),
            (Norm::None, Activation::Relu),
            (Norm::None, Activation::None),
        ] {
            let config = MlpConfig { dims: vec![20, 7], norm, activation, dropout: 0.3 };
            for detach_head in [false, true] {
                let (fused, plain) = (train(&config, Kernels::Fused, detach_head), train(&config, Kernels::Plain, detach_head));
                for ((name, ours), (_, stock)) in fused.iter().zip(&plain) {
                    let close = ours.iter().zip(stock).all(|(a, b)| (a - b).abs() < 1e-4 * (1.0 + b.abs()));
                    assert!(close, "{norm:?} {name}: {ours:?} and {stock:?}");
                    let trained = !(detach_head && name.starts_with("projection"));
                    // A bias before batch norm has none.
                    assert_eq!(
                        stock.iter().any(|v| v.abs() > 1e-4),
                        trained && !(norm == Norm::BatchNorm && name.ends_with("bias"))
                    );
                }
            }
        }
    }

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
