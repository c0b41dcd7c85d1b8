//! What is known of reference cells, carried onto query cells by their nearest neighbours in one embedding.

use std::sync::Arc;

use ndarray::Axis;
use tutti::data::Categorical;
use tutti::downstream::{
    AnnotateConfig, Annotated, ClassEvidence, HoldOut, LabelTransfer, LevelTransfer, Limit, LimitScope, NeighborWeights,
    Rejection, TransferConfig, annotate, hold_out, transfer_labels, transfer_values, transfer_within,
};
use tutti::rng::Rng;
use tutti::threads::Threads;

use crate::builder::changed;
use crate::cells::Cells;
use crate::column::{Column, ColumnRef, Values};
use crate::display::{Content, Rich, show, warn};
use crate::embedding::{Embedding, parse_metric};
use crate::error::{Error, Result};
use crate::html::{block, counted, escape, muted, thousands};
use crate::kernel::stoppable;
use crate::layout::Layout;
use crate::plot::resolve;
use crate::shown;
use crate::table::Table;

/// Names query cells after their five nearest reference cells, weighted by similarity: `transfer(&reference_z, "cell_type", &query_z)?`, where both
/// were embedded by one model. `labels`: a column of the reference, or the name of one; cells without a label take no part.
///
/// # Errors
/// Labels of another number of cells; embeddings of other dimensions.
pub fn transfer(
    reference: impl Into<Embedding>,
    labels: impl Into<ColumnRef>,
    query: impl Into<Embedding>,
) -> Result<Transferred> {
    transfer_with(reference, labels, query).run()
}

/// As [`transfer()`], with options: `transfer_with(..).n_neighbors(15).max_novelty(0.99).run()?`.
pub fn transfer_with(reference: impl Into<Embedding>, labels: impl Into<ColumnRef>, query: impl Into<Embedding>) -> Transfer {
    Transfer {
        reference: reference.into(),
        labels: labels.into(),
        query: query.into(),
        config: TransferConfig::default(),
        metric: None,
        weights: None,
        rejection: Rejection::default(),
        held_out: None,
        limits: LimitScope::Overall,
        false_rejection_rate: None,
        finer: None,
        threads: 0,
    }
}

/// How labels are transferred; [`Transfer::run`] does it.
#[derive(Clone)]
pub struct Transfer {
    reference: Embedding,
    labels: ColumnRef,
    query: Embedding,
    config: TransferConfig,
    metric: Option<String>,
    weights: Option<String>,
    rejection: Rejection,
    held_out: Option<f64>,
    limits: LimitScope,
    false_rejection_rate: Option<f64>,
    finer: Option<ColumnRef>,
    threads: usize,
}

impl Transfer {
    /// Reference cells that vote on each query cell. Default 5.
    pub fn n_neighbors(&self, n: usize) -> Transfer {
        changed(self, |run| run.config.n_neighbors = n)
    }

    /// Distance: `"cosine"`, by which contrastive embeddings are trained (default), or `"euclidean"`.
    pub fn metric(&self, name: &str) -> Transfer {
        changed(self, |run| run.metric = Some(name.to_owned()))
    }

    /// How much a neighbour counts: `"similarity"` (default), `"gaussian"` or `"uniform"`.
    pub fn weights(&self, name: &str) -> Transfer {
        changed(self, |run| run.weights = Some(name.to_owned()))
    }

    /// Marks cells with a smaller score as unknown.
    pub fn min_confidence(&self, score: f64) -> Transfer {
        changed(self, |run| run.rejection.min_confidence = Some(score as f32))
    }

    /// Marks cells with a larger novelty as unknown; 0.99 marks 1 % of cells like those of the reference.
    pub fn max_novelty(&self, novelty: f64) -> Transfer {
        changed(self, |run| run.rejection.max_novelty = Some(novelty as f32))
    }

    /// Share of each class of the reference that does not vote. On it the votes are calibrated to probabilities, and limits chosen beyond which a cell is
    /// unknown; [`Transfer::min_confidence`] is then of the probability. Without it all cells vote, and there are no probabilities.
    pub fn held_out(&self, share: f64) -> Transfer {
        changed(self, |run| run.held_out = Some(share))
    }

    /// Share of cells of known types that the chosen limits may call unknown. Default 0.05. Needs [`Transfer::held_out`].
    pub fn false_rejection_rate(&self, rate: f64) -> Transfer {
        changed(self, |run| run.false_rejection_rate = Some(rate))
    }

