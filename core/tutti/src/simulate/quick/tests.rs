use super::*;
use crate::threads::Threads;

fn small() -> SimulateConfig {
    SimulateConfig { n_cells: 900, n_genes: 600, library_size: 200.0, ..Default::default() }
}

/// Mean of each gene's share of the counts, over the cells chosen.
fn mean_shares(data: &Simulated, chosen: impl Fn(usize) -> bool) -> Vec<f64> {
    let (mut sums, mut n) = (vec![0.0; data.counts.n_cols()], 0.0);
    for i in (0..data.counts.n_rows()).filter(|i| chosen(*i)) {
        let (genes, values) = data.counts.row(i);
        let total: f32 = values.iter().sum();
        genes.iter().zip(values).for_each(|(g, v)| sums[*g as usize] += f64::from(v / total));
        n += 1.0;
    }
    sums.iter().map(|s| s / n).collect()
}

/// Sum over genes of the absolute difference: 0 for equal profiles, 2 for disjoint ones.
fn difference(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).sum()
}

#[test]
fn same_seed_same_matrix_for_any_number_of_threads() {
    let one = Threads::new(1).unwrap().run(|| simulate(&small())).unwrap();
    let two = Threads::new(2).unwrap().run(|| simulate(&small())).unwrap();
    assert_eq!(one, two);
    let other = simulate(&SimulateConfig { seed: 1, ..small() }).unwrap();
    assert_ne!(one.counts, other.counts);
}

#[test]
fn default_looks_like_a_single_cell_experiment() {
    let data = simulate(&SimulateConfig::default()).unwrap();
    let (n_cells, n_genes) = (data.counts.n_rows(), data.counts.n_cols());
    let density = data.counts.nnz() as f64 / (n_cells * n_genes) as f64;
    assert!((0.08..0.13).contains(&density), "density {density}");
    assert!(data.counts.values().iter().all(|v| *v >= 1.0 && v.fract() == 0.0));
    assert!((0..n_cells).all(|i| !data.counts.row(i).0.is_empty()));

    let types = data.cell_type.counts();
    assert!(types[0] > 2 * types[5] && types[5] > 50, "sizes {types:?}");
    let places = data.batch.codes().iter().zip(data.cell_type.codes());
    let absent = places.filter(|(b, t)| **b == Some(2) && **t == Some(5)).count();
    assert_eq!(absent, 0);
    assert!(data.batch.counts().iter().all(|n| *n > 500));
    assert_eq!(data.cells().unwrap().n_cells(), n_cells);
}

#[test]
fn genes_have_few_high_and_many_low_means() {
    let data = simulate(&SimulateConfig::default()).unwrap();
    let mut means = mean_shares(&data, |_| true);
    means.sort_by(|a, b| b.total_cmp(a));
    let top: f64 = means[..means.len() / 10].iter().sum();
    assert!(top > 0.45, "the top tenth of the genes has a share of {top}");
}

#[test]
fn batches_differ_within_a_type_only_by_the_batch_effect() {
    let within = |strength: f64| {
        let data = simulate(&SimulateConfig { batch_strength: strength, n_cells: 2000, ..small() }).unwrap();
        let of = |batch: u32| {
            let chosen = |i: usize| data.batch.codes()[i] == Some(batch) && data.cell_type.codes()[i] == Some(0);
            mean_shares(&data, chosen)
        };
        difference(&of(0), &of(1))
    };
    // What is left without an effect is the noise of a mean over some hundred cells.
    assert!(within(0.6) > 3.0 * within(0.0), "{} against {}", within(0.6), within(0.0));
}

#[test]
fn types_differ_within_a_batch() {
    let data = simulate(&SimulateConfig { n_cells: 2000, ..small() }).unwrap();
    let of = |half: usize, t: u32| {
        let chosen = |i: usize| i % 2 == half && data.batch.codes()[i] == Some(0) && data.cell_type.codes()[i] == Some(t);
        mean_shares(&data, chosen)
    };
    assert!(difference(&of(0, 0), &of(0, 1)) > 1.5 * difference(&of(0, 0), &of(1, 0)));
}

#[test]
fn dropout_loses_its_share_of_counts() {
    let full = simulate(&SimulateConfig { batch_strength: 0.0, ..small() }).unwrap();
    let thin = simulate(&SimulateConfig { batch_strength: 0.0, dropout: 0.3, ..small() }).unwrap();
    let kept = thin.counts.nnz() as f64 / full.counts.nnz() as f64;
    assert!((kept - 0.7).abs() < 0.02, "kept {kept}");
}

#[test]
fn bad_settings_are_named() {
    let message = simulate(&SimulateConfig { n_types: 0, ..small() }).unwrap_err().to_string();
    assert_eq!(message, "`n_types` is 0; give at least 1");
    for bad in [
        SimulateConfig { dropout: 1.0, ..small() },
        SimulateConfig { library_size: f64::NAN, ..small() },
        SimulateConfig { dispersion: -1.0, ..small() },
        SimulateConfig { programme_share: 1.5, ..small() },
    ] {
        assert!(matches!(simulate(&bad), Err(Error::Argument { .. })));
    }
}
