use std::collections::BTreeSet;

use super::*;
use crate::data::{CellSource, Csr, row_blocks};
use crate::error::Error;
use crate::model::with_settings;
use crate::threads::Threads;

fn dense(spec: &Spec, layer: Layer) -> ndarray::Array2<f32> {
    Simulation::new(spec).unwrap().matrix(layer).unwrap().to_dense()
}

fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let n = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / n;
    (mean, values.map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0))
}

#[track_caller]
fn assert_near(seen: f64, wanted: f64, tolerance: f64) {
    assert!((seen - wanted).abs() <= tolerance, "{seen} instead of {wanted}");
}

fn numbers(simulation: &Simulation, name: &str) -> Vec<f32> {
    match simulation.truth().unwrap().into_iter().find(|(n, _)| *n == name) {
        Some((_, Truth::Number(values))) => values,
        other => panic!("{name}: {other:?}"),
    }
}

fn categories(simulation: &Simulation, name: &str) -> Vec<Option<String>> {
    match simulation.truth().unwrap().into_iter().find(|(n, _)| *n == name) {
        Some((_, Truth::Category(c))) => (0..c.len()).map(|i| c.value(i).map(str::to_owned)).collect(),
        other => panic!("{name}: {other:?}"),
    }
}

/// One state in which every value has the same mean: 400 x 250 draws.
fn flat(level: f64, distribution: Distribution, dispersion: f64) -> Spec {
    Spec {
        n_cells: 400,
        n_genes: 250,
        level,
        structure: Structure::Clusters(Clusters { n: 1, ..Default::default() }),
        noise: Noise { distribution, dispersion: PerState::One(dispersion) },
        ..Default::default()
    }
}

/// A flat spec without noise and with one effect on its only batch.
fn with_effect(level: f64, effect: BatchEffect) -> Spec {
    let batches = Batches { effects: vec![effect], ..Default::default() };
    Spec { batches, ..flat(level, Distribution::Normal, 0.0) }
}

fn effect(kind: EffectKind, level: f64) -> BatchEffect {
    BatchEffect { level: Some(level), ..BatchEffect::new(kind) }
}

fn values(spec: &Spec) -> Vec<f64> {
    dense(spec, Layer::Measured).iter().map(|v| f64::from(*v)).collect()
}

#[test]
fn noise_has_the_moments_of_its_distribution() {
    let m = 4.0f64;
    for (distribution, dispersion, variance) in [
        (Distribution::Normal, 0.7, 0.49),
        (Distribution::Poisson, 0.0, m),
        (Distribution::NegativeBinomial, 0.5, m + 0.5 * m * m),
        (Distribution::LogNormal, 0.5, m * m * (0.25f64.exp() - 1.0)),
    ] {
        let values = values(&flat(m, distribution, dispersion));
        let (mean, v) = moments(values.iter().copied());
        // 100,000 draws: six standard errors of the mean; the variance within 5 %.
        assert_near(mean, m, 6.0 * (variance / 1e5).sqrt());
        assert_near(v, variance, 0.05 * variance);
    }
}

#[test]
fn noise_of_a_state_is_as_wide_as_its_number() {
    let spec = Spec {
        structure: Structure::Clusters(Clusters { n: 2, ..Default::default() }),
        noise: Noise { dispersion: PerState::Each(vec![0.2, 1.0]), ..Default::default() },
        ..Default::default()
    };
    let difference = dense(&spec, Layer::WithNoise) - dense(&spec, Layer::NoNoise);
    for (cells, sd) in [(0..500, 0.2), (500..1000, 1.0)] {
        let (mean, v) = moments(difference.slice(ndarray::s![cells, ..]).iter().map(|v| f64::from(*v)));
        assert_near(mean, 0.0, 0.01);
        assert_near(v.sqrt(), sd, 0.01);
    }
}

#[test]
fn counts_are_drawn_only_where_something_is_expressed() {
    let spec =
        Spec { noise: Noise { distribution: Distribution::Poisson, dispersion: PerState::One(0.0) }, ..Default::default() };
    let (truth, counts) = (dense(&spec, Layer::NoNoise), dense(&spec, Layer::Measured));
    assert!(truth.iter().zip(&counts).all(|(t, c)| *t > 0.0 || *c == 0.0));
    assert!(counts.iter().all(|c| *c >= 0.0 && c.fract() == 0.0));
}

