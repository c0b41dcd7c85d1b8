//! Loss over held-out cells.

use std::sync::OnceLock;

use rayon::prelude::*;

use super::stack::{Purpose, Ready, Stack, prepare};
use crate::data::Cells;
use crate::error::Result;
use crate::model::System;
use crate::nn::Draws;
use crate::rng::Rng;
use crate::sampler::MiniBatch;

/// Stored values of held-out mini-batches at most that stay prepared, 8 bytes each.
const MOST_KEPT_VALUES: usize = 1 << 23;

/// Mini-batches that pass the network beside each other, which bounds the memory of their activations.
const AT_ONCE: usize = 4;

/// Mini-batches of held-out cells, the same with the same draws in every epoch.
pub(super) struct Validation<P> {
    batches: Vec<MiniBatch>,
    rng: Rng,
    /// What the system made of each, where they are few enough to be kept.
    kept: Option<Vec<OnceLock<Ready<P>>>>,
}

impl<P: Send + Sync> Validation<P> {
    pub fn new(batches: Vec<MiniBatch>, cells: &Cells<'_>, rng: Rng) -> Self {
        let n_rows: usize = batches.iter().map(|batch| batch.rows.len()).sum();
        let of_cell = match cells.source().nnz() {
            Some(nnz) => nnz.div_ceil(cells.n_cells().max(1)),
            None => cells.n_genes(),
        };
        let small = n_rows.saturating_mul(of_cell) <= MOST_KEPT_VALUES;
        let kept = small.then(|| batches.iter().map(|_| OnceLock::new()).collect());
        Self { batches, rng, kept }
    }

    /// Without held-out cells there is none.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Mean loss over the held-out cells.
    pub fn loss<S: System<Prepared = P>>(&self, system: &S, cells: &Cells<'_>) -> Result<f64> {
        let (mut sum, mut n) = (0.0, 0);
        for first in (0..self.batches.len()).step_by(AT_ONCE) {
            let group = first..self.batches.len().min(first + AT_ONCE);
            let losses = group.clone().into_par_iter().map(|k| self.of_batch(k, system, cells)).collect::<Result<Vec<f64>>>()?;
            for (batch, loss) in self.batches[group].iter().zip(losses) {
                sum += batch.rows.len() as f64 * loss;
                n += batch.rows.len();
            }
        }
        Ok(sum / n.max(1) as f64)
    }

    fn of_batch<S: System<Prepared = P>>(&self, k: usize, system: &S, cells: &Cells<'_>) -> Result<f64> {
        let new = || prepare(system, cells, Stack::of(self.batches[k].clone()), Purpose::Validation, &Draws::new(self.rng, 0, k));
        let fresh;
        let ready = match self.kept.as_ref().map(|kept| &kept[k]) {
            Some(place) => match place.get() {
                Some(ready) => ready,
                None => {
                    let ready = new()?;
                    place.get_or_init(|| ready)
                }
            },
            None => {
                fresh = new()?;
                &fresh
            }
        };
        let values = system.validation_losses(&ready.prepared)?.values()?;
        Ok(values.iter().map(|(_, weight, value)| weight * value).sum())
    }
}
