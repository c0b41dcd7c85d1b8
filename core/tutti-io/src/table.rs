//! Tables: dense expression and names in, embeddings out.

use std::io::BufRead;
use std::path::Path;

use ndarray::Array2;
use polars::prelude::*;
use tutti::data::Csr;

use crate::anndata::{AnnData, Matrix};
use crate::error::{Error, InFile, Result};
use crate::h5ad::ObsColumn;
use crate::mtx::open_text;

/// First column of every line.
pub(crate) fn read_names(path: &Path) -> Result<Vec<String>> {
    let comma = path.to_string_lossy().trim_end_matches(".gz").ends_with(".csv");
    let lines = open_text(path)?.lines();
    lines
        .map(|line| {
            let line = line.in_file(path, "")?;
            let first = line.split(if comma { ',' } else { '\t' }).next().unwrap_or_default();
            Ok(first.trim().trim_matches('"').to_owned())
        })
        .filter(|name| !matches!(name, Ok(name) if name.is_empty()))
        .collect()
}

/// A dense table of cells x genes as text: first line genes, first column cells.
pub(crate) fn read_dense(path: &Path) -> Result<AnnData> {
    let mut lines = open_text(path)?.lines().enumerate();
    let header = match lines.next() {
        Some((_, line)) => line.in_file(path, "")?,
        None => return Err(Error::format(path, "the file is empty", "give a table of cells x genes")),
    };
    let separator = if header.contains('\t') { '\t' } else { ',' };
    let clean = |field: &str| field.trim().trim_matches('"').to_owned();
    let mut genes: Vec<String> = header.split(separator).map(clean).collect();
    let mut cells = Vec::new();
    let mut x: Option<Csr> = None;
    for (i, line) in lines {
        let line = line.in_file(path, "")?;
        if line.trim().is_empty() {
            continue;
        }
        let mut fields = line.split(separator);
        cells.push(clean(fields.next().unwrap_or_default()));
        let fields: Vec<&str> = fields.collect();
        if x.is_none() {
            // R writes a header without a name for the column of row names.
            if genes.len() == fields.len() + 1 {
                genes.remove(0);
            }
        }
        if fields.len() != genes.len() {
            let problem = format!("line {}: {} values for {} genes", i + 1, fields.len(), genes.len());
            return Err(Error::format(path, problem, "give one value per gene, names of cells first"));
        }
        let mut row = Vec::new();
        for (j, field) in fields.iter().enumerate() {
            match clean(field).parse::<f32>() {
                Ok(0.0) => {}
                Ok(value) if value.is_finite() => row.push((j as u32, value)),
                _ => {
                    let problem = format!("line {}, column {} (gene {}): `{field}` is no finite number", i + 1, j + 2, genes[j]);
                    return Err(Error::format(path, problem, "give a table of numbers, cells x genes"));
                }
            }
        }
        x.get_or_insert_with(|| Csr::empty(genes.len())).push_row(row);
    }
    let x = x.ok_or_else(|| Error::format(path, "the table has no cells", "give a table of cells x genes"))?;
    Ok(AnnData::new(path, Matrix::Memory(x.into()), cells, genes))
}

/// A dense table of cells x genes in Parquet: a first column of text gives the cells' names.
pub(crate) fn read_parquet(path: &Path) -> Result<AnnData> {
    let file = std::fs::File::open(path).in_file(path, "")?;
    let table = ParquetReader::new(file).finish().in_file(path, "")?;
    let named = table.columns().first().is_some_and(|c| c.dtype() == &DataType::String);
    let cells: Vec<String> = match table.columns().first().filter(|_| named) {
        Some(column) => column.str().in_file(path, "")?.iter().map(|v| v.unwrap_or_default().to_owned()).collect(),
        None => (0..table.height()).map(|i| format!("cell{i}")).collect(),
    };
    let columns = &table.columns()[usize::from(named)..];
    let mut dense = Array2::<f32>::zeros((table.height(), columns.len()));
    for (j, column) in columns.iter().enumerate() {
        let values = column.cast(&DataType::Float32).in_file(path, "")?;
        for (i, value) in values.f32().in_file(path, "")?.iter().enumerate() {
            dense[[i, j]] = value.ok_or_else(|| {
                let problem = format!("column `{}` has no number for cell {}", column.name(), cells[i]);
                Error::format(path, problem, "give a table of numbers, cells x genes")
            })?;
        }
    }
    let genes = columns.iter().map(|c| c.name().to_string()).collect();
    let x = Csr::from_dense(dense.view()).in_file(path, "")?;
    Ok(AnnData::new(path, Matrix::Memory(x.into()), cells, genes))
}

