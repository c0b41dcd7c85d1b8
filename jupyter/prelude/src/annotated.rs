//! Query cells that are named after a reference, or refused.

use std::sync::Arc;

use ndarray::{Array2, s};
use tutti::data::{Categorical, CellSource};
use tutti::downstream::{
    Annotated, Baseline, ClassDeterminants, ClassLimits, DeterminantConfig, GradientConfig, KeyGeneHits, LevelTransfer,
    UnknownReason, determinant_genes, determinant_genes_of_cells, key_gene_hit_rates,
};
use tutti::preprocess::Pair;
use tutti::systems::cellpredx::CellPredX;
use tutti::threads::Threads;

use crate::annotate::Annotate;
use crate::cells::Cells;
use crate::column::{Column, Values};
use crate::display::{Content, Rich, show, warn};
use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::history::History;
use crate::html::{block, counted, escape, muted};
use crate::kernel::stoppable;
use crate::table::Table;

/// Named query cells, and the model behind. Cheap to clone.
#[derive(Clone)]
pub struct AnnotatedCells {
    inner: Arc<Inner>,
    /// Where the gradients of genes begin.
    baseline: Baseline,
}

/// What [`Annotate::run`] found.
pub(crate) struct Inner {
    pub(crate) run: Annotate,
    pub(crate) model: CellPredX,
    pub(crate) history: History,
    pub(crate) pair: Pair<'static>,
    /// Of reference and query.
    pub(crate) embedding: Array2<f32>,
    pub(crate) found: Annotated,
    pub(crate) finer: Option<LevelTransfer>,
    pub(crate) line: String,
}

impl From<Inner> for AnnotatedCells {
    fn from(inner: Inner) -> Self {
        Self { inner: Arc::new(inner), baseline: Baseline::Zero }
    }
}

impl AnnotatedCells {
    /// The likeliest label of every query cell, in the levels and colours of the reference.
    pub fn labels(&self) -> Column {
        Column::new(&self.name(""), Values::Category(self.inner.found.query.label.clone()), None)
    }

    /// The label of every query cell; none where it is unknown.
    pub fn known_labels(&self) -> Column {
        Column::new(&self.name(""), Values::Category(self.inner.found.query.kept()), None)
    }

    /// Probability of the label, calibrated on held-out reference cells.
    pub fn probability(&self) -> Column {
        Column::numbers(&self.name("_probability"), &self.inner.found.query.probability)
    }

    /// The label that comes second for every query cell, and its probability; none where there is a single class.
    pub fn runner_up(&self) -> [Column; 2] {
        let found = &self.inner.found.query;
        let label = Column::new(&self.name("_runner_up"), Values::Category(found.runner_up.clone()), None);
        [label, Column::numbers(&self.name("_runner_up_probability"), &found.runner_up_probability)]
    }

    /// How unusual it is among the reference to be this far from its cells, 0 to 1.
    pub fn novelty(&self) -> Column {
        let none = vec![f32::NAN; self.inner.found.query.n_cells()];
        Column::numbers(&self.name("_novelty"), self.inner.found.query.novelty.as_ref().unwrap_or(&none))
    }

    /// Why a cell is unknown; none for those that keep their label.
    pub fn reason(&self) -> Column {
        Column::new(&self.name("_reason"), Values::Category(self.inner.found.query.reasons()), None)
    }

    /// The finer label of every query cell, which [`Annotate::finer`] asks for.
    ///
    /// # Errors
    /// Where it was not asked for.
    pub fn finer_labels(&self) -> Result<Column> {
        match (&self.inner.run.finer, &self.inner.finer) {
            (Some(name), Some(finer)) => {
                Ok(Column::new(&format!("predicted_{name}"), Values::Category(finer.label.clone()), None))
            }
            _ => Err(Error::usage("no finer labels were asked for; add `.finer(\"COLUMN\")` before `.run()`")),
        }
    }

