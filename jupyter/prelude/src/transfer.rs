//! What is known of reference cells, carried onto query cells by their nearest neighbours in one embedding.

use std::sync::Arc;

use tutti::data::Categorical;
use tutti::downstream::{LabelTransfer, NeighborWeights, Rejection, TransferConfig, transfer_labels, transfer_values};
use tutti::threads::Threads;

use crate::builder::changed;
use crate::cells::Cells;
use crate::column::{Column, ColumnRef, Values};
use crate::display::{Content, Rich, show, warn};
use crate::embedding::{Embedding, parse_metric};
use crate::error::{Error, Result};
use crate::html::{block, counted, escape, muted, thousands};
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

    /// Names the draws of the approximate search, taken above 100,000 reference cells. Default 0.
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
        let all = column.categorical()?;
        let labels = all.drop_unused();
        let n_unlabelled = labels.codes().iter().filter(|code| code.is_none()).count();
        if n_unlabelled > 0 {
            warn(&format!("{n_unlabelled} of {} reference cells have no `{}` and take no part", labels.len(), column.name()));
        }
        let config = self.resolved()?;
        let (reference, query) = (self.reference.array().view(), self.query.array().view());
        let found = Threads::new(self.threads)?.run(|| transfer_labels(reference, &labels, query, &config))?;
        found.warning().iter().for_each(|warning| warn(warning));
        let unknown = match self.rejection == Rejection::default() {
            true => None,
            false => Some(found.unknown(&self.rejection)?),
        };
        let name = if column.name().is_empty() { "label".to_owned() } else { column.name() };
        let label = in_levels_of(&all, &found.label);
        Ok(Transferred { inner: Arc::new(Inner { found, label, unknown, name }) })
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

    /// How unusual it is among the reference to be this far from its neighbours, 0 to 1.
    pub fn novelty(&self) -> Column {
        Column::numbers(&self.column_name("_novelty"), &self.inner.found.novelty)
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
    let points = Threads::new(0)?.run(|| {
        transfer_values(reference.array().view(), layout.array().view(), query.array().view(), &TransferConfig::default())
    })?;
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
