//! Cross-entropy on logits.

use candle_core::Tensor;

use crate::error::Result;

/// Mean of `-log softmax(logits)[class]` over the labelled cells, nats.
///
/// logits: [n, n_classes]; `classes`: one per cell, `None` for an unlabelled cell, which takes no part. Returns `None` where no cell is
/// labelled.
///
/// # Errors
/// Shapes that do not fit.
pub fn cross_entropy(logits: &Tensor, classes: &[Option<u32>]) -> Result<Option<Tensor>> {
    let rows: Vec<u32> = (0..classes.len() as u32).filter(|i| classes[*i as usize].is_some()).collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let n = rows.len();
    let targets: Vec<u32> = classes.iter().flatten().copied().collect();
    let labelled =
        if n == classes.len() { logits.clone() } else { logits.index_select(&Tensor::from_vec(rows, n, logits.device())?, 0)? };
    Ok(Some(candle_nn::loss::cross_entropy(&labelled, &Tensor::from_vec(targets, n, logits.device())?)?))
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn equals_the_formula_and_ignores_unlabelled_cells_and_constants() {
        let logits = [[1.0f32, 2.0, -1.0], [50.0, 0.0, 0.0], [0.5, 0.0, 100.0]];
        let classes = [Some(0), None, Some(2)];
        let loss = |shift: f32| {
            let shifted = logits.map(|row| row.map(|v| v + shift));
            let value = cross_entropy(&Tensor::new(&shifted, &Device::Cpu).unwrap(), &classes).unwrap().unwrap();
            f64::from(value.to_scalar::<f32>().unwrap())
        };
        let row = |row: [f32; 3], class: usize| {
            let total: f64 = row.iter().map(|v| f64::from(*v).exp()).sum();
            total.ln() - f64::from(row[class])
        };
        let expected = (row(logits[0], 0) + row(logits[2], 2)) / 2.0;
        assert!((loss(0.0) - expected).abs() < 1e-6, "{} and {expected}", loss(0.0));
        assert!((loss(7.0) - expected).abs() < 1e-5);
        assert!(cross_entropy(&Tensor::new(&logits, &Device::Cpu).unwrap(), &[None, None, None]).unwrap().is_none());
    }

    #[test]
    fn gradient_is_softmax_minus_target() {
        let x = Var::new(&[[0.2f32, -0.4, 1.0]], &Device::Cpu).unwrap();
        let store = cross_entropy(&x, &[Some(1)]).unwrap().unwrap().backward().unwrap();
        let gradient: Vec<f32> = store.get(&x).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let e = [0.2f32, -0.4, 1.0].map(f32::exp);
        let total: f32 = e.iter().sum();
        for (i, g) in gradient.iter().enumerate() {
            assert!((g - (e[i] / total - f32::from(u8::from(i == 1)))).abs() < 1e-6);
        }
    }
}
