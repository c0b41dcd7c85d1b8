use super::*;
use crate::data::{Categorical, Csr};
use crate::metrics::{cosine_pair_scores, lineage_error};
use crate::observe::{CancelToken, Silent};
use crate::optim::{Gradients, Optimizer, OptimizerConfig, SgdConfig};
use crate::preprocess::{Normalized, PcaConfig, Preprocessing, TargetSum, pca, to_memory};
use crate::simulate::{Lineage, Simulation, Spec, Structure};
use crate::train::{History, State, TrainConfig};

/// Barcoded clones on three days, log-normalised, with the clone and the barcode that was read. Every clone reaches all of twelve fates, which
/// differ by more genes than clones do.
fn planted(n_cells: usize, n_clones: usize, memory_gene_fraction: f64) -> (Cells<'static>, Categorical, Lineages) {
    let clones = Lineage { n_clones, clone_spread: 0.3, memory: 0.7, memory_gene_fraction, ..Default::default() };
    let lineage = Lineage { n_fates: 12, fate_concentration: 5.0, ..clones };
    let spec = Spec { n_cells, n_genes: 300, structure: Structure::Lineage(lineage), ..Spec::preset("lineage").unwrap() };
    let simulation = Simulation::new(&spec).unwrap();
    let counts = simulation.cells().unwrap();
    let (clone, barcode) = (counts.column("clone").unwrap().clone(), counts.column("barcode").unwrap().clone());
    let logged = to_memory(&Normalized::new(counts.shared_source(), Some(TargetSum::Fixed(1e4)), true).unwrap()).unwrap();
    let cells = counts.with_source(logged, simulation.gene_names().to_vec()).unwrap();
    (cells, clone, Lineages::from_column(&barcode))
}

fn small(config: LclConfig) -> LclConfig {
    LclConfig {
        encoder_dims: vec![64, 32],
        projection_dims: vec![32],
        latent_dim: 16,
        n_epochs: 20,
        warmup_epochs: 2,
        accumulate: 1,
        lr: 1e-3,
        size_factor: 0.15,
        weight_decay: 0.3,
        entropy_weight: 0.05,
        ..config
    }
}

fn fit(cells: &Cells<'static>, input: &LclInput, config: LclConfig, n_threads: usize) -> (Lcl, History) {
    let mut trainer = Lcl::trainer(cells, input, config, &Device::Cpu, Threads::new(n_threads).unwrap()).unwrap();
    assert_eq!(trainer.train(&mut Silent, &CancelToken::default()).unwrap(), State::Finished);
    trainer.finish().unwrap()
}

#[test]
fn separates_lineages_that_principal_components_do_not() {
    let (cells, clone, lineages) = planted(1500, 20, 0.05);
    let clones = Lineages::from_column(&clone);
    let components = pca(cells.source(), &PcaConfig { n_components: 30, ..Default::default() }).unwrap().scores;
    let test = lineages.split_within(0.1, 10, &Rng::new(1));
    let train: Vec<usize> = (0..1500).filter(|i| !lineages.of(*i).is_empty() && !test.contains(i)).collect();
    let error = |z: &Array2<f32>| lineage_error(z.view(), &clones, &train, &test, 5, 1).unwrap().error;
    let before = error(&components);
    for mode in [Mode::Inductive, Mode::Transductive] {
        let input = LclInput { lineages: lineages.clone(), test: test.clone() };
        let (model, history) = fit(&cells, &input, LclConfig { mode, ..small(LclConfig::default()) }, 2);
        let z = model.embed(cells.source()).unwrap();
        let ours = error(&z);
        println!(
            "{mode:?}: error {ours:.3} on {} test cells, {before:.3} by components, {} epochs",
            test.len(),
            history.epochs.len()
        );
        assert!(ours < 0.7 * before, "{mode:?}: {ours} and {before} by components");
        assert!(z.rows().into_iter().all(|row| (row.dot(&row) - 1.0).abs() < 1e-4));
    }
}

