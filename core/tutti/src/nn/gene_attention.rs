//! Attention over genes.

use std::sync::Arc;

use candle_core::Tensor;
use ndarray::Array2;

use super::{Activation, Kernels, Norm, NormActivation, Parameters, Pass, RunningStatistics};
use crate::data::Csr;
use crate::error::Result;
use crate::ops::batch_norm::EPS;
use crate::ops::chain::Chain;
use crate::ops::gene_attention::{
    Attention, ValueStatistics, attention_weights, gene_attention, gene_attention_plain, gene_attention_step,
};
use crate::ops::sparse_batch::SparseBatch;

/// Initial embeddings of genes are drawn evenly from minus this to this, as in Keras.
const EMBEDDING_RANGE: f64 = 0.05;

/// The teacher's encoder of one assay (Concerto; Yang et al. 2022, Methods, as its code has it): the values of all genes, zeros among them, are normalised
/// by one mean and one variance; each multiplies the embedding of its gene, E_g; the softmax over genes of u · tanh(v_g E_g W + b) weighs these; the
/// tanh of their sum is batch-normalised.
///
/// Time and memory go by the values that are not zero, and n_genes x d x d.
#[derive(Debug, Clone)]
pub struct GeneAttention {
    attention: Attention,
    values: RunningStatistics,
    norm: NormActivation,
    kernels: Kernels,
}

impl GeneAttention {
    /// Of `n_genes` genes to `d` features.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn new(parameters: &mut Parameters, name: &str, n_genes: usize, d: usize) -> Result<Self> {
        // Glorot and Bengio 2010, eq. 16.
        let glorot = (3.0 / d as f64).sqrt();
        let attention = Attention {
            embedding: parameters.uniform(&format!("{name}.embedding"), (n_genes, d), EMBEDDING_RANGE)?,
            weight: parameters.uniform(&format!("{name}.attention.weight"), (d, d), glorot)?,
            bias: parameters.filled(&format!("{name}.attention.bias"), d, 0.0)?,
            query: parameters.uniform(&format!("{name}.attention.query"), d, glorot)?,
            gamma: parameters.filled(&format!("{name}.values.gamma"), 1, 1.0)?,
            beta: parameters.filled(&format!("{name}.values.beta"), 1, 0.0)?,
        };
        let values = RunningStatistics::new(parameters, &format!("{name}.values"), 1)?;
        let norm = NormActivation::new(parameters, &format!("{name}.pooled"), Norm::BatchNorm, Activation::None, d)?;
        Ok(Self { attention, values, norm, kernels: parameters.kernels() })
    }

    /// x: [n, n_genes]; returns [n, d].
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, x: &Arc<SparseBatch>, pass: Pass<'_>) -> Result<Tensor> {
        let statistics = self.statistics(x.rows(), pass)?;
        if self.kernels == Kernels::Plain {
            return self.norm.forward(&gene_attention_plain(x, &self.attention, statistics)?, pass);
        }
        if pass.draws.is_none() {
            return self.norm.forward(&gene_attention(x, &self.attention, statistics)?, pass);
        }
        let first = || gene_attention_step(x, &self.attention, statistics);
        let mut chain = Chain::with_first(&self.attention.embedding.tensor, first)?;
        self.norm.pass(&mut chain, pass)?;
        chain.end()
    }

    /// How much each gene counts in each cell, [n, n_genes], rows sum to 1; outside of training, on the CPU.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn weights(&self, x: &Csr) -> Result<Array2<f32>> {
        attention_weights(x, &self.attention, self.statistics(x, Pass::EVAL)?)
    }

    /// Mean and spread of all values of the mini-batch, which the running ones follow; the running ones outside of training.
    fn statistics(&self, x: &Csr, pass: Pass<'_>) -> Result<ValueStatistics> {
        let (mean, variance) = if pass.draws.is_none() {
            let [mean, variance] = self.values.get()?;
            (f64::from(mean[0]), f64::from(variance[0]))
        } else {
            let n = (x.n_rows() * x.n_cols()).max(1) as f64;
            let sum = |f: fn(f64) -> f64| x.values().iter().map(|v| f(f64::from(*v))).sum::<f64>() / n;
            let mean = sum(|v| v);
            let variance = (sum(|v| v * v) - mean * mean).max(0.0);
            self.values.follow_values(&[mean as f32], &[variance as f32], n as usize)?;
            (mean, variance)
        };
        Ok(ValueStatistics { mean: mean as f32, rstd: (1.0 / (variance + EPS).sqrt()) as f32 })
    }

    /// The same layers, through which no gradient passes to the parameters.
    pub fn detached(&self) -> Self {
        Self { attention: self.attention.detached(), norm: self.norm.detached(), ..self.clone() }
    }
}
