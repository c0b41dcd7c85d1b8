//! Reference and query as one set of cells to train on: their common genes, one kind of values, and a batch that tells them apart.

use std::sync::Arc;

use serde::Serialize;

use super::{Normalization, Origin, PrepareConfig, Prepared, Preprocessing, ValueKind, checked_values, prepare};
use crate::data::{Categorical, CellSource, Cells, GeneAlignment, GeneSubset, OrthologueSummary, Orthologues, Stacked};
use crate::error::{Error, Result};

/// Name of the column of batches that [`prepare_pair`] adds.
pub const PAIR_BATCH: &str = "batch";

/// How [`prepare_pair`] joins.
#[derive(Debug, Clone, Copy)]
pub struct PairConfig<'a> {
    /// Orthologues, where the species differ; genes are joined by name otherwise.
    pub orthologues: Option<&'a Orthologues>,
    /// Smallest share of the smaller of the two sets of genes that the other must have, 0 to 1. Default 0.3.
    pub min_overlap: f64,
    /// Columns of batches of the reference and of the query; `None` takes each as one batch.
    pub batch: [Option<&'a str>; 2],
    /// As in [`PrepareConfig`].
    pub n_top_genes: Option<usize>,
    /// As in [`PrepareConfig`], of both.
    pub normalization: Normalization,
    /// As in [`PrepareConfig`].
    pub on_demand: bool,
}

impl Default for PairConfig<'_> {
    fn default() -> Self {
        Self {
            orthologues: None,
            min_overlap: 0.3,
            batch: [None; 2],
            n_top_genes: None,
            normalization: Normalization::Auto,
            on_demand: false,
        }
    }
}

/// Cells of a reference, then those of a query.
pub struct Pair<'a> {
    /// All cells, those of the reference first, with the column [`PAIR_BATCH`] and no other. Names of cells have `reference:` or `query:` before
    /// them, genes those of the reference.
    pub cells: Cells<'a>,
    /// Cells of the reference.
    pub n_reference: usize,
    /// What was done to the values, and how genes were picked.
    pub prepared: Prepared,
    /// How the genes were joined.
    pub genes: PairGenes,
}

/// How the genes of a reference and a query were joined.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairGenes {
    /// Genes of the reference.
    pub n_reference: usize,
    /// Genes of the query.
    pub n_query: usize,
    /// Genes of both.
    pub n_shared: usize,
    /// Some reference genes that the query lacks.
    pub first_missing: Vec<String>,
    /// What the table of orthologues held.
    pub orthologues: Option<OrthologueSummary>,
}

/// Joins a reference and a query to train on both. Genes that one of them lacks are left out: zeros would tell the two apart. Counts of both are
/// scaled to totals over the common genes; where one has counts and the other logarithms, the counts are normalised over all of their genes first.
/// Highly variable genes are picked within batches.
///
/// # Errors
/// [`Error::Data`] for too few common genes or an incomplete column of batches; [`Error::Argument`] for a `min_overlap` out of range; as [`prepare`].
/// `origins`: of the reference and of the query.
pub fn prepare_pair<'a>(
    reference: &Cells<'a>,
    query: &Cells<'a>,
    config: &PairConfig<'_>,
    origins: [Origin<'_>; 2],
) -> Result<Pair<'a>> {
    let kinds = [checked_values(reference, origins[0])?.kind, checked_values(query, origins[1])?.kind];
    let (columns, genes) = shared_genes(reference, query, config)?;
    let mut notes = Vec::new();
    let raw = kinds.map(|kind| kind == ValueKind::RawCounts);
    for (kind, origin) in kinds.into_iter().zip(origins) {
        config.normalization.of(kind, origin)?;
    }
    let mixed = raw[0] != raw[1] && config.normalization == Normalization::Auto;
    if mixed {
        let (counts, logs) = if raw[0] { ("reference", "query") } else { ("query", "reference") };
        notes.push(format!(
            "the {counts} has counts and the {logs} none: the counts are scaled to 10000 per cell over all genes and log(1 + x) is taken, the values of the \
             {logs} are taken as they are"
        ));
    }
    let part = |cells: &Cells<'a>, raw: bool, columns: &[usize]| {
        let preprocessing = if raw { Preprocessing::COUNTS } else { Preprocessing::default() };
        let source: Arc<dyn CellSource + 'a> = preprocessing.apply(cells.shared_source())?;
        Ok::<_, Error>(GeneSubset::new(source, &columns.iter().map(|c| Some(*c)).collect::<Vec<_>>()))
    };
    let (of_reference, of_query): (Vec<usize>, Vec<usize>) = columns.into_iter().unzip();
    let stacked = Stacked::new(vec![part(reference, raw[0] && mixed, &of_reference)?, part(query, raw[1] && mixed, &of_query)?])?;
    let names = |cells: &Cells<'_>, side: &str| cells.cell_names().iter().map(|n| format!("{side}:{n}")).collect::<Vec<_>>();
    let cell_names = [names(reference, "reference"), names(query, "query")].concat();
    let gene_names = of_reference.iter().map(|g| reference.gene_names()[*g].clone()).collect();
    let joined = Cells::new(stacked, cell_names, gene_names)?.with_column(PAIR_BATCH, batches(reference, query, config)?)?;
    let options = PrepareConfig {
        batch: Some(PAIR_BATCH),
        n_top_genes: config.n_top_genes,
        features: None,
        normalization: config.normalization,
        on_demand: config.on_demand,
    };
    let both = format!("{} and {}", origins[0].name, origins[1].name);
    let (cells, mut prepared) = prepare(&joined, &options, Origin { name: &both, choose: origins[0].choose })?;
    prepared.notes.splice(..0, notes);
    Ok(Pair { cells, n_reference: reference.n_cells(), prepared, genes })
}