#[test]
fn cells_of_unseen_lineages_lie_nearer_to_their_kin_by_a_shallow_network() {
    // Clones that remember many genes share some of them, so that what is learned of others is of use. Principal components, which see all
    // genes, tell these clones apart nearly without error.
    let (cells, clone, lineages) = planted(1500, 25, 0.2);
    let test = lineages.split_whole(0.25, &Rng::new(1));
    let input = LclInput { lineages, test: test.clone() };
    let components = pca(cells.source(), &PcaConfig { n_components: 30, ..Default::default() }).unwrap().scores;
    let auroc = |z: &Array2<f32>| cosine_pair_scores(z.view(), &Lineages::from_column(&clone), &test).unwrap().auroc;
    let trained = |config| auroc(&fit(&cells, &input, config, 2).0.embed(cells.source()).unwrap());
    let shallow = trained(LclConfig { size_factor: 0.15, n_epochs: 10, ..LclConfig::preset(Preset::Shallow) });
    let (deep, before) = (trained(small(LclConfig::default())), auroc(&components));
    println!("AUROC of pairs {shallow:.3} by a shallow network, {deep:.3} by a deep one, {before:.3} by components");
    assert!(shallow > deep + 0.05 && deep > 0.55);
}

#[test]
fn same_seed_same_bits_whatever_the_threads_and_a_resumed_run_and_a_saved_model_too() {
    let (cells, _, lineages) = planted(300, 12, 0.05);
    let test = lineages.split_within(0.1, 5, &Rng::new(1));
    let input = LclInput { lineages, test };
    let folder = tempfile::tempdir().unwrap();
    for (i, preset) in [Preset::Default, Preset::ReferenceCode, Preset::Paper, Preset::Shallow].into_iter().enumerate() {
        let preset = LclConfig::preset(preset);
        let projection_dims = if preset.projection_dims.is_empty() { Vec::new() } else { vec![32] };
        let config = LclConfig { projection_dims, n_epochs: 4, accumulate: 3, clip_norm: Some(1.0), ..small(preset) };
        let whole = fit(&cells, &input, config.clone(), 1);
        let embedded = whole.0.embed(cells.source()).unwrap();
        assert_eq!(embedded, fit(&cells, &input, config.clone(), 2).0.embed(cells.source()).unwrap());

        let path = folder.path().join(format!("{i}.checkpoint"));
        let trainer = || Lcl::trainer(&cells, &input, config.clone(), &Device::Cpu, Threads::new(2).unwrap()).unwrap();
        let mut first = trainer().with_checkpoint(Some(path.clone()));
        while first.history().len() < 2 {
            first.advance(std::time::Duration::ZERO, &mut Silent, &CancelToken::default()).unwrap();
        }
        // In the middle of the third epoch, with gradients that wait for others.
        first.advance(std::time::Duration::ZERO, &mut Silent, &CancelToken::default()).unwrap();
        drop(first);
        let mut second = trainer();
        second.resume(&path).unwrap();
        second.train(&mut Silent, &CancelToken::default()).unwrap();
        let resumed = second.finish().unwrap();
        assert_eq!(whole.1, resumed.1);
        assert_eq!(embedded, resumed.0.embed(cells.source()).unwrap());

        let path = folder.path().join(format!("{i}.safetensors"));
        whole.0.save(&path, Preprocessing::COUNTS, &whole.1).unwrap();
        assert_eq!(embedded, Lcl::load(&path, &Device::Cpu).unwrap().0.embed(cells.source()).unwrap());
    }
}

