//! A linear layer on dense input, with the gradient of its weight left as factors.

use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor};

use super::chain::{Step, Trained};
use super::factored::{FactoredGradient, GradientSlot};
use super::matmul::{matmul_new, matmul_parallel, plain, transposed};
use super::values::{column_sums, cpu_f32, with_cpu_f32};
use super::written::by_chunks;
use crate::error::Result;

/// `x Wᵀ + b`, [n, n_out], for x [n, n_in], W [n_out, n_in], b \[n_out\], on the CPU.
///
/// With a `slot` the gradient of W goes there as factors and not into candle's gradient store.
///
/// # Errors
/// Shapes that do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor, slot: Option<&GradientSlot>) -> Result<Tensor> {
    let op = Linear { slot: slot.cloned(), to_input: x.track_op(), to_weight: weight.track_op() };
    Ok(x.contiguous()?.apply_op3(&weight.contiguous()?, bias, op)?)
}

/// As [`linear`] in a [`Chain`](super::chain::Chain); `to_input` where the gradient of x is wanted.
///
/// # Errors
/// Shapes that do not fit.
pub fn linear_step(x: &Tensor, weight: &Trained, bias: &Trained, to_input: bool) -> Result<Step> {
    let op = Linear { slot: Some(weight.slot.clone()), to_input, to_weight: weight.is_tracked() };
    let y = x.apply_op3_no_bwd(&weight.tensor, &bias.tensor, &op)?;
    let (x, weight, bias) = (x.clone(), weight.tensor.detach(), bias.clone());
    Ok(Step::new(y, move |grad| {
        let (d_x, _, d_bias) = op.bwd(&x, &weight, &bias.tensor, &x, grad)?;
        bias.leave(d_bias);
        Ok(d_x)
    }))
}

struct Linear {
    slot: Option<GradientSlot>,
    /// Whether the input and the weight have a gradient at all.
    to_input: bool,
    to_weight: bool,
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let ((n, n_in), (n_out, width)) = (x_layout.shape().dims2()?, weight_layout.shape().dims2()?);
        if width != n_in || bias_layout.shape().elem_count() != n_out {
            candle_core::bail!("linear: {n_in} features, weight {n_out} x {width}, bias {:?}", bias_layout.shape());
        }
        let (x, weight, bias) = (cpu_f32(x, x_layout)?, cpu_f32(weight, weight_layout)?, cpu_f32(bias, bias_layout)?);
        let (mut out, _) = by_chunks(n * n_out, 64 * n_out, |_, rows| {
            rows.chunks_exact_mut(n_out).for_each(|row| row.copy_from_slice(bias));
        });
        matmul_parallel(&mut out, plain(x), transposed(weight), (n, n_out, n_in), 1.0, true);
        Ok((CpuStorage::F32(out), Shape::from((n, n_out))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _bias: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let ((n, n_out), (_, n_in)) = (grad.dims2()?, x.dims2()?);
        let d_x = self.to_input.then(|| {
            let out = with_cpu_f32(&grad, |grad| {
                with_cpu_f32(weight, |weight| matmul_new(plain(grad), plain(weight), (n, n_in, n_out)))
            })??;
            Tensor::from_vec(out, (n, n_in), grad.device())
        });
        let d_bias = column_sums(&grad)?;
        let d_weight = match (&self.slot, self.to_weight) {
            (_, false) => None,
            (Some(slot), true) => {
                slot.push(FactoredGradient::dense(x.detach(), grad));
                None
            }
            (None, true) => {
                let mut out = vec![0f32; n_out * n_in];
                FactoredGradient::dense(x.detach(), grad.clone()).add_to(&mut out)?;
                Some(Tensor::from_vec(out, (n_out, n_in), grad.device())?)
            }
        };
        Ok((d_x.transpose()?, d_weight, Some(d_bias)))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Module, Var};

    use super::*;
    use crate::rng::Rng;
    use crate::threads::Threads;

    fn random(shape: &[usize], purpose: &str) -> Var {
        let mut stream = Rng::new(4).stream(purpose, 0, 0);
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| stream.normal() as f32).collect();
        Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
    }

    fn distance(a: &Tensor, b: &Tensor) -> f32 {
        (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap()
    }

    #[test]
    fn equals_the_stock_layer_forward_and_backward_for_any_threads() {
        for (n, n_in, n_out) in [(1, 3, 2), (70, 300, 150), (300, 20, 5)] {
            let (x, weight, bias) = (random(&[n, n_in], "x"), random(&[n_out, n_in], "w"), random(&[n_out], "b"));
            let probe = random(&[n, n_out], "probe");
            let gradients = |y: &Tensor| (y * probe.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
            let stock = candle_nn::Linear::new(weight.as_tensor().clone(), Some(bias.as_tensor().clone())).forward(&x).unwrap();
            let stock_gradients = gradients(&stock);
            let ours = linear(&x, &weight, &bias, None).unwrap();
            assert!(distance(&ours, &stock) < 1e-4);
            let store = gradients(&ours);
            for var in [&x, &weight, &bias] {
                assert!(distance(store.get(var).unwrap(), stock_gradients.get(var).unwrap()) < 1e-3);
            }
            let slot = GradientSlot::default();
            let twice =
                (linear(&x, &weight, &bias, Some(&slot)).unwrap() + linear(&x, &weight, &bias, Some(&slot)).unwrap()).unwrap();
            assert!(gradients(&twice).get(&weight).is_none());
            let left = slot.take();
            assert_eq!(left.len(), 2);
            let twofold = super::super::factored::total(&left, None, weight.shape()).unwrap();
            assert!(distance(&twofold, &(stock_gradients.get(&weight).unwrap() * 2.0).unwrap()) < 2e-3);
            let with = |n_threads| {
                Threads::new(n_threads).unwrap().run(|| {
                    let y = linear(&x, &weight, &bias, None).unwrap();
                    let store = gradients(&y);
                    [y, store.get(&x).unwrap().clone(), store.get(&weight).unwrap().clone()].map(|t| t.to_vec2::<f32>().unwrap())
                })
            };
            assert_eq!(with(1), with(3));
        }
    }

    #[test]
    fn what_has_no_gradient_gets_none() {
        let (x, weight, bias) = (random(&[4, 3], "x"), random(&[2, 3], "w"), random(&[2], "b"));
        let slot = GradientSlot::default();
        let y = linear(&x, &weight.as_tensor().detach(), &bias.as_tensor().detach(), Some(&slot)).unwrap();
        let store = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        assert!(store.get(&x).is_some() && store.get(&weight).is_none() && slot.take().is_empty());
        let y = linear(&x.as_tensor().detach(), &weight, &bias, Some(&slot)).unwrap();
        let store = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        assert!(store.get(&x).is_none() && store.get(&bias).is_some() && slot.take().len() == 1);
        assert!(linear(&x, &bias.as_tensor().unsqueeze(0).unwrap(), &bias, None).is_err());
    }
}