    /// Chooses limits for each class, on the held-out cells that are called by it; a class with too few keeps the limits of all together, and is named. Needs
    /// [`Transfer::held_out`].
    pub fn limits_by_class(&self) -> Transfer {
        changed(self, |run| run.limits = LimitScope::ByClass)
    }

    /// Finer labels of the reference: each query cell gets one by vote among the reference cells of the label that it is called.
    pub fn finer(&self, labels: impl Into<ColumnRef>) -> Transfer {
        let labels = labels.into();
        changed(self, |run| run.finer = Some(labels))
    }

    /// Names the draws of held-out cells, and of the approximate search, taken above 100,000 reference cells. Default 0.
    pub fn seed(&self, seed: u64) -> Transfer {
        changed(self, |run| run.config.seed = seed)
    }

    /// Threads; the result does not depend on them. Default: all processors.
    pub fn threads(&self, n: usize) -> Transfer {
        changed(self, |run| run.threads = n)
    }

    /// Transfers the labels.
    ///
    /// # Errors
    /// As [`transfer()`]; a limit outside its range.
    pub fn run(&self) -> Result<Transferred> {
        let column = resolve(&self.reference, &self.labels)?;
        // An empty text names no class.
        let all = column.categorical()?.without_blank();
        let labels = all.drop_unused();
        let n_unlabelled = labels.codes().iter().filter(|code| code.is_none()).count();
        if n_unlabelled > 0 {
            warn(&format!("{n_unlabelled} of {} reference cells have no `{}` and take no part", labels.len(), column.name()));
        }
        let config = self.resolved()?;
        let of_reference = self.finer.as_ref().map(|finer| resolve(&self.reference, finer)).transpose()?;
        let split = self.split(&labels, config.seed)?;
        let (reference, query) = (self.reference.array().view(), self.query.array().view());
        let limits = self.annotate_config()?;
        let finer = of_reference.as_ref().map(|column| column.categorical()).transpose()?;
        let voted = || -> tutti::Result<_> {
            let voters = reference.select(Axis(0), &split.train);
            let known = labels.select(&split.train);
            let found = transfer_labels(voters.view(), &known, query, &config)?;
            let annotated = match &limits {
                Some(limits) => {
                    let evidence = ClassEvidence::of_neighbors(reference, &labels, &split, query, &config)?;
                    Some(annotate(&evidence, limits)?)
                }
                None => None,
            };
            let called = annotated.as_ref().map_or(&found.label, |a| &a.query.label);
            let within = |finer: &Categorical| {
                transfer_within(voters.view(), &known, &finer.select(&split.train).drop_unused(), query, called, &config)
            };
            let finer = finer.as_ref().map(within).transpose()?;
            Ok((found, annotated, finer))
        };
        let (found, annotated, finer) = stoppable(|| Ok(Threads::new(self.threads)?.run(voted)?))?;
        match &annotated {
            Some(annotated) => annotated.warnings.iter().for_each(|warning| warn(warning)),
            None => found.warning().iter().for_each(|warning| warn(warning)),
        }
        let unknown = match (&annotated, self.rejection == Rejection::default()) {
            (Some(annotated), _) => Some(annotated.query.unknown()),
            (None, true) => None,
            (None, false) => Some(found.unknown(&self.rejection)?),
        };
        let name = if column.name().is_empty() { "label".to_owned() } else { column.name() };
        let label = in_levels_of(&all, annotated.as_ref().map_or(&found.label, |a| &a.query.label));
        let finer = of_reference.map(|column| column.name()).zip(finer);
        Ok(Transferred { inner: Arc::new(Inner { found, annotated, finer, label, unknown, name }) })
    }

    /// Cells that vote, and those that do not.
    fn split(&self, labels: &Categorical, seed: u64) -> Result<HoldOut> {
        let Some(share) = self.held_out else {
            return Ok(HoldOut { train: (0..labels.len()).collect(), held_out: Vec::new(), whole: Vec::new() });
        };
        Ok(hold_out(labels, share, &Rng::new(seed))?)
    }

