//! From cells as a user has them to cells to train on or to embed, with every choice said.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Binarized, HvgConfig, HvgFlavor, Normalized, TargetSum, ValueKind, ValueSummary, highly_variable_genes, summarise, to_memory,
};
use crate::data::{Categorical, CellSource, Cells, GeneAlignment, GeneSubset};
use crate::error::{Error, Result};

/// Total that counts are scaled to per cell.
const TARGET_SUM: f64 = 1e4;
/// Genes that are picked when the user does not say.
const DEFAULT_HVG: usize = 2000;

/// How the counts became the values that a model was trained on; repeated for every query.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Total that every cell was scaled to, over all its genes; `None` where the input was used as it was.
    pub target_sum: Option<f64>,
    /// Whether log(1 + x) was taken.
    pub log1p: bool,
    /// Whether values above 0 were taken as 1; then nothing else was done.
    #[serde(default)]
    pub binarize: bool,
}

impl Preprocessing {
    /// What counts go through: scaled to 10,000 per cell, log(1 + x).
    pub const COUNTS: Self = Self { target_sum: Some(TARGET_SUM), log1p: true, binarize: false };

    /// Whether a gene or peak was seen at all.
    pub const BINARY: Self = Self { target_sum: None, log1p: false, binarize: true };

    /// What values of this kind are trained on after.
    pub fn of(kind: ValueKind) -> Self {
        if kind == ValueKind::RawCounts { Self::COUNTS } else { Self::default() }
    }

    /// The source with this done as rows are read.
    ///
    /// # Errors
    /// What the source fails at.
    pub fn apply<'a>(self, source: Arc<dyn CellSource + 'a>) -> Result<Arc<dyn CellSource + 'a>> {
        if self.binarize {
            return Ok(Arc::new(Binarized::new(source)));
        }
        Ok(match (self.target_sum, self.log1p) {
            (None, false) => source,
            (target, log1p) => Arc::new(Normalized::new(source, target.map(|t| TargetSum::Fixed(t as f32)), log1p)?),
        })
    }

    /// What to do with new values so that they are like those of training, and a word where that is not what was done there.
    fn repeated(self, kind: ValueKind) -> (Self, Option<String>) {
        if self.binarize {
            // Of counts and of logarithms alike.
            return (self, None);
        }
        match (self.log1p, kind == ValueKind::RawCounts) {
            (true, false) => {
                let note = "the model was trained on counts; these values are no counts and are taken as log-normalised already";
                (Self::default(), Some(note.to_owned()))
            }
            (false, true) => {
                let note = "the model was trained on log-normalised values; these counts are scaled to 10000 per cell and log(1 + x) is taken";
                (Self::COUNTS, Some(note.to_owned()))
            }
            _ => (self, None),
        }
    }
}

/// What is done to values before training; `auto`, `log-normalize` or `binarize` in settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalization {
    /// Counts are scaled to 10,000 per cell and log(1 + x) is taken; other values stay as they are.
    #[default]
    Auto,
    /// The same, and values that are logarithms already, or anything but counts, are refused.
    LogNormalize,
    /// Values above 0 become 1, whatever they were: whether a gene, peak or protein was seen at all. CellPredX's published run from CITE-seq to ASAP-seq
    /// does so. Highly variable genes are picked by the values of before. For peaks alone, TF-IDF ([`super::lsi()`]) keeps more.
    Binarize,
}

impl Normalization {
    /// All of them with their names.
    pub const ALL: [(Normalization, &str); 3] =
        [(Normalization::Auto, "auto"), (Normalization::LogNormalize, "log-normalize"), (Normalization::Binarize, "binarize")];

    /// By its name.
    ///
    /// # Errors
    /// [`Error::Argument`] for another name.
    pub fn named(name: &str) -> Result<Self> {
        let known = Self::ALL.iter().find(|(_, n)| *n == name).map(|(normalization, _)| *normalization);
        known.ok_or_else(|| Error::argument("normalize", format!("is `{name}`"), "give `auto`, `log-normalize` or `binarize`"))
    }

