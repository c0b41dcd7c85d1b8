//! Entropy of soft assignments.

use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::ops::entropy::{entropy_fused, entropy_plain};

/// Mean entropy, nats, of the soft assignments of `unlabelled` [u, d] to the rows of `labelled` [m, d]: softmax of cosine / temperature (LCL,
/// section 3.1). Small where every unlabelled cell is near few labelled ones; gradient flows into both.
///
/// # Errors
/// Shapes that do not fit or are empty; a temperature not above 0.
pub fn entropy_penalty(unlabelled: &Tensor, labelled: &Tensor, temperature: f64) -> Result<Tensor> {
    let ((u, d), (m, width)) = (unlabelled.dims2()?, labelled.dims2()?);
    if u == 0 || m == 0 || d != width {
        let problem = format!("got shapes {:?} and {:?}", unlabelled.dims(), labelled.dims());
        return Err(Error::argument("entropy_penalty", problem, "both need rows, of the same width"));
    }
    if !(temperature > 0.0) {
        return Err(Error::argument("temperature", format!("must be above 0 (got {temperature})"), "use 0.2 to 0.6"));
    }
    let penalty = if unlabelled.device().is_cpu() { entropy_fused } else { entropy_plain };
    penalty(unlabelled, labelled, temperature)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::rng::Rng;

    fn by_loops(a: &[f64], b: &[f64], d: usize, temperature: f64) -> f64 {
        let cosine = |x: &[f64], y: &[f64]| {
            let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
            dot(x, y) / (dot(x, x) * dot(y, y)).sqrt()
        };
        let entropies = a.chunks(d).map(|x| {
            let weights: Vec<f64> = b.chunks(d).map(|y| (cosine(x, y) / temperature).exp()).collect();
            let total: f64 = weights.iter().sum();
            -weights.iter().map(|w| w / total * (w / total).ln()).sum::<f64>()
        });
        entropies.sum::<f64>() / (a.len() / d) as f64
    }

    #[test]
    fn value_and_both_gradients_equal_the_formula() {
        let mut stream = Rng::new(1).stream("rows", 0, 0);
        let mut draw = |n: usize| (0..n).map(|_| stream.normal()).collect::<Vec<f64>>();
        let (a, b) = (draw(6), draw(12));
        let var =
            |x: &[f64]| Var::from_vec(x.iter().map(|v| *v as f32).collect::<Vec<_>>(), (x.len() / 3, 3), &Device::Cpu).unwrap();
        let (va, vb) = (var(&a), var(&b));
        let loss = entropy_penalty(&va, &vb, 0.3).unwrap();
        assert!((f64::from(loss.to_scalar::<f32>().unwrap()) - by_loops(&a, &b, 3, 0.3)).abs() < 1e-5);
        let store = loss.backward().unwrap();
        for (var, second) in [(&va, false), (&vb, true)] {
            let gradient: Vec<f32> = store.get(var).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            for (i, ours) in gradient.iter().enumerate() {
                let at = |step: f64| {
                    let (mut a, mut b) = (a.clone(), b.clone());
                    if second {
                        b[i] += step
                    } else {
                        a[i] += step
                    }
                    by_loops(&a, &b, 3, 0.3)
                };
                let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((numeric - f64::from(*ours)).abs() < 1e-4 * (1.0 + numeric.abs()), "{numeric} {ours}");
            }
        }
    }

    #[test]
    fn equals_the_plain_twin_forward_and_backward() {
        let random = |n: usize, purpose: &str| {
            let mut stream = Rng::new(2).stream(purpose, 0, 0);
            let values: Vec<f32> = (0..n * 32).map(|_| stream.normal() as f32).collect();
            Var::from_vec(values, (n, 32), &Device::Cpu).unwrap()
        };
        let (a, b) = (random(5, "a"), random(101, "b"));
        let run = |penalty: fn(&Tensor, &Tensor, f64) -> Result<Tensor>| {
            let loss = penalty(&a, &b, 0.5).unwrap();
            let store = (&loss * 7.0).unwrap().backward().unwrap();
            let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            [values(&loss), values(store.get(&a).unwrap()), values(store.get(&b).unwrap())].concat()
        };
        for (ours, plain) in run(entropy_penalty).iter().zip(run(entropy_plain)) {
            assert!((ours - plain).abs() < 2e-6 * (1.0 + plain.abs()), "{ours} {plain}");
        }
    }

    #[test]
    fn is_largest_where_all_are_equally_near_and_zero_where_one_is() {
        let tensor = |rows: &[[f32; 2]]| Tensor::from_slice(rows.as_flattened(), (rows.len(), 2), &Device::Cpu).unwrap();
        let value =
            |a: &[[f32; 2]], b: &[[f32; 2]], t| entropy_penalty(&tensor(a), &tensor(b), t).unwrap().to_scalar::<f32>().unwrap();
        assert!((value(&[[1.0, 0.0]], &[[0.0, 1.0], [0.0, -2.0], [0.0, 5.0]], 0.5) - 3f32.ln()).abs() < 1e-6);
        // A probability of 0 in single precision adds nothing.
        assert!(value(&[[1.0, 0.0]], &[[1.0, 0.0], [-1.0, 0.0]], 1e-3).abs() < 1e-6);
        assert!(entropy_penalty(&tensor(&[[1.0, 0.0]]), &tensor(&[[1.0, 0.0]]), 0.0).is_err());
    }
}
