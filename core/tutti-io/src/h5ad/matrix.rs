//! Matrices in HDF5: dense, by rows, by columns.

use std::path::Path;

use hdf5::{Dataset, File, Group};
use tutti::data::Csr;

use super::element::{attribute, check_extent, numbers};
use crate::error::{Error, InFile, Result};

/// Where a matrix is stored, and how.
#[derive(Debug, Clone)]
pub(crate) enum Layout {
    Dense(Dataset),
    Csr(SparseGroup),
    Csc(SparseGroup),
}

/// The three arrays of a compressed matrix; `indptr` is read and checked.
#[derive(Debug, Clone)]
pub(crate) struct SparseGroup {
    pub data: Dataset,
    pub indices: Dataset,
    pub indptr: Vec<usize>,
}

/// Finds the matrix `name` and its shape.
pub(super) fn locate(file: &File, name: &str, path: &Path) -> Result<(Layout, (usize, usize))> {
    if let Ok(dataset) = file.dataset(name) {
        let shape = dataset.shape();
        let [rows, columns] = shape[..] else {
            return Err(Error::format(
                path,
                format!("`{name}` has {} dimensions", shape.len()),
                "a matrix of cells x genes is needed",
            ));
        };
        check_extent(&dataset, path)?;
        return Ok((Layout::Dense(dataset), (rows, columns)));
    }
    let group = file.group(name).in_file(path, &format!("`{name}`"))?;
    let kind = attribute(&group, "encoding-type").or_else(|| attribute(&group, "h5sparse_format")).unwrap_or_default();
    let (rows, columns) = shape(&group, name, path)?;
    let by_column = kind.starts_with("csc");
    if !by_column && !kind.starts_with("csr") {
        let problem = format!("`{name}` has the encoding `{kind}`");
        return Err(Error::format(path, problem, "store it dense, as CSR or as CSC"));
    }
    let sparse = sparse_group(&group, if by_column { columns } else { rows }, name, path)?;
    Ok((if by_column { Layout::Csc(sparse) } else { Layout::Csr(sparse) }, (rows, columns)))
}

fn sparse_group(group: &Group, n_major: usize, name: &str, path: &Path) -> Result<SparseGroup> {
    let part = |part: &str| group.dataset(part).in_file(path, &format!("`{name}/{part}`"));
    let (data, indices) = (part("data")?, part("indices")?);
    check_extent(&data, path)?;
    check_extent(&indices, path)?;
    let indptr = read_row_offsets(&part("indptr")?, n_major, data.size().min(indices.size()), path)?;
    Ok(SparseGroup { data, indices, indptr })
}

/// Offsets, checked to run upwards from 0 and to stay inside of the stored values.
pub(crate) fn read_row_offsets(dataset: &Dataset, n_major: usize, n_stored: usize, path: &Path) -> Result<Vec<usize>> {
    let offsets: Vec<i64> = numbers(dataset, path)?;
    let upwards = offsets.windows(2).all(|w| w[0] <= w[1]);
    let fits =
        offsets.len() == n_major + 1 && offsets.first() == Some(&0) && offsets.last().is_some_and(|l| *l as usize <= n_stored);
    if !upwards || !fits {
        let problem =
            format!("`{}` ({} offsets) does not fit {n_major} rows with {n_stored} values", dataset.name(), offsets.len());
        return Err(Error::format(path, problem, "the file is damaged; write or copy it again"));
    }
    Ok(offsets.into_iter().map(|o| o as usize).collect())
}

fn shape(group: &Group, name: &str, path: &Path) -> Result<(usize, usize)> {
    let attribute = group.attr("shape").or_else(|_| group.attr("h5sparse_shape"));
    let values = attribute.and_then(|a| a.read_raw::<i64>()).in_file(path, &format!("shape of `{name}`"))?;
    match values[..] {
        [rows, columns] if rows >= 0 && columns >= 0 => Ok((rows as usize, columns as usize)),
        _ => Err(Error::format(path, format!("`{name}` has the shape {values:?}"), "write the file again")),
    }
}

impl Layout {
    /// Values that the file stores.
    pub fn n_stored(&self) -> usize {
        match self {
            Self::Dense(dataset) => dataset.size(),
            Self::Csr(sparse) | Self::Csc(sparse) => sparse.data.size(),
        }
    }

