//! Layer normalisation followed by a leaky ReLU, in one pass over each row.
//!
//! candle's own fused layer norm has no backward pass (it silently gives no gradient), hence this one.

use candle_core::{CpuStorage, CustomOp3, D, Layout, Shape, Tensor};

use super::chain::{Step, Trained};
use super::simd::{moments, norm_activate, norm_activate_backward};
use super::values::{cpu_f32, with_cpu_f32};
use super::written::by_chunks;
use crate::error::Result;

/// Added to the variance, as in PyTorch.
pub const EPS: f64 = 1e-5;

/// `leaky_relu(gamma * (x - mean) / sqrt(variance + 1e-5) + beta)` per row of x [n, d] (Ba et al. 2016, eq. 4), on the CPU.
/// `negative_slope` 1 leaves the activation out.
///
/// # Errors
/// Shapes that do not fit.
pub fn layer_norm_leaky_relu(x: &Tensor, gamma: &Tensor, beta: &Tensor, negative_slope: f32) -> Result<Tensor> {
    Ok(x.contiguous()?.apply_op3(gamma, beta, LayerNorm { slope: negative_slope })?)
}

/// As [`layer_norm_leaky_relu`] in a [`Chain`](super::chain::Chain).
///
/// # Errors
/// Shapes that do not fit.
pub fn layer_norm_step(x: &Tensor, gamma: &Trained, beta: &Trained, negative_slope: f32) -> Result<Step> {
    let op = LayerNorm { slope: negative_slope };
    let y = x.apply_op3_no_bwd(&gamma.tensor, &beta.tensor, &op)?;
    let (x, gamma, beta) = (x.clone(), gamma.clone(), beta.clone());
    Ok(Step::new(y, move |grad| {
        let (d_x, d_gamma, d_beta) = op.bwd(&x, &gamma.tensor, &beta.tensor, &x, grad)?;
        gamma.leave(d_gamma);
        beta.leave(d_beta);
        Ok(d_x)
    }))
}

/// The plain twin of [`layer_norm_leaky_relu`], for any device.
///
/// # Errors
/// Shapes that do not fit.
pub fn layer_norm_leaky_relu_plain(x: &Tensor, gamma: &Tensor, beta: &Tensor, negative_slope: f32) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let normed = centred.broadcast_div(&(variance + EPS)?.sqrt()?)?;
    let y = normed.broadcast_mul(gamma)?.broadcast_add(beta)?;
    Ok(candle_nn::ops::leaky_relu(&y, f64::from(negative_slope))?)
}

struct LayerNorm {
    slope: f32,
}

/// Rows whose parameter gradients are summed together; fixed, so that threads change no bit.
const ROW_CHUNK: usize = 32;

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm_leaky_relu"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gamma: &CpuStorage,
        gamma_layout: &Layout,
        beta: &CpuStorage,
        beta_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (n, d) = x_layout.shape().dims2()?;
        let (x, gamma, beta) = (cpu_f32(x, x_layout)?, cpu_f32(gamma, gamma_layout)?, cpu_f32(beta, beta_layout)?);
        if gamma.len() != d || beta.len() != d || d == 0 {
            candle_core::bail!("layer_norm: {d} features, gamma {}, beta {}", gamma.len(), beta.len());
        }
        let (out, _) = by_chunks(n * d, d * ROW_CHUNK, |c, out| {
            for (out, x) in out.chunks_exact_mut(d).zip(x[c * d * ROW_CHUNK..].chunks_exact(d)) {
                let (mean, rstd) = moments(x, EPS as f32);
                norm_activate(out, x, gamma, beta, mean, rstd, self.slope);
            }
        });
        Ok((CpuStorage::F32(out), Shape::from((n, d))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (n, d) = x.dims2()?;
        let grad = grad.contiguous()?;
        let (dx, parts) = with_cpu_f32(x, |x| {
            with_cpu_f32(gamma, |gamma| {
                with_cpu_f32(beta, |beta| with_cpu_f32(&grad, |dy| backward(x, gamma, beta, dy, self.slope)))
            })
        })????;
        let (mut dgamma, mut dbeta) = (vec![0f32; d], vec![0f32; d]);
        for [part_gamma, part_beta] in parts {
            add_assign(&mut dgamma, &part_gamma);
            add_assign(&mut dbeta, &part_beta);
        }
        let device = x.device();
        Ok((
            Some(Tensor::from_vec(dx, (n, d), device)?),
            Some(Tensor::from_vec(dgamma, d, device)?),
            Some(Tensor::from_vec(dbeta, d, device)?),
        ))
    }
}

