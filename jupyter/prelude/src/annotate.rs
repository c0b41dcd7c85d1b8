//! From a labelled reference to a query whose cells are named, or refused, in one call.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ndarray::{Array2, Axis};
use serde_json::{Map, Value};
use tutti::data::{Categorical, Orthologues};
use tutti::downstream::{
    AnnotateConfig, Annotated, ClassEvidence, HoldOut, LevelTransfer, Limit, LimitScope, TransferConfig, check_smoothing,
    hold_out, transfer_within,
};
use tutti::model::with_settings;
use tutti::neighbors::NeighborConfig;
use tutti::preprocess::{Normalization, Origin, Pair, PairConfig, prepare_pair};
use tutti::rng::Rng;
use tutti::systems::cellpredx::{CellPredX, CellPredXConfig, CellPredXInput, Preset, Scenario};
use tutti::threads::Threads;
use tutti::train::State;

use crate::annotated::{AnnotatedCells, Inner};
use crate::cells::Cells;
use crate::concord::{device, tell};
use crate::display::warn;
use crate::error::{Error, Result};
use crate::history::History;
use crate::html::{duration, thousands};
use crate::kernel::{Stoppable, stoppable};
use crate::pca::CHOOSE;
use crate::progress::Reporter;

/// Names the cells of a query after a labelled reference by CellPredX: `annotate(&reference, &query, "cell_type").run()?`. `label`: a column of the
/// reference's obs; cells without a value are not learned from.
///
/// Both are trained on together, over their common genes: counts are scaled to 10,000 per cell and log-transformed. A share of the reference is held out:
/// on it probabilities are calibrated, and limits chosen beyond which a cell is called unknown. Stop (Ctrl-C) names by the model trained so far.
pub fn annotate(reference: &Cells, query: &Cells, label: &str) -> Annotate {
    Annotate {
        reference: reference.clone(),
        query: query.clone(),
        label: label.to_owned(),
        batch: None,
        scenario: None,
        preset: None,
        settings: Vec::new(),
        config: AnnotateConfig::default(),
        held_out: 0.2,
        finer: None,
        orthologues: None,
        hvg: None,
        normalize: "auto".into(),
        smooth: None,
        threads: 0,
        device: "cpu".into(),
        quiet: false,
    }
}

/// How a query is named; [`Annotate::run`] does it.
#[derive(Clone)]
pub struct Annotate {
    pub(crate) reference: Cells,
    pub(crate) query: Cells,
    pub(crate) label: String,
    batch: Option<String>,
    scenario: Option<String>,
    preset: Option<String>,
    settings: Vec<(String, Value)>,
    config: AnnotateConfig,
    held_out: f64,
    pub(crate) finer: Option<String>,
    orthologues: Option<PathBuf>,
    hvg: Option<usize>,
    normalize: String,
    smooth: Option<usize>,
    pub(crate) threads: usize,
    device: String,
    pub(crate) quiet: bool,
}

impl Annotate {
    fn with(&self, change: impl FnOnce(&mut Annotate)) -> Annotate {
        let mut changed = self.clone();
        change(&mut changed);
        changed
    }

    /// Column of obs with batches inside of reference or query, where one has it.
    pub fn batch(&self, column: &str) -> Annotate {
        self.with(|a| a.batch = Some(column.to_owned()))
    }

    /// Kind of data: `"matched-rna-to-atac"`, `"unmatched-rna-to-atac"`, `"rna-to-rna"` or `"atac-to-atac"`. Without it, the data are looked at, and what
    /// they are taken for is said.
    pub fn scenario(&self, name: &str) -> Annotate {
        self.with(|a| a.scenario = Some(name.to_owned()))
    }

    /// Weights of the losses: `"default"`, `"paper"` or `"reference-code"`. The last two start at random weights, and novelty is then by cosine.
    pub fn preset(&self, name: &str) -> Annotate {
        self.with(|a| a.preset = Some(name.to_owned()))
    }

