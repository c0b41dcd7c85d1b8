//! Systems that `tutti annotate` can ask. A new one needs a name, its settings in [`Plan`] and a function from [`Task`] to [`Outcome`]: one that trains
//! on labels takes [`Task::known_labels`] and gives its logits to [`Task::of_network`]; one without labels gives its embedding to [`Task::votes`].

use std::time::Instant;

use clap::ValueEnum;
use ndarray::{Array2, ArrayView2, Axis};
use serde_json::{Map, Value, json};
use tutti::data::Categorical;
use tutti::downstream::{
    Annotated, Annotations, ClassEvidence, HoldOut, LevelTransfer, TransferConfig, log_probabilities, transfer_within,
};
use tutti::model::Network;
use tutti::neighbors::{Metric, NeighborConfig};
use tutti::observe::Observer;
use tutti::preprocess::{PAIR_BATCH, Pair, PcaConfig, pca};
use tutti::systems::cellpredx::{CellPredX, CellPredXConfig, CellPredXInput, Preset, Scenario};
use tutti::systems::concerto::{Concerto, ConcertoConfig};
use tutti::systems::concord::{Concord, ConcordColumns, ConcordConfig};
use tutti::threads::Threads;

use super::Arguments;
use crate::Result;
use crate::error::CliError;
use crate::progress::Reporter;
use crate::settings::object;
use crate::training::Trained;

/// Systems by their names on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SystemName {
    /// CONCORD on both, without labels; its nearest reference cells vote (its classifier names, with `--set use_classifier=true`)
    Concord,
    /// CellPredX, whose classifier is trained on the reference while the query is aligned with it
    Cellpredx,
    /// Concerto on both, without labels; the reference cells nearest in its teacher's embedding vote
    Concerto,
    /// Principal components of both, without correction of batches; the nearest reference cells vote
    Pca,
}

impl SystemName {
    /// As in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Concord => "concord",
            Self::Cellpredx => "cellpredx",
            Self::Pca => "pca",
            Self::Concerto => "concerto",
        }
    }
}

/// A system with its settings.
pub enum Plan {
    Concord(Box<ConcordConfig>),
    /// With the settings for data of the kind that the arguments name; `auto` is seen to when the data are there.
    CellPredX(Box<CellPredXConfig>),
    Concerto(Box<ConcertoConfig>),
    /// With the seed of everything that is drawn.
    Pca(u64),
}

impl Plan {
    /// Settings from the arguments, checked before anything is read.
    pub fn of(arguments: &Arguments) -> Result<Self> {
        let of_cellpredx = [("--scenario", arguments.scenario != "auto"), ("--losses", arguments.losses != "default")];
        if let Some((name, _)) = of_cellpredx.iter().find(|(_, given)| *given && arguments.system != SystemName::Cellpredx) {
            return Err(CliError::Usage(format!("{name} has an effect with --system cellpredx alone; leave it out")));
        }
        match arguments.system {
            SystemName::Cellpredx => {
                let scenario = scenario(&arguments.scenario).unwrap_or_default();
                Ok(Self::CellPredX(Box::new(cellpredx_config(arguments, scenario)?)))
            }
            SystemName::Concord => {
                let config = arguments.settings.resolve()?;
                if !config.use_classifier {
                    refuse_genes(arguments, "--set use_classifier=true")?;
                }
                Ok(Self::Concord(Box::new(config)))
            }
            SystemName::Pca => {
                refuse_training(arguments)?;
                refuse_genes(arguments, "--system cellpredx")?;
                Ok(Self::Pca(arguments.settings.seed.unwrap_or_default()))
            }
            SystemName::Concerto => {
                refuse_genes(arguments, "--system cellpredx")?;
                Ok(Self::Concerto(Box::new(concerto_config(arguments)?)))
            }
        }
    }

    /// Seed of the split of the reference and of the search for neighbours.
    pub fn seed(&self) -> u64 {
        match self {
            Self::Concord(config) => config.seed,
            Self::CellPredX(config) => config.seed,
            Self::Concerto(config) => config.seed,
            Self::Pca(seed) => *seed,
        }
    }
}

/// Values of `--scenario`.
pub const SCENARIOS: [&str; 5] = ["auto", "matched-rna-to-atac", "unmatched-rna-to-atac", "rna-to-rna", "atac-to-atac"];

/// The scenario of a name; `None` for `auto`.
fn scenario(name: &str) -> Option<Scenario> {
    Scenario::ALL.iter().find(|(_, n)| *n == name).map(|(scenario, _)| *scenario)
}

