//! Cells with everything that belongs to them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use ndarray::Array2;
use polars::prelude::DataType;
use tutti::data::{CellSource, Csr, GeneSubset};
use tutti::preprocess::{Preprocessing, ValueKind, ValueSummary, summarise};
use tutti_io::{Additions, AnnData, Matrix};

use crate::column::{Column, ColumnRef, Referred, Values};
use crate::embedding::Embedding;
use crate::error::{Error, Result, find};
use crate::table::Table;

/// Cells x genes with tables, embeddings and layers, as AnnData has them. Cheap to clone: what is large is shared, and nothing is changed in
/// place; methods that add something return new `Cells` over the same data.
#[derive(Clone)]
pub struct Cells {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub data: Arc<AnnData>,
    /// Columns of obs beside those of `data`, before which they come.
    pub columns: Vec<Column>,
    /// Embeddings likewise.
    pub embeddings: Vec<Embedding>,
    /// Other versions of the matrix, in memory.
    pub layers: BTreeMap<String, Arc<Csr>>,
    /// Whether the file of `data` holds these cells, all of them.
    pub in_file: bool,
    values: OnceLock<Option<ValueSummary>>,
}

/// Integers of at most as many different values are categories; there are as many colours.
const INTEGER_LEVELS: usize = 40;

impl Cells {
    pub(crate) fn of_file(data: AnnData) -> Self {
        Self::of(data, true, BTreeMap::new())
    }

    pub(crate) fn in_memory(data: AnnData, layers: BTreeMap<String, Arc<Csr>>) -> Self {
        Self::of(data, false, layers)
    }

    fn of(data: AnnData, in_file: bool, layers: BTreeMap<String, Arc<Csr>>) -> Self {
        let data = Arc::new(data);
        let inner = Inner { data, columns: Vec::new(), embeddings: Vec::new(), layers, in_file, values: OnceLock::new() };
        Self { inner: Arc::new(inner) }
    }

    /// The same data with other additions.
    fn with(&self, columns: Vec<Column>, embeddings: Vec<Embedding>) -> Self {
        let Inner { data, layers, in_file, values, .. } = &*self.inner;
        let (data, layers, values) = (data.clone(), layers.clone(), values.clone());
        Self { inner: Arc::new(Inner { data, columns, embeddings, layers, in_file: *in_file, values }) }
    }

    /// These cells with another matrix of other genes, in memory.
    pub(crate) fn with_genes(&self, x: Csr, genes: Vec<String>) -> Result<Self> {
        let other = Self::in_memory(self.inner.data.with_genes(x, genes)?, BTreeMap::new());
        Ok(other.with(self.inner.columns.clone(), self.inner.embeddings.clone()))
    }

    /// Number of cells.
    pub fn n_cells(&self) -> usize {
        self.inner.data.n_cells()
    }

    /// Number of genes.
    pub fn n_genes(&self) -> usize {
        self.inner.data.n_genes()
    }

    /// Names of the cells.
    pub fn cell_names(&self) -> Vec<String> {
        self.inner.data.cell_names().to_vec()
    }

    /// Names of the genes.
    pub fn gene_names(&self) -> Vec<String> {
        self.inner.data.gene_names().to_vec()
    }

    /// Names of the columns of obs.
    pub fn obs_names(&self) -> Vec<String> {
        let of_file = self.inner.data.column_names();
        let added = self.inner.columns.iter().map(Column::name).filter(|n| !of_file.contains(n)).collect::<Vec<_>>();
        of_file.into_iter().chain(added).collect()
    }

    /// Names of the embeddings.
    pub fn obsm_names(&self) -> Vec<String> {
        let of_file = self.inner.data.obsm();
        let added = self.inner.embeddings.iter().map(Embedding::name).filter(|n| !of_file.contains_key(n));
        of_file.keys().cloned().chain(added).collect()
    }

    /// Names of the layers in memory, such as the truth of simulated cells.
    pub fn layer_names(&self) -> Vec<String> {
        self.inner.layers.keys().cloned().collect()
    }

