//! Compressed sparse rows: owned in one representation, borrowed in any.

use std::ops::Range;

use super::CellSource;
use crate::error::{Error, Result};

/// Owned sparse matrix, rows are cells, columns are genes.
///
/// Column numbers of a row are strictly ascending and values are finite; [`Csr::new`] checks it. Memory: 8 bytes per stored value and
/// 8 bytes per row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Csr {
    n_cols: usize,
    indptr: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f32>,
}

impl Csr {
    /// Checks and takes over the three arrays. `indptr`: n_rows + 1 offsets; `indices` and `values`: one per stored value.
    ///
    /// # Errors
    /// [`Error::Matrix`] for offsets that do not fit, columns out of range or not strictly ascending within a row, or a value that
    /// is not finite.
    pub fn new(n_cols: usize, indptr: Vec<usize>, indices: Vec<u32>, values: Vec<f32>) -> Result<Self> {
        CsrView::new(n_cols, Offsets::Usize(&indptr), Indices::U32(&indices), Values::F32(&values))?;
        Ok(Self { n_cols, indptr, indices, values })
    }

    /// From parts that are known to be in order, as those cut from another matrix.
    pub(crate) fn from_ordered(n_cols: usize, indptr: Vec<usize>, indices: Vec<u32>, values: Vec<f32>) -> Self {
        Self { n_cols, indptr, indices, values }
    }

    /// A matrix without rows, to be filled by [`Csr::push_row`].
    pub fn empty(n_cols: usize) -> Self {
        Self { n_cols, indptr: vec![0], indices: Vec::new(), values: Vec::new() }
    }

    /// Removes all rows and keeps the memory; the number of columns becomes `n_cols`.
    pub fn clear(&mut self, n_cols: usize) {
        self.n_cols = n_cols;
        self.indptr.clear();
        self.indptr.push(0);
        self.indices.clear();
        self.values.clear();
    }

    /// Makes room for more rows with `nnz` values together.
    pub fn reserve(&mut self, rows: usize, nnz: usize) {
        self.indptr.reserve_exact(rows);
        self.indices.reserve_exact(nnz);
        self.values.reserve_exact(nnz);
    }

    /// Appends a row from (column, value) pairs. The caller keeps columns strictly ascending, below n_cols, and values finite.
    pub fn push_row(&mut self, entries: impl IntoIterator<Item = (u32, f32)>) {
        for (column, value) in entries {
            assert!((column as usize) < self.n_cols, "column {column} of {}", self.n_cols);
            self.indices.push(column);
            self.values.push(value);
        }
        self.indptr.push(self.indices.len());
    }

    /// From a dense matrix, row by row; zeros are not stored.
    ///
    /// # Errors
    /// [`Error::Matrix`] for a value that is not finite.
    pub fn from_dense(x: ndarray::ArrayView2<'_, f32>) -> Result<Self> {
        let mut out = Self::empty(x.ncols());
        for (i, row) in x.rows().into_iter().enumerate() {
            if let Some(j) = row.iter().position(|v| !v.is_finite()) {
                return Err(not_finite(row[j] as f64, i, j));
            }
            out.push_row(row.iter().enumerate().filter(|(_, v)| **v != 0.0).map(|(j, v)| (j as u32, *v)));
        }
        Ok(out)
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.indptr.len().saturating_sub(1)
    }

    /// Number of columns.
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// Number of stored values.
    pub fn nnz(&self) -> usize {
        self.indices.len()
    }

    /// Row offsets, n_rows + 1 of them.
    pub fn indptr(&self) -> &[usize] {
        &self.indptr
    }

    /// Column of each stored value.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Stored values.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Stored values, to be changed in place; they must stay finite.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// Columns and values of row `i`.
    #[inline]
    pub fn row(&self, i: usize) -> (&[u32], &[f32]) {
        let range = self.indptr[i]..self.indptr[i + 1];
        (&self.indices[range.clone()], &self.values[range])
    }

    /// Columns and, to be changed, values of row `i`.
    #[inline]
    pub fn row_mut(&mut self, i: usize) -> (&[u32], &mut [f32]) {
        let range = self.indptr[i]..self.indptr[i + 1];
        (&self.indices[range.clone()], &mut self.values[range])
    }

