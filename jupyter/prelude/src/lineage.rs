//! Lineages of cells: how often neighbours name them, which pairs are of one, and the genes that they rest on.

use std::sync::Arc;

use ndarray::{Array2, Axis};
use tutti::data::Lineages;
use tutti::downstream::{GradientConfig, LineageGenesConfig, LineagePairConfig, lineage_genes};
use tutti::metrics::held_out_lineage_error;
use tutti::threads::Threads;

use crate::cells::Cells;
use crate::column::{ColumnRef, Referred};
use crate::display::{Content, Rich, show};
use crate::embedding::Embedding;
use crate::error::{Error, Result, find};
use crate::figure::Figure;
use crate::kernel::stoppable;
use crate::lcl::LclModel;
use crate::plot::resolve;
use crate::table::Table;

/// Lineages from a column, or from a matrix of cells x clones in obsm.
pub(crate) fn lineages(cells: &Cells, column: &ColumnRef) -> Result<Lineages> {
    match &column.of {
        Referred::Name(name) if !cells.obs_names().contains(name) => Ok(cells.inner().lineages(name)?),
        _ => Ok(Lineages::from_column(&cells.category(column)?)),
    }
}

/// How often the five nearest training cells name the wrong lineage of a test cell: `lineage_error(&z, "barcode", &model.split()?)?`.
///
/// Of whole lineages that were held out, every second cell names the others. A row: embedding, error, standard error, test cells, and the error of naming
/// all cells after the largest lineage.
///
/// # Errors
/// Columns of other cells; no test cell with a lineage that another cell has.
pub fn lineage_error(
    embedding: impl Into<Embedding>,
    lineage: impl Into<ColumnRef>,
    split: impl Into<ColumnRef>,
) -> Result<Table> {
    let embedding = embedding.into();
    let cells = embedding.cells().ok_or_else(|| Error::usage(format!("`{}` does not know its cells", embedding.name())))?;
    let lineages = lineages(cells, &lineage.into())?;
    let split = resolve(&embedding, &split.into())?.categorical()?;
    let (test, train): (Vec<usize>, Vec<usize>) = (0..lineages.n_cells()).partition(|i| split.value(*i) == Some("test"));
    let trained = lineages.only(&train).members();
    let seen = |i: &&usize| lineages.of(**i).iter().any(|l| !trained[*l as usize].is_empty());
    // A cell of several lineages may have one that was trained on, also where whole lineages were held out.
    let whole = 2 * test.iter().filter(seen).count() <= test.len();
    let z = embedding.array().view();
    let error = || held_out_lineage_error(z, &lineages, &test, whole, 5, 1);
    let found = stoppable(|| Ok(Threads::new(0)?.run(error)?))?;
    Table::build()
        .text("embedding", vec![embedding.name()])
        .numbers("error", vec![found.error])
        .numbers("standard error", vec![found.standard_error])
        .integers("test cells", vec![found.n_test as i64])
        .numbers("largest lineage", vec![found.error_of_largest])
        .run()
}

/// Whether neighbourhoods of an embedding tell pairs of one lineage from other pairs: `lineage_pairs(&z, "barcode", (5, 50))?`.
///
/// Votes as GEMLI counts them: a hundred times, by two thirds of the dimensions, cells are divided in two again and again, and each pair in a cluster of
/// so many cells at least and at most gets a vote; give about the sizes of lineages. Of the cells of the 50 largest lineages. A row: embedding, AUPRC, AUROC,
/// the AUPRC of guessing, and cells.
///
/// # Errors
/// A column of other cells, no lineage of two cells, fewer than three dimensions, or more than 5,000 cells in these lineages.
pub fn lineage_pairs(embedding: impl Into<Embedding>, lineage: impl Into<ColumnRef>, sizes: (usize, usize)) -> Result<Table> {
    let embedding = embedding.into();
    let cells = embedding.cells().ok_or_else(|| Error::usage(format!("`{}` does not know its cells", embedding.name())))?;
    let lineages = lineages(cells, &lineage.into())?;
    let asked = lineages.cells_of_largest(50);
    let z = embedding.array().select(Axis(0), &asked);
    let config = LineagePairConfig { sizes, ..Default::default() };
    let found = stoppable(|| Ok(Threads::new(0)?.run(|| tutti::downstream::lineage_pairs(z.view(), &config))?))?;
    let named = |pair: &(u32, u32)| (asked[pair.0 as usize] as u32, asked[pair.1 as usize] as u32);
    let votes: Vec<((u32, u32), f64)> = found.votes.iter().map(|(pair, n)| (named(pair), f64::from(*n))).collect();
    let scores = tutti::metrics::pair_scores(votes.iter().map(|(pair, n)| (pair, *n)), &lineages.only(&asked))?;
    Table::build()
        .text("embedding", vec![embedding.name()])
        .numbers("AUPRC", vec![scores.auprc])
        .numbers("AUROC", vec![scores.auroc])
        .numbers("guessing", vec![scores.share_related])
        .integers("cells", vec![asked.len() as i64])
        .run()
}

/// How much the place of each lineage rests on each gene. Cheap to clone.
#[derive(Clone)]
pub struct LineageGenes {
    inner: Arc<Inner>,
}