#[test]
fn dropout_integers_and_signs_are_as_asked() {
    let noisy = flat(1.0, Distribution::Normal, 1.0);
    let spec = Spec { dropout: 0.3, non_neg: true, to_int: true, ..noisy.clone() };
    let zero = values(&spec);
    assert!(zero.iter().all(|v| *v >= 0.0 && v.fract() == 0.0));
    let kept = values(&Spec { dropout: 0.3, ..noisy }).iter().filter(|v| **v != 0.0).count();
    assert_near(kept as f64 / 1e5, 0.7, 0.01);
    // By the curve, half of the values are lost where ln mean = mid.
    let curve = |mid: f64, shape: f64| {
        let spec = Spec { dropout_curve: Some(DropoutCurve { mid, shape }), ..flat(4.0, Distribution::Normal, 0.0) };
        values(&spec).iter().filter(|v| **v == 0.0).count() as f64 / 1e5
    };
    let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
    assert_near(curve(4f64.ln(), -1.0), 0.5, 0.01);
    assert_near(curve(0.0, -1.0), logistic(-(4f64.ln())), 0.01);
    assert_near(curve(0.0, 2.0), logistic(2.0 * 4f64.ln()), 0.01);
}

#[test]
fn effects_on_values_follow_their_formulas() {
    let (mean, variance) = moments(values(&with_effect(3.0, effect(EffectKind::VarianceInflation, 0.2))).into_iter());
    assert_near(mean, 3.0, 0.02);
    assert_near(variance, 0.36, 0.02);

    let add = BatchEffect {
        distribution: Some(Distribution::NegativeBinomial),
        dispersion: Some(0.5),
        ..effect(EffectKind::BatchSpecificDistribution, 2.0)
    };
    let (mean, variance) = moments(values(&with_effect(3.0, add)).into_iter());
    assert_near(mean, 5.0, 0.05);
    assert_near(variance, 4.0, 0.2);

    assert!(values(&with_effect(3.0, effect(EffectKind::ScalingFactor, 0.4))).iter().all(|v| (v - 1.2).abs() < 1e-6));
    let lost = values(&with_effect(3.0, effect(EffectKind::UniformDropout, 0.35))).iter().filter(|v| **v == 0.0).count();
    assert_near(lost as f64 / 1e5, 0.35, 0.01);
}

#[test]
fn value_dependent_dropout_loses_low_values_first() {
    let lost = |x: f64| {
        let all = values(&with_effect(x, effect(EffectKind::ValueDependentDropout, 0.5)));
        all.iter().filter(|v| **v == 0.0).count() as f64 / 1e5
    };
    for x in [0.5f64, 1.0, 2.0] {
        assert_near(lost(x), (-0.5 * x * x).exp(), 0.01);
    }
}

#[test]
fn downsampling_keeps_counts_with_their_probability() {
    let (p, m) = (0.3, 50.0);
    let (mean, variance) = moments(values(&with_effect(m, effect(EffectKind::Downsampling, p))).into_iter());
    // Binomial(50, 0.3).
    assert_near(mean, m * p, 0.06);
    assert_near(variance, m * p * (1.0 - p), 0.3);
    // Thinned Poisson counts are Poisson.
    let poisson = flat(m, Distribution::Poisson, 0.0);
    let batches = Batches { effects: vec![effect(EffectKind::Downsampling, p)], ..Default::default() };
    let spec = Spec { batches, ..poisson };
    let (mean, variance) = moments(values(&spec).into_iter());
    assert_near(mean, 15.0, 0.08);
    assert_near(variance, 15.0, 0.5);
    let (thin, full) = (dense(&spec, Layer::Measured), dense(&spec, Layer::WithNoise));
    assert!(thin.iter().zip(&full).all(|(t, f)| t <= f && t.fract() == 0.0));
}

