//! h5ad files as anndata 0.12 writes them.

use std::path::Path;

use hdf5::types::VarLenUnicode;
use hdf5::{File, Group, Location};
use ndarray::{Array2, ArrayView2};
use polars::prelude::{DataFrame, DataType};
use serde_json::Value;
use tutti::data::{Categorical, CellSource, Csr, row_blocks};

use super::check_shape;
use super::element::{attribute, attribute_list};
use crate::error::{Error, InFile, Result};
use crate::table::write_through_temporary;

/// A column that is added to obs.
#[derive(Debug, Clone, PartialEq)]
pub enum ObsColumn {
    /// Numbers.
    Float(Vec<f32>),
    /// Categories; `None` is missing.
    Category(Vec<Option<String>>),
    /// Categories with an order of their own.
    Levels(Categorical),
    /// Text; `None` becomes empty.
    Text(Vec<Option<String>>),
    /// True or false.
    Bool(Vec<bool>),
}

/// What a run adds to a file. A `/` in a name becomes `_`: in HDF5 it divides the names of groups.
#[derive(Debug, Clone, Default)]
pub struct Additions {
    /// Arrays per cell, by name.
    pub obsm: Vec<(String, Array2<f32>)>,
    /// Columns of obs.
    pub obs: Vec<(String, ObsColumn)>,
    /// Parameters of the run, stored under `uns/tutti`.
    pub uns: Value,
}

/// Writes a new file. Nothing stands under the final name before all is written.
///
/// # Errors
/// Names that do not fit the matrix; what HDF5 or the system refuses.
pub fn write_h5ad(
    path: &Path,
    cells: &[String],
    genes: &[String],
    obs: &DataFrame,
    var: &DataFrame,
    x: Option<&dyn CellSource>,
    additions: &Additions,
) -> Result<()> {
    write_matrices(path, (cells, genes), (obs, var), x, &[], additions)
}

/// Writes matrices that are read or drawn block by block, `x` and `layers` of the same cells and genes, each as CSR. Memory: one block of
/// 4096 rows, the names, the columns of `additions`, and 8 bytes per cell.
///
/// # Errors
/// As [`write_h5ad`], and those of the sources.
pub fn write_layers(
    path: &Path,
    cells: &[String],
    genes: &[String],
    x: &dyn CellSource,
    layers: &[(&str, &dyn CellSource)],
    additions: &Additions,
) -> Result<()> {
    let plain = |n| DataFrame::empty_with_height(n);
    write_matrices(path, (cells, genes), (&plain(cells.len()), &plain(genes.len())), Some(x), layers, additions)
}

/// Names and tables are of cells, then of genes.
pub(crate) fn write_matrices(
    path: &Path,
    (cells, genes): (&[String], &[String]),
    (obs, var): (&DataFrame, &DataFrame),
    x: Option<&dyn CellSource>,
    layers: &[(&str, &dyn CellSource)],
    additions: &Additions,
) -> Result<()> {
    for source in x.iter().chain(layers.iter().map(|(_, source)| source)) {
        check_shape(*source, cells, genes, path)?;
    }
    write_through_temporary(path, |temporary| {
        let file = new_file(temporary, cells, genes, obs, var, path)?;
        if let Some(source) = x {
            write_csr(&file, "X", source, path)?;
        }
        for (name, source) in layers {
            write_csr(&file, &format!("layers/{}", key(name)), *source, path)?;
        }
        add(&file, cells.len(), additions, path)?;
        file.close().in_file(path, "")
    })
}

fn new_file(temporary: &Path, cells: &[String], genes: &[String], obs: &DataFrame, var: &DataFrame, path: &Path) -> Result<File> {
    let file = File::create(temporary).in_file(path, "")?;
    encoding(&file, "anndata", "0.1.0", path)?;
    write_frame(&file, "obs", cells, obs, path)?;
    write_frame(&file, "var", genes, var, path)?;
    for name in ["layers", "obsm", "obsp", "uns", "varm", "varp"] {
        let group = file.create_group(name).in_file(path, name)?;
        encoding(&group, "dict", "0.1.0", path)?;
    }
    Ok(file)
}