struct Inner {
    found: tutti::downstream::LineageGenes,
    genes: Vec<String>,
}

impl LclModel {
    /// Genes by which cells lie near the others of their lineage: integrated gradients of the cosine with the lineage's centroid, for the 50 largest
    /// lineages of ten cells or more.
    ///
    /// # Errors
    /// As [`LclModel::embed`]; no lineage of ten cells.
    pub fn lineage_genes(&self, cells: &Cells, lineage: impl Into<ColumnRef>) -> Result<LineageGenes> {
        self.lineage_genes_of(cells, lineage, 10, 50)
    }

    /// As [`LclModel::lineage_genes`], of lineages of so many cells at least, and of so many of them, the largest first.
    ///
    /// # Errors
    /// As [`LclModel::lineage_genes`].
    pub fn lineage_genes_of(
        &self,
        cells: &Cells,
        lineage: impl Into<ColumnRef>,
        min_cells: usize,
        max_lineages: usize,
    ) -> Result<LineageGenes> {
        let lineages = lineages(cells, &lineage.into())?;
        let defaults = LineageGenesConfig::default();
        let gradients = GradientConfig { baseline: self.baseline(), ..defaults.gradients };
        let config = LineageGenesConfig { min_cells, max_lineages, gradients, ..defaults };
        let found = stoppable(|| {
            let genes = || Ok(lineage_genes(self.inner(), &self.rows(cells)?, &lineages, &config)?);
            Threads::new(self.threads())?.run(genes)
        })?;
        Ok(LineageGenes { inner: Arc::new(Inner { found, genes: self.genes() }) })
    }
}

impl LineageGenes {
    /// Lineages that were looked at, the largest first.
    pub fn lineages(&self) -> Vec<String> {
        self.inner.found.lineages.clone()
    }

    /// The `n` genes of the largest importance over all lineages.
    ///
    /// # Errors
    /// None for what this crate made.
    pub fn top(&self, n: usize) -> Result<Table> {
        self.ranked(self.inner.found.top(n))
    }

    /// The `n` genes of the largest importance for a lineage.
    ///
    /// # Errors
    /// For a lineage that was not looked at.
    pub fn top_of(&self, lineage: &str, n: usize) -> Result<Table> {
        let at = find("lineage", lineage, &self.inner.found.lineages)?;
        self.ranked(self.inner.found.top_of(at, n))
    }

    fn ranked(&self, top: Vec<(usize, f32)>) -> Result<Table> {
        Table::build()
            .text("gene", top.iter().map(|(gene, _)| self.inner.genes[*gene].clone()).collect::<Vec<_>>())
            .numbers("importance", top.iter().map(|(_, v)| f64::from(*v)).collect::<Vec<_>>())
            .run()
    }

    /// The first genes of the largest lineages as a heatmap: `n_genes` of each of `n_lineages`.
    ///
    /// # Errors
    /// For no genes or lineages.
    pub fn heatmap(&self, n_genes: usize, n_lineages: usize) -> Result<Figure> {
        let found = &self.inner.found;
        let n = n_lineages.min(found.lineages.len());
        let mut genes: Vec<usize> = Vec::new();
        for i in 0..n {
            let new = found.top_of(i, n_genes).into_iter().map(|(gene, _)| gene).filter(|g| !genes.contains(g));
            genes.extend(new.collect::<Vec<_>>());
        }
        let values = Array2::from_shape_fn((genes.len(), n), |(g, l)| f64::from(found.importance[[l, genes[g]]]));
        let rows: Vec<String> = genes.iter().map(|g| self.inner.genes[*g].clone()).collect();
        let figure = tutti_figures::heatmap(&tutti_figures::Heatmap {
            values: values.view(),
            rows: &rows,
            columns: &found.lineages[..n],
            tree: None,
            annotations: &[],
            map: tutti_figures::ColorMap::Viridis,
            value_name: "importance",
        })?;
        Ok(Figure::new("genes of lineages", figure))
    }

    /// What the core found.
    pub fn inner(&self) -> &tutti::downstream::LineageGenes {
        &self.inner.found
    }

    /// Shows the first genes of each lineage; notebooks call this for the last expression of a cell.
    pub fn evcxr_display(&self) {
        show(self);
    }

    fn brief(&self) -> Result<Table> {
        let found = &self.inner.found;
        let names =
            |top: Vec<(usize, f32)>| top.iter().map(|(g, _)| self.inner.genes[*g].as_str()).collect::<Vec<_>>().join(", ");
        let lineages: Vec<String> = std::iter::once("all".to_owned()).chain(found.lineages.iter().cloned()).collect();
        let first = (0..found.lineages.len()).map(|i| names(found.top_of(i, 6)));
        Table::build()
            .text("lineage", lineages)
            .text("rests on", std::iter::once(names(found.top(6))).chain(first).collect::<Vec<_>>())
            .run()
    }
}

impl Rich for LineageGenes {
    fn content(&self) -> Content {
        self.brief().map_or_else(|e| Content::text(e.to_string()), |t| t.content())
    }
}

/// What a console shows.
impl std::fmt::Debug for LineageGenes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.content().text)
    }
}