#[test]
fn test_cells_are_seen_in_the_transductive_mode_alone_and_their_barcodes_never() {
    let (cells, clone, lineages) = planted(300, 12, 0.05);
    let test = lineages.split_within(0.2, 5, &Rng::new(1));
    // Without any cell that lost its barcode, so that test cells are the only ones without.
    let all = Lineages::from_column(&clone);
    let input = LclInput { lineages: all.clone(), test: test.clone() };
    let others = Categorical::from_values((0..300).map(|i| if test.contains(&i) { Some("other") } else { clone.value(i) }));
    let relabelled = LclInput { lineages: Lineages::from_column(&others), test: test.clone() };
    let erased = {
        let mut x = Csr::empty(0);
        cells.source().read_range(0..300, &mut x).unwrap();
        test.iter().for_each(|i| x.row_mut(*i).1.fill(0.5));
        cells.with_source(x, cells.gene_names().to_vec()).unwrap()
    };
    let weights = |cells: &Cells<'static>, input: &LclInput, mode| {
        let config = LclConfig { mode, n_epochs: 2, ..small(LclConfig::default()) };
        let (model, _) = fit(cells, input, config, 2);
        model
            .parameters
            .snapshot()
            .unwrap()
            .into_iter()
            .map(|(_, t)| t.flatten_all().unwrap().to_vec1::<f32>().unwrap())
            .collect::<Vec<_>>()
    };
    let inductive = weights(&cells, &input, Mode::Inductive);
    assert_eq!(inductive, weights(&erased, &input, Mode::Inductive));
    assert_eq!(inductive, weights(&cells, &relabelled, Mode::Inductive));
    let transductive = weights(&cells, &input, Mode::Transductive);
    assert_eq!(transductive, weights(&cells, &relabelled, Mode::Transductive));
    assert!(transductive != weights(&erased, &input, Mode::Transductive) && transductive != inductive);
    assert!(Lcl::warnings(&input, &LclConfig::default()).unwrap()[0].contains("entropy penalty"));
}

#[test]
fn cells_of_another_experiment_are_seen_as_cells_without_a_barcode_are() {
    let (cells, clone, _) = planted(300, 12, 0.05);
    let lineages = Lineages::from_column(&clone);
    let config = || LclConfig { n_epochs: 2, ..small(LclConfig::default()) };
    let embed = |model: &Lcl| model.embed(cells.source()).unwrap();
    // The last 60 cells as if of another file: the same as if their barcodes had not been read.
    let (first, last): (Vec<usize>, Vec<usize>) = ((0..240).collect(), (240..300).collect());
    let rows = |rows: &[usize]| {
        let mut x = Csr::empty(0);
        cells.source().read_rows(rows, &mut x).unwrap();
        x
    };
    let names = (0..240).map(|i| format!("c{i}")).collect();
    let part = Cells::new(rows(&first), names, cells.gene_names().to_vec()).unwrap();
    let input = LclInput { lineages: Lineages::from_column(&clone.select(&first)), test: vec![3, 7] };
    let (all, extended) = input.with_unlabelled(&part, rows(&last)).unwrap();
    assert_eq!((all.n_cells(), extended.lineages.n_cells(), &extended.test), (300, 300, &input.test));
    let whole = LclInput { lineages: lineages.only(&first), test: vec![3, 7] };
    let (ours, _) = fit(&all, &extended, config(), 2);
    assert_eq!(embed(&ours), embed(&fit(&cells, &whole, config(), 2).0));
    assert_ne!(embed(&ours), embed(&fit(&part, &input, config(), 2).0));
    assert!(input.with_unlabelled(&part, Csr::empty(3)).unwrap_err().to_string().contains("3 genes"));
    assert!(whole.with_unlabelled(&part, rows(&last)).unwrap_err().to_string().contains("lineages of 300 cells for 240 cells"));
}

#[test]
fn cells_of_several_lineages_are_not_pushed_from_their_kin() {
    // Cell 1 is of both lineages.
    let x = ndarray::array![[1.0f32, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]];
    let lineages = Lineages::from_matrix(&Csr::from_dense(x.view()).unwrap(), vec!["a".into(), "b".into()]).unwrap();
    let training = Training::new(&LclInput { lineages, test: Vec::new() }, Mode::Inductive);
    assert!(training.relations(&[0, 2, 4, 3], 2).is_none());
    let relations = training.relations(&[1, 2, 0, 3], 2).unwrap();
    // Row 0 is cell 1: kin of cells 2 and 3, in rows 1 and 3.
    assert_eq!([1, 2, 3].map(|j| relations.get(0, j)), [Relation::Ignored, Relation::Positive, Relation::Ignored]);
    assert_eq!([relations.get(2, 1), relations.get(2, 3)], [Relation::Negative; 2]);
    // The same cell in both pairs.
    assert_eq!(training.relations(&[1, 1, 0, 3], 2).unwrap().get(0, 1), Relation::Ignored);
    // Two of one lineage in two pairs without a third.
    let two = training.relations(&[0, 2, 1, 2], 2);
    assert!(two.is_some_and(|r| r.get(2, 1) == Relation::Ignored && r.get(0, 1) == Relation::Negative));
}