/// Writes expression of some genes, with the cells' obs.
///
/// # Errors
/// As [`write_h5ad`].
pub fn write_expression(
    path: &Path,
    cells: &[String],
    genes: &[String],
    obs: &DataFrame,
    x: &Csr,
    additions: &Additions,
) -> Result<()> {
    write_h5ad(path, cells, genes, obs, &DataFrame::empty_with_height(genes.len()), Some(x), additions)
}

/// Copies `input` to `output` and adds to the copy; everything that was there stays. What has the name of an addition is replaced.
///
/// # Errors
/// An output that is the input; a file of anndata before 0.7, whose tables cannot take columns or arrays; what HDF5 or the system refuses.
pub fn add_to_copy(input: &Path, output: &Path, additions: &Additions) -> Result<()> {
    if let (Ok(a), Ok(b)) = (input.canonicalize(), output.canonicalize())
        && a == b
    {
        return Err(Error::format(output, "the copy would replace its original", "give another output"));
    }
    write_through_temporary(output, |temporary| {
        // The content only: a read-only input must not make the copy read-only.
        let mut from = std::fs::File::open(input).in_file(input, "")?;
        let mut to = std::fs::File::create(temporary).in_file(output, "")?;
        std::io::copy(&mut from, &mut to).in_file(output, "")?;
        drop(to);
        let file = File::open_rw(temporary).in_file(input, "")?;
        let Ok(obs) = file.group("obs") else {
            let fix = "open and write it once with a newer anndata, or write the embedding to .csv or .parquet";
            return Err(Error::format(input, "tables of anndata before 0.7 cannot be added to", fix));
        };
        let index = attribute(&obs, "_index").unwrap_or_else(|| "_index".into());
        let n_cells = obs.dataset(&index).in_file(input, "obs index")?.size();
        for name in ["obsm", "uns"] {
            if !file.link_exists(name) {
                let group = file.create_group(name).in_file(output, name)?;
                encoding(&group, "dict", "0.1.0", output)?;
            }
        }
        add(&file, n_cells, additions, output)?;
        file.close().in_file(output, "")
    })
}

fn add(file: &File, n_cells: usize, additions: &Additions, path: &Path) -> Result<()> {
    let obsm = file.group("obsm").in_file(path, "obsm")?;
    for (name, array) in &additions.obsm {
        let name = &key(name);
        if array.nrows() != n_cells {
            return Err(Error::format(
                path,
                format!("`{name}` has {} rows for {n_cells} cells", array.nrows()),
                "give a row per cell",
            ));
        }
        replace(&obsm, name, path)?;
        write_dense(&obsm, name, array.view(), path)?;
    }
    let obs = file.group("obs").in_file(path, "obs")?;
    for (name, column) in &additions.obs {
        let name = &key(name);
        replace(&obs, name, path)?;
        write_added_column(&obs, name, column, path)?;
    }
    if !additions.obs.is_empty() {
        extend_column_order(&obs, additions.obs.iter().map(|(n, _)| key(n)), path)?;
    }
    if !additions.uns.is_null() {
        let uns = file.group("uns").in_file(path, "uns")?;
        replace(&uns, "tutti", path)?;
        write_value(&uns, "tutti", &additions.uns, path)?;
    }
    Ok(())
}

/// The name in the file: HDF5 takes a slash as a path.
fn key(name: &str) -> String {
    name.replace('/', "_")
}

fn replace(group: &Group, name: &str, path: &Path) -> Result<()> {
    if group.link_exists(name) { group.unlink(name).in_file(path, name) } else { Ok(()) }
}

fn extend_column_order(obs: &Group, added: impl Iterator<Item = String>, path: &Path) -> Result<()> {
    let mut order = attribute_list(obs, "column-order").unwrap_or_default();
    for name in added {
        if !order.contains(&name) {
            order.push(name);
        }
    }
    if obs.attr("column-order").is_ok() {
        obs.delete_attr("column-order").in_file(path, "column-order")?;
    }
    attribute_texts(obs, "column-order", &order, path)
}

fn write_added_column(obs: &Group, name: &str, column: &ObsColumn, path: &Path) -> Result<()> {
    match column {
        ObsColumn::Float(values) => write_array(obs, name, values, path),
        ObsColumn::Bool(values) => write_array(obs, name, values, path),
        ObsColumn::Levels(column) => write_categorical(obs, name, column, path),
        ObsColumn::Text(values) => {
            let values: Vec<String> = values.iter().map(|v| v.clone().unwrap_or_default()).collect();
            write_texts(obs, name, &values, path)
        }
        ObsColumn::Category(values) => {
            write_categorical(obs, name, &Categorical::from_values(values.iter().map(Option::as_deref)), path)
        }
    }
}