fn cellpredx_config(arguments: &Arguments, scenario: Scenario) -> Result<CellPredXConfig> {
    if arguments.settings.preset.is_some() {
        return Err(CliError::Usage("--preset is one of CONCORD; with --system cellpredx give --losses".into()));
    }
    let preset = Preset::ALL.iter().find(|(_, name)| *name == arguments.losses).map(|(preset, _)| *preset).unwrap_or_default();
    let preset = CellPredXConfig::preset(preset, scenario);
    let config: CellPredXConfig = arguments.settings.sources.resolve(preset, &arguments.settings.flags())?;
    config.validate()?;
    Ok(config)
}

fn concerto_config(arguments: &Arguments) -> Result<ConcertoConfig> {
    if arguments.settings.preset.is_some() {
        return Err(CliError::Usage("--preset is one of CONCORD; with --system concerto give settings by --set".into()));
    }
    let config: ConcertoConfig = arguments.settings.sources.resolve(ConcertoConfig::default(), &arguments.settings.flags())?;
    config.validate()?;
    Ok(config)
}

/// Options of training have no effect where nothing is trained.
fn refuse_training(arguments: &Arguments) -> Result<()> {
    let (training, settings) = (&arguments.training, &arguments.settings);
    let given = [
        ("--save-model", training.save_model.is_some()),
        ("--checkpoint", training.checkpoint.is_some()),
        ("--resume", training.resume.is_some()),
        ("--preset", settings.preset.is_some()),
        ("--config", settings.sources.config.is_some()),
        ("--set", !settings.sources.set.is_empty()),
    ];
    let flag = settings.flags().keys().find(|name| *name != "seed").map(|name| format!("--{}", name.replace('_', "-")));
    match given.iter().find(|(_, given)| *given).map(|(name, _)| (*name).to_owned()).or(flag) {
        Some(name) => Err(CliError::Usage(format!("{name} has no effect with --system pca, which trains nothing; leave it out"))),
        None => Ok(()),
    }
}

/// Votes of neighbours rest on no genes that could be told.
fn refuse_genes(arguments: &Arguments, with: &str) -> Result<()> {
    match arguments.genes.genes {
        Some(_) => {
            Err(CliError::Usage(format!("--genes needs a classifier, and here neighbours vote; add {with} or leave it out")))
        }
        None => Ok(()),
    }
}

/// What a system gets.
pub struct Task<'a> {
    /// Arguments of the command.
    pub arguments: &'a Arguments,
    /// The system.
    pub plan: &'a Plan,
    /// Cells of the reference, then of the query, ready to train on.
    pub pair: &'a Pair<'static>,
    /// Labels of the reference cells.
    pub labels: &'a Categorical,
    /// Which of the reference cells may be learnt from, and which are held out.
    pub split: &'a HoldOut,
    /// Start of the program.
    pub started: Instant,
}

/// What a system gives.
pub struct Outcome {
    /// Classes of the held-out reference cells and of the query.
    pub evidence: ClassEvidence,
    /// Embedding of all cells of the pair, [n_cells, d].
    pub embedding: Array2<f32>,
    /// The network, where its classifier names cells; its classes are those of the evidence.
    pub classifier: Option<Box<dyn Network>>,
    /// What a reader needs to repeat it: settings, history.
    pub details: Map<String, Value>,
    /// Lines on the method.
    pub method: Vec<String>,
    /// How the command ends once all is written: well, interrupted, or training broke off.
    pub end: Result<()>,
}

/// Asks the system of the arguments.
pub fn classify(task: &Task<'_>, reporter: &mut Reporter) -> Result<Outcome> {
    match task.plan {
        Plan::Concord(config) => concord(task, config, reporter),
        Plan::CellPredX(_) => cellpredx(task, reporter),
        Plan::Concerto(config) => concerto(task, config, reporter),
        Plan::Pca(seed) => components(task, *seed),
    }
}

