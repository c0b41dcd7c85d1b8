//! MatrixMarket files, plain or gzipped.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use tutti::data::Csr;

use crate::anndata::{AnnData, Matrix};
use crate::error::{Error, InFile, Result};
use crate::table::read_names;

/// A text file, unpacked where it is gzipped (seen by its first two bytes).
pub(crate) fn open_text(path: &Path) -> Result<Box<dyn BufRead>> {
    let mut file = BufReader::new(std::fs::File::open(path).in_file(path, "")?);
    let packed = file.fill_buf().in_file(path, "")?.starts_with(&[0x1f, 0x8b]);
    Ok(if packed { Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(file))) } else { Box::new(file) })
}

/// Rows and columns as the file has them.
pub(crate) struct Coordinates {
    pub n_rows: usize,
    pub n_columns: usize,
    entries: Vec<(u32, u32, f32)>,
}

impl Coordinates {
    /// Cells x genes; `transpose` where the file is genes x cells. Repeated entries are summed.
    pub fn to_csr(&self, transpose: bool, path: &Path) -> Result<Csr> {
        let (n_rows, n_columns) = if transpose { (self.n_columns, self.n_rows) } else { (self.n_rows, self.n_columns) };
        let key = |(i, j, _): &(u32, u32, f32)| if transpose { (*j, *i) } else { (*i, *j) };
        let mut entries: Vec<((u32, u32), f32)> = self.entries.iter().map(|e| (key(e), e.2)).collect();
        entries.sort_by_key(|e| e.0);
        entries.dedup_by(|later, first| {
            let same = later.0 == first.0;
            if same {
                first.1 += later.1;
            }
            same
        });
        let mut indptr = vec![0usize; n_rows + 1];
        entries.iter().for_each(|((i, _), _)| indptr[*i as usize + 1] += 1);
        (0..n_rows).for_each(|i| indptr[i + 1] += indptr[i]);
        let (columns, values) = entries.iter().map(|((_, j), v)| (*j, *v)).unzip();
        Csr::new(n_columns, indptr, columns, values).in_file(path, "")
    }
}

/// Reads a coordinate file of real, integer or pattern entries.
pub(crate) fn read_coordinates(path: &Path) -> Result<Coordinates> {
    let wrong = |line: usize, problem: String| {
        Error::format(path, format!("line {line}: {problem}"), "write the file again as MatrixMarket coordinate")
    };
    // A line longer than this is no matrix.
    let text = open_text(path)?;
    let mut lines = text.take(u64::MAX).lines().enumerate();
    let header = match lines.next() {
        Some((_, line)) => line.map_err(|e| wrong(1, e.to_string()))?.to_lowercase(),
        None => return Err(wrong(1, "the file is empty".into())),
    };
    let words: Vec<&str> = header.split_whitespace().collect();
    let ["%%matrixmarket", "matrix", "coordinate", kind, symmetry] = words[..] else {
        return Err(wrong(1, "this is no MatrixMarket coordinate header".into()));
    };
    if symmetry != "general" || !["real", "integer", "pattern", "double"].contains(&kind) {
        return Err(wrong(1, format!("`{kind} {symmetry}` is not supported, only real, integer or pattern `general`")));
    }
    let mut size: Option<(usize, usize, usize)> = None;
    let mut entries = Vec::new();
    for (i, line) in lines {
        let line = line.map_err(|e| wrong(i + 1, e.to_string()))?;
        let line = line.trim();
        if line.is_empty() || line.starts_with('%') {
            continue;
        }
        let mut fields = line.split_whitespace();
        let mut whole = |what: &str| -> Result<usize> {
            let field = fields.next().ok_or_else(|| wrong(i + 1, format!("no {what}")))?;
            field.parse().map_err(|_| wrong(i + 1, format!("{what} `{field}` is no whole number")))
        };
        match size {
            None => size = Some((whole("number of rows")?, whole("number of columns")?, whole("number of entries")?)),
            Some((n_rows, n_columns, n)) => {
                let (row, column) = (whole("row")?, whole("column")?);
                if row == 0 || column == 0 || row > n_rows || column > n_columns {
                    return Err(wrong(i + 1, format!("entry ({row}, {column}) lies outside of {n_rows} x {n_columns}")));
                }
                if entries.len() == n {
                    return Err(wrong(i + 1, format!("more entries than the {n} announced")));
                }
                let value = match (kind, fields.next()) {
                    ("pattern", _) => 1.0,
                    (_, Some(field)) => match field.parse::<f32>() {
                        Ok(value) if value.is_finite() => value,
                        _ => return Err(wrong(i + 1, format!("value `{field}` is no finite number"))),
                    },
                    (_, None) => return Err(wrong(i + 1, "no value".into())),
                };
                entries.push(((row - 1) as u32, (column - 1) as u32, value));
            }
        }
    }
    let Some((n_rows, n_columns, n)) = size else { return Err(wrong(2, "no line of sizes".into())) };
    if n_rows > u32::MAX as usize || n_columns > u32::MAX as usize || n_rows.max(n_columns) > MAX_EMPTY.max(1000 * (n + 1)) {
        return Err(wrong(2, format!("a matrix of {n_rows} x {n_columns} with {n} entries")));
    }
    if entries.len() != n {
        return Err(Error::format(
            path,
            format!("{} entries of the {n} announced: the file is cut off", entries.len()),
            "copy it again",
        ));
    }
    Ok(Coordinates { n_rows, n_columns, entries })
}

