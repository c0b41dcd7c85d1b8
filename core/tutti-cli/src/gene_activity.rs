//! `tutti gene-activity`: from cells x peaks to cells x genes.

use std::path::PathBuf;

use serde_json::json;
use tutti::observe::Observer;
use tutti::preprocess::{GeneActivity, GeneActivityConfig};
use tutti_io::Additions;

use crate::Result;
use crate::error::{CliError, InFile};
use crate::input::InputArguments;
use crate::output::{Printing, check_output};
use crate::progress::Reporter;

/// Arguments of `tutti gene-activity`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Cells x peaks: h5ad, 10x h5, 10x mtx folder, MatrixMarket, CSV, TSV or Parquet; peaks named chr1-100-200, chr1:100-200 or chr1_100_200
    pub peaks: PathBuf,
    /// Genes of the same genome: .gtf, .gff3 or .bed (name in column 4, strand in column 6), also gzipped
    #[arg(long, value_name = "FILE")]
    pub annotation: PathBuf,
    /// Where to write: .h5ad with the cells' obs and obsm
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Bases before a gene that count as well, in the direction of reading
    #[arg(long, value_name = "N", default_value_t = GeneActivityConfig::default().upstream)]
    pub upstream: u64,
    /// Bases behind a gene that count as well
    #[arg(long, value_name = "N", default_value_t = GeneActivityConfig::default().downstream)]
    pub downstream: u64,
    /// Genes of this biotype, may be repeated; `all` takes every gene [default: protein_coding]
    #[arg(long = "biotype", value_name = "NAME")]
    pub biotypes: Vec<String>,
    /// Longest gene in bases; 0 takes all [default: 500000]
    #[arg(long, value_name = "N")]
    pub max_width: Option<u64>,
    #[command(flatten)]
    pub source: InputArguments,
    #[command(flatten)]
    pub printing: Printing,
}

impl Arguments {
    fn config(&self) -> GeneActivityConfig {
        let mut config = GeneActivityConfig { upstream: self.upstream, downstream: self.downstream, ..Default::default() };
        if self.biotypes.iter().any(|biotype| biotype == "all") {
            config.biotypes.clear();
        } else if !self.biotypes.is_empty() {
            config.biotypes = self.biotypes.clone();
        }
        match self.max_width {
            Some(0) => config.max_width = None,
            Some(most) => config.max_width = Some(most),
            None => {}
        }
        config
    }
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> Result<()> {
    check_output(&arguments.peaks, &arguments.output)?;
    if !arguments.output.extension().is_some_and(|e| e.eq_ignore_ascii_case("h5ad")) {
        return Err(CliError::Usage(format!("-o {}: end it in .h5ad", arguments.output.display())));
    }
    let mut reporter = Reporter::new(arguments.printing.quiet);
    let genes = tutti_io::read_genes(&arguments.annotation)?;
    let data = arguments.source.read(&arguments.peaks)?;
    data.notes().iter().for_each(|note| reporter.on_warning(note));
    let config = arguments.config();
    let activity = GeneActivity::new(data.x().source()?, data.gene_names(), &genes, &config).in_file(&arguments.peaks)?;
    let found = activity.summary();
    if !found.chromosomes_without_gene.is_empty() {
        let some: Vec<&str> = found.chromosomes_without_gene.iter().take(5).map(String::as_str).collect();
        let n = found.chromosomes_without_gene.len();
        reporter.on_warning(&format!("{n} chromosomes of peaks have no gene in the annotation (first: {})", some.join(", ")));
    }
    let summary = json!({
        "tutti_version": env!("CARGO_PKG_VERSION"),
        "command": "gene-activity",
        "peaks": arguments.peaks.display().to_string(),
        "annotation": arguments.annotation.display().to_string(),
        "output": arguments.output.display().to_string(),
        "config": config,
        "n_cells": data.n_cells(),
        "found": found,
    });
    data.write_genes(
        &arguments.output,
        activity.gene_names(),
        &activity,
        &Additions { uns: summary.clone(), ..Default::default() },
    )?;
    if arguments.printing.json {
        say!("{summary}");
    } else if !arguments.printing.quiet {
        say!("peaks    {} of {} lie over a gene or its {} bases upstream", found.n_peaks_used, found.n_peaks, config.upstream);
        say!(
            "genes    {}; left out: {} without a peak, {} of another biotype, {} too long",
            found.n_genes,
            found.n_without_peak,
            found.n_other_biotype,
            found.n_too_wide
        );
        say!("output   {} ({} cells)", arguments.output.display(), data.n_cells());
    }
    Ok(())
}
