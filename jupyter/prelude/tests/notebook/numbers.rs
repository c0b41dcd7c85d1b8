//! The notebook gives the numbers of the core and so of the command line.

use tutti::observe::{CancelToken, Silent};
use tutti::preprocess::PrepareConfig;
use tutti::systems::concord::{Concord, ConcordColumns, ConcordConfig};
use tutti::threads::Threads;
use tutti_notebook::*;

#[test]
fn the_same_seed_gives_the_same_bits_as_the_core() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cells.h5ad");
    simulate_with("splatter").n_cells(300).n_genes(200).run().unwrap().write(&path).unwrap();

    // As `tutti concord cells.h5ad --batch batch --hvg 120 ...` does.
    let config =
        ConcordConfig { latent_dim: 12, encoder_dims: vec![40], n_epochs: 3, batch_size: 64, seed: 7, ..Default::default() };
    let columns = ConcordColumns { batch: Some("batch".into()), label: None };
    let data = tutti_io::read(&path, &Default::default()).unwrap();
    let how = PrepareConfig { batch: Some("batch"), n_top_genes: Some(120), ..Default::default() };
    let (cells, _) = data.prepare(&data.cells(&["batch"]).unwrap(), &how, "another layer").unwrap();
    let threads = || Threads::new(1).unwrap();
    let mut trainer = Concord::trainer(&cells, &columns, config, &candle_core::Device::Cpu, threads()).unwrap();
    trainer.train(&mut Silent, &CancelToken::default()).unwrap();
    let (expected, history) = trainer.finish().unwrap();
    let expected = threads().run(|| expected.embed(cells.source())).unwrap();

    let cells = read(&path).unwrap();
    let run = concord(&cells).batch("batch").hvg(120).n_epochs(3).latent_dim(12).batch_size(64).seed(7);
    let model = run.set("encoder_dims", 40).train().unwrap();
    assert_eq!(model.embed(&cells).unwrap().array(), &expected);
    assert_eq!(model.history().losses(), history.epochs.iter().map(|e| e.loss).collect::<Vec<_>>());
}