    /// `None` where no cell is held out.
    fn annotate_config(&self) -> Result<Option<AnnotateConfig>> {
        if self.held_out.is_none() {
            let given = [
                ("limits_by_class", self.limits == LimitScope::ByClass),
                ("false_rejection_rate", self.false_rejection_rate.is_some()),
            ];
            return match given.iter().find(|(_, given)| *given) {
                Some((name, _)) => Err(Error::usage(format!("`{name}` has no effect without `.held_out(0.2)`"))),
                None => Ok(None),
            };
        }
        let default = AnnotateConfig::default();
        let config = AnnotateConfig {
            false_rejection_rate: self.false_rejection_rate.unwrap_or(default.false_rejection_rate),
            probability: self.rejection.min_confidence.map_or(default.probability, Limit::Given),
            novelty: self.rejection.max_novelty.map_or(default.novelty, Limit::Given),
            limits: self.limits,
            ..default
        };
        config.validate()?;
        Ok(Some(config))
    }

    fn resolved(&self) -> Result<TransferConfig> {
        let mut config = self.config;
        if let Some(name) = &self.metric {
            config.metric = parse_metric(name)?;
        }
        config.weights = match self.weights.as_deref() {
            None | Some("similarity") => NeighborWeights::Similarity,
            Some("gaussian") => NeighborWeights::Gaussian,
            Some("uniform") => NeighborWeights::Uniform,
            Some(name) => {
                return Err(Error::usage(format!("`weights` is `{name}`; give \"similarity\", \"gaussian\" or \"uniform\"")));
            }
        };
        Ok(config)
    }
}

/// Labels of query cells, and how far to trust them. Cheap to clone.
#[derive(Clone)]
pub struct Transferred {
    inner: Arc<Inner>,
}

struct Inner {
    found: LabelTransfer,
    /// Where cells are held out.
    annotated: Option<Annotated>,
    /// With the name of their column.
    finer: Option<(String, LevelTransfer)>,
    /// The labels in all levels of the reference's column, by whose order they have its colours.
    label: Categorical,
    unknown: Option<Vec<bool>>,
    name: String,
}

impl Transferred {
    /// The label of every query cell, in the levels and colours of the reference.
    pub fn labels(&self) -> Column {
        Column::new(&self.column_name(""), Values::Category(self.inner.label.clone()), None)
    }

    /// The label of every query cell; none where it is unknown by the limits that were given.
    pub fn known_labels(&self) -> Column {
        let Some(unknown) = &self.inner.unknown else { return self.labels() };
        let label = &self.inner.label;
        let codes = label.codes().iter().zip(unknown).map(|(code, unknown)| code.filter(|_| !unknown)).collect();
        let column = Categorical::new(codes, label.levels().to_vec()).unwrap_or_else(|_| label.clone());
        Column::new(&self.column_name(""), Values::Category(column), None)
    }

    /// Share of the votes for the label, 0 to 1. It tells classes apart, not near from far.
    pub fn score(&self) -> Column {
        Column::numbers(&self.column_name("_score"), &self.inner.found.confidence)
    }

    /// Probability of the label, calibrated on cells that [`Transfer::held_out`] keeps from voting.
    ///
    /// # Errors
    /// Where no cell is held out.
    pub fn probability(&self) -> Result<Column> {
        Ok(Column::numbers(&self.column_name("_probability"), &self.annotated()?.query.probability))
    }

    /// Why a cell is unknown, `novel` or `low_probability`; none for those that keep their label.
    ///
    /// # Errors
    /// Where no cell is held out.
    pub fn reason(&self) -> Result<Column> {
        Ok(Column::new(&self.column_name("_reason"), Values::Category(self.annotated()?.query.reasons()), None))
    }

    /// The limits that were chosen on the held-out cells, of all together and by class.
    ///
    /// # Errors
    /// Where no cell is held out.
    pub fn annotated(&self) -> Result<&tutti::downstream::Annotated> {
        let fix = "no cell is held out; add `.held_out(0.2)` before `.run()`";
        self.inner.annotated.as_ref().ok_or_else(|| Error::usage(fix))
    }

    /// The finer label of every query cell, which [`Transfer::finer`] asks for.
    ///
    /// # Errors
    /// Where it was not asked for.
    pub fn finer_labels(&self) -> Result<Column> {
        let fix = "no finer labels were asked for; add `.finer(\"COLUMN\")` before `.run()`";
        let (name, finer) = self.inner.finer.as_ref().ok_or_else(|| Error::usage(fix))?;
        Ok(Column::new(&format!("predicted_{name}"), Values::Category(finer.label.clone()), None))
    }

