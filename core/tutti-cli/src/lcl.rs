//! `tutti lcl`: train on barcoded cells and write the embedding.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::ValueEnum;
use ndarray::Array2;
use serde_json::{Value, json};
use tutti::data::{Cells, Csr, LineageSummary, Lineages};
use tutti::metrics::{LineageError, held_out_lineage_error};
use tutti::observe::Observer;
use tutti::preprocess::{Prepared, prepare_query, to_memory};
use tutti::rng::Rng;
use tutti::systems::lcl::{Lcl, LclConfig, LclInput, Mode, Preset};
use tutti::threads::Threads;
use tutti_io::ObsColumn;

use crate::Result;
use crate::error::{CliError, InFile};
use crate::fate::FateArguments;
use crate::input::{InputArguments, origin, prepare};
use crate::lineage::{LineageTables, View, components, width};
use crate::output::{check_output, write_embedding};
use crate::progress::Reporter;
use crate::settings::{RunArguments, SettingSources, given, object, seed};
use crate::summary::{Files, Summary};
use crate::training::{Trained, TrainingArguments};

/// Neighbours that vote on the lineage of a test cell, and test cells of a large lineage, as in the paper.
const NEIGHBORS: usize = 5;
const LARGE: usize = 16;

/// Arguments of `tutti lcl`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Cells: h5ad, 10x h5, 10x mtx folder, MatrixMarket, CSV, TSV or Parquet
    pub input: PathBuf,
    /// Lineage of each cell: a column of obs with the barcode (empty where none was read), or a matrix of cells x clones in obsm, such as
    /// X_clone
    #[arg(long, value_name = "COLUMN|NAME")]
    pub lineage: String,
    /// Where to write: .h5ad (a copy of the input with the embedding added), .csv, .tsv or .parquet
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Name of the embedding in obsm
    #[arg(long, value_name = "NAME", default_value = "X_lcl")]
    pub key: String,
    /// Hold out test cells, and say how often their neighbours name their lineage: `within` lineages, or of `whole` lineages, of which every
    /// second cell then names the others
    #[arg(long, value_name = "HOW", value_parser = ["within", "whole"])]
    pub split: Option<String>,
    /// Share that is held out: of the cells of each lineage that is large enough, or of the lineages
    #[arg(long, value_name = "X", default_value_t = 0.1, requires = "split")]
    pub test_share: f64,
    /// Fewest cells of a lineage of which some are held out `within`
    #[arg(long, value_name = "N", default_value_t = 10, requires = "split")]
    pub test_min_cells: usize,
    /// More cells without a barcode, from another file: their expression is seen by the entropy penalty, they are not embedded
    #[arg(long, value_name = "FILE")]
    pub unlabelled: Option<PathBuf>,
    #[command(flatten)]
    pub fate: FateArguments,
    #[command(flatten)]
    pub tables: LineageTables,
    #[command(flatten)]
    pub source: InputArguments,
    #[command(flatten)]
    pub settings: LclSettings,
    #[command(flatten)]
    pub training: TrainingArguments,
    #[command(flatten)]
    pub run: RunArguments,
}

/// Named settings.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum PresetName {
    /// The values of the published command line
    Default,
    /// What the paper writes: no positive pair in the denominator, no normalisation in the projection head
    Paper,
    /// What the published code does: the same mini-batches in every epoch, a fifth of them to validate, the last weights, test cells seen
    ReferenceCode,
    /// The run on CellTag
    CellTag,
    /// The run on all of LARRY
    Larry,
    /// The run on the 200 largest clones of LARRY
    LarryTop200,
    /// The run on CellTag-multi
    CellTagMulti,
    /// The run that carries lineages from CellTag-multi to CellTag
    Transfer,
    /// One wide layer and a linear head: for lineages that were never seen, and lineages of few cells
    Shallow,
}

