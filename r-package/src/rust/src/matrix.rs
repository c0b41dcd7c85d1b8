//! R's matrices and columns as the core takes them.

use std::sync::Arc;

use extendr_api::prelude::*;
use ndarray::Array2;
use tutti::data::{Categorical, CellSource, Cells, Csr, CsrView, Indices, Offsets, Stacked, Values};

use crate::blocks::Blocks;
use crate::guard::Failure;

type Outcome<T> = std::result::Result<T, Failure>;

/// Cells over R's own memory.
pub struct BorrowedCells {
    pub cells: Cells<'static>,
    /// Keeps the memory that `cells` reads; dropped after it.
    _matrices: Vec<Robj>,
}

/// Cells from `list(matrices, cells, genes, columns, ..)`: matrices of genes x cells with the same genes, side by side, of class dgCMatrix or
/// read into [`Blocks`]; columns as factors by name.
pub fn cells(input: &Robj) -> Outcome<BorrowedCells> {
    let genes = strings(&field(input, "genes")?)?;
    let names = strings(&field(input, "cells")?)?;
    let matrices: Vec<Robj> = list(&field(input, "matrices")?)?.values().collect();
    let mut parts: Vec<Arc<dyn CellSource>> = Vec::with_capacity(matrices.len());
    for matrix in &matrices {
        match Blocks::of(matrix)? {
            Some(blocks) => parts.extend(blocks),
            None => parts.push(Arc::new(view(matrix)?)),
        }
    }
    let mut cells = Cells::new(Stacked::new(parts)?, names, genes)?;
    for (name, column) in list(&field(input, "columns")?)?.iter() {
        cells = cells.with_column(name, factor(&column)?)?;
    }
    Ok(BorrowedCells { cells, _matrices: matrices })
}

/// The dgCMatrix as cells x genes, without a copy: its columns, the cells, are compressed rows here. The caller keeps `matrix` for as long as
/// the view lives.
pub fn view(matrix: &Robj) -> Outcome<CsrView<'static>> {
    let slot =
        |name: &str| matrix.get_attrib(name).ok_or_else(|| Failure::new("internal", format!("a matrix without slot {name}")));
    let (p, i, x, dim) = (slot("p")?, slot("i")?, slot("x")?, slot("Dim")?);
    let wrong = |name: &str| Failure::new("internal", format!("slot {name} of a matrix has another type"));
    let offsets: &'static [i32] = p.as_integer_slice().ok_or_else(|| wrong("p"))?;
    let indices: &'static [i32] = i.as_integer_slice().ok_or_else(|| wrong("i"))?;
    let n_genes = dim.as_integer_slice().and_then(|d| d.first().copied()).ok_or_else(|| wrong("Dim"))?;
    let values = x.as_real_slice().ok_or_else(|| wrong("x"))?;
    // SAFETY: the slots are parts of `matrix`, which the caller keeps protected for as long as the view lives (`BorrowedCells`), R moves no
    // vector, and nothing writes into them: the package hands over matrices that R code can still see, which R copies before a change.
    let values: &'static [f64] = unsafe { std::mem::transmute::<&[f64], &'static [f64]>(values) };
    if let Some(at) = values.iter().position(|v| !(*v as f32).is_finite()) {
        let cell = offsets.partition_point(|start| *start as usize <= at) - 1;
        return Err(tutti::Error::Value {
            what: format!("value {:?}", values[at]),
            cell: name_along(matrix, 1, cell),
            gene: name_along(matrix, 0, indices[at] as usize),
            fix: "replace it by a finite number or drop the cell".into(),
        }
        .into());
    }
    Ok(CsrView::new(n_genes as usize, Offsets::I32(offsets), Indices::I32(indices), Values::F64(values))?)
}

/// Name of a row (0) or column (1) of a matrix, or its number.
fn name_along(matrix: &Robj, margin: usize, at: usize) -> String {
    let names = matrix.get_attrib("Dimnames").and_then(|d| d.as_list()).and_then(|d| d.values().nth(margin));
    let name = names.and_then(|n| n.as_string_vector()).and_then(|n| n.into_iter().nth(at));
    name.unwrap_or_else(|| format!("number {}", at + 1))
}

