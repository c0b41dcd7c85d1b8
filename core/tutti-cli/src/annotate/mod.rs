//! `tutti annotate`: from two files to a query whose cells are named, or refused, in one command.

mod genes;
mod report;
mod system;

use std::path::{Path, PathBuf};
use std::time::Instant;

use tutti::data::{Categorical, Cells, Orthologues};
use tutti::downstream::{AnnotateConfig, HoldOut, Limit, LimitScope, annotate, check_smoothing, hold_out};
use tutti::observe::Observer;
use tutti::preprocess::{Pair, PairConfig, prepare_pair};
use tutti::rng::Rng;
use tutti::threads::Threads;
use tutti_io::{AnnData, Matrix};

use crate::Result;
use crate::error::CliError;
use crate::input::{InputArguments, origin};
use crate::output::check_output;
use crate::progress::Reporter;
use crate::settings::{RunArguments, Settings};
use crate::training::TrainingArguments;
use genes::{Determinants, GeneArguments};
use report::{Report, Truth};
use system::{Plan, SystemName, Task};

/// Arguments of `tutti annotate`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Cells with labels: h5ad, 10x h5, 10x mtx folder, MatrixMarket, CSV, TSV or Parquet
    pub reference: PathBuf,
    /// Cells to name, of the same or another species, technique or tissue
    pub query: PathBuf,
    /// Column of the reference's obs with the label; cells without a value do not vote
    #[arg(long, value_name = "COLUMN")]
    pub label: String,
    /// Column of the reference's obs with finer labels: each cell gets one by vote among the reference cells of its label
    #[arg(long, value_name = "COLUMN")]
    pub finer: Option<String>,
    /// Where to write: .h5ad (a copy of the query with columns and embedding added), or the columns alone as .csv, .tsv or .parquet
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// How classes are found
    #[arg(long, value_enum, default_value = "concord")]
    pub system: SystemName,
    /// Table of orthologues where the species differ: the first two columns of a CSV or TSV file are a gene of each, in either order; genes with
    /// several partners are left out
    #[arg(long, value_name = "FILE")]
    pub orthologues: Option<PathBuf>,
    /// Column of obs with experimental batches inside of reference or query, where one has it; the two are always batches of their own
    #[arg(long, value_name = "COLUMN")]
    pub batch: Option<String>,
    /// Share of each class of the reference that does not vote, but calibrates probabilities and limits; 0 uses all cells, without both
    #[arg(long, value_name = "X", default_value_t = 0.2)]
    pub held_out: f64,
    /// Share of cells of known types that the limits may refuse, as far as the query is like the reference
    #[arg(long, value_name = "X", default_value_t = AnnotateConfig::default().false_rejection_rate)]
    pub false_rejection_rate: f64,
    /// Whether the limits that are chosen are `overall` ones or one of each class, on the held-out cells that are called by it
    #[arg(long, value_name = "SCOPE", default_value = "overall", value_parser = ["overall", "by-class"])]
    pub limits: String,
    /// Least probability of a label, instead of the one that is chosen
    #[arg(long, value_name = "X", conflicts_with = "no_rejection")]
    pub min_probability: Option<f32>,
    /// Largest novelty, instead of the one that is chosen
    #[arg(long, value_name = "X", conflicts_with = "no_rejection")]
    pub max_novelty: Option<f32>,
    /// Refuse no cell
    #[arg(long)]
    pub no_rejection: bool,
    /// Leave the probabilities as the system gives them
    #[arg(long)]
    pub no_calibration: bool,
    /// Give each query cell the label that most of its N nearest query cells have, itself among them, as the published code of CellPredX offers with
    /// 10; cells that are refused neither vote nor change
    #[arg(long, value_name = "N")]
    pub smooth: Option<usize>,
    /// Reference cells that vote on each query cell
    #[arg(long, value_name = "N", default_value_t = 15)]
    pub n_neighbors: usize,
    /// Column of the query's obs with the true label, to be compared with
    #[arg(long, value_name = "COLUMN")]
    pub truth: Option<String>,
    /// Smallest share of the smaller of the two sets of genes that the other must have
    #[arg(long, value_name = "X", default_value_t = PairConfig::default().min_overlap)]
    pub min_overlap: f64,
    /// Name of the embedding in obsm [default: X_concord, X_cellpredx, X_concerto or X_pca, by the system]
    #[arg(long, value_name = "NAME")]
    pub key: Option<String>,
    /// Kind of data, for the weights of CellPredX's losses; `auto` looks at the data and says what it takes them for
    #[arg(long, value_name = "KIND", default_value = "auto", value_parser = system::SCENARIOS)]
    pub scenario: String,
    /// Which weights of CellPredX's losses: `default`, those that the `paper` writes, or those of the `reference-code`; the last two start at random weights, and
    /// cells are then compared by cosine, not by Euclidean distance
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = ["default", "paper", "reference-code"])]
    pub losses: String,
    #[command(flatten)]
    pub genes: GeneArguments,
    #[command(flatten)]
    pub source: InputArguments,
    #[command(flatten)]
    pub settings: Settings,
    #[command(flatten)]
    pub training: TrainingArguments,
    #[command(flatten)]
    pub run: RunArguments,
}