/// Rows or columns that a nearly empty matrix may have.
const MAX_EMPTY: usize = 100_000_000;

/// A MatrixMarket file with names of genes and cells in files beside it.
///
/// 10x names (`barcodes.tsv`, `features.tsv` or `genes.tsv`) are taken first, then `<name>_barcodes`/`_genes`/`_features`, `_cells`/`_rows`
/// with `.tsv`, `.txt` or `.csv`, plain or gzipped. Which side is cells follows from the number of names; without names, rows are
/// cells.
pub(crate) fn read_with_names(path: &Path) -> Result<AnnData> {
    let matrix = read_coordinates(path)?;
    let cells = beside(path, &["barcodes", "cells", "obs_names"]).map(|p| read_names(&p)).transpose()?;
    let genes = beside(path, &["features", "genes", "var_names"]).map(|p| read_names(&p)).transpose()?;
    let fits = |names: &Option<Vec<String>>, n: usize| names.as_ref().is_none_or(|names| names.len() == n);
    let (rows, columns) = (matrix.n_rows, matrix.n_columns);
    let known = cells.is_some() || genes.is_some();
    let transpose = match (fits(&cells, columns) && fits(&genes, rows), fits(&cells, rows) && fits(&genes, columns)) {
        (true, false) => true,
        (false, true) => false,
        // A square matrix with names beside it is taken as 10x writes it, genes x cells.
        (true, true) => known,
        (false, false) => {
            let count = |names: &Option<Vec<String>>| names.as_ref().map_or_else(|| "no".into(), |n| n.len().to_string());
            let problem =
                format!("{rows} x {columns} entries but {} cell names and {} gene names beside it", count(&cells), count(&genes));
            return Err(Error::format(path, problem, "give names that fit the matrix"));
        }
    };
    let x = matrix.to_csr(transpose, path)?;
    let numbered = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect::<Vec<_>>();
    let cells = cells.unwrap_or_else(|| numbered("cell", x.n_rows()));
    let genes = genes.unwrap_or_else(|| numbered("gene", x.n_cols()));
    let mut data = AnnData::new(path, Matrix::Memory(x.into()), cells, genes);
    if !known {
        data.notes.push("no names beside the matrix: rows are taken as cells and numbered".into());
    }
    Ok(data)
}

fn beside(path: &Path, stems: &[&str]) -> Option<PathBuf> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let base = name.trim_end_matches(".gz").trim_end_matches(".mtx").trim_end_matches("matrix").to_owned();
    let bases = if base.is_empty() {
        vec![String::new()]
    } else {
        vec![format!("{base}_"), base.clone(), format!("{base}."), String::new()]
    };
    let candidates = bases.iter().flat_map(|base| {
        stems.iter().flat_map(move |stem| {
            ["tsv", "txt", "csv"]
                .iter()
                .flat_map(move |e| ["", ".gz"].map(|gz| path.with_file_name(format!("{base}{stem}.{e}{gz}"))))
        })
    });
    candidates.into_iter().find(|p| p.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn names_decide_which_side_is_cells() {
        let folder = tempfile::tempdir().unwrap();
        let text = "%%MatrixMarket matrix coordinate integer general\n% genes x cells\n2 3 3\n1 1 5\n2 3 7\n2 3 1\n";
        let path = write(folder.path(), "m.mtx", text);
        let plain = read_with_names(&path).unwrap();
        assert_eq!((plain.n_cells(), plain.n_genes()), (2, 3));
        write(folder.path(), "m_barcodes.tsv", "a\nb\nc\n");
        write(folder.path(), "m_genes.tsv", "G1\nG2\n");
        let named = read_with_names(&path).unwrap();
        assert_eq!(named.cell_names(), ["a", "b", "c"]);
        let Matrix::Memory(x) = named.x() else { panic!("in memory") };
        assert_eq!(x.to_dense(), ndarray::arr2(&[[5.0, 0.0], [0.0, 0.0], [0.0, 8.0]]));
    }

    #[test]
    fn every_defect_names_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let head = "%%MatrixMarket matrix coordinate real general\n";
        for (body, expected) in [
            ("2 2 1\n3 1 1\n", "line 3: entry (3, 1) lies outside of 2 x 2"),
            ("2 2 1\n1 1 nan\n", "line 3: value `nan` is no finite number"),
            ("2 2 1\n1 x 1\n", "line 3: column `x` is no whole number"),
            ("2 2 2\n1 1 1\n", "1 entries of the 2 announced"),
            ("2 2 0\n1 1 1\n", "more entries than the 0 announced"),
            ("", "no line of sizes"),
            ("4000000000000 2 0\n", "a matrix of 4000000000000 x 2"),
        ] {
            let path = write(folder.path(), "m.mtx", &format!("{head}{body}"));
            let message = read_with_names(&path).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains("m.mtx"), "{message}");
        }
        let path = write(folder.path(), "m.mtx", "%%MatrixMarket matrix coordinate real symmetric\n");
        assert!(read_with_names(&path).unwrap_err().to_string().contains("`real symmetric` is not supported"));
    }
}