    /// One setting of CellPredX by its name, e.g. `.set("latent_dim", 32)`. A wrong name suggests the right one.
    pub fn set(&self, name: &str, value: impl Into<serde_json::Value>) -> Annotate {
        self.with(|a| a.settings.push((name.to_owned(), value.into())))
    }

    /// Steps of training. Default 400, 3000 from RNA to ATAC.
    pub fn n_steps(&self, n: usize) -> Annotate {
        self.set("n_steps", n)
    }

    /// Names all random draws. Default 0.
    pub fn seed(&self, seed: u64) -> Annotate {
        self.set("seed", seed)
    }

    /// Share of cells of known types that may be called unknown. Default 0.05.
    pub fn false_rejection_rate(&self, rate: f64) -> Annotate {
        self.with(|a| a.config.false_rejection_rate = rate)
    }

    /// Least probability of a label, instead of the one that is chosen.
    pub fn min_probability(&self, p: f64) -> Annotate {
        self.with(|a| a.config.probability = Limit::Given(p as f32))
    }

    /// Largest novelty, instead of the one that is chosen.
    pub fn max_novelty(&self, novelty: f64) -> Annotate {
        self.with(|a| a.config.novelty = Limit::Given(novelty as f32))
    }

    /// Calls no cell unknown.
    pub fn no_rejection(&self) -> Annotate {
        self.with(|a| (a.config.probability, a.config.novelty) = (Limit::None, Limit::None))
    }

    /// Share of each class of the reference that is held out to calibrate and to choose limits on. Default 0.2.
    pub fn held_out(&self, share: f64) -> Annotate {
        self.with(|a| a.held_out = share)
    }

    /// Chooses limits for each class, on the held-out cells that are called by it: classes of unequal spread lose equal shares. A class with too few of them,
    /// 39 for the default rate, keeps the limits of all together, and is named.
    pub fn limits_by_class(&self) -> Annotate {
        self.with(|a| a.config.limits = LimitScope::ByClass)
    }

    /// Column of the reference with finer labels: each query cell gets one by vote among the reference cells of the label that it is called.
    pub fn finer(&self, column: &str) -> Annotate {
        self.with(|a| a.finer = Some(column.to_owned()))
    }

    /// Table of orthologues where the species differ: a gene of each in the first two columns of a CSV or TSV file, in either order. Genes with several
    /// partners are left out; the others have the names of the reference.
    pub fn orthologues(&self, file: impl AsRef<Path>) -> Annotate {
        self.with(|a| a.orthologues = Some(file.as_ref().to_owned()))
    }

    /// Highly variable genes to train on; 0 takes all. Default 2000 where there are more.
    pub fn hvg(&self, n: usize) -> Annotate {
        self.with(|a| a.hvg = Some(n))
    }

    /// What is done to the values: `"auto"` (default) log-normalises counts and leaves other values as they are, `"log-normalize"` refuses what is no counts,
    /// `"binarize"` takes what is above 0 as 1. Of both; the model does the same to new cells.
    pub fn normalize(&self, how: &str) -> Annotate {
        self.with(|a| a.normalize = how.to_owned())
    }

    /// Gives each query cell the label that most of its `n` nearest query cells have, itself among them, as the published code offers with 10: small
    /// classes within large ones are smoothed away. Unknown cells neither vote nor change. Default: no smoothing.
    pub fn smooth(&self, n: usize) -> Annotate {
        self.with(|a| a.smooth = Some(n))
    }

    /// Threads; the result does not depend on them. Default: all processors.
    pub fn threads(&self, n: usize) -> Annotate {
        self.with(|a| a.threads = n)
    }

    /// `"cpu"` (default), or `"cuda"` where this library was built with it.
    pub fn device(&self, name: &str) -> Annotate {
        self.with(|a| a.device = name.to_owned())
    }

    /// Shows neither progress nor warnings.
    pub fn quiet(&self) -> Annotate {
        self.with(|a| a.quiet = true)
    }