    /// The same data, borrowed.
    pub fn view(&self) -> CsrView<'_> {
        CsrView {
            n_cols: self.n_cols,
            indptr: Offsets::Usize(&self.indptr),
            indices: Indices::U32(&self.indices),
            values: Values::F32(&self.values),
        }
    }

    /// The transpose (columns become rows), by counting; O(nnz + n_cols).
    pub fn transpose(&self) -> Csr {
        let mut indptr = vec![0usize; self.n_cols + 1];
        for column in &self.indices {
            indptr[*column as usize + 1] += 1;
        }
        for j in 0..self.n_cols {
            indptr[j + 1] += indptr[j];
        }
        let mut next = indptr.clone();
        let (mut indices, mut values) = (vec![0u32; self.nnz()], vec![0f32; self.nnz()]);
        for i in 0..self.n_rows() {
            let (columns, row_values) = self.row(i);
            for (column, value) in columns.iter().zip(row_values) {
                let at = next[*column as usize];
                next[*column as usize] += 1;
                indices[at] = i as u32;
                values[at] = *value;
            }
        }
        Csr { n_cols: self.n_rows(), indptr, indices, values }
    }

    /// Dense copy, [n_rows, n_cols] row-major. For mini-batches and tests.
    pub fn to_dense(&self) -> ndarray::Array2<f32> {
        let mut out = ndarray::Array2::zeros((self.n_rows(), self.n_cols));
        for i in 0..self.n_rows() {
            let (columns, values) = self.row(i);
            for (column, value) in columns.iter().zip(values) {
                out[[i, *column as usize]] = *value;
            }
        }
        out
    }
}

