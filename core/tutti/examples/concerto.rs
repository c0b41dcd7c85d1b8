//! A query embedded together with its reference, named by its neighbours there, and the genes that the network attends to:
//! `cargo run --example concerto`.

use candle_core::Device;
use ndarray::Axis;
use tutti::downstream::{TransferConfig, transfer_labels};
use tutti::observe::{CancelToken, Silent};
use tutti::preprocess::{Normalized, TargetSum, to_memory};
use tutti::simulate::{Simulation, Spec};
use tutti::systems::concerto::{Concerto, ConcertoConfig};
use tutti::threads::Threads;

fn main() -> tutti::Result<()> {
    let simulation = Simulation::new(&Spec { n_cells: 1500, n_genes: 500, ..Spec::preset("five_clusters_two_batches")? })?;
    let counts = simulation.cells()?;
    let logged = to_memory(&Normalized::new(counts.shared_source(), Some(TargetSum::Fixed(1e4)), true)?)?;
    let cells = counts.with_source(logged, simulation.gene_names().to_vec())?;

    // Each mini-batch is of one batch. Nothing is told of the types.
    let mut trainer = Concerto::trainer(&cells, Some("batch"), ConcertoConfig::default(), &Device::Cpu, Threads::new(0)?)?;
    trainer.train(&mut Silent, &CancelToken::default())?;
    let (model, history) = trainer.finish()?;
    let losses: Vec<f64> = history.epochs.iter().map(|epoch| epoch.loss).collect();
    println!("{} epochs, loss {:.2} in the first, {:.2} in the last", losses.len(), losses[0], losses[losses.len() - 1]);

    // The first batch names the cells of the second.
    let (batch, types) = (cells.column("batch")?, cells.column("cell_type")?);
    let (reference, query): (Vec<usize>, Vec<usize>) = (0..cells.n_cells()).partition(|i| batch.codes()[*i] == Some(0));
    let z = model.embed(cells.source())?;
    let [of_reference, of_query] = [&reference, &query].map(|rows| z.select(Axis(0), rows));
    let labels = types.select(&reference);
    let found = transfer_labels(of_reference.view(), &labels, of_query.view(), &TransferConfig::default())?;
    let right = query.iter().enumerate().filter(|(i, cell)| found.label.value(*i) == types.value(**cell)).count();
    println!("{right} of {} cells of the second batch get their type", query.len());

    let attention = model.attention(cells.source())?.mean_axis(Axis(0)).unwrap_or_default();
    let mut genes: Vec<usize> = (0..attention.len()).collect();
    genes.sort_by(|a, b| attention[*b].total_cmp(&attention[*a]));
    let most: Vec<&str> = genes.iter().take(5).map(|gene| model.genes()[*gene].as_str()).collect();
    println!("it attends most to {}", most.join(", "));
    Ok(())
}
