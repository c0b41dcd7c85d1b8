//! Regularisation of a low-dimensional projection.

use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::ops::product::product;

/// Keeps a projection `z` [n, m] of the cells of one domain small, its dimensions uncorrelated and its cells apart (scJoint, Lin et al. 2022,
/// stage 1; CellPredX, eq. 1): mean |z| + the strict upper triangle of the covariance (n - 1), absolute values summed and divided by m² +
/// 1 / mean |z - mean of its dimension|. The last term is left out where `spread` is false: then nothing keeps the cells apart. Returns a scalar.
///
/// # Errors
/// Fewer than two cells.
pub fn projection_regularization(z: &Tensor, spread: bool) -> Result<Tensor> {
    let (n, m) = z.dims2()?;
    if n < 2 {
        return Err(Error::argument("projection_regularization", format!("got {n} cells"), "a domain needs two at least"));
    }
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
    // Cells that all lie on one point must not give an infinite loss.
    Ok((small + centred.abs()?.mean_all()?.affine(1.0, 1e-12)?.recip()?)?)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::rng::Rng;

    fn by_loops(z: &[f64], n: usize, m: usize, spread: bool) -> f64 {
        let mean: Vec<f64> = (0..m).map(|j| (0..n).map(|i| z[i * m + j]).sum::<f64>() / n as f64).collect();
        let c = |i: usize, j: usize| z[i * m + j] - mean[j];
        let size = z.iter().map(|v| v.abs()).sum::<f64>() / (n * m) as f64;
        let mut correlated = 0.0;
        for j in 0..m {
            for k in j + 1..m {
                correlated += ((0..n).map(|i| c(i, j) * c(i, k)).sum::<f64>() / (n - 1) as f64).abs();
            }
        }
        let apart = (0..n * m).map(|k| c(k / m, k % m).abs()).sum::<f64>() / (n * m) as f64;
        size + correlated / (m * m) as f64 + if spread { 1.0 / apart } else { 0.0 }
    }

    #[test]
    fn value_and_gradient_equal_the_formula() {
        let (n, m) = (5, 3);
        let mut stream = Rng::new(2).stream("z", 0, 0);
        let z: Vec<f64> = (0..n * m).map(|_| stream.normal()).collect();
        let var = Var::from_vec(z.iter().map(|v| *v as f32).collect::<Vec<_>>(), (n, m), &Device::Cpu).unwrap();
        for spread in [true, false] {
            let loss = projection_regularization(&var, spread).unwrap();
            assert!((f64::from(loss.to_scalar::<f32>().unwrap()) - by_loops(&z, n, m, spread)).abs() < 1e-5);
            let gradient: Vec<f32> = loss.backward().unwrap().get(&var).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            for (i, ours) in gradient.iter().enumerate() {
                let at = |step: f64| {
                    let mut z = z.clone();
                    z[i] += step;
                    by_loops(&z, n, m, spread)
                };
                let numeric = (at(1e-6) - at(-1e-6)) / 2e-6;
                assert!((numeric - f64::from(*ours)).abs() < 1e-4 * (1.0 + numeric.abs()), "{numeric} {ours}");
            }
        }
    }

    #[test]
    fn cells_on_one_point_give_a_finite_loss_and_one_cell_is_refused() {
        let zeros = |n: usize| Tensor::zeros((n, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
        let loss = projection_regularization(&zeros(4), true).unwrap();
        assert!(loss.to_scalar::<f32>().unwrap().is_finite());
        assert!(projection_regularization(&zeros(1), true).is_err());
    }
}