#[test]
fn stacked_mini_batches_train_as_one_after_the_other_do() {
    let (cells, _, lineages) = planted(300, 12, 0.05);
    let input = LclInput { lineages, test: Vec::new() };
    let config = || LclConfig { n_pairs: 6, n_unlabelled: 3, ..small(LclConfig::default()) };
    let sampler = LineageSampler::new(&input.lineages, Training::new(&input, Mode::Inductive).unlabelled, config().sampler());
    let batches = &sampler.unwrap().epoch(&Rng::new(1), 0).unwrap()[..3];
    let draws = Draws::new(Rng::new(1), 0, 0);
    // Weights and running statistics after an update by these mini-batches, `each` of them at a time, and the losses.
    let train = |each: usize| {
        let model = Lcl::new(&cells, &input, config(), &Device::Cpu).unwrap();
        let mut optimizer = Optimizer::new(model.parameters(), &OptimizerConfig::Sgd(SgdConfig::default())).unwrap();
        let (mut sum, mut values): (Option<Gradients>, Vec<f64>) = (None, Vec::new());
        for stack in batches.chunks(each) {
            let indices = stack.iter().flat_map(|b| b.rows.clone()).collect::<Vec<_>>();
            let mut rows = Csr::empty(300);
            cells.source().read_rows(&indices, &mut rows).unwrap();
            let batch = Batch { rows, indices, n_pairs: stack[0].n_pairs, n_stacked: each, is_trained: true };
            let terms = model.losses(&model.prepare(batch, &draws).unwrap(), Phase::MODEL, &draws).unwrap();
            values.extend(terms.values().unwrap().iter().map(|(_, _, value)| value * each as f64));
            let gradients = Gradients::of(&(terms.total().unwrap().unwrap() * each as f64).unwrap(), model.parameters()).unwrap();
            match &mut sum {
                Some(sum) => sum.add(gradients).unwrap(),
                None => sum = Some(gradients),
            }
        }
        optimizer.step(model.parameters(), 0, &sum.unwrap(), 1.0, 1.0 / 3.0).unwrap();
        let numbers =
            model.parameters().snapshot().unwrap().into_iter().map(|(_, t)| t.flatten_all().unwrap().to_vec1().unwrap());
        let sums: Vec<f64> = (0..2).map(|term| values.iter().skip(term).step_by(2).sum()).collect();
        (numbers.collect::<Vec<Vec<f32>>>().concat(), sums)
    };
    let ((stacked, losses), (single, expected)) = (train(3), train(1));
    for (a, b) in stacked.iter().zip(&single) {
        assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{a} and {b}");
    }
    for (a, b) in losses.iter().zip(&expected) {
        assert!((a - b).abs() < 1e-4 && *b > 1.0, "{losses:?} and {expected:?}");
    }
}

