//! Functions of single numbers with their derivatives, vectorised, on the threads of the current pool.
//!
//! Candle calls the system's function for each number, and makes several arrays on the way back.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::simd::{self, squared_distances};
use super::values::{cpu_f32, with_cpu_f32};
use super::written::by_chunks;
use crate::error::Result;

/// `log(1 + exp(x))`, of any size.
///
/// # Errors
/// Where the device has no memory left.
pub fn softplus(x: &Tensor) -> Result<Tensor> {
    Function::Softplus.of(x)
}

/// The hyperbolic tangent.
///
/// # Errors
/// Where the device has no memory left.
pub fn tanh(x: &Tensor) -> Result<Tensor> {
    Function::Tanh.of(x)
}

/// `1 / (1 + exp(-x))`.
///
/// # Errors
/// Where the device has no memory left.
pub fn sigmoid(x: &Tensor) -> Result<Tensor> {
    Function::Sigmoid.of(x)
}

/// Mean of `(x - target)²`, of equal shapes.
///
/// # Errors
/// Unequal shapes.
pub fn mean_squared_error(x: &Tensor, target: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() || x.shape() != target.shape() {
        return Ok(candle_nn::loss::mse(x, target)?);
    }
    let op = SquaredError { track: (x.track_op(), target.track_op()) };
    Ok(x.contiguous()?.apply_op2(&target.contiguous()?, op)?)
}

/// Numbers that one task takes; fixed, so that threads change no bit.
const CHUNK: usize = 8192;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Softplus,
    Tanh,
    Sigmoid,
}

impl Function {
    fn of(self, x: &Tensor) -> Result<Tensor> {
        if !x.device().is_cpu() {
            return self.plain(x);
        }
        Ok(x.contiguous()?.apply_op1(self)?)
    }

    /// The plain twin, from stock operations, for any device.
    fn plain(self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            // relu(x) + log(1 + exp(-|x|)), which never overflows.
            Self::Softplus => (x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?)?,
            Self::Tanh => x.tanh()?,
            Self::Sigmoid => candle_nn::ops::sigmoid(x)?,
        })
    }
}

impl CustomOp1 for Function {
    fn name(&self) -> &'static str {
        match self {
            Self::Softplus => "softplus",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
        }
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = cpu_f32(x, layout)?;
        let (y, _) = by_chunks(x.len(), CHUNK, |i, y| {
            let x = &x[i * CHUNK..][..y.len()];
            match self {
                Self::Softplus => simd::softplus(y, x),
                Self::Tanh => simd::tanh(y, x),
                Self::Sigmoid => simd::sigmoid(y, x),
            }
        });
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        // Derivatives of softplus are by its argument, of the others by their value.
        let by = if *self == Self::Softplus { x } else { y };
        let grad = grad.contiguous()?;
        let values = with_cpu_f32(by, |by| {
            with_cpu_f32(&grad, |grad| {
                let task = |i: usize, out: &mut [f32]| {
                    let at = i * CHUNK..i * CHUNK + out.len();
                    let (by, grad) = (&by[at.clone()], &grad[at]);
                    match self {
                        Self::Softplus => simd::softplus_backward(out, by, grad),
                        Self::Tanh => simd::tanh_backward(out, by, grad),
                        Self::Sigmoid => simd::sigmoid_backward(out, by, grad),
                    }
                };
                by_chunks(grad.len(), CHUNK, task).0
            })
        })??;
        Ok(Some(Tensor::from_vec(values, x.shape(), x.device())?))
    }
}

struct SquaredError {
    track: (bool, bool),
}