fn write_frame(file: &File, name: &str, index: &[String], frame: &DataFrame, path: &Path) -> Result<()> {
    let group = file.create_group(name).in_file(path, name)?;
    encoding(&group, "dataframe", "0.2.0", path)?;
    attribute_text(&group, "_index", "_index", path)?;
    let names: Vec<String> = frame.get_column_names().iter().map(|n| n.to_string()).collect();
    attribute_texts(&group, "column-order", &names, path)?;
    write_texts(&group, "_index", index, path)?;
    for column in frame.columns() {
        let (name, series) = (column.name().to_string(), column.as_materialized_series());
        match series.dtype() {
            DataType::String => {
                let values = series.str().in_file(path, &name)?;
                write_categorical(&group, &name, &Categorical::from_values(values.iter()), path)?;
            }
            DataType::Boolean if series.null_count() == 0 => {
                let values: Vec<bool> = series.bool().in_file(path, &name)?.iter().flatten().collect();
                write_array(&group, &name, &values, path)?;
            }
            dtype if dtype.is_integer() && series.null_count() == 0 => {
                let cast = series.cast(&DataType::Int64).in_file(path, &name)?;
                let values: Vec<i64> = cast.i64().in_file(path, &name)?.iter().flatten().collect();
                write_array(&group, &name, &values, path)?;
            }
            _ => {
                let cast = series.cast(&DataType::Float64).in_file(path, &name)?;
                let values: Vec<f64> = cast.f64().in_file(path, &name)?.iter().map(|v| v.unwrap_or(f64::NAN)).collect();
                write_array(&group, &name, &values, path)?;
            }
        }
    }
    Ok(())
}

fn write_categorical(group: &Group, name: &str, column: &Categorical, path: &Path) -> Result<()> {
    let group = group.create_group(name).in_file(path, name)?;
    encoding(&group, "categorical", "0.2.0", path)?;
    group.new_attr::<bool>().create("ordered").and_then(|a| a.write_scalar(&false)).in_file(path, name)?;
    let codes: Vec<i32> = column.codes().iter().map(|c| c.map_or(-1, |c| c as i32)).collect();
    write_array(&group, "codes", &codes, path)?;
    write_texts(&group, "categories", column.levels(), path)
}

fn write_array<T: hdf5::H5Type>(group: &Group, name: &str, values: &[T], path: &Path) -> Result<()> {
    let dataset = group.new_dataset::<T>().shape(values.len()).create(name).in_file(path, name)?;
    dataset.write_raw(values).in_file(path, name)?;
    encoding(&dataset, "array", "0.2.0", path)
}

fn write_dense(group: &Group, name: &str, values: ArrayView2<'_, f32>, path: &Path) -> Result<()> {
    let dataset = group.new_dataset::<f32>().shape(values.dim()).create(name).in_file(path, name)?;
    dataset.write(values.as_standard_layout().view()).in_file(path, name)?;
    encoding(&dataset, "array", "0.2.0", path)
}

fn write_texts(group: &Group, name: &str, values: &[String], path: &Path) -> Result<()> {
    let values = values.iter().map(|v| text(v, path)).collect::<Result<Vec<_>>>()?;
    let dataset = group.new_dataset::<VarLenUnicode>().shape(values.len()).create(name).in_file(path, name)?;
    dataset.write_raw(&values).in_file(path, name)?;
    encoding(&dataset, "string-array", "0.2.0", path)
}

/// Values that one write call holds in memory.
const WRITE_BLOCK: usize = 4096;

