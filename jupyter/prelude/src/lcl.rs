//! LCL: an embedding in which cells of one lineage lie together.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tutti::data::{Categorical, Csr};
use tutti::downstream::Baseline;
use tutti::model::with_settings;
use tutti::neighbors::Metric;
use tutti::preprocess::{Normalization, Origin, PrepareConfig, Preprocessing, prepare_query, to_memory};
use tutti::rng::Rng;
use tutti::systems::lcl::{Lcl, LclConfig, LclInput, Preset};
use tutti::threads::Threads;
use tutti::train::State;

use crate::cells::Cells;
use crate::column::{Column, ColumnRef, Values};
use crate::concord::{device, tell};
use crate::display::{Content, Rich, show, warn};
use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::history::History;
use crate::html::{block, counted, duration, escape, muted, thousands};
use crate::kernel::{Stoppable, stoppable};
use crate::lineage::lineages;
use crate::pca::CHOOSE;
use crate::progress::Reporter;

/// Smallest share of the model's genes that cells must have.
const MIN_OVERLAP: f64 = 0.5;

/// Trains LCL on cells with lineage barcodes: `lcl(&cells).lineage("barcode").train()?`.
///
/// Pairs of cells of one lineage are brought together, cells of others apart. Counts are scaled to 10,000 per cell and log-transformed, and 2000 highly
/// variable genes are picked, unless the cells are log-normalised or have no more genes. Stop (Ctrl-C) keeps the model trained so far.
pub fn lcl(cells: &Cells) -> LclRun {
    LclRun {
        cells: cells.clone(),
        lineage: None,
        unlabelled: None,
        hold_out: None,
        preset: None,
        settings: Vec::new(),
        hvg: None,
        normalize: "auto".into(),
        threads: 0,
        device: "cpu".into(),
        quiet: false,
    }
}

/// What LCL is trained on, and how; [`LclRun::train`] does it.
#[derive(Clone)]
pub struct LclRun {
    cells: Cells,
    lineage: Option<ColumnRef>,
    unlabelled: Option<Cells>,
    hold_out: Option<(String, f64)>,
    preset: Option<String>,
    settings: Vec<(String, Value)>,
    hvg: Option<usize>,
    normalize: String,
    threads: usize,
    device: String,
    quiet: bool,
}

impl LclRun {
    /// Barcode of each cell, missing or empty where none was read: a column, the name of one, or of a matrix of cells x clones in obsm.
    pub fn lineage(&self, column: impl Into<ColumnRef>) -> LclRun {
        let mut run = self.clone();
        run.lineage = Some(column.into());
        run
    }

    /// More cells without a barcode, for the entropy penalty; they are not embedded.
    pub fn unlabelled(&self, cells: &Cells) -> LclRun {
        let mut run = self.clone();
        run.unlabelled = Some(cells.clone());
        run
    }

    /// Holds out test cells, whose barcodes are not used: `"within"`, the share of each lineage of 10 cells or more, or `"whole"`, the share of the
    /// lineages. [`LclModel::split`] says which; [`crate::lineage_error`] asks for their lineages.
    pub fn hold_out(&self, how: &str, share: f64) -> LclRun {
        let mut run = self.clone();
        run.hold_out = Some((how.to_owned(), share));
        run
    }

    /// Named settings to start from: `"default"`, `"paper"`, `"reference-code"`, or a published run such as `"larry"`.
    pub fn preset(&self, name: &str) -> LclRun {
        let mut run = self.clone();
        run.preset = Some(name.to_owned());
        run
    }

    /// One setting by its name: `.set("latent_dim", 16)`, `.set("encoder_dims", vec![64, 32])`. A wrong name lists all.
    pub fn set(&self, name: &str, value: impl Into<serde_json::Value>) -> LclRun {
        let mut run = self.clone();
        run.settings.push((name.to_owned(), value.into()));
        run
    }

    /// Passes over the pairs at most. Default 220.
    pub fn n_epochs(&self, n: usize) -> LclRun {
        self.set("n_epochs", n)
    }

    /// Width of the embedding. Default 32.
    pub fn latent_dim(&self, n: usize) -> LclRun {
        self.set("latent_dim", n)
    }

    /// Share of a lineage's pairs in an epoch; smaller for large lineages. Default 0.3.
    pub fn size_factor(&self, share: f64) -> LclRun {
        self.set("size_factor", share)
    }

    /// Highest learning rate. Default 3e-4.
    pub fn lr(&self, lr: f64) -> LclRun {
        self.set("lr", lr)
    }

    /// Names all random draws. Default 0.
    pub fn seed(&self, seed: u64) -> LclRun {
        self.set("seed", seed)
    }

    /// Highly variable genes to train on; 0 takes all. Default 2000 where there are more.
    pub fn hvg(&self, n: usize) -> LclRun {
        let mut run = self.clone();
        run.hvg = Some(n);
        run
    }

