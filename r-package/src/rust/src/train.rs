//! Training in slices: R holds the loop, so that its progress bars and Ctrl-C work as everywhere in R.

use std::time::Duration;

use candle_core::Device;
use extendr_api::prelude::*;
use ndarray::Array2;
use tutti::data::Cells;
use tutti::model::{SavedModel, System, with_settings};
use tutti::observe::{CancelToken, Observer, Progress};
use tutti::preprocess::{Normalization, Origin, PrepareConfig, Prepared, Preprocessing};
use tutti::systems::concord::{Concord, ConcordColumns, ConcordConfig, Preset};
use tutti::threads::Threads;
use tutti::train::{History, State, Trainer};

use crate::guard::{Failure, guard};
use crate::json;
use crate::matrix::{BorrowedCells, cells, dense, field, number, optional, strings, text, to_robj};
use crate::model::class_probabilities;

/// A training between two slices.
pub struct Running<S: System> {
    /// `None` once finished. Before `cells`: it reads their memory.
    trainer: Option<Trainer<'static, S>>,
    prepared: Prepared,
    /// What is embedded.
    ready: Cells<'static>,
    n_threads: usize,
    last: Progress,
    _cells: Vec<BorrowedCells>,
}

/// Cells that are ready to train on, and what was done to them.
pub struct Ready {
    pub cells: Cells<'static>,
    pub prepared: Prepared,
    pub n_threads: usize,
    /// What the cells read.
    pub borrowed: Vec<BorrowedCells>,
}

impl Ready {
    /// From the input of a trainer. `options`: features or n_features, normalize, threads. `batch`: column within which variable features are looked for.
    pub fn new(input: &Robj, options: &Robj, batch: Option<&str>) -> std::result::Result<Self, Failure> {
        let n_threads = number(options, "threads")? as usize;
        let borrowed = cells(input)?;
        let n_top_genes = optional(options, "n_features")?.is_some().then(|| number(options, "n_features")).transpose()?;
        let features = optional(options, "features")?.map(|f| strings(&f)).transpose()?;
        let prepare = PrepareConfig {
            batch,
            n_top_genes: n_top_genes.map(|n| n as usize),
            features: features.as_deref(),
            normalization: normalization(options)?,
            on_demand: false,
        };
        let (name, choose) = (text(input, "origin")?, text(input, "choose")?);
        let origin = Origin { name: &name, choose: &choose };
        let (cells, prepared) = Threads::new(n_threads)?.run(|| tutti::preprocess::prepare(&borrowed.cells, &prepare, origin))?;
        Ok(Self { cells, prepared, n_threads, borrowed: vec![borrowed] })
    }

    /// What R gets of a trainer of these cells; the pointer holds it.
    pub fn started<S: System + 'static>(self, trainer: Trainer<'static, S>, n_epochs: usize, notes: Vec<String>) -> Robj {
        let notes = [notes, self.prepared.notes.clone()].concat();
        List::from_pairs([
            ("value_kind", Robj::from(self.prepared.value_kind.as_str())),
            ("gene_selection", self.prepared.gene_selection.as_str().into()),
            ("features", self.cells.gene_names().to_vec().into()),
            ("notes", notes.into()),
            ("n_epochs", (n_epochs as f64).into()),
            (
                "pointer",
                ExternalPtr::new(Running {
                    trainer: Some(trainer),
                    prepared: self.prepared,
                    ready: self.cells,
                    n_threads: self.n_threads,
                    last: Progress::default(),
                    _cells: self.borrowed,
                })
                .into(),
            ),
        ])
        .into()
    }
}

/// What is done to values, where `options` says it.
pub fn normalization(options: &Robj) -> std::result::Result<Normalization, Failure> {
    match optional(options, "normalize")? {
        Some(_) => Ok(Normalization::named(&text(options, "normalize")?)?),
        None => Ok(Normalization::Auto),
    }
}

/// What happened in a slice.
#[derive(Default)]
struct Said {
    progress: Option<Progress>,
    messages: Vec<String>,
}

impl Observer for Said {
    fn on_step(&mut self, progress: &Progress) {
        self.progress = Some(progress.clone());
    }
    fn on_epoch(&mut self, progress: &Progress) {
        self.progress = Some(progress.clone());
    }
    fn on_warning(&mut self, message: &str) {
        self.messages.push(message.to_owned());
    }
}

/// Settings of CONCORD from a preset and a named list.
pub fn config(preset: &str, settings: &Robj) -> std::result::Result<ConcordConfig, Failure> {
    let preset = serde_json::from_value::<Preset>(preset.into())
        .map_err(|_| Failure::new("argument", format!("`preset` is \"{preset}\"; give \"hard-negative\" or \"knn\"")))?;
    let config = with_settings(&ConcordConfig::preset(preset), &json::table(settings)?)?;
    config.validate()?;
    Ok(config)
}

/// All settings of CONCORD, and what the user should know about them.
#[extendr]
fn rust_concord_settings(preset: &str, settings: Robj) -> Robj {
    guard(|| {
        let config = config(preset, &settings)?;
        let settings = serde_json::to_value(&config).map_err(|e| Failure::new("internal", e.to_string()))?;
        Ok(List::from_pairs([("settings", json::robj(&settings)), ("warnings", config.warnings().into())]).into())
    })
}

