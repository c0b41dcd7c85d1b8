//! Cells with everything that belongs to them, and the one function that reads any file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ndarray::Array2;
use polars::prelude::{DataFrame, DataType};
use tutti::data::{Categorical, CellSource, Cells, Csr, Lineages};

use crate::backed::BackedH5ad;
use crate::column::{Column, to_categorical};
use crate::error::{Error, InFile, Result};
use crate::names::{make_unique, unique_note};

/// Whether the matrix of an h5ad file stays on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backed {
    /// For matrices of more than 200 million stored values (1.6 GB in memory).
    #[default]
    Auto,
    /// Always; refused for formats that cannot.
    Always,
    /// Never.
    Never,
}

/// How a file is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadOptions {
    /// Layer of an h5ad file to read instead of X.
    pub layer: Option<String>,
    /// Reads `raw` of an h5ad file instead of X.
    pub raw: bool,
    /// Genome of a 10x file that holds several.
    pub genome: Option<String>,
    /// Whether the matrix stays on disk.
    pub backed: Backed,
    /// Leaves the matrix of an h5ad file out: names, obs, var and obsm only.
    pub without_x: bool,
}

/// The matrix of a file.
#[derive(Debug, Clone)]
pub enum Matrix {
    /// In memory.
    Memory(Arc<Csr>),
    /// On disk, read by rows.
    Disk(Arc<BackedH5ad>),
    /// The file has none.
    None,
}

impl Matrix {
    /// Rows on demand.
    ///
    /// # Errors
    /// [`Error::Format`] where the file has no matrix.
    pub fn source(&self) -> Result<Arc<dyn CellSource>> {
        match self {
            Self::Memory(x) => Ok(x.clone()),
            Self::Disk(x) => Ok(x.clone()),
            Self::None => Err(Error::format(Path::new("the file"), "has no matrix X", "read one of its layers")),
        }
    }
}

/// Cells as read from a file.
#[derive(Debug, Clone)]
pub struct AnnData {
    pub(crate) x: Matrix,
    pub(crate) cell_names: Vec<String>,
    pub(crate) gene_names: Vec<String>,
    pub(crate) obs: DataFrame,
    pub(crate) var: DataFrame,
    pub(crate) categories: BTreeMap<String, Categorical>,
    pub(crate) obsm: BTreeMap<String, Array2<f32>>,
    pub(crate) sparse_obsm: BTreeMap<String, Csr>,
    pub(crate) notes: Vec<String>,
    pub(crate) path: PathBuf,
}

impl AnnData {
    /// Names are made unique; a note says so.
    pub(crate) fn new(path: &Path, x: Matrix, mut cell_names: Vec<String>, mut gene_names: Vec<String>) -> Self {
        let mut notes: Vec<String> = unique_note("cell", make_unique(&mut cell_names)).into_iter().collect();
        notes.extend(unique_note("gene", make_unique(&mut gene_names)));
        let (obs, var) = (DataFrame::empty_with_height(cell_names.len()), DataFrame::empty_with_height(gene_names.len()));
        Self {
            x,
            cell_names,
            gene_names,
            obs,
            var,
            categories: BTreeMap::new(),
            obsm: BTreeMap::new(),
            sparse_obsm: BTreeMap::new(),
            notes,
            path: path.to_owned(),
        }
    }

    pub(crate) fn set_obs(&mut self, columns: Vec<(String, Column)>) -> Result<()> {
        self.obs = frame(&self.path, "obs", self.cell_names.len(), &columns)?;
        for (name, column) in columns {
            if let Column::Category(categories) = column {
                self.categories.insert(name, categories);
            }
        }
        Ok(())
    }

    pub(crate) fn set_var(&mut self, columns: &[(String, Column)]) -> Result<()> {
        self.var = frame(&self.path, "var", self.gene_names.len(), columns)?;
        Ok(())
    }

    /// The matrix, cells x genes.
    pub fn x(&self) -> &Matrix {
        &self.x
    }

    /// Whether there is a matrix.
    pub fn has_x(&self) -> bool {
        !matches!(self.x, Matrix::None)
    }

    /// Names of the cells, unique.
    pub fn cell_names(&self) -> &[String] {
        &self.cell_names
    }

    /// Names of the genes, unique.
    pub fn gene_names(&self) -> &[String] {
        &self.gene_names
    }

