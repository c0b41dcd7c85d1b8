//! Attention over all genes of a cell, at the cost of those that are not zero.
//!
//! Zeros take part: a gene that is not expressed has the value `v0`, the same in all cells, and so the same score. The terms of these genes are summed once for the
//! mini-batch; each cell takes away those of its expressed genes and adds the real ones. So neither an array of cells x genes x features is
//! made nor does the time grow with the zeros. The sums that are subtracted from run in double precision.

mod backward;
mod forward;

use std::sync::Arc;

use candle_core::{D, Tensor};
use ndarray::Array2;

use super::chain::{Step, Trained};
use super::sparse_batch::SparseBatch;
use super::values::with_cpu_f32;
use crate::data::Csr;
use crate::error::Result;
use forward::{Pooled, Values};

/// Parameters of attention over n_genes genes by d features.
#[derive(Debug, Clone)]
pub struct Attention {
    /// E, [n_genes, d].
    pub embedding: Trained,
    /// W, [d, d].
    pub weight: Trained,
    /// b, \[d\].
    pub bias: Trained,
    /// u, \[d\].
    pub query: Trained,
    /// Scale of the normalised values, \[1\].
    pub gamma: Trained,
    /// Shift of the normalised values, \[1\].
    pub beta: Trained,
}

impl Attention {
    /// The same parameters without gradient.
    pub fn detached(&self) -> Self {
        Self {
            embedding: self.embedding.detached(),
            weight: self.weight.detached(),
            bias: self.bias.detached(),
            query: self.query.detached(),
            gamma: self.gamma.detached(),
            beta: self.beta.detached(),
        }
    }
}

/// By which all values, zeros among them, are normalised.
#[derive(Debug, Clone, Copy)]
pub struct ValueStatistics {
    /// Mean over cells and genes.
    pub mean: f32,
    /// 1 / sqrt(variance + eps).
    pub rstd: f32,
}

/// `tanh(sum_g a_g v_g E_g)` of each cell, [n, d]: v = gamma (x - mean) rstd + beta, scores s_g = u · tanh(v_g E_g W + b), a their softmax over all
/// genes of the cell. x: [n, n_genes]. On the CPU; no gradient.
///
/// # Errors
/// Shapes that do not fit.
pub fn gene_attention(x: &SparseBatch, parameters: &Attention, statistics: ValueStatistics) -> Result<Tensor> {
    let pooled = pool(x.rows(), parameters, statistics)?;
    Ok(pooled.tensor()?)
}

/// As [`gene_attention`], the first layer of a [`Chain`](super::chain::Chain).
///
/// # Errors
/// Shapes that do not fit.
pub fn gene_attention_step(x: &Arc<SparseBatch>, parameters: &Attention, statistics: ValueStatistics) -> Result<Step> {
    let pooled = pool(x.rows(), parameters, statistics)?;
    let (x, parameters) = (x.clone(), parameters.clone());
    Ok(Step::new(pooled.tensor()?, move |grad| {
        let found = with_cpu_f32(&parameters.embedding.tensor, |embedding| {
            with_cpu_f32(grad, |grad| backward::backward(&x, embedding, &pooled, grad))
        })???;
        found.leave(&parameters, statistics)?;
        Ok(None)
    }))
}

/// The attention of each gene in each cell, [n, n_genes], rows sum to 1.
///
/// # Errors
/// Shapes that do not fit.
pub fn attention_weights(x: &Csr, parameters: &Attention, statistics: ValueStatistics) -> Result<Array2<f32>> {
    Ok(pool(x, parameters, statistics)?.weights(x))
}

fn pool(x: &Csr, parameters: &Attention, statistics: ValueStatistics) -> Result<Pooled> {
    let values = Values::new(parameters, statistics)?;
    let (n_genes, d) = parameters.embedding.tensor.dims2()?;
    if n_genes != x.n_cols() || values.bias.len() != d {
        return Err(candle_core::Error::Msg(format!(
            "gene_attention: {} genes, embedding of {n_genes} genes in {d} features, bias of {}",
            x.n_cols(),
            values.bias.len()
        ))
        .into());
    }
    Ok(with_cpu_f32(&parameters.embedding.tensor, |embedding| forward::forward(x, embedding, values))?)
}

/// Numbers of the array of cells x genes x features that the plain twin makes at a time: 256 MiB.
const AT_A_TIME: usize = 1 << 26;

/// The plain twin of [`gene_attention`], for any device, with gradient: an array of cells x genes x features is made, some cells after the others.
///
/// # Errors
/// Shapes that do not fit.
pub fn gene_attention_plain(x: &SparseBatch, parameters: &Attention, statistics: ValueStatistics) -> Result<Tensor> {
    let n_numbers = parameters.embedding.tensor.elem_count();
    plain_by(x, parameters, statistics, (AT_A_TIME / n_numbers.max(1)).max(1))
}

/// As [`gene_attention_plain`], `n_cells` at a time.
fn plain_by(x: &SparseBatch, parameters: &Attention, statistics: ValueStatistics, n_cells: usize) -> Result<Tensor> {
    let x = x.to_tensor(parameters.embedding.tensor.device())?;
    let normalised = ((x - f64::from(statistics.mean))? * f64::from(statistics.rstd))?;
    let v = normalised.broadcast_mul(&parameters.gamma.tensor)?.broadcast_add(&parameters.beta.tensor)?; // [n, n_genes]
    let n = v.dim(0)?;
    let part = |start| plain_part(&v.narrow(0, start, n_cells.min(n - start))?, parameters);
    let parts: Vec<Tensor> = (0..n).step_by(n_cells).map(part).collect::<Result<_>>()?;
    Ok(Tensor::cat(&parts, 0)?)
}

/// From the values of some cells, [n, n_genes].
fn plain_part(v: &Tensor, parameters: &Attention) -> Result<Tensor> {
    let Attention { embedding, weight, bias, query, .. } = parameters;
    let ((n, n_genes), d) = (v.dims2()?, bias.tensor.dim(0)?);
    let projected = embedding.tensor.matmul(&weight.tensor)?.reshape((1, n_genes, d))?;
    let t = v.unsqueeze(2)?.broadcast_mul(&projected)?.broadcast_add(&bias.tensor)?.tanh()?; // [n, n_genes, d]
    let scores = t.reshape((n * n_genes, d))?.matmul(&query.tensor.reshape((d, 1))?)?.reshape((n, n_genes))?;
    let attention = candle_nn::ops::softmax(&scores, D::Minus1)?;
    Ok((attention * v)?.matmul(&embedding.tensor)?.tanh()?)
}

#[cfg(test)]
mod tests;
