//! `tutti demo`: integrate, and show scores before and after.

use std::path::PathBuf;
use std::time::Instant;

use candle_core::Device;
use ndarray::ArrayView2;
use tutti::data::{Categorical, Cells};
use tutti::downstream::{UmapConfig, umap};
use tutti::metrics::{ScoreConfig, Scores, score};
use tutti::neighbors::Metric;
use tutti::observe::{CancelToken, Silent};
use tutti::preprocess::Preprocessing;
use tutti::preprocess::{PcaConfig, pca, to_memory};
use tutti::simulate::{SimulateConfig, simulate};
use tutti::systems::concord::{Concord, ConcordColumns, ConcordConfig};
use tutti::threads::Threads;
use tutti_figures::{Color, EmbeddingOptions, Figure, Panel, embedding_grid};

use crate::Result;
use crate::error::CliError;
use crate::input::{InputArguments, prepare};
use crate::settings::seed;
use crate::training::TrainingArguments;

/// Arguments of `tutti demo`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Your own cells instead of generated ones
    #[arg(long, value_name = "FILE", requires = "batch")]
    pub data: Option<PathBuf>,
    /// Column of obs with the experimental batch
    #[arg(long, value_name = "COLUMN")]
    pub batch: Option<String>,
    /// Column of obs with the cell type, for the scores
    #[arg(long, value_name = "COLUMN")]
    pub label: Option<String>,
    #[command(flatten)]
    pub source: InputArguments,
    /// Picture of both embeddings by batch and by type, .png or .svg
    #[arg(long, value_name = "FILE", default_value = "tutti_demo.png")]
    pub figure: PathBuf,
    /// Threads [default: all processors]
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Seed of all random draws
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = seed, allow_negative_numbers = true)]
    pub seed: u64,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> Result<()> {
    let threads = Threads::new(arguments.threads)?;
    let (cells, batch, label) = threads.run(|| match &arguments.data {
        Some(_) => own_cells(arguments),
        None => generated_cells(arguments.seed),
    })?;
    let started = Instant::now();
    let pca_config =
        PcaConfig { n_components: 50.min(cells.n_cells().min(cells.n_genes()) - 1), seed: arguments.seed, ..Default::default() };
    let before = threads.run(|| pca(cells.source(), &pca_config))?.scores;
    say!("PCA: {:.1} s", started.elapsed().as_secs_f64());

    let started = Instant::now();
    let config = ConcordConfig { seed: arguments.seed, ..Default::default() };
    let columns = ConcordColumns { batch: Some(batch.clone()), label: None };
    let mut trainer = Concord::trainer(&cells, &columns, config, &Device::Cpu, threads)?;
    trainer.train(&mut Silent, &CancelToken::default())?;
    let (_, speed) = trainer.speed();
    let (model, _) = trainer.finish()?;
    let threads = Threads::new(arguments.threads)?;
    let after = threads.run(|| model.embed(cells.source()))?;
    say!("CONCORD: {:.1} s ({speed:.0} cells/s)\n", started.elapsed().as_secs_f64());

    let batch = cells.column(&batch)?;
    let label = label.as_deref().map(|name| cells.column(name)).transpose()?;
    let scored =
        |x: ArrayView2<'_, f32>, metric| threads.run(|| score(x, label, batch, &ScoreConfig { metric, ..Default::default() }));
    print_table(&scored(before.view(), Metric::Euclidean)?, &scored(after.view(), Metric::Cosine)?);

    let started = Instant::now();
    let layout = |x: ArrayView2<'_, f32>, metric| {
        let config = UmapConfig { n_neighbors: 15.min(x.nrows()), metric, seed: arguments.seed, ..Default::default() };
        threads.run(|| umap(x, &config))
    };
    let (before, after) = (layout(before.view(), Metric::Euclidean)?, layout(after.view(), Metric::Cosine)?);
    picture([before.view(), after.view()], batch, label)?.save(&arguments.figure)?;
    say!("\nUMAP of both: {:.1} s, see {}", started.elapsed().as_secs_f64(), arguments.figure.display());
    Ok(())
}

/// Before and after, by batch and, where there are types, by type.
fn picture(layouts: [ArrayView2<'_, f32>; 2], batch: &Categorical, label: Option<&Categorical>) -> Result<Figure> {
    let mut panels = Vec::new();
    for (points, titles) in
        layouts.into_iter().zip([["PCA, by batch", "PCA, by type"], ["CONCORD, by batch", "CONCORD, by type"]])
    {
        panels.push(Panel { title: titles[0], points, color: Color::Category(batch) });
        panels.extend(label.map(|label| Panel { title: titles[1], points, color: Color::Category(label) }));
    }
    Ok(embedding_grid(&panels, &EmbeddingOptions::default())?)
}

type Input = (Cells<'static>, String, Option<String>);

fn own_cells(arguments: &Arguments) -> Result<Input> {
    let (Some(path), Some(batch)) = (&arguments.data, &arguments.batch) else {
        return Err(CliError::Usage("--data needs --batch COLUMN".into()));
    };
    let data = arguments.source.read(path)?;
    let columns: Vec<&str> = std::iter::once(batch).chain(&arguments.label).map(String::as_str).collect();
    let (cells, prepared) = prepare(&data, &columns, Some(batch), &TrainingArguments::default())?;
    say!("{}: {} cells, genes: {}; values: {}", path.display(), cells.n_cells(), prepared.gene_selection, prepared.value_kind);
    prepared.notes.iter().for_each(|note| say!("note: {note}"));
    Ok((cells, batch.clone(), arguments.label.clone()))
}

fn generated_cells(seed: u64) -> Result<Input> {
    let config = SimulateConfig { n_cells: 3000, n_genes: 2000, n_types: 6, n_batches: 3, seed, ..Default::default() };
    let simulated = simulate(&config)?;
    let counts = |column: &Categorical| column.n_levels();
    say!(
        "generated {} cells x {} genes, {} types in {} batches (seed {seed})",
        config.n_cells,
        config.n_genes,
        counts(&simulated.cell_type),
        counts(&simulated.batch)
    );
    let values = to_memory(&*Preprocessing::COUNTS.apply(std::sync::Arc::new(simulated.counts))?)?;
    let cells = Cells::new(values, simulated.cell_names, simulated.gene_names)?;
    let cells = cells.with_column("batch", simulated.batch)?.with_column("cell_type", simulated.cell_type)?;
    Ok((cells, "batch".into(), Some("cell_type".into())))
}

fn print_table(before: &Scores, after: &Scores) {
    say!("{:<44}{:>8}{:>10}", "", "PCA", "CONCORD");
    let row = |name: &str, a: Option<f64>, b: Option<f64>| {
        if let (Some(a), Some(b)) = (a, b) {
            say!("{name:<44}{a:>8.3}{b:>10.3}");
        }
    };
    row("cell types apart   (silhouette, 0 to 1)", before.label_silhouette, after.label_silhouette);
    row("cell types pure    (30 neighbours, 0 to 1)", before.knn_purity, after.knn_purity);
    row("batches together   (silhouette, 0 to 1)", before.batch_silhouette, after.batch_silhouette);
    row("same batch nearby  (30 neighbours, lower mixes)", Some(before.same_batch_ratio), Some(after.same_batch_ratio));
}
