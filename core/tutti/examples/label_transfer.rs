//! Names the cells of a batch without labels after those of the others: `cargo run --example label_transfer`.

use candle_core::Device;
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
    let hidden: Vec<usize> = (0..counts.n_cells()).filter(|i| data.batch.value(*i) == Some("batch_2")).collect();
    let known = (0..counts.n_cells()).map(|i| if hidden.contains(&i) { Some("unknown") } else { data.cell_type.value(i) });
    let cells = counts.with_source(logged, data.gene_names.clone())?.with_column("known", Categorical::from_values(known))?;

    let columns = ConcordColumns { batch: Some("batch".into()), label: Some("known".into()) };
    let config = ConcordConfig {
        latent_dim: 30,
        encoder_dims: vec![256],
        use_classifier: true,
        unlabeled_class: Some("unknown".into()),
        ..Default::default()
    };
    let mut trainer = Concord::trainer(&cells, &columns, config, &Device::Cpu, Threads::new(0)?)?;
    trainer.train(&mut Silent, &CancelToken::default())?;
    let (model, _) = trainer.finish()?;

    let probabilities = model.classify(model.embed(cells.source())?.view())?;
    let class = |i: usize| {
        let row = probabilities.row(i);
        let best = (0..row.len()).fold(0, |best, c| if row[c] > row[best] { c } else { best });
        &model.classes()[best]
    };
    let right = hidden.iter().filter(|i| Some(class(**i).as_str()) == data.cell_type.value(**i)).count();
    println!("{right} of {} cells without a label got their own type", hidden.len());
    assert!(right * 10 > hidden.len() * 8, "four fifths at least are expected");
    Ok(())
}
