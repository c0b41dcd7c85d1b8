//! Products of all rows of one tensor with all rows of another.

use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};

use super::matmul::{matmul_new, plain, transposed};
use super::values::{cpu_f32, with_cpu_f32};
use crate::error::Result;

/// `a bᵀ`, [n, m], for a [n, d], b [m, d].
///
/// On the CPU it runs on the threads of the current pool, the same bits for any number of them; candle's own product asks the system for the
/// number of processors each time, which takes longer than a product of a mini-batch.
///
/// # Errors
/// Shapes that do not fit.
pub fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if !a.device().is_cpu() {
        return Ok(a.matmul(&b.t()?)?);
    }
    Ok(a.contiguous()?.apply_op2(&b.contiguous()?, Product { track: (a.track_op(), b.track_op()) })?)
}

struct Product {
    /// Which factors have a gradient.
    track: (bool, bool),
}

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "product"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let ((n, d), (m, width)) = (a_layout.shape().dims2()?, b_layout.shape().dims2()?);
        if width != d {
            candle_core::bail!("product: rows of {d} and of {width} values");
        }
        let out = matmul_new(plain(cpu_f32(a, a_layout)?), transposed(cpu_f32(b, b_layout)?), (n, m, d));
        Ok((CpuStorage::F32(out), Shape::from((n, m))))
    }

    fn bwd(&self, a: &Tensor, b: &Tensor, _res: &Tensor, grad: &Tensor) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let ((n, d), (m, _)) = (a.dims2()?, b.dims2()?);
        let of = |other: &Tensor, shape: (usize, usize), inner: usize, flip: bool| {
            let out = with_cpu_f32(&grad, |grad| {
                let grad = if flip { transposed(grad) } else { plain(grad) };
                with_cpu_f32(other, |other| matmul_new(grad, plain(other), (shape.0, shape.1, inner)))
            })??;
            Tensor::from_vec(out, shape, grad.device())
        };
        let first = self.track.0.then(|| of(b, (n, d), m, false)).transpose()?;
        let second = self.track.1.then(|| of(a, (m, d), n, true)).transpose()?;
        Ok((first, second))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::rng::Rng;
    use crate::threads::Threads;

    fn random(shape: (usize, usize), purpose: &str) -> Var {
        let mut stream = Rng::new(3).stream(purpose, 0, 0);
        let values: Vec<f32> = (0..shape.0 * shape.1).map(|_| stream.normal() as f32).collect();
        Var::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn distance(a: &Tensor, b: &Tensor) -> f32 {
        (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap()
    }

    #[test]
    fn equals_the_stock_product_forward_and_backward_for_any_threads() {
        for (n, m, d) in [(1, 1, 1), (70, 300, 33), (5, 2, 64)] {
            let (a, b, probe) = (random((n, d), "a"), random((m, d), "b"), random((n, m), "probe"));
            let gradients = |y: &Tensor| (y * probe.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
            let (ours, stock) = (product(&a, &b).unwrap(), a.matmul(&b.t().unwrap()).unwrap());
            assert!(distance(&ours, &stock) < 1e-4);
            let (ours, stock) = (gradients(&ours), gradients(&stock));
            for var in [&a, &b] {
                assert!(distance(ours.get(var).unwrap(), stock.get(var).unwrap()) < 1e-3);
            }
            let with = |n_threads| {
                Threads::new(n_threads).unwrap().run(|| {
                    let y = product(&a, &b).unwrap();
                    [y.clone(), gradients(&y).get(&b).unwrap().clone()].map(|t| t.to_vec2::<f32>().unwrap())
                })
            };
            assert_eq!(with(1), with(3));
        }
    }

    #[test]
    fn a_factor_without_gradient_gets_none_and_one_used_twice_gets_both() {
        let (a, b) = (random((4, 3), "a"), random((4, 3), "b"));
        let store = product(&a, &b.as_tensor().detach()).unwrap().sum_all().unwrap().backward().unwrap();
        assert!(store.get(&a).is_some() && store.get(&b).is_none());
        let gradient = |y: Tensor| y.sqr().unwrap().sum_all().unwrap().backward().unwrap().get(&a).unwrap().clone();
        let (ours, stock) = (gradient(product(&a, &a).unwrap()), gradient(a.matmul(&a.t().unwrap()).unwrap()));
        assert!(distance(&ours, &stock) < 1e-4);
        assert!(product(&a, &random((4, 2), "b")).unwrap_err().to_string().contains("rows of 3 and of 2"));
    }
}
