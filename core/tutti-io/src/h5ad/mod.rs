//! h5ad files, all versions that anndata has written since 0.5.

mod element;
mod frame;
mod matrix;
mod write;

use std::path::Path;

use hdf5::{File, Group};
use ndarray::Array2;
use tutti::data::CellSource;

pub(crate) use element::{numbers, texts};
pub(crate) use matrix::{Layout, SparseGroup, read_row_offsets};
pub(crate) use write::write_matrices;
pub use write::{Additions, ObsColumn, add_to_copy, write_expression, write_h5ad, write_layers};

use crate::anndata::{AnnData, Backed, Matrix, ReadOptions};
use crate::backed::BackedH5ad;
use crate::error::{Error, InFile, Result};
use matrix::locate;

/// Stored values above which `Backed::Auto` leaves the matrix on disk.
const IN_MEMORY: usize = 200_000_000;

/// Reads an h5ad file.
pub(crate) fn read(path: &Path, options: &ReadOptions) -> Result<AnnData> {
    let file = open(path)?;
    let obs = frame::read(&file, "obs", path)?;
    let raw_var = if file.link_exists("raw") { "raw/var" } else { "raw.var" };
    let var = frame::read(&file, if options.raw { raw_var } else { "var" }, path)?;
    let x = match options.without_x {
        true => Matrix::None,
        false => matrix(&file, path, options, &obs.names, &var.names)?,
    };
    let mut data = AnnData::new(path, x, obs.names, var.names);
    data.set_obs(obs.columns)?;
    data.set_var(&var.columns)?;
    for (table, skipped) in [("obs", obs.skipped), ("var", var.skipped)] {
        if !skipped.is_empty() {
            data.notes.push(format!("columns of {table} not read, their encoding is not known: {}", skipped.join(", ")));
        }
    }
    read_obsm(&file, &mut data)?;
    for ignored in ["obsp", "varp"] {
        let names = file.group(ignored).and_then(|g| g.member_names()).unwrap_or_default();
        if !names.is_empty() {
            data.notes.push(format!("{ignored} not read: {}", names.join(", ")));
        }
    }
    Ok(data)
}

/// Opens an HDF5 file for reading.
pub(crate) fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| {
        let mut start = [0u8; 8];
        let read = std::fs::File::open(path).and_then(|mut f| std::io::Read::read_exact(&mut f, &mut start));
        if read.is_err() || &start != b"\x89HDF\r\n\x1a\n" {
            return Error::format(path, "this is no HDF5 file", "give the right file");
        }
        let problem = format!("it cannot be opened ({error})");
        Error::format(path, problem, "it is cut off, or another program is writing to it; copy it again or close that program")
    })
}

fn matrix(file: &File, path: &Path, options: &ReadOptions, cells: &[String], genes: &[String]) -> Result<Matrix> {
    let shape = (cells.len(), genes.len());
    let name = match (&options.layer, options.raw) {
        (Some(layer), _) => {
            let layers = file.group("layers").and_then(|g| g.member_names()).unwrap_or_default();
            if !layers.contains(layer) {
                let there =
                    if layers.is_empty() { "it has none".into() } else { format!("its layers are: {}", layers.join(", ")) };
                return Err(Error::format(path, format!("there is no layer `{layer}`"), there));
            }
            format!("layers/{layer}")
        }
        (None, true) if file.link_exists("raw") => "raw/X".to_owned(),
        (None, true) => "raw.X".to_owned(),
        (None, false) => "X".to_owned(),
    };
    let top = name.split('/').next().unwrap_or(&name);
    if !file.link_exists(top) || !file.link_exists(&name) {
        if name == "X" {
            return Ok(Matrix::None);
        }
        return Err(Error::format(path, format!("there is no `{name}`"), "the file has X only"));
    }
    let (layout, found) = locate(file, &name, path)?;
    if found.0 != shape.0 || found.1 != shape.1 {
        let problem = format!("`{name}` is {} x {} but there are {} cells and {} genes", found.0, found.1, shape.0, shape.1);
        return Err(Error::format(path, problem, "write the file again"));
    }
    let on_disk = match options.backed {
        Backed::Never => false,
        Backed::Always => true,
        Backed::Auto => layout.n_stored() > IN_MEMORY,
    };
    match (on_disk, layout) {
        (true, Layout::Csc(_)) => {
            let problem = format!("`{name}` is stored by column and cannot be read by cells from disk");
            Err(Error::format(path, problem, "store it as CSR (`adata.X = adata.X.tocsr()`)"))
        }
        (true, layout) => Ok(Matrix::Disk(BackedH5ad::new(path, layout, shape)?.into())),
        (false, layout) => match layout.read_all(shape, path) {
            Err(Error::Value { path, value, cell, gene }) => {
                let named = |number: usize, names: &[String]| names.get(number).cloned().unwrap_or_else(|| number.to_string());
                let what = format!("value {value} in `{name}`");
                let fix = "replace it by a finite number or leave the cell out".to_owned();
                let source = tutti::Error::Value { what, cell: named(cell, cells), gene: named(gene, genes), fix };
                Err(Error::Content { path, source })
            }
            read => Ok(Matrix::Memory(read?.into())),
        },
    }
}