    /// The limits in use: a row per class where they are by class, otherwise one.
    ///
    /// # Errors
    /// None for what this crate made.
    pub fn limits(&self) -> Result<Table> {
        let found = &self.inner.found;
        let all = ClassLimits {
            class: "all".into(),
            n_held_out: found.held_out.n_cells(),
            probability_threshold: found.probability_threshold,
            novelty_threshold: found.novelty_threshold,
            limits: found.limits,
        };
        let rows: Vec<&ClassLimits> = if found.by_class.is_empty() { vec![&all] } else { found.by_class.iter().collect() };
        let of = |limit: &dyn Fn(&ClassLimits) -> Option<f32>| -> Vec<f64> {
            rows.iter().map(|c| limit(c).map_or(f64::NAN, f64::from)).collect()
        };
        Table::build()
            .text("class", rows.iter().map(|c| c.class.clone()).collect::<Vec<_>>())
            .integers("held out", rows.iter().map(|c| c.n_held_out as i64).collect::<Vec<_>>())
            .numbers("least probability", of(&|c| c.limits.min_confidence))
            .numbers("largest novelty", of(&|c| c.limits.max_novelty))
            .run()
    }

    /// Which cells are unknown.
    pub fn unknown(&self) -> Vec<bool> {
        self.inner.found.query.unknown()
    }

    /// Share of the query that keeps its label, 0 to 1.
    pub fn coverage(&self) -> f64 {
        self.inner.found.query.coverage()
    }

    /// The query in the embedding of the model. Its cells are compared by Euclidean distance, as the novelty does; after a start at random (`start`, the presets
    /// `"paper"` and `"reference-code"`) by cosine.
    pub fn embedding(&self) -> Embedding {
        let z = self.inner.embedding.slice(s![self.inner.pair.n_reference.., ..]).to_owned();
        Embedding::new("X_cellpredx", z, self.inner.model.config().metric(), Some(self.inner.run.query.clone()))
    }

    /// The reference in the same embedding.
    pub fn reference_embedding(&self) -> Embedding {
        let z = self.inner.embedding.slice(s![..self.inner.pair.n_reference, ..]).to_owned();
        Embedding::new("X_cellpredx", z, self.inner.model.config().metric(), Some(self.inner.run.reference.clone()))
    }

    /// Losses of the training by name.
    pub fn history(&self) -> History {
        self.inner.history.clone()
    }

    /// A row per class that was found: cells, how many keep the label, median probability and novelty.
    ///
    /// # Errors
    /// None for what this crate made.
    pub fn table(&self) -> Result<Table> {
        let classes = self.inner.found.query.by_class();
        let of = |f: &dyn Fn(&tutti::downstream::ClassFound) -> f64| classes.iter().map(|(c, _)| f(c)).collect::<Vec<f64>>();
        Table::build()
            .text(&self.name(""), classes.iter().map(|(c, _)| c.class.clone()).collect::<Vec<_>>())
            .integers("cells", classes.iter().map(|(c, _)| c.n_cells as i64).collect::<Vec<_>>())
            .integers("kept", classes.iter().map(|(_, kept)| *kept as i64).collect::<Vec<_>>())
            .numbers("median probability", of(&|c| f64::from(c.median_confidence)))
            .numbers("median novelty", of(&|c| f64::from(c.median_novelty)))
            .run()
    }

    /// Genes on which the labels rest, by class: those that are most often among the 100 of the largest attribution to the probability of the class.
    /// A row per gene, with the share of the cells in which it is and its mean attribution. Cells called unknown are left out.
    ///
    /// # Errors
    /// What reading the cells fails at.
    pub fn determinant_genes(&self, n: usize) -> Result<Table> {
        let (inner, found) = (&self.inner, self.determinants(n)?);
        let rows = || found.iter().flat_map(|c| c.genes.iter().map(move |g| (c, g)));
        Table::build()
            .text(&inner.run.label, rows().map(|(c, _)| c.class.clone()).collect::<Vec<_>>())
            .text("gene", rows().map(|(_, g)| inner.model.genes()[g.gene].clone()).collect::<Vec<_>>())
            .numbers("frequency", rows().map(|(_, g)| f64::from(g.frequency)).collect::<Vec<_>>())
            .numbers("attribution", rows().map(|(_, g)| f64::from(g.attribution)).collect::<Vec<_>>())
            .run()
    }

