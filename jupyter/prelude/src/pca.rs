//! Principal components, the embedding before any integration.

use tutti::neighbors::Metric;
use tutti::preprocess::{PcaConfig, PrepareConfig};
use tutti::threads::Threads;

use crate::builder::changed;
use crate::cells::Cells;
use crate::display::warn;
use crate::embedding::Embedding;
use crate::error::Result;
use crate::html::number;
use crate::kernel::stoppable;

/// How other values are chosen, for messages.
pub(crate) const CHOOSE: &str = "`read_with(..).layer(\"NAME\")` or `.raw()`";

/// Principal components of the cells: 50, or as many as there can be, of the log-normalised values of 2000 highly variable genes.
///
/// # Errors
/// Values that cannot be used, naming cell and gene.
pub fn pca(cells: &Cells) -> Result<Embedding> {
    pca_with(cells).run()
}

/// As [`pca()`], with options: `pca_with(&cells).n_components(20).batch("tech").run()?`.
pub fn pca_with(cells: &Cells) -> PcaRun {
    PcaRun { cells: cells.clone(), n_components: None, batch: None, hvg: None, seed: 0, threads: 0 }
}

/// Which principal components are computed; [`PcaRun::run`] does it.
#[derive(Clone)]
pub struct PcaRun {
    cells: Cells,
    n_components: Option<usize>,
    batch: Option<String>,
    hvg: Option<usize>,
    seed: u64,
    threads: usize,
}

impl PcaRun {
    /// Components. Default 50, or as many as there can be.
    pub fn n_components(&self, n: usize) -> PcaRun {
        changed(self, |run| run.n_components = Some(n))
    }

    /// Column of batches, within which highly variable genes are looked for, as [`crate::concord()`] does.
    pub fn batch(&self, column: &str) -> PcaRun {
        changed(self, |run| run.batch = Some(column.to_owned()))
    }

    /// Highly variable genes; 0 takes all. Default 2000 where there are more.
    pub fn hvg(&self, n: usize) -> PcaRun {
        changed(self, |run| run.hvg = Some(n))
    }

    /// Names the starting directions. Default 0.
    pub fn seed(&self, seed: u64) -> PcaRun {
        changed(self, |run| run.seed = seed)
    }

    /// Threads; the result does not depend on them. Default: all processors.
    pub fn threads(&self, n: usize) -> PcaRun {
        changed(self, |run| run.threads = n)
    }

    /// Computes them.
    ///
    /// # Errors
    /// As [`pca()`]; more components than there can be.
    pub fn run(&self) -> Result<Embedding> {
        let cells = self.cells.core(&self.batch.iter().map(String::as_str).collect::<Vec<_>>())?;
        let config = PrepareConfig { batch: self.batch.as_deref(), n_top_genes: self.hvg, ..Default::default() };
        let (prepared, found) = stoppable(|| {
            let threads = Threads::new(self.threads)?;
            let (ready, prepared) = threads.run(|| self.cells.inner().prepare(&cells, &config, CHOOSE))?;
            prepared.notes.iter().for_each(|note| warn(note));
            let most = ready.n_cells().min(ready.n_genes()).saturating_sub(1);
            let n_components = self.n_components.unwrap_or(50.min(most));
            let config = PcaConfig { n_components, seed: self.seed, ..Default::default() };
            Ok((prepared, threads.run(|| tutti::preprocess::pca(ready.source(), &config))?))
        })?;
        let explained = 100.0 * found.explained_variance_ratio.sum();
        let note = format!("principal components of {} genes, {} % of the variance", prepared.n_genes, number(explained));
        Ok(Embedding::new("X_pca", found.scores, Metric::Euclidean, Some(self.cells.clone())).noted(note))
    }
}
