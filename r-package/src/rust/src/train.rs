//! Training in slices: R holds the loop, so that its progress bars and Ctrl-C work as everywhere in R.

use std::time::Duration;

use candle_core::Device;
use extendr_api::prelude::*;
use tutti::model::with_settings;
use tutti::observe::{CancelToken, Observer, Progress};
use tutti::preprocess::{Origin, PrepareConfig, Prepared};
use tutti::systems::concord::{Concord, ConcordColumns, ConcordConfig, Preset};
use tutti::threads::Threads;
use tutti::train::{History, State, Trainer};

use crate::guard::{Failure, guard};
use crate::json;
use crate::matrix::{BorrowedCells, cells, dense, field, number, optional, strings, text, to_robj};
use crate::model::class_probabilities;

/// A training between two slices.
struct Running {
    /// `None` once finished. Before `cells`: it reads their memory.
    trainer: Option<Trainer<'static, Concord>>,
    prepared: Prepared,
    /// What is trained on.
    ready: tutti::data::Cells<'static>,
    n_threads: usize,
    last: Progress,
    _cells: BorrowedCells,
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
        let n_threads = number(&options, "threads")? as usize;
        let threads = Threads::new(n_threads)?;
        let borrowed = cells(&input)?;
        let n_top_genes = optional(&options, "n_features")?.is_some().then(|| number(&options, "n_features")).transpose()?;
        let features = optional(&options, "features")?.map(|f| strings(&f)).transpose()?;
        let prepare = PrepareConfig {
            batch: columns.batch.as_deref(),
            n_top_genes: n_top_genes.map(|n| n as usize),
            features: features.as_deref(),
            on_demand: false,
        };
        let (name, choose) = (text(&input, "origin")?, text(&input, "choose")?);
        let origin = Origin { name: &name, choose: &choose };
        let (ready, prepared) = threads.run(|| tutti::preprocess::prepare(&borrowed.cells, &prepare, origin))?;
        let notes = [Concord::warnings(&ready, &columns, &config)?, prepared.notes.clone()].concat();
        let train = config.train();
        let mut model = threads.run(|| Concord::new(&ready, &columns, config, &Device::Cpu))?;
        if let Some(graph) = optional(&options, "graph")? {
            model = model.with_graph_embedding(dense(&graph)?)?;
        }
        let trainer = Trainer::new(model, ready.clone(), train, threads)?;
        let out = List::from_pairs([
            ("value_kind", Robj::from(prepared.value_kind.as_str())),
            ("gene_selection", prepared.gene_selection.as_str().into()),
            ("features", ready.gene_names().to_vec().into()),
            ("notes", notes.into()),
            ("n_epochs", (train_epochs(&trainer) as f64).into()),
            (
                "pointer",
                ExternalPtr::new(Running {
                    trainer: Some(trainer),
                    prepared,
                    ready,
                    n_threads,
                    last: Progress::default(),
                    _cells: borrowed,
                })
                .into(),
            ),
        ]);
        Ok(out.into())
    })
}

fn train_epochs(trainer: &Trainer<'_, Concord>) -> usize {
    trainer.system().config().n_epochs
}

/// Trains for about `seconds`. A failure leaves the last good weights for `rust_concord_finish`.
#[extendr]
fn rust_concord_advance(pointer: Robj, seconds: f64) -> Robj {
    guard(|| {
        let mut running: ExternalPtr<Running> = pointer.try_into()?;
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
    })
}

/// Ends training, done or not: model, history and embedding of the weights there are.
#[extendr]
fn rust_concord_finish(pointer: Robj) -> Robj {
    guard(|| {
        let mut running: ExternalPtr<Running> = pointer.try_into()?;
        let running = running.try_addr_mut()?;
        let trainer = running.trainer.take().ok_or_else(|| Failure::new("internal", "a training that is finished"))?;
        let (train_seconds, cells_per_second) = trainer.speed();
        let (model, history) = trainer.finish()?;
        let threads = Threads::new(running.n_threads)?;
        let embedding = threads.run(|| model.embed(running.ready.source()))?;
        let bytes = model.saved(running.prepared.preprocessing, &history)?.to_bytes()?;
        let out = List::from_pairs([
            ("model", Robj::from(Raw::from_bytes(&bytes))),
            ("embedding", to_robj(&embedding)),
            ("history", history_columns(&history)),
            ("probabilities", class_probabilities(&model, &embedding)?),
            ("train_seconds", train_seconds.into()),
            ("cells_per_second", cells_per_second.into()),
        ]);
        Ok(out.into())
    })
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