/// Columns of the common genes in reference and query, in the order of the reference.
fn shared_genes(reference: &Cells<'_>, query: &Cells<'_>, config: &PairConfig<'_>) -> Result<(Vec<(usize, usize)>, PairGenes)> {
    if !(0.0..=1.0).contains(&config.min_overlap) {
        let problem = format!("must be between 0 and 1 (got {})", config.min_overlap);
        return Err(Error::argument("min_overlap", problem, "use 0.3"));
    }
    let (ours, theirs) = (reference.gene_names(), query.gene_names());
    let alignment = match config.orthologues {
        Some(table) => table.align(ours, theirs, 0.0),
        None => GeneAlignment::by_name(ours, theirs, 0.0),
    };
    // No common gene at all is told of below, in words about reference and query.
    let alignment = match alignment {
        Err(Error::GeneOverlap { .. }) => GeneAlignment { columns: Vec::new(), missing: ours.to_vec() },
        found => found?,
    };
    let columns: Vec<(usize, usize)> = alignment.columns.iter().enumerate().filter_map(|(i, c)| c.map(|c| (i, c))).collect();
    let least = ours.len().min(theirs.len());
    let share = columns.len() as f64 / least.max(1) as f64;
    if columns.is_empty() || share < config.min_overlap {
        let (first, other) = (ours.first().map_or("", String::as_str), theirs.first().map_or("", String::as_str));
        let problem = format!(
            "reference and query share {} genes, {:.1} % of the smaller set of {least} ({:.1} % are needed); the first are called {first} and {other}",
            columns.len(),
            100.0 * share,
            100.0 * config.min_overlap
        );
        let fix = match config.orthologues {
            Some(_) => "check that the table of orthologues has the same kind of gene names as both",
            None => "check that both use the same kind of gene name; of two species, give a table of orthologues",
        };
        return Err(Error::data(problem, fix));
    }
    let genes = PairGenes {
        n_reference: ours.len(),
        n_query: theirs.len(),
        n_shared: columns.len(),
        first_missing: alignment.missing.into_iter().take(5).collect(),
        orthologues: config.orthologues.map(Orthologues::summary),
    };
    Ok((columns, genes))
}

