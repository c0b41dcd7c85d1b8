//! `tutti transfer`: labels of reference cells onto query cells.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::{Map, Value, json};
use tutti::downstream::{LabelTransfer, NeighborWeights, Rejection, TransferConfig, transfer_labels};
use tutti::neighbors::Metric;
use tutti::observe::Observer;
use tutti::threads::Threads;
use tutti_io::{Additions, AnnData, ObsColumn, ReadOptions};

use crate::Result;
use crate::error::CliError;
use crate::input::embedding;
use crate::output::{Printing, check_output};
use crate::progress::Reporter;
use crate::settings::seed;

/// How much a neighbour counts.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum WeightsName {
    /// Its similarity: the cosine, or 1 / (1 + distance)
    Similarity,
    /// A Gaussian of its distance, as wide as the neighbours are far
    Gaussian,
    /// All the same
    Uniform,
}

impl From<WeightsName> for NeighborWeights {
    fn from(name: WeightsName) -> Self {
        match name {
            WeightsName::Similarity => Self::Similarity,
            WeightsName::Gaussian => Self::Gaussian,
            WeightsName::Uniform => Self::Uniform,
        }
    }
}

/// Arguments of `tutti transfer`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Cells with labels
    pub reference: PathBuf,
    /// Cells to label, embedded by the same model; may be the same file, where some of its cells have no label
    pub query: PathBuf,
    /// Column of the reference's obs with the label; cells without a value take no part
    #[arg(long, value_name = "COLUMN")]
    pub label: String,
    /// Embedding of both: a name in obsm, or a .csv, .tsv or .parquet file of cells x dimensions with the names of all cells first
    #[arg(long, value_name = "NAME|FILE", default_value = "X_concord")]
    pub embedding: String,
    /// Where to write: .h5ad (a copy of the query with the columns added), .csv, .tsv or .parquet
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Reference cells that vote on each query cell
    #[arg(long, value_name = "N", default_value_t = TransferConfig::default().n_neighbors)]
    pub n_neighbors: usize,
    /// Distance: `cosine`, by which contrastive embeddings are trained, or `euclidean`, by which `tutti annotate` compares cells in X_cellpredx, but for those of a
    /// start at random (`--losses paper` and `reference-code`)
    #[arg(long, value_name = "NAME", default_value = "cosine", value_parser = ["cosine", "euclidean"])]
    pub metric: String,
    /// How much a neighbour counts
    #[arg(long, value_enum, default_value = "similarity")]
    pub weights: WeightsName,
    /// Also write the score of every class
    #[arg(long)]
    pub all_scores: bool,
    /// Mark cells with a smaller score as unknown, in a column of its own
    #[arg(long, value_name = "X")]
    pub min_confidence: Option<f32>,
    /// Mark cells with a larger novelty as unknown, in a column of its own; 0.99 marks 1 % of cells like those of the reference
    #[arg(long, value_name = "X")]
    pub max_novelty: Option<f32>,
    /// Threads [default: all processors]
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Seed of the approximate search, taken above 100,000 reference cells
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = seed, allow_negative_numbers = true)]
    pub seed: u64,
    #[command(flatten)]
    pub printing: Printing,
}

impl Arguments {
    fn config(&self) -> TransferConfig {
        TransferConfig {
            n_neighbors: self.n_neighbors,
            metric: if self.metric == "cosine" { Metric::Cosine } else { Metric::Euclidean },
            weights: self.weights.into(),
            seed: self.seed,
            ..Default::default()
        }
    }

    /// Which cells are unknown; `None` where no limit was asked for.
    fn unknown(&self, found: &LabelTransfer) -> Result<Option<Vec<bool>>> {
        let rejection = Rejection { min_confidence: self.min_confidence, max_novelty: self.max_novelty, ..Default::default() };
        Ok(if rejection == Rejection::default() { None } else { Some(found.unknown(&rejection)?) })
    }
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> Result<()> {
    check_files(arguments)?;
    let mut reporter = Reporter::new(arguments.printing.quiet);
    let (reference, query) = (read(&arguments.reference)?, read(&arguments.query)?);
    let labels = reference.categorical(&arguments.label)?.drop_unused().without_blank();
    let n_unlabelled = labels.codes().iter().filter(|code| code.is_none()).count();
    if n_unlabelled > 0 {
        let (n, label) = (labels.len(), &arguments.label);
        reporter.on_warning(&format!("{n_unlabelled} of {n} reference cells have no `{label}` and take no part"));
    }
    check_names(arguments, &reference, &query)?;
    let (x, of_query) = (embedding(&reference, &arguments.embedding)?, embedding(&query, &arguments.embedding)?);
    let threads = Threads::new(arguments.threads)?;
    let found = threads.run(|| transfer_labels(x.view(), &labels, of_query.view(), &arguments.config()))?;
    let unknown = arguments.unknown(&found)?;
    found.warning().iter().for_each(|warning| reporter.on_warning(warning));
    write(arguments, &query, columns(arguments, &found, unknown.as_deref()))?;
    if arguments.printing.json {
        say!("{}", summary(arguments, &found, unknown.as_deref(), (labels.len(), n_unlabelled)));
    } else if !arguments.printing.quiet {
        print(arguments, &found, unknown.as_deref());
    }
    Ok(())
}

/// Refuses outputs that cannot be written before anything is read.
fn check_files(arguments: &Arguments) -> Result<()> {
    let output = &arguments.output;
    check_output(&arguments.query, output)?;
    check_output(&arguments.reference, output)?;
    if is_h5ad(output) && !is_h5ad(&arguments.query) {
        let (output, query) = (output.display(), arguments.query.display());
        return Err(CliError::Usage(format!(
            "-o {output} would be a copy of the query, and {query} is not h5ad; end it in .csv, .tsv or .parquet"
        )));
    }
    Ok(())
}

fn is_h5ad(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("h5ad"))
}