    /// Trains and names. Stopped by the user, it names by the model trained so far.
    ///
    /// # Errors
    /// A column or setting that there is not; too few common genes; fewer than two classes; a loss that is not finite.
    pub fn run(&self) -> Result<AnnotatedCells> {
        let running = Stoppable::training();
        self.config.validate()?;
        let threads = Threads::new(self.threads)?;
        let there = self.reference.obs(&self.label)?.categorical()?.drop_unused();
        let labels = there.without_blank();
        let n_blank =
            there.codes().iter().zip(labels.codes()).filter(|(there, label)| there.is_some() && label.is_none()).count();
        if n_blank > 0 && !self.quiet {
            warn(&format!("{n_blank} reference cells have an empty text as `{}`, which names no class", self.label));
        }
        let of_reference = self.finer.as_ref().map(|column| self.reference.obs(column)?.categorical()).transpose()?;
        let of_reference = of_reference.map(|finer| finer.without_blank());
        if let Some(n) = self.smooth {
            check_smoothing(n, self.query.n_cells())?;
        }
        Normalization::named(&self.normalize)?;
        let orthologues = self.orthologue_table()?;
        let (pair, scenario, reason) = running.run(|| {
            let pair = threads.run(|| self.pair(orthologues.as_ref()))?;
            let (scenario, reason) = self.seen(&threads, &pair)?;
            Ok((pair, scenario, reason))
        })?;
        let config = self.resolved(scenario)?;
        let split = hold_out(&labels, self.held_out, &Rng::new(config.seed))?;
        let input = CellPredXInput::of_pair(&pair, known(&labels, &split)?)?;
        let notes = pair.prepared.notes.iter().cloned().chain(CellPredX::warnings(&input, &config)?);
        notes.filter(|_| !self.quiet).for_each(|note| warn(&note));
        let (seed, steps, metric) = (config.seed, config.steps_per_round, config.metric());
        let device = device(&self.device)?;
        let mut trainer = running.run(|| Ok(CellPredX::trainer(&pair.cells, &input, config, &device, threads)?))?;
        let mut reporter = Reporter::new("cellpredx", self.quiet);
        let outcome = loop {
            match trainer.advance(Duration::from_millis(200), &mut reporter, &running.token) {
                Ok(State::Running) => {}
                ended => break ended,
            }
        };
        if matches!(outcome, Ok(State::Cancelled)) && trainer.first_step_at().is_none() {
            return Err(Error::Interrupted("before the first step of training; there is no model".into()));
        }
        let (seconds, speed) = trainer.speed();
        let (model, history) = trainer.finish()?;
        let n = history.epochs.len();
        let line = format!(
            "cellpredx: {n} rounds of {steps} steps in {} ({} cells/s); {}: {reason}",
            duration(seconds),
            thousands(speed as usize),
            scenario.name()
        );
        reporter.finish(&line);
        tell(&outcome, n);

        let threads = Threads::new(self.threads)?;
        let transfer = TransferConfig { n_neighbors: 15, metric, seed, ..Default::default() };
        let named = || -> tutti::Result<_> {
            let embedding = model.embed(pair.cells.source())?;
            let logits = model.logits(embedding.view())?;
            let (logits, z) = (logits.view(), embedding.view());
            let evidence = ClassEvidence::of_network(logits, model.classes(), z, &labels, &split, &transfer)?;
            let mut found = tutti::downstream::annotate(&evidence, &self.config)?;
            if let Some(n_neighbors) = self.smooth {
                let search = NeighborConfig { n_neighbors, metric: transfer.metric, method: transfer.method, seed };
                found = found.smoothed(&evidence, z.split_at(Axis(0), labels.len()).1, &search)?;
            }
            let finer =
                of_reference.map(|finer| finer_labels(&embedding, &labels, &finer, &split, &found, &transfer)).transpose()?;
            Ok((embedding, found, finer))
        };
        let (embedding, found, finer) = stoppable(|| Ok(threads.run(named)?))?;
        found.warnings.iter().filter(|_| !self.quiet).for_each(|w| warn(w));
        let inner = Inner { run: self.clone(), model, history: History::new(history), pair, embedding, found, finer, line };
        Ok(inner.into())
    }