impl Task<'_> {
    fn transfer(&self) -> TransferConfig {
        let metric = match self.plan {
            Plan::CellPredX(config) => config.metric(),
            Plan::Concord(_) | Plan::Concerto(_) | Plan::Pca(_) => Metric::Cosine,
        };
        TransferConfig { n_neighbors: self.arguments.n_neighbors, metric, seed: self.plan.seed(), ..Default::default() }
    }

    fn threads(&self) -> Result<Threads> {
        Ok(Threads::new(self.arguments.run.threads)?)
    }

    /// Embeddings of the reference and of the query.
    fn parts<'e>(&self, embedding: &'e Array2<f32>) -> (ArrayView2<'e, f32>, ArrayView2<'e, f32>) {
        embedding.view().split_at(Axis(0), self.pair.n_reference)
    }

    /// Votes of the nearest reference cells in an embedding.
    fn votes(&self, embedding: &Array2<f32>) -> Result<ClassEvidence> {
        let (reference, query) = self.parts(embedding);
        let of = || ClassEvidence::of_neighbors(reference, self.labels, self.split, query, &self.transfer());
        Ok(self.threads()?.run(of)?)
    }

    /// What a network says in logits, [n_cells, n_classes] of all cells of the pair, with the novelty of its embedding.
    fn of_network(&self, logits: &Array2<f32>, classes: &[String], embedding: &Array2<f32>) -> Result<ClassEvidence> {
        let of = || {
            let (logits, embedding) = (logits.view(), embedding.view());
            ClassEvidence::of_network(logits, classes, embedding, self.labels, self.split, &self.transfer())
        };
        Ok(self.threads()?.run(of)?)
    }

    /// Labels of the query by most of the `n` cells of the query around each.
    pub fn smoothed(&self, found: Annotated, outcome: &Outcome, n: usize) -> Result<Annotated> {
        let (_, query) = self.parts(&outcome.embedding);
        let TransferConfig { metric, method, seed, .. } = self.transfer();
        let search = NeighborConfig { n_neighbors: n, metric, method, seed };
        Ok(self.threads()?.run(|| found.smoothed(&outcome.evidence, query, &search))?)
    }

    /// Finer labels of the query, inside of those that it is called by.
    pub fn finer(&self, embedding: &Array2<f32>, finer: &Categorical, called: &Annotations) -> Result<LevelTransfer> {
        let (reference, query) = self.parts(embedding);
        let (voters, train) = (reference.select(Axis(0), &self.split.train), &self.split.train);
        let (known, finer) = (self.labels.select(train), finer.select(train).drop_unused());
        let of = || transfer_within(voters.view(), &known, &finer, query, &called.label, &self.transfer());
        Ok(self.threads()?.run(of)?)
    }

    /// Labels that may be learnt from: those of the reference cells that are not held out.
    fn known_labels(&self) -> Result<Categorical> {
        let mut codes = vec![None; self.pair.cells.n_cells()];
        self.split.train.iter().for_each(|i| codes[*i] = self.labels.codes()[*i]);
        Ok(Categorical::new(codes, self.labels.levels().to_vec())?)
    }
}

/// Name of the column of known labels.
const LABEL: &str = "label";

fn concord(task: &Task<'_>, config: &ConcordConfig, reporter: &mut Reporter) -> Result<Outcome> {
    let arguments = task.arguments;
    let columns = ConcordColumns { batch: Some(PAIR_BATCH.to_owned()), label: config.use_classifier.then(|| LABEL.to_owned()) };
    let cells = match config.use_classifier {
        true => task.pair.cells.clone().with_column(LABEL, task.known_labels()?)?,
        false => task.pair.cells.clone(),
    };
    let warnings = Concord::warnings(&cells, &columns, config)?;
    warnings.iter().for_each(|warning| reporter.on_warning(warning));
    let trainer = Concord::trainer(&cells, &columns, config.clone(), &arguments.run.device()?, task.threads()?)?;
    let trainer = arguments.training.start(trainer, reporter)?;
    let trained = Trained::train(trainer, reporter, task.started)?;
    if let Some(path) = &arguments.training.save_model {
        trained.model.save(path, task.pair.prepared.preprocessing, &trained.history)?;
    }
    let model = &trained.model;
    let embedding = task.threads()?.run(|| model.embed(cells.source()))?;
    let evidence = if config.use_classifier {
        let logits = log_probabilities(model.classify(embedding.view())?.view(), 1e-6)?;
        task.of_network(&logits, model.classes(), &embedding)?
    } else {
        task.votes(&embedding)?
    };
    let details = object(json!({
        "config": serde_json::to_value(config).map_err(|e| CliError::Usage(e.to_string()))?,
        "epochs": trained.history.epochs.len(),
        "train_seconds": trained.train_seconds,
    }));
    let last = trained.history.epochs.last().map_or(f64::NAN, |e| e.loss);
    let epochs = trained.history.epochs.len();
    let how = if config.use_classifier { "its classifier names".to_owned() } else { voters(arguments) };
    let method = vec![format!("concord, {epochs} epochs in {:.1} s, last loss {last:.4}; {how}", trained.train_seconds)];
    let (model, end) = trained.model_and_end(&arguments.output.display().to_string());
    let classifier = config.use_classifier.then(|| Box::new(model) as Box<dyn Network>);
    Ok(Outcome { evidence, embedding, classifier, details, method, end })
}