fn read(path: &Path) -> Result<AnnData> {
    Ok(tutti_io::read(path, &ReadOptions { without_x: is_h5ad(path), ..Default::default() })?)
}

/// Refuses cells of one name in two files where a table of both is to tell them apart.
fn check_names(arguments: &Arguments, reference: &AnnData, query: &AnnData) -> Result<()> {
    let stored = |data: &AnnData| data.obsm().contains_key(&arguments.embedding);
    if arguments.reference == arguments.query || stored(reference) || stored(query) {
        return Ok(());
    }
    let of_reference: HashSet<&String> = reference.cell_names().iter().collect();
    let shared: Vec<&String> = query.cell_names().iter().filter(|name| of_reference.contains(name)).collect();
    let Some(first) = shared.first() else { return Ok(()) };
    let (n, table) = (shared.len(), &arguments.embedding);
    let problem =
        format!("{n} cells have the same name in reference and query (first: {first}), which {table} cannot tell apart");
    Err(CliError::Science(tutti::Error::data(problem, "rename them, or add the embedding to both files")))
}

fn columns(arguments: &Arguments, found: &LabelTransfer, unknown: Option<&[bool]>) -> Vec<(String, ObsColumn)> {
    let name = format!("predicted_{}", arguments.label);
    let mut columns = vec![
        (name.clone(), ObsColumn::Levels(found.label.clone())),
        (format!("{name}_score"), ObsColumn::Float(found.confidence.clone())),
        (format!("{name}_novelty"), ObsColumn::Float(found.novelty.clone())),
    ];
    columns.extend(unknown.map(|unknown| (format!("{name}_unknown"), ObsColumn::Bool(unknown.to_vec()))));
    if arguments.all_scores {
        let classes = found.label.levels().iter().zip(found.scores.columns());
        columns.extend(classes.map(|(class, scores)| (format!("{name}_score_{class}"), ObsColumn::Float(scores.to_vec()))));
    }
    columns
}

fn write(arguments: &Arguments, query: &AnnData, obs: Vec<(String, ObsColumn)>) -> Result<()> {
    if is_h5ad(&arguments.output) {
        // `uns` keeps what a training or embedding left there.
        let additions = Additions { obs, ..Default::default() };
        return Ok(tutti_io::add_to_copy(&arguments.query, &arguments.output, &additions)?);
    }
    let names = query.cell_names().iter().cloned().map(Some).collect();
    let columns: Vec<_> = std::iter::once(("cell".to_owned(), ObsColumn::Text(names))).chain(obs).collect();
    Ok(tutti_io::write_table(&arguments.output, &columns)?)
}

/// `n_reference` are all reference cells, and those of them without a label.
fn summary(arguments: &Arguments, found: &LabelTransfer, unknown: Option<&[bool]>, n_reference: (usize, usize)) -> Value {
    let config = arguments.config();
    let counts = found.label.levels().iter().zip(found.label.counts());
    let counts: Map<String, Value> = counts.map(|(class, n)| (class.clone(), json!(n))).collect();
    json!({
        "tutti_version": env!("CARGO_PKG_VERSION"),
        "reference": arguments.reference.display().to_string(),
        "query": arguments.query.display().to_string(),
        "output": arguments.output.display().to_string(),
        "label": arguments.label,
        "embedding": arguments.embedding,
        "n_neighbors": config.n_neighbors,
        "metric": config.metric,
        "weights": config.weights,
        "seed": config.seed,
        "min_confidence": arguments.min_confidence,
        "max_novelty": arguments.max_novelty,
        "n_reference": n_reference.0,
        "n_unlabelled": n_reference.1,
        "n_query": found.label.len(),
        "n_unknown": unknown.map(|u| u.iter().filter(|u| **u).count()),
        "median_score": found.median_confidence(),
        "median_novelty": found.median_novelty(),
        "predicted": counts,
    })
}

/// Prints a line per class that was found.
fn print(arguments: &Arguments, found: &LabelTransfer, unknown: Option<&[bool]>) {
    let title = format!("predicted_{}", arguments.label);
    let classes = found.by_class();
    let width = classes.iter().map(|c| c.class.chars().count()).chain([title.chars().count()]).max().unwrap_or(0);
    say!("{title:<width$}  {:>8}  {:>12}  {:>14}", "cells", "median score", "median novelty");
    for c in classes {
        say!("{:<width$}  {:>8}  {:>12.3}  {:>14.3}", c.class, c.n_cells, c.median_confidence, c.median_novelty);
    }
    if let Some(unknown) = unknown {
        say!("unknown: {} of {} cells", unknown.iter().filter(|u| **u).count(), unknown.len());
    }
    say!("written to {}", arguments.output.display());
}
