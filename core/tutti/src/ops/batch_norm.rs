//! Batch normalisation followed by an activation, in few passes over the mini-batch.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::chain::{Step, Trained};
use super::simd::{NormColumns, add_row, add_squares, norm_columns_backward, norm_columns_sums, scale_activate};
use super::values::{cpu_f32, with_cpu_f32};
use super::written::by_chunks;
use crate::error::Result;

/// Added to the variance, as in PyTorch.
pub const EPS: f64 = 1e-5;

/// `gamma (x - mean) / sqrt(variance + 1e-5) + beta` with mean and (biased) variance of each column of x [n, d] (Ioffe and Szegedy 2015,
/// algorithm 1), values below zero times `negative_slope`, on the CPU. Rows are `n_stacked` mini-batches of the same size, one after the
/// other, each with its own statistics. Returns the output, and mean and variance, [n_stacked, d]; gradient flows through these in the
/// output, the returned ones have none.
///
/// # Errors
/// Shapes that do not fit.
pub fn batch_norm_activate(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    negative_slope: f32,
    n_stacked: usize,
) -> Result<(Tensor, Tensor, Tensor)> {
    let op = BatchNorm { slope: negative_slope, n_stacked, statistics: Default::default() };
    let statistics = op.statistics.clone();
    let y = x.contiguous()?.apply_op3(gamma, beta, op)?;
    let [mean, variance] = stacked(&statistics, y.dim(1)?)?;
    Ok((y, mean, variance))
}

/// As [`batch_norm_activate`] in a [`Chain`](super::chain::Chain).
///
/// # Errors
/// Shapes that do not fit.
pub fn batch_norm_step(
    x: &Tensor,
    gamma: &Trained,
    beta: &Trained,
    negative_slope: f32,
    n_stacked: usize,
) -> Result<(Step, Tensor, Tensor)> {
    let op = BatchNorm { slope: negative_slope, n_stacked, statistics: Default::default() };
    let y = x.apply_op3_no_bwd(&gamma.tensor, &beta.tensor, &op)?;
    let [mean, variance] = stacked(&op.statistics, y.dim(1)?)?;
    let (x, gamma, beta) = (x.clone(), gamma.clone(), beta.clone());
    let step = Step::new(y, move |grad| {
        let (d_x, d_gamma, d_beta) = op.bwd(&x, &gamma.tensor, &beta.tensor, &x, grad)?;
        gamma.leave(d_gamma);
        beta.leave(d_beta);
        Ok(d_x)
    });
    Ok((step, mean, variance))
}

/// Mean and variance of all mini-batches, [n_stacked, d] each.
fn stacked(statistics: &Mutex<Vec<Statistics>>, d: usize) -> Result<[Tensor; 2]> {
    let statistics = statistics.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let tensor = |of: fn(&Statistics) -> &[f32]| {
        let values: Vec<f32> = statistics.iter().flat_map(|s| of(s).iter().copied()).collect();
        Tensor::from_vec(values, (statistics.len(), d), &candle_core::Device::Cpu)
    };
    Ok([tensor(|s| &s.mean)?, tensor(|s| &s.variance)?])
}

/// The plain twin of [`batch_norm_activate`], for any device.
///
/// # Errors
/// Shapes that do not fit.
pub fn batch_norm_activate_plain(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    slope: f32,
    n_stacked: usize,
) -> Result<(Tensor, Tensor, Tensor)> {
    let (n, d) = x.dims2()?;
    let x = x.reshape((n_stacked, n / n_stacked, d))?;
    let mean = x.mean_keepdim(1)?;
    let centred = x.broadcast_sub(&mean)?;
    let variance = centred.sqr()?.mean_keepdim(1)?;
    let y = centred.broadcast_div(&(&variance + EPS)?.sqrt()?)?.broadcast_mul(gamma)?.broadcast_add(beta)?;
    let y = (y.relu()? - (y.neg()?.relu()? * f64::from(slope))?)?;
    Ok((y.reshape((n, d))?, mean.squeeze(1)?.detach(), variance.squeeze(1)?.detach()))
}

#[derive(Debug, Clone, Default)]
struct Statistics {
    mean: Vec<f32>,
    variance: Vec<f32>,
}

struct BatchNorm {
    slope: f32,
    n_stacked: usize,
    /// Of each mini-batch, left by the forward pass.
    statistics: Arc<Mutex<Vec<Statistics>>>,
}

/// Rows whose sums are formed together; fixed, so that threads change no bit.
const ROW_CHUNK: usize = 32;