#[test]
fn genes_of_a_batch_are_its_own() {
    let features = BatchEffect {
        gene_fraction: Some(0.2),
        dispersion: Some(0.0),
        batches: Some(vec![2]),
        ..effect(EffectKind::BatchSpecificFeatures, 3.0)
    };
    let expression = BatchEffect {
        gene_fraction: Some(0.1),
        dispersion: Some(0.0),
        batches: Some(vec![1]),
        ..effect(EffectKind::BatchSpecificExpression, 1.0)
    };
    let batches = Batches { n: 2, effects: vec![features, expression], ..Default::default() };
    let spec = Spec { batches, ..flat(2.0, Distribution::Normal, 0.0) };
    let x = dense(&spec, Layer::Measured);
    assert_eq!(x.dim(), (400, 300));
    let (first, second) = (x.row(0), x.row(399));
    assert_eq!(first.iter().filter(|v| **v == 3.0).count(), 25);
    assert!(first.iter().skip(250).all(|v| *v == 0.0) && second.iter().skip(250).all(|v| *v == 3.0));
    assert!(second.iter().take(250).all(|v| *v == 2.0));
    assert!(x.rows().into_iter().take(200).all(|row| row == first));
    assert!(dense(&spec, Layer::NoNoise).iter().all(|v| *v == 2.0 || *v == 0.0));
    let simulation = Simulation::new(&spec).unwrap();
    assert_eq!(
        (&simulation.gene_names()[250], &simulation.gene_names()[299]),
        (&"batch_2_gene_1".into(), &"batch_2_gene_50".into())
    );
}

#[test]
fn gene_factors_are_log_normal_and_one_per_batch_and_gene() {
    let factors = BatchEffect { dispersion: Some(0.4), ..effect(EffectKind::GeneFactors, 0.1) };
    let batches = Batches { n: 2, effects: vec![factors], ..Default::default() };
    let spec = Spec { n_cells: 10, n_genes: 20_000, batches, ..flat(1.0, Distribution::Normal, 0.0) };
    let x = dense(&spec, Layer::Measured);
    assert_eq!(x.row(0), x.row(4));
    assert_ne!(x.row(0), x.row(9));
    let (mean, variance) = moments(x.row(9).iter().map(|v| f64::from(*v).ln()));
    assert_near(mean, 0.1, 0.015);
    assert_near(variance, 0.16, 0.01);
}

#[test]
fn every_cell_has_one_batch_and_one_name_and_batches_their_share() {
    let batches = Batches { n: 3, sizes: Sizes::Given(vec![5.0, 3.0, 2.0]), ..Default::default() };
    let simulation = Simulation::new(&Spec { batches, ..Default::default() }).unwrap();
    let cells = simulation.cells().unwrap();
    assert_eq!(cells.column("batch").unwrap().counts(), [500, 300, 200]);
    assert_eq!(cells.cell_names().iter().collect::<BTreeSet<_>>().len(), 1000);
}

#[test]
fn clusters_share_the_genes_they_are_told_to() {
    let shared = vec![SharedGenes { of: 1, also_in: 3, fraction: 0.5 }];
    let clusters = Clusters { n: 3, gene_sizes: Sizes::Given(vec![2.0, 1.0, 1.0]), shared, ..Default::default() };
    let spec = Spec {
        n_cells: 30,
        n_genes: 100,
        non_specific_gene_fraction: 0.2,
        structure: Structure::Clusters(clusters),
        ..Default::default()
    };
    let x = dense(&spec, Layer::NoNoise);
    let on = |cell: usize| (0..100).filter(|g| x[[cell, *g]] == 1.0).collect::<Vec<_>>();
    assert_eq!(on(0), (0..60).collect::<Vec<_>>());
    assert_eq!(on(15), (0..20).chain(60..80).collect::<Vec<_>>());
    assert_eq!(on(29), (0..40).chain(80..100).collect::<Vec<_>>());
}

fn noise_free(structure: Structure) -> Spec {
    Spec { n_cells: 1200, n_genes: 120, structure, ..Default::default() }
}

