//! CONCORD: training, with progress in place and a stop that keeps what was trained.

use std::path::{Path, PathBuf};
use std::time::Duration;

use candle_core::Device;
use serde_json::{Map, Value};
use tutti::model::with_settings;
use tutti::preprocess::{Normalization, PrepareConfig, Prepared};
use tutti::systems::concord::{Concord, ConcordColumns, ConcordConfig, Preset};
use tutti::threads::Threads;
use tutti::train::{State, Trainer};

use crate::builder::changed;
use crate::cells::Cells;
use crate::display::{interrupted, warn};
use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::html::{duration, thousands};
use crate::kernel::Stoppable;
use crate::model::{Model, Run};
use crate::pca::CHOOSE;
use crate::progress::Reporter;

/// Trains CONCORD on cells of several batches: `concord(&cells).batch("tech").train()?`.
///
/// Counts are scaled to 10,000 per cell and log-transformed, and 2000 highly variable genes are picked, unless the cells are log-normalised
/// or have no more genes. Progress is shown in place. Stop (Ctrl-C) ends training at the next step and keeps the model trained so far.
pub fn concord(cells: &Cells) -> ConcordRun {
    ConcordRun {
        cells: cells.clone(),
        columns: ConcordColumns::default(),
        no_batch: false,
        preset: None,
        settings: Vec::new(),
        config: None,
        hvg: None,
        normalize: "auto".into(),
        features: None,
        graph: None,
        checkpoint: None,
        resume: None,
        threads: 0,
        device: "cpu".into(),
        quiet: false,
    }
}

/// What CONCORD is trained on, and how; [`ConcordRun::train`] does it.
#[derive(Clone)]
pub struct ConcordRun {
    cells: Cells,
    columns: ConcordColumns,
    no_batch: bool,
    preset: Option<String>,
    settings: Vec<(String, Value)>,
    config: Option<ConcordConfig>,
    hvg: Option<usize>,
    normalize: String,
    features: Option<Vec<String>>,
    graph: Option<Embedding>,
    checkpoint: Option<PathBuf>,
    resume: Option<PathBuf>,
    threads: usize,
    device: String,
    quiet: bool,
}

impl ConcordRun {
    /// Column of obs with the experimental batch, the most granular one.
    pub fn batch(&self, column: &str) -> ConcordRun {
        changed(self, |run| run.columns.batch = Some(column.to_owned()))
    }

    /// Takes all cells as one batch.
    pub fn no_batch(&self) -> ConcordRun {
        changed(self, |run| run.no_batch = true)
    }

    /// Column of obs with the class, for the classifier (`.set("use_classifier", true)`).
    pub fn label(&self, column: &str) -> ConcordRun {
        changed(self, |run| run.columns.label = Some(column.to_owned()))
    }

    /// Named settings to start from: `"hard-negative"` (default) or `"knn"`.
    pub fn preset(&self, name: &str) -> ConcordRun {
        changed(self, |run| run.preset = Some(name.to_owned()))
    }

    /// Settings of your own to start from, instead of a preset.
    pub fn config(&self, config: tutti::systems::concord::ConcordConfig) -> ConcordRun {
        changed(self, |run| run.config = Some(config))
    }

    /// One setting by its name: `.set("latent_dim", 30)`, `.set("encoder_dims", vec![500, 200])`. A wrong name lists all.
    pub fn set(&self, name: &str, value: impl Into<serde_json::Value>) -> ConcordRun {
        changed(self, |run| run.settings.push((name.to_owned(), value.into())))
    }

    /// Passes over the data. Default 15.
    pub fn n_epochs(&self, n: usize) -> ConcordRun {
        self.set("n_epochs", n)
    }

    /// Width of the embedding. Default 100.
    pub fn latent_dim(&self, n: usize) -> ConcordRun {
        self.set("latent_dim", n)
    }

    /// Cells per mini-batch. Default 256.
    pub fn batch_size(&self, n: usize) -> ConcordRun {
        self.set("batch_size", n)
    }

    /// Learning rate. Default 0.01.
    pub fn lr(&self, lr: f64) -> ConcordRun {
        self.set("lr", lr)
    }

    /// Temperature of the loss. Default 0.4.
    pub fn temperature(&self, temperature: f64) -> ConcordRun {
        self.set("temperature", temperature)
    }

    /// Share of a mini-batch from its own batch; smaller corrects less. Default 1.
    pub fn p_intra_domain(&self, share: f64) -> ConcordRun {
        self.set("p_intra_domain", share)
    }

