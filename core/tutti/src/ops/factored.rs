//! Gradients of a layer's weight that wait as two factors: the layer's input and the gradient of its output.
//!
//! The optimiser multiplies them when it needs them: some genes at a time for a first layer on sparse rows, so that no array of genes times
//! hidden is written, and into one array for all mini-batches that make an update.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use candle_core::Tensor;
use rayon::prelude::*;

use super::matmul::{matmul_parallel, plain, transposed};
use super::panels::Panels;
use super::simd::add_row;
use super::sparse_batch::SparseBatch;
use super::values::with_cpu_f32;
use super::{axpy_rows, panels};
use crate::data::Csr;
use crate::error::Result;

/// Gradient of a layer's weight as its two factors, or of another parameter as it is.
#[derive(Debug, Clone)]
pub struct FactoredGradient {
    input: Input,
    d_out: Tensor,
}

#[derive(Debug, Clone)]
enum Input {
    /// Weight [n_genes, hidden], gradient `inputᵀ d_out`.
    Sparse(Arc<SparseBatch>),
    /// Weight [n_out, n_in], gradient `d_outᵀ input`.
    Dense(Tensor),
    /// Of any shape, gradient `d_out`.
    Whole,
}

impl FactoredGradient {
    /// Of a first layer on sparse rows; `d_out`: [n_rows, hidden], contiguous.
    pub(super) fn sparse(input: Arc<SparseBatch>, d_out: Tensor) -> Self {
        Self { input: Input::Sparse(input), d_out }
    }

    /// Of a layer on dense input [n_rows, n_in]; `d_out`: [n_rows, n_out]; both contiguous.
    pub(super) fn dense(input: Tensor, d_out: Tensor) -> Self {
        Self { input: Input::Dense(input), d_out }
    }

    /// Of a parameter, in its shape; contiguous.
    pub(super) fn whole(gradient: Tensor) -> Self {
        Self { input: Input::Whole, d_out: gradient }
    }

    /// Whether it can be formed some genes at a time, by [`with_rows`].
    pub(crate) fn is_sparse(&self) -> bool {
        matches!(self.input, Input::Sparse(_))
    }

    /// Adds the product of the factors to `sum`, row-major in the shape of the weight.
    pub(crate) fn add_to(&self, sum: &mut [f32]) -> candle_core::Result<()> {
        match &self.input {
            Input::Sparse(_) => {
                let (_, hidden) = self.d_out.dims2()?;
                with_rows(std::slice::from_ref(self), hidden, |rows| {
                    let n = rows.n_together(hidden);
                    sum.par_chunks_mut((n * hidden).max(1)).enumerate().for_each(|(i, sums)| {
                        rows.sum(sums, hidden, i * n..i * n + sums.len() / hidden, true);
                    });
                })
            }
            Input::Whole => with_cpu_f32(&self.d_out, |gradient| add_row(sum, gradient)),
            Input::Dense(input) => {
                let ((n, width), (_, n_in)) = (self.d_out.dims2()?, input.dims2()?);
                with_cpu_f32(input, |input| {
                    with_cpu_f32(&self.d_out, |d_out| {
                        matmul_parallel(sum, transposed(d_out), plain(input), (width, n_in, n), 1.0, true);
                    })
                })?
            }
        }
    }
}