    /// What is done to the values: `"auto"` (default) log-normalises counts and leaves other values as they are, `"log-normalize"` refuses what is no counts,
    /// `"binarize"` takes what is above 0 as 1. The model does the same to new cells.
    pub fn normalize(&self, how: &str) -> LclRun {
        let mut run = self.clone();
        run.normalize = how.to_owned();
        run
    }

    /// Threads; the result does not depend on them. Default: all processors.
    pub fn threads(&self, n: usize) -> LclRun {
        let mut run = self.clone();
        run.threads = n;
        run
    }

    /// Shows neither progress nor warnings.
    pub fn quiet(&self) -> LclRun {
        let mut run = self.clone();
        run.quiet = true;
        run
    }

    /// `"cpu"` (default), or `"cuda"` where this library was built with it.
    pub fn device(&self, name: &str) -> LclRun {
        let mut run = self.clone();
        run.device = name.to_owned();
        run
    }

    /// Trains. Stopped by the user, it returns the model trained so far.
    ///
    /// # Errors
    /// A column or setting that there is not; values that cannot be used; fewer than two lineages of two cells; a loss that is not finite.
    pub fn train(&self) -> Result<LclModel> {
        let config = self.resolved()?;
        let input = self.input(config.seed)?;
        let device = device(&self.device)?;
        let running = Stoppable::training();
        let threads = Threads::new(self.threads)?;
        let mut reporter = Reporter::new("lcl", self.quiet);
        let normalization = Normalization::named(&self.normalize)?;
        let how = PrepareConfig { n_top_genes: self.hvg, normalization, ..Default::default() };
        let (prepared, mut trainer) = running.run(|| {
            let (ready, prepared) =
                threads.run(|| self.cells.inner().prepare(&self.cells.core(&[])?, &how, CHOOSE).map_err(Error::from))?;
            let (trained_on, seen) = match &self.unlabelled {
                Some(more) => {
                    let rows = threads.run(|| aligned(more, ready.gene_names(), prepared.preprocessing))?;
                    input.with_unlabelled(&ready, rows)?
                }
                None => (ready.clone(), input.clone()),
            };
            let warnings = Lcl::warnings(&seen, &config)?;
            let notes = warnings.iter().chain(&prepared.notes).map(String::as_str).chain(config.mode_note(input.test.len()));
            notes.filter(|_| !self.quiet).for_each(warn);
            Ok((prepared, Lcl::trainer(&trained_on, &seen, config, &device, threads)?))
        })?;
        let outcome = loop {
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
        let line = format!("lcl: {n} epochs in {} ({speed} cells/s){loss}", duration(seconds));
        reporter.finish(&line);
        tell(&outcome, n);
        let inner = Inner {
            system,
            preprocessing: prepared.preprocessing,
            history: History::new(history),
            line,
            input: Some(input),
            threads: self.threads,
        };
        Ok(LclModel { inner: Arc::new(inner), baseline: Baseline::Zero })
    }

    fn resolved(&self) -> Result<LclConfig> {
        let preset = match &self.preset {
            None => Preset::default(),
            Some(name) => serde_json::from_value(name.as_str().into()).map_err(|_| {
                let names: Vec<&str> = Preset::ALL.iter().map(|(_, name)| *name).collect();
                Error::usage(format!("`preset` is `{name}`; give one of {}", names.join(", ")))
            })?,
        };
        let changes: Map<String, Value> = self.settings.iter().cloned().collect();
        let config = with_settings(&LclConfig::preset(preset), &changes)?;
        config.validate()?;
        Ok(config)
    }

    fn input(&self, seed: u64) -> Result<LclInput> {
        let Some(column) = &self.lineage else {
            let known = self.cells.batch_candidates();
            return Err(Error::usage(format!("which obs column has the barcodes? {known}. Give it with `.lineage(\"COLUMN\")`")));
        };
        let lineages = lineages(&self.cells, column)?;
        let rng = Rng::new(seed);
        let test = match &self.hold_out {
            None => Vec::new(),
            Some((_, share)) if !(*share > 0.0 && *share < 1.0) => {
                return Err(Error::usage(format!("`hold_out` takes a share above 0 and below 1 (got {share}); use 0.1")));
            }
            Some((how, share)) => match how.as_str() {
                "within" => lineages.split_within(*share, 10, &rng),
                "whole" => lineages.split_whole(*share, &rng),
                _ => return Err(Error::usage(format!("`hold_out` is `{how}`; give \"within\" or \"whole\""))),
            },
        };
        Ok(LclInput { lineages, test })
    }
}

/// Rows of cells with these genes, treated as those of training were.
fn aligned(cells: &Cells, genes: &[String], preprocessing: Preprocessing) -> Result<Csr> {
    let file = cells.inner().path().display().to_string();
    let core = cells.core(&[])?;
    let query = prepare_query(&core, genes, preprocessing, MIN_OVERLAP, Origin { name: &file, choose: CHOOSE })?;
    query.notes.iter().for_each(|note| warn(note));
    Ok(to_memory(&query.source)?)
}

/// A trained model of LCL. Cheap to clone.
#[derive(Clone)]
pub struct LclModel {
    inner: Arc<Inner>,
    /// Where the gradients of genes begin.
    baseline: Baseline,
}

struct Inner {
    system: Lcl,
    preprocessing: Preprocessing,
    history: History,
    line: String,
    /// Of the cells in training; `None` for a model from a file.
    input: Option<LclInput>,
    threads: usize,
}

/// Reads a model that [`LclModel::save`], the command line or R wrote.
///
/// # Errors
/// A file that is cut off, foreign, newer or of another system.
pub fn load_lcl(path: impl AsRef<Path>) -> Result<LclModel> {
    let path = path.as_ref();
    let (system, preprocessing, history) = Lcl::load(path, &device("cpu")?)?;
    let line = format!("read from {}", path.display());
    let inner = Inner { system, preprocessing, history: History::new(history), line, input: None, threads: 0 };
    Ok(LclModel { inner: Arc::new(inner), baseline: Baseline::Zero })
}

impl LclModel {
    /// Embeds cells: those of training, or new ones, whose genes are matched by name and which are treated as those of training were.
    ///
    /// # Errors
    /// Cells that lack more than half of the model's genes; values that cannot be used.
    pub fn embed(&self, cells: &Cells) -> Result<Embedding> {
        let embedded = || Ok(self.inner.system.embed(&self.rows(cells)?)?);
        let array = stoppable(|| Threads::new(self.inner.threads)?.run(embedded))?;
        Ok(Embedding::new("X_lcl", array, Metric::Cosine, Some(cells.clone())).noted("embedded by lcl".into()))
    }