    /// Names all random draws. Default 0.
    pub fn seed(&self, seed: u64) -> ConcordRun {
        self.set("seed", seed)
    }

    /// Highly variable genes to train on; 0 takes all. Default 2000 where there are more.
    pub fn hvg(&self, n: usize) -> ConcordRun {
        changed(self, |run| run.hvg = Some(n))
    }

    /// What is done to the values: `"auto"` (default) log-normalises counts and leaves other values as they are, `"log-normalize"` refuses what is no counts,
    /// `"binarize"` takes what is above 0 as 1. The model does the same to new cells.
    pub fn normalize(&self, how: &str) -> ConcordRun {
        changed(self, |run| run.normalize = how.to_owned())
    }

    /// Genes to train on, instead of highly variable ones.
    pub fn features(&self, genes: &[&str]) -> ConcordRun {
        changed(self, |run| run.features = Some(genes.iter().map(|g| (*g).to_owned()).collect()))
    }

    /// Embedding behind the neighbourhoods of the sampler; needs `.set("sampler_graph", "given")` and `p_intra_knn`.
    pub fn graph(&self, embedding: impl Into<Embedding>) -> ConcordRun {
        changed(self, |run| run.graph = Some(embedding.into()))
    }

    /// Writes the state of the run here after every epoch.
    pub fn checkpoint(&self, path: impl AsRef<Path>) -> ConcordRun {
        changed(self, |run| run.checkpoint = Some(path.as_ref().to_owned()))
    }

    /// Goes on from a state that [`ConcordRun::checkpoint`] wrote; the settings must be the same.
    pub fn resume(&self, path: impl AsRef<Path>) -> ConcordRun {
        changed(self, |run| run.resume = Some(path.as_ref().to_owned()))
    }

    /// Threads; the result does not depend on them. Default: all processors.
    pub fn threads(&self, n: usize) -> ConcordRun {
        changed(self, |run| run.threads = n)
    }

    /// Shows neither progress nor warnings, for trainings in a loop.
    pub fn quiet(&self) -> ConcordRun {
        changed(self, |run| run.quiet = true)
    }

    /// `"cpu"` (default), or `"cuda"` where this library was built with it.
    pub fn device(&self, name: &str) -> ConcordRun {
        changed(self, |run| run.device = name.to_owned())
    }

    /// Trains. Stopped by the user, it returns the model trained so far.
    ///
    /// # Errors
    /// A column or setting that there is not; values that cannot be used, naming cell and gene; a loss that is not finite.
    pub fn train(&self) -> Result<Model> {
        let config = self.resolved()?;
        self.check_columns(&config)?;
        let device = device(&self.device)?;
        let running = Stoppable::training();
        let threads = Threads::new(self.threads)?;
        let used = self.columns.used(&config);
        let cells = self.cells.core(&used)?;
        let mut reporter = Reporter::new("concord", self.quiet);
        let features = self.features.as_deref();
        let (batch, normalization) = (self.columns.batch.as_deref(), Normalization::named(&self.normalize)?);
        let how = PrepareConfig { batch, n_top_genes: self.hvg, normalization, features, ..Default::default() };
        let (ready, prepared, composition, mut trainer) = running.run(|| {
            let (ready, prepared) = threads.run(|| self.cells.inner().prepare(&cells, &how, CHOOSE))?;
            let warnings = Concord::warnings(&ready, &self.columns, &config)?;
            warnings.iter().chain(&prepared.notes).filter(|_| !self.quiet).for_each(|w| warn(w));
            let mut trainer = self.trainer(&ready, config, &device, threads)?;
            let composition = Concord::composition(&mut trainer, &ready, &self.columns)?;
            Ok((ready, prepared, composition, trainer))
        })?;
        let outcome = loop {
            // Short slices: what is shown is as old as a step, and the stop is looked at before each.
            match trainer.advance(Duration::from_millis(200), &mut reporter, &running.token) {
                Ok(State::Running) => {}
                ended => break ended,
            }
        };
        let begun = trainer.first_step_at().is_some() || !trainer.history().is_empty();
        if matches!(outcome, Ok(State::Cancelled)) && !begun {
            return Err(Error::Interrupted("before the first step of training; there is no model".into()));
        }
        let (seconds, cells_per_second) = trainer.speed();
        let (system, history) = trainer.finish()?;
        let loss = history.epochs.last().map(|e| format!(", last loss {:.4}", e.loss)).unwrap_or_default();
        let (n, speed) = (history.epochs.len(), thousands(cells_per_second as usize));
        let line = format!("concord: {n} epochs in {} ({speed} cells/s){loss}", duration(seconds));
        reporter.finish(&line);
        tell(&outcome, n);
        let run = Run { prepared: Some(prepared), composition: Some(composition), line, n_cells: ready.n_cells() };
        Ok(Model::new(system, preprocessing(&run), history, run, self.threads))
    }

