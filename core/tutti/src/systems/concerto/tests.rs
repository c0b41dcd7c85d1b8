use super::*;
use crate::data::{Categorical, Csr};
use crate::downstream::{TransferConfig, transfer_labels};
use crate::nn::Kernels;
use crate::observe::{CancelToken, Silent};
use crate::optim::Gradients;
use crate::preprocess::{Normalized, Preprocessing, TargetSum, to_memory};
use crate::simulate::{BatchEffect, Batches, Clusters, EffectKind, Simulation, Spec, Structure};
use crate::train::{History, State};

/// Counts of five types in two batches, log-normalised, with columns `batch` and `cell_type`.
fn planted(n_cells: usize) -> Cells<'static> {
    let factors = BatchEffect { dispersion: Some(0.4), ..BatchEffect::new(EffectKind::GeneFactors) };
    let batches = Batches { n: 2, effects: vec![factors], ..Default::default() };
    let structure = Structure::Clusters(Clusters { n: 5, ..Default::default() });
    let spec = Spec { n_cells, n_genes: 200, seed: 1, structure, batches, modality: None, ..Spec::preset("rna_atac").unwrap() };
    let simulation = Simulation::new(&spec).unwrap();
    let counts = simulation.cells().unwrap();
    let logged = to_memory(&Normalized::new(counts.shared_source(), Some(TargetSum::Fixed(1e4)), true).unwrap()).unwrap();
    counts.with_source(logged, simulation.gene_names().to_vec()).unwrap()
}

fn small() -> ConcertoConfig {
    ConcertoConfig { latent_dim: 32, lr: 1e-3, n_epochs: Some(20), batch_size: 64, ..Default::default() }
}

fn fit(cells: &Cells<'static>, config: ConcertoConfig, n_threads: usize) -> (Concerto, History) {
    let threads = Threads::new(n_threads).unwrap();
    let mut trainer = Concerto::trainer(cells, Some("batch"), config, &Device::Cpu, threads).unwrap();
    assert_eq!(trainer.train(&mut Silent, &CancelToken::default()).unwrap(), State::Finished);
    trainer.finish().unwrap()
}

/// Share of the cells of the second batch that get their type by vote of the first.
fn carried(cells: &Cells<'_>, z: &Array2<f32>) -> f64 {
    let (batch, types) = (cells.column("batch").unwrap(), cells.column("cell_type").unwrap());
    let (first, second): (Vec<usize>, Vec<usize>) = (0..cells.n_cells()).partition(|i| batch.codes()[*i] == Some(0));
    let rows = |rows: &[usize]| z.select(ndarray::Axis(0), rows);
    let known: Categorical = types.select(&first);
    let config = TransferConfig { n_neighbors: 5, ..Default::default() };
    let found = transfer_labels(rows(&first).view(), &known, rows(&second).view(), &config).unwrap();
    let right = second.iter().enumerate().filter(|(i, cell)| found.label.value(*i) == types.value(**cell)).count();
    right as f64 / second.len() as f64
}

#[test]
fn teacher_and_student_agree_and_carry_types_to_another_batch() {
    let cells = planted(600);
    let untrained = Concerto::new(&cells, Some("batch"), small(), &Device::Cpu).unwrap();
    let before = carried(&cells, &untrained.embed(cells.source()).unwrap());
    let (model, history) = fit(&cells, small(), 2);
    let z = model.embed(cells.source()).unwrap();
    let after = carried(&cells, &z);
    let losses: Vec<f64> = history.epochs.iter().map(|e| e.loss).collect();
    println!("types carried: {before:.3} untrained, {after:.3} trained; losses {losses:.2?}");
    assert!(after > 0.95 && losses[19] < 0.7 * losses[0], "{before} {after} {losses:?}");
    assert!(z.iter().all(|v| *v >= 0.0) && z.rows().into_iter().all(|row| (row.dot(&row) - 1.0).abs() < 1e-4));

    let attention = model.attention(cells.source()).unwrap();
    assert_eq!(attention.dim(), (600, 200));
    assert!(attention.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-3));
    // Cells of different types attend to different genes.
    let types = cells.column("cell_type").unwrap();
    let mean = |level: &str| {
        let rows: Vec<usize> = (0..600).filter(|i| types.value(*i) == Some(level)).collect();
        attention.select(ndarray::Axis(0), &rows).mean_axis(ndarray::Axis(0)).unwrap()
    };
    let (a, b) = (mean(&types.levels()[0]), mean(&types.levels()[1]));
    let apart = (&a - &b).iter().map(|d| d.abs()).sum::<f32>();
    println!("attention of two types is {apart:.3} apart");
    assert!(apart > 0.01, "{apart}");
}