    /// Genes on which the label of each cell rests by itself: the `n` of the largest absolute attribution to the probability of its class. A row per cell
    /// and gene, by the order of the cells: cell, class, gene, and attribution, above 0 where its expression speaks for the class. Cells called unknown are
    /// left out.
    ///
    /// # Errors
    /// For no genes; what reading the cells fails at.
    pub fn determinant_genes_by_cell(&self, n: usize) -> Result<Table> {
        let inner = &self.inner;
        let config = DeterminantConfig { n_top: n, max_cells: usize::MAX, gradients: self.gradients(), ..Default::default() };
        let found = self.of_query(|query, kept| determinant_genes_of_cells(&inner.model, query, kept, &config))?;
        let names = inner.run.query.cell_names();
        let rows = || found.iter().flat_map(|c| c.genes.iter().map(move |g| (c, g)));
        Table::build()
            .text("cell", rows().map(|(c, _)| names[c.cell].clone()).collect::<Vec<_>>())
            .text(&inner.run.label, rows().map(|(c, _)| c.class.clone()).collect::<Vec<_>>())
            .text("gene", rows().map(|(_, (gene, _))| inner.model.genes()[*gene].clone()).collect::<Vec<_>>())
            .numbers("attribution", rows().map(|(_, (_, value))| f64::from(*value)).collect::<Vec<_>>())
            .run()
    }

    /// The same cells, whose genes ([`AnnotatedCells::determinant_genes`] and others) come of gradients from this expression: `"zero"` (default), no gene at all,
    /// or the `"mean"` of the query, by which genes that a cell lacks count too.
    ///
    /// # Errors
    /// For another name.
    pub fn gene_baseline(&self, name: &str) -> Result<AnnotatedCells> {
        Ok(AnnotatedCells { inner: self.inner.clone(), baseline: Baseline::named(name)? })
    }

    fn gradients(&self) -> GradientConfig {
        GradientConfig { baseline: self.baseline, ..Default::default() }
    }

    /// How many known markers of each class are among its `n` genes of [`AnnotatedCells::determinant_genes`]: `markers` are pairs of a class and a gene,
    /// e.g. `[("alpha", "GCG"), ("beta", "INS")]`. `chance` is the rate of as many genes at random. Markers that the model does not read are left out.
    ///
    /// # Errors
    /// What reading the cells fails at; no class that cells are called has a marker.
    pub fn marker_hits<C: ToString, G: ToString>(&self, n: usize, markers: impl IntoIterator<Item = (C, G)>) -> Result<Table> {
        let found = self.determinants(n)?;
        let pairs: Vec<(String, String)> = markers.into_iter().map(|(c, g)| (c.to_string(), g.to_string())).collect();
        let report = key_gene_hit_rates(&found, self.inner.model.genes(), &pairs);
        if report.by_class.is_empty() {
            let classes: Vec<&str> = found.iter().map(|c| c.class.as_str()).collect();
            return Err(Error::usage(format!(
                "no class that cells are called has a known marker among the genes of the model; the classes are {}",
                classes.join(", ")
            )));
        }
        if !report.left_out.is_empty() && !self.inner.run.quiet {
            warn(&format!(
                "left out, as no cell is called so or the model reads none of the markers: {}",
                report.left_out.join(", ")
            ));
        }
        let counts = |of: &dyn Fn(&KeyGeneHits) -> usize| report.by_class.iter().map(|(_, h)| of(h) as i64).collect::<Vec<_>>();
        let shares = |of: &dyn Fn(&KeyGeneHits) -> f64| report.by_class.iter().map(|(_, h)| of(h)).collect::<Vec<_>>();
        Table::build()
            .text(&self.inner.run.label, report.by_class.iter().map(|(class, _)| class.clone()).collect::<Vec<_>>())
            .integers("markers", counts(&|h| h.n_markers))
            .integers("hits", counts(&|h| h.n_hits))
            .numbers("rate", shares(&|h| h.rate))
            .numbers("chance", shares(&|h| h.chance))
            .run()
    }

