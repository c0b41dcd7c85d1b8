//! From expression to the pooled embedding of each cell.

use candle_core::Tensor;
use ndarray::Array2;
use rayon::prelude::*;

use super::super::matmul::{matmul_new, plain};
use super::super::simd::{add_scaled_f64, attention_score, tanh};
use super::super::values::with_cpu_f32;
use super::super::written::by_chunks;
use super::{Attention, ValueStatistics};
use crate::data::Csr;

/// Genes, or values, of one task; fixed, so that threads change no bit.
pub(super) const CHUNK: usize = 128;

/// Parameters but for the embedding, as plain numbers.
pub(super) struct Values {
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) query: Vec<f32>,
    /// An expression x has the value `scale x + shift`.
    pub(super) scale: f32,
    pub(super) shift: f32,
}

impl Values {
    pub(super) fn new(parameters: &Attention, statistics: ValueStatistics) -> candle_core::Result<Self> {
        let get = |tensor: &Tensor| with_cpu_f32(tensor, <[f32]>::to_vec);
        let one = |tensor: &Tensor| tensor.reshape(())?.to_scalar::<f32>();
        let scale = one(&parameters.gamma.tensor)? * statistics.rstd;
        Ok(Self {
            weight: get(&parameters.weight.tensor)?,
            bias: get(&parameters.bias.tensor)?,
            query: get(&parameters.query.tensor)?,
            scale,
            shift: one(&parameters.beta.tensor)? - scale * statistics.mean,
        })
    }
}

/// Cells pooled, with what the way back needs.
pub(super) struct Pooled {
    pub(super) values: Values,
    /// E W, [n_genes, d].
    pub(super) projected: Vec<f32>,
    /// exp(score) of each gene where it is zero, over that of the largest score.
    pub(super) zero: Vec<f64>,
    /// 1 / sum of exp(score) over all genes, of each cell, on the same scale.
    pub(super) inverse: Vec<f64>,
    /// Attention of the values that are not zero, in their order.
    pub(super) attention: Vec<f32>,
    /// sum_g a_g v_g E_g, [n, d].
    pub(super) mean: Vec<f32>,
    /// tanh of it.
    pub(super) out: Vec<f32>,
}

pub(super) fn forward(rows: &Csr, embedding: &[f32], values: Values) -> Pooled {
    let (n_genes, d) = (rows.n_cols(), values.bias.len());
    let projected = matmul_new(plain(embedding), plain(&values.weight), (n_genes, d, d));
    let score = |gene: usize, value: f32| attention_score(&projected[gene * d..][..d], &values.bias, &values.query, value);
    let zero_scores = chunked(n_genes, |gene| score(gene, values.shift));
    let scores = chunked(rows.nnz(), |k| score(rows.indices()[k] as usize, values.scale * rows.values()[k] + values.shift));
    let most = zero_scores.iter().chain(&scores).fold(f32::MIN, |a, b| a.max(*b));
    let exp = |score: &f32| f64::from(score - most).exp();
    let zero: Vec<f64> = zero_scores.par_iter().map(exp).collect();
    let weights: Vec<f64> = scores.par_iter().map(exp).collect();

    let all = Sums::of_zeros(&zero, values.shift, embedding, d);
    let mut pooled = vec![0f32; rows.n_rows() * d];
    let mut inverse = vec![0f64; rows.n_rows()];
    pooled.par_chunks_mut(d.max(1)).zip(&mut inverse).enumerate().for_each(|(i, (mean, inverse))| {
        let within = rows.indptr()[i]..rows.indptr()[i + 1];
        let (genes, x) = rows.row(i);
        let total = all.with(genes, x, &weights[within], &zero, &values, embedding);
        *inverse = 1.0 / total.weight.max(f64::MIN_POSITIVE);
        mean.iter_mut().zip(&total.pooled).for_each(|(mean, sum)| *mean = (sum * *inverse) as f32);
    });
    let mut attention = vec![0f32; rows.nnz()];
    for (i, inverse) in inverse.iter().enumerate() {
        let within = rows.indptr()[i]..rows.indptr()[i + 1];
        let of_cell = attention[within.clone()].iter_mut().zip(&weights[within]);
        of_cell.for_each(|(a, weight)| *a = (weight * inverse) as f32);
    }
    let (out, _) = by_chunks(pooled.len(), CHUNK * d.max(1), |c, out| tanh(out, &pooled[c * CHUNK * d..][..out.len()]));
    Pooled { values, projected, zero, inverse, attention, mean: pooled, out }
}

/// `f` of each number below `n`, on the threads of the current pool.
fn chunked(n: usize, f: impl Fn(usize) -> f32 + Sync) -> Vec<f32> {
    let task = |c: usize, out: &mut [f32]| out.iter_mut().enumerate().for_each(|(i, out)| *out = f(c * CHUNK + i));
    by_chunks(n, CHUNK, task).0
}

/// Sums over genes: of exp(score), and of exp(score) times value times embedding.
#[derive(Clone)]
struct Sums {
    weight: f64,
    pooled: Vec<f64>,
}

impl Sums {
    /// Of a cell without any expression.
    fn of_zeros(zero: &[f64], shift: f32, embedding: &[f32], d: usize) -> Self {
        let part = |(c, zero): (usize, &[f64])| {
            let mut sum = vec![0f64; d];
            for (i, weight) in zero.iter().enumerate() {
                add_scaled_f64(&mut sum, weight * f64::from(shift), &embedding[(c * CHUNK + i) * d..][..d]);
            }
            sum
        };
        let parts: Vec<Vec<f64>> = zero.par_chunks(CHUNK).enumerate().map(part).collect();
        let mut pooled = vec![0f64; d];
        parts.iter().for_each(|part| pooled.iter_mut().zip(part).for_each(|(sum, v)| *sum += v));
        Self { weight: zero.iter().sum(), pooled }
    }

    /// These with the expressed genes of a cell in the place of zeros.
    fn with(&self, genes: &[u32], x: &[f32], weights: &[f64], zero: &[f64], values: &Values, embedding: &[f32]) -> Self {
        let (d, shift) = (self.pooled.len(), f64::from(values.shift));
        let mut pooled = self.pooled.clone();
        let (mut taken, mut added) = (0.0, 0.0);
        for ((gene, x), weight) in genes.iter().zip(x).zip(weights) {
            let (gene, value) = (*gene as usize, f64::from(values.scale * x + values.shift));
            taken += zero[gene];
            added += weight;
            add_scaled_f64(&mut pooled, weight * value - zero[gene] * shift, &embedding[gene * d..][..d]);
        }
        // What is left of the zeros is never negative, whatever was rounded.
        Self { weight: (self.weight - taken).max(0.0) + added, pooled }
    }
}

impl Pooled {
    /// The output, [n, d].
    pub(super) fn tensor(&self) -> candle_core::Result<Tensor> {
        Tensor::from_slice(&self.out, (self.inverse.len(), self.values.bias.len()), &candle_core::Device::Cpu)
    }

    /// Attention of all genes, [n, n_genes].
    pub(super) fn weights(&self, rows: &Csr) -> Array2<f32> {
        let mut out = Array2::from_shape_fn((rows.n_rows(), self.zero.len()), |(i, g)| (self.zero[g] * self.inverse[i]) as f32);
        for i in 0..rows.n_rows() {
            let within = rows.indptr()[i]..rows.indptr()[i + 1];
            rows.row(i).0.iter().zip(&self.attention[within]).for_each(|(gene, a)| out[[i, *gene as usize]] = *a);
        }
        out
    }
}
