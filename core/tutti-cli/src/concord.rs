//! `tutti concord`: train and write the embedding.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;
use tutti::model::PredictedClasses;
use tutti::observe::Observer;
use tutti::sampler::Composition;
use tutti::systems::concord::{Concord, ConcordColumns, ConcordConfig};
use tutti::threads::Threads;
use tutti_io::{AnnData, ObsColumn};

use crate::Result;
use crate::error::CliError;
use crate::input::{InputArguments, prepare};
use crate::output::{check_output, write_embedding};
use crate::progress::Reporter;
use crate::settings::{RunArguments, Settings, object};
use crate::summary::{Files, Summary};
use crate::training::{Trained, TrainingArguments};

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
    #[command(flatten)]
    pub training: TrainingArguments,
    #[command(flatten)]
    pub run: RunArguments,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments, started: Instant) -> Result<()> {
    let config = arguments.settings.resolve()?;
    check_output(&arguments.input, &arguments.output)?;
    let device = arguments.run.device()?;
    let mut reporter = Reporter::new(arguments.run.quiet);
    let data = arguments.source.read(&arguments.input)?;
    let columns = columns(arguments, &config, &data)?;
    let threads = Threads::new(arguments.run.threads)?;
    let n_threads = threads.n_threads();
    let used = columns.used(&config);
    let (cells, prepared) = threads.run(|| prepare(&data, &used, columns.batch.as_deref(), &arguments.training))?;
    let warnings = Concord::warnings(&cells, &columns, &config)?;
    warnings.iter().chain(&prepared.notes).for_each(|w| reporter.on_warning(w));

    let trainer = Concord::trainer(&cells, &columns, config.clone(), &device, threads)?;
    let mut trainer = arguments.training.start(trainer, &reporter)?;
    let composition = Concord::composition(&mut trainer, &cells, &columns)?;
    let trained = Trained::train(trainer, &mut reporter, started)?;
    let embedding = Threads::new(arguments.run.threads)?.run(|| trained.model.embed(cells.source()))?;
    let classes = class_columns("concord", trained.model.predict(embedding.view())?);
    if let Some(path) = &arguments.training.save_model {
        trained.model.save(path, prepared.preprocessing, &trained.history)?;
    }
    let files = Files { input: &arguments.input, output: &arguments.output, training: &arguments.training };
    let mut summary = Summary::new(&trained, files, &arguments.run, n_threads, cells.n_cells(), prepared, &config)?;
    summary.warnings = warnings;
    summary.details = object(json!({"batch_key": columns.batch, "composition": composition}));
    summary.method = method(&config);
    summary.found = found(&composition);
    let uns = serde_json::to_value(&summary).map_err(|e| CliError::Usage(e.to_string()))?;
    write_embedding(&data, &arguments.input, &arguments.output, &arguments.key, &embedding, classes, uns)?;
    summary.report(&arguments.run);
    trained.conclude(&summary.output)
}

fn method(c: &ConcordConfig) -> Vec<String> {
    vec![
        format!(
            "concord: latent_dim {}, encoder {:?}, temperature {}, hard_negative_beta {}, p_intra_domain {}, p_intra_knn {}",
            c.latent_dim, c.encoder_dims, c.temperature, c.hard_negative_beta, c.p_intra_domain, c.p_intra_knn
        ),
        format!("batch_size {}, n_epochs {}, lr {}, seed {}", c.batch_size, c.n_epochs, c.lr, c.seed),
    ]
}

fn found(composition: &Composition) -> Vec<String> {
    let mut lines = vec!["batches  name, cells, mini-batches, cells per mini-batch, share of own batch, cells used".to_owned()];
    lines.extend(composition.domains.iter().map(|d| {
        format!("         {}  {}  {}  {:.0}  {:.2}  {}", d.domain, d.n_cells, d.n_batches, d.mean_size, d.intra_domain, d.n_used)
    }));
    lines
}

/// Predicted class and its probability as obs columns that begin with the name of the system; none without a classifier.
pub fn class_columns(system: &str, found: Option<PredictedClasses>) -> Vec<(String, ObsColumn)> {
    let Some(found) = found else { return Vec::new() };
    let classes = found.label.levels().iter().zip(found.probabilities.columns());
    let by_class = classes.map(|(class, p)| (format!("{system}_probability_{class}"), ObsColumn::Float(p.to_vec())));
    let mut columns = vec![
        (format!("{system}_class"), ObsColumn::Levels(found.label.drop_unused())),
        (format!("{system}_class_probability"), ObsColumn::Float(found.probability.clone())),
    ];
    columns.extend(by_class);
    columns
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
