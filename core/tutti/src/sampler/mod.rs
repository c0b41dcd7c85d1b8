//! Which cells meet in a mini-batch.

mod composition;
mod domain;
mod uniform;

pub use composition::{Composition, DomainShare};
pub use domain::{DomainSampler, DomainSamplerConfig, MinibatchStrategy, Neighborhood};
pub use uniform::UniformSampler;

use crate::error::Result;
use crate::rng::Rng;

/// Cells that are trained on together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MiniBatch {
    /// Row numbers of the cells, ascending and distinct.
    pub rows: Vec<usize>,
    /// The domain (experimental batch) that the mini-batch is enriched for, where there is one.
    pub domain: Option<u32>,
    /// The cell whose neighbourhood the mini-batch is enriched for, where there is one.
    pub core: Option<usize>,
}

/// Draws the mini-batches of an epoch; the same epoch gives the same mini-batches.
pub trait Sampler: Send + Sync {
    /// All mini-batches of epoch `epoch`, in training order.
    ///
    /// # Errors
    /// Where no mini-batch can be formed.
    fn epoch(&self, rng: &Rng, epoch: usize) -> Result<Vec<MiniBatch>>;
}

/// Fewest cells in a mini-batch: a contrast needs others to contrast with.
pub const MIN_CELLS: usize = 4;