/// Calls `f` with what forms the gradient, [n_genes, hidden], of the mini-batches of `factors` together.
pub(crate) fn with_rows(
    factors: &[FactoredGradient],
    hidden: usize,
    f: impl FnOnce(&GeneGradients<'_>),
) -> candle_core::Result<()> {
    let open = factors.iter().map(|factor| match &factor.input {
        Input::Sparse(batch) => match batch.transposed() {
            Some(transposed) => Ok((transposed, &factor.d_out)),
            None => candle_core::bail!("a gradient was asked of a mini-batch prepared without one"),
        },
        _ => candle_core::bail!("not the gradient of a first layer on sparse rows"),
    });
    let open: Vec<(&Csr, &Tensor)> = open.collect::<candle_core::Result<_>>()?;
    if panels::pay(open.iter().map(|(_, d_out)| d_out.elem_count()).sum()) {
        let panels = |(t, d_out): &(_, &Tensor)| Ok((*t, with_cpu_f32(d_out, |d_out| Panels::new(d_out, hidden))?));
        f(&GeneGradients::Panels(open.par_iter().map(panels).collect::<candle_core::Result<_>>()?));
    } else if let [(transposed, d_out)] = open[..] {
        with_cpu_f32(d_out, |d_out| f(&GeneGradients::Rows(vec![(transposed, d_out)])))?;
    } else {
        // Copied, because a tensor lends its content only inside a call.
        let copies: Vec<Vec<f32>> =
            open.iter().map(|(_, d_out)| with_cpu_f32(d_out, <[f32]>::to_vec)).collect::<candle_core::Result<_>>()?;
        f(&GeneGradients::Rows(open.iter().zip(&copies).map(|((t, _), d_out)| (*t, d_out.as_slice())).collect()));
    }
    Ok(())
}

/// Mini-batches, [n_genes, n_rows], each with the gradient of its first layer's output, [n_rows, hidden].
pub(crate) enum GeneGradients<'a> {
    /// Of few numbers, as they are.
    Rows(Vec<(&'a Csr, &'a [f32])>),
    /// Of many.
    Panels(Vec<(&'a Csr, Panels)>),
}

impl GeneGradients<'_> {
    /// Genes that are best asked for together: in panels so many that their sums, 1 MiB, stay in the second level of the cache.
    pub(crate) fn n_together(&self, hidden: usize) -> usize {
        match self {
            Self::Rows(_) => 1,
            Self::Panels(_) => ((1 << 18) / hidden.max(1)).max(1),
        }
    }

    /// The gradient of `genes` in `sums`, [genes, hidden], summed up in the order of the mini-batches; added to what is there where `add`.
    pub(crate) fn sum(&self, sums: &mut [f32], hidden: usize, genes: Range<usize>, add: bool) {
        match self {
            Self::Panels(factors) => panels::gradient(sums, hidden, genes, factors, add),
            Self::Rows(factors) => {
                if !add {
                    sums.fill(0.0);
                }
                for (gene, sum) in genes.zip(sums.chunks_exact_mut(hidden)) {
                    for (transposed, d_out) in factors {
                        let (cells, values) = transposed.row(gene);
                        axpy_rows(sum, cells, values, d_out);
                    }
                }
            }
        }
    }
}

/// Where the backward pass of a layer leaves the gradient of its weight for the optimiser.
#[derive(Debug, Clone, Default)]
pub struct GradientSlot(Arc<Mutex<Vec<FactoredGradient>>>);

impl GradientSlot {
    /// Takes what was left since the last call.
    pub fn take(&self) -> Vec<FactoredGradient> {
        std::mem::take(&mut *self.lock())
    }

    pub(super) fn push(&self, gradient: FactoredGradient) {
        self.lock().push(gradient);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<FactoredGradient>> {
        // A panic while the list was locked leaves it usable: it is only pushed to and taken.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Sum of the products of factors, and of `dense` where given, in `shape`, that of the weight.
///
/// # Errors
/// For tensors that are not on the CPU.
pub(crate) fn total(factors: &[FactoredGradient], dense: Option<&Tensor>, shape: &candle_core::Shape) -> Result<Tensor> {
    let mut sum = match dense {
        Some(dense) => with_cpu_f32(&dense.contiguous()?, <[f32]>::to_vec)?,
        None => vec![0.0; shape.elem_count()],
    };
    for factor in factors {
        factor.add_to(&mut sum)?;
    }
    Ok(Tensor::from_vec(sum, shape, &candle_core::Device::Cpu)?)
}
