//! Integrates three batches by CONCORD, from raw counts to scores: `cargo run --example concord`.

use candle_core::Device;
use tutti::metrics::{ScoreConfig, score};
use tutti::neighbors::Metric;
use tutti::observe::{CancelToken, Silent};
use tutti::preprocess::{Normalized, PcaConfig, TargetSum, pca, to_memory};
use tutti::simulate::{SimulateConfig, simulate};
use tutti::systems::concord::{Concord, ConcordColumns, ConcordConfig};
use tutti::threads::Threads;

fn main() -> tutti::Result<()> {
    let data = simulate(&SimulateConfig { n_cells: 1500, n_genes: 800, ..Default::default() })?;
    let counts = data.cells()?;
    let logged = to_memory(&Normalized::new(counts.shared_source(), Some(TargetSum::Fixed(1e4)), true)?)?;
    let cells = counts.with_source(logged, data.gene_names.clone())?;

    let columns = ConcordColumns { batch: Some("batch".into()), label: None };
    let config = ConcordConfig { latent_dim: 30, encoder_dims: vec![256], ..Default::default() };
    let mut trainer = Concord::trainer(&cells, &columns, config, &Device::Cpu, Threads::new(0)?)?;
    trainer.train(&mut Silent, &CancelToken::default())?;
    let (model, history) = trainer.finish()?;

    let before = pca(cells.source(), &PcaConfig { n_components: 30, ..Default::default() })?.scores;
    let after = model.embed(cells.source())?;
    let cosine = ScoreConfig { metric: Metric::Cosine, ..Default::default() };
    let before = score(before.view(), Some(&data.cell_type), &data.batch, &ScoreConfig::default())?;
    let after = score(after.view(), Some(&data.cell_type), &data.batch, &cosine)?;
    let last = history.epochs.last().map_or(f64::NAN, |epoch| epoch.loss);
    println!("loss after {} epochs: {last:.3}", history.epochs.len());
    println!("same-batch neighbours, 1 is mixed: {:.2} before, {:.2} after", before.same_batch_ratio, after.same_batch_ratio);
    println!(
        "label silhouette: {:.3} before, {:.3} after",
        before.label_silhouette.unwrap_or(0.0),
        after.label_silhouette.unwrap_or(0.0)
    );
    Ok(())
}