    /// A column of obs. Text, booleans and integers of up to 40 different values are categories, others numbers.
    ///
    /// # Errors
    /// For a name that there is not, naming those there are.
    pub fn obs(&self, name: &str) -> Result<Column> {
        if let Some(column) = self.inner.columns.iter().find(|c| c.name() == name) {
            return Ok(column.clone());
        }
        find("obs column", name, &self.obs_names())?;
        let data = &self.inner.data;
        let column = data.obs().column(name)?;
        let is_integer = column.dtype().is_integer();
        let category = data.categorical(name).ok().filter(|c| !is_integer || c.n_levels() <= INTEGER_LEVELS);
        Ok(match category {
            Some(column) => Column::new(name, Values::Category(column), None),
            None => {
                let numbers = column.cast(&DataType::Float32)?;
                let values = numbers.f32()?.iter().map(|v| v.unwrap_or(f32::NAN)).collect();
                Column::new(name, Values::Number(values), None)
            }
        })
    }

    /// The table of the cells.
    ///
    /// # Errors
    /// None for what this crate made.
    pub fn obs_table(&self) -> Result<Table> {
        let data = &self.inner.data;
        let mut table = Table::build().text("cell", self.cell_names()).run()?.inner().clone();
        for column in data.obs().columns().iter().filter(|c| self.inner.columns.iter().all(|a| a.name() != c.name().as_str())) {
            table.with_column(column.clone())?;
        }
        for column in &self.inner.columns {
            table.with_column(match column.raw() {
                Values::Category(c) => {
                    polars::prelude::Column::new(column.name().into(), (0..c.len()).map(|i| c.value(i)).collect::<Vec<_>>())
                }
                Values::Number(v) => polars::prelude::Column::new(
                    column.name().into(),
                    v.iter().map(|v| v.is_finite().then_some(*v)).collect::<Vec<_>>(),
                ),
            })?;
        }
        Ok(Table::new(table))
    }

    /// The table of the genes.
    ///
    /// # Errors
    /// None for what this crate made.
    pub fn var_table(&self) -> Result<Table> {
        let mut table = Table::build().text("gene", self.gene_names()).run()?.inner().clone();
        for column in self.inner.data.var().columns() {
            table.with_column(column.clone())?;
        }
        Ok(Table::new(table))
    }

    /// An embedding of obsm.
    ///
    /// # Errors
    /// For a name that there is not, naming those there are.
    pub fn obsm(&self, name: &str) -> Result<Embedding> {
        if let Some(embedding) = self.inner.embeddings.iter().find(|e| e.name() == name) {
            return embedding.with_cells(self);
        }
        find("embedding", name, &self.obsm_names())?;
        let array = self.inner.data.obsm().get(name).cloned().unwrap_or_default();
        Ok(Embedding::new(name, array, Embedding::metric_of_name(name), Some(self.clone())))
    }