    /// The whole matrix.
    pub fn read_all(&self, (n_rows, n_columns): (usize, usize), path: &Path) -> Result<Csr> {
        match self {
            Self::Dense(_) => {
                let mut out = Csr::empty(n_columns);
                for block in tutti::data::row_blocks(n_rows, 4096) {
                    self.read_rows(block, n_columns, path, &mut out)?;
                }
                Ok(out)
            }
            Self::Csr(sparse) => sparse.read_all(n_rows, n_columns, path),
            Self::Csc(sparse) => match sparse.read_all(n_columns, n_rows, path) {
                Err(Error::Value { path, value, cell, gene }) => Err(Error::Value { path, value, cell: gene, gene: cell }),
                read => Ok(read?.transpose()),
            },
        }
    }

    /// Appends a run of rows to `out`.
    pub fn read_rows(&self, rows: std::ops::Range<usize>, n_columns: usize, path: &Path, out: &mut Csr) -> Result<()> {
        match self {
            Self::Dense(dataset) => {
                let first = rows.start;
                let block = dataset.read_slice_2d::<f32, _>((rows, ..)).in_file(path, "X")?;
                for (i, row) in block.rows().into_iter().enumerate() {
                    check_finite(row.iter().copied().enumerate(), first + i, path)?;
                    out.push_row(row.iter().enumerate().filter(|(_, v)| **v != 0.0).map(|(j, v)| (j as u32, *v)));
                }
                Ok(())
            }
            Self::Csr(sparse) => sparse.read(rows, n_columns, path, out),
            Self::Csc(_) => Err(Error::format(path, "a matrix by columns cannot be read by rows", "read it into memory")),
        }
    }
}

/// Values read at a time.
const VALUES: usize = 1 << 20;

impl SparseGroup {
    /// The whole matrix, by runs of rows (of columns, for a matrix by columns), so that little is held beside it.
    fn read_all(&self, n_major: usize, n_minor: usize, path: &Path) -> Result<Csr> {
        // Each chunk of the file is decompressed for every run that touches it: runs are several chunks long.
        let chunk = |dataset: &Dataset| dataset.chunk().map_or(0, |shape| shape.iter().product::<usize>());
        let most = VALUES.max(4 * chunk(&self.data).max(chunk(&self.indices)));
        let mut out = Csr::empty(n_minor);
        out.reserve(n_major, self.indptr[n_major]);
        let mut start = 0;
        while start < n_major {
            let end = self.indptr.partition_point(|offset| *offset <= self.indptr[start].saturating_add(most)) - 1;
            let end = end.clamp(start + 1, n_major);
            self.read(start..end, n_minor, path, &mut out)?;
            start = end;
        }
        Ok(out)
    }

    /// Appends a run of rows (of columns, for a matrix by columns) to `out`: sorted, repeats summed, checked.
    pub fn read(&self, rows: std::ops::Range<usize>, n_minor: usize, path: &Path, out: &mut Csr) -> Result<()> {
        let (start, end) = (self.indptr[rows.start], self.indptr[rows.end]);
        let context = format!("`{}`", self.data.name());
        let values = self.data.read_slice_1d::<f32, _>(start..end).in_file(path, &context)?;
        let indices = self.indices.read_slice_1d::<i64, _>(start..end).in_file(path, &context)?;
        let mut entries: Vec<(u32, f32)> = Vec::new();
        for row in rows {
            let range = self.indptr[row] - start..self.indptr[row + 1] - start;
            entries.clear();
            for p in range {
                if indices[p] < 0 || indices[p] as usize >= n_minor {
                    let problem = format!("{context}: row {} has column {} of {n_minor}", row + 1, indices[p]);
                    return Err(Error::format(path, problem, "the file is damaged; write or copy it again"));
                }
                entries.push((indices[p] as u32, values[p]));
            }
            check_finite(entries.iter().map(|(j, v)| (*j as usize, *v)), row, path)?;
            if !entries.windows(2).all(|w| w[0].0 < w[1].0) {
                entries.sort_by_key(|e| e.0);
                entries.dedup_by(|later, first| {
                    later.0 == first.0 && {
                        first.1 += later.1;
                        true
                    }
                });
            }
            out.push_row(entries.iter().copied());
        }
        Ok(())
    }
}

fn check_finite(values: impl Iterator<Item = (usize, f32)>, row: usize, path: &Path) -> Result<()> {
    for (column, value) in values {
        if !value.is_finite() {
            return Err(Error::Value { path: path.to_owned(), value, cell: row, gene: column });
        }
    }
    Ok(())
}
