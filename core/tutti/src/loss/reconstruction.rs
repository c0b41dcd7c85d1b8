//! Reconstruction losses.

use candle_core::Tensor;

use crate::error::Result;
use crate::ops::elementwise::mean_squared_error;

/// Mean squared error over all cells and genes; both [n, n_genes].
///
/// # Errors
/// Unequal shapes.
pub fn mse(reconstruction: &Tensor, target: &Tensor) -> Result<Tensor> {
    mean_squared_error(reconstruction, target)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn equals_the_formula_with_its_gradient() {
        let x = Var::new(&[[1.0f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
        let target = Tensor::new(&[[0.0f32, 2.0], [5.0, 1.0]], &Device::Cpu).unwrap();
        let loss = mse(&x, &target).unwrap();
        assert!((loss.to_scalar::<f32>().unwrap() - (1.0 + 0.0 + 4.0 + 9.0) / 4.0).abs() < 1e-6);
        let gradient: Vec<f32> = loss.backward().unwrap().get(&x).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(gradient, [0.5, 0.0, -1.0, 1.5]);
    }
}