/// `reference` and `query`, or `reference: x` and `query: y` where they have batches of their own.
fn batches(reference: &Cells<'_>, query: &Cells<'_>, config: &PairConfig<'_>) -> Result<Categorical> {
    let mut values: Vec<String> = Vec::new();
    for ((side, cells), column) in [("reference", reference), ("query", query)].into_iter().zip(config.batch) {
        let Some(name) = column else {
            values.extend(std::iter::repeat_n(side.to_owned(), cells.n_cells()));
            continue;
        };
        let column = cells.column(name)?;
        column.complete(name, cells.cell_names())?;
        values.extend((0..cells.n_cells()).map(|i| format!("{side}: {}", column.value(i).unwrap_or_default())));
    }
    Ok(Categorical::from_values(values.into_iter().map(Some)))
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::data::Csr;
    use crate::preprocess::to_memory;

    const ORIGINS: [Origin<'static>; 2] =
        [Origin { name: "a.h5ad", choose: "`--layer`" }, Origin { name: "b.h5ad", choose: "`--layer`" }];

    fn cells(x: Array2<f32>, genes: &[&str]) -> Cells<'static> {
        let names = (0..x.nrows()).map(|i| format!("c{i}")).collect();
        Cells::new(Csr::from_dense(x.view()).unwrap(), names, genes.iter().map(|g| (*g).to_owned()).collect()).unwrap()
    }

    fn dense(pair: &Pair<'_>) -> Array2<f32> {
        to_memory(pair.cells.source()).unwrap().to_dense()
    }

    #[test]
    fn common_genes_of_counts_are_scaled_to_their_own_totals() {
        let reference = cells(array![[1.0, 5.0, 3.0], [2.0, 0.0, 2.0]], &["A", "B", "C"]);
        let query = cells(array![[4.0, 4.0, 7.0]], &["C", "A", "X"]);
        let pair = prepare_pair(&reference, &query, &PairConfig::default(), ORIGINS).unwrap();
        assert_eq!((pair.cells.gene_names(), pair.n_reference), (&["A", "C"].map(String::from)[..], 2));
        assert_eq!(pair.cells.cell_names(), ["reference:c0", "reference:c1", "query:c0"]);
        let log = |share: f64| (1e4 * share).ln_1p() as f32;
        let expected = array![[log(0.25), log(0.75)], [log(0.5), log(0.5)], [log(0.5), log(0.5)]];
        assert!((&dense(&pair) - &expected).iter().all(|d| d.abs() < 1e-5), "{}", dense(&pair));
        let batch = pair.cells.column(PAIR_BATCH).unwrap();
        assert_eq!((0..3).map(|i| batch.value(i).unwrap()).collect::<Vec<_>>(), ["reference", "reference", "query"]);
        assert_eq!((pair.genes.n_shared, &pair.genes.first_missing[..]), (2, &["B".to_owned()][..]));
    }

    #[test]
    fn counts_beside_logs_are_normalised_alone_and_batches_are_joined() {
        let batch = Categorical::from_values(["x", "y"].map(Some));
        let reference = cells(array![[1.0, 5.0], [2.0, 2.0]], &["A", "B"]).with_column("tech", batch).unwrap();
        let query = cells(array![[0.5, 1.25]], &["B", "A"]);
        let config = PairConfig { batch: [Some("tech"), None], ..Default::default() };
        let pair = prepare_pair(&reference, &query, &config, ORIGINS).unwrap();
        let log = |share: f64| (1e4 * share).ln_1p() as f32;
        let expected = array![[log(1.0 / 6.0), log(5.0 / 6.0)], [log(0.5), log(0.5)], [1.25, 0.5]];
        assert!((&dense(&pair) - &expected).iter().all(|d| d.abs() < 1e-5), "{}", dense(&pair));
        assert!(pair.prepared.notes[0].contains("the reference has counts and the query none"));
        assert_eq!(pair.cells.column(PAIR_BATCH).unwrap().levels(), ["query", "reference: x", "reference: y"]);
    }

    #[test]
    fn counts_beside_logs_are_binarised_alike_and_never_scaled_twice() {
        let reference = cells(array![[1.0, 5.0], [2.0, 0.0]], &["A", "B"]);
        let query = cells(array![[0.0, 1.25]], &["B", "A"]);
        let config = PairConfig { normalization: Normalization::Binarize, ..Default::default() };
        let pair = prepare_pair(&reference, &query, &config, ORIGINS).unwrap();
        assert_eq!(dense(&pair), array![[1.0, 1.0], [1.0, 0.0], [1.0, 0.0]]);
        assert_eq!((pair.prepared.preprocessing, pair.prepared.notes.len()), (Preprocessing::BINARY, 0));
        let log = PairConfig { normalization: Normalization::LogNormalize, ..Default::default() };
        let refused = prepare_pair(&reference, &query, &log, ORIGINS).err().unwrap().to_string();
        assert!(refused.contains("the values of b.h5ad are no counts"), "{refused}");
    }

    #[test]
    fn genes_of_other_species_come_through_a_table() {
        let reference = cells(array![[1.0, 5.0, 3.0]], &["INS", "GCG", "SST"]);
        let query = cells(array![[4.0, 2.0, 1.0]], &["Sst", "Ins1", "Gcg"]);
        let error = prepare_pair(&reference, &query, &PairConfig::default(), ORIGINS).err().unwrap().to_string();
        assert!(error.contains("share 0 genes") && error.contains("INS and Sst") && error.contains("orthologues"), "{error}");
        let table = Orthologues::new([("GCG", "Gcg"), ("SST", "Sst"), ("INS", "Ins1"), ("INS", "Ins2")]).unwrap();
        let config = PairConfig { orthologues: Some(&table), ..Default::default() };
        let pair = prepare_pair(&reference, &query, &config, ORIGINS).unwrap();
        assert_eq!(pair.cells.gene_names(), ["GCG", "SST"]);
        let x = dense(&pair);
        assert!(x[[0, 0]] > x[[0, 1]] && x[[1, 1]] > x[[1, 0]]);
        assert_eq!(pair.genes.orthologues.unwrap().n_one_to_many, 2);
        assert!(prepare_pair(&reference, &query, &PairConfig { min_overlap: 0.9, ..config }, ORIGINS).is_err());
    }
}