impl CustomOp3 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm_activate"
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
        if gamma.len() != d || beta.len() != d || d == 0 || n == 0 || n % self.n_stacked != 0 {
            let (g, b) = (gamma.len(), beta.len());
            candle_core::bail!("batch_norm: {} mini-batches of {n} cells, {d} features, gamma {g}, beta {b}", self.n_stacked);
        }
        let each = n / self.n_stacked;
        let statistics: Vec<Statistics> = x.par_chunks(each * d).map(|x| Statistics::of(x, d)).collect();
        let affine = |s: &Statistics| {
            let scale: Vec<f32> = s.variance.iter().zip(gamma).map(|(v, g)| g * rstd(*v)).collect();
            let shift = s.mean.iter().zip(&scale).zip(beta).map(|((m, s), b)| b - m * s).collect();
            (scale, shift)
        };
        let affine: Vec<(Vec<f32>, Vec<f32>)> = statistics.iter().map(affine).collect();
        let (out, _) = by_chunks(n * d, d * ROW_CHUNK, |c, out| {
            for (i, out) in out.chunks_exact_mut(d).enumerate() {
                let i = c * ROW_CHUNK + i;
                let (scale, shift) = &affine[i / each];
                scale_activate(out, &x[i * d..(i + 1) * d], scale, shift, self.slope);
            }
        });
        *self.statistics.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = statistics;
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
        let statistics = self.statistics.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let each = n / self.n_stacked;
        let (dx, [dgamma, dbeta]) = with_cpu_f32(x, |x| {
            with_cpu_f32(gamma, |gamma| {
                with_cpu_f32(beta, |beta| {
                    with_cpu_f32(&grad, |dy| {
                        Backward { gamma, beta, statistics: &statistics, each, slope: self.slope }.run(x, dy)
                    })
                })
            })
        })????;
        let device = x.device();
        Ok((
            Some(Tensor::from_vec(dx, (n, d), device)?),
            Some(Tensor::from_vec(dgamma, d, device)?),
            Some(Tensor::from_vec(dbeta, d, device)?),
        ))
    }
}

impl Statistics {
    /// Of one mini-batch.
    fn of(x: &[f32], d: usize) -> Self {
        let n = (x.len() / d) as f32;
        let [mut mean] = column_sums(x, d, |row, [sum]| add_row(sum, row));
        mean.iter_mut().for_each(|m| *m /= n);
        let [mut variance] = column_sums(x, d, |row, [sum]| add_squares(sum, row, &mean));
        variance.iter_mut().for_each(|v| *v /= n);
        Self { mean, variance }
    }
}

struct Backward<'a> {
    gamma: &'a [f32],
    beta: &'a [f32],
    /// By mini-batch.
    statistics: &'a [Statistics],
    /// Rows of a mini-batch.
    each: usize,
    slope: f32,
}

/// What the gradient of every row of a mini-batch needs.
struct Means {
    rstd: Vec<f32>,
    scale: Vec<f32>,
    sums: [Vec<f32>; 2],
    mean_g: Vec<f32>,
    mean_g_normed: Vec<f32>,
}

impl Backward<'_> {
    /// Gradients of x, and of gamma and beta. With x̂ the normalised values and g their output's gradient behind the activation,
    /// dx = gamma / sd (g - mean g - x̂ mean (g x̂)), the means over the cells of the mini-batch.
    fn run(&self, x: &[f32], dy: &[f32]) -> (Vec<f32>, [Vec<f32>; 2]) {
        let d = self.gamma.len();
        let each = self.each * d;
        let parts = x.par_chunks(each).zip(dy.par_chunks(each)).zip(self.statistics);
        let means: Vec<Means> = parts.map(|((x, dy), statistics)| self.means(x, dy, statistics)).collect();
        let (dx, _) = by_chunks(x.len(), d * ROW_CHUNK, |c, dx| {
            for (i, dx) in dx.chunks_exact_mut(d).enumerate() {
                let i = c * ROW_CHUNK + i;
                let (row, m) = (i * d..(i + 1) * d, &means[i / self.each]);
                let columns = self.columns(&self.statistics[i / self.each], &m.rstd);
                norm_columns_backward(dx, &x[row.clone()], &dy[row], columns, &m.scale, &m.mean_g, &m.mean_g_normed);
            }
        });
        (dx, total(means.into_iter().map(|m| m.sums).collect(), d))
    }

    fn means(&self, x: &[f32], dy: &[f32], statistics: &Statistics) -> Means {
        let (d, n) = (self.gamma.len(), self.each as f32);
        let rstd: Vec<f32> = statistics.variance.iter().map(|v| rstd(*v)).collect();
        let columns = self.columns(statistics, &rstd);
        let rows = x.par_chunks(d * ROW_CHUNK).zip(dy.par_chunks(d * ROW_CHUNK));
        let chunk = |(x, dy): (&[f32], &[f32])| {
            let [mut dgamma, mut dbeta] = [vec![0f32; d], vec![0f32; d]];
            let rows = x.chunks_exact(d).zip(dy.chunks_exact(d));
            rows.for_each(|(x, dy)| norm_columns_sums(&mut dgamma, &mut dbeta, x, dy, columns));
            [dgamma, dbeta]
        };
        let sums = total(rows.map(chunk).collect(), d);
        let [mean_g_normed, mean_g] = [0, 1].map(|k| sums[k].iter().map(|sum| sum / n).collect());
        let scale = self.gamma.iter().zip(&rstd).map(|(gamma, rstd)| gamma * rstd).collect();
        Means { rstd, scale, sums, mean_g, mean_g_normed }
    }

    fn columns<'b>(&'b self, statistics: &'b Statistics, rstd: &'b [f32]) -> NormColumns<'b> {
        NormColumns { mean: &statistics.mean, rstd, gamma: self.gamma, beta: self.beta, slope: self.slope }
    }
}