#[test]
fn an_epoch_of_stacks_updates_after_as_many_mini_batches_as_one_by_one() {
    let (cells, _, lineages) = planted(300, 12, 0.05);
    let input = LclInput { lineages, test: Vec::new() };
    let config = LclConfig { n_pairs: 6, n_unlabelled: 3, train_frac: 1.0, accumulate: 3, ..small(LclConfig::default()) };
    let model = || Lcl::new(&cells, &input, config.clone(), &Device::Cpu).unwrap();
    let sgd = OptimizerConfig::Sgd(SgdConfig::default());
    let train =
        TrainConfig { n_epochs: 1, learning_rate: 0.05, optimizer: sgd, accumulate: 3, train_frac: 1.0, ..Default::default() };
    let mut trainer = Trainer::new(model(), cells.clone(), train.clone(), Threads::new(2).unwrap()).unwrap();
    let batches = trainer.mini_batches(0).unwrap();
    trainer.train(&mut Silent, &CancelToken::default()).unwrap();
    let (stacked, history) = trainer.finish().unwrap();

    let (single, mut losses) = (model(), Vec::new());
    let mut optimizer = Optimizer::new(single.parameters(), &sgd).unwrap();
    let n_steps = batches.len();
    for (group, several) in batches.chunks(3).enumerate() {
        let mut sum: Option<Gradients> = None;
        for MiniBatch { rows: indices, n_pairs, .. } in several.iter().cloned() {
            let mut rows = Csr::empty(300);
            cells.source().read_rows(&indices, &mut rows).unwrap();
            let draws = Draws::new(Rng::new(0), 0, 0);
            let prepared = single.prepare(Batch { rows, indices, n_pairs, n_stacked: 1, is_trained: true }, &draws).unwrap();
            let total = single.losses(&prepared, Phase::MODEL, &draws).unwrap().total().unwrap().unwrap();
            losses.push(f64::from(total.to_scalar::<f32>().unwrap()));
            let gradients = Gradients::of(&total, single.parameters()).unwrap();
            match &mut sum {
                Some(sum) => sum.add(gradients).unwrap(),
                None => sum = Some(gradients),
            }
        }
        let rate = train.learning_rate_at(0, 3 * group + several.len() - 1, n_steps);
        optimizer.step(single.parameters(), 0, &sum.unwrap(), rate, 1.0 / several.len() as f64).unwrap();
    }
    assert!(!n_steps.is_multiple_of(3) && n_steps > 20, "{n_steps}: the last group must be a smaller one");
    let mean = losses.iter().sum::<f64>() / n_steps as f64;
    let record = &history.epochs[0];
    assert!((record.loss - mean).abs() < 1e-4 && record.n_steps == n_steps, "{} and {mean}", record.loss);
    let (ours, expected) = (stacked.embed(cells.source()).unwrap(), single.embed(cells.source()).unwrap());
    let apart = ours.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-3, "{apart}");
}

#[test]
fn held_out_cells_leave_pairs_and_are_validated_with_their_kin() {
    let codes = (0..60).map(|i| Some(format!("{}", i % 12)));
    let lineages = Lineages::from_column(&Categorical::from_values(codes));
    let training = Training::new(&LclInput { lineages: lineages.clone(), test: vec![0, 12] }, Mode::Inductive);
    let held_out = training.held_out(0.7, &Rng::new(3));
    assert!((10..26).contains(&held_out.len()) && !held_out.contains(&0));
    assert!(training.lineages.members().iter().all(|m| m.iter().filter(|i| !held_out.contains(i)).count() >= 2));
    let batches = training.validation_pairs(&held_out, 4, &Rng::new(3));
    for batch in &batches {
        let (a, b) = batch.rows.split_at(batch.n_pairs);
        assert!(a.iter().zip(b).all(|(a, b)| held_out.contains(a) && !held_out.contains(b) && lineages.related(*a, *b)));
    }
    assert!(batches.iter().map(|b| b.n_pairs).sum::<usize>() + 1 >= held_out.len());
}

#[test]
fn a_saved_model_embeds_as_before_by_either_output() {
    let (cells, _, lineages) = planted(200, 10, 0.05);
    let input = LclInput { lineages, test: Vec::new() };
    let (model, history) = fit(&cells, &input, LclConfig { n_epochs: 2, ..small(LclConfig::default()) }, 2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let preprocessing = Preprocessing::COUNTS;
    model.save(&path, preprocessing, &history).unwrap();
    let (back, back_preprocessing, back_history) = Lcl::load(&path, &Device::Cpu).unwrap();
    assert_eq!((back_preprocessing, &back_history), (preprocessing, &history));
    for (embedding, width) in [(Embedding::Projection, 16), (Embedding::Base, 32)] {
        let z = model.embed_by(cells.source(), embedding).unwrap();
        assert!(z.ncols() == width && z == back.embed_by(cells.source(), embedding).unwrap());
    }
    assert_eq!(back.summary().n_cells, 200);
    let wrong = LclInput { lineages: Lineages::from_column(&Categorical::from_values([Some("a"); 5])), test: Vec::new() };
    let refused = Lcl::new(&cells, &wrong, LclConfig::default(), &Device::Cpu).unwrap_err().to_string();
    assert!(refused.contains("lineages of 5 cells for 200 cells"), "{refused}");
}
