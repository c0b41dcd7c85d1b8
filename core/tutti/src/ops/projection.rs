//! Regularisation of a projection: value and gradient in few passes over the cells.

use candle_core::Tensor;

use super::known;
use super::matmul::{matmul, plain, transposed};
use super::product::product;
use super::simd::add_row;
use super::values::with_cpu_f32;
use crate::error::Result;

/// Keeps the spread away from zero: cells that all lie on one point must not give an infinite loss.
const LEAST: f32 = 1e-12;

/// See [`crate::loss::projection_regularization`]; `z` [n, m] on the CPU, n at least 2.
pub(crate) fn projection_fused(z: &Tensor, spread: bool) -> Result<Tensor> {
    let shape = z.dims2()?;
    let z = z.contiguous()?;
    let (value, gradient) = with_cpu_f32(&z, |z| value_and_gradient(z, shape, spread))?;
    known::scalar("projection_regularization", &z, value, gradient)
}

/// The plain twin, from stock operations, for any device.
pub(crate) fn projection_plain(z: &Tensor, spread: bool) -> Result<Tensor> {
    let (n, m) = z.dims2()?;
    let centred = z.broadcast_sub(&z.mean_keepdim(0)?)?;
    let dimensions = centred.t()?.contiguous()?; // [m, n]
    let covariance = (product(&dimensions, &dimensions)? / (n - 1) as f64)?; // [m, m]
    let upper: Vec<f32> = (0..m * m).map(|k| f32::from(u8::from(k % m > k / m))).collect();
    let upper = Tensor::from_vec(upper, (m, m), z.device())?;
    let correlated = ((covariance.abs()? * upper)?.sum_all()? / (m * m) as f64)?;
    let small = (z.abs()?.mean_all()? + correlated)?;
    if !spread {
        return Ok(small);
    }
    Ok((small + centred.abs()?.mean_all()?.affine(1.0, f64::from(LEAST))?.recip()?)?)
}

fn value_and_gradient(z: &[f32], (n, m): (usize, usize), spread: bool) -> (f32, Vec<f32>) {
    let mut centred = z.to_vec();
    centre(&mut centred, m);
    let mut covariance = vec![0f32; m * m];
    matmul(&mut covariance, transposed(&centred), plain(&centred), (m, m, n), 1.0 / (n - 1) as f32, false);
    let (mut correlated, mut signs) = (0f64, vec![0f32; m * m]);
    for j in 0..m {
        for k in j + 1..m {
            let c = covariance[j * m + k];
            correlated += f64::from(c.abs());
            (signs[j * m + k], signs[k * m + j]) = (sign(c), sign(c));
        }
    }
    let squared = (m * m) as f64;
    let mut value = mean_absolute(z) + correlated / squared;
    // c_ij is in the covariances of dimension j with all others.
    let mut gradient = vec![0f32; n * m];
    let scale = (1.0 / (squared * (n - 1) as f64)) as f32;
    matmul(&mut gradient, plain(&centred), plain(&signs), (n, m, m), scale, false);
    let one = 1.0 / (n * m) as f32;
    if spread {
        let inverse = 1.0 / (mean_absolute(&centred) + f64::from(LEAST));
        value += inverse;
        let factor = (inverse * inverse) as f32 * one;
        gradient.iter_mut().zip(&centred).for_each(|(g, c)| *g -= factor * sign(*c));
    }
    centre(&mut gradient, m);
    gradient.iter_mut().zip(z).for_each(|(g, z)| *g += one * sign(*z));
    (value as f32, gradient)
}

/// Subtracts the mean of each column of x [n, m].
fn centre(x: &mut [f32], m: usize) {
    let mut mean = vec![0f32; m];
    x.chunks_exact(m).for_each(|row| add_row(&mut mean, row));
    let n = x.len() / m.max(1);
    mean.iter_mut().for_each(|v| *v /= -(n as f32));
    x.chunks_exact_mut(m).for_each(|row| add_row(row, &mean));
}

fn mean_absolute(x: &[f32]) -> f64 {
    // Short runs in single precision, their sums in double.
    x.chunks(256).map(|run| f64::from(run.iter().map(|v| v.abs()).sum::<f32>())).sum::<f64>() / x.len().max(1) as f64
}

fn sign(x: f32) -> f32 {
    f32::from(i8::from(x > 0.0) - i8::from(x < 0.0))
}