fn rstd(variance: f32) -> f32 {
    1.0 / (variance + EPS as f32).sqrt()
}

/// Sums over the rows of x, each row added by `add`, in chunks and then in their order.
fn column_sums<const K: usize>(x: &[f32], d: usize, add: impl Fn(&[f32], &mut [Vec<f32>; K]) + Sync) -> [Vec<f32>; K] {
    let parts: Vec<[Vec<f32>; K]> = x
        .par_chunks(d * ROW_CHUNK)
        .map(|x| {
            let mut sums = std::array::from_fn(|_| vec![0f32; d]);
            x.chunks_exact(d).for_each(|row| add(row, &mut sums));
            sums
        })
        .collect();
    total(parts, d)
}

fn total<const K: usize>(parts: Vec<[Vec<f32>; K]>, d: usize) -> [Vec<f32>; K] {
    let mut sums: [Vec<f32>; K] = std::array::from_fn(|_| vec![0f32; d]);
    for part in parts {
        for (sums, part) in sums.iter_mut().zip(part) {
            sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::rng::Rng;
    use crate::threads::Threads;

    fn random(shape: &[usize], purpose: &str) -> Var {
        let mut stream = Rng::new(9).stream(purpose, 0, 0);
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| stream.normal() as f32).collect();
        Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
    }

    fn distance(a: &Tensor, b: &Tensor) -> f32 {
        (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap()
    }

    #[test]
    fn equals_the_plain_twin_forward_and_backward_for_any_threads() {
        for (n, d, slope, stacked) in [(3, 5, 0.0, 1), (70, 40, 0.1, 1), (33, 7, 1.0, 1), (120, 6, 0.1, 3)] {
            let (x, gamma, beta, probe) = (random(&[n, d], "x"), random(&[d], "g"), random(&[d], "b"), random(&[n, d], "p"));
            let ours = batch_norm_activate(&x, &gamma, &beta, slope, stacked).unwrap();
            let plain = batch_norm_activate_plain(&x, &gamma, &beta, slope, stacked).unwrap();
            assert!(
                distance(&ours.0, &plain.0) < 1e-5 && distance(&ours.1, &plain.1) < 1e-6 && distance(&ours.2, &plain.2) < 1e-5
            );
            let gradients = |y: &Tensor| (y * probe.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
            let (a, b) = (gradients(&ours.0), gradients(&plain.0));
            for var in [&x, &gamma, &beta] {
                let d = distance(a.get(var).unwrap(), b.get(var).unwrap());
                assert!(d < 2e-4, "gradients differ by {d}");
            }
            let with = |n_threads| {
                Threads::new(n_threads).unwrap().run(|| {
                    let y = batch_norm_activate(&x, &gamma, &beta, slope, stacked).unwrap().0;
                    gradients(&y).get(&x).unwrap().to_vec2::<f32>().unwrap()
                })
            };
            assert_eq!(with(1), with(3));
        }
    }

    #[test]
    fn gradient_equals_finite_differences() {
        let (x, gamma, beta, probe) = (random(&[4, 3], "x"), random(&[3], "g"), random(&[3], "b"), random(&[4, 3], "p"));
        let loss = |x: &Tensor| {
            (batch_norm_activate(x, &gamma, &beta, 0.0, 1).unwrap().0 * probe.as_tensor()).unwrap().sum_all().unwrap()
        };
        let gradient: Vec<f32> = loss(&x).backward().unwrap().get(&x).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let base: Vec<f32> = x.flatten_all().unwrap().to_vec1().unwrap();
        for i in 0..base.len() {
            let at = |step: f32| {
                let mut values = base.clone();
                values[i] += step;
                f64::from(loss(&Tensor::from_vec(values, (4, 3), &Device::Cpu).unwrap()).to_scalar::<f32>().unwrap())
            };
            let numeric = (at(1e-3) - at(-1e-3)) / 2e-3;
            assert!((numeric - f64::from(gradient[i])).abs() < 1e-2 * (1.0 + numeric.abs()), "{i}: {numeric} {}", gradient[i]);
        }
    }
}
