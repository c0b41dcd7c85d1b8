use super::*;
use crate::data::Csr;
use crate::neighbors::nearest_self;
use crate::nn::Kernels;
use crate::observe::{CancelToken, Silent};
use crate::preprocess::Preprocessing;
use crate::sampler::MinibatchStrategy;
use crate::train::{History, State};

/// Three types of cells in two batches: types differ in which genes are on, batches in the level of some genes.
fn planted(n_cells: usize, n_genes: usize) -> (Csr, Vec<usize>, Vec<usize>) {
    let mut stream = Rng::new(11).stream("planted", 0, 0);
    let mut x = Csr::empty(n_genes);
    let (mut types, mut batches) = (Vec::new(), Vec::new());
    for i in 0..n_cells {
        let (cell_type, batch) = (stream.below(3), i % 2);
        let row: Vec<(u32, f32)> = (0..n_genes)
            .filter_map(|g| {
                let programme = if g % 3 == cell_type { 0.5 } else { 0.12 };
                let shift = if batch == 1 && g % 4 == 0 { 1.2 } else { 0.0 };
                stream.bernoulli(programme).then(|| (g as u32, (0.5 + stream.uniform() + shift) as f32))
            })
            .collect();
        x.push_row(row);
        types.push(cell_type);
        batches.push(batch);
    }
    (x, types, batches)
}

fn names(prefix: &str, n: usize) -> Vec<String> {
    (0..n).map(|i| format!("{prefix}{i}")).collect()
}

fn category(prefix: &str, codes: &[usize]) -> Categorical {
    Categorical::from_values(codes.iter().map(|c| Some(format!("{prefix}{c}"))))
}

fn cells(n_cells: usize, n_genes: usize) -> (Cells<'static>, Vec<usize>, Vec<usize>) {
    let (x, types, batches) = planted(n_cells, n_genes);
    let cells = Cells::new(x, names("cell", n_cells), names("gene", n_genes)).unwrap();
    let cells = cells.with_column("batch", category("b", &batches)).unwrap();
    (cells.with_column("type", category("t", &types)).unwrap(), types, batches)
}

fn small(config: ConcordConfig) -> ConcordConfig {
    ConcordConfig { latent_dim: 16, encoder_dims: vec![64], batch_size: 64, n_epochs: 6, ..config }
}

fn columns() -> ConcordColumns {
    ConcordColumns { batch: Some("batch".into()), label: Some("type".into()) }
}

