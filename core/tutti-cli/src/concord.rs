//! `tutti concord`: train and write the embedding.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use candle_core::Device;
use ndarray::Array2;
use tutti::data::Cells;
use tutti::observe::{CancelToken, Observer};
use tutti::systems::concord::{Concord, ConcordColumns, ConcordConfig};
use tutti::threads::Threads;
use tutti::train::{History, State, Trainer};
use tutti_io::{Additions, AnnData, ObsColumn};

use crate::Result;
use crate::error::CliError;
use crate::input::{InputArguments, prepare};
use crate::progress::Reporter;
use crate::settings::{RunArguments, Settings};
use crate::summary::Summary;

/// Arguments of `tutti concord`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Cells: h5ad, 10x h5, 10x mtx folder, MatrixMarket, CSV, TSV or Parquet
    pub input: PathBuf,
    /// Column of obs with the experimental batch (the most granular one)
    #[arg(long, value_name = "COLUMN")]
    pub batch: Option<String>,
    /// Take all cells as one batch
    #[arg(long, conflicts_with = "batch")]
    pub no_batch: bool,
    /// Column of obs with the class, for the classifier (`--set use_classifier=true`)
    #[arg(long, value_name = "COLUMN")]
    pub label: Option<String>,
    /// Where to write: .h5ad (a copy of the input with the embedding added), .csv, .tsv or .parquet
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Name of the embedding in obsm
    #[arg(long, value_name = "NAME", default_value = "X_concord")]
    pub key: String,
    #[command(flatten)]
    pub source: InputArguments,
    #[command(flatten)]
    pub settings: Settings,
    /// Highly variable genes to train on; 0 takes all [default: 2000 where there are more]
    #[arg(long, value_name = "N")]
    pub hvg: Option<usize>,
    /// Write the trained model here
    #[arg(long, value_name = "FILE")]
    pub save_model: Option<PathBuf>,
    /// Write the state of the run here after every epoch
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Go on from a state that `--checkpoint` wrote; the settings must be the same
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,
    #[command(flatten)]
    pub run: RunArguments,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments, started: Instant) -> Result<()> {
    let config = arguments.settings.resolve()?;
    check_output(&arguments.input, &arguments.output)?;
    let device = device(&arguments.run.device)?;
    let mut reporter = Reporter::new(arguments.run.quiet);
    let data = arguments.source.read(&arguments.input)?;
    let columns = columns(arguments, &config, &data)?;
    let threads = Threads::new(arguments.run.threads)?;
    let n_threads = threads.n_threads();
    let used = columns.used(&config);
    let (cells, prepared) = threads.run(|| prepare(&data, &used, columns.batch.as_deref(), arguments.hvg))?;
    let warnings = Concord::warnings(&cells, &columns, &config)?;
    warnings.iter().chain(&prepared.notes).for_each(|w| reporter.on_warning(w));

    let trainer = Concord::trainer(&cells, &columns, config.clone(), &device, threads)?;
    let mut trainer = trainer.with_checkpoint(arguments.checkpoint.clone().or_else(|| arguments.resume.clone()));
    if let Some(path) = &arguments.resume {
        trainer.resume(path)?;
        reporter.say(&format!("going on after epoch {}", trainer.history().len()));
    }
    let composition = Concord::composition(&mut trainer, &cells, &columns)?;
    let outcome = train(&mut trainer, &mut reporter);
    reporter.finish();

    let (train_seconds, cells_per_second) = trainer.speed();
    let seconds_to_first_step = trainer.first_step_at().map_or(f64::NAN, |at| at.duration_since(started).as_secs_f64());
    let (model, history, embedding, classes) = finish(trainer, &cells, arguments.run.threads)?;
    if let Some(path) = &arguments.save_model {
        model.save(path, prepared.preprocessing, &history)?;
    }
    let summary = Summary {
        tutti_version: env!("CARGO_PKG_VERSION"),
        system: "concord",
        input: arguments.input.display().to_string(),
        output: arguments.output.display().to_string(),
        model: arguments.save_model.as_ref().map(|p| p.display().to_string()),
        n_cells: cells.n_cells(),
        batch_key: columns.batch.clone(),
        input_values: prepared,
        config,
        composition,
        epochs: history.epochs.len(),
        history,
        threads: n_threads,
        device: arguments.run.device.clone(),
        train_seconds,
        cells_per_second,
        seconds_to_first_step,
        warnings,
    };
    write(&data, arguments, &embedding, classes, &summary)?;
    report(arguments, &summary);
    let output = summary.output.clone();
    match outcome {
        Ok(State::Cancelled) => Err(CliError::Interrupted { epochs: summary.epochs, output }),
        Ok(_) => Ok(()),
        Err(source) => Err(CliError::Training { source, output }),
    }
}

/// Trains in slices; Ctrl-C stops at the next step.
fn train(trainer: &mut Trainer<'_, Concord>, reporter: &mut Reporter) -> tutti::Result<State> {
    let cancel = CancelToken::default();
    let handle = cancel.clone();
    if ctrlc::set_handler(move || handle.cancel()).is_err() {
        reporter.on_warning("Ctrl-C will end the program without writing the embedding");
    }
    loop {
        let state = trainer.advance(Duration::from_millis(200), reporter, &cancel)?;
        if state != State::Running {
            return Ok(state);
        }
    }
}

