use candle_core::{Device, Var};

use super::super::chain::Chain;
use super::super::factored::{GradientSlot, total};
use super::*;
use crate::rng::Rng;
use crate::threads::Threads;

const N_GENES: usize = 150;

fn trained(shape: &[usize], name: &str, size: f64) -> (Var, Trained) {
    let mut stream = Rng::new(3).stream(name, 0, 0);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| (size * stream.normal()) as f32).collect();
    let var = Var::from_vec(values, shape, &Device::Cpu).unwrap();
    let tensor = var.as_tensor().clone();
    (var, Trained { tensor, slot: GradientSlot::default() })
}

/// Parameters of d features, whose scores differ by more where `size` is larger.
fn parameters(d: usize, size: f64) -> (Vec<Var>, Attention) {
    let (e, embedding) = trained(&[N_GENES, d], "E", 1.0);
    let (w, weight) = trained(&[d, d], "W", 0.7);
    let (b, bias) = trained(&[d], "b", 0.3);
    let (u, query) = trained(&[d], "u", size);
    let (g, gamma) = trained(&[1], "gamma", 1.0);
    let (z, beta) = trained(&[1], "beta", 1.0);
    (vec![e, w, b, u, g, z], Attention { embedding, weight, bias, query, gamma, beta })
}

/// Cells that express some genes, all but one gene, and none.
fn cells() -> Csr {
    let mut stream = Rng::new(4).stream("x", 0, 0);
    let mut rows = Csr::empty(N_GENES);
    for density in [0.05, 0.3, 0.9, 1.0, 0.0] {
        let row: Vec<(u32, f32)> =
            (1..N_GENES).filter_map(|j| stream.bernoulli(density).then(|| (j as u32, 3.0 * stream.uniform() as f32))).collect();
        rows.push_row(row);
    }
    rows
}

const STATISTICS: ValueStatistics = ValueStatistics { mean: 0.4, rstd: 1.3 };

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The pooled embedding and the attention of each cell by the formula, in double precision.
fn by_formula(x: &Csr, p: &Attention) -> (Vec<f64>, Vec<f64>) {
    let get = |t: &Trained| values(&t.tensor).into_iter().map(f64::from).collect::<Vec<f64>>();
    let (e, w, b, u) = (get(&p.embedding), get(&p.weight), get(&p.bias), get(&p.query));
    let (gamma, beta, d) = (get(&p.gamma)[0], get(&p.beta)[0], b.len());
    let (mut pooled, mut attention) = (Vec::new(), Vec::new());
    for row in x.to_dense().rows() {
        let v: Vec<f64> = row.iter().map(|x| gamma * (f64::from(*x) - 0.4) * 1.3 + beta).collect();
        let score = |g: usize| -> f64 {
            let h = |j: usize| v[g] * e[g * d + j];
            (0..d).map(|k| u[k] * ((0..d).map(|j| h(j) * w[j * d + k]).sum::<f64>() + b[k]).tanh()).sum()
        };
        let scores: Vec<f64> = (0..N_GENES).map(score).collect();
        let most = scores.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = scores.iter().map(|s| (s - most).exp()).sum();
        let a: Vec<f64> = scores.iter().map(|s| (s - most).exp() / sum).collect();
        pooled.extend((0..d).map(|j| (0..N_GENES).map(|g| a[g] * v[g] * e[g * d + j]).sum::<f64>().tanh()));
        attention.extend(a);
    }
    (pooled, attention)
}

#[test]
fn equals_the_formula_over_all_genes_for_every_density() {
    for (d, size) in [(5, 0.3), (16, 0.3), (20, 3.0)] {
        let (_, p) = parameters(d, size);
        let x = cells();
        let (pooled, attention) = by_formula(&x, &p);
        let ours = values(&gene_attention(&SparseBatch::without_gradient(x.clone()), &p, STATISTICS).unwrap());
        let plain = values(&gene_attention_plain(&SparseBatch::without_gradient(x.clone()), &p, STATISTICS).unwrap());
        let in_parts = values(&plain_by(&SparseBatch::without_gradient(x.clone()), &p, STATISTICS, 2).unwrap());
        for found in [ours, plain, in_parts] {
            for (a, b) in found.iter().zip(&pooled) {
                assert!((f64::from(*a) - b).abs() < 2e-5, "width {d}: {a} and {b}");
            }
        }
        let weights = attention_weights(&x, &p, STATISTICS).unwrap();
        for (a, b) in weights.iter().zip(&attention) {
            assert!((f64::from(*a) - b).abs() < 1e-5 * (1.0 + size), "width {d}: attention {a} and {b}");
        }
        assert!(weights.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-4));
    }
}

