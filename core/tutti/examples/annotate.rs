//! Names a batch from the labels of the others, with calibrated probabilities, and refuses cells: `cargo run --example annotate`.

use candle_core::Device;
use ndarray::Axis;
use tutti::data::{CellSource, Cells, Csr};
use tutti::downstream::{AnnotateConfig, ClassEvidence, TransferConfig, annotate, hold_out};
use tutti::metrics::coverage;
use tutti::observe::{CancelToken, Silent};
use tutti::preprocess::{Origin, PAIR_BATCH, PairConfig, prepare_pair};
use tutti::rng::Rng;
use tutti::simulate::{SimulateConfig, Simulated, simulate};
use tutti::systems::concord::{Concord, ConcordColumns, ConcordConfig};
use tutti::threads::Threads;

fn main() -> tutti::Result<()> {
    // The last batch lacks the last type: as a reference it cannot name cells of it.
    let config = SimulateConfig {
        n_cells: 3000,
        n_genes: 800,
        n_batches: 2,
        type_strength: 2.0,
        library_size: 2000.0,
        ..Default::default()
    };
    let data = simulate(&config)?;
    let (of_reference, of_query): (Vec<usize>, Vec<usize>) = (0..3000).partition(|i| data.batch.value(*i) == Some("batch_2"));
    let (reference, query) = (some(&data, &of_reference)?, some(&data, &of_query)?);
    let labels = data.cell_type.select(&of_reference).drop_unused();

    let origin = Origin { name: "simulated cells", choose: "another matrix" };
    let pair = prepare_pair(&reference, &query, &PairConfig::default(), [origin; 2])?;
    let columns = ConcordColumns { batch: Some(PAIR_BATCH.into()), label: None };
    let config = ConcordConfig { latent_dim: 30, encoder_dims: vec![256], ..Default::default() };
    let mut trainer = Concord::trainer(&pair.cells, &columns, config, &Device::Cpu, Threads::new(0)?)?;
    trainer.train(&mut Silent, &CancelToken::default())?;
    let embedding = trainer.finish()?.0.embed(pair.cells.source())?;

    // A fifth of the reference does not vote: temperature and limits are chosen on it.
    let split = hold_out(&labels, 0.2, &Rng::new(0))?;
    let (x, of_query_x) = embedding.view().split_at(Axis(0), pair.n_reference);
    let votes = TransferConfig { n_neighbors: 15, ..Default::default() };
    let evidence = ClassEvidence::of_neighbors(x, &labels, &split, of_query_x, &votes)?;
    let found = annotate(&evidence, &AnnotateConfig::default())?;
    let compared = coverage(&data.cell_type.select(&of_query), &found.query.label, &found.query.unknown())?;
    println!("first cell: {:?}", found.query.cell(0));
    println!("{compared:#?}");
    assert!(compared.accuracy.is_some_and(|a| a > 0.9), "nine of ten cells of known types are named right");
    Ok(())
}

fn some(data: &Simulated, rows: &[usize]) -> tutti::Result<Cells<'static>> {
    let mut counts = Csr::empty(data.gene_names.len());
    data.counts.read_rows(rows, &mut counts)?;
    Cells::new(counts, rows.iter().map(|i| data.cell_names[*i].clone()).collect(), data.gene_names.clone())
}
