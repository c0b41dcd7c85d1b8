mod structures;

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