    /// Table of the cells; categories as text.
    pub fn obs(&self) -> &DataFrame {
        &self.obs
    }

    /// Table of the genes; categories as text.
    pub fn var(&self) -> &DataFrame {
        &self.var
    }

    /// Dense numeric arrays per cell.
    pub fn obsm(&self) -> &BTreeMap<String, Array2<f32>> {
        &self.obsm
    }

    /// Sparse numeric matrices per cell, such as cells x clones.
    pub fn sparse_obsm(&self) -> &BTreeMap<String, Csr> {
        &self.sparse_obsm
    }

    /// What was changed or left out in reading.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of cells.
    pub fn n_cells(&self) -> usize {
        self.cell_names.len()
    }

    /// Number of genes.
    pub fn n_genes(&self) -> usize {
        self.gene_names.len()
    }

    /// Names of the columns of obs.
    pub fn column_names(&self) -> Vec<String> {
        self.obs.get_column_names().iter().map(|n| n.to_string()).collect()
    }

    /// Type of a column of obs, in words.
    pub fn column_type(&self, name: &str) -> String {
        self.obs.column(name).map_or_else(|_| "unknown".into(), |c| c.dtype().to_string())
    }

    /// A column of obs as categories: categories, text, booleans or integers.
    ///
    /// # Errors
    /// [`Error::Format`] for a column that is missing (lists those there are) or holds numbers with fractions.
    pub fn categorical(&self, column: &str) -> Result<Categorical> {
        if let Some(categories) = self.categories.get(column) {
            return Ok(categories.clone());
        }
        let found = self.obs.column(column).map_err(|_| {
            let names = self.column_names();
            let fix =
                if names.is_empty() { "obs has no columns".into() } else { format!("the columns are: {}", names.join(", ")) };
            Error::format(&self.path, format!("there is no obs column `{column}`"), fix)
        })?;
        to_categorical(found.as_materialized_series()).ok_or_else(|| {
            let problem = format!("obs column `{column}` holds {}, not categories", found.dtype());
            Error::format(&self.path, problem, "give a column of text, categories or integers")
        })
    }

    /// Lineages from a column of obs with a barcode per cell, or from a matrix of cells x lineages in obsm, such as `X_clone`.
    ///
    /// # Errors
    /// [`Error::Format`] for a name that is neither, listing those there are, or a matrix that holds no counts of barcodes.
    pub fn lineages(&self, name: &str) -> Result<Lineages> {
        let no_counts = |e: tutti::Error| match e {
            tutti::Error::Data { problem, fix } | tutti::Error::Matrix { problem, fix } => {
                Error::format(&self.path, format!("obsm `{name}`: {problem}"), fix)
            }
            source => Error::Content { path: self.path.clone(), source },
        };
        let matrix = match (self.sparse_obsm.get(name), self.obsm.get(name)) {
            (Some(matrix), _) => Some(matrix.clone()),
            (None, Some(dense)) => Some(Csr::from_dense(dense.view()).map_err(no_counts)?),
            (None, None) => None,
        };
        if let Some(matrix) = matrix {
            let names = (1..=matrix.n_cols()).map(|i| format!("{name} {i}")).collect();
            return Lineages::from_matrix(&matrix, names).map_err(no_counts);
        }
        if let Some(note) = self.notes.iter().find(|note| note.starts_with(&crate::h5ad::unread(name))) {
            return Err(Error::format(&self.path, note, "mend it, or give an obs column"));
        }
        if !self.column_names().iter().any(|column| column == name) {
            let obsm: Vec<&str> = self.sparse_obsm.keys().chain(self.obsm.keys()).map(String::as_str).collect();
            let fix = format!("the columns are: {}; obsm has: {}", self.column_names().join(", "), obsm.join(", "));
            return Err(Error::format(&self.path, format!("`{name}` is neither an obs column nor in obsm"), fix));
        }
        Ok(Lineages::from_column(&self.categorical(name)?))
    }

