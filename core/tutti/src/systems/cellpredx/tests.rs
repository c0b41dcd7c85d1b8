use super::*;
use crate::data::Csr;
use crate::metrics::auroc;
use crate::model::Network as _;
use crate::observe::{CancelToken, Silent};
use crate::preprocess::{Normalized, Preprocessing, TargetSum, to_memory};
use crate::simulate::{BatchEffect, Batches, Clusters, EffectKind, Layer, Simulation, Spec, Structure};
use crate::train::{History, State};

/// Counts of clusters in batches, log-normalised. `states`: types of each batch. The last batches are queries.
struct Planted {
    cells: Cells<'static>,
    input: CellPredXInput,
    truth: Categorical,
    noise_free: Csr,
}

fn planted(n_cells: usize, states: &[&[usize]], n_queries: usize, seed: u64) -> Planted {
    let factors = BatchEffect { dispersion: Some(0.6), ..BatchEffect::new(EffectKind::GeneFactors) };
    let states: Vec<Vec<usize>> = states.iter().map(|s| s.to_vec()).collect();
    let n_batches = states.len();
    let batches = Batches { n: n_batches, states, effects: vec![factors], ..Default::default() };
    let structure = Structure::Clusters(Clusters { n: 5, ..Default::default() });
    let base = Spec { n_cells, n_genes: 300, seed, structure, batches, modality: None, ..Spec::preset("rna_atac").unwrap() };
    let simulation = Simulation::new(&base).unwrap();
    let counts = simulation.cells().unwrap();
    let (truth, batch) = (counts.column("cell_type").unwrap().clone(), counts.column("batch").unwrap().clone());
    let logged = to_memory(&Normalized::new(counts.shared_source(), Some(TargetSum::Fixed(1e4)), true).unwrap()).unwrap();
    let cells = counts.with_source(logged, simulation.gene_names().to_vec()).unwrap();
    let is_query = batch.codes().iter().map(|b| b.unwrap() as usize >= n_batches - n_queries).collect();
    let input = CellPredXInput { labels: truth.clone(), is_query, batch: Some(batch) };
    Planted { cells, input, truth, noise_free: simulation.matrix(Layer::NoNoise).unwrap() }
}

fn small(config: CellPredXConfig) -> CellPredXConfig {
    CellPredXConfig { latent_dim: 16, gate_dim: 16, n_steps: 60, batch_size: 64, ..config }
}

fn fit(planted: &Planted, config: CellPredXConfig, n_threads: usize) -> (CellPredX, History) {
    let threads = Threads::new(n_threads).unwrap();
    let mut trainer = CellPredX::trainer(&planted.cells, &planted.input, config, &Device::Cpu, threads).unwrap();
    assert_eq!(trainer.train(&mut Silent, &CancelToken::default()).unwrap(), State::Finished);
    trainer.finish().unwrap()
}

fn queries(planted: &Planted) -> Vec<usize> {
    (0..planted.input.is_query.len()).filter(|i| planted.input.is_query[*i]).collect()
}

fn accuracy(planted: &Planted, model: &CellPredX) -> f64 {
    let found = model.predict(model.embed(planted.cells.source()).unwrap().view()).unwrap();
    let rows: Vec<usize> =
        queries(planted).into_iter().filter(|i| model.classes.iter().any(|c| planted.truth.value(*i) == Some(c))).collect();
    rows.iter().filter(|i| found.label.value(**i) == planted.truth.value(**i)).count() as f64 / rows.len() as f64
}

#[test]
fn carries_labels_to_another_batch_and_is_unsure_of_types_that_the_reference_lacks() {
    for (scenario, _) in Scenario::ALL {
        let planted = planted(800, &[&[1, 2, 3, 4], &[1, 2, 3, 4, 5]], 1, 1);
        let config = CellPredXConfig { n_steps: 150, ..small(CellPredXConfig::preset(Preset::Default, scenario)) };
        let (model, history) = fit(&planted, config, 2);
        assert_eq!(model.classes.len(), 4);
        let found = model.predict(model.embed(planted.cells.source()).unwrap().view()).unwrap();
        let rows = queries(&planted);
        let novel: Vec<bool> = rows.iter().map(|i| !model.classes.iter().any(|c| planted.truth.value(*i) == Some(c))).collect();
        let unsure: Vec<f64> = rows.iter().map(|i| 1.0 - f64::from(found.probability[*i])).collect();
        let (accuracy, auroc) = (accuracy(&planted, &model), auroc(&unsure, &novel).unwrap());
        let gate = history.epochs.last().unwrap().terms["gate_mean"];
        println!(
            "{scenario:?}: accuracy {accuracy:.3}, AUROC of the new type {auroc:.3}, gate {gate:.3}, {} rounds",
            history.epochs.len()
        );
        assert!(accuracy > 0.98 && auroc > 0.95, "{scenario:?}: {accuracy} {auroc}");
    }
}