/// Writes an embedding with the cells' names and further columns as .csv, .tsv or .parquet, through a temporary file.
///
/// Columns: `cell`, `<prefix>_1` to `<prefix>_d`, then `obs`.
///
/// # Errors
/// A format that is not known; what the system refuses.
pub fn write_embedding(
    path: &Path,
    cells: &[String],
    embedding: &Array2<f32>,
    prefix: &str,
    obs: &[(String, ObsColumn)],
) -> Result<()> {
    let mut columns = vec![("cell".to_owned(), ObsColumn::Text(cells.iter().cloned().map(Some).collect()))];
    let dimensions = embedding.columns().into_iter().enumerate();
    columns.extend(dimensions.map(|(j, column)| (format!("{prefix}_{}", j + 1), ObsColumn::Float(column.to_vec()))));
    columns.extend_from_slice(obs);
    write_table(path, &columns)
}

/// Writes columns of equal length as .csv, .tsv or .parquet, through a temporary file. A number that is not finite becomes empty.
///
/// # Errors
/// A format that is not known; columns of unequal length; what the system refuses.
pub fn write_table(path: &Path, columns: &[(String, ObsColumn)]) -> Result<()> {
    let columns: Vec<Column> = columns.iter().map(|(name, column)| to_polars(name, column)).collect();
    let mut table = DataFrame::new(columns.first().map_or(0, Column::len), columns).in_file(path, "")?;
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    write_through_temporary(path, |temporary| {
        let file = std::fs::File::create(temporary).in_file(path, "")?;
        match extension.as_str() {
            "csv" | "tsv" => {
                let separator = if extension == "csv" { b',' } else { b'\t' };
                CsvWriter::new(file).with_separator(separator).finish(&mut table).in_file(path, "")
            }
            "parquet" => ParquetWriter::new(file)
                .with_compression(ParquetCompression::Uncompressed)
                .finish(&mut table)
                .map(|_| ())
                .in_file(path, ""),
            _ => Err(Error::format(path, "unknown format", "end the name in .csv, .tsv or .parquet")),
        }
    })
}

fn to_polars(name: &str, column: &ObsColumn) -> Column {
    match column {
        ObsColumn::Float(values) => {
            Column::new(name.into(), values.iter().map(|v| v.is_finite().then_some(*v)).collect::<Vec<_>>())
        }
        ObsColumn::Category(values) | ObsColumn::Text(values) => {
            Column::new(name.into(), values.iter().map(|v| v.as_deref()).collect::<Vec<_>>())
        }
        ObsColumn::Levels(column) => {
            Column::new(name.into(), (0..column.len()).map(|i| column.value(i)).collect::<Vec<Option<&str>>>())
        }
        ObsColumn::Bool(values) => Column::new(name.into(), values.as_slice()),
    }
}

/// Lets `write` fill a file beside the target and renames it, so that a killed run leaves no half file.
pub(crate) fn write_through_temporary(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let suffix = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tutti-").suffix(&suffix);
    // Readable as any new file of the user is (the umask applies), where temporary files are private.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let temporary = builder.tempfile_in(folder).in_file(path, "")?;
    write(temporary.path())?;
    let file = temporary.persist(path).map_err(|e| Error::Io { path: path.to_owned(), source: e.error })?;
    file.sync_all().in_file(path, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_text_is_read_with_and_without_a_corner_and_defects_are_placed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        for text in ["cell,A,B\nc1,1,0\nc2,0,2.5\n", "\"A\",\"B\"\n\"c1\",1,0\n\"c2\",0,2.5\n"] {
            std::fs::write(&path, text).unwrap();
            let data = read_dense(&path).unwrap();
            assert_eq!(
                (data.cell_names(), data.gene_names()),
                (&["c1".to_string(), "c2".into()][..], &["A".to_string(), "B".into()][..])
            );
            let Matrix::Memory(x) = data.x() else { panic!("in memory") };
            assert_eq!(x.to_dense(), ndarray::arr2(&[[1.0, 0.0], [0.0, 2.5]]));
        }
        std::fs::write(&path, "cell,A,B\nc1,1,oops\n").unwrap();
        let message = read_dense(&path).unwrap_err().to_string();
        assert!(message.contains("line 2, column 3 (gene B): `oops`"), "{message}");
    }

    #[test]
    fn an_embedding_comes_back_from_csv_and_parquet() {
        let folder = tempfile::tempdir().unwrap();
        let cells = ["c1".to_string(), "c2".into()];
        let z = ndarray::arr2(&[[1.5f32, 2.0], [-3.0, 0.25]]);
        for name in ["z.csv", "z.tsv", "z.parquet"] {
            let path = folder.path().join(name);
            write_embedding(&path, &cells, &z, "concord", &[]).unwrap();
            let data = crate::read(&path, &crate::ReadOptions::default()).unwrap();
            assert_eq!(data.gene_names(), ["concord_1", "concord_2"]);
            assert_eq!(data.cell_names(), cells);
            let Matrix::Memory(x) = data.x() else { panic!("in memory") };
            assert_eq!(x.to_dense(), z);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "no temporary files are left");
    }
}
