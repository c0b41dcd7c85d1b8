//! Regularisation of a low-dimensional projection.

use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::ops::projection::{projection_fused, projection_plain};

/// Keeps a projection `z` [n, m] of the cells of one domain small, its dimensions uncorrelated and its cells apart (scJoint, Lin et al. 2022,
/// stage 1; CellPredX, eq. 1): mean |z| + the strict upper triangle of the covariance (n - 1), absolute values summed and divided by m² +
/// 1 / mean |z - mean of its dimension|. The last term is left out where `spread` is false: then nothing keeps the cells apart. Returns a scalar.
///
/// # Errors
/// Fewer than two cells.
pub fn projection_regularization(z: &Tensor, spread: bool) -> Result<Tensor> {
    let (n, m) = z.dims2()?;
    if n < 2 || m == 0 {
        return Err(Error::argument(
            "projection_regularization",
            format!("got {n} cells in {m} dimensions"),
            "a domain needs two cells at least, and one dimension",
        ));
    }
    if z.device().is_cpu() { projection_fused(z, spread) } else { projection_plain(z, spread) }
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
        for (spread, plain) in [(true, false), (false, false), (true, true), (false, true)] {
            let loss = if plain { projection_plain(&var, spread) } else { projection_regularization(&var, spread) }.unwrap();
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
