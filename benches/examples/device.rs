//! Training on a CUDA device beside the CPU, with the same seed: losses, what the embedding tells apart, and speed.
//!
//! `cargo run --release -p tutti-benches --features cuda --example device -- OUT.md [check]`; `check` leaves the large data out. It ends with an
//! error where the losses of the first epoch differ by more than [`TOLERANCE`].

use std::fmt::Write as _;
use std::time::Instant;

use candle_core::Device;
use ndarray::Array2;
use tutti::data::{Categorical, Cells, Lineages};
use tutti::metrics::knn_purity;
use tutti::model::System;
use tutti::neighbors::{Metric, NeighborConfig, nearest_self};
use tutti::observe::{CancelToken, Silent};
use tutti::preprocess::{Preprocessing, to_memory};
use tutti::simulate::{BatchEffect, Batches, Clusters, EffectKind, Simulation, Spec, Structure};
use tutti::systems::cellpredx::{CellPredX, CellPredXConfig, CellPredXInput, Preset, Scenario};
use tutti::systems::concerto::{Concerto, ConcertoConfig};
use tutti::systems::concord::{Concord, ConcordColumns, ConcordConfig};
use tutti::systems::lcl::{Lcl, LclConfig, LclInput};
use tutti::threads::Threads;
use tutti::train::{History, Trainer};

type Failure = Box<dyn std::error::Error>;

/// What a training gave.
struct Run {
    embedding: Array2<f32>,
    history: History,
    seconds: f64,
}

/// Loss of the first epoch on the device over that on the CPU, less one, at most.
const TOLERANCE: f64 = 0.02;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().ok_or("give OUT.md [check]")?;
    let check = arguments.next().is_some();
    let cuda = Device::new_cuda(0)?;
    let mut table = String::from(
        "| system | cells x genes | device | s per epoch | cells/s | loss of epoch 1 | of the last | purity of types |\n|---|---|---|---|---|---|---|---|\n",
    );
    let mut worst: f64 = 0.0;
    let config = NeighborConfig { n_neighbors: 30, metric: Metric::Cosine, ..Default::default() };
    // The device compiles its kernels when they are first used, which is not training.
    let small = simulated(1000, 500)?;
    for (_, train) in SYSTEMS {
        train(&small, &cuda, 1)?;
    }
    let sizes: &[(usize, usize)] = if check { &[(3000, 1000)] } else { &[(6000, 2000), (50_000, 2000), (20_000, 10_000)] };
    for &(n_cells, n_genes) in sizes {
        let cells = simulated(n_cells, n_genes)?;
        let codes: Vec<u32> = cells.column("cell_type")?.codes().iter().map(|c| c.unwrap_or(0)).collect();
        let large = n_cells > 10_000;
        for (name, train) in SYSTEMS {
            let mut first = Vec::new();
            for (on, device) in [("CPU", &Device::Cpu), ("CUDA", &cuda)] {
                let run = train(&cells, device, if large { 2 } else { 5 })?;
                let epochs = &run.history.epochs;
                let seen: usize = epochs.iter().map(|e| e.n_cells).sum();
                let rows: Vec<usize> = (0..n_cells).step_by(n_cells.div_ceil(3000)).collect();
                let z = run.embedding.select(ndarray::Axis(0), &rows);
                let types: Vec<u32> = rows.iter().map(|i| codes[*i]).collect();
                let purity = knn_purity(&nearest_self(z.view(), &config)?, &types)?;
                let (start, end) = (epochs[0].loss, epochs[epochs.len() - 1].loss);
                first.push(start);
                let line = format!(
                    "| {name} | {n_cells} x {n_genes} | {on} | {:.2} | {:.0} | {start:.5} | {end:.5} | {purity:.3} |",
                    run.seconds / epochs.len() as f64,
                    seen as f64 / run.seconds
                );
                eprintln!("{line}");
                writeln!(table, "{line}")?;
                if run.embedding.iter().any(|v| !v.is_finite()) {
                    return Err(format!("{name} on {on}: the embedding holds NaN").into());
                }
            }
            worst = worst.max((first[1] / first[0] - 1.0).abs());
        }
    }
    writeln!(table, "\nLargest difference between the losses of the first epoch: {:.4} %.", 100.0 * worst)?;
    std::fs::write(out, &table)?;
    println!("{table}");
    if worst > TOLERANCE { Err(format!("the device's losses are {worst} off").into()) } else { Ok(()) }
}