/// A factor, NA as missing.
pub fn factor(robj: &Robj) -> Outcome<Categorical> {
    let codes = robj.as_integer_slice().ok_or_else(|| Failure::new("internal", "a column that is no factor"))?;
    let levels = robj.get_attrib("levels").map(|l| strings(&l)).transpose()?.unwrap_or_default();
    // NA is the smallest integer.
    let code = |c: &i32| c.checked_sub(1).and_then(|c| u32::try_from(c).ok());
    Ok(Categorical::new(codes.iter().map(code).collect(), levels)?)
}

/// A numeric matrix as single precision.
pub fn dense(robj: &Robj) -> Outcome<Array2<f32>> {
    let wrong = || Failure::new("internal", "a matrix of another type");
    let dim = robj.get_attrib("dim").ok_or_else(wrong)?;
    let (dim, values) = (dim.as_integer_slice().ok_or_else(wrong)?, robj.as_real_slice().ok_or_else(wrong)?);
    let [rows, columns] = dim[..] else { return Err(wrong()) };
    let (rows, columns) = (rows as usize, columns as usize);
    Ok(Array2::from_shape_fn((rows, columns), |(i, j)| values[i + j * rows] as f32))
}

/// The numeric matrix at R's precision.
pub fn to_robj(x: &Array2<f32>) -> Robj {
    RMatrix::new_matrix(x.nrows(), x.ncols(), |i, j| f64::from(x[[i, j]])).into()
}

/// A member of a list.
pub fn field(robj: &Robj, name: &str) -> Outcome<Robj> {
    let list = list(robj)?;
    let found = list.iter().find(|(n, _)| *n == name).map(|(_, v)| v);
    found.ok_or_else(|| Failure::new("internal", format!("`{name}` was not handed over")))
}

/// A member of a list that may be NULL.
pub fn optional(robj: &Robj, name: &str) -> Outcome<Option<Robj>> {
    Ok(Some(field(robj, name)?).filter(|v| !v.is_null()))
}

/// A list.
pub fn list(robj: &Robj) -> Outcome<List> {
    robj.as_list().ok_or_else(|| Failure::new("internal", "a value that is no list"))
}

/// A character vector.
pub fn strings(robj: &Robj) -> Outcome<Vec<String>> {
    robj.as_string_vector().ok_or_else(|| Failure::new("internal", "a value that is no character vector"))
}

/// Two columns of text, `list(first, second)`, as pairs.
pub fn pairs(robj: &Robj) -> Outcome<Vec<(String, String)>> {
    let (first, second) = (strings(&field(robj, "first")?)?, strings(&field(robj, "second")?)?);
    Ok(first.into_iter().zip(second).collect())
}

/// A single string of a list.
pub fn text(robj: &Robj, name: &str) -> Outcome<String> {
    field(robj, name)?.as_str().map(str::to_owned).ok_or_else(|| Failure::new("internal", format!("`{name}` is no string")))
}

/// A single number of a list.
pub fn number(robj: &Robj, name: &str) -> Outcome<f64> {
    let value = field(robj, name)?;
    let number = value.as_real().or_else(|| value.as_integer().map(f64::from));
    number.ok_or_else(|| Failure::new("internal", format!("`{name}` is no number")))
}

/// Slots of a dgCMatrix of genes x cells.
pub fn columns_of(x: &Csr) -> Robj {
    List::from_pairs([
        ("p", Robj::from(x.indptr().iter().map(|p| *p as i32).collect::<Vec<_>>())),
        ("i", x.indices().iter().map(|i| *i as i32).collect::<Vec<_>>().into()),
        ("x", x.values().iter().map(|v| f64::from(*v)).collect::<Vec<_>>().into()),
        ("dim", vec![x.n_cols() as i32, x.n_rows() as i32].into()),
    ])
    .into()
}