fn write_csr(file: &File, name: &str, source: &dyn CellSource, path: &Path) -> Result<()> {
    let group = file.create_group(name).in_file(path, name)?;
    encoding(&group, "csr_matrix", "0.1.0", path)?;
    let shape = [source.n_cells() as i64, source.n_genes() as i64];
    group.new_attr::<i64>().shape(2).create("shape").and_then(|a| a.write_raw(&shape)).in_file(path, name)?;
    let resizable = |name: &str, float: bool| {
        let extent = hdf5::Extents::from(0..);
        let builder = if float { group.new_dataset::<f32>() } else { group.new_dataset::<i32>() };
        builder.chunk(1 << 16).deflate(4).shape(extent).create(name).in_file(path, name)
    };
    let (data, indices) = (resizable("data", true)?, resizable("indices", false)?);
    let mut indptr: Vec<i64> = vec![0];
    let mut rows = Csr::empty(source.n_genes());
    let mut written = 0usize;
    for block in row_blocks(source.n_cells(), WRITE_BLOCK) {
        source.read_range(block, &mut rows).in_file(path, name)?;
        let end = written + rows.nnz();
        if end > written {
            let columns: Vec<i32> = rows.indices().iter().map(|c| *c as i32).collect();
            data.resize(end).and_then(|()| data.write_slice(rows.values(), written..end)).in_file(path, name)?;
            indices.resize(end).and_then(|()| indices.write_slice(&columns, written..end)).in_file(path, name)?;
        }
        indptr.extend(rows.indptr()[1..].iter().map(|p| (written + p) as i64));
        written = end;
    }
    let dataset = group.new_dataset::<i64>().shape(indptr.len()).create("indptr").in_file(path, name)?;
    dataset.write_raw(&indptr).in_file(path, name)
}

/// A JSON value as nested groups, scalars and arrays; nulls and mixed lists are stored as JSON text.
fn write_value(group: &Group, name: &str, value: &Value, path: &Path) -> Result<()> {
    let name = key(name);
    match value {
        Value::Object(map) => {
            let inner = group.create_group(&name).in_file(path, &name)?;
            encoding(&inner, "dict", "0.1.0", path)?;
            map.iter().try_for_each(|(key, value)| write_value(&inner, key, value, path))
        }
        Value::Bool(b) => scalar(group, &name, b, path),
        Value::Number(n) => match n.as_i64() {
            Some(n) => scalar(group, &name, &n, path),
            None => scalar(group, &name, &n.as_f64().unwrap_or(f64::NAN), path),
        },
        Value::String(s) => text_scalar(group, &name, s, path),
        Value::Array(list) if !list.is_empty() && list.iter().all(Value::is_string) => {
            let values: Vec<String> = list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect();
            write_texts(group, &name, &values, path)
        }
        Value::Array(list) if !list.is_empty() && list.iter().all(Value::is_number) => {
            let values: Vec<f64> = list.iter().filter_map(Value::as_f64).collect();
            write_array(group, &name, &values, path)
        }
        Value::Null | Value::Array(_) => text_scalar(group, &name, &value.to_string(), path),
    }
}

fn scalar<T: hdf5::H5Type>(group: &Group, name: &str, value: &T, path: &Path) -> Result<()> {
    let dataset = group.new_dataset::<T>().create(name).in_file(path, name)?;
    dataset.write_scalar(value).in_file(path, name)?;
    encoding(&dataset, "numeric-scalar", "0.2.0", path)
}

fn text_scalar(group: &Group, name: &str, value: &str, path: &Path) -> Result<()> {
    let dataset = group.new_dataset::<VarLenUnicode>().create(name).in_file(path, name)?;
    dataset.write_scalar(&text(value, path)?).in_file(path, name)?;
    encoding(&dataset, "string", "0.2.0", path)
}

fn encoding(location: &Location, kind: &str, version: &str, path: &Path) -> Result<()> {
    attribute_text(location, "encoding-type", kind, path)?;
    attribute_text(location, "encoding-version", version, path)
}

fn attribute_text(location: &Location, name: &str, value: &str, path: &Path) -> Result<()> {
    let value = text(value, path)?;
    location.new_attr::<VarLenUnicode>().create(name).and_then(|a| a.write_scalar(&value)).in_file(path, name)
}

fn attribute_texts(location: &Location, name: &str, values: &[String], path: &Path) -> Result<()> {
    let values = values.iter().map(|v| text(v, path)).collect::<Result<Vec<_>>>()?;
    let attribute = location.new_attr::<VarLenUnicode>().shape(values.len()).create(name).in_file(path, name)?;
    if values.is_empty() { Ok(()) } else { attribute.write_raw(&values).in_file(path, name) }
}

fn text(value: &str, path: &Path) -> Result<VarLenUnicode> {
    value.parse().map_err(|_| Error::format(path, format!("text {value:?} has a zero character"), "remove it"))
}
