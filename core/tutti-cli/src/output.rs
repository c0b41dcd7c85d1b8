//! Where results go.

use std::path::Path;

use ndarray::Array2;
use tutti_io::{Additions, AnnData, ObsColumn};

use crate::Result;
use crate::error::CliError;

/// How much a command prints.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Printing {
    /// Print nothing but warnings and errors
    #[arg(long)]
    pub quiet: bool,
    /// Print the summary as one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

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

/// Refuses a table that cannot be written; `name` is the argument's.
pub fn check_table(name: &str, path: &Path) -> Result<()> {
    check_path(name, path, &["csv", "tsv", "parquet"])
}

/// Refuses outputs that cannot be written before any time is spent on training.
pub fn check_output(input: &Path, output: &Path) -> Result<()> {
    check_path("-o", output, &["h5ad", "csv", "tsv", "parquet"])?;
    let same = |a: &Path, b: &Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if same(input, output) {
        return Err(CliError::Usage(format!(
            "-o {} is the input; the input is never changed, give another name",
            output.display()
        )));
    }
    Ok(())
}

fn check_path(name: &str, path: &Path, endings: &[&str]) -> Result<()> {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    if !endings.contains(&extension.as_str()) {
        let (last, others) = (endings[endings.len() - 1], endings[..endings.len() - 1].join(", ."));
        return Err(CliError::Usage(format!("{name} {}: unknown format; end it in .{others} or .{last}", path.display())));
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(CliError::Usage(format!(
            "{name} {}: there is no folder {}; make it first",
            path.display(),
            folder.display()
        )));
    }
    Ok(())
}
