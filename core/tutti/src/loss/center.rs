//! Sparse centre loss: cells near the centre of their class, in the dimensions that an attention gate picks.

use candle_core::Tensor;

use crate::error::{Error, Result};

/// Sparse centre loss (Farzaneh and Qi 2021, eq. 3, for CellPredX, eq. 7): the sum over cells i and dimensions j of a_ij (z_ij - c_yj)² / (2 n),
/// where y is the class of cell i. `z` and `gate` [k, m]; `centers` [n_classes, m]; `classes`: one per row; `n` divides: all cells of the
/// mini-batch, of which the k are those with a class. Gradient flows into `z` and `gate`, not into the centres, see [`moved_centers`]; 0 for
/// no rows.
///
/// # Errors
/// Shapes that do not fit.
pub fn sparse_center(z: &Tensor, gate: &Tensor, centers: &Tensor, classes: &[u32], n: usize) -> Result<Tensor> {
    let rows = check(z, gate, centers, classes)?;
    if classes.is_empty() || n == 0 {
        return Ok(Tensor::zeros((), z.dtype(), z.device())?);
    }
    let away = (z - centers.detach().index_select(&rows, 0)?)?;
    Ok(((gate * away.sqr()?)?.sum_all()? / (2 * n) as f64)?)
}

/// Centres after a step of `rate`, 0 to 1, towards the cells of their class: c_y moves by rate times the sum over these of a_i (z_i - c_y), divided by
/// 1 + their number (Wen et al. 2016, eq. 4, weighted as in Farzaneh and Qi 2021). A class without cells stays. Carries no gradient.
///
/// # Errors
/// Shapes that do not fit.
pub fn moved_centers(z: &Tensor, gate: &Tensor, centers: &Tensor, classes: &[u32], rate: f64) -> Result<Tensor> {
    let rows = check(z, gate, centers, classes)?;
    let (n_classes, m) = centers.dims2()?;
    let centers = centers.detach();
    if classes.is_empty() {
        return Ok(centers);
    }
    let towards = (gate.detach() * (z.detach() - centers.index_select(&rows, 0)?)?)?;
    let sums = Tensor::zeros((n_classes, m), z.dtype(), z.device())?.index_add(&rows, &towards, 0)?;
    let mut shares = vec![1f32; n_classes];
    classes.iter().for_each(|c| shares[*c as usize] += 1.0);
    let shares = Tensor::from_vec(shares, (n_classes, 1), z.device())?;
    Ok((centers + (sums.broadcast_div(&shares)? * rate)?)?)
}

/// The gate of each cell, [k, m], divided by its mean over the m dimensions: weights that say where a cell has to be near its centre, not how much. In
/// [`sparse_center`] closing a cell's gate as a whole then gains nothing, and an even gate, open or nearly closed, counts as an open one; a mean over all
/// cells would still let the gate close on those that are far from their centre. Gradient flows through the mean. A gate whose values are all 0
/// stays 0.
///
/// # Errors
/// Shapes that are not [k, m].
pub fn normalized_gate(gate: &Tensor) -> Result<Tensor> {
    gate.dims2()?;
    Ok(gate.broadcast_div(&gate.mean_keepdim(1)?.affine(1.0, 1e-12)?)?)
}

