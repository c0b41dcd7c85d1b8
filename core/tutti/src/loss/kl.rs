//! Kullback-Leibler divergence of a predicted from an observed distribution.

use candle_core::{D, Tensor};

use crate::error::{Error, Result};

/// Mean over rows of `sum_c observed_c (log observed_c - log softmax(logits)_c)`, nats, 0 or more. observed: [n, n_classes], rows that sum to 1;
/// a class of share 0 adds nothing; no gradient flows into it.
///
/// # Errors
/// Unequal shapes.
pub fn kl_divergence(observed: &Tensor, logits: &Tensor) -> Result<Tensor> {
    if observed.dims() != logits.dims() {
        let problem = format!("got shapes {:?} and {:?}", observed.dims(), logits.dims());
        return Err(Error::argument("kl_divergence", problem, "give one share per logit"));
    }
    let observed = observed.detach();
    let entropy = (&observed * observed.maximum(1e-30)?.log()?)?;
    let cross = (&observed * candle_nn::ops::log_softmax(logits, D::Minus1)?)?;
    Ok((entropy - cross)?.sum(1)?.mean_all()?)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn equals_the_formula_with_its_gradient_and_survives_shares_of_zero() {
        let observed = [[0.5f32, 0.5, 0.0], [0.1, 0.2, 0.7]];
        let logits = [[1.0f32, -2.0, 90.0], [0.3, 0.1, -0.4]];
        let var = Var::new(&logits, &Device::Cpu).unwrap();
        let loss = kl_divergence(&Tensor::new(&observed, &Device::Cpu).unwrap(), &var).unwrap();
        let softmax = logits.map(|row| {
            let top = row.iter().fold(f64::MIN, |t, v| t.max(f64::from(*v)));
            let e = row.map(|v| (f64::from(v) - top).exp());
            e.map(|v| v / e.iter().sum::<f64>())
        });
        let mut expected = 0.0;
        for (o, q) in observed.iter().zip(&softmax) {
            let of = o.iter().zip(q).filter(|(o, _)| **o > 0.0);
            expected += of.map(|(o, q)| f64::from(*o) * (f64::from(*o).ln() - q.ln())).sum::<f64>() / 2.0;
        }
        assert!((f64::from(loss.to_scalar::<f32>().unwrap()) - expected).abs() < 1e-4 * expected);
        let gradient: Vec<Vec<f32>> = loss.backward().unwrap().get(&var).unwrap().to_vec2().unwrap();
        for (g, (o, q)) in gradient.iter().zip(observed.iter().zip(&softmax)) {
            assert!((0..3).all(|c| (f64::from(g[c]) - (q[c] - f64::from(o[c])) / 2.0).abs() < 1e-6), "{g:?}");
        }
        // A constant on all logits changes nothing; the observed distribution itself has none.
        let own = Tensor::new(&[observed[1]], &Device::Cpu).unwrap();
        let zero = kl_divergence(&own, &own.log().unwrap().affine(1.0, 7.0).unwrap()).unwrap().to_scalar::<f32>().unwrap();
        assert!(zero.abs() < 1e-6, "{zero}");
    }
}