    fn determinants(&self, n: usize) -> Result<Vec<ClassDeterminants>> {
        let config = DeterminantConfig { n_genes: n, gradients: self.gradients(), ..Default::default() };
        self.of_query(|query, kept| determinant_genes(&self.inner.model, query, kept, &config))
    }

    /// Something of the query's rows and the labels that its cells keep.
    fn of_query<T: Send>(&self, of: impl Fn(&dyn CellSource, &Categorical) -> tutti::Result<T> + Sync) -> Result<T> {
        let inner = &self.inner;
        let told = || {
            let rows: Vec<usize> = (inner.pair.n_reference..inner.pair.cells.n_cells()).collect();
            let query = tutti::data::RowSubset::new(inner.pair.cells.source(), rows);
            of(&query, &inner.found.query.kept())
        };
        stoppable(|| Ok(Threads::new(inner.run.threads)?.run(told)?))
    }

    /// What the core found, with the temperature and the limits.
    pub fn inner(&self) -> &tutti::downstream::Annotated {
        &self.inner.found
    }

    /// Shows the classes in brief; notebooks call this for the last expression of a cell.
    pub fn evcxr_display(&self) {
        show(self);
    }

    fn name(&self, ending: &str) -> String {
        format!("predicted_{}{ending}", self.inner.run.label)
    }

    fn head(&self) -> String {
        let (found, inner) = (&self.inner.found, &self.inner);
        let n = |reason| found.query.reason.iter().filter(|r| **r == Some(reason)).count();
        let limit = |limit: Option<f32>| limit.map_or_else(|| "none".to_owned(), |l| format!("{l:.3}"));
        format!(
            "{}: {}, {:.1} % keep their label; {} novel, {} of low probability\nlimits{}: probability {}, novelty {}\n{}{}",
            self.name(""),
            counted(found.query.n_cells(), "cell"),
            100.0 * found.query.coverage(),
            n(UnknownReason::Novel),
            n(UnknownReason::LowProbability),
            if found.by_class.is_empty() { "" } else { " by class; of all together" },
            limit(found.limits.min_confidence),
            limit(found.limits.max_novelty),
            found.smoothing.map_or_else(String::new, |s| {
                format!("{} take the label that most of the {} around have\n", counted(s.n_changed, "cell"), s.n_neighbors)
            }),
            inner.line
        )
    }
}

impl Cells {
    /// The query cells with label, probability, the runner-up with its own, novelty, and why a cell is unknown, as columns of obs.
    ///
    /// # Errors
    /// For an annotation of another number of cells.
    pub fn with_annotation(&self, found: &AnnotatedCells) -> Result<Cells> {
        let mut cells = self.clone();
        let [second, its] = found.runner_up();
        for column in [found.labels(), found.probability(), second, its, found.novelty(), found.reason()] {
            let name = column.name();
            cells = cells.with_obs(&name, column)?;
        }
        Ok(cells)
    }
}

impl Rich for AnnotatedCells {
    fn content(&self) -> Content {
        let head = self.head();
        match self.table().map(|t| t.content()) {
            Ok(table) => {
                let lines: String = head.lines().map(muted).collect();
                let html = format!("{lines}{}", table.html.unwrap_or_default());
                Content::text(format!("{head}\n{}", table.text)).with_html(block(&html))
            }
            Err(error) => Content::text(format!("{head}\n{error}")).with_html(block(&escape(&error.to_string()))),
        }
    }
}

/// What a console shows.
impl std::fmt::Debug for AnnotatedCells {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.content().text)
    }
}