#[test]
fn distances_by_the_metric_tell_a_type_that_the_reference_lacks_and_keep_the_others_under_a_batch_effect() {
    use crate::downstream::{TransferConfig, novelty_beside};
    use crate::neighbors::Metric;
    let planted = planted(900, &[&[1, 2, 3, 4], &[1, 2, 3, 4, 5]], 1, 5);
    // As `annotate` has it: a fifth of the reference has no label in training and says what is usual.
    let reference: Vec<usize> = (0..900).filter(|i| !planted.input.is_query[*i]).collect();
    let (usual, others) = reference.split_at(reference.len() / 5);
    let mut codes = planted.truth.codes().to_vec();
    usual.iter().for_each(|i| codes[*i] = None);
    let labels = Categorical::new(codes, planted.truth.levels().to_vec()).unwrap();
    let input = CellPredXInput { labels, ..planted.input.clone() };
    let rows = queries(&planted);
    for preset in [Preset::Default, Preset::Paper] {
        let config = small(CellPredXConfig::preset(preset, Scenario::RnaToRna));
        let metric = config.metric();
        let mut trainer = CellPredX::trainer(&planted.cells, &input, config, &Device::Cpu, Threads::new(2).unwrap()).unwrap();
        trainer.train(&mut Silent, &CancelToken::default()).unwrap();
        let (model, _) = trainer.finish().unwrap();
        let z = model.embed(planted.cells.source()).unwrap();
        let novel: Vec<bool> = rows.iter().map(|i| !model.classes.iter().any(|c| planted.truth.value(*i) == Some(c))).collect();
        let select = |rows: &[usize]| z.select(ndarray::Axis(0), rows);
        let (voters, cells) = (select(others), select(&[usual, &rows].concat()));
        let of = |metric| {
            let config = TransferConfig { n_neighbors: 15, metric, ..Default::default() };
            let found = novelty_beside(voters.view(), cells.view(), usual.len(), &config).unwrap();
            let of_query: Vec<f64> = found[usual.len()..].iter().map(|v| f64::from(*v)).collect();
            let known: Vec<f64> = of_query.iter().zip(&novel).filter(|(_, novel)| !**novel).map(|(v, _)| *v).collect();
            let refused = known.iter().filter(|v| **v > 0.95).count() as f64 / known.len() as f64;
            (auroc(&of_query, &novel).unwrap(), refused)
        };
        let (euclidean, cosine) = (of(Metric::Euclidean), of(Metric::Cosine));
        println!("{preset:?}: AUROC and share of known cells that are refused: {euclidean:.3?}, by cosine {cosine:.3?}");
        let (chosen, other) = if metric == Metric::Euclidean { (euclidean, cosine) } else { (cosine, euclidean) };
        assert!(chosen.0 > other.0, "{preset:?}: {chosen:?} {other:?}");
        assert!(preset != Preset::Default || (chosen.0 > 0.97 && chosen.1 < 0.2), "{chosen:?}");
    }
}

#[test]
fn determinant_genes_are_the_planted_markers() {
    use crate::downstream::{GradientConfig, Target, integrated_gradients};
    let planted = planted(600, &[&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]], 1, 2);
    let (model, _) = fit(&planted, small(CellPredXConfig::default()), 2);
    let truth = &planted.truth;
    let dense = planted.noise_free.to_dense();
    let mean = |gene: usize, of: bool, class: u32| {
        let rows: Vec<usize> = (0..truth.len()).filter(|i| (truth.codes()[*i] == Some(class)) == of).collect();
        rows.iter().map(|i| f64::from(dense[[*i, gene]])).sum::<f64>() / rows.len() as f64
    };
    for class in 0..5 {
        let rows: Vec<usize> = queries(&planted).into_iter().filter(|i| truth.codes()[*i] == Some(class)).collect();
        let found =
            integrated_gradients(&model, planted.cells.source(), &rows, &Target::PredictedClass, &GradientConfig::default())
                .unwrap();
        let top = found.most_frequent(30, 20);
        let markers = top.iter().filter(|(gene, _)| mean(*gene, true, class) > 2.0 * mean(*gene, false, class)).count();
        let all = (0..300).filter(|gene| mean(*gene, true, class) > 2.0 * mean(*gene, false, class)).count();
        println!("class {class}: {markers} of 20 are among its {all} markers of 300 genes");
        assert!(markers >= 16, "class {class}: {markers}");
    }
}