fn check(z: &Tensor, gate: &Tensor, centers: &Tensor, classes: &[u32]) -> Result<Tensor> {
    let ((k, m), (n_classes, width)) = (z.dims2()?, centers.dims2()?);
    if gate.dims() != z.dims() || width != m || classes.len() != k {
        let (gate, centers) = (gate.dims(), centers.dims());
        let problem = format!("got cells {:?}, gate {gate:?}, centres {centers:?} and {} classes", z.dims(), classes.len());
        return Err(Error::argument("sparse_center", problem, "give a gate and a class per cell, and centres of the same width"));
    }
    if let Some(class) = classes.iter().find(|c| **c as usize >= n_classes) {
        return Err(Error::argument("classes", format!("has {class} for {n_classes} centres"), "give codes below their number"));
    }
    Ok(Tensor::from_slice(classes, k, z.device())?)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::rng::Rng;

    const CLASSES: [u32; 4] = [1, 0, 1, 1];

    fn by_loops(z: &[f64], a: &[f64], c: &[f64], m: usize, n: usize) -> f64 {
        let term = |k: usize| {
            let (i, j) = (k / m, k % m);
            a[k] * (z[k] - c[CLASSES[i] as usize * m + j]).powi(2)
        };
        (0..z.len()).map(term).sum::<f64>() / (2 * n) as f64
    }

    fn draw() -> [Vec<f64>; 3] {
        let mut stream = Rng::new(9).stream("rows", 0, 0);
        let mut draw = |n: usize| (0..n).map(|_| stream.normal()).collect::<Vec<f64>>();
        [draw(12), draw(12).iter().map(|a| 1.0 / (1.0 + a.exp())).collect(), draw(9)]
    }

    fn tensor(x: &[f64]) -> Tensor {
        Tensor::from_vec(x.iter().map(|v| *v as f32).collect::<Vec<_>>(), (x.len() / 3, 3), &Device::Cpu).unwrap()
    }

    #[test]
    fn value_and_gradients_equal_the_formula_and_centres_get_none() {
        let [z, a, c] = draw();
        let vars = [&z, &a, &c].map(|x| Var::from_tensor(&tensor(x)).unwrap());
        let loss = sparse_center(&vars[0], &vars[1], &vars[2], &CLASSES, 6).unwrap();
        assert!((f64::from(loss.to_scalar::<f32>().unwrap()) - by_loops(&z, &a, &c, 3, 6)).abs() < 1e-6);
        let store = loss.backward().unwrap();
        assert!(store.get(&vars[2]).is_none());
        for second in [false, true] {
            let gradient: Vec<f32> = store.get(&vars[usize::from(second)]).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            for (i, ours) in gradient.iter().enumerate() {
                let at = |step: f64| {
                    let (mut z, mut a) = (z.clone(), a.clone());
                    if second {
                        a[i] += step
                    } else {
                        z[i] += step
                    }
                    by_loops(&z, &a, &c, 3, 6)
                };
                let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((numeric - f64::from(*ours)).abs() < 1e-4 * (1.0 + numeric.abs()), "{numeric} {ours}");
            }
        }
    }

    #[test]
    fn a_normalized_gate_gains_nothing_by_closing_and_has_the_gradient_of_the_formula() {
        let [z, a, c] = draw();
        let by_hand = |a: &[f64]| -> Vec<f64> {
            (0..a.len()).map(|k| a[k] / (a[k / 3 * 3..k / 3 * 3 + 3].iter().sum::<f64>() / 3.0)).collect()
        };
        let value = |a: &[f64]| by_loops(&z, &by_hand(a), &c, 3, 6);
        let loss = |a: &Tensor| sparse_center(&tensor(&z), &normalized_gate(a).unwrap(), &tensor(&c), &CLASSES, 6).unwrap();
        let number = |loss: &Tensor| f64::from(loss.to_scalar::<f32>().unwrap());
        let gate = Var::from_tensor(&tensor(&a)).unwrap();
        assert!((number(&loss(&gate)) - value(&a)).abs() < 1e-6);
        // Each cell's gate by a factor of its own; an even gate is an open one.
        let closed: Vec<f64> = a.iter().enumerate().map(|(k, a)| a * [1.0, 0.5, 1e-3, 1e-6][k / 3]).collect();
        assert!((number(&loss(&tensor(&closed))) - value(&a)).abs() < 1e-5);
        assert!((number(&loss(&tensor(&[0.01; 12]))) - by_loops(&z, &[1.0; 12], &c, 3, 6)).abs() < 1e-5);

        let gradient: Vec<f32> = loss(&gate).backward().unwrap().get(&gate).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        for (i, ours) in gradient.iter().enumerate() {
            let at = |step: f64| {
                let mut a = a.clone();
                a[i] += step;
                value(&a)
            };
            let numeric = (at(1e-6) - at(-1e-6)) / 2e-6;
            assert!((numeric - f64::from(*ours)).abs() < 1e-4 * (1.0 + numeric.abs()), "{numeric} {ours}");
        }
        // No direction that scales a cell's gate lowers the loss; some other does.
        for i in 0..4 {
            let along: f64 = (3 * i..3 * i + 3).map(|k| a[k] * f64::from(gradient[k])).sum();
            assert!(along.abs() < 1e-6, "{along}");
        }
        assert!(gradient.iter().any(|g| g.abs() > 1e-3));
    }

    #[test]
    fn centres_move_by_the_rule_and_reach_the_means() {
        let [z, a, c] = draw();
        let moved: Vec<f32> = moved_centers(&tensor(&z), &tensor(&a), &tensor(&c), &CLASSES, 0.5)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap();
        for class in 0..3 {
            for j in 0..3 {
                let cells = || (0..4).filter(|i| CLASSES[*i] as usize == class);
                let sum: f64 = cells().map(|i| a[i * 3 + j] * (z[i * 3 + j] - c[class * 3 + j])).sum();
                let expected = c[class * 3 + j] + 0.5 * sum / (1 + cells().count()) as f64;
                assert!((f64::from(moved[class * 3 + j]) - expected).abs() < 1e-6);
            }
        }
        // With an open gate a centre comes to rest at the mean of its class.
        let (z, ones) = (tensor(&z), Tensor::ones((4, 3), candle_core::DType::F32, &Device::Cpu).unwrap());
        let mut centers = tensor(&c);
        for _ in 0..100 {
            centers = moved_centers(&z, &ones, &centers, &CLASSES, 0.5).unwrap();
        }
        let of_class = z.index_select(&Tensor::new(&[0u32, 2, 3], &Device::Cpu).unwrap(), 0).unwrap().mean(0).unwrap();
        let away = (of_class - centers.get(1).unwrap()).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(away < 1e-5, "{away}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let [z, a, c] = draw();
        assert!(sparse_center(&tensor(&z), &tensor(&a[..9]), &tensor(&c), &CLASSES, 4).is_err());
        assert!(sparse_center(&tensor(&z), &tensor(&a), &tensor(&c[..3]), &CLASSES, 4).is_err());
        let none = Tensor::zeros((0, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert_eq!(sparse_center(&none, &none, &tensor(&c), &[], 4).unwrap().to_scalar::<f32>().unwrap(), 0.0);
    }
}