impl Arguments {
    fn config(&self) -> AnnotateConfig {
        let none = if self.no_rejection || self.held_out == 0.0 { Limit::None } else { Limit::Chosen };
        AnnotateConfig {
            calibrate: !self.no_calibration && self.held_out > 0.0,
            false_rejection_rate: self.false_rejection_rate,
            probability: self.min_probability.map_or(none, Limit::Given),
            novelty: self.max_novelty.map_or(none, Limit::Given),
            limits: if self.limits == "by-class" { LimitScope::ByClass } else { LimitScope::Overall },
        }
    }

    /// Voters and held-out cells of the reference.
    fn split(&self, labels: &Categorical, seed: u64) -> Result<HoldOut> {
        let split = if self.held_out == 0.0 {
            let train = (0..labels.len()).filter(|i| labels.codes()[*i].is_some()).collect();
            HoldOut { train, held_out: Vec::new(), whole: Vec::new() }
        } else {
            hold_out(labels, self.held_out, &Rng::new(seed))?
        };
        // Told before anything is trained.
        let (n, most) = (self.n_neighbors, split.train.len().saturating_sub(1));
        if !(1..=most).contains(&n) {
            let (label, file) = (&self.label, self.reference.display());
            let fix = if most < 1 { "label more cells".to_owned() } else { format!("give 1 to {most}") };
            return Err(CliError::Usage(format!(
                "--n-neighbors {n}: {} cells of {file} with a `{label}` vote, each beside others; {fix}",
                split.train.len()
            )));
        }
        Ok(split)
    }
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments, started: Instant) -> Result<()> {
    let plan = Plan::of(arguments)?;
    arguments.config().validate()?;
    let markers = arguments.genes.check()?;
    for input in [&arguments.query, &arguments.reference] {
        check_output(input, &arguments.output)?;
    }
    let mut reporter = Reporter::new(arguments.run.quiet);
    let (reference, query) = (arguments.source.read(&arguments.reference)?, arguments.source.read(&arguments.query)?);
    let labels = labels(arguments, &reference, &mut reporter)?;
    let finer =
        arguments.finer.as_ref().map(|column| reference.categorical(column)).transpose()?.map(|finer| finer.without_blank());
    let truth = arguments.truth.as_ref().map(|column| query.categorical(column)).transpose()?.map(|truth| truth.without_blank());
    if let Some(n) = arguments.smooth {
        check_smoothing(n, query.n_cells())?;
    }
    let split = arguments.split(&labels, plan.seed())?;
    if !split.whole.is_empty() {
        let classes = split.whole.join(", ");
        reporter.on_warning(&format!("classes of less than 5 cells hold none out, so that limits do not know them: {classes}"));
    }
    let pair = Threads::new(arguments.run.threads)?.run(|| pair(arguments, &reference, &query))?;
    pair.prepared.notes.iter().for_each(|note| reporter.on_warning(note));

    let task = Task { arguments, plan: &plan, pair: &pair, labels: &labels, split: &split, started };
    let outcome = system::classify(&task, &mut reporter)?;
    let mut found = annotate(&outcome.evidence, &arguments.config())?;
    if let Some(n) = arguments.smooth {
        found = task.smoothed(found, &outcome, n)?;
    }
    let finer = finer.map(|finer| task.finer(&outcome.embedding, &finer, &found.query)).transpose()?;
    found.warnings.iter().for_each(|warning| reporter.on_warning(warning));
    let determinants = match &outcome.classifier {
        Some(network) => {
            let threads = Threads::new(arguments.run.threads)?;
            Determinants::of(&arguments.genes, markers, &**network, &pair, &found.query.kept(), &threads)?
        }
        None => None,
    };
    let truth = truth.map(|truth| Truth::of(&truth, &found.query)).transpose()?;
    let report = Report {
        arguments,
        pair: &pair,
        labels: &labels,
        split: &split,
        outcome: &outcome,
        found: &found,
        finer,
        determinants,
        truth,
    };
    report.write(&query)?;
    report.print();
    outcome.end
}