#[test]
fn several_references_and_queries_of_any_size_are_trained_on_at_once() {
    let config = CellPredXConfig::preset(Preset::Default, Scenario::UnmatchedRnaToAtac);
    let mut planted = planted(900, &[&[1, 2, 3], &[3, 4, 5], &[1, 2, 4, 5], &[1, 3, 5]], 2, 3);
    let (model, history) = fit(&planted, CellPredXConfig { n_steps: 200, ..small(config) }, 2);
    assert_eq!(model.training.as_ref().unwrap().members.len(), 4);
    println!("accuracy in both queries {:.3}", accuracy(&planted, &model));
    assert!(accuracy(&planted, &model) > 0.9);
    for name in ["classification", "projection_reference", "projection_query", "nt_xent", "alignment", "center", "gate_mean"] {
        assert!(history.epochs[0].terms.contains_key(name), "{name} is missing");
    }
    // A query of a single cell, beside a larger one.
    let lonely = queries(&planted)[0];
    let batch = (0..900).map(|i| Some(if i == lonely { "lonely" } else { "others" }));
    planted.input.batch = Some(Categorical::from_values(batch));
    let (model, _) = fit(&planted, small(CellPredXConfig::default()), 2);
    assert!(model.embed(planted.cells.source()).unwrap().iter().all(|v| v.is_finite()));
    let warnings = CellPredX::warnings(&planted.input, &CellPredXConfig::default()).unwrap();
    assert!(warnings[0].contains("(the least: 1)"), "{warnings:?}");
}

#[test]
fn labels_of_the_query_are_never_seen() {
    let mut planted = planted(400, &[&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]], 1, 4);
    let weights = |planted: &Planted| {
        let (model, _) = fit(planted, CellPredXConfig { n_steps: 20, ..small(CellPredXConfig::default()) }, 2);
        model.embed(planted.cells.source()).unwrap()
    };
    let with_truth = weights(&planted);
    let is_query = planted.input.is_query.clone();
    let hidden = (0..400).map(|i| if is_query[i] { Some("nonsense") } else { planted.truth.value(i) });
    planted.input.labels = Categorical::from_values(hidden);
    assert_eq!(with_truth, weights(&planted));
    planted.input.labels = Categorical::from_values((0..400).map(|i| if is_query[i] { None } else { planted.truth.value(i) }));
    assert_eq!(with_truth, weights(&planted));
}

#[test]
fn same_seed_same_bits_whatever_the_threads_and_a_resumed_run_too() {
    let planted = planted(300, &[&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]], 1, 5);
    let folder = tempfile::tempdir().unwrap();
    for (i, (preset, _)) in Preset::ALL.into_iter().enumerate() {
        let config = CellPredXConfig::preset(preset, Scenario::UnmatchedRnaToAtac);
        let config = CellPredXConfig { n_steps: 12, steps_per_round: 3, center_start: 4, ..small(config) };
        let config = CellPredXConfig { n_steps: 12, ..config };
        let whole = fit(&planted, config.clone(), 1);
        let embedded = whole.0.embed(planted.cells.source()).unwrap();
        assert_eq!(embedded, fit(&planted, config.clone(), 2).0.embed(planted.cells.source()).unwrap());

        let path = folder.path().join(format!("{i}.checkpoint"));
        let threads = || Threads::new(2).unwrap();
        let trainer = || CellPredX::trainer(&planted.cells, &planted.input, config.clone(), &Device::Cpu, threads()).unwrap();
        let mut first = trainer().with_checkpoint(Some(path.clone()));
        while first.history().len() < 2 {
            first.advance(std::time::Duration::ZERO, &mut Silent, &CancelToken::default()).unwrap();
        }
        drop(first);
        let mut second = trainer();
        second.resume(&path).unwrap();
        second.train(&mut Silent, &CancelToken::default()).unwrap();
        let resumed = second.finish().unwrap();
        assert_eq!(whole.1, resumed.1);
        assert_eq!(embedded, resumed.0.embed(planted.cells.source()).unwrap());
    }
}

