//! ATAC: cells x peaks read as genes, and embedded by the peaks alone.

use std::path::{Path, PathBuf};

use tutti::neighbors::Metric;
use tutti::preprocess::{GeneActivity, GeneActivityConfig, LsiConfig, to_memory};
use tutti::threads::Threads;

use crate::builder::changed;
use crate::cells::Cells;
use crate::display::warn;
use crate::embedding::Embedding;
use crate::error::Result;
use crate::kernel::stoppable;

/// Cells x genes of cells x peaks: the counts of the peaks over each protein-coding gene and 2,000 bases before it, as Signac's. Peaks are named
/// `chr1-100-200`, `chr1:100-200` or `chr1_100_200`; `annotation` is a .gtf, .gff3 or .bed file of the same genome, also gzipped. Obs and embeddings stay.
///
/// # Errors
/// For a file that cannot be read, a peak whose name is no place, or no peak over any gene.
pub fn gene_activity(peaks: &Cells, annotation: impl AsRef<Path>) -> Result<Cells> {
    gene_activity_with(peaks, annotation).run()
}

/// As [`gene_activity()`], with options: `gene_activity_with(&peaks, "genes.gtf.gz").upstream(5000).run()?`.
pub fn gene_activity_with(peaks: &Cells, annotation: impl AsRef<Path>) -> GeneActivityRun {
    GeneActivityRun { peaks: peaks.clone(), annotation: annotation.as_ref().to_owned(), config: GeneActivityConfig::default() }
}

/// Which counts are summed; [`GeneActivityRun::run`] does it.
#[derive(Clone)]
pub struct GeneActivityRun {
    peaks: Cells,
    annotation: PathBuf,
    config: GeneActivityConfig,
}

impl GeneActivityRun {
    /// Bases before a gene that count as well, in the direction of reading. Default 2000.
    pub fn upstream(&self, bases: u64) -> GeneActivityRun {
        changed(self, |run| run.config.upstream = bases)
    }

    /// Bases behind a gene that count as well. Default 0.
    pub fn downstream(&self, bases: u64) -> GeneActivityRun {
        changed(self, |run| run.config.downstream = bases)
    }

    /// Genes of these biotypes; none named takes every gene. Default `protein_coding`.
    pub fn biotypes(&self, names: &[&str]) -> GeneActivityRun {
        changed(self, |run| run.config.biotypes = names.iter().map(|name| (*name).to_owned()).collect())
    }

    /// Longest gene in bases; 0 takes all. Default 500,000.
    pub fn max_width(&self, bases: u64) -> GeneActivityRun {
        changed(self, |run| run.config.max_width = (bases > 0).then_some(bases))
    }

    /// Sums the counts.
    ///
    /// # Errors
    /// As [`gene_activity()`].
    pub fn run(&self) -> Result<Cells> {
        let genes = tutti_io::read_genes(&self.annotation)?;
        let peaks = self.peaks.core(&[])?;
        let (names, x, found) = stoppable(|| {
            let activity = GeneActivity::new(peaks.shared_source(), peaks.gene_names(), &genes, &self.config)?;
            Ok((activity.gene_names().to_vec(), to_memory(&activity)?, activity.summary().clone()))
        })?;
        if let Some(first) = found.chromosomes_without_gene.first() {
            let n = found.chromosomes_without_gene.len();
            warn(&format!("{n} chromosomes of peaks have no gene in the annotation (first: {first})"));
        }
        self.peaks.with_genes(x, names)
    }
}

/// Cells x peaks embedded by TF-IDF and singular vectors: 50, or as many as there can be. The first is left out where it follows the depth of the cells.
///
/// # Errors
/// For values below 0, naming cell and peak.
pub fn lsi(peaks: &Cells) -> Result<Embedding> {
    lsi_with(peaks).run()
}

/// As [`lsi()`], with options: `lsi_with(&peaks).n_components(20).run()?`.
pub fn lsi_with(peaks: &Cells) -> LsiRun {
    LsiRun { peaks: peaks.clone(), n_components: None, config: LsiConfig::default(), threads: 0 }
}

/// Which singular vectors are computed; [`LsiRun::run`] does it.
#[derive(Clone)]
pub struct LsiRun {
    peaks: Cells,
    n_components: Option<usize>,
    config: LsiConfig,
    threads: usize,
}

impl LsiRun {
    /// Singular vectors. Default 50, or as many as there can be.
    pub fn n_components(&self, n: usize) -> LsiRun {
        changed(self, |run| run.n_components = Some(n))
    }

    /// Keeps the first dimension, whatever it follows.
    pub fn keep_first(&self) -> LsiRun {
        changed(self, |run| run.config.max_depth_correlation = None)
    }

    /// Names the starting directions. Default 0.
    pub fn seed(&self, seed: u64) -> LsiRun {
        changed(self, |run| run.config.seed = seed)
    }

    /// Threads; the result does not depend on them. Default: all processors.
    pub fn threads(&self, n: usize) -> LsiRun {
        changed(self, |run| run.threads = n)
    }

    /// Computes them.
    ///
    /// # Errors
    /// As [`lsi()`]; more components than there can be.
    pub fn run(&self) -> Result<Embedding> {
        let peaks = self.peaks.core(&[])?;
        let most = peaks.n_cells().min(peaks.n_genes()).saturating_sub(1);
        let n_components = self.n_components.unwrap_or(self.config.n_components.min(most));
        let config = LsiConfig { n_components, ..self.config };
        let found = stoppable(|| Ok(Threads::new(self.threads)?.run(|| tutti::preprocess::lsi(peaks.source(), &config))?))?;
        let note = found.note();
        Ok(Embedding::new("X_lsi", found.embedding, Metric::Euclidean, Some(self.peaks.clone())).noted(note))
    }
}