impl From<PresetName> for Preset {
    fn from(name: PresetName) -> Self {
        match name {
            PresetName::Default => Self::Default,
            PresetName::Paper => Self::Paper,
            PresetName::ReferenceCode => Self::ReferenceCode,
            PresetName::CellTag => Self::CellTag,
            PresetName::Larry => Self::Larry,
            PresetName::LarryTop200 => Self::LarryTop200,
            PresetName::CellTagMulti => Self::CellTagMulti,
            PresetName::Transfer => Self::Transfer,
            PresetName::Shallow => Self::Shallow,
        }
    }
}

/// Settings of LCL; each overrides the preset and the file.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct LclSettings {
    /// Named settings to start from
    #[arg(long, value_enum)]
    pub preset: Option<PresetName>,
    #[command(flatten)]
    pub sources: SettingSources,
    /// Passes over the pairs at most [default: 220]
    #[arg(long, value_name = "N")]
    pub n_epochs: Option<usize>,
    /// Width of the embedding [default: 32]
    #[arg(long, value_name = "N")]
    pub latent_dim: Option<usize>,
    /// Pairs per mini-batch, each of another lineage [default: 25]
    #[arg(long, value_name = "N")]
    pub n_pairs: Option<usize>,
    /// Share of a lineage's pairs in an epoch; smaller for large lineages [default: 0.3]
    #[arg(long, value_name = "X")]
    pub size_factor: Option<f64>,
    /// Cells without a barcode per mini-batch [default: 5]
    #[arg(long, value_name = "N")]
    pub n_unlabelled: Option<usize>,
    /// Weight of the entropy penalty on these [default: 1]
    #[arg(long, value_name = "X")]
    pub entropy_weight: Option<f64>,
    /// Whether test cells serve as cells without a barcode: `inductive` (no) or `transductive` (their expression is seen) [default: inductive]
    #[arg(long, value_name = "MODE", value_parser = ["inductive", "transductive"])]
    pub mode: Option<String>,
    /// Highest learning rate [default: 0.0003]
    #[arg(long, value_name = "X")]
    pub lr: Option<f64>,
    /// Temperature of the losses [default: 0.5]
    #[arg(long, value_name = "X")]
    pub temperature: Option<f64>,
    /// Seed of all random draws [default: 0]
    #[arg(long, value_name = "N", value_parser = seed, allow_negative_numbers = true)]
    pub seed: Option<u64>,
}

