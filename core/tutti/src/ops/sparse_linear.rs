//! First layer on sparse rows: `x W + b` with x in compressed sparse rows.
//!
//! Expression is 87 to 97 % zeros and masking removes more, so that the product costs nnz * hidden instead of cells * genes * hidden.
//! The gradient of W is `xᵀ dy`: one row per gene, gathered from the transposed mini-batch by one thread, without atomics. It can be
//! left unmultiplied ([`FactoredGradient`]), so that the optimiser forms each row and applies it while it is in the cache.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};

use super::chain::{Step, Trained};
use super::factored::{FactoredGradient, GradientSlot};
use super::sparse_batch::SparseBatch;
use super::values::{column_sums, cpu_f32};
use super::written::by_chunks;
use super::{axpy_rows, panels};
use crate::data::Csr;
use crate::error::Result;

/// `x W + b`, [n_rows, hidden], for x [n_rows, n_genes] sparse, W [n_genes, hidden], b \[hidden\], on the CPU.
///
/// With a `slot` the gradient of W goes there as factors and not into candle's gradient store.
///
/// # Errors
/// Shapes that do not fit.
pub fn sparse_linear(x: &Arc<SparseBatch>, weight: &Tensor, bias: &Tensor, slot: Option<&GradientSlot>) -> Result<Tensor> {
    Ok(weight.apply_op2(bias, SparseLinear { x: x.clone(), slot: slot.cloned() })?)
}

/// As [`sparse_linear`], the first layer of a [`Chain`](super::chain::Chain).
///
/// # Errors
/// Shapes that do not fit.
pub fn sparse_linear_step(x: &Arc<SparseBatch>, weight: &Trained, bias: &Trained) -> Result<Step> {
    let op = SparseLinear { x: x.clone(), slot: Some(weight.slot.clone()) };
    let y = weight.tensor.apply_op2_no_bwd(&bias.tensor, &op)?;
    let (to_weight, weight, bias) = (weight.is_tracked(), weight.tensor.detach(), bias.clone());
    Ok(Step::new(y, move |grad| {
        if !to_weight {
            return Ok(None);
        }
        let (_, d_bias) = op.bwd(&weight, &bias.tensor, &weight, grad)?;
        bias.leave(d_bias);
        Ok(None)
    }))
}

/// The plain twin of [`sparse_linear`]: x is made dense on the weight's device.
///
/// # Errors
/// Shapes that do not fit.
pub fn sparse_linear_plain(x: &SparseBatch, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    Ok(x.to_tensor(weight.device())?.matmul(weight)?.broadcast_add(bias)?)
}

struct SparseLinear {
    x: Arc<SparseBatch>,
    slot: Option<GradientSlot>,
}

impl CustomOp2 for SparseLinear {
    fn name(&self) -> &'static str {
        "sparse_linear"
    }

    fn cpu_fwd(
        &self,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (n_genes, hidden) = weight_layout.shape().dims2()?;
        let rows = self.x.rows();
        if n_genes != rows.n_cols() || bias_layout.shape().elem_count() != hidden {
            candle_core::bail!(
                "sparse_linear: {} genes, weight {n_genes} x {hidden}, bias {:?}",
                rows.n_cols(),
                bias_layout.shape()
            );
        }
        let (weight, bias) = (cpu_f32(weight, weight_layout)?, cpu_f32(bias, bias_layout)?);
        let out = if hidden > 0 { forward(rows, weight, bias) } else { Vec::new() };
        Ok((CpuStorage::F32(out), Shape::from((rows.n_rows(), hidden))))
    }

    fn bwd(
        &self,
        _weight: &Tensor,
        _bias: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let d_bias = column_sums(&grad)?;
        let d_weight = match &self.slot {
            Some(slot) => {
                slot.push(FactoredGradient::sparse(self.x.clone(), grad));
                None
            }
            None => Some(dense_gradient(&self.x, &grad)?),
        };
        Ok((d_weight, Some(d_bias)))
    }
}

/// Numbers of W (800 KiB) that are used by all rows before the next ones are: they stay in the second level of the cache, where W as a whole
/// may exceed the third.
const BLOCK: usize = 200 << 10;

fn forward(rows: &Csr, weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let hidden = bias.len();
    if panels::product_pays(rows, hidden) {
        return panels::product(rows, weight, bias);
    }
    let block_genes = (BLOCK / hidden).max(16);
    let n_blocks = rows.n_cols().div_ceil(block_genes).max(1);
    // Every element is summed in the order of its row's columns, so that the size of a chunk changes no bit.
    let chunk_rows = rows.n_rows().div_ceil(rayon::current_num_threads()).clamp(1, 256);
    let (out, _) = by_chunks(rows.n_rows() * hidden, chunk_rows * hidden, |c, out| {
        let mut next = vec![0; out.len() / hidden];
        for block in 1..=n_blocks {
            for ((i, next), out) in next.iter_mut().enumerate().zip(out.chunks_exact_mut(hidden)) {
                if block == 1 {
                    out.copy_from_slice(bias);
                }
                let (columns, values) = rows.row(c * chunk_rows + i);
                let (columns, values) = (&columns[*next..], &values[*next..]);
                let n = columns.partition_point(|gene| (*gene as usize) < block * block_genes);
                axpy_rows(out, &columns[..n], &values[..n], weight);
                *next += n;
            }
        }
    });
    out
}

