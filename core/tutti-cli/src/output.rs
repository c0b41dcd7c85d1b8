//! Where results go.

use std::path::Path;

use ndarray::Array2;
use tutti_io::{Additions, AnnData, ObsColumn};

use crate::Result;
use crate::error::CliError;

/// The embedding, with columns of obs, in the format that the output's name asks for.
pub fn write_embedding(
    data: &AnnData,
    input: &Path,
    output: &Path,
    key: &str,
    embedding: &Array2<f32>,
    obs: Vec<(String, ObsColumn)>,
    uns: serde_json::Value,
) -> Result<()> {
    let extension = |path: &Path| path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    if extension(output) != "h5ad" {
        let prefix = key.strip_prefix("X_").unwrap_or(key);
        return Ok(tutti_io::write_embedding(output, data.cell_names(), embedding, prefix, &obs)?);
    }
    let additions = Additions { obsm: vec![(key.to_owned(), embedding.clone())], obs, uns };
    if extension(input) == "h5ad" {
        return Ok(tutti_io::add_to_copy(input, output, &additions)?);
    }
    let source = data.x().source()?;
    Ok(tutti_io::write_h5ad(output, data.cell_names(), data.gene_names(), data.obs(), data.var(), Some(&*source), &additions)?)
}

/// Refuses outputs that cannot be written before any time is spent on training.
pub fn check_output(input: &Path, output: &Path) -> Result<()> {
    let extension = output.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    if !["h5ad", "csv", "tsv", "parquet"].contains(&extension.as_str()) {
        return Err(CliError::Usage(format!("-o {}: unknown format; end it in .h5ad, .csv, .tsv or .parquet", output.display())));
    }
    let folder = match output.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(CliError::Usage(format!("-o {}: there is no folder {}; make it first", output.display(), folder.display())));
    }
    let same = |a: &Path, b: &Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if same(input, output) {
        return Err(CliError::Usage(format!(
            "-o {} is the input; the input is never changed, give another name",
            output.display()
        )));
    }
    Ok(())
}