/// Prepares training. `options`: preset, settings, batch, label, features or n_features, threads, graph.
#[extendr]
fn rust_concord_trainer(input: Robj, options: Robj) -> Robj {
    guard(|| {
        let config = config(&text(&options, "preset")?, &field(&options, "settings")?)?;
        let optional_text = |name| Ok::<_, Failure>(optional(&options, name)?.and_then(|v| v.as_str().map(str::to_owned)));
        let columns = ConcordColumns { batch: optional_text("batch")?, label: optional_text("label")? };
        let ready = Ready::new(&input, &options, columns.batch.as_deref())?;
        let threads = Threads::new(ready.n_threads)?;
        let notes = Concord::warnings(&ready.cells, &columns, &config)?;
        let (train, n_epochs) = (config.train(), config.n_epochs);
        let mut model = threads.run(|| Concord::new(&ready.cells, &columns, config, &Device::Cpu))?;
        if let Some(graph) = optional(&options, "graph")? {
            model = model.with_graph_embedding(dense(&graph)?)?;
        }
        let trainer = Trainer::new(model, ready.cells.clone(), train, threads)?;
        Ok(ready.started(trainer, n_epochs, notes))
    })
}

/// Trains for about `seconds`. A failure leaves the last good weights for `rust_concord_finish`.
#[extendr]
fn rust_concord_advance(pointer: Robj, seconds: f64) -> Robj {
    guard(|| advance::<Concord>(pointer, seconds))
}

/// A slice of any system's training.
pub fn advance<S: System + 'static>(pointer: Robj, seconds: f64) -> std::result::Result<Robj, Failure> {
    let mut running: ExternalPtr<Running<S>> = pointer.try_into()?;
    let running = running.try_addr_mut()?;
    let trainer = running.trainer.as_mut().ok_or_else(|| Failure::new("internal", "a training that is finished"))?;
    let mut said = Said::default();
    let state = trainer.advance(Duration::from_secs_f64(seconds), &mut said, &CancelToken::default())?;
    if let Some(progress) = said.progress {
        running.last = progress;
    }
    let p = &running.last;
    Ok(List::from_pairs([
        ("running", Robj::from(state == State::Running)),
        ("epoch", (p.epoch as f64).into()),
        ("n_epochs", (p.n_epochs as f64).into()),
        ("step", (p.step as f64).into()),
        ("n_steps", (p.n_steps as f64).into()),
        ("loss", p.loss.into()),
        ("cells_per_second", p.cells_per_second.into()),
        ("eta_seconds", p.eta_seconds.into()),
        ("messages", said.messages.into()),
    ])
    .into())
}

/// Ends training, done or not: model, history and embedding of the weights there are.
#[extendr]
fn rust_concord_finish(pointer: Robj) -> Robj {
    guard(|| {
        finish::<Concord>(pointer, |model, embedding, preprocessing, history| {
            Ok((model.saved(preprocessing, history)?, class_probabilities(model, embedding)?))
        })
    })
}

/// What a system gives of a finished training: the model to keep, and the probabilities of classes or NULL.
type Kept = std::result::Result<(SavedModel, Robj), Failure>;

/// Ends any system's training.
pub fn finish<S: System + 'static>(
    pointer: Robj,
    keep: impl FnOnce(&S, &Array2<f32>, Preprocessing, &History) -> Kept,
) -> std::result::Result<Robj, Failure> {
    let mut running: ExternalPtr<Running<S>> = pointer.try_into()?;
    let running = running.try_addr_mut()?;
    let trainer = running.trainer.take().ok_or_else(|| Failure::new("internal", "a training that is finished"))?;
    let (train_seconds, cells_per_second) = trainer.speed();
    let (model, history) = trainer.finish()?;
    let threads = Threads::new(running.n_threads)?;
    let embedding = threads.run(|| model.embed(running.ready.source()))?;
    let (saved, probabilities) = keep(&model, &embedding, running.prepared.preprocessing, &history)?;
    Ok(List::from_pairs([
        ("model", Robj::from(Raw::from_bytes(&saved.to_bytes()?))),
        ("embedding", to_robj(&embedding)),
        ("history", history_columns(&history)),
        ("probabilities", probabilities),
        ("train_seconds", train_seconds.into()),
        ("cells_per_second", cells_per_second.into()),
    ])
    .into())
}

/// The epochs as columns of a table, the losses by name.
pub fn history_columns(history: &History) -> Robj {
    let column = |f: &dyn Fn(&tutti::train::EpochRecord) -> f64| Robj::from(history.epochs.iter().map(f).collect::<Vec<f64>>());
    let mut names: Vec<String> = history.epochs.iter().flat_map(|e| e.terms.keys().cloned()).collect();
    names.sort_unstable();
    names.dedup();
    let mut columns = vec![
        ("epoch".to_owned(), column(&|e| e.epoch as f64)),
        ("loss".to_owned(), column(&|e| e.loss)),
        ("validation_loss".to_owned(), column(&|e| e.validation_loss.unwrap_or(f64::NAN))),
        ("learning_rate".to_owned(), column(&|e| e.learning_rate)),
    ];
    columns.extend(names.into_iter().map(|name| {
        let values = column(&|e| e.terms.get(&name).copied().unwrap_or(f64::NAN));
        (name, values)
    }));
    List::from_pairs(columns).into()
}

extendr_module! {
    mod train;
    fn rust_concord_settings;
    fn rust_concord_trainer;
    fn rust_concord_advance;
    fn rust_concord_finish;
}
