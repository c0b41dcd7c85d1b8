//! Embeddings of the cells of a file, from the file itself or from another tool's; used by `score` and `transfer`.

use std::collections::HashMap;
use std::path::Path;

use ndarray::Array2;
use tutti::data::Csr;
use tutti_io::{AnnData, ReadOptions};

use crate::Result;
use crate::error::CliError;

/// An embedding of the cells of `data`, or one of the layers of its file.
pub fn truth(data: &AnnData, name: &str) -> Result<Array2<f32>> {
    if data.obsm().contains_key(name) || Path::new(name).exists() {
        return embedding(data, name);
    }
    let options = ReadOptions { layer: Some(name.to_owned()), ..ReadOptions::default() };
    let layer = tutti_io::read(data.path(), &options)?;
    let mut rows = Csr::empty(layer.n_genes());
    layer.x().source()?.read_range(0..layer.n_cells(), &mut rows)?;
    Ok(rows.to_dense())
}

/// An embedding of the cells of `data`, in their order.
pub fn embedding(data: &AnnData, name: &str) -> Result<Array2<f32>> {
    if let Some(x) = data.obsm().get(name) {
        return Ok(x.clone());
    }
    let path = Path::new(name);
    if !path.exists() {
        let known: Vec<&str> = data.obsm().keys().map(String::as_str).collect();
        let file = data.path().display();
        let problem = format!("{file}: `{name}` is neither in obsm ({}) nor a file", known.join(", "));
        return Err(CliError::Usage(problem));
    }
    let table = tutti_io::read(path, &ReadOptions::default())?;
    let place: HashMap<&String, usize> = table.cell_names().iter().zip(0..).collect();
    let rows: Option<Vec<usize>> = data.cell_names().iter().map(|cell| place.get(cell).copied()).collect();
    let Some(rows) = rows else {
        let lacking = data.cell_names().iter().filter(|cell| !place.contains_key(cell)).count();
        let first = data.cell_names().iter().find(|cell| !place.contains_key(cell)).cloned().unwrap_or_default();
        let problem = format!("{name} lacks {lacking} of {} cells, the first is `{first}`", data.n_cells());
        return Err(CliError::Science(tutti::Error::Data { problem, fix: "its first column must hold the cell names".into() }));
    };
    let mut out = Csr::empty(table.n_genes());
    table.x().source()?.read_rows(&rows, &mut out)?;
    Ok(out.to_dense())
}
