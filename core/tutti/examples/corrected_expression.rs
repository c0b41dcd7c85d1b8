//! Expression of all cells as if they had been measured in one batch, by the decoder: `cargo run --example corrected_expression`.

use candle_core::Device;
use ndarray::{Array1, Array2, Axis};
use tutti::data::Categorical;
use tutti::observe::{CancelToken, Silent};
use tutti::preprocess::{Normalized, TargetSum, to_memory};
use tutti::simulate::{SimulateConfig, simulate};
use tutti::systems::concord::{Concord, ConcordColumns, ConcordConfig};
use tutti::threads::Threads;

fn main() -> tutti::Result<()> {
    let data = simulate(&SimulateConfig { n_cells: 1500, n_genes: 800, ..Default::default() })?;
    let counts = data.cells()?;
    let logged = to_memory(&Normalized::new(counts.shared_source(), Some(TargetSum::Fixed(1e4)), true)?)?;
    let measured = logged.to_dense();
    let cells = counts.with_source(logged, data.gene_names.clone())?;

    let columns = ConcordColumns { batch: Some("batch".into()), label: None };
    let config = ConcordConfig { use_decoder: true, decoder_target_unmasked: true, ..Default::default() };
    let mut trainer = Concord::trainer(&cells, &columns, config, &Device::Cpu, Threads::new(0)?)?;
    trainer.train(&mut Silent, &CancelToken::default())?;
    let (model, _) = trainer.finish()?;
    let corrected = model.decode(model.embed(cells.source())?.view(), "batch_1")?;

    let (before, after) = (apart(&measured, &data.batch, &data.cell_type), apart(&corrected, &data.batch, &data.cell_type));
    println!("mean difference of type_1 between batch_1 and batch_2 per gene: {before:.3} measured, {after:.3} corrected");
    assert!(after < before);
    Ok(())
}

/// Mean over genes of the difference between two batches, within the first type.
fn apart(x: &Array2<f32>, batch: &Categorical, cell_type: &Categorical) -> f32 {
    let mean = |name: &str| -> Array1<f32> {
        let rows: Vec<usize> =
            (0..x.nrows()).filter(|i| batch.value(*i) == Some(name) && cell_type.value(*i) == Some("type_1")).collect();
        x.select(Axis(0), &rows).sum_axis(Axis(0)) / rows.len() as f32
    };
    (mean("batch_1") - mean("batch_2")).mapv(f32::abs).mean().unwrap_or(0.0)
}