    fn trainer(
        &self,
        cells: &tutti::data::Cells<'static>,
        config: ConcordConfig,
        device: &Device,
        threads: Threads,
    ) -> Result<Trainer<'static, Concord>> {
        let mut trainer = match &self.graph {
            None => Concord::trainer(cells, &self.columns, config, device, threads)?,
            Some(graph) => {
                let train = config.train();
                let model = threads.run(|| Concord::new(cells, &self.columns, config, device))?;
                let model = model.with_graph_embedding(graph.array().clone())?;
                Trainer::new(model, cells.clone(), train, threads)?
            }
        }
        .with_checkpoint(self.checkpoint.clone().or_else(|| self.resume.clone()));
        if let Some(path) = &self.resume {
            trainer.resume(path)?;
        }
        Ok(trainer)
    }

    /// Preset or own settings, then single ones.
    fn resolved(&self) -> Result<ConcordConfig> {
        let base = match (&self.config, &self.preset) {
            (Some(_), Some(_)) => {
                return Err(Error::usage("`.config(..)` and `.preset(..)` both say where to start; leave one out"));
            }
            (Some(config), None) => config.clone(),
            (None, preset) => ConcordConfig::preset(preset.as_deref().map_or(Ok(Preset::default()), parse_preset)?),
        };
        let changes: Map<String, Value> = self.settings.iter().cloned().collect();
        let config = with_settings(&base, &changes)?;
        config.validate()?;
        Ok(config)
    }

    fn check_columns(&self, config: &ConcordConfig) -> Result<()> {
        match (&self.columns.batch, self.no_batch) {
            (Some(_), true) => return Err(Error::usage("`.batch(..)` and `.no_batch()` exclude each other; leave one out")),
            (None, false) => {
                let known = self.cells.batch_candidates();
                return Err(Error::usage(format!(
                    "which obs column is the batch? {known}. Give one with `.batch(\"COLUMN\")`, or `.no_batch()` for a single batch"
                )));
            }
            _ => {}
        }
        match (&self.columns.label, config.use_classifier) {
            (Some(name), false) => {
                let fix = "add `.set(\"use_classifier\", true)` or leave it out";
                Err(Error::usage(format!("`.label(\"{name}\")` has no effect without a classifier; {fix}")))
            }
            (None, true) => Err(Error::usage("`use_classifier` needs a column of classes; name it with `.label(\"COLUMN\")`")),
            _ => Ok(()),
        }
    }
}

fn preprocessing(run: &Run) -> tutti::preprocess::Preprocessing {
    run.prepared.as_ref().map(|p: &Prepared| p.preprocessing).unwrap_or_default()
}

/// What ended a training before its time.
pub(crate) fn tell(outcome: &tutti::Result<State>, n_epochs: usize) {
    match outcome {
        Ok(State::Cancelled) => {
            interrupted(&format!("stopped by the user after {n_epochs} whole epochs; the model is as it was trained so far"));
        }
        Ok(_) => {}
        Err(error) => warn(&format!("{error} (the model has the last good weights)")),
    }
}

fn parse_preset(name: &str) -> Result<Preset> {
    match name {
        "hard-negative" => Ok(Preset::HardNegative),
        "knn" => Ok(Preset::Knn),
        _ => Err(Error::usage(format!("`preset` is `{name}`; give \"hard-negative\" or \"knn\""))),
    }
}

/// The device of that name.
pub(crate) fn device(name: &str) -> Result<Device> {
    match name {
        "cpu" => Ok(Device::Cpu),
        "cuda" => Device::new_cuda(0).map_err(|e| {
            let fix = "build with the feature `cuda` on a machine with an NVIDIA GPU, or use \"cpu\"";
            Error::usage(format!("the device `cuda` is not available ({e}); {fix}"))
        }),
        _ => Err(Error::usage(format!("the device `{name}` is unknown; use \"cpu\" or \"cuda\""))),
    }
}