impl LclSettings {
    /// The configuration asked for.
    pub fn resolve(&self) -> Result<LclConfig> {
        let flags = given([
            ("n_epochs", self.n_epochs.map(Value::from)),
            ("latent_dim", self.latent_dim.map(Value::from)),
            ("n_pairs", self.n_pairs.map(Value::from)),
            ("size_factor", self.size_factor.map(Value::from)),
            ("n_unlabelled", self.n_unlabelled.map(Value::from)),
            ("entropy_weight", self.entropy_weight.map(Value::from)),
            ("mode", self.mode.clone().map(Value::from)),
            ("lr", self.lr.map(Value::from)),
            ("temperature", self.temperature.map(Value::from)),
            ("seed", self.seed.map(Value::from)),
        ]);
        let preset = LclConfig::preset(self.preset.map(Into::into).unwrap_or_default());
        let config = self.sources.resolve(preset, &flags)?;
        config.validate()?;
        Ok(config)
    }
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments, started: Instant) -> Result<()> {
    let config = arguments.settings.resolve()?;
    check_output(&arguments.input, &arguments.output)?;
    arguments.tables.check()?;
    if arguments.unlabelled.is_some() && (config.n_unlabelled == 0 || config.entropy_weight == 0.0) {
        let problem = "--unlabelled has no effect without `n_unlabelled` and `entropy_weight`";
        return Err(CliError::Usage(format!("{problem}; set both, or leave it out")));
    }
    let device = arguments.run.device()?;
    let mut reporter = Reporter::new(arguments.run.quiet);
    let data = arguments.source.read(&arguments.input)?;
    let lineages = data.lineages(&arguments.lineage)?;
    let targets = arguments.fate.targets(&data, &lineages)?;
    let threads = Threads::new(arguments.run.threads)?;
    let n_threads = threads.n_threads();
    let (cells, prepared) = threads.run(|| prepare(&data, &[], None, &arguments.training))?;
    let input = LclInput { test: test_cells(arguments, &lineages, config.seed)?, lineages };
    arguments.tables.check_lineages(&input.lineages, &input.test, width(&config), &arguments.input)?;
    let (trained_on, seen, more_notes) = match &arguments.unlabelled {
        Some(path) => {
            let (query, notes) = more_cells(arguments, path, &cells, &prepared)?;
            let (all, seen) = input.with_unlabelled(&cells, query)?;
            (all, seen, notes)
        }
        None => (cells.clone(), input.clone(), Vec::new()),
    };
    let mut warnings = [Lcl::warnings(&seen, &config).in_file(&arguments.input)?, more_notes].concat();
    warnings.extend(config.mode_note(input.test.len()).map(str::to_owned));
    warnings.iter().chain(&prepared.notes).for_each(|w| reporter.on_warning(w));

    let trainer = Lcl::trainer(&trained_on, &seen, config.clone(), &device, threads)?;
    let trainer = arguments.training.start(trainer, &reporter)?;
    let trained = Trained::train(trainer, &mut reporter, started)?;
    let threads = Threads::new(arguments.run.threads)?;
    let embedding = threads.run(|| trained.model.embed(cells.source()))?;
    if let Some(path) = &arguments.training.save_model {
        trained.model.save(path, prepared.preprocessing, &trained.history)?;
    }
    let errors = threads.run(|| errors(arguments, &input, &cells, &embedding))?;
    let (source, cell_names) = (cells.source(), data.cell_names());
    let view =
        View { model: &trained.model, source, cell_names, lineages: &input.lineages, test: &input.test, embedding: &embedding };
    let tables = threads.run(|| arguments.tables.write(&view))?;
    let fates = targets.map(|targets| arguments.fate.fit(&embedding, targets, arguments.run.threads)).transpose()?;
    let mut obs = split_column(&input);
    obs.extend(tables.columns);
    obs.extend(fates.iter().flat_map(|f| f.columns.clone()));
    let files = Files { input: &arguments.input, output: &arguments.output, training: &arguments.training };
    let mut summary = Summary::new(&trained, files, &arguments.run, n_threads, cells.n_cells(), prepared, &config)?;
    summary.warnings = warnings;
    summary.details = object(json!({
        "lineage_key": arguments.lineage,
        "lineages": input.lineages.summary(),
        "split": arguments.split,
        "n_test": input.test.len(),
        "lineage_error": errors.as_ref().map(|e| json!({"lcl": e[0], "pca": e[1]})),
        "unlabelled": arguments.unlabelled,
        "n_unlabelled_cells": seen.lineages.summary().n_without,
        "fate": fates.as_ref().map(|f| &f.summary),
    }));
    summary.details.extend(tables.summary);
    summary.method = method(&config);
    summary.found = found(&input.lineages.summary(), config.mode, errors.as_ref());
    summary.found.extend(tables.lines);
    summary.found.extend(fates.iter().flat_map(|f| f.lines()));
    let uns = serde_json::to_value(&summary).map_err(|e| CliError::Usage(e.to_string()))?;
    write_embedding(&data, &arguments.input, &arguments.output, &arguments.key, &embedding, obs, uns)?;
    summary.report(&arguments.run);
    trained.conclude(&summary.output)
}

/// The cells of another file, with the genes of `cells` and treated as they were, and what the user should know of them.
fn more_cells(arguments: &Arguments, path: &Path, cells: &Cells<'_>, prepared: &Prepared) -> Result<(Csr, Vec<String>)> {
    let data = arguments.source.read(path)?;
    let (more, file) = (data.cells(&[])?, path.display().to_string());
    let query = prepare_query(&more, cells.gene_names(), prepared.preprocessing, 0.5, origin(&file)).in_file(path)?;
    let notes = query.notes.iter().map(|note| format!("{file}: {note}")).collect();
    Ok((to_memory(&query.source)?, notes))
}