#[test]
fn the_gate_closes_where_nothing_keeps_it_open() {
    let planted = planted(400, &[&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]], 1, 6);
    let level = |gate_floor| {
        let config = CellPredXConfig { gate_floor, center_weight: 5.0, n_steps: 300, ..small(CellPredXConfig::default()) };
        let config = CellPredXConfig { stopping: Stopping::Never, train_frac: 1.0, lr: 0.03, ..config };
        let (_, history) = fit(&planted, config, 2);
        history.epochs.last().unwrap().terms["gate_mean"]
    };
    let (open, closed) = (level(0.4), level(0.0));
    println!("mean of the gate {open:.3} with a floor of 0.4, {closed:.3} without");
    assert!(open > 0.05 && closed < 0.02, "{open} {closed}");
}

#[test]
fn the_first_encoder_projects_on_components_with_the_size_of_random_weights_and_knows_no_class() {
    let planted = planted(400, &[&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]], 1, 10);
    let of = |start| {
        let config = CellPredXConfig { start, latent_dim: 16, ..CellPredXConfig::default() };
        CellPredX::new(&planted.cells, &planted.input, config, &Device::Cpu).unwrap()
    };
    let model = of(Start::Components);
    let z = model.embed(planted.cells.source()).unwrap();
    let weight = model.first_weight().unwrap().unwrap();
    // Columns are orthogonal, all of length sqrt(2 * 16 / n_genes); dimensions of the cells are centred and uncorrelated, the first vary most.
    let squared = 2.0 * 16.0 / weight.nrows() as f32;
    let products = weight.t().dot(&weight);
    let covariance = z.t().dot(&z) / 399.0;
    for i in 0..16 {
        assert!(z.column(i).mean().unwrap().abs() < 1e-3);
        for j in 0..16 {
            let expected = if i == j { squared } else { 0.0 };
            assert!((products[[i, j]] - expected).abs() < 1e-4 * squared, "{i} {j}: {}", products[[i, j]]);
            assert!(i == j || covariance[[i, j]].abs() < 1e-2 * covariance[[0, 0]]);
        }
        assert!(i == 0 || covariance[[i, i]] <= covariance[[i - 1, i - 1]] * 1.001);
    }
    let found = model.predict(z.view()).unwrap();
    assert!(found.probability.iter().all(|p| (p - 0.2).abs() < 1e-6));
    let random = of(Start::Random);
    let found = random.predict(random.embed(planted.cells.source()).unwrap().view()).unwrap();
    assert!(found.probability.iter().any(|p| (p - 0.2).abs() > 0.05));
}

#[test]
fn fewer_cells_or_genes_than_dimensions_leave_the_others_at_zero() {
    let planted = planted(12, &[&[1, 2], &[1, 2]], 1, 11);
    let model = CellPredX::new(&planted.cells, &planted.input, CellPredXConfig::default(), &Device::Cpu).unwrap();
    let weight = model.first_weight().unwrap().unwrap();
    let used: Vec<bool> = weight.columns().into_iter().map(|column| column.iter().any(|w| *w != 0.0)).collect();
    assert_eq!(used, (0..64).map(|k| k < 11).collect::<Vec<_>>());
    let (model, _) = fit(&planted, CellPredXConfig { n_steps: 20, ..CellPredXConfig::default() }, 2);
    assert!(model.embed(planted.cells.source()).unwrap().iter().all(|v| v.is_finite()));
}

