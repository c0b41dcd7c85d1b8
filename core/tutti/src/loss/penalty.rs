//! Penalties on learned weights.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// Norm that is penalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Penalty {
    /// Sum of absolute values over the number of genes.
    #[default]
    L1,
    /// Euclidean length over the root of the number of genes.
    L2,
}

/// Penalty on gene weights \[n_genes\], a scalar independent of the number of genes.
///
/// # Errors
/// For weights that are no vector.
pub fn importance_penalty(weights: &Tensor, penalty: Penalty) -> Result<Tensor> {
    Ok(match penalty {
        Penalty::L1 => weights.abs()?.mean_all()?,
        Penalty::L2 => weights.sqr()?.mean_all()?.sqrt()?,
    })
}

/// Sum over tensors of the mean absolute value of their entries, a scalar: an L1 penalty on weights that does not grow with their size
/// (CellPredX, published code). `None` for no tensors.
///
/// # Errors
/// Where the device fails.
pub fn mean_absolute<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Result<Option<Tensor>> {
    let mut total: Option<Tensor> = None;
    for tensor in tensors {
        let mean = tensor.abs()?.mean_all()?;
        total = Some(match total {
            Some(sum) => (sum + mean)?,
            None => mean,
        });
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn equals_the_norms() {
        let w = Tensor::new(&[3.0f32, -4.0, 0.0, 0.0], &Device::Cpu).unwrap();
        let value = |p| importance_penalty(&w, p).unwrap().to_scalar::<f32>().unwrap();
        assert!((value(Penalty::L1) - 7.0 / 4.0).abs() < 1e-6);
        assert!((value(Penalty::L2) - 5.0 / 2.0).abs() < 1e-6);
    }

    #[test]
    fn mean_absolute_values_are_summed_over_tensors() {
        let (a, b) = (Tensor::new(&[3.0f32, -4.0], &Device::Cpu).unwrap(), Tensor::new(&[[-2.0f32]], &Device::Cpu).unwrap());
        let value = mean_absolute([&a, &b]).unwrap().unwrap().to_scalar::<f32>().unwrap();
        assert!((value - 5.5).abs() < 1e-6);
        assert!(mean_absolute([]).unwrap().is_none());
    }
}