fn cellpredx(task: &Task<'_>, reporter: &mut Reporter) -> Result<Outcome> {
    let (arguments, pair) = (task.arguments, task.pair);
    let (scenario, reason) = match scenario(&arguments.scenario) {
        Some(scenario) => (scenario, "as given".to_owned()),
        None => {
            let seen = task.threads()?.run(|| Scenario::of_pair(pair))?;
            (seen.scenario, seen.reason)
        }
    };
    let config = cellpredx_config(arguments, scenario)?;
    let input = CellPredXInput::of_pair(pair, task.known_labels()?)?;
    CellPredX::warnings(&input, &config)?.iter().for_each(|warning| reporter.on_warning(warning));
    let trainer = CellPredX::trainer(&pair.cells, &input, config.clone(), &arguments.run.device()?, task.threads()?)?;
    let trainer = arguments.training.start(trainer, reporter)?;
    let trained = Trained::train(trainer, reporter, task.started)?;
    if let Some(path) = &arguments.training.save_model {
        trained.model.save(path, pair.prepared.preprocessing, &trained.history)?;
    }
    let model = &trained.model;
    let embedding = task.threads()?.run(|| model.embed(pair.cells.source()))?;
    let evidence = task.of_network(&model.logits(embedding.view())?, model.classes(), &embedding)?;
    let (rounds, steps) = (trained.history.epochs.len(), config.steps_per_round);
    let last = trained.history.epochs.last().map(|e| e.terms.clone()).unwrap_or_default();
    let losses: Vec<String> = last.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
    let method = vec![
        format!("cellpredx, {rounds} rounds of {steps} steps in {:.1} s; {}", trained.train_seconds, losses.join(", ")),
        format!("{}: {reason}", scenario.name()),
    ];
    let details = object(json!({
        "config": serde_json::to_value(&config).map_err(|e| CliError::Usage(e.to_string()))?,
        "scenario": {"name": scenario.name(), "reason": reason},
        "epochs": rounds,
        "last_losses": last,
        "train_seconds": trained.train_seconds,
    }));
    let (model, end) = trained.model_and_end(&arguments.output.display().to_string());
    Ok(Outcome { evidence, embedding, classifier: Some(Box::new(model)), details, method, end })
}

fn concerto(task: &Task<'_>, config: &ConcertoConfig, reporter: &mut Reporter) -> Result<Outcome> {
    let (arguments, pair) = (task.arguments, task.pair);
    let batch = Some(PAIR_BATCH);
    Concerto::warnings(&pair.cells, batch, config)?.iter().for_each(|warning| reporter.on_warning(warning));
    let trainer = Concerto::trainer(&pair.cells, batch, config.clone(), &arguments.run.device()?, task.threads()?)?;
    let trainer = arguments.training.start(trainer, reporter)?;
    let trained = Trained::train(trainer, reporter, task.started)?;
    if let Some(path) = &arguments.training.save_model {
        trained.model.save(path, pair.prepared.preprocessing, &trained.history)?;
    }
    let embedding = task.threads()?.run(|| trained.model.embed(pair.cells.source()))?;
    // With the number of epochs, where that was left to the data.
    let config = trained.model.config();
    let (epochs, last) = (trained.history.epochs.len(), trained.history.epochs.last().map_or(f64::NAN, |e| e.loss));
    let (seconds, how) = (trained.train_seconds, voters(arguments));
    let method = vec![format!("concerto, {epochs} epochs in {seconds:.1} s, last loss {last:.4}; {how}")];
    let details = object(json!({
        "config": serde_json::to_value(config).map_err(|e| CliError::Usage(e.to_string()))?,
        "epochs": epochs,
        "train_seconds": seconds,
    }));
    let (_, end) = trained.model_and_end(&arguments.output.display().to_string());
    Ok(Outcome { evidence: task.votes(&embedding)?, embedding, classifier: None, details, method, end })
}

fn components(task: &Task<'_>, seed: u64) -> Result<Outcome> {
    let cells = &task.pair.cells;
    let most = cells.n_cells().saturating_sub(1).min(cells.n_genes());
    let config = PcaConfig { n_components: PcaConfig::default().n_components.min(most), seed, ..Default::default() };
    let embedding = task.threads()?.run(|| pca(cells.source(), &config))?.scores;
    let method = vec![format!("{} principal components; {}", config.n_components, voters(task.arguments))];
    let details = object(json!({"config": {"n_components": config.n_components, "seed": seed}}));
    Ok(Outcome { evidence: task.votes(&embedding)?, embedding, classifier: None, details, method, end: Ok(()) })
}

fn voters(arguments: &Arguments) -> String {
    format!("{} nearest reference cells vote", arguments.n_neighbors)
}