    /// Which cells of training were held out: `test`, `train` or `without barcode`.
    ///
    /// # Errors
    /// For a model that was read from a file.
    pub fn split(&self) -> Result<Column> {
        let input = self.inner.input.as_ref().ok_or_else(|| Error::usage("a loaded model does not know its training cells"))?;
        let part = |i: usize| match (input.test.binary_search(&i).is_ok(), input.lineages.of(i).is_empty()) {
            (true, _) => Some("test"),
            (false, true) => Some("without barcode"),
            (false, false) => Some("train"),
        };
        let column = Categorical::from_values((0..input.lineages.n_cells()).map(part));
        Ok(Column::new("lcl_split", Values::Category(column), None))
    }

    /// Losses by epoch.
    pub fn history(&self) -> History {
        self.inner.history.clone()
    }

    /// Genes that the model reads, in order.
    pub fn genes(&self) -> Vec<String> {
        self.inner.system.genes().to_vec()
    }

    /// Lineages that it was trained on.
    pub fn n_lineages(&self) -> usize {
        self.inner.system.summary().n_lineages
    }

    /// Writes the model. The command line and R read it too.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        Ok(self.inner.system.save(path.as_ref(), self.inner.preprocessing, self.inner.history.inner())?)
    }

    /// The network as the core has it.
    pub fn inner(&self) -> &tutti::systems::lcl::Lcl {
        &self.inner.system
    }

    /// Shows the model in brief; notebooks call this for the last expression of a cell.
    pub fn evcxr_display(&self) {
        show(self);
    }

    /// Rows of cells as the model reads them.
    pub(crate) fn rows(&self, cells: &Cells) -> Result<Csr> {
        aligned(cells, self.inner.system.genes(), self.inner.preprocessing)
    }

    pub(crate) fn threads(&self) -> usize {
        self.inner.threads
    }

    /// The same model, whose [`LclModel::lineage_genes`] integrate gradients from this expression: `"zero"` (default), no gene at all, or the `"mean"` of the
    /// cells, by which genes that a cell lacks count too.
    ///
    /// # Errors
    /// For another name.
    pub fn gene_baseline(&self, name: &str) -> Result<LclModel> {
        Ok(LclModel { inner: self.inner.clone(), baseline: Baseline::named(name)? })
    }

    pub(crate) fn baseline(&self) -> Baseline {
        self.baseline
    }
}

impl Rich for LclModel {
    fn content(&self) -> Content {
        let (c, lineages) = (self.inner.system.config(), self.inner.system.summary());
        let head = format!("lcl model, {} genes → {} dimensions", self.inner.system.genes().len(), c.latent_dim);
        let lines = [
            self.inner.line.clone(),
            format!(
                "{} of two cells or more, the largest of {}; {} without a barcode",
                counted(lineages.n_lineages - lineages.n_single, "lineage"),
                counted(lineages.largest_size, "cell"),
                counted(lineages.n_without, "cell")
            ),
            format!(
                "encoder {:?}, projection {:?} → {}; {} pairs per mini-batch, size_factor {}, lr {}, seed {}",
                c.encoder_dims, c.projection_dims, c.latent_dim, c.n_pairs, c.size_factor, c.lr, c.seed
            ),
        ];
        let html = format!("<b>{}</b><br>{}", escape(&head), lines.iter().map(|l| muted(l)).collect::<Vec<_>>().join("<br>"));
        Content::text(format!("{head}\n{}", lines.join("\n"))).with_html(block(&html))
    }
}

/// What a console shows.
impl std::fmt::Debug for LclModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.content().text)
    }
}
