//! What becomes of the lineages of early cells.

use std::sync::Arc;

use tutti::data::Categorical;
use tutti::downstream::{FateConfig, FatePrediction, FateTargets, FateTimes};

use crate::cells::Cells;
use crate::column::{Column, ColumnRef, Values};
use crate::display::{Content, Rich, show};
use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::html::{block, muted};
use crate::kernel::stoppable;
use crate::lineage::lineages;
use crate::plot::resolve;
use crate::table::Table;

/// Fates of cells from an embedding: `predict_fate(&z).lineage("barcode").time("day").fate("cell_type").run()?`.
///
/// A decoder is fitted to early cells whose lineages have final cells, whose types are the fates; it is tested on a fifth of the lineages, then fitted to
/// all. Where the embedding is LCL's, the network has seen the barcodes of the lineages that are tested on, though no fates.
pub fn predict_fate(embedding: impl Into<Embedding>) -> FateRun {
    FateRun {
        embedding: embedding.into(),
        lineage: None,
        time: None,
        fate: None,
        early: Vec::new(),
        last: None,
        min_final: 5,
        test_share: 0.2,
        seed: FateConfig::default().seed,
        threads: 0,
    }
}

/// Which cells tell of which; [`FateRun::run`] fits the decoder.
#[derive(Clone)]
pub struct FateRun {
    embedding: Embedding,
    lineage: Option<ColumnRef>,
    time: Option<ColumnRef>,
    fate: Option<ColumnRef>,
    early: Vec<String>,
    last: Option<String>,
    min_final: usize,
    test_share: f64,
    seed: u64,
    threads: usize,
}

impl FateRun {
    /// Barcode of each cell: a column, the name of one, or of a matrix of cells x clones in obsm.
    pub fn lineage(&self, column: impl Into<ColumnRef>) -> FateRun {
        let mut run = self.clone();
        run.lineage = Some(column.into());
        run
    }

    /// Time of each cell, numbers or categories.
    pub fn time(&self, column: impl Into<ColumnRef>) -> FateRun {
        let mut run = self.clone();
        run.time = Some(column.into());
        run
    }

    /// Type of each cell: those of final cells are the fates.
    pub fn fate(&self, column: impl Into<ColumnRef>) -> FateRun {
        let mut run = self.clone();
        run.fate = Some(column.into());
        run
    }

    /// Times of early cells. Default: the first.
    pub fn early(&self, times: &[&str]) -> FateRun {
        let mut run = self.clone();
        run.early = times.iter().map(|t| (*t).to_owned()).collect();
        run
    }

    /// Time of final cells. Default: the last.
    pub fn last(&self, time: &str) -> FateRun {
        let mut run = self.clone();
        run.last = Some(time.to_owned());
        run
    }

    /// Final cells that a lineage must have. Default 5.
    pub fn min_final(&self, n: usize) -> FateRun {
        let mut run = self.clone();
        run.min_final = n;
        run
    }

    /// Share of the lineages that the decoder is tested on. Default 0.2.
    pub fn test_share(&self, share: f64) -> FateRun {
        let mut run = self.clone();
        run.test_share = share;
        run
    }

    /// Names all random draws. Default 42.
    pub fn seed(&self, seed: u64) -> FateRun {
        let mut run = self.clone();
        run.seed = seed;
        run
    }

    /// Threads; the result does not depend on them. Default: all processors.
    pub fn threads(&self, n: usize) -> FateRun {
        let mut run = self.clone();
        run.threads = n;
        run
    }

