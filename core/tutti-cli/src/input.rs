//! From a file to cells that are ready to train on, with every choice said.

use std::path::Path;

use ndarray::Array2;
use tutti::data::Cells;
use tutti::preprocess::{Origin, PrepareConfig, Prepared};
use tutti_io::{AnnData, Backed, ReadOptions};

use crate::Result;
use crate::error::CliError;
use crate::training::TrainingArguments;

/// How the matrix is to be read.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct InputArguments {
    /// Layer to read instead of X
    #[arg(long, value_name = "NAME")]
    pub layer: Option<String>,
    /// Read `raw` instead of X
    #[arg(long, conflicts_with = "layer")]
    pub raw: bool,
    /// Genome of a 10x file that holds several
    #[arg(long, value_name = "NAME")]
    pub genome: Option<String>,
    /// Leave the matrix of an h5ad file on the disk and read each mini-batch from there, for files larger than memory; slow for
    /// compressed files [default: above 200 million values]
    #[arg(long)]
    pub backed: bool,
}

impl InputArguments {
    /// Reads the file.
    pub fn read(&self, path: &Path) -> Result<AnnData> {
        let options = ReadOptions {
            layer: self.layer.clone(),
            raw: self.raw,
            genome: self.genome.clone(),
            backed: if self.backed { Backed::Always } else { Backed::Auto },
            without_x: false,
        };
        Ok(tutti_io::read(path, &options)?)
    }
}

/// How other values of a file are chosen, for messages.
const CHOOSE: &str = "`--layer NAME` or `--raw`";

/// Where the values of a file come from, for messages.
pub fn origin(name: &str) -> Origin<'_> {
    Origin { name, choose: CHOOSE }
}

/// Treats the values and picks genes, as the arguments of training say.
pub fn prepare(
    data: &AnnData,
    columns: &[&str],
    batch: Option<&str>,
    training: &TrainingArguments,
) -> Result<(Cells<'static>, Prepared)> {
    let (n_top_genes, normalization) = (training.hvg, training.normalize);
    let config = PrepareConfig { batch, n_top_genes, normalization, ..Default::default() };
    Ok(data.prepare(&data.cells(columns)?, &config, CHOOSE)?)
}

/// An embedding of the cells of a file; a name that is none is an argument at fault.
pub fn embedding(data: &AnnData, name: &str) -> Result<Array2<f32>> {
    let fault = |e: tutti_io::Error| if Path::new(name).exists() { e.into() } else { CliError::Usage(e.to_string()) };
    data.embedding(name).map_err(fault)
}
