//! `tutti lsi`: from cells x peaks to an embedding without training.

use std::path::PathBuf;

use serde_json::{Value, json};
use tutti::observe::Observer;
use tutti::preprocess::{Lsi, LsiConfig, lsi};
use tutti::threads::Threads;

use crate::Result;
use crate::error::InFile;
use crate::input::InputArguments;
use crate::output::{Printing, check_output, write_embedding};
use crate::progress::Reporter;
use crate::settings::seed;

/// Arguments of `tutti lsi`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Cells x peaks, counts or 0 and 1: h5ad, 10x h5, 10x mtx folder, MatrixMarket, CSV, TSV or Parquet
    pub peaks: PathBuf,
    /// Where to write: .h5ad (a copy of the input with the embedding added), .csv, .tsv or .parquet
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Name of the embedding in obsm
    #[arg(long, value_name = "NAME", default_value = "X_lsi")]
    pub key: String,
    /// Singular vectors that are computed [default: 50, or as many as there are cells or peaks]
    #[arg(long, value_name = "N")]
    pub n_components: Option<usize>,
    /// Multiplies the term frequency times the inverse document frequency before the log
    #[arg(long, value_name = "X", default_value_t = LsiConfig::default().scale_factor)]
    pub scale_factor: f64,
    /// Leave each dimension as long as its singular value, instead of mean 0 and standard deviation 1 over the cells
    #[arg(long)]
    pub no_standardise: bool,
    /// Leave the first dimension out where the size of its correlation with the log of the cells' totals is above this, 0 to 1 [default: 0.75]
    #[arg(long, value_name = "X", conflicts_with = "keep_first")]
    pub max_depth_correlation: Option<f64>,
    /// Keep the first dimension, whatever it follows
    #[arg(long)]
    pub keep_first: bool,
    /// Names the starting directions
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = seed, allow_negative_numbers = true)]
    pub seed: u64,
    /// Threads [default: all processors]
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    #[command(flatten)]
    pub source: InputArguments,
    #[command(flatten)]
    pub printing: Printing,
}

impl Arguments {
    /// `most`: singular vectors that there can be.
    fn config(&self, most: usize) -> LsiConfig {
        let default = LsiConfig::default();
        LsiConfig {
            n_components: self.n_components.unwrap_or(default.n_components.min(most)),
            scale_factor: self.scale_factor,
            standardise: !self.no_standardise,
            max_depth_correlation: if self.keep_first {
                None
            } else {
                self.max_depth_correlation.or(default.max_depth_correlation)
            },
            seed: self.seed,
        }
    }
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> Result<()> {
    check_output(&arguments.peaks, &arguments.output)?;
    let mut reporter = Reporter::new(arguments.printing.quiet);
    let data = arguments.source.read(&arguments.peaks)?;
    data.notes().iter().for_each(|note| reporter.on_warning(note));
    let source = data.x().source()?;
    let config = arguments.config(source.n_cells().min(source.n_genes()));
    let found = Threads::new(arguments.threads)?.run(|| lsi(&*source, &config)).in_file(&arguments.peaks)?;
    let summary = summary(arguments, &config, &found, data.gene_names().len());
    write_embedding(&data, &arguments.peaks, &arguments.output, &arguments.key, &found.embedding, Vec::new(), summary.clone())?;
    if arguments.printing.json {
        say!("{summary}");
    } else if !arguments.printing.quiet {
        let (n_cells, n_dimensions) = found.embedding.dim();
        say!("input    {n_cells} cells x {} peaks", data.gene_names().len());
        say!("lsi      {n_dimensions} dimensions; {}", found.note());
        say!("output   {}", arguments.output.display());
    }
    Ok(())
}

fn summary(arguments: &Arguments, config: &LsiConfig, found: &Lsi, n_peaks: usize) -> Value {
    json!({
        "tutti_version": env!("CARGO_PKG_VERSION"),
        "command": "lsi",
        "input": arguments.peaks.display().to_string(),
        "output": arguments.output.display().to_string(),
        "n_cells": found.embedding.nrows(),
        "n_peaks": n_peaks,
        "n_dimensions": found.embedding.ncols(),
        "n_components": config.n_components,
        "scale_factor": config.scale_factor,
        "standardise": config.standardise,
        "max_depth_correlation": config.max_depth_correlation,
        "seed": config.seed,
        "first_left_out": found.first_left_out,
        "depth_correlation": found.depth_correlation,
        "singular_values": found.singular_values.to_vec(),
    })
}
