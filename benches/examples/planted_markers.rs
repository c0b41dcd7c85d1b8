//! How many of the genes that CellPredX's labels rest on are planted markers of their type, over several seeds: one table.
//!
//! `cargo run --example planted_markers -- OUT.md [SEEDS]`

use std::fmt::Write as _;
use std::path::PathBuf;

use candle_core::Device;
use tutti::downstream::{DeterminantConfig, determinant_genes};
use tutti::observe::{CancelToken, Silent};
use tutti::preprocess::{Normalized, TargetSum, to_memory};
use tutti::simulate::{BatchEffect, Batches, Clusters, EffectKind, Layer, Simulation, Spec, Structure};
use tutti::systems::cellpredx::{CellPredX, CellPredXConfig, CellPredXInput, Preset, Scenario};
use tutti::threads::Threads;
use tutti_benches::interval;

/// Genes of each type that are looked at.
const N_TOP: [usize; 3] = [10, 20, 50];

/// A planted marker is expressed, without noise, so many times as strongly in its type as in the others.
const FOLD: f64 = 2.0;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let out = PathBuf::from(arguments.next().ok_or("give OUT.md [SEEDS]")?);
    let n_seeds: u64 = arguments.next().map_or(Ok(5), |a| a.parse())?;
    // For each strength and number of genes: the share by seed; last, the share of markers among all genes.
    let mut table = String::from(
        "| batch effect | first 10 | first 20 | first 50 | markers among all genes | completeness error |\n|---|---|---|---|---|---|\n",
    );
    for strength in [0.3, 0.6] {
        let runs: Vec<[f64; 5]> = (0..n_seeds).map(|seed| one(strength, seed)).collect::<Result<_, _>>()?;
        let cells: Vec<String> = (0..5).map(|j| interval(&runs.iter().map(|r| r[j]).collect::<Vec<_>>())).collect();
        writeln!(table, "| {strength} | {} |", cells.join(" | "))?;
    }
    println!("{table}");
    std::fs::write(out, table)?;
    Ok(())
}

/// Shares of planted markers among the first genes of the types, among all genes, and the mean completeness error.
fn one(strength: f64, seed: u64) -> Result<[f64; 5], Failure> {
    let factors = BatchEffect { dispersion: Some(strength), ..BatchEffect::new(EffectKind::GeneFactors) };
    let batches = Batches { n: 2, effects: vec![factors], ..Default::default() };
    let structure = Structure::Clusters(Clusters { n: 5, ..Default::default() });
    let spec = Spec { n_cells: 1500, n_genes: 500, seed, structure, batches, modality: None, ..Spec::preset("rna_atac")? };
    let simulation = Simulation::new(&spec)?;
    let counts = simulation.cells()?;
    let logged = to_memory(&Normalized::new(counts.shared_source(), Some(TargetSum::Fixed(1e4)), true)?)?;
    let cells = counts.with_source(logged, simulation.gene_names().to_vec())?;
    let truth = cells.column("cell_type")?.clone();
    let is_query: Vec<bool> = cells.column("batch")?.codes().iter().map(|b| *b == Some(1)).collect();

    let input = CellPredXInput { labels: truth.clone(), is_query: is_query.clone(), batch: None };
    let config = CellPredXConfig { seed, ..CellPredXConfig::preset(Preset::Default, Scenario::RnaToRna) };
    let mut trainer = CellPredX::trainer(&cells, &input, config, &Device::Cpu, Threads::new(0)?)?;
    trainer.train(&mut Silent, &CancelToken::default())?;
    let (model, _) = trainer.finish()?;
    let mut found = model.predict(model.embed(cells.source())?.view())?.label;
    // Of query cells only, as they were called.
    found = tutti::data::Categorical::from_values((0..found.len()).map(|i| if is_query[i] { found.value(i) } else { None }));

    let noise_free = simulation.matrix(Layer::NoNoise)?.to_dense();
    let is_marker = |gene: usize, class: &str| {
        let mean = |of: bool| {
            let rows: Vec<usize> = (0..truth.len()).filter(|i| (truth.value(*i) == Some(class)) == of).collect();
            rows.iter().map(|i| f64::from(noise_free[[*i, gene]])).sum::<f64>() / rows.len() as f64
        };
        mean(true) > FOLD * mean(false)
    };
    let config = DeterminantConfig { seed, ..Default::default() };
    let classes = determinant_genes(&model, cells.source(), &found, &config)?;
    let mut sums = [0.0; 5];
    for class in &classes {
        for (sum, n) in sums.iter_mut().zip(N_TOP) {
            let hits = class.genes.iter().take(n).filter(|g| is_marker(g.gene, &class.class)).count();
            *sum += hits as f64 / n as f64;
        }
        sums[3] += (0..spec.n_genes).filter(|gene| is_marker(*gene, &class.class)).count() as f64 / spec.n_genes as f64;
        sums[4] += f64::from(class.completeness_error);
    }
    eprintln!("strength {strength}, seed {seed}: {:.3?} over {} types", sums.map(|s| s / classes.len() as f64), classes.len());
    Ok(sums.map(|sum| sum / classes.len() as f64))
}