#[test]
fn threads_change_no_bit_and_a_saved_model_and_a_resumed_run_are_the_same() {
    let cells = planted(200);
    let config = || ConcertoConfig { n_epochs: Some(4), train_frac: 0.9, ..small() };
    let (one, history) = fit(&cells, config(), 1);
    let z = one.embed(cells.source()).unwrap();
    assert_eq!(z, fit(&cells, config(), 3).0.embed(cells.source()).unwrap());
    assert!(history.epochs.iter().all(|e| e.validation_loss.is_some_and(f64::is_finite)));
    assert_ne!(z, fit(&cells, ConcertoConfig { seed: 1, ..config() }, 1).0.embed(cells.source()).unwrap());

    let folder = tempfile::tempdir().unwrap();
    let (path, state) = (folder.path().join("m.safetensors"), folder.path().join("state"));
    one.save(&path, Preprocessing::COUNTS, &history).unwrap();
    let (loaded, _, _) = Concerto::load(&path, &Device::Cpu).unwrap();
    assert_eq!(loaded.embed(cells.source()).unwrap(), z);
    assert_eq!((loaded.batches(), loaded.config()), (one.batches(), one.config()));

    let trainer = || {
        Concerto::trainer(&cells, Some("batch"), config(), &Device::Cpu, Threads::new(1).unwrap())
            .unwrap()
            .with_checkpoint(Some(state.clone()))
    };
    let mut started = trainer();
    while started.history().len() < 2 {
        started.advance(std::time::Duration::ZERO, &mut Silent, &CancelToken::default()).unwrap();
    }
    drop(started);
    let mut gone_on = trainer();
    gone_on.resume(&state).unwrap();
    gone_on.train(&mut Silent, &CancelToken::default()).unwrap();
    assert_eq!(gone_on.finish().unwrap().0.embed(cells.source()).unwrap(), z);
}

#[test]
fn both_networks_are_trained_and_plain_layers_agree() {
    let cells = planted(40);
    let mut rows = Csr::empty(0);
    cells.source().read_rows(&(0..40).collect::<Vec<_>>(), &mut rows).unwrap();
    let x = Arc::new(SparseBatch::with_gradient(rows));
    let draws = Draws::new(Rng::new(1), 0, 0);
    let of = |kernels| {
        let parameters = Parameters::new(&Device::Cpu, Rng::new(5)).with_kernels(kernels);
        let config = ConcertoConfig { latent_dim: 8, ..small() };
        let model = Concerto::build(config, cells.gene_names().to_vec(), vec!["all".into()], parameters).unwrap();
        let loss = model.losses(&x, Phase::MODEL, &draws).unwrap().total().unwrap().unwrap();
        let mut gradients = Gradients::of(&loss, model.parameters()).unwrap();
        (loss.to_scalar::<f32>().unwrap(), gradients.norm(model.parameters(), 0).unwrap())
    };
    let (fused, plain) = (of(Kernels::Fused), of(Kernels::Plain));
    assert!((fused.0 - plain.0).abs() < 1e-4 && (fused.1 - plain.1).abs() < 1e-3 * plain.1, "{fused:?} {plain:?}");

    let model =
        Concerto::build(small(), cells.gene_names().to_vec(), vec!["all".into()], Parameters::new(&Device::Cpu, Rng::new(5)));
    let model = model.unwrap();
    let loss = model.losses(&x, Phase::MODEL, &draws).unwrap().total().unwrap().unwrap();
    let store = loss.backward().unwrap();
    for p in model.parameters().iter() {
        let left = p.slot.as_ref().is_some_and(|slot| !slot.take().is_empty());
        assert!(left || store.get(&p.var).is_some(), "{} has no gradient", p.name);
    }
}

#[test]
fn what_cannot_be_trained_is_told() {
    let cells = planted(60);
    let new = |batch, config| Concerto::new(&cells, batch, config, &Device::Cpu).map(|_| ()).unwrap_err().to_string();
    assert!(new(Some("donor"), small()).contains("donor"));
    assert!(new(None, ConcertoConfig { dropout: 1.0, ..small() }).contains("dropout"));
    let apart = cells.clone().with_column("cell", Categorical::from_values(cells.cell_names().iter().map(Some))).unwrap();
    let alone = Concerto::new(&apart, Some("cell"), small(), &Device::Cpu).map(|_| ()).unwrap_err().to_string();
    assert!(alone.contains("no batch has the 4 cells"), "{alone}");
    let warnings = Concerto::warnings(&cells, Some("batch"), &ConcertoConfig::preset(Preset::Paper)).unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains("raise `n_epochs` (3)"), "{warnings:?}");
    assert!(Concerto::warnings(&cells, None, &ConcertoConfig { n_epochs: Some(300), ..small() }).unwrap().is_empty());
    let (model, _) = fit(&cells, ConcertoConfig { n_epochs: Some(1), ..small() }, 1);
    assert!(model.embed(&Csr::empty(3)).unwrap_err().to_string().contains("3 genes"));
}
