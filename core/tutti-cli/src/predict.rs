//! `tutti predict`: embed new cells with a trained model.

use std::path::PathBuf;

use tutti::observe::Observer;
use tutti::preprocess::prepare_query;
use tutti::systems::concord::Concord;
use tutti::threads::Threads;
use tutti_io::Additions;

use crate::Result;
use crate::concord::{check_output, class_columns, device, write_embedding};
use crate::input::{InputArguments, origin};
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
    let file = arguments.input.display().to_string();
    let query = prepare_query(&cells, model.genes(), preprocessing, arguments.min_overlap, origin(&file))?;
    query.notes.iter().for_each(|note| reporter.on_warning(note));
    let embedding = Threads::new(arguments.run.threads)?.run(|| model.embed(&query.source))?;
    let classes = class_columns(&model, &embedding)?;
    let summary = serde_json::json!({
        "tutti_version": env!("CARGO_PKG_VERSION"),
        "system": "concord",
        "model": arguments.model.display().to_string(),
        "input": arguments.input.display().to_string(),
        "output": arguments.output.display().to_string(),
        "n_cells": cells.n_cells(),
        "n_genes_model": model.genes().len(),
        "missing_gene_share": query.missing_share,
        "value_kind": query.value_kind.to_string(),
        "preprocessing": query.preprocessing,
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