    /// A column of obs as categories, numbers with fractions too: days are often stored as these.
    ///
    /// # Errors
    /// [`Error::Format`] for a column that is missing, or numbers with more than 1000 distinct values.
    pub fn categorical_or_number(&self, column: &str) -> Result<Categorical> {
        let found = self.obs.column(column).ok().filter(|found| found.dtype().is_float());
        let Some(cast) = found.and_then(|found| found.as_materialized_series().cast(&DataType::Float64).ok()) else {
            return self.categorical(column);
        };
        let values: Vec<Option<f64>> =
            cast.f64().in_file(&self.path, column)?.iter().map(|v| v.filter(|v| v.is_finite())).collect();
        let mut levels: Vec<f64> = values.iter().flatten().copied().collect();
        levels.sort_unstable_by(f64::total_cmp);
        levels.dedup();
        if levels.len() > 1000 {
            let problem = format!("obs column `{column}` has {} distinct numbers", levels.len());
            return Err(Error::format(&self.path, problem, "give a column of categories"));
        }
        let code = |v: f64| levels.iter().position(|l| *l == v).map(|i| i as u32);
        let codes = values.iter().map(|v| v.and_then(code)).collect();
        Categorical::new(codes, levels.iter().map(f64::to_string).collect()).in_file(&self.path, column)
    }

    /// Columns of obs that may be the batch, with their number of levels: 2 to 200 levels, likely names first.
    pub fn candidates_for_batch(&self) -> Vec<(String, usize)> {
        const LIKELY: [&str; 12] = [
            "batch",
            "sample",
            "donor",
            "tech",
            "dataset",
            "library",
            "chemistry",
            "protocol",
            "patient",
            "study",
            "channel",
            "species",
        ];
        let rank = |name: &str| LIKELY.iter().position(|word| name.to_lowercase().contains(word)).unwrap_or(LIKELY.len());
        let mut found: Vec<(String, usize)> = self
            .column_names()
            .into_iter()
            .filter_map(|name| {
                let n = self.categorical(&name).ok()?.drop_unused().n_levels();
                (2..=200.min(self.n_cells() / 2)).contains(&n).then_some((name, n))
            })
            .collect();
        found.sort_by_key(|(name, _)| rank(name));
        found
    }

    /// The cells as the science crate takes them, with these columns of obs.
    ///
    /// # Errors
    /// As [`AnnData::categorical`], or a file without a matrix.
    pub fn cells(&self, columns: &[&str]) -> Result<Cells<'static>> {
        if !self.has_x() {
            return Err(Error::format(&self.path, "the file has no matrix X", "read one of its layers"));
        }
        let source = self.x.source()?;
        let mut cells = Cells::new(source, self.cell_names.clone(), self.gene_names.clone()).in_file(&self.path, "")?;
        for column in columns {
            cells = cells.with_column(*column, self.categorical(column)?).in_file(&self.path, "")?;
        }
        Ok(cells)
    }
}

fn frame(path: &Path, what: &str, n: usize, columns: &[(String, Column)]) -> Result<DataFrame> {
    if let Some((name, column)) = columns.iter().find(|(_, c)| c.len() != n) {
        let problem = format!("{what} column `{name}` has {} values for {n} rows", column.len());
        return Err(Error::format(path, problem, "write the file again"));
    }
    DataFrame::new(n, columns.iter().map(|(name, c)| c.to_polars(name)).collect()).in_file(path, what)
}

/// Reads a file, whatever its format: h5ad, 10x h5, a 10x folder, MatrixMarket (with names beside), CSV, TSV or Parquet.
///
/// # Errors
/// Each names the file, the place in it and what to do.
pub fn read(path: &Path, options: &ReadOptions) -> Result<AnnData> {
    if path.is_dir() {
        return crate::tenx::read_folder(path);
    }
    std::fs::File::open(path).in_file(path, "")?;
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    let h5ad_only = options.layer.is_some() || options.raw || options.backed == Backed::Always;
    if h5ad_only && !plain.ends_with(".h5ad") {
        return Err(Error::format(path, "layers, raw and reading from disk are for h5ad files", "leave the option out"));
    }
    match plain.rsplit('.').next().unwrap_or_default() {
        "h5ad" => crate::h5ad::read(path, options),
        "h5" | "hdf5" => crate::tenx::read_h5(path, options.genome.as_deref()),
        "mtx" => crate::mtx::read_with_names(path),
        "csv" | "tsv" | "txt" | "tab" => crate::table::read_dense(path),
        "parquet" => crate::table::read_parquet(path),
        _ => Err(Error::format(path, "unknown format", "give .h5ad, .h5, a 10x folder, .mtx, .csv, .tsv or .parquet")),
    }
}