fn test_cells(arguments: &Arguments, lineages: &Lineages, seed: u64) -> Result<Vec<usize>> {
    let share = arguments.test_share;
    if !(share > 0.0 && share < 1.0) {
        return Err(CliError::Usage(format!("--test-share {share} must be above 0 and below 1; use 0.1")));
    }
    let (rng, file) = (Rng::new(seed), arguments.input.display());
    let (test, none) = match arguments.split.as_deref() {
        Some("within") => {
            let (least, largest) = (arguments.test_min_cells, lineages.summary().largest_size);
            let none = format!("--test-min-cells {least}: the largest lineage of {file} has {largest} cells; give fewer");
            (lineages.split_within(share, least, &rng), none)
        }
        Some(_) => {
            let n = lineages.members().iter().filter(|m| m.len() > 1).count();
            let none = format!("--test-share {share} of the {n} lineages of {file} with two cells or more is none; give more");
            (lineages.split_whole(share, &rng), none)
        }
        None => return Ok(Vec::new()),
    };
    if test.is_empty() { Err(CliError::Usage(none)) } else { Ok(test) }
}

/// Errors on the test cells, of the embedding and of principal components of the same cells; `None` without test cells.
fn errors(
    arguments: &Arguments,
    input: &LclInput,
    cells: &Cells<'_>,
    embedding: &Array2<f32>,
) -> Result<Option<[LineageError; 2]>> {
    if input.test.is_empty() {
        return Ok(None);
    }
    let whole = arguments.split.as_deref() == Some("whole");
    let components = components(cells.source())?;
    let of = |x: &Array2<f32>| held_out_lineage_error(x.view(), &input.lineages, &input.test, whole, NEIGHBORS, LARGE);
    Ok(Some([of(embedding)?, of(&components)?]))
}

/// Which cells were held out; no column where none were.
fn split_column(input: &LclInput) -> Vec<(String, ObsColumn)> {
    if input.test.is_empty() {
        return Vec::new();
    }
    let part = |i: usize| {
        let barcoded = !input.lineages.of(i).is_empty();
        let name = if input.test.binary_search(&i).is_ok() {
            "test"
        } else if barcoded {
            "train"
        } else {
            "without barcode"
        };
        Some(name.to_owned())
    };
    vec![("lcl_split".to_owned(), ObsColumn::Category((0..input.lineages.n_cells()).map(part).collect()))]
}

fn method(c: &LclConfig) -> Vec<String> {
    vec![
        format!(
            "lcl: encoder {:?}, projection {:?} to {}, temperature {}, {} pairs and {} cells without barcode per mini-batch",
            c.encoder_dims, c.projection_dims, c.latent_dim, c.temperature, c.n_pairs, c.n_unlabelled
        ),
        format!(
            "size_factor {}, entropy_weight {}, n_epochs {} at most, lr {}, accumulate {}, seed {}",
            c.size_factor, c.entropy_weight, c.n_epochs, c.lr, c.accumulate, c.seed
        ),
    ]
}

fn found(lineages: &LineageSummary, mode: Mode, errors: Option<&[LineageError; 2]>) -> Vec<String> {
    let l = lineages;
    let mut lines = vec![format!(
        "lineages {} ({} of a single cell), median size {}, largest {}; {} cells without a barcode, {} with several",
        l.n_lineages, l.n_single, l.median_size, l.largest_size, l.n_without, l.n_of_several
    )];
    if let Some([ours, components]) = errors {
        let mode = if mode == Mode::Inductive { "inductive" } else { "transductive" };
        lines.push(format!(
            "test     lineage error {:.3} ± {:.3} on all {} test cells, {mode}; {:.3} by principal components, {:.3} by the largest lineage",
            ours.error, ours.standard_error, ours.n_test, components.error, ours.error_of_largest
        ));
        if let (Some(error), Some(of_components)) = (ours.error_of_large, components.error_of_large) {
            lines.push(format!(
                "         {error:.3} on the {} test cells of lineages with {LARGE} of them; {of_components:.3} by principal components",
                ours.n_test_of_large
            ));
        }
    }
    lines
}