    fn orthologue_table(&self) -> Result<Option<Orthologues>> {
        let Some(file) = &self.orthologues else { return Ok(None) };
        let names = [&self.reference, &self.query].map(|cells| cells.inner().gene_names());
        Ok(Some(Orthologues::oriented(&tutti_io::read_orthologues(file)?, names[0], names[1])?.0))
    }

    fn pair(&self, orthologues: Option<&Orthologues>) -> tutti::Result<Pair<'static>> {
        let has = |cells: &Cells| self.batch.clone().filter(|b| cells.inner().column_names().contains(b));
        let batch = [has(&self.reference), has(&self.query)];
        let core = |cells: &Cells, column: &Option<String>| {
            let columns: Vec<&str> = column.iter().map(String::as_str).collect();
            cells.inner().cells(&columns).map_err(|e| tutti::Error::data(e.to_string(), "check the column of batches"))
        };
        let cells = [core(&self.reference, &batch[0])?, core(&self.query, &batch[1])?];
        let files = [&self.reference, &self.query].map(|c| c.inner().path().display().to_string());
        let origin = |name| Origin { name, choose: CHOOSE };
        let batch = [batch[0].as_deref(), batch[1].as_deref()];
        let normalization = Normalization::named(&self.normalize)?;
        let config = PairConfig { orthologues, batch, n_top_genes: self.hvg, normalization, ..Default::default() };
        prepare_pair(&cells[0], &cells[1], &config, [origin(&files[0]), origin(&files[1])])
    }

    fn seen(&self, threads: &Threads, pair: &Pair<'_>) -> Result<(Scenario, String)> {
        let Some(name) = &self.scenario else {
            let seen = threads.run(|| Scenario::of_pair(pair))?;
            return Ok((seen.scenario, seen.reason));
        };
        let known = Scenario::ALL.iter().find(|(_, n)| n == name);
        let names = || Scenario::ALL.map(|(_, n)| n).join(", ");
        let (scenario, _) = known.ok_or_else(|| Error::usage(format!("`scenario` is `{name}`; give one of {}", names())))?;
        Ok((*scenario, "as given".into()))
    }

    fn resolved(&self, scenario: Scenario) -> Result<CellPredXConfig> {
        let preset = match &self.preset {
            None => Preset::default(),
            Some(name) => serde_json::from_value(name.as_str().into()).map_err(|_| {
                let names: Vec<&str> = Preset::ALL.iter().map(|(_, name)| *name).collect();
                Error::usage(format!("`preset` is `{name}`; give one of {}", names.join(", ")))
            })?,
        };
        let changes: Map<String, Value> = self.settings.iter().cloned().collect();
        let config = with_settings(&CellPredXConfig::preset(preset, scenario), &changes)?;
        config.validate()?;
        Ok(config)
    }
}

/// Labels of reference cells that may be learned from.
fn known(labels: &Categorical, split: &HoldOut) -> tutti::Result<Categorical> {
    let mut codes = vec![None; labels.len()];
    split.train.iter().for_each(|i| codes[*i] = labels.codes()[*i]);
    Categorical::new(codes, labels.levels().to_vec())
}

/// Finer labels of the query, inside of those that it is called by.
fn finer_labels(
    embedding: &Array2<f32>,
    labels: &Categorical,
    finer: &Categorical,
    split: &HoldOut,
    found: &Annotated,
    config: &TransferConfig,
) -> tutti::Result<LevelTransfer> {
    let (reference, query) = embedding.view().split_at(Axis(0), labels.len());
    let voters = reference.select(Axis(0), &split.train);
    let (known, finer) = (labels.select(&split.train), finer.select(&split.train).drop_unused());
    transfer_within(voters.view(), &known, &finer, query, &found.query.label, config)
}
