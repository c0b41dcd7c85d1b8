//! From the gradient of the pooled embeddings to those of the parameters.
//!
//! With D the gradient of a cell's mean c = sum_g a_g v_g E_g and p_g = D · E_g: the gradient of a score is a_g (v_g p_g - D · c), that of a value a_g p_g and what
//! comes through its score, that of E_g a_g v_g D and what comes through E W. Where a gene is zero, a_g is that of the gene times 1 / S of the cell, so
//! that sums over all cells of D / S and of D · c / S, less those of the cells that express the gene, stand for all the others.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::super::matmul::{matmul, matmul_parallel, plain, transposed};
use super::super::simd::{add_row, add_scaled, add_scaled_f64, attention_score_backward, dot, tanh_backward};
use super::super::sparse_batch::SparseBatch;
use super::forward::{CHUNK, Pooled};
use super::{Attention, ValueStatistics};
use crate::data::Csr;

/// Genes whose part in the gradient of W is one product; fixed, so that threads change no bit.
const PRODUCT: usize = 1024;

/// Gradients of all parameters.
pub(super) struct Found {
    embedding: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    query: Vec<f32>,
    scale: f64,
    shift: f64,
}

impl Found {
    /// Leaves them with the parameters.
    pub(super) fn leave(self, parameters: &Attention, statistics: ValueStatistics) -> candle_core::Result<()> {
        let (mean, rstd) = (f64::from(statistics.mean), f64::from(statistics.rstd));
        let gamma = rstd * (self.scale - mean * self.shift);
        for (parameter, gradient) in [
            (&parameters.embedding, self.embedding),
            (&parameters.weight, self.weight),
            (&parameters.bias, self.bias),
            (&parameters.query, self.query),
            (&parameters.gamma, vec![gamma as f32]),
            (&parameters.beta, vec![self.shift as f32]),
        ] {
            parameter.leave(Some(Tensor::from_vec(gradient, parameter.tensor.shape(), &Device::Cpu)?));
        }
        Ok(())
    }
}

/// Gradients of the means of all cells.
struct Cells {
    /// D, [n, d].
    d_mean: Vec<f32>,
    /// D · c of each cell.
    along: Vec<f32>,
    /// Sum of D / S, \[d\].
    weighted: Vec<f32>,
    /// Sum of D · c / S.
    weighted_along: f64,
}

impl Cells {
    fn new(pooled: &Pooled, grad: &[f32], d: usize) -> Self {
        let mut d_mean = vec![0f32; grad.len()];
        tanh_backward(&mut d_mean, &pooled.out, grad);
        let along: Vec<f32> = d_mean.chunks_exact(d).zip(pooled.mean.chunks_exact(d)).map(|(a, b)| dot(a, b)).collect();
        let mut weighted = vec![0f64; d];
        for (d_mean, inverse) in d_mean.chunks_exact(d).zip(&pooled.inverse) {
            add_scaled_f64(&mut weighted, *inverse, d_mean);
        }
        let weighted_along = along.iter().zip(&pooled.inverse).map(|(a, inverse)| f64::from(*a) * inverse).sum();
        Self { d_mean, along, weighted: weighted.into_iter().map(|v| v as f32).collect(), weighted_along }
    }
}

/// Sums of some genes.
struct Part {
    bias: Vec<f32>,
    query: Vec<f32>,
    scale: f64,
    shift: f64,
}

pub(super) fn backward(batch: &SparseBatch, embedding: &[f32], pooled: &Pooled, grad: &[f32]) -> candle_core::Result<Found> {
    let (n_genes, d) = (batch.rows().n_cols(), pooled.values.bias.len());
    let cells = Cells::new(pooled, grad, d);
    let by_gene = ByGene::new(batch, pooled)?;
    let (mut to_embedding, mut to_projected) = (vec![0f32; n_genes * d], vec![0f32; n_genes * d]);
    let parts: Vec<Part> = to_embedding
        .par_chunks_mut(CHUNK * d)
        .zip(to_projected.par_chunks_mut(CHUNK * d))
        .enumerate()
        .map(|(c, (to_embedding, to_projected))| {
            let mut part = Part { bias: vec![0.0; d], query: vec![0.0; d], scale: 0.0, shift: 0.0 };
            for (i, (to_embedding, to_projected)) in
                to_embedding.chunks_exact_mut(d).zip(to_projected.chunks_exact_mut(d)).enumerate()
            {
                let gene = Gene::new(c * CHUNK + i, embedding, pooled);
                gene.backward(&by_gene, &cells, to_embedding, to_projected, &mut part);
            }
            part
        })
        .collect();
    let mut found = Found {
        weight: product_of_genes(embedding, &to_projected, d),
        bias: vec![0.0; d],
        query: vec![0.0; d],
        scale: parts.iter().map(|part| part.scale).sum(),
        shift: parts.iter().map(|part| part.shift).sum(),
        embedding: to_embedding,
    };
    for part in &parts {
        add_row(&mut found.bias, &part.bias);
        add_row(&mut found.query, &part.query);
    }
    let weight = &pooled.values.weight;
    matmul_parallel(&mut found.embedding, plain(&to_projected), transposed(weight), (n_genes, d, d), 1.0, true);
    Ok(found)
}

