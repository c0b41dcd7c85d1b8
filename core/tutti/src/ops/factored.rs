//! Gradients of a layer's weight that wait as two factors: the layer's input and the gradient of its output.
//!
//! The optimiser multiplies them when it needs them: row by row for a first layer on sparse rows, so that no array of genes times hidden is
//! written, and into one array for all mini-batches that make an update.

use std::sync::{Arc, Mutex};

use candle_core::Tensor;

use super::axpy_rows;
use super::matmul::{matmul_parallel, plain, transposed};
use super::simd::add_row;
use super::sparse_batch::SparseBatch;
use super::values::with_cpu_f32;
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

    /// Whether it can be formed row by row, by [`FactoredGradient::add_row`].
    pub(crate) fn is_sparse(&self) -> bool {
        matches!(self.input, Input::Sparse(_))
    }

    /// Adds the gradient of gene `gene`, columns from `offset` on, to `row`. `d_out` is the content of [`FactoredGradient::d_out`],
    /// with `hidden` columns.
    pub(crate) fn add_row(&self, gene: usize, d_out: &[f32], hidden: usize, offset: usize, row: &mut [f32]) {
        if let Input::Sparse(batch) = &self.input
            && let Some(transposed) = batch.transposed()
        {
            let (cells, values) = transposed.row(gene);
            axpy_rows(row, cells, values, d_out, hidden, offset);
        }
    }

    /// The gradient of the output, [n_rows, hidden].
    pub(crate) fn d_out(&self) -> &Tensor {
        &self.d_out
    }

    /// Adds the product of the factors to `sum`, row-major in the shape of the weight.
    pub(crate) fn add_to(&self, sum: &mut [f32]) -> candle_core::Result<()> {
        match &self.input {
            Input::Sparse(batch) => batch.add_gradient(&self.d_out, sum),
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
