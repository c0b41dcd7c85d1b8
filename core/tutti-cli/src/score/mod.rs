//! `tutti score`: how good embeddings are, side by side.

mod table;

use std::path::PathBuf;

use tutti::benchmark::{BenchmarkConfig, BenchmarkInput, Score, benchmark};
use tutti::neighbors::Metric;
use tutti::threads::Threads;
use tutti_figures::benchmark_table;
use tutti_io::{AnnData, ReadOptions};

use crate::Result;
use crate::error::CliError;
use crate::input::embedding;
use crate::settings::seed;
use table::Scored;

/// Arguments of `tutti score`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// h5ad file with the labels and batches
    pub input: PathBuf,
    /// Embedding to score, may be repeated: a name in obsm, or a .csv, .tsv or .parquet file of cells x dimensions with the cell names
    /// first [default: all of obsm]
    #[arg(long, value_name = "NAME|FILE")]
    pub embedding: Vec<String>,
    /// Column of obs with the cell type
    #[arg(long, value_name = "COLUMN")]
    pub label: String,
    /// Column of obs with the experimental batch
    #[arg(long, value_name = "COLUMN")]
    pub batch: String,
    /// Embedding before integration, for the comparison of explained variance [default: X_pca where there is one]
    #[arg(long, value_name = "NAME|FILE")]
    pub before: Option<String>,
    /// What the cells truly are, to compare distances and neighbourhoods with: a name in obsm, a layer or a file
    #[arg(long, value_name = "NAME|FILE")]
    pub truth: Option<String>,
    /// Betti numbers that the data truly have: components less one, loops, cavities; `4,0,0` for five clusters, `0,1,0` for a circle
    #[arg(long, value_name = "B0,B1,B2", value_delimiter = ',')]
    pub betti: Option<Vec<usize>>,
    /// Distance: `euclidean`, as scIB takes it, or `cosine`
    #[arg(long, value_name = "NAME", default_value = "euclidean", value_parser = ["euclidean", "cosine"])]
    pub metric: String,
    /// Write the scores to this .csv, .tsv, .parquet or .json file too
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Draw the table of scores to this .png or .svg file too
    #[arg(long, value_name = "FILE")]
    pub figure: Option<PathBuf>,
    /// Print the scores as one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    /// Threads [default: all processors]
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Seed of the clusters
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = seed, allow_negative_numbers = true)]
    pub seed: u64,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> Result<()> {
    if let Some(path) = &arguments.output {
        table::ending(path)?;
    }
    let without_x = arguments.input.extension().is_some_and(|e| e == "h5ad");
    let data = tutti_io::read(&arguments.input, &ReadOptions { without_x, ..Default::default() })?;
    let mut scored = score(arguments, &data)?;
    scored.sort_by(|a, b| b.value("total").unwrap_or(0.0).total_cmp(&a.value("total").unwrap_or(0.0)));
    if let Some(path) = &arguments.output {
        table::write(path, &scored)?;
    }
    if let Some(path) = &arguments.figure {
        let rows: Vec<(String, Vec<Score>)> = scored.iter().map(|s| (s.name.clone(), s.scores.clone())).collect();
        benchmark_table(&rows)?.save(path)?;
    }
    if arguments.json {
        say!("{}", table::as_json(&scored));
    } else {
        table::print(&scored);
    }
    Ok(())
}

fn score(arguments: &Arguments, data: &AnnData) -> Result<Vec<Scored>> {
    let (label, batch) = (data.categorical(&arguments.label)?, data.categorical(&arguments.batch)?);
    let before = match &arguments.before {
        Some(name) => Some(embedding(data, name)?),
        None => data.obsm().get("X_pca").cloned(),
    };
    let truth = arguments.truth.as_ref().map(|name| data.truth(name)).transpose()?;
    let input = BenchmarkInput {
        label: &label,
        batch: &batch,
        before: before.as_ref().map(|b| b.view()),
        truth: truth.as_ref().map(|t| t.view()),
        betti: betti(arguments)?,
    };
    let metric = if arguments.metric == "cosine" { Metric::Cosine } else { Metric::Euclidean };
    let config = BenchmarkConfig { metric, seed: arguments.seed, ..Default::default() };
    let threads = Threads::new(arguments.threads)?;
    let score = |name: String| -> Result<Scored> {
        let x = embedding(data, &name)?;
        let scores = threads.run(|| benchmark(x.view(), &input, &config))?.scores();
        Ok(Scored { name, scores })
    };
    names(arguments, data)?.into_iter().map(score).collect()
}

fn betti(arguments: &Arguments) -> Result<Option<[usize; 3]>> {
    let wrong = |found: &Vec<usize>| CliError::Usage(format!("--betti takes three numbers, such as 0,1,0 (got {})", found.len()));
    arguments.betti.as_ref().map(|b| b.as_slice().try_into().map_err(|_| wrong(b))).transpose()
}

/// The embeddings asked for, or all of the file.
fn names(arguments: &Arguments, data: &AnnData) -> Result<Vec<String>> {
    let names = match &arguments.embedding[..] {
        [] => data.obsm().keys().cloned().collect(),
        names => names.to_vec(),
    };
    if names.is_empty() {
        let problem = format!("{} has nothing in obsm; give an embedding with --embedding FILE", arguments.input.display());
        return Err(CliError::Usage(problem));
    }
    Ok(names)
}
