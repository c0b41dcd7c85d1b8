//! `tutti predict`: embed new cells with a trained model.

use std::path::PathBuf;

use tutti::data::{GeneAlignment, GeneSubset};
use tutti::model::Preprocessing;
use tutti::observe::Observer;
use tutti::systems::concord::Concord;
use tutti::threads::Threads;
use tutti_io::{Additions, ValueKind};

use crate::Result;
use crate::concord::{check_output, class_columns, device, write_embedding};
use crate::input::{InputArguments, checked_values, normalised};
use crate::progress::Reporter;
use crate::settings::RunArguments;

/// Arguments of `tutti predict`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Model that `tutti concord --save-model` wrote
    pub model: PathBuf,
    /// New cells
    pub input: PathBuf,
    /// Where to write: .h5ad, .csv, .tsv or .parquet
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Name of the embedding in obsm
    #[arg(long, value_name = "NAME", default_value = "X_concord")]
    pub key: String,
    /// Smallest share of the model's genes that the new cells must have
    #[arg(long, value_name = "X", default_value_t = 0.5)]
    pub min_overlap: f64,
    /// Also decode the expression as if all cells came from this batch (needs a model with a decoder)
    #[arg(long, value_name = "BATCH", requires = "decoded")]
    pub decode: Option<String>,
    /// Where the decoded expression goes (.h5ad)
    #[arg(long, value_name = "FILE", requires = "decode")]
    pub decoded: Option<PathBuf>,
    #[command(flatten)]
    pub source: InputArguments,
    #[command(flatten)]
    pub run: RunArguments,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> Result<()> {
    check_output(&arguments.input, &arguments.output)?;
    let mut reporter = Reporter::new(arguments.run.quiet);
    let (model, preprocessing, _) = Concord::load(&arguments.model, &device(&arguments.run.device)?)?;
    let data = arguments.source.read(&arguments.input)?;
    let cells = data.cells(&[])?;
    let values = checked_values(cells.source(), &data)?;
    let applied = applied(preprocessing, values.kind, &mut reporter);
    let alignment = GeneAlignment::by_name(model.genes(), cells.gene_names(), arguments.min_overlap)?;
    let missing = alignment.missing_share();
    if missing > 0.0 {
        let first: Vec<&str> = alignment.missing.iter().take(3).map(String::as_str).collect();
        reporter.on_warning(&format!(
            "{} of the model's {} genes ({:.1} %) are missing and taken as zero (first: {})",
            alignment.missing.len(),
            model.genes().len(),
            100.0 * missing,
            first.join(", ")
        ));
    }
    let source = GeneSubset::new(normalised(cells.shared_source(), applied)?, &alignment.columns);
    let embedding = Threads::new(arguments.run.threads)?.run(|| model.embed(&source))?;
    let classes = class_columns(&model, &embedding)?;
    let summary = serde_json::json!({
        "tutti_version": env!("CARGO_PKG_VERSION"),
        "system": "concord",
        "model": arguments.model.display().to_string(),
        "input": arguments.input.display().to_string(),
        "output": arguments.output.display().to_string(),
        "n_cells": cells.n_cells(),
        "n_genes_model": model.genes().len(),
        "missing_gene_share": missing,
        "value_kind": values.kind.to_string(),
        "preprocessing": applied,
    });
    write_embedding(&data, &arguments.input, &arguments.output, &arguments.key, &embedding, classes, summary.clone())?;
    if let (Some(batch), Some(path)) = (&arguments.decode, &arguments.decoded) {
        let decoded = model.decode(embedding.view(), batch)?;
        let decoded = tutti::data::Csr::from_dense(decoded.view())?;
        tutti_io::write_expression(path, data.cell_names(), model.genes(), data.obs(), &decoded, &Additions::default())?;
    }
    if arguments.run.json {
        say!("{summary}");
    } else {
        reporter.say(&format!("{} cells embedded into {}", cells.n_cells(), arguments.output.display()));
    }
    Ok(())
}

/// The model's preprocessing, unless the new values already went through it.
fn applied(preprocessing: Preprocessing, kind: ValueKind, reporter: &mut Reporter) -> Preprocessing {
    match (preprocessing.log1p, kind == ValueKind::RawCounts) {
        (true, false) => {
            reporter.on_warning(
                "the model was trained on counts; these values are no counts and are taken as log-normalised already",
            );
            Preprocessing::default()
        }
        (false, true) => {
            reporter.on_warning("the model was trained on log-normalised values; these counts are scaled to 10000 per cell and log(1 + x) is taken");
            Preprocessing { target_sum: Some(f64::from(crate::input::TARGET_SUM)), log1p: true }
        }
        _ => preprocessing,
    }
}
