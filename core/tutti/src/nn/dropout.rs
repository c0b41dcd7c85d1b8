//! Dropout with keyed randomness.

use candle_core::Tensor;

use super::{Draws, Pass};
use crate::error::Result;
use crate::ops::chain::{Chain, scale_step};

/// Sets each value to zero with probability `p` and scales the others by 1 / (1 - p) (Srivastava et al. 2014). The identity outside of
/// training and for p = 0. `name` keys the draws, so that every layer has its own.
///
/// # Errors
/// Where the device has no memory left.
pub fn dropout(x: &Tensor, p: f64, pass: Pass<'_>, name: &str) -> Result<Tensor> {
    match pass.draws.filter(|_| p > 0.0) {
        Some(draws) => Ok((x * mask(x, p, draws, pass.index, name)?)?),
        None => Ok(x.clone()),
    }
}

/// As [`dropout`] in a chain.
///
/// # Errors
/// Where the device has no memory left.
pub(super) fn pass_dropout(chain: &mut Chain, p: f64, pass: Pass<'_>, name: &str) -> Result<()> {
    match pass.draws.filter(|_| p > 0.0) {
        Some(draws) => chain.then(None, |x, _| scale_step(x, mask(x, p, draws, pass.index, name)?)),
        None => Ok(()),
    }
}

/// What multiplies x.
fn mask(x: &Tensor, p: f64, draws: &Draws, index: u64, name: &str) -> Result<Tensor> {
    let mut stream = draws.stream(&format!("dropout {name} {index}"));
    let keep = 1.0 / (1.0 - p) as f32;
    let mask: Vec<f32> = (0..x.elem_count()).map(|_| if stream.bernoulli(p) { 0.0 } else { keep }).collect();
    Ok(Tensor::from_vec(mask, x.shape(), x.device())?)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::nn::Draws;
    use crate::rng::Rng;

    #[test]
    fn keeps_the_mean_and_drops_the_share_asked_for() {
        let x = Tensor::ones((100, 100), DType::F32, &Device::Cpu).unwrap();
        let draws = Draws::new(Rng::new(1), 1, 1);
        let y = dropout(&x, 0.3, Pass::train(&draws, 0), "a").unwrap();
        let values: Vec<f32> = y.flatten_all().unwrap().to_vec1().unwrap();
        let zeros = values.iter().filter(|v| **v == 0.0).count();
        assert!((2800..3200).contains(&zeros), "{zeros} of 10000 dropped");
        assert!(values.iter().all(|v| *v == 0.0 || (v - 1.0 / 0.7).abs() < 1e-6));
        let same = dropout(&x, 0.3, Pass::EVAL, "a").unwrap();
        assert_eq!(same.sum_all().unwrap().to_scalar::<f32>().unwrap(), 10_000.0);
    }
}