#[test]
fn what_the_reference_does_not_determine_gives_the_query_no_class() {
    let planted = planted(300, &[&[1, 2, 3], &[1, 2, 3]], 1, 12);
    // Genes that the reference lacks and the query has by chance: only random weights could make classes of them.
    let doubtful = |start| {
        let n_genes = planted.cells.n_genes();
        let mut stream = crate::rng::Rng::new(3).stream("chance", 0, 0);
        let mut x = crate::data::Csr::empty(n_genes + 200);
        let mut read = crate::data::Csr::empty(0);
        planted.cells.source().read_rows(&(0..300).collect::<Vec<_>>(), &mut read).unwrap();
        for i in 0..300 {
            let (genes, values) = read.row(i);
            let chance: Vec<(u32, f32)> = match planted.input.is_query[i] {
                true => (0..200).map(|g| ((n_genes + g) as u32, (stream.normal() as f32).abs() + 2.0)).collect(),
                false => Vec::new(),
            };
            x.push_row(genes.iter().copied().zip(values.iter().copied()).chain(chance));
        }
        let names = (0..300).map(|i| i.to_string()).collect();
        let genes = (0..n_genes + 200).map(|g| g.to_string()).collect();
        let shifted = Planted {
            cells: Cells::new(x, names, genes).unwrap(),
            input: planted.input.clone(),
            truth: planted.truth.clone(),
            noise_free: planted.noise_free.clone(),
        };
        let right: Vec<f64> = (0..3)
            .map(|seed| {
                let config = CellPredXConfig { start, seed, ..small(CellPredXConfig::default()) };
                accuracy(&shifted, &fit(&shifted, config, 2).0)
            })
            .collect();
        println!("{start:?}: {right:?}");
        right.iter().sum::<f64>() / 3.0
    };
    let (components, random) = (doubtful(Start::Components), doubtful(Start::Random));
    assert!(components > 0.99 && random < 0.97, "{components} {random}");
}

#[test]
fn learned_centres_come_to_the_classes_and_fixed_ones_stay() {
    let planted = planted(400, &[&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]], 1, 7);
    let of = |centers| {
        let (model, _) = fit(&planted, CellPredXConfig { centers, ..small(CellPredXConfig::default()) }, 2);
        let z = model.embed(planted.cells.source()).unwrap();
        (model, z)
    };
    let (model, z) = of(Centers::Learned);
    let centers = crate::model::to_array(model.centers.as_ref().unwrap().as_tensor()).unwrap();
    let reference = (0..400).filter(|i| !planted.input.is_query[*i]);
    let nearest = |i: usize| {
        let away = |k: usize| centers.row(k).iter().zip(z.row(i)).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        (0..5).min_by(|a, b| away(*a).total_cmp(&away(*b))).unwrap() as u32
    };
    let right = reference.clone().filter(|i| planted.truth.codes()[*i] == Some(nearest(*i))).count();
    assert!(right as f64 > 0.9 * reference.count() as f64, "{right}");
    let (fixed, _) = of(Centers::Fixed);
    let untrained = CellPredX::new(&planted.cells, &planted.input, fixed.config.clone(), &Device::Cpu).unwrap();
    let values = |model: &CellPredX| model.centers.as_ref().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(values(&fixed), values(&untrained));
}

#[test]
fn a_saved_model_predicts_as_before() {
    let planted = planted(300, &[&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]], 1, 8);
    let (model, history) = fit(&planted, CellPredXConfig { n_steps: 20, ..small(CellPredXConfig::default()) }, 2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    model.save(&path, Preprocessing::COUNTS, &history).unwrap();
    let (back, preprocessing, back_history) = CellPredX::load(&path, &Device::Cpu).unwrap();
    assert_eq!((preprocessing, &back_history, back.classes()), (Preprocessing::COUNTS, &history, model.classes()));
    let z = model.embed(planted.cells.source()).unwrap();
    assert_eq!(z, back.embed(planted.cells.source()).unwrap());
    assert_eq!(model.predict(z.view()).unwrap(), back.predict(z.view()).unwrap());
}

#[test]
fn the_surest_query_cells_are_those_above_the_quantile() {
    let rows = [[0.9f32, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]].map(|r| r.to_vec());
    // Largest: .9 .8 .6 .7; the 75th percentile is .825.
    assert_eq!(surest(&rows, 0.75), [(0, 0)]);
    assert_eq!(surest(&rows, 0.5), [(0, 0), (1, 1)]);
    assert_eq!(surest(&rows, 0.0).len(), 4);
    assert!(surest(&[], 0.5).is_empty());
}

#[test]
fn what_cannot_be_trained_on_is_refused() {
    let planted = planted(100, &[&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]], 1, 9);
    let refused = |input: &CellPredXInput| {
        CellPredX::new(&planted.cells, input, CellPredXConfig::default(), &Device::Cpu).unwrap_err().to_string()
    };
    let base = &planted.input;
    assert!(refused(&CellPredXInput { is_query: vec![false; 100], ..base.clone() }).contains("no query cells"));
    assert!(refused(&CellPredXInput { is_query: vec![true; 100], ..base.clone() }).contains("no reference cells"));
    let one = Categorical::from_values([Some("a"); 100]);
    assert!(refused(&CellPredXInput { labels: one, ..base.clone() }).contains("are of 1 class"));
    assert!(refused(&CellPredXInput { is_query: vec![true; 3], ..base.clone() }).contains("of 3 cells for 100"));
}