fn trainer(cells: &Cells<'static>, config: ConcordConfig, n_threads: usize) -> Trainer<'static, Concord> {
    Concord::trainer(cells, &columns(), config, &Device::Cpu, Threads::new(n_threads).unwrap()).unwrap()
}

fn fit(cells: &Cells<'static>, config: ConcordConfig, n_threads: usize) -> (Concord, History) {
    let mut trainer = trainer(cells, config, n_threads);
    assert_eq!(trainer.train(&mut Silent, &CancelToken::default()).unwrap(), State::Finished);
    trainer.finish().unwrap()
}

fn unit(z: &Array2<f32>) -> Array2<f32> {
    let mut z = z.clone();
    z.rows_mut().into_iter().for_each(|mut row| {
        let length = row.dot(&row).sqrt().max(1e-12);
        row.mapv_inplace(|v| v / length);
    });
    z
}

/// Share of the 10 nearest cells with the same code.
fn purity(z: &Array2<f32>, codes: &[usize]) -> f64 {
    let config = NeighborConfig { n_neighbors: 11, ..Default::default() };
    let neighbors = nearest_self(unit(z).view(), &config).unwrap();
    let same = |i: usize| neighbors.row(i).0.iter().filter(|j| **j as usize != i && codes[**j as usize] == codes[i]).count();
    (0..codes.len()).map(|i| same(i) as f64 / 10.0).sum::<f64>() / codes.len() as f64
}

#[test]
fn finds_the_planted_types_and_mixes_the_batches() {
    let (cells, types, batches) = cells(600, 240);
    let uncorrected = ConcordColumns { batch: None, label: None };
    for preset in [Preset::HardNegative, Preset::Knn] {
        let config = small(ConcordConfig::preset(preset));
        let (model, history) = fit(&cells, config.clone(), 2);
        let z = model.embed(cells.source()).unwrap();
        assert!(z.iter().all(|v| v.is_finite()));
        assert!(purity(&z, &types) > 0.97, "{preset:?}: type purity {}", purity(&z, &types));
        assert!(history.epochs.windows(2).any(|w| w[1].loss < w[0].loss));

        let threads = Threads::new(2).unwrap();
        let mut without = Concord::trainer(&cells, &uncorrected, config, &Device::Cpu, threads).unwrap();
        without.train(&mut Silent, &CancelToken::default()).unwrap();
        let blind = without.finish().unwrap().0.embed(cells.source()).unwrap();
        let (aware, blind) = (purity(&z, &batches), purity(&blind, &batches));
        // 0.5 is perfect mixing of two equal batches.
        assert!(
            blind > 0.54 && aware - 0.5 < 0.6 * (blind - 0.5),
            "{preset:?}: same-batch share {aware} aware of batches, {blind} blind to them"
        );
    }
}

#[test]
fn same_seed_same_bits_whatever_the_threads() {
    let (cells, ..) = cells(300, 90);
    for config in [
        small(ConcordConfig::default()),
        ConcordConfig {
            p_intra_knn: 0.3,
            symmetric_gradient: true,
            use_decoder: true,
            use_classifier: true,
            dropout: 0.1,
            clip_norm: Some(1.0),
            ..small(ConcordConfig::default())
        },
    ] {
        let run = |n| fit(&cells, config.clone(), n).0.embed(cells.source()).unwrap();
        let one = run(1);
        assert_eq!(one, run(2));
        assert_eq!(one, run(3));
        let other = fit(&cells, ConcordConfig { seed: 1, ..config }, 1).0.embed(cells.source()).unwrap();
        assert_ne!(one, other);
    }
}

#[test]
fn a_resumed_run_has_the_same_bits_as_one_that_was_not_interrupted() {
    let (cells, ..) = cells(300, 90);
    let folder = tempfile::tempdir().unwrap();
    for (i, config) in
        [ConcordConfig { train_frac: 0.8, ..small(ConcordConfig::default()) }, small(ConcordConfig::preset(Preset::Knn))]
            .into_iter()
            .enumerate()
    {
        let path = folder.path().join(format!("{i}.checkpoint"));
        let whole = fit(&cells, config.clone(), 2);
        let mut first = trainer(&cells, config.clone(), 2).with_checkpoint(Some(path.clone()));
        // Stop in the middle of the fourth epoch: what comes after its beginning is lost, as after a kill.
        while first.history().len() < 3 {
            first.advance(std::time::Duration::ZERO, &mut Silent, &CancelToken::default()).unwrap();
        }
        first.advance(std::time::Duration::ZERO, &mut Silent, &CancelToken::default()).unwrap();
        drop(first);
        let mut second = trainer(&cells, config.clone(), 1);
        second.resume(&path).unwrap();
        second.train(&mut Silent, &CancelToken::default()).unwrap();
        let resumed = second.finish().unwrap();
        assert_eq!(whole.1, resumed.1);
        assert_eq!(whole.0.embed(cells.source()).unwrap(), resumed.0.embed(cells.source()).unwrap());

        let mut other = trainer(&cells, ConcordConfig { lr: 0.02, ..config }, 1);
        assert!(other.resume(&path).unwrap_err().to_string().contains("other training settings"));
    }
}

#[test]
fn cancelling_keeps_what_was_trained_and_can_be_continued() {
    let (cells, ..) = cells(300, 90);
    let mut trainer = trainer(&cells, small(ConcordConfig::default()), 2);
    let cancel = CancelToken::default();
    assert_eq!(trainer.advance(std::time::Duration::ZERO, &mut Silent, &cancel).unwrap(), State::Running);
    cancel.cancel();
    assert_eq!(trainer.train(&mut Silent, &cancel).unwrap(), State::Cancelled);
    assert_eq!(trainer.train(&mut Silent, &CancelToken::default()).unwrap(), State::Finished);
    let embedding = trainer.finish().unwrap().0.embed(cells.source()).unwrap();
    assert_eq!(embedding, fit(&cells, small(ConcordConfig::default()), 1).0.embed(cells.source()).unwrap());
}

#[test]
fn a_loss_that_explodes_is_reported_and_the_weights_stay_finite() {
    let (cells, ..) = cells(300, 90);
    let config = ConcordConfig { lr: 1e30, norm: crate::nn::Norm::None, ..small(ConcordConfig::default()) };
    let mut trainer = trainer(&cells, config, 2);
    let message = trainer.train(&mut Silent, &CancelToken::default()).unwrap_err().to_string();
    assert!(message.contains("nt_xent") && message.contains("lr") && message.contains("epoch 1"), "{message}");
    assert!(trainer.finish().unwrap().0.parameters().all_finite().unwrap());
}

#[test]
fn the_classifier_learns_and_needs_no_labels_in_the_query() {
    let (cells, types, _) = cells(600, 240);
    // A third of the labels are hidden.
    let hidden = category("t", &types);
    let hidden = Categorical::from_values((0..600).map(|i| if i % 3 == 0 { Some("unknown") } else { hidden.value(i) }));
    let cells = cells.with_column("type", hidden).unwrap();
    let config =
        ConcordConfig { use_classifier: true, unlabeled_class: Some("unknown".into()), ..small(ConcordConfig::default()) };
    let (model, _) = fit(&cells, config, 2);
    assert_eq!(model.classes(), ["t0", "t1", "t2"]);
    let probabilities = model.classify(model.embed(cells.source()).unwrap().view()).unwrap();
    let right = (0..600).filter(|i| i % 3 == 0).filter(|i| {
        let row = probabilities.row(*i);
        assert!((row.sum() - 1.0).abs() < 1e-4);
        (0..3).all(|c| row[c] <= row[types[*i]])
    });
    assert!(right.count() > 190, "of 200 cells without label");
}

#[test]
fn stock_operations_as_on_other_devices_train_the_same() {
    let (cells, ..) = cells(300, 60);
    let config = ConcordConfig {
        use_decoder: true,
        use_classifier: true,
        use_importance_mask: true,
        importance_penalty_weight: 0.1,
        symmetric_gradient: true,
        n_epochs: 3,
        ..small(ConcordConfig::default())
    };
    let losses = |kernels| {
        let parameters = Parameters::new(&Device::Cpu, Rng::new(config.seed)).with_kernels(kernels);
        let model = Concord::with_parameters(&cells, &columns(), config.clone(), parameters).unwrap();
        let mut trainer = Trainer::new(model, cells.clone(), config.train(), Threads::new(1).unwrap()).unwrap();
        trainer.train(&mut Silent, &CancelToken::default()).unwrap();
        trainer.history().iter().map(|e| e.loss).collect::<Vec<_>>()
    };
    let (fused, plain) = (losses(Kernels::Fused), losses(Kernels::Plain));
    assert!(fused.iter().zip(&plain).all(|(f, p)| (f - p).abs() < 2e-3 * f), "{fused:?} {plain:?}");
}

#[test]
fn the_decoder_takes_the_batch_out() {
    let (cells, types, batches) = cells(600, 240);
    let config = ConcordConfig { use_decoder: true, n_epochs: 20, ..small(ConcordConfig::default()) };
    let (model, _) = fit(&cells, config, 2);
    let z = model.embed(cells.source()).unwrap();
    let decoded = model.decode(z.view(), "b0").unwrap();
    // Genes shifted in batch 1: the gap between the batches must shrink in cells decoded as batch 0.
    let x = crate::data::Csr::to_dense(&planted(600, 240).0);
    let gap = |x: &Array2<f32>| {
        let mean = |batch: usize| {
            let values: Vec<f32> =
                (0..600).filter(|i| batches[*i] == batch).flat_map(|i| (0..60).map(move |g| (i, 4 * g))).map(|p| x[p]).collect();
            values.iter().sum::<f32>() / values.len() as f32
        };
        (mean(1) - mean(0)).abs()
    };
    assert!(gap(&decoded) < 0.4 * gap(&x), "gap {} before, {} after", gap(&x), gap(&decoded));
    // and the programmes of the types must still be there.
    let on = |cell_type: usize, gene: usize| {
        let values: Vec<f32> = (0..600).filter(|i| types[*i] == cell_type).map(|i| decoded[[i, gene]]).collect();
        values.iter().sum::<f32>() / values.len() as f32
    };
    let larger = (0..240).filter(|g| (0..3).all(|t| on(g % 3, *g) >= on(t, *g))).count();
    assert!(larger > 200, "{larger} of 240 genes are highest in their own type");
    assert!(model.decode(z.view(), "nowhere").unwrap_err().to_string().contains("its batches are: b0, b1"));
}

#[test]
fn attribution_equals_finite_differences() {
    let (cells, ..) = cells(200, 30);
    let (model, _) = fit(&cells, ConcordConfig { use_importance_mask: true, ..small(ConcordConfig::default()) }, 1);
    let dense = planted(200, 30).0.to_dense();
    for layer in [0, 1] {
        let attribution = model.gene_attribution(cells.source(), layer).unwrap();
        assert_eq!(attribution.nrows(), 30);
        for (gene, neuron) in [(0, 3), (7, 11), (29, 0)] {
            let mean = |step: f32| {
                let mut x = dense.clone();
                x.column_mut(gene).mapv_inplace(|v| v + step);
                let csr = Csr::from_dense(x.view()).unwrap();
                let weights = model.sigmoid_importance().unwrap();
                let batch = Arc::new(SparseBatch::without_gradient(csr));
                let first = model.encoder.detached().first_layer(&batch, weights.as_ref()).unwrap();
                let layer = &model.encoder.activations(&first).unwrap()[layer];
                let column: Vec<f32> = layer.narrow(1, neuron, 1).unwrap().flatten_all().unwrap().to_vec1().unwrap();
                column.iter().map(|v| f64::from(*v)).sum::<f64>() / 200.0
            };
            let numeric = (mean(2e-3) - mean(-2e-3)) / 4e-3;
            let ours = f64::from(attribution[[gene, neuron]]);
            assert!((numeric - ours).abs() < 0.05 * ours.abs() + 2e-3, "layer {layer} gene {gene}: {numeric} {ours}");
        }
    }
}

#[test]
fn a_saved_model_embeds_as_before() {
    let (cells, ..) = cells(200, 60);
    let config = ConcordConfig {
        use_decoder: true,
        use_classifier: true,
        norm: crate::nn::Norm::BatchNorm,
        ..small(ConcordConfig::default())
    };
    let (model, history) = fit(&cells, config, 2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let preprocessing = Preprocessing::COUNTS;
    model.save(&path, preprocessing, &history).unwrap();
    let (back, back_preprocessing, back_history) = Concord::load(&path, &Device::Cpu).unwrap();
    assert_eq!((back_preprocessing, &back_history), (preprocessing, &history));
    assert_eq!(back.names, model.names);
    let (z, z_back) = (model.embed(cells.source()).unwrap(), back.embed(cells.source()).unwrap());
    assert_eq!(z, z_back);
    assert_eq!(model.decode(z.view(), "b1").unwrap(), back.decode(z.view(), "b1").unwrap());
    let subset = Csr::empty(59);
    assert!(back.embed(&subset).unwrap_err().to_string().contains("59 genes, the model 60"));
}

#[test]
fn early_stopping_keeps_the_best_epoch() {
    let (cells, ..) = cells(400, 90);
    let config = ConcordConfig { train_frac: 0.75, patience: 1, n_epochs: 60, lr: 0.03, ..small(ConcordConfig::default()) };
    let (_, history) = fit(&cells, config, 2);
    let values: Vec<f64> = history.epochs.iter().map(|e| e.validation_loss.unwrap()).collect();
    let best = history.best_epoch.unwrap();
    assert!(values.iter().all(|v| *v >= values[best - 1]));
    assert!(history.epochs.len() == 60 || history.epochs.len() == best + 2);
}

#[test]
fn small_and_missing_batches_are_handled() {
    let (x, types, _) = planted(120, 30);
    // 100 cells, 15, 4 and 1: all smaller than a mini-batch of 256.
    let batches: Vec<usize> = (0..120)
        .map(|i| {
            if i < 100 {
                0
            } else if i < 115 {
                1
            } else if i < 119 {
                2
            } else {
                3
            }
        })
        .collect();
    let cells = Cells::new(x, names("cell", 120), names("gene", 30)).unwrap();
    let cells = cells.with_column("batch", category("b", &batches)).unwrap().with_column("type", category("t", &types)).unwrap();
    let config =
        ConcordConfig { batch_size: 256, minibatch_strategy: MinibatchStrategy::Equal, ..small(ConcordConfig::default()) };
    let (model, _) = fit(&cells, config, 2);
    assert!(model.embed(cells.source()).unwrap().iter().all(|v| v.is_finite()));

    let incomplete = Categorical::from_values((0..120).map(|i| (i != 7).then_some("b")));
    let cells = cells.with_column("batch", incomplete).unwrap();
    let error = Concord::new(&cells, &columns(), small(ConcordConfig::default()), &Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("obs column `batch` has 1 missing values (first: cell cell7)"), "{error}");
}