/// The gradient of x, and those of gamma and beta per chunk of rows, in order.
fn backward(x: &[f32], gamma: &[f32], beta: &[f32], dy: &[f32], slope: f32) -> (Vec<f32>, Vec<[Vec<f32>; 2]>) {
    let d = gamma.len();
    let chunk = d * ROW_CHUNK;
    by_chunks(x.len(), chunk, |c, dx| {
        let (x, dy) = (&x[c * chunk..], &dy[c * chunk..]);
        let (mut dgamma, mut dbeta) = (vec![0f32; d], vec![0f32; d]);
        for (dx, (x, dy)) in dx.chunks_exact_mut(d).zip(x.chunks_exact(d).zip(dy.chunks_exact(d))) {
            let (mean, rstd) = moments(x, EPS as f32);
            norm_activate_backward(dx, &mut dgamma, &mut dbeta, x, gamma, beta, dy, mean, rstd, slope);
        }
        [dgamma, dbeta]
    })
}

fn add_assign(sum: &mut [f32], part: &[f32]) {
    for (sum, part) in sum.iter_mut().zip(part) {
        *sum += part;
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::rng::Rng;

    fn random(shape: &[usize], purpose: &str) -> Var {
        let mut stream = Rng::new(9).stream(purpose, 0, 0);
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| stream.normal() as f32).collect();
        Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
    }

    #[test]
    fn equals_the_plain_twin_forward_and_backward() {
        for (n, d) in [(3, 5), (70, 40)] {
            let (x, gamma, beta, probe) = (random(&[n, d], "x"), random(&[d], "g"), random(&[d], "b"), random(&[n, d], "p"));
            let ours = layer_norm_leaky_relu(&x, &gamma, &beta, 0.1).unwrap();
            let plain = layer_norm_leaky_relu_plain(&x, &gamma, &beta, 0.1).unwrap();
            let distance =
                |a: &Tensor, b: &Tensor| (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(distance(&ours, &plain) < 1e-5);
            let gradients = |y: &Tensor| (y * probe.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
            let (a, b) = (gradients(&ours), gradients(&plain));
            for var in [&x, &gamma, &beta] {
                let d = distance(a.get(var).unwrap(), b.get(var).unwrap());
                assert!(d < 2e-4, "gradients differ by {d}");
            }
        }
    }

    #[test]
    fn gradient_equals_finite_differences() {
        let (x, gamma, beta, probe) = (random(&[2, 6], "x"), random(&[6], "g"), random(&[6], "b"), random(&[2, 6], "p"));
        let loss = |x: &Tensor| {
            let y = layer_norm_leaky_relu(x, &gamma, &beta, 0.1).unwrap();
            (y * probe.as_tensor()).unwrap().sum_all().unwrap()
        };
        let gradient: Vec<f32> = loss(&x).backward().unwrap().get(&x).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let base: Vec<f32> = x.flatten_all().unwrap().to_vec1().unwrap();
        for i in 0..base.len() {
            let at = |step: f32| {
                let mut values = base.clone();
                values[i] += step;
                f64::from(loss(&Tensor::from_vec(values, (2, 6), &Device::Cpu).unwrap()).to_scalar::<f32>().unwrap())
            };
            let numeric = (at(1e-3) - at(-1e-3)) / 2e-3;
            assert!((numeric - f64::from(gradient[i])).abs() < 1e-2 * (1.0 + numeric.abs()), "{i}: {numeric} {}", gradient[i]);
        }
    }
}
