//! UMAP: cells laid out in two or three dimensions, for looking at.

use tutti::downstream::UmapConfig;
use tutti::neighbors::Metric;
use tutti::threads::Threads;

use crate::builder::changed;
use crate::display::{Content, Rich, show};
use crate::embedding::{Embedding, parse_metric, short};
use crate::error::Result;
use crate::kernel::stoppable;
use crate::plot::Plot;
use crate::plot_3d::Plot3d;
use crate::shown;

/// Lays cells out in two dimensions, by the distance that the embedding is meant for. The same seed gives the same picture. Takes seconds for ten
/// thousand cells.
///
/// # Errors
/// Fewer than two cells; values that are not finite.
pub fn umap(embedding: impl Into<Embedding>) -> Result<Layout> {
    umap_with(embedding).run()
}

/// As [`umap()`], with options: `umap_with(&z).n_neighbors(30).min_dist(0.3).run()?`.
pub fn umap_with(embedding: impl Into<Embedding>) -> Umap {
    Umap { embedding: embedding.into(), config: UmapConfig::default(), metric: None, threads: 0 }
}

/// How cells are laid out; [`Umap::run`] does it.
#[derive(Clone)]
pub struct Umap {
    embedding: Embedding,
    config: UmapConfig,
    metric: Option<String>,
    threads: usize,
}

impl Umap {
    /// Neighbours per cell, the cell itself among them; fewer show finer structure. Default 15, or as many cells as there are.
    pub fn n_neighbors(&self, n: usize) -> Umap {
        changed(self, |run| run.config.n_neighbors = n)
    }

    /// How near cells may lie. Default 0.1.
    pub fn min_dist(&self, distance: f64) -> Umap {
        changed(self, |run| run.config.min_dist = distance)
    }

    /// Scale of the layout. Default 1.
    pub fn spread(&self, spread: f64) -> Umap {
        changed(self, |run| run.config.spread = spread)
    }

    /// Dimensions, 2 or 3. Default 2.
    pub fn n_components(&self, n: usize) -> Umap {
        changed(self, |run| run.config.n_components = n)
    }

    /// Rounds. Default 500 for up to 10,000 cells and 200 for more.
    pub fn n_epochs(&self, n: usize) -> Umap {
        changed(self, |run| run.config.n_epochs = n)
    }

    /// Distance: `"cosine"` or `"euclidean"`. Default: that of the embedding.
    pub fn metric(&self, name: &str) -> Umap {
        changed(self, |run| run.metric = Some(name.to_owned()))
    }

    /// Names all random draws. Default 0.
    pub fn seed(&self, seed: u64) -> Umap {
        changed(self, |run| run.config.seed = seed)
    }

    /// Threads; the result does not depend on them. Default: all processors.
    pub fn threads(&self, n: usize) -> Umap {
        changed(self, |run| run.threads = n)
    }

    /// Lays the cells out.
    ///
    /// # Errors
    /// As [`umap()`]; a setting outside its range.
    pub fn run(&self) -> Result<Layout> {
        let metric = self.metric.as_deref().map_or(Ok(self.embedding.raw_metric()), parse_metric)?;
        // The default is for any data; what was asked for is not bent.
        let default = UmapConfig::default().n_neighbors;
        let n_neighbors = match self.config.n_neighbors {
            n if n == default => n.min(self.embedding.n_cells()),
            n => n,
        };
        let config = UmapConfig { metric, n_neighbors, ..self.config };
        let x = self.embedding.array().view();
        let points = stoppable(|| Ok(Threads::new(self.threads)?.run(|| tutti::downstream::umap(x, &config))?))?;
        let note = format!("UMAP of {}, {n_neighbors} neighbours", self.embedding.name());
        Ok(Layout::new(Embedding::new("X_umap", points, Metric::Euclidean, self.embedding.cells().cloned()).noted(note)))
    }
}

/// Cells in two or three dimensions. Cheap to clone.
#[derive(Clone)]
pub struct Layout {
    embedding: Embedding,
}

impl Layout {
    pub(crate) fn new(embedding: Embedding) -> Self {
        Self { embedding }
    }

    /// Its name in obsm, such as `X_umap`.
    pub fn name(&self) -> String {
        self.embedding.name()
    }

    /// Number of cells.
    pub fn n_cells(&self) -> usize {
        self.embedding.n_cells()
    }

    /// Number of dimensions, 2 or 3.
    pub fn n_dimensions(&self) -> usize {
        self.embedding.n_dimensions()
    }

    /// A scatter of the first two dimensions: `.color_by(..)`, `.title(..)` and others follow.
    pub fn plot(&self) -> Plot {
        Plot::new(self.embedding.clone(), &axis(&self.embedding))
    }

    /// A scatter of three dimensions that turns; lay the cells out by `umap_with(&z).n_components(3).run()?`.
    pub fn plot_3d(&self) -> Plot3d {
        Plot3d::new(self.embedding.clone())
    }

    /// The coordinates, [n_cells, 2 or 3].
    pub fn array(&self) -> &ndarray::Array2<f32> {
        self.embedding.array()
    }

    /// The layout as an embedding, for all that takes one.
    pub fn embedding(&self) -> Embedding {
        self.embedding.clone()
    }

    /// Shows the layout as a scatter; notebooks call this for the last expression of a cell.
    pub fn evcxr_display(&self) {
        show(self);
    }
}

fn axis(embedding: &Embedding) -> String {
    let name = short(&embedding.name());
    if name == "umap" { "UMAP".into() } else { name }
}

impl Rich for Layout {
    fn content(&self) -> Content {
        self.plot().content()
    }
}

/// What a console shows.
impl std::fmt::Debug for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        shown::debug(self, &self.embedding.content().text, f)
    }
}

impl From<Layout> for Embedding {
    fn from(layout: Layout) -> Embedding {
        layout.embedding
    }
}

impl From<&Layout> for Embedding {
    fn from(layout: &Layout) -> Embedding {
        layout.embedding.clone()
    }
}