    /// How unusual it is among the reference to be this far from its neighbours, 0 to 1.
    pub fn novelty(&self) -> Column {
        let of_annotated = self.inner.annotated.as_ref().and_then(|a| a.query.novelty.as_ref());
        Column::numbers(&self.column_name("_novelty"), of_annotated.unwrap_or(&self.inner.found.novelty))
    }

    /// Which cells are unknown by the limits that were given; none without limits.
    pub fn unknown(&self) -> Vec<bool> {
        self.inner.unknown.clone().unwrap_or_else(|| vec![false; self.inner.found.label.len()])
    }

    /// A row per class that was found: cells, median score and median novelty.
    ///
    /// # Errors
    /// None for what this crate made.
    pub fn table(&self) -> Result<Table> {
        let classes = self.inner.found.by_class();
        Table::build()
            .text(&self.column_name(""), classes.iter().map(|c| c.class.clone()).collect::<Vec<_>>())
            .integers("cells", classes.iter().map(|c| c.n_cells as i64).collect::<Vec<_>>())
            .numbers("median score", classes.iter().map(|c| f64::from(c.median_confidence)).collect::<Vec<_>>())
            .numbers("median novelty", classes.iter().map(|c| f64::from(c.median_novelty)).collect::<Vec<_>>())
            .run()
    }

    /// What the core found.
    pub fn inner(&self) -> &tutti::downstream::LabelTransfer {
        &self.inner.found
    }

    /// Shows the classes in brief; notebooks call this for the last expression of a cell.
    pub fn evcxr_display(&self) {
        show(self);
    }

    fn column_name(&self, ending: &str) -> String {
        format!("predicted_{}{ending}", self.inner.name)
    }
}

/// The same labels with the levels of another column that has all of them.
fn in_levels_of(of: &Categorical, labels: &Categorical) -> Categorical {
    let code = |level: &String| of.levels().iter().position(|l| l == level).map(|code| code as u32);
    let codes: Vec<Option<u32>> = labels.levels().iter().map(code).collect();
    let codes = labels.codes().iter().map(|c| c.and_then(|c| codes[c as usize])).collect();
    Categorical::new(codes, of.levels().to_vec()).unwrap_or_else(|_| labels.clone())
}

impl Cells {
    /// The query cells with the labels, their score, their novelty and, where limits were given, which are unknown, as columns of obs.
    ///
    /// # Errors
    /// For labels of another number of cells.
    pub fn with_transfer(&self, transferred: &Transferred) -> Result<Cells> {
        let named = |column: Column, cells: Cells| cells.with_obs(&column.name(), column);
        let mut cells = named(transferred.labels(), self.clone())?;
        cells = named(transferred.score(), cells)?;
        cells = named(transferred.novelty(), cells)?;
        match &transferred.inner.unknown {
            Some(unknown) => cells.with_obs(&transferred.column_name("_unknown"), unknown.clone()),
            None => Ok(cells),
        }
    }
}

/// Draws query cells into the layout of a reference: weighted means over the five nearest reference cells.
///
/// # Errors
/// A layout of other cells than the reference; embeddings of other dimensions.
pub fn project(reference: impl Into<Embedding>, layout: &Layout, query: impl Into<Embedding>) -> Result<Layout> {
    let (reference, query) = (reference.into(), query.into());
    let (x, values, to) = (reference.array().view(), layout.array().view(), query.array().view());
    let points = stoppable(|| Ok(Threads::new(0)?.run(|| transfer_values(x, values, to, &TransferConfig::default()))?))?;
    let placed = Embedding::new(&layout.name(), points, tutti::neighbors::Metric::Euclidean, query.cells().cloned());
    Ok(Layout::new(placed.noted("drawn into the layout of the reference".into())))
}

impl Rich for Transferred {
    fn content(&self) -> Content {
        let n = self.inner.found.label.len();
        let mut head = format!("{}: {}", self.column_name(""), counted(n, "cell"));
        if let Some(unknown) = &self.inner.unknown {
            head += &format!(", {} unknown", thousands(unknown.iter().filter(|u| **u).count()));
        }
        match self.table().map(|t| t.content()) {
            Ok(table) => {
                let html = format!("{}{}", muted(&head), table.html.unwrap_or_default());
                Content::text(format!("{head}\n{}", table.text)).with_html(block(&html))
            }
            Err(error) => Content::text(format!("{head}\n{error}")).with_html(block(&escape(&error.to_string()))),
        }
    }
}

/// What a console shows.
impl std::fmt::Debug for Transferred {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        shown::debug(self, &self.content().text, f)
    }
}
