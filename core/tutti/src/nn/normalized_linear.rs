//! A linear layer on sparse rows whose genes are normalised.

use std::sync::Arc;

use candle_core::Tensor;

use super::{Kernels, Parameters, Pass, RunningStatistics};
use crate::data::Csr;
use crate::error::Result;
use crate::ops::batch_norm::EPS;
use crate::ops::chain::Trained;
use crate::ops::sparse_batch::SparseBatch;
use crate::ops::sparse_linear::{sparse_linear, sparse_linear_plain};

/// Batch normalisation of each gene, then a linear layer (the student of Concerto). Rows stay sparse: with w_g = gamma_g / sqrt(variance_g + eps),
/// `norm(x) W + c = x diag(w) W + ((beta - mean w) W + c)`.
#[derive(Debug, Clone)]
pub struct NormalizedLinear {
    gamma: Tensor,
    beta: Tensor,
    running: RunningStatistics,
    weight: Tensor,
    bias: Trained,
    kernels: Kernels,
}

impl NormalizedLinear {
    /// From `n_genes` genes to `hidden` features.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn new(parameters: &mut Parameters, name: &str, n_genes: usize, hidden: usize) -> Result<Self> {
        Ok(Self {
            gamma: parameters.filled(&format!("{name}.gamma"), n_genes, 1.0)?.tensor,
            beta: parameters.filled(&format!("{name}.beta"), n_genes, 0.0)?.tensor,
            running: RunningStatistics::new(parameters, name, n_genes)?,
            weight: parameters.weight(&format!("{name}.weight"), (n_genes, hidden), n_genes)?.tensor,
            bias: parameters.filled(&format!("{name}.bias"), hidden, 0.0)?,
            kernels: parameters.kernels(),
        })
    }

    /// x: [n, n_genes]; returns [n, hidden].
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, x: &Arc<SparseBatch>, pass: Pass<'_>) -> Result<Tensor> {
        let (mean, variance) = self.statistics(x.rows(), pass)?;
        let scale = (&self.gamma / (variance + EPS)?.sqrt()?)?;
        let shift = (&self.beta - (mean * &scale)?)?;
        let weight = self.weight.broadcast_mul(&scale.unsqueeze(1)?)?;
        let bias = shift.unsqueeze(0)?.matmul(&self.weight)?.squeeze(0)?.add(&self.bias.tensor)?;
        match self.kernels {
            Kernels::Fused => sparse_linear(x, &weight, &bias, None),
            Kernels::Plain => sparse_linear_plain(x, &weight, &bias),
        }
    }

    /// Mean and variance of each gene, of the mini-batch in training.
    fn statistics(&self, x: &Csr, pass: Pass<'_>) -> Result<(Tensor, Tensor)> {
        if pass.draws.is_some() {
            let (mean, variance) = gene_moments(x);
            self.running.follow_values(&mean, &variance, x.n_rows())?;
            let tensor = |values: Vec<f32>| Tensor::from_vec(values, x.n_cols(), self.gamma.device());
            return Ok((tensor(mean)?, tensor(variance)?));
        }
        let [mean, variance] = self.running.tensors();
        Ok((mean, variance))
    }
}

/// Mean and biased variance of each gene over the cells.
fn gene_moments(x: &Csr) -> (Vec<f32>, Vec<f32>) {
    let n = x.n_rows().max(1) as f64;
    let mut sums = vec![[0f64; 2]; x.n_cols()];
    for (gene, value) in x.indices().iter().zip(x.values()) {
        let value = f64::from(*value);
        let [sum, squares] = &mut sums[*gene as usize];
        *sum += value;
        *squares += value * value;
    }
    let mean = |sum: f64| sum / n;
    sums.iter().map(|[sum, squares]| (mean(*sum) as f32, (squares / n - mean(*sum).powi(2)).max(0.0) as f32)).unzip()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::Draws;
    use crate::ops::batch_norm::batch_norm_activate_plain;
    use crate::rng::Rng;

    #[test]
    fn equals_batch_norm_and_a_linear_layer_on_dense_rows_with_their_gradients() {
        let dense =
            ndarray::Array2::from_shape_fn((6, 9), |(i, j)| if (i * 5 + j) % 3 == 0 { 1.0 + (i * j % 4) as f32 } else { 0.0 });
        let x = Arc::new(SparseBatch::with_gradient(Csr::from_dense(dense.view()).unwrap()));
        let draws = Draws::new(Rng::new(1), 0, 0);
        let pass = Pass::train(&draws, 0);
        for kernels in [Kernels::Fused, Kernels::Plain] {
            let mut parameters = Parameters::new(&Device::Cpu, Rng::new(2)).with_kernels(kernels);
            let layer = NormalizedLinear::new(&mut parameters, "student", 9, 4).unwrap();
            parameters.set("student.gamma", (0..9).map(|j| 0.5 + 0.2 * j as f32).collect()).unwrap();
            parameters.set("student.beta", (0..9).map(|j| 0.3 - 0.1 * j as f32).collect()).unwrap();
            let stock = || {
                let x = x.to_tensor(&Device::Cpu).unwrap();
                let normed = batch_norm_activate_plain(&x, &layer.gamma, &layer.beta, 1.0, 1).unwrap().0;
                normed.matmul(&layer.weight).unwrap().broadcast_add(&layer.bias.tensor).unwrap()
            };
            let probe = Tensor::arange(0f32, 24.0, &Device::Cpu).unwrap().reshape((6, 4)).unwrap().cos().unwrap();
            let (ours, stock) = (layer.forward(&x, pass).unwrap(), stock());
            let near = |a: &Tensor, b: &Tensor| {
                let d = (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
                assert!(d < 1e-4, "{d}");
            };
            near(&ours, &stock);
            let of = |y: &Tensor| (y * &probe).unwrap().sum_all().unwrap().backward().unwrap();
            let (ours, stock) = (of(&ours), of(&stock));
            for p in parameters.iter() {
                near(ours.get(&p.var).unwrap(), stock.get(&p.var).unwrap());
            }
        }
    }
}