#[test]
fn a_cell_whose_expressed_genes_have_all_the_attention_of_zeros_is_right() {
    // One gene has nearly all attention where it is zero; the cell expresses it, and what is left is 1e-9 of the sum that it is taken from.
    let (_, mut p) = parameters(4, 0.0);
    let set = |values: Vec<f32>, shape: &[usize]| Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
    let mut e = vec![0.5f32; N_GENES * 4];
    e[..4].fill(-0.5);
    p.embedding.tensor = set(e, &[N_GENES, 4]);
    let identity: Vec<f32> = (0..16).map(|i| if i % 5 == 0 { 6.0 } else { 0.0 }).collect();
    p.weight.tensor = set(identity, &[4, 4]);
    p.bias.tensor = set(vec![0.0; 4], &[4]);
    p.query.tensor = set(vec![3.0; 4], &[4]);
    p.gamma.tensor = set(vec![1.0], &[1]);
    p.beta.tensor = set(vec![-0.5], &[1]);
    let mut x = Csr::empty(N_GENES);
    x.push_row([(0, 2.0)]);
    let (pooled, _) = by_formula(&x, &p);
    let ours = values(&gene_attention(&SparseBatch::without_gradient(x), &p, STATISTICS).unwrap());
    for (a, b) in ours.iter().zip(&pooled) {
        assert!((f64::from(*a) - b).abs() < 1e-5, "{a} and {b}");
    }
}

/// Gradients of all parameters for a probe of the output.
fn gradients(vars: &[Var], p: &Attention, x: &Arc<SparseBatch>, fused: bool) -> Vec<Vec<f32>> {
    let y = if fused {
        let first = || gene_attention_step(x, p, STATISTICS);
        Chain::with_first(&p.embedding.tensor, first).unwrap().end().unwrap()
    } else {
        gene_attention_plain(x, p, STATISTICS).unwrap()
    };
    let probe = Tensor::arange(0f32, y.elem_count() as f32, &Device::Cpu).unwrap().reshape(y.shape()).unwrap().cos().unwrap();
    let store = (y * probe).unwrap().sum_all().unwrap().backward().unwrap();
    let slots = [&p.embedding, &p.weight, &p.bias, &p.query, &p.gamma, &p.beta];
    vars.iter().zip(slots).map(|(var, p)| values(&total(&p.slot.take(), store.get(var), var.shape()).unwrap())).collect()
}

#[test]
fn gradients_equal_those_of_the_plain_twin_and_are_the_same_for_any_threads() {
    for (d, size) in [(5, 0.5), (20, 1.0)] {
        let (vars, p) = parameters(d, size);
        let x = Arc::new(SparseBatch::with_gradient(cells()));
        let with = |n| Threads::new(n).unwrap().run(|| gradients(&vars, &p, &x, true));
        let (ours, plain) = (with(1), gradients(&vars, &p, &x, false));
        assert_eq!(ours, with(3));
        for ((name, a), b) in ["E", "W", "b", "u", "gamma", "beta"].iter().zip(&ours).zip(&plain) {
            let largest = b.iter().fold(0f32, |m, v| m.max(v.abs()));
            assert!(largest > 1e-3, "{name} has no gradient");
            for (a, b) in a.iter().zip(b) {
                assert!((a - b).abs() < 2e-4 * largest + 1e-6, "width {d}, {name}: {a} and {b} of {largest}");
            }
        }
    }
}

#[test]
fn gradients_equal_finite_differences() {
    let (vars, p) = parameters(4, 0.5);
    let x = Arc::new(SparseBatch::with_gradient(cells()));
    let found = gradients(&vars, &p, &x, true);
    let loss = |p: &Attention| -> f64 { by_formula(x.rows(), p).0.iter().enumerate().map(|(i, y)| y * (i as f64).cos()).sum() };
    for (at, gradient) in found.iter().enumerate() {
        for k in (0..gradient.len()).step_by(gradient.len().div_ceil(8)) {
            let moved = |step: f32| {
                let mut p = p.detached();
                let parts = [&mut p.embedding, &mut p.weight, &mut p.bias, &mut p.query, &mut p.gamma, &mut p.beta];
                let part = parts.into_iter().nth(at).unwrap();
                let mut moved = values(&part.tensor);
                moved[k] += step;
                part.tensor = Tensor::from_vec(moved, part.tensor.shape(), &Device::Cpu).unwrap();
                loss(&p)
            };
            let numeric = (moved(1e-3) - moved(-1e-3)) / 2e-3;
            let ours = f64::from(gradient[k]);
            assert!((numeric - ours).abs() < 2e-3 * (1.0 + numeric.abs()), "parameter {at}, {k}: {numeric} and {ours}");
        }
    }
}