type Trained = (Concord, History, Array2<f32>, Vec<(String, ObsColumn)>);

fn finish(trainer: Trainer<'_, Concord>, cells: &Cells<'_>, threads: usize) -> Result<Trained> {
    let (model, history) = trainer.finish()?;
    let threads = Threads::new(threads)?;
    let embedding = threads.run(|| model.embed(cells.source()))?;
    let classes = class_columns(&model, &embedding)?;
    Ok((model, history, embedding, classes))
}

/// Predicted class and its probability as obs columns; none without a classifier.
pub fn class_columns(model: &Concord, embedding: &Array2<f32>) -> Result<Vec<(String, ObsColumn)>> {
    let Some(found) = model.predict(embedding.view())? else { return Ok(Vec::new()) };
    let mut columns = vec![("concord_class".to_owned(), ObsColumn::Levels(found.label.drop_unused()))];
    columns.push(("concord_class_probability".to_owned(), ObsColumn::Float(found.probability)));
    for (class, column) in model.classes().iter().zip(found.probabilities.columns()) {
        columns.push((format!("concord_probability_{class}"), ObsColumn::Float(column.to_vec())));
    }
    Ok(columns)
}

fn columns(arguments: &Arguments, config: &ConcordConfig, data: &AnnData) -> Result<ConcordColumns> {
    if let Some(name) = arguments.label.as_ref().filter(|_| !config.use_classifier) {
        let fix = "add `--set use_classifier=true` or leave it out";
        return Err(CliError::Usage(format!("--label {name} has no effect without a classifier; {fix}")));
    }
    match (&arguments.batch, arguments.no_batch) {
        (None, false) => {
            let candidates = data.candidates_for_batch();
            let list: Vec<String> = candidates.iter().map(|(name, n)| format!("{name} ({n} levels)")).collect();
            let known = if list.is_empty() {
                "obs has no column of categories".into()
            } else {
                format!("candidates: {}", list.join(", "))
            };
            Err(CliError::Usage(format!(
                "which obs column is the batch? {known}. Give one with --batch COLUMN, or --no-batch for a single batch"
            )))
        }
        (batch, _) => Ok(ConcordColumns { batch: batch.clone(), label: arguments.label.clone() }),
    }
}

/// The embedding in the format that the output's name asks for.
fn write(
    data: &AnnData,
    arguments: &Arguments,
    embedding: &Array2<f32>,
    obs: Vec<(String, ObsColumn)>,
    summary: &Summary,
) -> Result<()> {
    let uns = serde_json::to_value(summary).map_err(|e| CliError::Usage(e.to_string()))?;
    write_embedding(data, &arguments.input, &arguments.output, &arguments.key, embedding, obs, uns)
}

/// Shared by `concord` and `predict`.
pub fn write_embedding(
    data: &AnnData,
    input: &Path,
    output: &Path,
    key: &str,
    embedding: &Array2<f32>,
    obs: Vec<(String, ObsColumn)>,
    uns: serde_json::Value,
) -> Result<()> {
    let extension = |path: &Path| path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    if extension(output) != "h5ad" {
        let prefix = key.strip_prefix("X_").unwrap_or(key);
        return Ok(tutti_io::write_embedding(output, data.cell_names(), embedding, prefix, &obs)?);
    }
    let additions = Additions { obsm: vec![(key.to_owned(), embedding.clone())], obs, uns };
    if extension(input) == "h5ad" {
        return Ok(tutti_io::add_to_copy(input, output, &additions)?);
    }
    let source = data.x().source()?;
    Ok(tutti_io::write_h5ad(output, data.cell_names(), data.gene_names(), data.obs(), data.var(), Some(&*source), &additions)?)
}

fn report(arguments: &Arguments, summary: &Summary) {
    if arguments.run.json {
        match serde_json::to_string(summary) {
            Ok(text) => say!("{text}"),
            Err(e) => eprintln!("warning: the summary could not be printed: {e}"),
        }
    } else if !arguments.run.quiet {
        say!("{}", summary.text());
    }
}

/// Refuses outputs that cannot be written before any time is spent on training.
pub fn check_output(input: &Path, output: &Path) -> Result<()> {
    let extension = output.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    if !["h5ad", "csv", "tsv", "parquet"].contains(&extension.as_str()) {
        return Err(CliError::Usage(format!("-o {}: unknown format; end it in .h5ad, .csv, .tsv or .parquet", output.display())));
    }
    let folder = match output.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(CliError::Usage(format!("-o {}: there is no folder {}; make it first", output.display(), folder.display())));
    }
    let same = |a: &Path, b: &Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if same(input, output) {
        return Err(CliError::Usage(format!(
            "-o {} is the input; the input is never changed, give another name",
            output.display()
        )));
    }
    Ok(())
}

/// The device of that name.
pub fn device(name: &str) -> Result<Device> {
    match name {
        "cpu" => Ok(Device::Cpu),
        "cuda" => Device::new_cuda(0).map_err(|e| {
            let fix = "build with `--features cuda` on a machine with an NVIDIA GPU, or use --device cpu";
            CliError::Usage(format!("--device cuda is not available ({e}); {fix}"))
        }),
        _ => Err(CliError::Usage(format!("--device {name} is unknown; use cpu or cuda"))),
    }
}