    /// What values of this kind go through.
    ///
    /// # Errors
    /// [`Error::Argument`] where these cannot be log-normalised.
    pub fn of(self, kind: ValueKind, origin: Origin<'_>) -> Result<Preprocessing> {
        match self {
            Self::Auto => Ok(Preprocessing::of(kind)),
            Self::Binarize => Ok(Preprocessing::BINARY),
            Self::LogNormalize if kind == ValueKind::RawCounts => Ok(Preprocessing::COUNTS),
            Self::LogNormalize => {
                let problem = format!("is log-normalize, but the values of {} are no counts ({kind})", origin.name);
                Err(Error::argument("normalize", problem, format!("choose counts with {}, or leave it out", origin.choose)))
            }
        }
    }
}

/// Where values come from, for messages.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// A file, or a layer of an object.
    pub name: &'a str,
    /// How the user chooses other values, e.g. an option of the command.
    pub choose: &'a str,
}

/// How [`prepare`] picks genes and where it leaves the values.
#[derive(Debug, Clone, Copy, Default)]
pub struct PrepareConfig<'a> {
    /// Column of batches, within which highly variable genes are looked for.
    pub batch: Option<&'a str>,
    /// Highly variable genes; 0 takes all. Default 2000 where there are more.
    pub n_top_genes: Option<usize>,
    /// These genes, in this order, instead of highly variable ones.
    pub features: Option<&'a [String]>,
    /// What is done to the values.
    pub normalization: Normalization,
    /// Leaves the values where they are and transforms each mini-batch, for files larger than memory. Otherwise what is trained on is
    /// transformed once, 8 bytes per value, unless it needs no change.
    pub on_demand: bool,
}

/// What was done to the values.
#[derive(Debug, Clone, Serialize)]
pub struct Prepared {
    /// `raw counts`, `log-normalised` and so on.
    pub value_kind: String,
    /// How that was seen.
    pub reason: String,
    /// What the model will repeat for new cells.
    pub preprocessing: Preprocessing,
    /// Genes of the input.
    pub n_genes_in: usize,
    /// Genes that are trained on.
    pub n_genes: usize,
    /// How they were picked.
    pub gene_selection: String,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// Cells to train on: normalised where the values are counts, and with the genes picked.
///
/// # Errors
/// As [`checked_values`]; what the source fails at.
pub fn prepare<'a>(cells: &Cells<'a>, config: &PrepareConfig<'_>, origin: Origin<'_>) -> Result<(Cells<'a>, Prepared)> {
    let values = checked_values(cells, origin)?;
    let raw = values.kind == ValueKind::RawCounts;
    let mut notes = Vec::new();
    if let Some(first) = values.first_zero_cell {
        notes.push(format!(
            "{} cells have no counts at all (first: {}); their place in the embedding means nothing",
            values.n_zero_cells,
            cells.cell_names()[first]
        ));
    }
    let preprocessing = config.normalization.of(values.kind, origin)?;
    let source = preprocessing.apply(cells.shared_source())?;
    let (selected, gene_selection) = select_genes(cells, &*source, raw, config, &mut notes)?;
    let genes: Vec<String> = selected.iter().map(|g| cells.gene_names()[*g].clone()).collect();
    let ready = if preprocessing == Preprocessing::default() && genes == cells.gene_names() {
        cells.clone()
    } else {
        let subset = GeneSubset::new(source, &selected.iter().map(|g| Some(*g)).collect::<Vec<_>>());
        if config.on_demand { cells.with_source(subset, genes)? } else { cells.with_source(to_memory(&subset)?, genes)? }
    };
    let prepared = Prepared {
        value_kind: values.kind.to_string(),
        reason: values.reason,
        preprocessing,
        n_genes_in: cells.n_genes(),
        n_genes: ready.n_genes(),
        gene_selection,
        notes,
    };
    Ok((ready, prepared))
}

/// New cells with a model's genes in the model's order, preprocessed as its training cells were.
pub struct Query<'a> {
    /// Rows to embed, [n_cells, n_genes of the model].
    pub source: GeneSubset<Arc<dyn CellSource + 'a>>,
    /// What kind of values the query holds.
    pub value_kind: ValueKind,
    /// What is done to them.
    pub preprocessing: Preprocessing,
    /// Share of the model's genes that the query lacks; they are taken as zero.
    pub missing_share: f64,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// Prepares new cells for a model that was trained on `genes` after `preprocessing`. `min_overlap`: smallest share of them that the
