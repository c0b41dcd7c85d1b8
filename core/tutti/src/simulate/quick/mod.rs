//! Counts of several batches and types by a few settings.
//!
//! Counts are negative-binomial around `library size x share of the gene`; the share is a log-normal base times the programmes of
//! the cell's type times the factors of its batch. Every cell has random streams of its own, so the
//! result depends on the settings alone, not on the threads.

mod batch_effect;
mod expression;
mod topology;

use rayon::prelude::*;

use crate::data::{Categorical, Cells, Csr};
use crate::error::{Error, Result};
use crate::rng::Rng;

use batch_effect::BatchEffect;
use expression::{Profiles, draw_row};
use topology::Topology;

use super::draw::pick;

/// What is simulated. The default is a small, realistic experiment of three batches (about 10 % of the values are not zero).
#[derive(Debug, Clone, PartialEq)]
pub struct SimulateConfig {
    /// Number of cells, at least 1.
    pub n_cells: usize,
    /// Number of genes, at least 1.
    pub n_genes: usize,
    /// Number of cell types, at least 1. Sizes fall from the first type to the last.
    pub n_types: usize,
    /// Number of batches, at least 1. With two or more batches and types, the last type is absent from the last batch.
    pub n_batches: usize,
    /// Median counts per cell of the first batch, above 0. More counts give a denser matrix.
    pub library_size: f64,
    /// Standard deviation of the log of a cell's library size within its batch, 0 or above.
    pub library_spread: f64,
    /// Standard deviation of the log-fold changes that a type's programme makes, 0 or above; larger separates types more.
    pub type_strength: f64,
    /// Share of the genes in the programme of one branch of the lineage tree, 0 to 1.
    pub programme_share: f64,
    /// Standard deviation of the log-fold factor of each gene in each batch, 0 (none) or above; larger separates batches more.
    pub batch_strength: f64,
    /// Overdispersion of the counts: variance = mean + dispersion x mean²; 0 gives Poisson counts.
    pub dispersion: f64,
    /// Probability that a count is lost (becomes zero) whatever its size, 0 up to but not 1.
    pub dropout: f64,
    /// Seed of all draws.
    pub seed: u64,
}

impl Default for SimulateConfig {
    fn default() -> Self {
        Self {
            n_cells: 3000,
            n_genes: 2000,
            n_types: 6,
            n_batches: 3,
            library_size: 370.0,
            library_spread: 0.35,
            type_strength: 1.2,
            programme_share: 0.1,
            batch_strength: 0.4,
            dispersion: 0.4,
            dropout: 0.0,
            seed: 0,
        }
    }
}

impl SimulateConfig {
    /// Refuses settings outside their range.
    ///
    /// # Errors
    /// [`Error::Argument`], naming the first one.
    pub fn validate(&self) -> Result<()> {
        let sizes =
            [("n_cells", self.n_cells), ("n_genes", self.n_genes), ("n_types", self.n_types), ("n_batches", self.n_batches)];
        if let Some((name, _)) = sizes.into_iter().find(|(_, n)| *n == 0) {
            return Err(Error::argument(name, "is 0", "give at least 1"));
        }
        let not_negative = [
            ("library_spread", self.library_spread),
            ("type_strength", self.type_strength),
            ("batch_strength", self.batch_strength),
            ("dispersion", self.dispersion),
        ];
        if let Some((name, value)) = not_negative.into_iter().find(|(_, v)| !v.is_finite() || *v < 0.0) {
            return Err(Error::argument(name, format!("is {value}"), "give 0 or a positive number"));
        }
        if !(self.library_size.is_finite() && self.library_size > 0.0) {
            return Err(Error::argument("library_size", format!("is {}", self.library_size), "give a number above 0"));
        }
        if !(0.0..=1.0).contains(&self.programme_share) {
            return Err(Error::argument("programme_share", format!("is {}", self.programme_share), "give a share from 0 to 1"));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::argument("dropout", format!("is {}", self.dropout), "give a probability from 0 to below 1"));
        }
        Ok(())
    }
}

/// Simulated counts and what they were made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulated {
    /// Raw counts, [n_cells, n_genes].
    pub counts: Csr,
    /// `cell_1` and so on.
    pub cell_names: Vec<String>,
    /// `gene_1` and so on.
    pub gene_names: Vec<String>,
    /// Batch of every cell, `batch_1` and so on.
    pub batch: Categorical,
    /// Type of every cell, `type_1` and so on.
    pub cell_type: Categorical,
}

impl Simulated {
    /// The counts with the columns `batch` and `cell_type`, borrowed.
    ///
    /// # Errors
    /// None for what [`simulate`] returns; those of [`Cells::new`] where fields were changed.
    pub fn cells(&self) -> Result<Cells<'_>> {
        Cells::new(self.counts.view(), self.cell_names.clone(), self.gene_names.clone())?
            .with_column("batch", self.batch.clone())?
            .with_column("cell_type", self.cell_type.clone())
    }
}

/// Draws an experiment. Parallel over cells in the caller's thread pool; the result is the same for any number of threads.
///
/// Memory: the matrix, its rows once more while they are joined, and `n_types x n_batches x n_genes` doubles.
///
/// ```
/// use tutti::simulate::{SimulateConfig, simulate};
/// let data = simulate(&SimulateConfig { n_cells: 200, n_genes: 300, ..Default::default() })?;
/// assert_eq!((data.counts.n_rows(), data.counts.n_cols()), (200, 300));
/// assert_eq!(data.batch.levels(), ["batch_1", "batch_2", "batch_3"]);
/// # Ok::<(), tutti::Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] for a setting outside its range.
pub fn simulate(config: &SimulateConfig) -> Result<Simulated> {
    config.validate()?;
    let rng = Rng::new(config.seed).derive("simulate");
    let topology = Topology::clusters(config, &rng);
    let effect = BatchEffect::draw(config, &rng);
    let profiles = Profiles::new(config, &topology, &effect, &rng);

    let places: Vec<(usize, usize)> = (0..config.n_cells)
        .map(|i| {
            let mut stream = rng.stream("place", 0, i as u64);
            let batch = pick(effect.sizes(), &mut stream);
            (batch, pick(topology.sizes(batch), &mut stream))
        })
        .collect();
    let rows: Vec<Vec<(u32, f32)>> = places
        .par_iter()
        .enumerate()
        .map(|(i, (batch, cell_type))| {
            let mut stream = rng.stream("counts", 0, i as u64);
            let depth = effect.library_size(*batch, &mut stream);
            draw_row(profiles.shares(*batch, *cell_type), depth, config, &mut stream)
        })
        .collect();
    let mut counts = Csr::empty(config.n_genes);
    rows.into_iter().for_each(|row| counts.push_row(row));

    Ok(Simulated {
        counts,
        cell_names: numbered("cell", config.n_cells),
        gene_names: numbered("gene", config.n_genes),
        batch: column("batch", config.n_batches, places.iter().map(|p| p.0))?,
        cell_type: column("type", config.n_types, places.iter().map(|p| p.1))?,
    })
}

pub(super) fn numbered(what: &str, n: usize) -> Vec<String> {
    (1..=n).map(|i| format!("{what}_{i}")).collect()
}

fn column(what: &str, n_levels: usize, codes: impl Iterator<Item = usize>) -> Result<Categorical> {
    Categorical::new(codes.map(|c| Some(c as u32)).collect(), numbered(what, n_levels))
}

#[cfg(test)]
mod tests;