/// A system and its training on cells, a device, for some epochs.
type Training = fn(&Cells<'static>, &Device, usize) -> Result<Run, Failure>;

const SYSTEMS: [(&str, Training); 5] = [
    ("CONCORD", concord),
    ("CONCORD with decoder and classifier", concord_with_heads),
    ("LCL", lcl),
    ("CellPredX", cellpredx),
    ("Concerto", concerto),
];

fn concord(cells: &Cells<'static>, device: &Device, n_epochs: usize) -> Result<Run, Failure> {
    let columns = ConcordColumns { batch: Some("batch".into()), label: None };
    let config = ConcordConfig { n_epochs, ..Default::default() };
    run(Concord::trainer(cells, &columns, config, device, Threads::new(0)?)?, |m| m.embed(cells.source()))
}

fn concord_with_heads(cells: &Cells<'static>, device: &Device, n_epochs: usize) -> Result<Run, Failure> {
    let columns = ConcordColumns { batch: Some("batch".into()), label: Some("cell_type".into()) };
    let config = ConcordConfig { n_epochs, use_decoder: true, use_classifier: true, ..Default::default() };
    run(Concord::trainer(cells, &columns, config, device, Threads::new(0)?)?, |m| m.embed(cells.source()))
}

fn lcl(cells: &Cells<'static>, device: &Device, n_epochs: usize) -> Result<Run, Failure> {
    let input = LclInput { lineages: Lineages::from_column(cells.column("cell_type")?), test: Vec::new() };
    let config = LclConfig { n_epochs, size_factor: 0.001, ..Default::default() };
    run(Lcl::trainer(cells, &input, config, device, Threads::new(0)?)?, |m| m.embed(cells.source()))
}

fn cellpredx(cells: &Cells<'static>, device: &Device, n_epochs: usize) -> Result<Run, Failure> {
    let is_query = cells.column("batch")?.codes().iter().map(|b| *b == Some(1)).collect();
    let input = CellPredXInput { labels: cells.column("cell_type")?.clone(), is_query, batch: None };
    let config = CellPredXConfig { n_steps: 10 * n_epochs, ..CellPredXConfig::preset(Preset::Default, Scenario::RnaToRna) };
    run(CellPredX::trainer(cells, &input, config, device, Threads::new(0)?)?, |m| m.embed(cells.source()))
}

fn concerto(cells: &Cells<'static>, device: &Device, n_epochs: usize) -> Result<Run, Failure> {
    let config = ConcertoConfig { n_epochs: Some(n_epochs), ..Default::default() };
    run(Concerto::trainer(cells, Some("batch"), config, device, Threads::new(0)?)?, |m| m.embed(cells.source()))
}

fn run<S: System>(mut trainer: Trainer<'_, S>, embed: impl FnOnce(&S) -> tutti::Result<Array2<f32>>) -> Result<Run, Failure> {
    trainer.train(&mut Silent, &CancelToken::default())?;
    let seconds = trainer.speed().0;
    let started = Instant::now();
    let (model, history) = trainer.finish()?;
    let embedding = embed(&model)?;
    eprintln!("  {seconds:.2} s of training, {:.2} s for the embedding", started.elapsed().as_secs_f64());
    Ok(Run { embedding, history, seconds })
}

/// Eight types in two batches, log-normalised.
fn simulated(n_cells: usize, n_genes: usize) -> Result<Cells<'static>, Failure> {
    let factors = BatchEffect { dispersion: Some(0.3), ..BatchEffect::new(EffectKind::GeneFactors) };
    let batches = Batches { n: 2, effects: vec![factors], ..Default::default() };
    let structure = Structure::Clusters(Clusters { n: 8, ..Default::default() });
    let base = Spec::preset("rna_atac")?;
    let spec = Spec { n_cells, n_genes, structure, batches, modality: None, min_level: 0.05, ..base };
    let simulation = Simulation::new(&spec)?;
    let counts = simulation.cells()?;
    let logged = to_memory(&Preprocessing::COUNTS.apply(counts.shared_source())?)?;
    let labels: Categorical = counts.column("cell_type")?.clone();
    Ok(counts.with_source(logged, simulation.gene_names().to_vec())?.with_column("cell_type", labels)?)
}
