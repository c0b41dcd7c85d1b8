//! The genes that drive each dimension of an embedding: `cargo run --example gene_attribution`.

use candle_core::Device;
use tutti::observe::{CancelToken, Silent};
use tutti::preprocess::{Normalized, TargetSum, to_memory};
use tutti::simulate::{SimulateConfig, simulate};
use tutti::systems::concord::{Concord, ConcordColumns, ConcordConfig};
use tutti::threads::Threads;

fn main() -> tutti::Result<()> {
    let data = simulate(&SimulateConfig { n_cells: 1000, n_genes: 500, ..Default::default() })?;
    let counts = data.cells()?;
    let logged = to_memory(&Normalized::new(counts.shared_source(), Some(TargetSum::Fixed(1e4)), true)?)?;
    let cells = counts.with_source(logged, data.gene_names.clone())?;

    let columns = ConcordColumns { batch: Some("batch".into()), label: None };
    let config = ConcordConfig { latent_dim: 8, encoder_dims: vec![128], ..Default::default() };
    let mut trainer = Concord::trainer(&cells, &columns, config, &Device::Cpu, Threads::new(0)?)?;
    trainer.train(&mut Silent, &CancelToken::default())?;
    let (model, _) = trainer.finish()?;

    // Layer 1 is the last one, the embedding: [n_genes, latent_dim].
    let attribution = model.gene_attribution(cells.source(), 1)?;
    for (dimension, column) in attribution.columns().into_iter().enumerate() {
        let mut genes: Vec<usize> = (0..column.len()).collect();
        genes.sort_by(|a, b| column[*b].total_cmp(&column[*a]));
        let top: Vec<String> = genes[..3].iter().map(|g| format!("{} {:+.3}", model.genes()[*g], column[*g])).collect();
        println!("dimension {dimension}: {}", top.join(", "));
    }
    Ok(())
}
