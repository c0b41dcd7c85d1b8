//! `tutti predict`: embed new cells with a trained model, and name them where it has a classifier.

use std::path::PathBuf;

use ndarray::Array2;
use tutti::data::CellSource;
use tutti::model::{PredictedClasses, SavedModel, System};
use tutti::observe::Observer;
use tutti::preprocess::{Preprocessing, prepare_query};
use tutti::systems::cellpredx::CellPredX;
use tutti::systems::concerto::Concerto;
use tutti::systems::concord::Concord;
use tutti::systems::lcl::Lcl;
use tutti::threads::Threads;
use tutti_io::Additions;

use crate::Result;
use crate::concord::class_columns;
use crate::error::{CliError, InFile};
use crate::input::{InputArguments, origin};
use crate::output::{check_output, write_embedding};
use crate::progress::Reporter;
use crate::settings::RunArguments;

/// Arguments of `tutti predict`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Model that `--save-model` of `tutti concord`, `tutti lcl` or `tutti annotate` wrote
    pub model: PathBuf,
    /// New cells
    pub input: PathBuf,
    /// Where to write: .h5ad, .csv, .tsv or .parquet
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Name of the embedding in obsm [default: X_concord, X_lcl, X_cellpredx or X_concerto, by the model]
    #[arg(long, value_name = "NAME")]
    pub key: Option<String>,
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

/// A trained model of any system.
enum Model {
    CellPredX(Box<CellPredX>),
    Concerto(Box<Concerto>),
    Concord(Box<Concord>),
    Lcl(Box<Lcl>),
}

impl Model {
    fn load(arguments: &Arguments) -> Result<(Self, Preprocessing)> {
        let (path, device) = (&arguments.model, arguments.run.device()?);
        let saved = SavedModel::load(path)?;
        Ok(match saved.system.as_str() {
            "cellpredx" => {
                let (model, preprocessing, _) = CellPredX::from_saved(&saved, path, &device)?;
                (Self::CellPredX(model.into()), preprocessing)
            }
            "concerto" => {
                let (model, preprocessing, _) = Concerto::from_saved(&saved, path, &device)?;
                (Self::Concerto(model.into()), preprocessing)
            }
            "lcl" => {
                let (model, preprocessing, _) = Lcl::from_saved(&saved, path, &device)?;
                (Self::Lcl(model.into()), preprocessing)
            }
            _ => {
                let (model, preprocessing, _) = Concord::from_saved(&saved, path, &device)?;
                (Self::Concord(model.into()), preprocessing)
            }
        })
    }

    fn name(&self) -> &'static str {
        match self {
            Self::CellPredX(model) => model.name(),
            Self::Concerto(model) => model.name(),
            Self::Concord(model) => model.name(),
            Self::Lcl(model) => model.name(),
        }
    }

    fn genes(&self) -> &[String] {
        match self {
            Self::CellPredX(model) => model.genes(),
            Self::Concerto(model) => model.genes(),
            Self::Concord(model) => model.genes(),
            Self::Lcl(model) => model.genes(),
        }
    }

    /// Classes of embedded cells; `None` without a classifier.
    fn predict(&self, embedding: &Array2<f32>) -> tutti::Result<Option<PredictedClasses>> {
        match self {
            Self::CellPredX(model) => model.predict(embedding.view()).map(Some),
            Self::Concord(model) => model.predict(embedding.view()),
            Self::Concerto(_) | Self::Lcl(_) => Ok(None),
        }
    }

    fn embed(&self, source: &dyn CellSource) -> tutti::Result<Array2<f32>> {
        match self {
            Self::CellPredX(model) => model.embed(source),
            Self::Concerto(model) => model.embed(source),
            Self::Concord(model) => model.embed(source),
            Self::Lcl(model) => model.embed(source),
        }
    }
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> Result<()> {
    check_output(&arguments.input, &arguments.output)?;
    let mut reporter = Reporter::new(arguments.run.quiet);
    let (model, preprocessing) = Model::load(arguments)?;
    let data = arguments.source.read(&arguments.input)?;
    let cells = data.cells(&[])?;
    let file = arguments.input.display().to_string();
    let query =
        prepare_query(&cells, model.genes(), preprocessing, arguments.min_overlap, origin(&file)).in_file(&arguments.input)?;
    query.notes.iter().for_each(|note| reporter.on_warning(note));
    let embedding = Threads::new(arguments.run.threads)?.run(|| model.embed(&query.source))?;
    let classes = class_columns(model.name(), model.predict(&embedding)?);
    let summary = serde_json::json!({
        "tutti_version": env!("CARGO_PKG_VERSION"),
        "system": model.name(),
        "model": arguments.model.display().to_string(),
        "input": arguments.input.display().to_string(),
        "output": arguments.output.display().to_string(),
        "n_cells": cells.n_cells(),
        "n_genes_model": model.genes().len(),
        "missing_gene_share": query.missing_share,
        "value_kind": query.value_kind.to_string(),
        "preprocessing": query.preprocessing,
    });
    let key = arguments.key.clone().unwrap_or_else(|| format!("X_{}", model.name()));
    write_embedding(&data, &arguments.input, &arguments.output, &key, &embedding, classes, summary.clone())?;
    if let (Some(batch), Some(path)) = (&arguments.decode, &arguments.decoded) {
        let Model::Concord(model) = &model else {
            return Err(CliError::Usage(format!(
                "--decode {batch} needs a model with a decoder, and {} has none; leave it out",
                model.name()
            )));
        };
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