/// Borrowed row offsets.
#[derive(Debug, Clone, Copy)]
pub enum Offsets<'a> {
    /// As this crate stores them.
    Usize(&'a [usize]),
    /// As R's `dgCMatrix` and most h5ad files store them.
    I32(&'a [i32]),
    /// As large scipy matrices store them.
    I64(&'a [i64]),
}

/// Borrowed column numbers.
#[derive(Debug, Clone, Copy)]
pub enum Indices<'a> {
    /// As this crate stores them.
    U32(&'a [u32]),
    /// As R's `dgCMatrix` stores them.
    I32(&'a [i32]),
    /// As large scipy matrices store them.
    I64(&'a [i64]),
}

/// Borrowed values.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Double precision, as R stores them; read as single precision.
    F64(&'a [f64]),
    /// Counts.
    U32(&'a [u32]),
    /// Counts, signed.
    I32(&'a [i32]),
}

macro_rules! borrowed {
    ($name:ident, $get:ident -> $out:ty, $($variant:ident),+) => {
        impl $name<'_> {
            fn len(&self) -> usize {
                match self { $(Self::$variant(x) => x.len()),+ }
            }
            #[inline]
            fn $get(&self, i: usize) -> $out {
                match self { $(Self::$variant(x) => x[i] as $out),+ }
            }
        }
    };
}
borrowed!(Offsets, at -> i64, Usize, I32, I64);
borrowed!(Indices, at -> i64, U32, I32, I64);
borrowed!(Values, at -> f64, F32, F64, U32, I32);

/// Borrowed sparse matrix, rows are cells, columns are genes, over the caller's own arrays.
///
/// R's `dgCMatrix` of genes x cells, compressed by column, is exactly this for cells x genes: no copy is made.
#[derive(Debug, Clone, Copy)]
pub struct CsrView<'a> {
    n_cols: usize,
    indptr: Offsets<'a>,
    indices: Indices<'a>,
    values: Values<'a>,
}

impl<'a> CsrView<'a> {
    /// Checks the three arrays once, so that all later code can trust them; O(nnz).
    ///
    /// # Errors
    /// [`Error::Matrix`] for offsets that do not fit, columns out of range or not strictly ascending within a row, or a value that
    /// is not finite.
    pub fn new(n_cols: usize, indptr: Offsets<'a>, indices: Indices<'a>, values: Values<'a>) -> Result<Self> {
        let fix = "write the matrix again with the tool that made it";
        if n_cols > u32::MAX as usize {
            return Err(Error::matrix(format!("{n_cols} columns"), "at most 4294967295 genes are possible"));
        }
        let nnz = indices.len();
        if values.len() != nnz {
            return Err(Error::matrix(format!("{nnz} column numbers but {} values", values.len()), fix));
        }
        if indptr.len() == 0 || indptr.at(0) != 0 || indptr.at(indptr.len() - 1) != nnz as i64 {
            return Err(Error::matrix(format!("row offsets do not run from 0 to the number of stored values ({nnz})"), fix));
        }
        let view = Self { n_cols, indptr, indices, values };
        for i in 0..view.n_rows() {
            if indptr.at(i + 1) < indptr.at(i) {
                return Err(Error::matrix(format!("row offsets decrease at row {i}"), fix));
            }
            view.check_row(i)?;
        }
        Ok(view)
    }

    fn check_row(&self, i: usize) -> Result<()> {
        let fix = "sort each row by column and sum repeats (scipy: sum_duplicates)";
        let mut previous = -1;
        for p in self.range(i) {
            let column = self.indices.at(p);
            if column <= previous || column >= self.n_cols as i64 {
                let problem = format!("row {i} has column {column} after {previous}, of {} columns", self.n_cols);
                return Err(Error::matrix(problem, fix));
            }
            previous = column;
            let value = self.values.at(p);
            if !(value as f32).is_finite() {
                return Err(not_finite(value, i, column as usize));
            }
        }
        Ok(())
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.indptr.len() - 1
    }

    /// Number of columns.
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// Number of stored values.
    pub fn nnz(&self) -> usize {
        self.indices.len()
    }

    #[inline]
    fn range(&self, i: usize) -> Range<usize> {
        self.indptr.at(i) as usize..self.indptr.at(i + 1) as usize
    }

    /// Columns and values of row `i`.
    #[inline]
    pub fn row(&self, i: usize) -> impl Iterator<Item = (u32, f32)> + '_ {
        self.range(i).map(|p| (self.indices.at(p) as u32, self.values.at(p) as f32))
    }

    /// Owned copy.
    pub fn to_csr(&self) -> Csr {
        let mut out = Csr::empty(self.n_cols);
        out.reserve(self.n_rows(), self.nnz());
        for i in 0..self.n_rows() {
            out.push_row(self.row(i));
        }
        out
    }
}

fn not_finite(value: f64, row: usize, column: usize) -> Error {
    Error::Value {
        what: format!("value {value}"),
        cell: format!("number {}", row + 1),
        gene: format!("number {}", column + 1),
        fix: "replace it by a finite number or drop the cell".into(),
    }
}

impl CellSource for Csr {
    fn n_cells(&self) -> usize {
        self.n_rows()
    }

    fn n_genes(&self) -> usize {
        self.n_cols
    }

    fn nnz(&self) -> Option<usize> {
        Some(self.indices.len())
    }

    fn read_rows(&self, rows: &[usize], out: &mut Csr) -> Result<()> {
        out.clear(self.n_cols);
        out.reserve(rows.len(), rows.iter().map(|i| self.indptr[i + 1] - self.indptr[*i]).sum());
        for i in rows {
            let (columns, values) = self.row(*i);
            out.indices.extend_from_slice(columns);
            out.values.extend_from_slice(values);
            out.indptr.push(out.indices.len());
        }
        Ok(())
    }
}

impl CellSource for CsrView<'_> {
    fn n_cells(&self) -> usize {
        self.n_rows()
    }

    fn n_genes(&self) -> usize {
        self.n_cols
    }

    fn nnz(&self) -> Option<usize> {
        Some(self.indices.len())
    }

    fn read_rows(&self, rows: &[usize], out: &mut Csr) -> Result<()> {
        out.clear(self.n_cols);
        for i in rows {
            out.push_row(self.row(*i));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Csr {
        Csr::new(4, vec![0, 2, 2, 4], vec![0, 3, 1, 2], vec![1.0, 2.0, 3.0, 4.0]).unwrap()
    }

    #[test]
    fn transpose_equals_the_dense_transpose() {
        let x = small();
        assert_eq!(x.transpose().to_dense(), x.to_dense().t());
        assert_eq!(x.transpose().transpose(), x);
    }

    #[test]
    fn an_r_matrix_reads_as_ours() {
        let (p, i, v) = ([0i32, 2, 2, 4], [0i32, 3, 1, 2], [1.0f64, 2.0, 3.0, 4.0]);
        let view = CsrView::new(4, Offsets::I32(&p), Indices::I32(&i), Values::F64(&v)).unwrap();
        assert_eq!(view.to_csr(), small());
        let (mut ours, mut theirs) = (Csr::empty(0), Csr::empty(0));
        small().read_rows(&[2, 0, 2], &mut ours).unwrap();
        view.read_rows(&[2, 0, 2], &mut theirs).unwrap();
        assert_eq!(ours, theirs);
    }

    #[test]
    fn bad_arrays_are_refused_with_their_place() {
        let unsorted = Csr::new(4, vec![0, 2], vec![3, 0], vec![1.0, 1.0]).unwrap_err().to_string();
        assert!(unsorted.contains("row 0 has column 0 after 3"), "{unsorted}");
        let wide = Csr::new(2, vec![0, 1], vec![2], vec![1.0]).unwrap_err().to_string();
        assert!(wide.contains("column 2"), "{wide}");
        let nan = Csr::new(2, vec![0, 0, 1], vec![1], vec![f32::NAN]).unwrap_err().to_string();
        assert!(nan.contains("cell number 2") && nan.contains("gene number 2"), "{nan}");
        assert!(Csr::new(2, vec![0, 2], vec![1], vec![1.0]).is_err());
        assert!(Csr::new(2, vec![0, 1, 0, 1], vec![1], vec![1.0]).is_err());
        let negative = [0i32, -1];
        assert!(CsrView::new(2, Offsets::I32(&negative), Indices::I32(&[]), Values::F32(&[])).is_err());
    }
}
