//! Embeddings of the cells of a file, from the file itself or from another tool's.

use std::collections::HashMap;
use std::path::Path;

use ndarray::Array2;
use tutti::data::Csr;

use crate::anndata::{AnnData, ReadOptions, read};
use crate::error::{Error, InFile, Result};

impl AnnData {
    /// An embedding of these cells, in their order: a name in obsm, or a table of cells x dimensions with the names of the cells first.
    ///
    /// # Errors
    /// [`Error::Format`] for what is neither, or a table that lacks cells.
    pub fn embedding(&self, name: &str) -> Result<Array2<f32>> {
        if let Some(x) = self.obsm.get(name) {
            return Ok(x.clone());
        }
        if !Path::new(name).exists() {
            let known: Vec<&str> = self.obsm.keys().map(String::as_str).collect();
            let problem = format!("`{name}` is neither in obsm ({}) nor a file", known.join(", "));
            return Err(Error::format(&self.path, problem, "give one of these"));
        }
        self.embedding_from(Path::new(name))
    }

    /// An embedding of these cells, in their order, from a table of cells x dimensions with the names of the cells first.
    ///
    /// # Errors
    /// [`Error::Format`] for a table that lacks cells.
    pub fn embedding_from(&self, path: &Path) -> Result<Array2<f32>> {
        let table = read(path, &ReadOptions::default())?;
        let place: HashMap<&String, usize> = table.cell_names().iter().zip(0..).collect();
        let rows: Option<Vec<usize>> = self.cell_names.iter().map(|cell| place.get(cell).copied()).collect();
        let Some(rows) = rows else {
            let lacking: Vec<&String> = self.cell_names.iter().filter(|cell| !place.contains_key(cell)).collect();
            let first = lacking.first().map_or("", |cell| cell.as_str());
            let problem = format!("it lacks {} of {} cells, the first is `{first}`", lacking.len(), self.n_cells());
            return Err(Error::format(path, problem, "its first column must hold the cell names"));
        };
        let mut out = Csr::empty(table.n_genes());
        table.x().source()?.read_rows(&rows, &mut out).in_file(path, "")?;
        Ok(out.to_dense())
    }

    /// What the cells truly are, to compare embeddings with: as [`AnnData::embedding`], or the name of a layer of the file.
    ///
    /// # Errors
    /// [`Error::Format`] for what is none of these.
    pub fn truth(&self, name: &str) -> Result<Array2<f32>> {
        if self.obsm.contains_key(name) || Path::new(name).exists() {
            return self.embedding(name);
        }
        let layer = read(&self.path, &ReadOptions { layer: Some(name.to_owned()), ..ReadOptions::default() })?;
        let mut rows = Csr::empty(layer.n_genes());
        layer.x().source()?.read_range(0..layer.n_cells(), &mut rows).in_file(&self.path, "")?;
        Ok(rows.to_dense())
    }
}