fn dense_gradient(batch: &Arc<SparseBatch>, d_out: &Tensor) -> candle_core::Result<Tensor> {
    let (n_genes, (_, hidden)) = (batch.rows().n_cols(), d_out.dims2()?);
    let mut out = vec![0f32; n_genes * hidden];
    FactoredGradient::sparse(batch.clone(), d_out.clone()).add_to(&mut out)?;
    Tensor::from_vec(out, (n_genes, hidden), d_out.device())
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::rng::Rng;

    fn random_batch(n_rows: usize, n_genes: usize, density: f64) -> Csr {
        let mut stream = Rng::new(5).stream("rows", 0, 0);
        let mut csr = Csr::empty(n_genes);
        for _ in 0..n_rows {
            let row: Vec<(u32, f32)> =
                (0..n_genes).filter_map(|j| stream.bernoulli(density).then(|| (j as u32, stream.normal() as f32))).collect();
            csr.push_row(row);
        }
        csr
    }

    fn random_tensor(shape: (usize, usize), purpose: &str) -> Tensor {
        let mut stream = Rng::new(6).stream(purpose, 0, 0);
        let values: Vec<f32> = (0..shape.0 * shape.1).map(|_| stream.normal() as f32).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn distance(a: &Tensor, b: &Tensor) -> f32 {
        (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap()
    }

    #[test]
    fn equals_the_plain_twin_forward_and_backward() {
        // The second is large enough for panels of columns.
        [150, 30_000].into_iter().for_each(equals_the_plain_twin);
    }

    fn equals_the_plain_twin(hidden: usize) {
        let x = Arc::new(SparseBatch::with_gradient(random_batch(9, 30, 0.2)));
        let weight = Var::from_tensor(&random_tensor((30, hidden), "w")).unwrap();
        let bias = Var::from_tensor(&random_tensor((1, hidden), "b").flatten_all().unwrap()).unwrap();
        let probe = random_tensor((9, hidden), "probe");

        let ours = sparse_linear(&x, &weight, &bias, None).unwrap();
        let plain = sparse_linear_plain(&x, &weight, &bias).unwrap();
        assert!(distance(&ours, &plain) < 1e-5);

        let gradients = |y: &Tensor| (y * &probe).unwrap().sum_all().unwrap().backward().unwrap();
        let (g_ours, g_plain) = (gradients(&ours), gradients(&plain));
        for var in [&weight, &bias] {
            assert!(distance(g_ours.get(var).unwrap(), g_plain.get(var).unwrap()) < 1e-4);
        }

        let slot = GradientSlot::default();
        let factored = sparse_linear(&x, &weight, &bias, Some(&slot)).unwrap();
        let store = gradients(&factored);
        assert!(store.get(&weight).is_none());
        let left = slot.take();
        assert_eq!(left.len(), 1);
        let product = crate::ops::factored::total(&left, None, weight.shape()).unwrap();
        assert!(distance(&product, g_plain.get(&weight).unwrap()) < 1e-4);
    }

    #[test]
    fn gradient_equals_finite_differences() {
        let x = Arc::new(SparseBatch::with_gradient(random_batch(4, 6, 0.5)));
        let weight = random_tensor((6, 3), "w");
        let bias = random_tensor((1, 3), "b").flatten_all().unwrap();
        let loss = |w: &Tensor| sparse_linear(&x, w, &bias, None).unwrap().sqr().unwrap().sum_all().unwrap();
        let var = Var::from_tensor(&weight).unwrap();
        let gradient: Vec<f32> = loss(&var).backward().unwrap().get(&var).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let base: Vec<f32> = weight.flatten_all().unwrap().to_vec1().unwrap();
        for i in 0..base.len() {
            let at = |step: f32| {
                let mut w = base.clone();
                w[i] += step;
                f64::from(loss(&Tensor::from_vec(w, (6, 3), &Device::Cpu).unwrap()).to_scalar::<f32>().unwrap())
            };
            let numeric = (at(1e-2) - at(-1e-2)) / 2e-2;
            assert!((numeric - f64::from(gradient[i])).abs() < 2e-2 * (1.0 + numeric.abs()), "{i}: {numeric} {}", gradient[i]);
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let x = Arc::new(SparseBatch::with_gradient(random_batch(33, 40, 0.3)));
        let run = |n, hidden| {
            let (weight, bias) = (random_tensor((40, hidden), "w"), random_tensor((1, hidden), "b").flatten_all().unwrap());
            crate::threads::Threads::new(n).unwrap().run(|| {
                let y = sparse_linear(&x, &weight, &bias, None).unwrap();
                let g = dense_gradient(&x, &y).unwrap();
                (y.to_vec2::<f32>().unwrap(), g.to_vec2::<f32>().unwrap())
            })
        };
        for hidden in [200, 8_000] {
            assert_eq!(run(1, hidden), run(2, hidden));
            assert_eq!(run(1, hidden), run(3, hidden));
        }
    }
}
