//! Components, loops and cavities of an embedding.

use std::sync::Arc;

use tutti::metrics::{BettiCurve, Interval, TopologyConfig, betti_curves, persistence, topology_score};
use tutti::threads::Threads;

use crate::builder::changed;
use crate::display::{Content, Rich, show};
use crate::embedding::{Embedding, parse_metric};
use crate::error::{Error, Result};
use crate::figure::{Figure, failed};
use crate::html::{block, number};
use crate::kernel::stoppable;
use crate::shown;
use crate::table::Table;

/// Lengths at which Betti numbers are counted, as in the CONCORD paper.
const N_BINS: usize = 100;

/// Persistent homology of an embedding: a sample of 400 cells, up to cavities, by the distance that the embedding is meant for.
///
/// Time grows with more than the cube of the cells of the sample.
///
/// # Errors
/// Fewer than two cells; values that are not finite.
pub fn topology(embedding: impl Into<Embedding>) -> Result<Topology> {
    topology_with(embedding).run()
}

/// As [`topology()`], with options: `topology_with(&z).max_dim(1).max_points(800).run()?`.
pub fn topology_with(embedding: impl Into<Embedding>) -> TopologyRun {
    let config = TopologyConfig { max_points: 400, ..Default::default() };
    TopologyRun { embedding: embedding.into(), config, metric: None, threads: 0 }
}

/// How the topology is looked for; [`TopologyRun::run`] does it.
#[derive(Clone)]
pub struct TopologyRun {
    embedding: Embedding,
    config: TopologyConfig,
    metric: Option<String>,
    threads: usize,
}

impl TopologyRun {
    /// Highest dimension: 0 components, 1 loops, 2 cavities. Default 2.
    pub fn max_dim(&self, dim: usize) -> TopologyRun {
        changed(self, |run| run.config.max_dim = dim)
    }

    /// Cells of the sample at most. Default 400.
    pub fn max_points(&self, n: usize) -> TopologyRun {
        changed(self, |run| run.config.max_points = n)
    }

    /// Longest edge. Default: as long as anything lives.
    pub fn threshold(&self, length: f64) -> TopologyRun {
        changed(self, |run| run.config.threshold = Some(length))
    }

    /// Distance: `"cosine"` or `"euclidean"`. Default: that of the embedding.
    pub fn metric(&self, name: &str) -> TopologyRun {
        changed(self, |run| run.metric = Some(name.to_owned()))
    }

    /// Names the draw of the sample. Default 0.
    pub fn seed(&self, seed: u64) -> TopologyRun {
        changed(self, |run| run.config.seed = seed)
    }

    /// Threads; the result does not depend on them. Default: all processors.
    pub fn threads(&self, n: usize) -> TopologyRun {
        changed(self, |run| run.threads = n)
    }

    /// Computes the diagrams.
    ///
    /// # Errors
    /// As [`topology()`]; a setting outside its range.
    pub fn run(&self) -> Result<Topology> {
        let metric = self.metric.as_deref().map_or(Ok(self.embedding.raw_metric()), parse_metric)?;
        let config = TopologyConfig { metric, ..self.config };
        let x = self.embedding.array().view();
        let diagrams = stoppable(|| Ok(Threads::new(self.threads)?.run(|| persistence(x, &config))?))?;
        let curves = betti_curves(&diagrams, N_BINS)?;
        Ok(Topology { inner: Arc::new(Inner { diagrams, curves, name: self.embedding.name() }) })
    }
}

/// Persistence diagrams and Betti numbers of an embedding. Cheap to clone.
#[derive(Clone)]
pub struct Topology {
    inner: Arc<Inner>,
}

struct Inner {
    diagrams: Vec<Vec<Interval>>,
    curves: Vec<BettiCurve>,
    name: String,
}

impl Topology {
    /// Betti number of each dimension, reduced: components less one, loops, cavities; the number seen over most lengths.
    pub fn betti(&self) -> Vec<usize> {
        self.inner.curves.iter().map(BettiCurve::mode).collect()
    }

    /// How well the diagrams show the Betti numbers expected, 0 to 1: one number for each dimension, such as `&[0, 1, 0]` for a circle.
    ///
    /// # Errors
    /// For another number of dimensions.
    pub fn score(&self, expected: &[usize]) -> Result<f64> {
        Ok(topology_score(&self.inner.diagrams, expected, N_BINS)?.score)
    }

    /// A row per class: dimension, birth and death, the longest lives first.
    ///
    /// # Errors
    /// None for what this crate made.
    pub fn table(&self) -> Result<Table> {
        let mut all: Vec<(usize, &Interval)> =
            self.inner.diagrams.iter().enumerate().flat_map(|(d, i)| i.iter().map(move |i| (d, i))).collect();
        all.sort_by(|a, b| (b.1.death - b.1.birth).total_cmp(&(a.1.death - a.1.birth)));
        Table::build()
            .integers("dimension", all.iter().map(|(d, _)| *d as i64).collect::<Vec<_>>())
            .numbers("birth", all.iter().map(|(_, i)| i.birth).collect::<Vec<_>>())
            .numbers("death", all.iter().map(|(_, i)| i.death).collect::<Vec<_>>())
            .run()
    }

    /// The persistence diagram.
    ///
    /// # Errors
    /// For diagrams without any class.
    pub fn plot(&self) -> Result<Figure> {
        let figure = tutti_figures::persistence_diagram(&self.inner.diagrams, &self.inner.name)?;
        Ok(Figure::new("persistence diagram", figure))
    }

    /// Classes alive by length, a panel per dimension.
    ///
    /// # Errors
    /// A fault of the drawing.
    pub fn plot_betti(&self) -> Result<Figure> {
        plot_betti(std::slice::from_ref(self))
    }

    /// Shows Betti numbers and the diagram; notebooks call this for the last expression of a cell.
    pub fn evcxr_display(&self) {
        show(self);
    }

    fn brief(&self) -> String {
        let kinds = ["components less one", "loops", "cavities"];
        let counts = self.inner.curves.iter().zip(kinds);
        let counts = counts.map(|(c, kind)| format!("{kind} {} (stability {})", c.mode(), number(c.stability())));
        format!("{}: {}", self.inner.name, counts.collect::<Vec<_>>().join(", "))
    }
}

/// Betti curves of several embeddings, a panel per dimension and a curve per embedding.
///
/// # Errors
/// For none, or of different numbers of dimensions.
pub fn plot_betti(topologies: &[Topology]) -> Result<Figure> {
    if topologies.is_empty() {
        return Err(Error::usage("there is no topology to draw; give those of `topology(&z)?`"));
    }
    let curves: Vec<(String, Vec<BettiCurve>)> =
        topologies.iter().map(|t| (t.inner.name.clone(), t.inner.curves.clone())).collect();
    Ok(Figure::new("Betti curves", tutti_figures::betti_curves_figure(&curves)?))
}

impl Rich for Topology {
    fn content(&self) -> Content {
        let brief = self.brief();
        match self.plot().and_then(|f| f.html()) {
            Ok(figure) => {
                let html = block(&format!("{}<div>{figure}</div>", crate::html::muted(&brief)));
                Content::text(brief).with_html(html)
            }
            Err(error) => failed(&error),
        }
    }
}

/// What a console shows.
impl std::fmt::Debug for Topology {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        shown::debug(self, &self.brief(), f)
    }
}
