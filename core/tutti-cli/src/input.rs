//! From a file to cells that are ready to train on, with every choice said.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use tutti::data::{CellSource, Cells, GeneSubset};
use tutti::model::Preprocessing;
use tutti::preprocess::{HvgConfig, HvgFlavor, Normalized, TargetSum, highly_variable_genes, to_memory};
use tutti_io::{AnnData, Backed, Matrix, ReadOptions, ValueKind, ValueSummary};

use crate::Result;
use crate::error::CliError;

/// Total that counts are scaled to per cell.
pub const TARGET_SUM: f32 = 1e4;
/// Genes that are picked from raw counts when the user does not say.
pub const DEFAULT_HVG: usize = 2000;

/// How the matrix is to be read.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct InputArguments {
    /// Layer to read instead of X
    #[arg(long, value_name = "NAME")]
    pub layer: Option<String>,
    /// Read `raw` instead of X
    #[arg(long, conflicts_with = "layer")]
    pub raw: bool,
    /// Genome of a 10x file that holds several
    #[arg(long, value_name = "NAME")]
    pub genome: Option<String>,
    /// Leave the matrix of an h5ad file on the disk and read each mini-batch from there, for files larger than memory; slow for
    /// compressed files [default: above 200 million values]
    #[arg(long)]
    pub backed: bool,
}

impl InputArguments {
    /// Reads the file.
    pub fn read(&self, path: &Path) -> Result<AnnData> {
        let options = ReadOptions {
            layer: self.layer.clone(),
            raw: self.raw,
            genome: self.genome.clone(),
            backed: if self.backed { Backed::Always } else { Backed::Auto },
            without_x: false,
        };
        Ok(tutti_io::read(path, &options)?)
    }
}

/// What was done to the values, for the summary.
#[derive(Debug, Clone, Serialize)]
pub struct Prepared {
    /// `raw counts`, `log-normalised` and so on.
    pub value_kind: String,
    /// How that was seen.
    pub reason: String,
    /// What the model file will repeat for new cells.
    pub preprocessing: Preprocessing,
    /// Genes of the file.
    pub n_genes_in: usize,
    /// Genes that are trained on.
    pub n_genes: usize,
    /// How they were picked.
    pub gene_selection: String,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// Normalises where the values are counts, and picks genes; `hvg` 0 keeps all genes.
pub fn prepare(data: &AnnData, columns: &[&str], batch: Option<&str>, hvg: Option<usize>) -> Result<(Cells<'static>, Prepared)> {
    let cells = data.cells(columns)?;
    let values = checked_values(cells.source(), data)?;
    let raw = values.kind == ValueKind::RawCounts;
    let mut notes = data.notes().to_vec();
    if values.n_zero_cells > 0 {
        let first = values.first_zero_cell.map(|i| data.cell_names()[i].clone()).unwrap_or_default();
        notes.push(format!(
            "{} cells have no counts at all (first: {first}); their place in the embedding means nothing",
            values.n_zero_cells
        ));
    }
    let preprocessing = Preprocessing { target_sum: raw.then_some(f64::from(TARGET_SUM)), log1p: raw };
    let source = normalised(cells.shared_source(), preprocessing)?;
    let wanted = hvg.unwrap_or(if cells.n_genes() > DEFAULT_HVG { DEFAULT_HVG } else { 0 });
    let (selected, gene_selection) = select_genes(&cells, &*source, raw, batch, wanted, &mut notes)?;
    let genes: Vec<String> = selected.iter().map(|g| cells.gene_names()[*g].clone()).collect();
    let subset = GeneSubset::new(source, &selected.iter().map(|g| Some(*g)).collect::<Vec<_>>());
    let ready = match data.x() {
        // A file on disk stays there; a matrix in memory is transformed once and not in every epoch, or taken as it is.
        Matrix::Memory(_) if !raw && genes.len() == cells.n_genes() => cells.clone(),
        Matrix::Disk(_) => cells.with_source(subset, genes)?,
        _ => cells.with_source(to_memory(&subset)?, genes)?,
    };
    let prepared = Prepared {
        value_kind: values.kind.to_string(),
        reason: values.reason.clone(),
        preprocessing,
        n_genes_in: cells.n_genes(),
        n_genes: ready.n_genes(),
        gene_selection,
        notes,
    };
    Ok((ready, prepared))
}

/// Refuses values that no step can use, naming cell and gene.
pub fn checked_values(source: &dyn CellSource, data: &AnnData) -> Result<ValueSummary> {
    let values = tutti_io::summarise(source)?;
    let file = data.path().display();
    if let Some((cell, gene, value)) = values.first_negative {
        let (cell, gene) = (&data.cell_names()[cell], &data.gene_names()[gene]);
        return Err(CliError::Science(tutti::Error::Value {
            what: format!("{file}: negative value {value}"),
            cell: cell.clone(),
            gene: gene.clone(),
            fix: "give raw counts or log-normalised values, e.g. with `--layer counts` or `--raw`".into(),
        }));
    }
    if values.nnz == 0 || values.max == 0.0 {
        let (cell, gene) = (&data.cell_names()[0], &data.gene_names()[0]);
        let problem = format!("{file}: all values are zero, from cell {cell} and gene {gene} on");
        return Err(CliError::Science(tutti::Error::Data { problem, fix: "choose another layer with `--layer`".into() }));
    }
    Ok(values)
}

/// The source with the preprocessing of a model, on demand.
pub fn normalised(source: Arc<dyn CellSource>, preprocessing: Preprocessing) -> Result<Arc<dyn CellSource>> {
    Ok(match (preprocessing.target_sum, preprocessing.log1p) {
        (None, false) => source,
        (target, log1p) => Arc::new(Normalized::new(source, target.map(|t| TargetSum::Fixed(t as f32)), log1p)?),
    })
}

fn select_genes(
    cells: &Cells<'_>,
    normalised: &dyn CellSource,
    raw: bool,
    batch: Option<&str>,
    wanted: usize,
    notes: &mut Vec<String>,
) -> Result<(Vec<usize>, String)> {
    let n_genes = cells.n_genes();
    if wanted == 0 || wanted >= n_genes {
        return Ok(((0..n_genes).collect(), format!("all {n_genes}")));
    }
    let column = batch.map(|name| cells.column(name)).transpose()?;
    let codes = match (column, batch) {
        (Some(column), Some(name)) => Some(column.complete(name, cells.cell_names())?),
        _ => None,
    };
    let n_batches = column.map_or(1, tutti::data::Categorical::n_levels);
    let flavor = if raw { HvgFlavor::SeuratV3 } else { HvgFlavor::Seurat };
    let config = HvgConfig { n_top_genes: wanted, flavor, ..HvgConfig::default() };
    let source = if raw { cells.source() } else { normalised };
    let result = highly_variable_genes(source, codes.as_deref(), n_batches, &config)?;
    notes.extend(result.warnings.iter().cloned());
    let how = format!("{} highly variable ({})", result.selected.len(), if raw { "seurat_v3 on counts" } else { "seurat" });
    Ok((result.selected, how))
}