#[test]
fn a_normalized_gate_stays_open_without_a_floor() {
    let planted = planted(400, &[&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]], 1, 6);
    let gate = |normalize_gate| {
        let config = CellPredXConfig {
            normalize_gate,
            gate_floor: 0.0,
            center_weight: 5.0,
            n_steps: 300,
            ..small(CellPredXConfig::default())
        };
        let config = CellPredXConfig { stopping: Stopping::Never, train_frac: 1.0, lr: 0.03, ..config };
        let (model, history) = fit(&planted, config, 2);
        (history.epochs.last().unwrap().terms["gate_mean"], accuracy(&planted, &model))
    };
    let ((open, right), (closed, _)) = (gate(true), gate(false));
    println!("mean of the gate {open:.3} normalised, {closed:.3} as it is; accuracy {right:.3}");
    assert!(open > 0.2 && closed < 0.02 && right > 0.95, "{open} {closed} {right}");
    // A floor has nothing to do: the same bits with and without.
    let embedded = |gate_floor| {
        let config = CellPredXConfig { normalize_gate: true, gate_floor, n_steps: 20, ..small(CellPredXConfig::default()) };
        fit(&planted, config, 2).0.embed(planted.cells.source()).unwrap()
    };
    assert_eq!(embedded(0.0), embedded(0.9));
}

#[test]
fn what_spreads_the_reference_is_a_term_that_can_be_left_out() {
    let planted = planted(200, &[&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]], 1, 13);
    let first = |reference_spread| {
        let config = CellPredXConfig { reference_spread, n_steps: 1, batch_size: 500, ..small(CellPredXConfig::default()) };
        let config = CellPredXConfig { stopping: Stopping::Never, train_frac: 1.0, ..config };
        let untrained = CellPredX::new(&planted.cells, &planted.input, config.clone(), &Device::Cpu).unwrap();
        let z = untrained.embed(planted.cells.source()).unwrap();
        (z, fit(&planted, config, 2).1.epochs[0].terms.clone())
    };
    let ((z, with), (_, without)) = (first(true), first(false));
    // A mini-batch of the first step has all cells of the reference.
    let rows: Vec<usize> = (0..200).filter(|i| !planted.input.is_query[*i]).collect();
    let (n, m) = (rows.len() as f64, z.ncols());
    let apart: f64 = (0..m)
        .map(|j| {
            let mean = rows.iter().map(|i| f64::from(z[[*i, j]])).sum::<f64>() / n;
            rows.iter().map(|i| (f64::from(z[[*i, j]]) - mean).abs()).sum::<f64>()
        })
        .sum::<f64>()
        / (n * m as f64);
    let left_out = with["projection_reference"] - without["projection_reference"];
    assert!((left_out - 1.0 / apart).abs() < 1e-3 * left_out, "{left_out} {apart}");
    assert_eq!(with["projection_query"], without["projection_query"]);
}

#[test]
fn neighbours_that_are_no_negatives_change_nt_xent_alone_and_by_its_formula() {
    let planted = planted(120, &[&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]], 1, 14);
    let first = |mask_neighbors| {
        let config = CellPredXConfig { mask_neighbors, n_steps: 1, batch_size: 60, ..small(CellPredXConfig::default()) };
        let config = CellPredXConfig { stopping: Stopping::Never, train_frac: 1.0, ..config };
        fit(&planted, config, 2).1.epochs[0].terms.clone()
    };
    let (all, masked) = (first(false), first(true));
    for (name, value) in &all {
        assert_eq!(*value == masked[name], name != "nt_xent", "{name}: {value} {}", masked[name]);
    }
    // Negatives only add to the denominators, and neighbours are those that add most.
    assert!(masked["nt_xent"] < all["nt_xent"] - 0.05, "{} {}", masked["nt_xent"], all["nt_xent"]);
    let config = CellPredXConfig { mask_neighbors: true, ..small(CellPredXConfig::default()) };
    let one = fit(&planted, config.clone(), 1).0.embed(planted.cells.source()).unwrap();
    let (model, _) = fit(&planted, config, 2);
    assert_eq!(one, model.embed(planted.cells.source()).unwrap());
    assert!(accuracy(&planted, &model) > 0.95);
}
