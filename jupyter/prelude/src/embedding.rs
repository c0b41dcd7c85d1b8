//! Coordinates of cells in the space of a model, of principal components, or of another tool.

use std::path::Path;
use std::sync::Arc;

use ndarray::{Array2, Axis};
use tutti::neighbors::{Graph, Metric, NeighborConfig, nearest_self};

use crate::cells::Cells;
use crate::column::Column;
use crate::display::{Content, Rich, show};
use crate::error::{Error, Result};
use crate::html::{block, counted, escape, muted};
use crate::plot::Plot;
use crate::plot_3d::Plot3d;
use crate::shown;
use crate::table::Table;

/// An embedding, [n_cells, n_dimensions], with its name, its cells and the distance that it is meant for. Cheap to clone.
#[derive(Clone)]
pub struct Embedding {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    name: String,
    array: Arc<Array2<f32>>,
    metric: Metric,
    cells: Option<Cells>,
    note: Option<String>,
}

impl Embedding {
    /// An embedding of your own, one row per cell; `metric` is `"cosine"` or `"euclidean"`. [`Embedding::with_cells`] says of which cells it is.
    ///
    /// # Errors
    /// For another distance.
    pub fn from_array(name: &str, array: ndarray::Array2<f32>, metric: &str) -> Result<Embedding> {
        Ok(Self::new(name, array, parse_metric(metric)?, None))
    }

    pub(crate) fn new(name: &str, array: Array2<f32>, metric: Metric, cells: Option<Cells>) -> Self {
        Self { inner: Arc::new(Inner { name: name.to_owned(), array: Arc::new(array), metric, cells, note: None }) }
    }

    pub(crate) fn noted(self, note: String) -> Self {
        Self { inner: Arc::new(Inner { note: Some(note), ..(*self.inner).clone() }) }
    }

    /// Embeddings of contrastive systems are compared by their cosine.
    pub(crate) fn metric_of_name(name: &str) -> Metric {
        if ["concord", "lcl"].iter().any(|system| name.to_lowercase().contains(system)) {
            Metric::Cosine
        } else {
            Metric::Euclidean
        }
    }

    /// Its name in obsm, such as `X_concord`.
    pub fn name(&self) -> String {
        self.inner.name.clone()
    }

    /// The same under another name.
    pub fn named(&self, name: &str) -> Embedding {
        Self { inner: Arc::new(Inner { name: name.to_owned(), ..(*self.inner).clone() }) }
    }

    /// Number of cells.
    pub fn n_cells(&self) -> usize {
        self.inner.array.nrows()
    }

    /// Number of dimensions.
    pub fn n_dimensions(&self) -> usize {
        self.inner.array.ncols()
    }

    /// The distance by which its cells are compared unless another one is asked for: `cosine` or `euclidean`.
    pub fn metric(&self) -> String {
        metric_name(self.inner.metric).to_owned()
    }

    /// The same, compared by `"cosine"` or `"euclidean"`.
    ///
    /// # Errors
    /// For another distance.
    pub fn with_metric(&self, metric: &str) -> Result<Embedding> {
        Ok(Self { inner: Arc::new(Inner { metric: parse_metric(metric)?, ..(*self.inner).clone() }) })
    }

    /// The same as an embedding of these cells, whose columns can then be named, e.g. as colours of a plot.
    ///
    /// # Errors
    /// For another number of cells.
    pub fn with_cells(&self, cells: &Cells) -> Result<Embedding> {
        if cells.n_cells() != self.n_cells() {
            let (name, n, there) = (&self.inner.name, self.n_cells(), cells.n_cells());
            let problem = format!("`{name}` is an embedding of {n} cells, and there are {there}");
            return Err(Error::usage(format!("{problem}; give one of these cells")));
        }
        Ok(Self { inner: Arc::new(Inner { cells: Some(cells.clone()), ..(*self.inner).clone() }) })
    }

    /// A dimension, from 0, as a column.
    ///
    /// # Errors
    /// For a dimension that there is not.
    pub fn dimension(&self, dimension: usize) -> Result<Column> {
        if dimension >= self.n_dimensions() {
            let problem = format!("there is no dimension {dimension}; `{}` has {}, from 0", self.inner.name, self.n_dimensions());
            return Err(Error::usage(problem));
        }
        let name = format!("{} {}", short(&self.inner.name), dimension + 1);
        Ok(Column::numbers(&name, &self.inner.array.column(dimension).to_vec()))
    }

    /// The first two dimensions as a scatter; of more, take a layout such as [`crate::umap()`].
    pub fn plot(&self) -> Plot {
        Plot::new(self.clone(), &short(&self.inner.name))
    }