impl CustomOp2 for SquaredError {
    fn name(&self) -> &'static str {
        "mean_squared_error"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        target: &CpuStorage,
        target_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, target) = (cpu_f32(x, x_layout)?, cpu_f32(target, target_layout)?);
        let chunks = x.par_chunks(CHUNK).zip(target.par_chunks(CHUNK));
        let sums: Vec<f64> = chunks
            .map(|(x, target)| {
                let mut sum = [0.0];
                squared_distances(&mut sum, x, target);
                f64::from(sum[0])
            })
            .collect();
        let mean = sums.iter().sum::<f64>() / x.len().max(1) as f64;
        Ok((CpuStorage::F32(vec![mean as f32]), Shape::from(())))
    }

    fn bwd(
        &self,
        x: &Tensor,
        target: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let scale = 2.0 * grad.to_scalar::<f32>()? / x.elem_count().max(1) as f32;
        let of = |from: &Tensor, to: &Tensor| -> candle_core::Result<Tensor> {
            let values = with_cpu_f32(from, |from| {
                with_cpu_f32(to, |to| {
                    let task = |i: usize, out: &mut [f32]| {
                        let at = i * CHUNK..i * CHUNK + out.len();
                        simd::scaled_difference(out, scale, &from[at.clone()], scale, &to[at]);
                    };
                    by_chunks(from.len(), CHUNK, task).0
                })
            })??;
            Tensor::from_vec(values, from.shape(), from.device())
        };
        let first = self.track.0.then(|| of(x, target)).transpose()?;
        let second = self.track.1.then(|| of(target, x)).transpose()?;
        Ok((first, second))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::rng::Rng;

    fn scalar(x: &Tensor) -> f64 {
        f64::from(x.to_scalar::<f32>().unwrap())
    }

    /// In double precision: value and derivative.
    fn exact(f: Function, x: f64) -> (f64, f64) {
        let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
        match f {
            Function::Softplus => (x.max(0.0) + (-x.abs()).exp().ln_1p(), logistic(x)),
            Function::Tanh => (x.tanh(), 1.0 - x.tanh().powi(2)),
            Function::Sigmoid => (logistic(x), logistic(x) * (1.0 - logistic(x))),
        }
    }

    #[test]
    fn functions_and_derivatives_are_accurate_to_single_precision() {
        let mut x: Vec<f32> = (-4000..=4000).map(|i| i as f32 / 100.0).collect();
        x.extend([0.0, 1e-20, -1e-20, 1e-4, -1e-4, 300.0, -300.0, f32::MAX, f32::MIN]);
        let var = Var::from_slice(&x, x.len(), &Device::Cpu).unwrap();
        for f in [Function::Softplus, Function::Tanh, Function::Sigmoid] {
            let y = f.of(&var).unwrap();
            let gradient =
                (&y * 3.0).unwrap().sum_all().unwrap().backward().unwrap().get(&var).unwrap().to_vec1::<f32>().unwrap();
            for ((x, y), d) in x.iter().zip(y.to_vec1::<f32>().unwrap()).zip(gradient) {
                let (value, slope) = exact(f, f64::from(*x));
                assert!((f64::from(y) - value).abs() <= 4e-7 * value.abs() + 1e-36, "{f:?}({x}) = {y}, exactly {value}");
                assert!((f64::from(d) - 3.0 * slope).abs() <= 1e-6, "{f:?}'({x}) = {d} / 3, exactly {slope}");
            }
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so_and_plain_twins_agree() {
        let x = Tensor::new(&[[f32::NAN, 1.5], [f32::INFINITY, f32::NEG_INFINITY]], &Device::Cpu).unwrap();
        for (f, ends) in
            [(Function::Softplus, [f32::INFINITY, 0.0]), (Function::Tanh, [1.0, -1.0]), (Function::Sigmoid, [1.0, 0.0])]
        {
            let [[nan, y], found] =
                <[_; 2]>::try_from(f.of(&x).unwrap().to_vec2::<f32>().unwrap()).unwrap().map(|r| [r[0], r[1]]);
            let near = found[0] == ends[0] && (found[1] - ends[1]).abs() < 1e-36;
            assert!(nan.is_nan() && near, "{f:?}: {nan} {found:?}");
            let plain = f.plain(&x).unwrap().to_vec2::<f32>().unwrap()[0][1];
            assert!((y - plain).abs() < 1e-6, "{f:?}: {y} {plain}");
        }
    }

    #[test]
    fn squared_errors_equal_the_stock_operations_for_any_number_of_threads() {
        let random = |purpose: &str| {
            let mut stream = Rng::new(5).stream(purpose, 0, 0);
            let values: Vec<f32> = (0..90 * 301).map(|_| stream.normal() as f32).collect();
            Var::from_vec(values, (90, 301), &Device::Cpu).unwrap()
        };
        let (x, target) = (random("x"), random("target"));
        let run = |f: &dyn Fn(&Tensor, &Tensor) -> Tensor| {
            let loss = f(&x, &target);
            let store = (&loss * 5.0).unwrap().backward().unwrap();
            (loss, [&x, &target].map(|v| store.get(v).unwrap().clone()))
        };
        let ours = || run(&|x, target| mean_squared_error(x, target).unwrap());
        let (loss, gradients) = ours();
        let (expected, theirs) = run(&|x, target| candle_nn::loss::mse(x, target).unwrap());
        assert!((scalar(&loss) - scalar(&expected)).abs() < 1e-5);
        for (a, b) in gradients.iter().zip(&theirs) {
            assert!(scalar(&(a - b).unwrap().abs().unwrap().max_all().unwrap()) < 1e-8);
        }
        let with = |n| crate::threads::Threads::new(n).unwrap().run(|| ours().0.to_scalar::<f32>().unwrap().to_bits());
        assert_eq!(with(1), with(2));
        assert!(mean_squared_error(&x, &Tensor::zeros((3, 2), candle_core::DType::F32, &Device::Cpu).unwrap()).is_err());
    }
}