    /// Fits the decoder.
    ///
    /// # Errors
    /// A column that is missing; a time that no cell has; no early cell with enough final relatives.
    pub fn run(&self) -> Result<Fates> {
        let z = &self.embedding;
        let (Some(lineage), Some(time), Some(fate)) = (&self.lineage, &self.time, &self.fate) else {
            return Err(Error::usage(
                "give the columns of lineages, times and types with `.lineage(..)`, `.time(..)` and `.fate(..)`",
            ));
        };
        let cells = z.cells().ok_or_else(|| Error::usage(format!("`{}` does not know its cells", z.name())))?;
        let (lineages, time, fate) = (lineages(cells, lineage)?, times(&resolve(z, time)?), resolve(z, fate)?.categorical()?);
        let times = FateTimes::of(&time, &self.early, self.last.as_deref(), self.min_final)?;
        let targets = FateTargets::new(&lineages, &time, &fate, &times)?;
        let config = FateConfig { seed: self.seed, ..Default::default() };
        let (x, share) = (z.array().view(), self.test_share);
        let found = stoppable(|| Ok(tutti::downstream::predict_fates(x, &targets, share, &config, self.threads)?))?;
        Ok(Fates { inner: Arc::new(Inner { found, name: z.name() }) })
    }
}

/// Times as categories in their order.
fn times(column: &Column) -> Categorical {
    match column.raw() {
        Values::Category(column) => column.drop_unused(),
        Values::Number(values) => Categorical::from_values(values.iter().map(|v| v.is_finite().then(|| v.to_string()))),
    }
}

/// Fates of all cells, and how well they were told for lineages held out. Cheap to clone.
#[derive(Clone)]
pub struct Fates {
    inner: Arc<Inner>,
}

struct Inner {
    found: FatePrediction,
    name: String,
}

impl Fates {
    /// Names of the fates.
    pub fn fates(&self) -> Vec<String> {
        self.inner.found.decoder.fates().to_vec()
    }

    /// The share of a fate among the descendants that each cell is expected to have.
    ///
    /// # Errors
    /// For a fate that there is not.
    pub fn share(&self, fate: &str) -> Result<Column> {
        let at = crate::error::find("fate", fate, &self.fates())?;
        Ok(Column::numbers(&format!("fate_{fate}"), &self.inner.found.shares.column(at).to_vec()))
    }

    /// The test on lineages held out, in a row: embedding, cells, divergence, share of largest fates that are right, and both by the mean of the other
    /// lineages.
    ///
    /// # Errors
    /// Where there is a single lineage, so that none could be held out.
    pub fn test(&self) -> Result<Table> {
        let held_out =
            self.inner.found.held_out.ok_or_else(|| Error::usage("there is one lineage only; none could be held out"))?;
        Table::build()
            .text("embedding", vec![self.inner.name.clone()])
            .integers("cells", vec![held_out.n_cells as i64])
            .numbers("divergence", vec![held_out.kl])
            .numbers("divergence of the mean", vec![held_out.kl_of_mean])
            .numbers("right", vec![held_out.right])
            .numbers("right by the mean", vec![held_out.right_of_mean])
            .run()
    }

    /// What the core found.
    pub fn inner(&self) -> &tutti::downstream::FatePrediction {
        &self.inner.found
    }

    /// Shows the test; notebooks call this for the last expression of a cell.
    pub fn evcxr_display(&self) {
        show(self);
    }
}

impl Cells {
    /// The cells with the share of each fate as a column of obs, `fate_<type>`.
    ///
    /// # Errors
    /// For fates of another number of cells.
    pub fn with_fates(&self, fates: &Fates) -> Result<Cells> {
        fates.fates().iter().try_fold(self.clone(), |cells, fate| cells.with_obs(&format!("fate_{fate}"), fates.share(fate)?))
    }
}

impl Rich for Fates {
    fn content(&self) -> Content {
        let found = &self.inner.found;
        let fates = self.fates().join(", ");
        let head = format!("fates {fates}: from {} early cells of {} lineages", found.n_early, found.n_lineages);
        match self.test().map(|t| t.content()) {
            Ok(table) => {
                let html = format!("{}{}", muted(&head), table.html.unwrap_or_default());
                Content::text(format!("{head}\n{}", table.text)).with_html(block(&html))
            }
            Err(_) => Content::text(head.clone()).with_html(block(&muted(&head))),
        }
    }
}

/// What a console shows.
impl std::fmt::Debug for Fates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.content().text)
    }
}