/// The reference's labels without levels that no cell has.
fn labels(arguments: &Arguments, reference: &AnnData, reporter: &mut Reporter) -> Result<Categorical> {
    let there = reference.categorical(&arguments.label)?.drop_unused();
    let labels = there.without_blank();
    if labels.is_empty() {
        return Err(CliError::Usage(format!("{} has no cells; give a reference with labels", arguments.reference.display())));
    }
    let n_unlabelled = labels.codes().iter().filter(|code| code.is_none()).count();
    if n_unlabelled == labels.len() {
        let file = arguments.reference.display();
        return Err(CliError::Usage(format!("no cell of {file} has a `{}`; choose another column", arguments.label)));
    }
    if n_unlabelled > 0 {
        let (n, label) = (labels.len(), &arguments.label);
        let n_blank = n_unlabelled - there.codes().iter().filter(|code| code.is_none()).count();
        let blank = if n_blank > 0 { format!(" ({n_blank} of them an empty text, which names no class)") } else { String::new() };
        reporter.on_warning(&format!("{n_unlabelled} of {n} reference cells have no `{label}`{blank} and do not vote"));
    }
    Ok(labels)
}

/// Cells of both files with their common genes.
fn pair(arguments: &Arguments, reference: &AnnData, query: &AnnData) -> Result<Pair<'static>> {
    let has = |data: &AnnData| arguments.batch.as_deref().filter(|column| data.column_names().iter().any(|c| c == column));
    let batch = [has(reference), has(query)];
    if let (Some(column), [None, None]) = (&arguments.batch, batch) {
        let columns = [reference.column_names(), query.column_names()].map(|names| names.join(", "));
        let [of_reference, of_query] = columns;
        return Err(CliError::Usage(format!(
            "--batch {column}: neither file has this obs column; the reference has {of_reference}, the query {of_query}"
        )));
    }
    let table = match &arguments.orthologues {
        Some(path) => Some(orthologues(path, reference, query)?),
        None => None,
    };
    let cells = |data: &AnnData, column: Option<&str>| -> Result<Cells<'static>> {
        Ok(data.cells(&column.into_iter().collect::<Vec<_>>())?)
    };
    let config = PairConfig {
        orthologues: table.as_ref(),
        min_overlap: arguments.min_overlap,
        batch,
        n_top_genes: arguments.training.hvg,
        normalization: arguments.training.normalize,
        on_demand: [reference, query].iter().any(|data| matches!(data.x(), Matrix::Disk(_))),
    };
    let names = [&arguments.reference, &arguments.query].map(|path| path.display().to_string());
    let origins = [origin(&names[0]), origin(&names[1])];
    let mut pair = prepare_pair(&cells(reference, batch[0])?, &cells(query, batch[1])?, &config, origins)?;
    pair.prepared.notes.splice(..0, reference.notes().iter().chain(query.notes()).cloned());
    Ok(pair)
}

fn orthologues(path: &Path, reference: &AnnData, query: &AnnData) -> Result<Orthologues> {
    let pairs = tutti_io::read_orthologues(path)?;
    Ok(Orthologues::oriented(&pairs, reference.gene_names(), query.gene_names())?.0)
}