/// `aᵀ b`, [d, d], of a, b [n, d] of many rows.
fn product_of_genes(a: &[f32], b: &[f32], d: usize) -> Vec<f32> {
    let parts: Vec<Vec<f32>> = a
        .par_chunks(PRODUCT * d)
        .zip(b.par_chunks(PRODUCT * d))
        .map(|(a, b)| {
            let mut out = vec![0f32; d * d];
            matmul(&mut out, transposed(a), plain(b), (d, d, a.len() / d), 1.0, false);
            out
        })
        .collect();
    let mut sum = vec![0f32; d * d];
    parts.iter().for_each(|part| add_row(&mut sum, part));
    sum
}

/// Expression and attention by gene, [n_genes, n]: the places of both are the same.
struct ByGene<'a> {
    expression: &'a Csr,
    attention: Csr,
}

impl<'a> ByGene<'a> {
    fn new(batch: &'a SparseBatch, pooled: &Pooled) -> candle_core::Result<Self> {
        let Some(expression) = batch.transposed() else {
            candle_core::bail!("a gradient was asked of a mini-batch prepared without one");
        };
        let mut attention = batch.rows().clone();
        attention.values_mut().copy_from_slice(&pooled.attention);
        Ok(Self { expression, attention: attention.transpose() })
    }
}

/// What is known of a gene.
struct Gene<'a> {
    gene: usize,
    embedding: &'a [f32],
    projected: &'a [f32],
    zero: f64,
    pooled: &'a Pooled,
}

impl<'a> Gene<'a> {
    fn new(gene: usize, embedding: &'a [f32], pooled: &'a Pooled) -> Self {
        let d = pooled.values.bias.len();
        let of = |matrix: &'a [f32]| &matrix[gene * d..][..d];
        Self { gene, embedding: of(embedding), projected: of(&pooled.projected), zero: pooled.zero[gene], pooled }
    }

    fn backward(&self, by_gene: &ByGene<'_>, cells: &Cells, to_embedding: &mut [f32], to_projected: &mut [f32], part: &mut Part) {
        let (d, values) = (self.embedding.len(), &self.pooled.values);
        let shift = f64::from(values.shift);
        let mut through_score = |value: f32, score: f32, part: &mut Part| {
            let (bias, query) = (&mut part.bias, &mut part.query);
            let by_value =
                attention_score_backward(to_projected, bias, query, self.projected, &values.bias, &values.query, value, score);
            f64::from(score) * f64::from(by_value)
        };
        // Of the cells in which the gene is zero: sums of p / S and of D · c / S.
        let mut zero_p = f64::from(dot(self.embedding, &cells.weighted));
        let mut zero_along = cells.weighted_along;
        add_scaled(to_embedding, (self.zero * shift) as f32, &cells.weighted);
        let (expressing, x) = by_gene.expression.row(self.gene);
        for ((cell, x), a) in expressing.iter().zip(x).zip(by_gene.attention.row(self.gene).1) {
            let cell = *cell as usize;
            let (value, inverse) = (values.scale * x + values.shift, self.pooled.inverse[cell]);
            let d_mean = &cells.d_mean[cell * d..][..d];
            let (p, along) = (dot(self.embedding, d_mean), cells.along[cell]);
            zero_p -= inverse * f64::from(p);
            zero_along -= inverse * f64::from(along);
            let as_zero = self.zero * inverse * shift;
            add_scaled(to_embedding, (f64::from(*a) * f64::from(value) - as_zero) as f32, d_mean);
            let d_value = f64::from(a * p) + through_score(value, a * (value * p - along), part);
            part.scale += d_value * f64::from(*x);
            part.shift += d_value;
        }
        let score = self.zero * (shift * zero_p - zero_along);
        part.shift += self.zero * zero_p + through_score(values.shift, score as f32, part);
    }
}
