//! Penalty on learned gene weights.

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
}
