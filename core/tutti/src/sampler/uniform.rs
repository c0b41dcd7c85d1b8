//! Every cell once per epoch, in random order.

use super::{MiniBatch, Sampler};
use crate::error::Result;
use crate::rng::Rng;

/// Shuffles the cells and cuts them into mini-batches; the last may be smaller.
#[derive(Debug, Clone)]
pub struct UniformSampler {
    rows: Vec<usize>,
    batch_size: usize,
    shuffle: bool,
}

impl UniformSampler {
    /// Over the cells `rows`.
    pub fn new(rows: Vec<usize>, batch_size: usize) -> Self {
        Self { rows, batch_size, shuffle: true }
    }

    /// In the order given, the same in every epoch: for validation.
    pub fn in_order(rows: Vec<usize>, batch_size: usize) -> Self {
        Self { rows, batch_size, shuffle: false }
    }
}

impl Sampler for UniformSampler {
    fn epoch(&self, rng: &Rng, epoch: usize) -> Result<Vec<MiniBatch>> {
        let mut rows = self.rows.clone();
        if self.shuffle {
            rng.stream("uniform", epoch as u64, 0).shuffle(&mut rows);
        }
        let batches = rows.chunks(self.batch_size.max(1)).map(|chunk| {
            let mut rows = chunk.to_vec();
            rows.sort_unstable();
            MiniBatch { rows, ..Default::default() }
        });
        Ok(batches.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_once_per_epoch_and_another_order_in_the_next() {
        let sampler = UniformSampler::new((0..10).collect(), 4);
        let rng = Rng::new(1);
        let first = sampler.epoch(&rng, 0).unwrap();
        assert_eq!(first.iter().map(|b| b.rows.len()).collect::<Vec<_>>(), [4, 4, 2]);
        let mut all: Vec<usize> = first.iter().flat_map(|b| b.rows.clone()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
        assert_eq!(first, sampler.epoch(&rng, 0).unwrap());
        assert_ne!(first, sampler.epoch(&rng, 1).unwrap());
    }
}