    /// The first three dimensions as a scatter that turns; of more, lay them out by `umap_with(&z).n_components(3).run()?`.
    pub fn plot_3d(&self) -> Plot3d {
        Plot3d::new(self.clone())
    }

    /// The coordinates, [n_cells, n_dimensions].
    pub fn array(&self) -> &ndarray::Array2<f32> {
        &self.inner.array
    }

    /// The coordinates as a table with the names of the cells.
    ///
    /// # Errors
    /// None for what this crate made.
    pub fn table(&self) -> Result<Table> {
        let names = self.cell_names();
        let short = short(&self.inner.name);
        let dimension = |(i, column): (usize, ndarray::ArrayView1<'_, f32>)| {
            (format!("{short} {}", i + 1), column.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>())
        };
        let columns = self.inner.array.columns().into_iter().enumerate().map(dimension);
        columns.fold(Table::build().text("cell", names), |table, (name, values)| table.numbers(&name, values)).run()
    }

    /// Writes the coordinates with the names of the cells as .csv, .tsv or .parquet.
    ///
    /// # Errors
    /// Another ending; what the system refuses.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        Ok(tutti_io::write_embedding(path.as_ref(), &self.cell_names(), &self.inner.array, &short(&self.inner.name), &[])?)
    }

    /// Shows the embedding in brief; notebooks call this for the last expression of a cell.
    pub fn evcxr_display(&self) {
        show(self);
    }

    pub(crate) fn cell_names(&self) -> Vec<String> {
        match &self.inner.cells {
            Some(cells) => cells.cell_names(),
            None => (0..self.n_cells()).map(|i| format!("cell{i}")).collect(),
        }
    }

    /// The cells that it was made of, with the columns that they had then.
    pub(crate) fn cells(&self) -> Option<&Cells> {
        self.inner.cells.as_ref()
    }

    pub(crate) fn raw_metric(&self) -> Metric {
        self.inner.metric
    }

    /// The same without its cells.
    pub(crate) fn alone(&self) -> Self {
        Self { inner: Arc::new(Inner { cells: None, ..(*self.inner).clone() }) }
    }

    pub(crate) fn select(&self, rows: &[usize], cells: Cells) -> Self {
        Self::new(&self.inner.name, self.inner.array.select(Axis(0), rows), self.inner.metric, Some(cells))
    }

    /// The graph that UMAP and scanpy call the connectivities.
    pub(crate) fn graph(&self, n_neighbors: usize, metric: Metric, seed: u64) -> tutti::Result<Graph> {
        let n_neighbors = n_neighbors.min(self.n_cells());
        let config = NeighborConfig { n_neighbors, metric, seed, ..Default::default() };
        Ok(Graph::fuzzy(&nearest_self(self.inner.array.view(), &config)?))
    }
}

/// `concord` of `X_concord`.
pub(crate) fn short(name: &str) -> String {
    name.strip_prefix("X_").unwrap_or(name).to_owned()
}

pub(crate) fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::Cosine => "cosine",
        Metric::Euclidean => "euclidean",
    }
}

pub(crate) fn parse_metric(name: &str) -> Result<Metric> {
    match name {
        "cosine" => Ok(Metric::Cosine),
        "euclidean" => Ok(Metric::Euclidean),
        _ => Err(Error::usage(format!("`metric` is `{name}`; give \"euclidean\" or \"cosine\""))),
    }
}

/// Corner of the array that a console shows.
const CORNER: usize = 5;

impl Rich for Embedding {
    fn content(&self) -> Content {
        let (n, d) = self.inner.array.dim();
        let note = self.inner.note.iter().map(|n| format!("; {n}")).collect::<String>();
        let head = format!("{} × {}, compared by {}{note}", counted(n, "cell"), counted(d, "dimension"), self.metric());
        let corner = self.inner.array.slice(ndarray::s![..n.min(CORNER), ..d.min(CORNER)]).to_owned();
        let rows: Vec<String> = corner
            .rows()
            .into_iter()
            .map(|r| r.iter().map(|v| format!("{v:>9.4}")).collect::<String>() + if d > CORNER { "  …" } else { "" })
            .collect();
        let rows = rows.join("\n") + if n > CORNER { "\n        …" } else { "" };
        let name = &self.inner.name;
        let html = format!("<b>{}</b> {}<pre style=\"margin:2px 0;font-size:12px\">{rows}</pre>", escape(name), muted(&head));
        Content::text(format!("{name}: {head}\n{rows}")).with_html(block(&html))
    }
}

/// What a console shows.
impl std::fmt::Debug for Embedding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        shown::debug(self, &self.content().text, f)
    }
}

impl From<&Embedding> for Embedding {
    fn from(embedding: &Embedding) -> Embedding {
        embedding.clone()
    }
}
