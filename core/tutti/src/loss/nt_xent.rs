//! Normalised temperature-scaled cross entropy, plain, hard-negative weighted or decoupled.

use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::nn::Kernels;
pub use crate::ops::nt_xent::{Relation, Relations};
use crate::ops::nt_xent::{Settings, nt_xent_fused, nt_xent_plain};

/// Settings of [`nt_xent`].
#[derive(Debug, Clone, PartialEq)]
pub struct NtXentConfig {
    /// Divides the cosine similarities, above 0. Smaller values punish near negatives harder. Default 0.4.
    pub temperature: f64,
    /// Strength of hard-negative weighting, 0 or more; 0 is plain NT-Xent (Robinson et al. 2021, tau+ = 0). Default 1.
    pub hard_negative_beta: f64,
    /// Leaves the positive pair out of the denominator (Yeh et al. 2022). Default false.
    pub decoupled: bool,
    /// What rows of both views are to each other. Default: partners are positive, all others negative.
    pub relations: Option<Relations>,
}

impl Default for NtXentConfig {
    fn default() -> Self {
        Self { temperature: 0.4, hard_negative_beta: 1.0, decoupled: false, relations: None }
    }
}

/// NT-Xent (Chen et al. 2020, eq. 1) with hard-negative weighting. z_a, z_b: [n, latent_dim], rows paired. Returns a scalar, nats: the
/// mean over all 2n anchors, each with 2n - 2 negatives from both views.
///
/// With similarities s (cosine / temperature), the negatives' s become (1 + beta) s - log mean exp(beta s), the mean over the anchor's
/// negatives; gradient flows through that mean. A view that is detached gets no gradient and still serves as anchor. Of several positives
/// each is set against the negatives alone, and the anchor's loss is the mean over them; an anchor without negatives has loss 0.
///
/// # Errors
/// Unequal shapes; fewer than two rows; a temperature not above 0; a negative beta; relations of another number of pairs.
pub fn nt_xent(z_a: &Tensor, z_b: &Tensor, config: &NtXentConfig, kernels: Kernels) -> Result<Tensor> {
    let (n, _) = z_a.dims2()?;
    if z_a.dims() != z_b.dims() || n < 2 {
        let problem = format!("got views of shapes {:?} and {:?}", z_a.dims(), z_b.dims());
        return Err(Error::argument("nt_xent", problem, "both views need the same shape and at least two rows"));
    }
    if !(config.temperature > 0.0) {
        return Err(Error::argument("temperature", format!("must be above 0 (got {})", config.temperature), "use 0.2 to 0.6"));
    }
    if !(config.hard_negative_beta >= 0.0) {
        let problem = format!("must be 0 or more (got {})", config.hard_negative_beta);
        return Err(Error::argument("hard_negative_beta", problem, "use 0 for plain NT-Xent or 1 to 2"));
    }
    if let Some(relations) = config.relations.as_ref().filter(|r| r.n_pairs() != n) {
        let problem = format!("are of {} pairs for {n} pairs", relations.n_pairs());
        return Err(Error::argument("relations", problem, "give them for these pairs"));
    }
    let settings = Settings {
        temperature: config.temperature as f32,
        beta: config.hard_negative_beta as f32,
        decoupled: config.decoupled,
        relations: config.relations.clone(),
    };
    match kernels {
        Kernels::Fused => nt_xent_fused(z_a, z_b, &settings),
        Kernels::Plain => nt_xent_plain(z_a, z_b, &settings),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::rng::Rng;

    fn random(n: usize, d: usize, purpose: &str) -> Vec<Vec<f64>> {
        let mut stream = Rng::new(4).stream(purpose, 0, 0);
        (0..n).map(|_| (0..d).map(|_| stream.normal()).collect()).collect()
    }

    fn tensor(rows: &[Vec<f64>]) -> Tensor {
        let values: Vec<f32> = rows.concat().iter().map(|v| *v as f32).collect();
        Tensor::from_vec(values, (rows.len(), rows[0].len()), &Device::Cpu).unwrap()
    }

    /// The formula of the documentation, by loops in double precision.
    fn by_loops(a: &[Vec<f64>], b: &[Vec<f64>], c: &NtXentConfig) -> f64 {
        let n = a.len();
        let z: Vec<&Vec<f64>> = a.iter().chain(b).collect();
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let s = |i: usize, j: usize| dot(z[i], z[j]) / (dot(z[i], z[i]) * dot(z[j], z[j])).sqrt() / c.temperature;
        let relations = c.relations.clone().unwrap_or_else(|| Relations::new(n));
        let mut total = 0.0;
        for i in 0..2 * n {
            let rows = |relation| (0..2 * n).filter(|j| relations.get(i, *j) == relation).collect::<Vec<_>>();
            let (positives, negatives) = (rows(Relation::Positive), rows(Relation::Negative));
            let negatives: Vec<f64> = negatives.into_iter().map(|j| s(i, j)).collect();
            let beta = c.hard_negative_beta;
            let mean = negatives.iter().map(|s| (beta * s).exp()).sum::<f64>() / negatives.len() as f64;
            let weighted: f64 = negatives.iter().map(|s| ((1.0 + beta) * s - mean.ln()).exp()).sum();
            for j in positives.iter().filter(|_| !negatives.is_empty()) {
                let denominator = weighted + if c.decoupled { 0.0 } else { s(i, *j).exp() };
                total += (denominator.ln() - s(i, *j)) / positives.len() as f64;
            }
        }
        total / (2 * n) as f64
    }

    /// A relation between single rows, not whole pairs.
    fn mixed() -> Relations {
        let mut relations = Relations::new(5);
        relations.set(0, 6, Relation::Ignored);
        relations.set(2, 9, Relation::Positive);
        // Partners stay.
        relations.set(3, 8, Relation::Negative);
        relations
    }

    /// Two rows have no negatives.
    fn alone() -> Relations {
        let mut relations = Relations::new(5);
        for j in (1..5).chain(6..10) {
            relations.set(0, j, Relation::Ignored);
            relations.set(5, j, Relation::Ignored);
        }
        relations
    }

    fn configs() -> Vec<NtXentConfig> {
        let base = NtXentConfig::default();
        vec![
            base.clone(),
            NtXentConfig { hard_negative_beta: 0.0, temperature: 0.5, ..base.clone() },
            NtXentConfig { hard_negative_beta: 2.5, temperature: 0.1, ..base.clone() },
            NtXentConfig { hard_negative_beta: 1.0, temperature: 0.02, ..base.clone() },
            NtXentConfig { decoupled: true, ..base.clone() },
            NtXentConfig { relations: Some(Relations::of_groups(&[0, 1, 0, 2, 1], Relation::Ignored)), ..base.clone() },
            NtXentConfig { relations: Some(Relations::of_groups(&[0, 1, 0, 2, 1], Relation::Positive)), ..base.clone() },
            NtXentConfig { relations: Some(alone()), ..base.clone() },
            NtXentConfig { relations: Some(alone()), decoupled: true, ..base.clone() },
            NtXentConfig { relations: Some(mixed()), decoupled: true, hard_negative_beta: 0.0, ..base },
        ]
    }

    #[test]
    fn equals_the_formula_by_loops() {
        let (a, b) = (random(5, 3, "a"), random(5, 3, "b"));
        for config in configs() {
            for kernels in [Kernels::Fused, Kernels::Plain] {
                let loss = nt_xent(&tensor(&a), &tensor(&b), &config, kernels).unwrap().to_scalar::<f32>().unwrap();
                let expected = by_loops(&a, &b, &config);
                assert!(
                    (f64::from(loss) - expected).abs() < 2e-5 * (1.0 + expected),
                    "{config:?} {kernels:?}: {loss} {expected}"
                );
            }
        }
    }

    #[test]
    fn gradient_equals_finite_differences_of_the_formula() {
        let (a, b) = (random(5, 3, "a"), random(5, 3, "b"));
        for (config, kernels) in configs().into_iter().flat_map(|c| [(c.clone(), Kernels::Fused), (c, Kernels::Plain)]) {
            let (va, vb) = (Var::from_tensor(&tensor(&a)).unwrap(), Var::from_tensor(&tensor(&b)).unwrap());
            let store = nt_xent(&va, &vb, &config, kernels).unwrap().affine(3.0, 0.0).unwrap().backward().unwrap();
            for (var, second) in [(&va, false), (&vb, true)] {
                let gradient: Vec<Vec<f32>> = store.get(var).unwrap().to_vec2().unwrap();
                for i in 0..5 {
                    for j in 0..3 {
                        let at = |step: f64| {
                            let (mut a, mut b) = (a.clone(), b.clone());
                            if second {
                                b[i][j] += step
                            } else {
                                a[i][j] += step
                            }
                            3.0 * by_loops(&a, &b, &config)
                        };
                        let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
                        let ours = f64::from(gradient[i][j]);
                        assert!(
                            (numeric - ours).abs() < 1e-4 * (1.0 + numeric.abs()),
                            "{config:?} {kernels:?}: {numeric} {ours}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_detached_view_gets_no_gradient_and_leaves_the_other_as_it_was() {
        let (a, b) =
            (Var::from_tensor(&tensor(&random(5, 3, "a"))).unwrap(), Var::from_tensor(&tensor(&random(5, 3, "b"))).unwrap());
        let config = NtXentConfig::default();
        let both = nt_xent(&a, &b, &config, Kernels::Fused).unwrap().backward().unwrap();
        let one = nt_xent(&a, &b.detach(), &config, Kernels::Fused).unwrap().backward().unwrap();
        assert!(one.get(&b).is_none());
        assert_eq!(both.get(&a).unwrap().to_vec2::<f32>().unwrap(), one.get(&a).unwrap().to_vec2::<f32>().unwrap());
    }

    #[test]
    fn scaling_rows_and_permuting_pairs_change_nothing_and_threads_no_bit() {
        let (a, b) = (random(40, 8, "a"), random(40, 8, "b"));
        let config = NtXentConfig::default();
        let loss = |a: &[Vec<f64>], b: &[Vec<f64>]| {
            nt_xent(&tensor(a), &tensor(b), &config, Kernels::Fused).unwrap().to_scalar::<f32>().unwrap()
        };
        let scaled: Vec<Vec<f64>> = a.iter().map(|row| row.iter().map(|v| 4.0 * v).collect()).collect();
        assert!((loss(&a, &b) - loss(&scaled, &b)).abs() < 1e-5);
        let reverse = |x: &[Vec<f64>]| x.iter().rev().cloned().collect::<Vec<_>>();
        assert!((loss(&a, &b) - loss(&reverse(&a), &reverse(&b))).abs() < 1e-5);
        assert!((loss(&a, &b) - loss(&b, &a)).abs() < 1e-5);
        let with = |n| crate::threads::Threads::new(n).unwrap().run(|| loss(&a, &b)).to_bits();
        assert_eq!(with(1), with(2));
    }

    #[test]
    fn bad_settings_are_refused() {
        let z = tensor(&random(3, 2, "a"));
        for config in [
            NtXentConfig { temperature: 0.0, ..Default::default() },
            NtXentConfig { hard_negative_beta: -1.0, ..Default::default() },
        ] {
            assert!(nt_xent(&z, &z, &config, Kernels::Fused).is_err());
        }
        assert!(
            nt_xent(&tensor(&random(1, 2, "a")), &tensor(&random(1, 2, "a")), &NtXentConfig::default(), Kernels::Fused).is_err()
        );
    }
}
