//! Labels of a reference carried to a query with a type of its own, and the genes they rest on: `cargo run --example cellpredx`.

use candle_core::Device;
use tutti::downstream::{DeterminantConfig, determinant_genes};
use tutti::metrics::auroc;
use tutti::observe::{CancelToken, Silent};
use tutti::preprocess::{Normalized, TargetSum, to_memory};
use tutti::simulate::{BatchEffect, Batches, Clusters, EffectKind, Simulation, Spec, Structure};
use tutti::systems::cellpredx::{CellPredX, CellPredXConfig, CellPredXInput, Preset, Scenario};
use tutti::threads::Threads;

fn main() -> tutti::Result<()> {
    // Counts of five types in two batches; the first, the reference, lacks the fifth type.
    let effect = BatchEffect { dispersion: Some(0.5), ..BatchEffect::new(EffectKind::GeneFactors) };
    let batches =
        Batches { n: 2, states: vec![vec![1, 2, 3, 4], vec![1, 2, 3, 4, 5]], effects: vec![effect], ..Default::default() };
    let structure = Structure::Clusters(Clusters { n: 5, ..Default::default() });
    let spec = Spec { n_cells: 1500, n_genes: 500, structure, batches, modality: None, ..Spec::preset("rna_atac")? };
    let simulation = Simulation::new(&spec)?;
    let counts = simulation.cells()?;
    let logged = to_memory(&Normalized::new(counts.shared_source(), Some(TargetSum::Fixed(1e4)), true)?)?;
    let cells = counts.with_source(logged, simulation.gene_names().to_vec())?;

    let (batch, truth) = (cells.column("batch")?, cells.column("cell_type")?.clone());
    let is_query: Vec<bool> = batch.codes().iter().map(|b| *b == Some(1)).collect();
    // Labels of query cells are not read.
    let input = CellPredXInput { labels: truth.clone(), is_query: is_query.clone(), batch: None };
    let config = CellPredXConfig::preset(Preset::Default, Scenario::RnaToRna);
    let mut trainer = CellPredX::trainer(&cells, &input, config, &Device::Cpu, Threads::new(0)?)?;
    trainer.train(&mut Silent, &CancelToken::default())?;
    let (model, history) = trainer.finish()?;
    println!("last losses: {:.3?}", history.epochs.last().map(|e| &e.terms));

    let found = model.predict(model.embed(cells.source())?.view())?;
    let query: Vec<usize> = (0..cells.n_cells()).filter(|i| is_query[*i]).collect();
    let known: Vec<bool> =
        query.iter().map(|i| truth.value(*i).is_some_and(|t| model.classes().iter().any(|c| c == t))).collect();
    let right = query.iter().filter(|i| found.label.value(**i) == truth.value(**i)).count();
    let doubt: Vec<f64> = query.iter().map(|i| 1.0 - f64::from(found.probability[*i])).collect();
    let novel: Vec<bool> = known.iter().map(|k| !k).collect();
    println!(
        "{right} of {} query cells of known types are named right; AUROC of the new type {:.3}",
        known.iter().filter(|k| **k).count(),
        auroc(&doubt, &novel)?
    );
    for class in determinant_genes(&model, cells.source(), &found.label, &DeterminantConfig { n_genes: 5, ..Default::default() })?
    {
        let genes: Vec<&str> = class.genes.iter().map(|g| model.genes()[g.gene].as_str()).collect();
        println!("{} rests on {}", class.class, genes.join(", "));
    }
    Ok(())
}