fn distance(x: &ndarray::Array2<f32>, a: usize, b: usize) -> f64 {
    x.row(a).iter().zip(x.row(b)).map(|(p, q)| f64::from(p - q).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn loops_close_and_open_paths_do_not() {
    let ends = |loop_to: Vec<usize>, shape: Shape| {
        let trajectory = Trajectory { n_programmes: 4, loop_to, shape, ..Default::default() };
        let x = dense(&noise_free(Structure::Trajectory(trajectory)), Layer::NoNoise);
        // Neighbours differ little all along a path of ramps.
        if shape == Shape::Linear {
            assert!((1..1200).all(|i| distance(&x, i - 1, i) < 0.1));
        }
        distance(&x, 0, 1199)
    };
    for shape in [Shape::Linear, Shape::DimensionIncrease, Shape::Uniform] {
        assert_eq!(ends(vec![1], shape), 0.0);
        // Programme 1 with 30 genes on against programme 4 with 30 genes on.
        assert_near(ends(Vec::new(), shape), 60f64.sqrt(), 1e-6);
    }
}

#[test]
fn several_loops_pass_the_same_states_again() {
    let trajectory = Trajectory { n_programmes: 9, loop_to: vec![1, 4, 7], ..Default::default() };
    let simulation = Simulation::new(&noise_free(Structure::Trajectory(trajectory))).unwrap();
    let (x, time) = (simulation.matrix(Layer::NoNoise).unwrap().to_dense(), numbers(&simulation, "time"));
    let at = |t: f32| (0..1200).min_by(|a, b| (time[*a] - t).abs().total_cmp(&(time[*b] - t).abs())).unwrap();
    for (again, first) in [(9.0, 0.0), (10.0, 3.0), (11.0, 6.0)] {
        assert_eq!(distance(&x, at(again), at(first)), 0.0);
    }
}

#[test]
fn crossing_paths_meet_in_their_programme_only() {
    let simulation = Simulation::new(&noise_free(Structure::Paths(Paths::default()))).unwrap();
    let (x, time) = (simulation.matrix(Layer::NoNoise).unwrap().to_dense(), numbers(&simulation, "time"));
    let path = categories(&simulation, "path");
    let at = |name: &str, t: f32| {
        let of = (0..1200).filter(|i| path[*i].as_deref() == Some(name));
        of.min_by(|a, b| (time[*a] - t).abs().total_cmp(&(time[*b] - t).abs())).unwrap()
    };
    assert_eq!(distance(&x, at("path_1", 1.0), at("path_2", 1.0)), 0.0);
    assert!(distance(&x, at("path_1", 0.0), at("path_2", 0.0)) > 5.0);
}

#[test]
fn lasting_programmes_add_up_or_run_out() {
    let on = |shape: Shape| {
        let trajectory = Trajectory { n_programmes: 4, shape, plateau: 0.1, ..Default::default() };
        let x = dense(&noise_free(Structure::Trajectory(trajectory)), Layer::NoNoise);
        [0, 600, 1199].map(|i| x.row(i).iter().map(|v| f64::from(*v)).sum::<f64>())
    };
    let [start, middle, end] = on(Shape::LinearIncreasing);
    assert_eq!((start, end), (30.0, 120.0));
    assert_near(middle, 75.0, 1.0);
    let [start, middle, end] = on(Shape::LinearDecreasing);
    assert_eq!((start, end), (120.0, 30.0));
    assert_near(middle, 75.0, 1.0);
    assert!(on(Shape::LinearBidirectional).iter().all(|sum| (sum - 75.0).abs() < 1.0));
}

#[test]
fn children_inherit_the_programmes_of_their_ancestors() {
    let tree = Tree { branching: vec![2, 3], depth: 2, programme_decay: 0.5, cell_decay: 0.5, ..Default::default() };
    let spec = Spec { n_genes: 700, ..noise_free(Structure::Tree(tree)) };
    let simulation = Simulation::new(&spec).unwrap();
    let x = simulation.matrix(Layer::NoNoise).unwrap().to_dense();
    let (branch, depth) = (categories(&simulation, "branch"), numbers(&simulation, "depth"));
    let of = |name: &str| (0..1200).filter(|i| branch[*i].as_deref() == Some(name)).collect::<Vec<_>>();
    // Weights of cells 1, 2 x 1/2, 6 x 1/4 and as many for genes: 3.5 in all.
    for (name, n) in [("branch", 342.9), ("branch_1", 171.4), ("branch_2_3", 85.7)] {
        assert_near(of(name).len() as f64, n, 1.0);
    }
    assert_eq!(depth.iter().filter(|d| **d == 2.0).count(), branch.iter().flatten().filter(|b| b.len() == 10).count());
    let last = |name: &str| *of(name).last().unwrap();
    let (root, parent, child, other) = (last("branch"), last("branch_1"), of("branch_1_2"), last("branch_2"));
    // A child starts where its parent ends, and keeps all that it had.
    assert!(distance(&x, parent, child[0]) < 0.1);
    for end in [child[0], child[child.len() - 1]] {
        assert!(x.row(end).iter().zip(x.row(parent)).all(|(c, p)| *c >= p - 0.02));
    }
    assert!(x.row(child[0]).iter().zip(x.row(root)).filter(|(_, r)| **r > 0.9).all(|(c, _)| *c == 1.0));
    // Siblings share the root's 200 genes and differ in 100 each.
    assert_near(distance(&x, parent, other), 200f64.sqrt(), 0.2);
}

#[test]
fn clusters_vary_within_by_their_shape() {
    let sums = |shape: Shape| {
        let clusters = Clusters { n: 1, shape, plateau: 0.0, ..Default::default() };
        let x = dense(&noise_free(Structure::Clusters(clusters)), Layer::NoNoise);
        [0, 600, 1199].map(|i| x.row(i).sum().round())
    };
    assert_eq!(sums(Shape::Uniform), [120.0; 3]);
    assert_eq!(sums(Shape::Linear), [0.0, 120.0, 0.0]);
    assert_eq!(sums(Shape::LinearIncreasing), [0.0, 60.0, 120.0]);
    assert_eq!(sums(Shape::LinearDecreasing), [120.0, 60.0, 0.0]);
    assert_eq!(sums(Shape::LinearBidirectional), [60.0; 3]);
    assert_eq!(sums(Shape::DimensionIncrease), [0.0, 60.0, 120.0]);
}

#[test]
fn groups_differ_more_for_stronger_factors_and_lose_more_by_the_curve() {
    let spec = |de_scale: f64, mid: f64| {
        let groups = Groups { n: 2, de_scale, library_loc: 9.0, outlier_prob: 0.0, ..Default::default() };
        let dropout_curve = Some(DropoutCurve { mid, shape: -1.0 });
        Spec { n_cells: 400, n_genes: 500, structure: Structure::Groups(groups), dropout_curve, ..Default::default() }
    };
    let between = |de_scale: f64| {
        let x = dense(&spec(de_scale, 0.0), Layer::NoNoise);
        let share = |cell: usize| x.row(cell).to_owned() / x.row(cell).sum();
        (share(0) - share(399)).iter().map(|d| f64::from(d.abs())).sum::<f64>()
    };
    assert!(between(1.0) > 1.5 * between(0.3) && between(0.3) > 0.0);
    let zeros = |mid: f64| dense(&spec(0.3, mid), Layer::Measured).iter().filter(|v| **v == 0.0).count();
    assert!(zeros(2.0) > zeros(0.0) && zeros(0.0) > zeros(-2.0));
    let libraries: Vec<f64> =
        dense(&spec(0.3, 0.0), Layer::NoNoise).rows().into_iter().map(|r| f64::from(r.sum()).ln()).collect();
    let (mean, variance) = moments(libraries.iter().copied());
    assert_near(mean, 9.0, 0.05);
    assert_near(variance.sqrt(), 0.2, 0.03);
}

#[test]
fn counts_of_groups_are_as_overdispersed_as_their_mean_says() {
    // Without factors, spread of libraries or of genes, all cells draw from one mean per gene.
    let groups =
        Groups { n: 1, de_prob: 0.0, outlier_prob: 0.0, library_loc: 7.0, library_scale: 0.0, bcv_df: 1e9, ..Default::default() };
    let spec = Spec { n_cells: 4000, n_genes: 200, structure: Structure::Groups(groups), ..Default::default() };
    let (truth, counts) = (dense(&spec, Layer::NoNoise), dense(&spec, Layer::Measured));
    let (mut seen, mut expected) = (0.0, 0.0);
    for gene in 0..200 {
        let m = f64::from(truth[[0, gene]]);
        let (mean, variance) = moments(counts.column(gene).iter().map(|v| f64::from(*v)));
        let wanted = m + ((0.1 + 1.0 / m.sqrt()) * m).powi(2);
        assert_near(mean, m, 6.0 * (wanted / 4000.0).sqrt() + 1e-9);
        if m > 1.0 {
            (seen, expected) = (seen + variance / wanted, expected + 1.0);
        }
    }
    assert!(expected > 50.0);
    assert_near(seen / expected, 1.0, 0.03);
}

#[test]
fn batches_have_the_states_listed_for_them() {
    // One type in the first batch only, as where types are taken out of some batches to make an overlap partial.
    let simulation = Simulation::new(&Spec::preset("splatter_rare").unwrap()).unwrap();
    let (batch, group) = (categories(&simulation, "batch"), categories(&simulation, "cell_type"));
    let count =
        |b: &str, g: &str| batch.iter().zip(&group).filter(|(x, y)| x.as_deref() == Some(b) && y.as_deref() == Some(g)).count();
    // 1000 cells per batch; weights 0.1 and six of 1, or five of 1.
    assert_near(count("batch_1", "group_1") as f64, 1000.0 * 0.1 / 6.1, 1.0);
    assert_near(count("batch_1", "group_2") as f64, 1000.0 / 6.1, 1.0);
    assert_near(count("batch_4", "group_1") as f64, 1000.0 * 0.1 / 5.1, 1.0);
    assert_eq!(count("batch_4", "group_2"), 0);
}

#[test]
fn clones_have_their_fates_days_and_inherited_genes() {
    let lineage = Lineage { n_clones: 40, unread: 0.25, fate_concentration: 0.05, ..Default::default() };
    let spec = Spec { n_cells: 3000, structure: Structure::Lineage(lineage), ..Spec::preset("lineage").unwrap() };
    let simulation = Simulation::new(&spec).unwrap();
    let (clone, barcode) = (categories(&simulation, "clone"), categories(&simulation, "barcode"));
    let (fate, day, time) = (categories(&simulation, "fate"), numbers(&simulation, "day"), numbers(&simulation, "time"));
    let read = barcode.iter().flatten().count() as f64 / 3000.0;
    assert_near(read, 0.75, 0.03);
    assert!(barcode.iter().zip(&clone).all(|(b, c)| b.is_none() || b == c));
    for (d, progress) in [(2.0, 1.0 / 3.0), (4.0, 2.0 / 3.0)] {
        let (mean, _) = moments(time.iter().zip(&day).filter(|(_, x)| **x == d).map(|(t, _)| f64::from(*t)));
        assert_near(mean, progress, 0.02);
    }
    // With so low a concentration, most cells of a clone have its main fate.
    let main: usize = (1..=40)
        .map(|c| {
            let name = format!("clone_{c}");
            let of =
                |f: &str| clone.iter().zip(&fate).filter(|(x, y)| x.as_deref() == Some(&name) && y.as_deref() == Some(f)).count();
            (1..=3).map(|f| of(&format!("fate_{f}"))).max().unwrap()
        })
        .sum();
    assert!(main as f64 > 0.85 * 3000.0, "{main}");
    // Cells of one clone and fate are nearer than cells of another clone with the same fate at about the same time.
    let x = simulation.matrix(Layer::NoNoise).unwrap().to_dense();
    let (mut same, mut other) = (Vec::new(), Vec::new());
    for (a, b) in (0..300).flat_map(|a| (0..a).map(move |b| (a, b))) {
        if fate[a] == fate[b] && (time[a] - time[b]).abs() < 0.02 {
            let list = if clone[a] == clone[b] { &mut same } else { &mut other };
            list.push(distance(&x, a, b));
        }
    }
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    assert!(mean(&other) > 2.0 * mean(&same), "{} against {}", mean(&other), mean(&same));
}

#[test]
fn gene_activity_and_proteins_follow_the_rna() {
    let atac = Simulation::new(&Spec::preset("rna_atac").unwrap()).unwrap();
    let (names, rows) = atac.modality().unwrap();
    assert_eq!(names, atac.gene_names());
    let mut counts = Csr::empty(0);
    rows.read_range(0..2000, &mut counts).unwrap();
    let (truth, counts) = (atac.matrix(Layer::NoNoise).unwrap().to_dense(), counts.to_dense());
    let mean = |on: bool| {
        let chosen = truth.iter().zip(&counts).filter(|(t, _)| (**t > 1.0) == on);
        moments(chosen.map(|(_, c)| f64::from(*c))).0
    };
    // Means of genes x cells, with log-normal accessibility and depth: exp(s² / 2) each, 0.3 lost; 80 % of the genes follow the RNA.
    let spread = (0.125f64 + 0.08).exp() * 0.7;
    assert_near(mean(true), spread * (0.8 * 0.7 + 0.2 * 0.4), 0.06);
    let off = 0.1 + 0.6 * 0.15 / 2.0;
    assert_near(mean(false), spread * (0.8 * off + 0.2 * 0.4), 0.03);

    let protein = Simulation::new(&Spec::preset("rna_protein").unwrap()).unwrap();
    let (names, rows) = protein.modality().unwrap();
    assert_eq!((names.len(), rows.n_cells()), (30, 2000));
    let mut counts = Csr::empty(0);
    rows.read_range(0..2000, &mut counts).unwrap();
    let (counts, truth) = (counts.to_dense(), protein.matrix(Layer::NoNoise).unwrap().to_dense());
    for (p, name) in names.iter().enumerate() {
        let gene = protein.gene_names().iter().position(|g| name.ends_with(&format!("_of_{g}"))).unwrap();
        let of = |on: bool| {
            let chosen = (0..2000).filter(|i| (truth[[*i, gene]] > 1.0) == on).map(|i| f64::from(counts[[i, p]]));
            chosen.clone().next().map(|_| moments(chosen).0)
        };
        if let (Some(on), Some(off)) = (of(true), of(false)) {
            // On adds 100 and off 0.075 of it, times the mean depth.
            assert_near(on - off, 92.5 * 0.02f64.exp(), 12.0);
        }
    }
}

#[test]
fn the_seed_fixes_all_and_blocks_threads_and_order_nothing() {
    for (name, _) in PRESETS {
        let spec = Spec { n_cells: 150, n_genes: 120, ..Spec::preset(name).unwrap() };
        let simulation = Simulation::new(&spec).unwrap();
        let run = |n: usize| Threads::new(n).unwrap().run(|| simulation.matrix(Layer::Measured)).unwrap();
        let whole = run(1);
        assert_eq!(whole, run(2), "{name}");
        let mut block = Csr::empty(0);
        for rows in row_blocks(150, 37) {
            simulation.read_range(rows.clone(), &mut block).unwrap();
            rows.enumerate().for_each(|(at, i)| assert_eq!(block.row(at), whole.row(i), "{name}"));
        }
        simulation.read_rows(&[149, 3, 3], &mut block).unwrap();
        assert_eq!((block.row(0), block.row(1), block.row(2)), (whole.row(149), whole.row(3), whole.row(3)));
        let other = Simulation::new(&Spec { seed: 1, ..spec }).unwrap().matrix(Layer::Measured).unwrap();
        assert_ne!(other, whole, "{name}");
    }
}

#[test]
fn more_cells_or_another_effect_change_no_noise() {
    let spec = Spec::preset("five_clusters_two_batches").unwrap();
    let plain = Spec { batches: Batches { effects: Vec::new(), ..spec.batches.clone() }, ..spec.clone() };
    assert_eq!(dense(&spec, Layer::WithNoise).slice(ndarray::s![.., ..1000]), dense(&plain, Layer::Measured));
}

#[test]
fn shuffled_cells_keep_what_is_known_of_them() {
    for name in ["tree_two_batches", "lineage"] {
        let spec = Spec {
            n_cells: 300,
            noise: Noise { dispersion: PerState::One(0.0), ..Default::default() },
            ..Spec::preset(name).unwrap()
        };
        let rows = |shuffle: bool| {
            let simulation = Simulation::new(&Spec { shuffle, ..spec.clone() }).unwrap();
            let (x, time) = (simulation.matrix(Layer::NoNoise).unwrap().to_dense(), numbers(&simulation, "time"));
            let (batch, label) = (categories(&simulation, "batch"), categories(&simulation, simulation.label_key()));
            (0..300).map(|i| format!("{:?} {} {:?} {:?}", batch[i], time[i], label[i], x.row(i))).collect::<Vec<_>>()
        };
        let (mut plain, mut shuffled) = (rows(false), rows(true));
        assert_ne!(plain, shuffled);
        plain.sort_unstable();
        shuffled.sort_unstable();
        assert_eq!(plain, shuffled);
    }
}

#[test]
fn a_spec_reads_back_as_it_was_written() {
    for (name, _) in PRESETS {
        let spec = Spec::preset(name).unwrap();
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<Spec>(&text).unwrap(), spec, "{name}");
    }
    assert_eq!(serde_json::from_str::<Spec>("{}").unwrap(), Spec::default());
}

#[test]
fn what_is_none_by_default_can_be_set_by_name_and_unset() {
    let changes = serde_json::json!({"dropout_curve": {"mid": 1.0}, "modality": {"kind": "protein"}});
    let spec = with_settings(&Spec::default(), changes.as_object().unwrap()).unwrap();
    assert_eq!(spec.dropout_curve, Some(DropoutCurve { mid: 1.0, shape: -1.0 }));
    assert!(matches!(spec.modality, Some(Modality::Protein(_))));
    let none = serde_json::json!({"dropout_curve": null, "modality": null});
    assert_eq!(with_settings(&spec, none.as_object().unwrap()).unwrap(), Spec::default());
}

#[test]
fn the_ladder_has_unequal_batches_and_clusters() {
    for (name, n) in [("ladder_2", 2), ("ladder_10", 10), ("ladder_30", 30)] {
        let simulation = Simulation::new(&Spec::preset(name).unwrap()).unwrap();
        let cells = simulation.cells().unwrap();
        for (column, levels) in [("batch", n), ("cell_type", 8)] {
            let counts = cells.column(column).unwrap().counts();
            assert_eq!((counts.len(), counts.iter().sum::<usize>()), (levels, 6000));
            assert!(counts.iter().all(|c| *c > 0) && counts.iter().max() > counts.iter().min());
        }
    }
}

#[test]
fn bad_specs_are_refused_with_their_key() {
    let preset = |name: &str| Spec::preset(name).unwrap();
    let tree = |tree: Tree| Spec { structure: Structure::Tree(tree), ..Default::default() };
    let path = |t: Trajectory| Spec { structure: Structure::Trajectory(t), ..Default::default() };
    let batches = |b: Batches| Spec { batches: b, ..Default::default() };
    let on = |e: BatchEffect| batches(Batches { effects: vec![e], ..Default::default() });
    let cases = [
        ("n_cells", Spec { n_cells: 0, ..Default::default() }),
        ("level", Spec { level: f64::NAN, ..Default::default() }),
        ("dropout", Spec { dropout: 1.0, ..Default::default() }),
        ("n_genes", Spec { n_genes: 2, ..Default::default() }),
        (
            "noise.dispersion",
            Spec { noise: Noise { dispersion: PerState::Each(vec![0.1; 2]), ..Default::default() }, ..Default::default() },
        ),
        ("level", Spec { level: 2.0, ..preset("splatter") }),
        ("structure.branching", tree(Tree { branching: vec![2, 2], ..Default::default() })),
        ("structure.depth", tree(Tree { depth: 60, ..Default::default() })),
        ("structure.shape", tree(Tree { shape: Shape::LinearDecreasing, ..Default::default() })),
        ("structure.shape", path(Trajectory { shape: Shape::LinearIncreasing, loop_to: vec![1], ..Default::default() })),
        ("structure.loop_to", path(Trajectory { loop_to: vec![9], ..Default::default() })),
        ("structure.n_programmes", path(Trajectory { n_programmes: 1, ..Default::default() })),
        ("batches.n", batches(Batches { n: 0, ..Default::default() })),
        ("batches.n", batches(Batches { n: 5000, ..Default::default() })),
        ("batches.sizes", batches(Batches { n: 3, sizes: Sizes::Given(vec![1.0, 2.0]), ..Default::default() })),
        ("batches.overlap", batches(Batches { n: 2, overlap: Overlap::Gap(1.0), ..Default::default() })),
        ("batches.states", batches(Batches { n: 2, states: vec![vec![1], vec![4]], ..Default::default() })),
        ("batches.effects.level", on(effect(EffectKind::Downsampling, 1.5))),
        ("batches.effects.batches", on(BatchEffect { batches: Some(vec![2]), ..BatchEffect::new(EffectKind::ScalingFactor) })),
        (
            "batches.effects.gene_fraction",
            on(BatchEffect { gene_fraction: Some(0.1), ..BatchEffect::new(EffectKind::ScalingFactor) }),
        ),
        (
            "structure.days",
            Spec { structure: Structure::Lineage(Lineage { days: vec![4.0, 2.0], ..Default::default() }), ..Default::default() },
        ),
        ("modality.n", Spec { n_genes: 20, ..preset("rna_protein") }),
    ];
    for (key, spec) in cases {
        match Simulation::new(&spec) {
            Err(Error::Argument { argument, .. }) => assert_eq!(argument, key),
            other => panic!("{key}: {:?}", other.map(|_| ())),
        }
    }
    assert!(Spec::preset("tre").unwrap_err().to_string().contains("three_clusters"));
    let unknown = serde_json::from_str::<Spec>(r#"{"structure": {"kind": "tree", "depht": 2}}"#).unwrap_err().to_string();
    assert!(unknown.contains("`depht`") && unknown.contains("`depth`"), "{unknown}");
}