fn read_obsm(file: &File, data: &mut AnnData) -> Result<()> {
    let path = data.path.clone();
    let Ok(group) = file.group("obsm") else {
        if file.link_exists("obsm") {
            data.notes.push("obsm of this old file is not read".into());
        }
        return Ok(());
    };
    for name in group.member_names().in_file(&path, "obsm")? {
        match obsm_array(&group, &name, data.n_cells(), &path)? {
            Some(array) => {
                data.obsm.insert(name, array);
            }
            None if is_sparse(&group, &name) => {
                let (layout, shape) = locate(file, &format!("obsm/{name}"), &path)?;
                if shape.0 == data.n_cells() {
                    match layout.read_all(shape, &path) {
                        Ok(matrix) => _ = data.sparse_obsm.insert(name, matrix),
                        // Who does not ask for it need not care.
                        Err(Error::Value { value, cell, gene, .. }) => {
                            let cell = data.cell_names().get(cell).cloned().unwrap_or_else(|| cell.to_string());
                            data.notes.push(format!("{}: value {value} of cell {cell} in column {}", unread(&name), gene + 1));
                        }
                        Err(other) => return Err(other),
                    }
                }
            }
            None => data.notes.push(format!("{}: it is no dense array of numbers with a row per cell", unread(&name))),
        }
    }
    Ok(())
}

/// How a note on a matrix that is left out begins.
pub(crate) fn unread(name: &str) -> String {
    format!("obsm `{name}` not read")
}

fn is_sparse(group: &Group, name: &str) -> bool {
    let encoding = group.group(name).ok().and_then(|g| element::attribute(&g, "encoding-type"));
    encoding.is_some_and(|kind| kind.starts_with("csr") || kind.starts_with("csc"))
}

fn obsm_array(group: &Group, name: &str, n_cells: usize, path: &Path) -> Result<Option<Array2<f32>>> {
    let Ok(dataset) = group.dataset(name) else { return Ok(None) };
    let shape = dataset.shape();
    if shape.len() != 2 || shape[0] != n_cells || !element::is_number(&dataset) {
        return Ok(None);
    }
    element::check_extent(&dataset, path)?;
    let values = dataset.read_raw::<f32>().in_file(path, &format!("obsm `{name}`"))?;
    Ok(Array2::from_shape_vec((shape[0], shape[1]), values).ok())
}

/// Cells x genes of a source, checked against names before writing.
pub(crate) fn check_shape(source: &dyn CellSource, cells: &[String], genes: &[String], path: &Path) -> Result<()> {
    if source.n_cells() != cells.len() || source.n_genes() != genes.len() {
        let problem = format!(
            "a matrix of {} x {} for {} cells and {} genes",
            source.n_cells(),
            source.n_genes(),
            cells.len(),
            genes.len()
        );
        return Err(Error::format(path, problem, "give names that fit"));
    }
    Ok(())
}