    /// An embedding of these cells that another tool wrote: a .csv, .tsv or .parquet file of cells x dimensions with the cell names first.
    ///
    /// # Errors
    /// For cells that the file lacks.
    pub fn embedding_from(&self, path: impl AsRef<Path>) -> Result<Embedding> {
        let path = path.as_ref();
        let array = self.inner.data.embedding_from(path)?;
        let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Embedding::new(&name, array, Embedding::metric_of_name(&name), Some(self.clone())))
    }

    /// Expression of a gene, log-normalised where the values are counts.
    ///
    /// # Errors
    /// For a gene that there is not, naming some like it.
    pub fn gene(&self, name: &str) -> Result<Column> {
        Ok(Column::new(name, Values::Number(self.genes(&[name.to_owned()])?.column(0).to_vec()), None))
    }

    /// Expression of genes, [n_cells, n_names], log-normalised where the values are counts.
    pub(crate) fn genes(&self, names: &[String]) -> Result<Array2<f32>> {
        let there = self.inner.data.gene_names();
        let places = names.iter().map(|name| find("gene", name, there)).collect::<Result<Vec<usize>>>()?;
        let mut distinct = places.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let kind = self.values()?.map_or(ValueKind::Other, |v| v.kind);
        let source = Preprocessing::of(kind).apply(self.inner.data.x().source()?)?;
        let mut rows = Csr::empty(distinct.len());
        let columns: Vec<Option<usize>> = distinct.iter().map(|g| Some(*g)).collect();
        GeneSubset::new(source, &columns).read_range(0..self.n_cells(), &mut rows)?;
        let dense = rows.to_dense();
        let at: Vec<usize> = places.iter().map(|g| distinct.partition_point(|d| d < g)).collect();
        Ok(dense.select(ndarray::Axis(1), &at))
    }

    /// The same cells with a column added, or replaced, under this name: a [`Column`], or a vector of texts, numbers or booleans.
    ///
    /// # Errors
    /// For another number of values than cells.
    pub fn with_obs(&self, name: &str, column: impl Into<Column>) -> Result<Cells> {
        let column = column.into().named(name).checked(self.n_cells())?;
        let mut columns = self.inner.columns.clone();
        columns.retain(|c| c.name() != name);
        columns.push(column);
        Ok(self.with(columns, self.inner.embeddings.clone()))
    }

    /// The same cells with an embedding or a layout added, or replaced, under this name.
    ///
    /// # Errors
    /// For another number of cells.
    pub fn with_obsm(&self, name: &str, embedding: impl Into<Embedding>) -> Result<Cells> {
        // `obsm` tells it its cells, which by then are these or later ones; with cells of its own it would keep all earlier ones.
        let embedding = embedding.into().named(name).with_cells(self)?.alone();
        let mut embeddings = self.inner.embeddings.clone();
        embeddings.retain(|e| e.name() != name);
        embeddings.push(embedding);
        Ok(self.with(self.inner.columns.clone(), embeddings))
    }

    /// The same cells with an embedding or a layout added under its own name, such as `X_concord`.
    ///
    /// # Errors
    /// As [`Cells::with_obsm`].
    pub fn with_embedding(&self, embedding: impl Into<Embedding>) -> Result<Cells> {
        let embedding = embedding.into();
        self.with_obsm(&embedding.name(), embedding)
    }

    /// The cells at these places, from 0, in this order.
    ///
    /// # Errors
    /// For a place that there is not.
    pub fn rows(&self, rows: &[usize]) -> Result<Cells> {
        let inner = &self.inner;
        let data = Arc::new(inner.data.select(rows)?);
        let mut layers = BTreeMap::new();
        for (name, layer) in &inner.layers {
            let mut part = Csr::empty(layer.n_cols());
            layer.read_rows(rows, &mut part)?;
            layers.insert(name.clone(), Arc::new(part));
        }
        let bare = Inner { data, columns: Vec::new(), embeddings: Vec::new(), layers, in_file: false, values: OnceLock::new() };
        let bare = Self { inner: Arc::new(bare) };
        let column = |c: &Column| match c.raw() {
            Values::Category(v) => Column::new(&c.name(), Values::Category(v.select(rows)), None),
            Values::Number(v) => Column::new(&c.name(), Values::Number(rows.iter().map(|i| v[*i]).collect()), None),
        };
        let embeddings = inner.embeddings.iter().map(|e| e.select(rows, bare.clone())).collect();
        Ok(bare.with(inner.columns.iter().map(column).collect(), embeddings))
    }

    /// The cells of these levels of a column, in their order: `cells.only("batch", &["a", "b"])?`. Levels that no cell is left of are gone from
    /// all columns; the others keep their colours.
    ///
    /// # Errors
    /// For a column or a level that there is not, naming those there are.
    pub fn only(&self, column: impl Into<ColumnRef>, levels: &[&str]) -> Result<Cells> {
        let kept = self.of_levels(column.into(), levels)?;
        self.rows(&(0..kept.len()).filter(|i| kept[*i]).collect::<Vec<_>>())
    }

    /// All cells but those of these levels of a column; cells without a level stay.
    ///
    /// # Errors
    /// As [`Cells::only`].
    pub fn without(&self, column: impl Into<ColumnRef>, levels: &[&str]) -> Result<Cells> {
        let dropped = self.of_levels(column.into(), levels)?;
        self.rows(&(0..dropped.len()).filter(|i| !dropped[*i]).collect::<Vec<_>>())
    }

    fn of_levels(&self, column: ColumnRef, levels: &[&str]) -> Result<Vec<bool>> {
        let column = self.column(&column)?.categorical()?;
        let codes = levels.iter().map(|level| find("level", level, column.levels())).collect::<Result<Vec<usize>>>()?;
        Ok(column.codes().iter().map(|c| c.is_some_and(|c| codes.contains(&(c as usize)))).collect())
    }

    /// Writes an .h5ad file: a copy of the file that these cells were read from with what was added, or all of what they are.
    ///
    /// # Errors
    /// Another ending; the file that the cells were read from; what the system refuses.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let (path, inner) = (path.as_ref(), &self.inner);
        if path.extension().is_none_or(|e| !e.eq_ignore_ascii_case("h5ad")) {
            let fix = "end the name in .h5ad; an embedding alone can be written as .csv, .tsv or .parquet by its own `write`";
            return Err(Error::usage(format!("{}: unknown format; {fix}", path.display())));
        }
        let additions = Additions {
            obsm: inner.embeddings.iter().map(|e| (e.name(), e.array().clone())).collect(),
            obs: inner.columns.iter().map(|c| (c.name(), c.obs_column())).collect(),
            ..Default::default()
        };
        let data = &inner.data;
        if inner.in_file && data.path().extension().is_some_and(|e| e.eq_ignore_ascii_case("h5ad")) {
            return Ok(tutti_io::add_to_copy(data.path(), path, &additions)?);
        }
        let layers: Vec<(&str, &dyn CellSource)> =
            inner.layers.iter().map(|(n, x)| (n.as_str(), &**x as &dyn CellSource)).collect();
        Ok(data.write(path, &layers, &additions)?)
    }

    /// What the reader and the tables hold, for what this crate does not wrap.
    pub fn inner(&self) -> &tutti_io::AnnData {
        &self.inner.data
    }

    /// The cells as the core takes them, with these columns of obs.
    ///
    /// # Errors
    /// For a column that there is not or that holds no categories; cells without a matrix.
    pub fn core(&self, columns: &[&str]) -> Result<tutti::data::Cells<'static>> {
        let mut cells = self.inner.data.cells(&[])?;
        for name in columns {
            cells = cells.with_column(*name, self.categorical(name)?.drop_unused())?;
        }
        Ok(cells)
    }

    /// Shows the cells in brief; notebooks call this for the last expression of a cell.
    pub fn evcxr_display(&self) {
        crate::display::show(self);
    }

    /// A column as categories, integers of any number of values among them.
    pub(crate) fn categorical(&self, name: &str) -> Result<tutti::data::Categorical> {
        if let Some(column) = self.inner.columns.iter().find(|c| c.name() == name) {
            return column.categorical();
        }
        find("obs column", name, &self.obs_names())?;
        Ok(self.inner.data.categorical(name)?)
    }

    /// The column that is meant, of these cells.
    pub(crate) fn column(&self, column: &ColumnRef) -> Result<Column> {
        match &column.of {
            Referred::Column(column) => column.clone().checked(self.n_cells()),
            Referred::Name(name) => self.obs(name),
        }
    }

    /// The column that is meant, as categories.
    pub(crate) fn category(&self, column: &ColumnRef) -> Result<tutti::data::Categorical> {
        match &column.of {
            Referred::Column(column) => column.clone().checked(self.n_cells())?.categorical(),
            Referred::Name(name) => self.categorical(name),
        }
    }

    /// What kind of values there are; `None` without a matrix. Looked at once.
    pub(crate) fn values(&self) -> Result<Option<ValueSummary>> {
        if let Some(known) = self.inner.values.get() {
            return Ok(known.clone());
        }
        let data = &self.inner.data;
        let found = if data.has_x() { Some(summarise(&*data.x().source()?)?) } else { None };
        Ok(self.inner.values.get_or_init(|| found).clone())
    }

    /// Whether the matrix lies on the disk.
    pub(crate) fn on_disk(&self) -> bool {
        matches!(self.inner.data.x(), Matrix::Disk(_))
    }

    /// Columns that may be the batch, for messages.
    pub(crate) fn batch_candidates(&self) -> String {
        let mut found: Vec<(String, usize)> = self.inner.data.candidates_for_batch();
        for column in &self.inner.columns {
            let n = column.n_levels();
            if n > 1 && n <= 200 && found.iter().all(|(name, _)| *name != column.name()) {
                found.push((column.name(), n));
            }
        }
        let list: Vec<String> = found.iter().map(|(name, n)| format!("{name} ({n} levels)")).collect();
        if list.is_empty() { "obs has no column of categories".into() } else { format!("candidates: {}", list.join(", ")) }
    }
}
