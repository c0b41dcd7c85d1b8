//! Which cells meet in a mini-batch.

mod composition;
mod domain;
mod lineage;
mod paired;
mod uniform;

pub use composition::{Composition, DomainShare};
pub use domain::{DomainSampler, DomainSamplerConfig, MinibatchStrategy, Neighborhood};
pub use lineage::{LineageSampler, LineageSamplerConfig};
pub use paired::{DomainCells, PairedSampler, PairedSamplerConfig};
pub use uniform::UniformSampler;

use crate::error::Result;
use crate::rng::Rng;

/// Cells that are trained on together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MiniBatch {
    /// Row numbers of the cells, distinct. Ascending, unless there are pairs.
    pub rows: Vec<usize>,
    /// Number of pairs: `rows[i]` and `rows[n_pairs + i]` belong together for each i below it. What follows are cells of no pair.
    pub n_pairs: usize,
    /// The domain (experimental batch) that the mini-batch is enriched for, where there is one.
    pub domain: Option<u32>,
    /// The cell whose neighbourhood the mini-batch is enriched for, where there is one.
    pub core: Option<usize>,
}

/// The mini-batches of an epoch, drawn as they are asked for.
pub struct MiniBatches {
    n_left: usize,
    rows_per_batch: f64,
    draw: Box<dyn Iterator<Item = MiniBatch> + Send>,
    /// Drawn, and not yet taken.
    peeked: Option<MiniBatch>,
}

impl MiniBatches {
    /// `n_batches` mini-batches of `draw`, with that many rows in the mean.
    pub fn new(n_batches: usize, rows_per_batch: f64, draw: impl Iterator<Item = MiniBatch> + Send + 'static) -> Self {
        Self { n_left: n_batches, rows_per_batch, draw: Box::new(draw.take(n_batches)), peeked: None }
    }

    /// The next one, where it is as `wanted`; it stays the next where it is not.
    pub fn next_if(&mut self, wanted: impl Fn(&MiniBatch) -> bool) -> Option<MiniBatch> {
        let next = self.next()?;
        if wanted(&next) {
            return Some(next);
        }
        self.n_left += 1;
        self.peeked = Some(next);
        None
    }

    /// Rows per mini-batch, in the mean.
    pub fn rows_per_batch(&self) -> f64 {
        self.rows_per_batch
    }
}

impl From<Vec<MiniBatch>> for MiniBatches {
    fn from(all: Vec<MiniBatch>) -> Self {
        let mean = all.iter().map(|b| b.rows.len()).sum::<usize>() as f64 / all.len().max(1) as f64;
        Self::new(all.len(), mean, all.into_iter())
    }
}

impl Iterator for MiniBatches {
    type Item = MiniBatch;

    fn next(&mut self) -> Option<MiniBatch> {
        self.n_left = self.n_left.saturating_sub(1);
        self.peeked.take().or_else(|| self.draw.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.n_left, Some(self.n_left))
    }
}

impl ExactSizeIterator for MiniBatches {}

/// Draws the mini-batches of an epoch; the same epoch gives the same mini-batches.
pub trait Sampler: Send + Sync {
    /// All mini-batches of epoch `epoch`, in training order.
    ///
    /// # Errors
    /// Where no mini-batch can be formed.
    fn epoch(&self, rng: &Rng, epoch: usize) -> Result<Vec<MiniBatch>>;

    /// The same one after the other, for training. A sampler whose epochs are long draws them here when they are asked for.
    ///
    /// # Errors
    /// As [`Sampler::epoch`].
    fn draw(&self, rng: &Rng, epoch: usize) -> Result<MiniBatches> {
        Ok(self.epoch(rng, epoch)?.into())
    }
}

/// Fewest cells in a mini-batch: a contrast needs others to contrast with.
pub const MIN_CELLS: usize = 4;