/// query must have.
///
/// # Errors
/// [`Error::GeneOverlap`]; [`Error::Argument`] for a share out of range; as [`checked_values`].
pub fn prepare_query<'a>(
    cells: &Cells<'a>,
    genes: &[String],
    preprocessing: Preprocessing,
    min_overlap: f64,
    origin: Origin<'_>,
) -> Result<Query<'a>> {
    if !(0.0..=1.0).contains(&min_overlap) {
        return Err(Error::argument("min_overlap", format!("must be between 0 and 1 (got {min_overlap})"), "use 0.5"));
    }
    let values = checked_values(cells, origin)?;
    let (preprocessing, note) = preprocessing.repeated(values.kind);
    let alignment = GeneAlignment::by_name(genes, cells.gene_names(), min_overlap)?;
    let mut notes: Vec<String> = note.into_iter().collect();
    if !alignment.missing.is_empty() {
        let first: Vec<&str> = alignment.missing.iter().take(3).map(String::as_str).collect();
        notes.push(format!(
            "{} of the model's {} genes ({:.1} %) are missing and taken as zero (first: {})",
            alignment.missing.len(),
            genes.len(),
            100.0 * alignment.missing_share(),
            first.join(", ")
        ));
    }
    Ok(Query {
        source: GeneSubset::new(preprocessing.apply(cells.shared_source())?, &alignment.columns),
        value_kind: values.kind,
        preprocessing,
        missing_share: alignment.missing_share(),
        notes,
    })
}

/// Refuses values that no step can use, naming cell and gene.
///
/// # Errors
/// [`Error::Value`] for a negative value; [`Error::Data`] where all are zero.
pub fn checked_values(cells: &Cells<'_>, origin: Origin<'_>) -> Result<ValueSummary> {
    let values = summarise(cells.source())?;
    if let Some((cell, gene, value)) = values.first_negative {
        return Err(Error::Value {
            what: format!("{}: negative value {value}", origin.name),
            cell: cells.cell_names()[cell].clone(),
            gene: cells.gene_names()[gene].clone(),
            fix: format!("give raw counts or log-normalised values, e.g. with {}", origin.choose),
        });
    }
    if values.nnz == 0 {
        let (cell, gene) = (&cells.cell_names()[0], &cells.gene_names()[0]);
        let problem = format!("{}: all values are zero, from cell {cell} and gene {gene} on", origin.name);
        return Err(Error::data(problem, format!("choose others with {}", origin.choose)));
    }
    Ok(values)
}

/// Columns of the genes named, in the order of the names.
fn given_genes(features: &[String], genes: &[String]) -> Result<Vec<usize>> {
    if features.is_empty() {
        return Err(Error::argument("features", "names no gene", "give names of the matrix's genes or leave it out"));
    }
    let columns: HashMap<&str, usize> = genes.iter().enumerate().map(|(i, gene)| (gene.as_str(), i)).collect();
    let missing: Vec<&String> = features.iter().filter(|f| !columns.contains_key(f.as_str())).collect();
    if let Some(first) = missing.first() {
        let problem = format!("has {} genes that the cells lack (first: {first})", missing.len());
        return Err(Error::argument("features", problem, "give names of the matrix's genes"));
    }
    Ok(features.iter().map(|f| columns[f.as_str()]).collect())
}

fn select_genes(
    cells: &Cells<'_>,
    normalised: &dyn CellSource,
    raw: bool,
    config: &PrepareConfig<'_>,
    notes: &mut Vec<String>,
) -> Result<(Vec<usize>, String)> {
    let n_genes = cells.n_genes();
    if let Some(features) = config.features {
        return Ok((given_genes(features, cells.gene_names())?, format!("{} given", features.len())));
    }
    let wanted = config.n_top_genes.unwrap_or(DEFAULT_HVG);
    if wanted == 0 || wanted >= n_genes {
        return Ok(((0..n_genes).collect(), format!("all {n_genes}")));
    }
    let column = config.batch.map(|name| cells.column(name)).transpose()?;
    let codes = match (column, config.batch) {
        (Some(column), Some(name)) => Some(column.complete(name, cells.cell_names())?),
        _ => None,
    };
    let n_batches = column.map_or(1, Categorical::n_levels);
    let flavor = if raw { HvgFlavor::SeuratV3 } else { HvgFlavor::Seurat };
    let hvg = HvgConfig { n_top_genes: wanted, flavor, ..HvgConfig::default() };
    let source = if raw || config.normalization == Normalization::Binarize { cells.source() } else { normalised };
    let result = highly_variable_genes(source, codes.as_deref(), n_batches, &hvg)?;
    notes.extend(result.warnings.iter().cloned());
    let how = format!("{} highly variable ({})", result.selected.len(), if raw { "seurat_v3 on counts" } else { "seurat" });
    Ok((result.selected, how))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Csr;

    const HERE: Origin<'static> = Origin { name: "x.h5ad", choose: "`--layer`" };

    fn cells(x: ndarray::Array2<f32>) -> Cells<'static> {
        let names = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
        Cells::new(Csr::from_dense(x.view()).unwrap(), names("c", x.nrows()), names("g", x.ncols())).unwrap()
    }

    fn dense(source: &dyn CellSource) -> ndarray::Array2<f32> {
        to_memory(source).unwrap().to_dense()
    }

    #[test]
    fn counts_are_normalised_over_all_genes_and_a_query_goes_the_same_way() {
        let counts = cells(ndarray::arr2(&[[1.0, 0.0, 3.0], [0.0, 4.0, 6.0]]));
        let (ready, prepared) = prepare(&counts, &PrepareConfig::default(), HERE).unwrap();
        assert_eq!((prepared.preprocessing, prepared.value_kind.as_str()), (Preprocessing::COUNTS, "raw counts"));
        let log = |share: f64| (1e4 * share).ln_1p() as f32;
        let expected = ndarray::arr2(&[[log(0.25), 0.0, log(0.75)], [0.0, log(0.4), log(0.6)]]);
        assert!((dense(ready.source()) - &expected).iter().all(|d| d.abs() < 1e-6));
        // The model knows two of the genes, in another order, and one that the query lacks: totals are still over all its genes.
        let genes = ["g2", "absent", "g0"].map(String::from);
        let query = prepare_query(&counts, &genes, prepared.preprocessing, 0.5, HERE).unwrap();
        let x = dense(&query.source);
        assert!((x[[0, 0]] - log(0.75)).abs() < 1e-6 && x[[0, 1]] == 0.0 && (x[[0, 2]] - log(0.25)).abs() < 1e-6);
        assert!(query.notes[0].contains("absent") && (query.missing_share - 1.0 / 3.0).abs() < 1e-12);
        assert!(prepare_query(&counts, &genes, prepared.preprocessing, 0.9, HERE).is_err());
    }

    #[test]
    fn given_genes_come_in_their_order_from_totals_over_all() {
        let counts = cells(ndarray::arr2(&[[1.0, 0.0, 3.0], [0.0, 4.0, 6.0]]));
        let run = |features: &[String]| prepare(&counts, &PrepareConfig { features: Some(features), ..Default::default() }, HERE);
        let (ready, prepared) = run(&["g2", "g0"].map(String::from)).unwrap();
        assert_eq!((ready.gene_names(), prepared.n_genes_in), (&["g2", "g0"].map(String::from)[..], 3));
        assert!((dense(ready.source())[[0, 1]] - 2500f32.ln_1p()).abs() < 1e-6);
        for unknown in [&["g2", "GAPDH"][..], &["GAPDH"]] {
            let missing = run(&unknown.iter().map(|g| g.to_string()).collect::<Vec<_>>()).unwrap_err().to_string();
            assert!(missing.contains("`features` has 1 genes") && missing.contains("GAPDH"), "{missing}");
        }
        assert!(run(&[]).unwrap_err().to_string().contains("`features` names no gene"));
    }

    #[test]
    fn log_values_are_left_as_they_are_and_said_where_a_model_saw_counts() {
        let logs = cells(ndarray::arr2(&[[0.5, 0.0], [0.0, 1.25]]));
        let (ready, prepared) = prepare(&logs, &PrepareConfig::default(), HERE).unwrap();
        assert_eq!((dense(ready.source()), prepared.preprocessing), (dense(logs.source()), Preprocessing::default()));
        let query = prepare_query(&logs, logs.gene_names(), Preprocessing::COUNTS, 0.5, HERE).unwrap();
        assert_eq!(dense(&query.source), dense(logs.source()));
        assert!(query.notes[0].contains("no counts"), "{:?}", query.notes);
    }

    #[test]
    fn what_is_there_is_all_that_a_binary_model_sees_of_counts_and_of_logs() {
        let counts = cells(ndarray::arr2(&[[1.0, 0.0, 3.0], [0.0, 4.0, 6.0]]));
        let logs = cells(ndarray::arr2(&[[0.5, 0.0, 1.25], [0.0, 0.75, 2.5]]));
        let there = ndarray::arr2(&[[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]);
        let config = PrepareConfig { normalization: Normalization::Binarize, ..Default::default() };
        for x in [&counts, &logs] {
            let (ready, prepared) = prepare(x, &config, HERE).unwrap();
            assert_eq!((dense(ready.source()), prepared.preprocessing), (there.clone(), Preprocessing::BINARY));
            // A query goes the same way, without a word.
            let query = prepare_query(&logs, counts.gene_names(), prepared.preprocessing, 0.5, HERE).unwrap();
            assert_eq!((dense(&query.source), query.notes), (there.clone(), Vec::new()));
        }
        // Genes are picked by the counts: of binary values, the third has none that differ.
        let two = PrepareConfig { n_top_genes: Some(2), ..config };
        let many = cells(ndarray::Array2::from_shape_fn((40, 4), |(i, j)| match j {
            0 => 1.0 + (i % 2) as f32,
            1 => 2.0,
            2 => {
                if i < 20 {
                    1.0
                } else {
                    90.0
                }
            }
            _ => (1 + i % 3) as f32,
        }));
        let (ready, _) = prepare(&many, &two, HERE).unwrap();
        assert!(ready.gene_names().contains(&"g2".to_owned()), "{:?}", ready.gene_names());

        let log = PrepareConfig { normalization: Normalization::LogNormalize, ..Default::default() };
        let (as_asked, default) =
            (prepare(&counts, &log, HERE).unwrap(), prepare(&counts, &PrepareConfig::default(), HERE).unwrap());
        assert_eq!((dense(as_asked.0.source()), as_asked.1.preprocessing), (dense(default.0.source()), Preprocessing::COUNTS));
        let refused = prepare(&logs, &log, HERE).unwrap_err().to_string();
        assert!(refused.contains("no counts (log-normalised)") && refused.contains("`--layer`"), "{refused}");
        // A model of counts takes 0 and 1 as they are, so that it must not be trained on them as counts.
        assert!(prepare(&cells(there), &log, HERE).unwrap_err().to_string().contains("no counts (binary)"));
        for (normalization, name) in Normalization::ALL {
            assert_eq!(
                (Normalization::named(name).unwrap(), serde_json::to_value(normalization).unwrap()),
                (normalization, name.into())
            );
        }
        assert!(Normalization::named("log").unwrap_err().to_string().contains("`log-normalize`"));
        // Models of before know nothing of it.
        let before: Preprocessing = serde_json::from_str(r#"{"target_sum": 10000.0, "log1p": true}"#).unwrap();
        assert_eq!(before, Preprocessing::COUNTS);
    }

    #[test]
    fn useless_values_are_refused_with_their_place() {
        let refused = |x| checked_values(&cells(x), HERE).unwrap_err().to_string();
        let negative = refused(ndarray::arr2(&[[0.0, 1.0], [-2.0, 0.0]]));
        assert!(
            negative.contains("x.h5ad: negative value -2 for cell c1 and gene g0") && negative.contains("--layer"),
            "{negative}"
        );
        assert!(refused(ndarray::Array2::zeros((2, 2))).contains("all values are zero"));
    }
}
