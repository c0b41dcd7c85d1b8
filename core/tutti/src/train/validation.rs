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
        let fresh = OnceLock::new();
        let place = self.kept.as_ref().map_or(&fresh, |kept| &kept[k]);
        let ready = match place.get() {
            Some(ready) => ready,
            None => {
                let (stack, draws) = (Stack::of(self.batches[k].clone()), Draws::new(self.rng, 0, k));
                let ready = prepare(system, cells, stack, Purpose::Validation, &draws)?;
                place.get_or_init(|| ready)
            }
        };
        let values = system.validation_losses(&ready.prepared)?.values()?;
        Ok(values.iter().map(|(_, weight, value)| weight * value).sum())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::data::{Batch, Csr};
    use crate::systems::concord::{Concord, ConcordColumns, ConcordConfig};
    use crate::threads::Threads;

    fn cells(n: usize, n_genes: usize) -> Cells<'static> {
        let mut stream = Rng::new(2).stream("expression", 0, 0);
        let mut x = Csr::empty(n_genes);
        for _ in 0..n {
            let row: Vec<(u32, f32)> =
                (0..n_genes as u32).filter_map(|g| stream.bernoulli(0.3).then(|| (g, 1.0 + stream.uniform() as f32))).collect();
            x.push_row(row);
        }
        let names = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect::<Vec<_>>();
        Cells::new(x, names("c", n), names("g", n_genes)).unwrap()
    }

    fn batches(sizes: &[usize]) -> Vec<MiniBatch> {
        let start = |k: usize| sizes[..k].iter().sum::<usize>();
        (0..sizes.len()).map(|k| MiniBatch { rows: (start(k)..start(k + 1)).collect(), ..Default::default() }).collect()
    }

    #[test]
    fn the_loss_is_the_mean_over_cells_and_the_same_kept_or_prepared_anew_on_any_number_of_threads() {
        let cells = cells(90, 40);
        let config = ConcordConfig { latent_dim: 8, encoder_dims: vec![16], ..Default::default() };
        let model = Concord::new(&cells, &ConcordColumns::default(), config, &Device::Cpu).unwrap();
        // More than pass the network at once, of different sizes.
        let (batches, rng) = (batches(&[20, 20, 20, 10, 15, 5]), Rng::new(3));
        let mut expected = 0.0;
        for (k, batch) in batches.iter().enumerate() {
            let mut rows = Csr::default();
            cells.source().read_rows(&batch.rows, &mut rows).unwrap();
            let batch = Batch { rows, indices: batch.rows.clone(), n_pairs: 0, n_stacked: 1, is_trained: true };
            let n = batch.indices.len() as f64;
            let terms = model.validation_losses(&model.prepare(batch, &Draws::new(rng, 0, k)).unwrap()).unwrap();
            expected += n / 90.0 * terms.values().unwrap().iter().map(|(_, weight, value)| weight * value).sum::<f64>();
        }
        let kept = Validation::new(batches.clone(), &cells, rng);
        let anew = Validation { kept: None, ..Validation::new(batches, &cells, rng) };
        let loss =
            |validation: &Validation<_>, n: usize| Threads::new(n).unwrap().run(|| validation.loss(&model, &cells).unwrap());
        let first = loss(&kept, 2);
        assert!((first - expected).abs() < 1e-6 && first > 0.5, "{first} {expected}");
        assert!(kept.kept.as_ref().unwrap().iter().all(|place| place.get().is_some()));
        for other in [loss(&kept, 2), loss(&kept, 1), loss(&anew, 1), loss(&anew, 2)] {
            assert_eq!(other.to_bits(), first.to_bits());
        }
    }

    #[test]
    fn held_out_cells_of_many_values_are_not_kept() {
        let cells = cells(9, 40);
        let many = MiniBatch { rows: vec![0; MOST_KEPT_VALUES / 8], ..Default::default() };
        assert!(Validation::<()>::new(vec![many], &cells, Rng::new(1)).kept.is_none());
        assert!(Validation::<()>::new(batches(&[4, 5]), &cells, Rng::new(1)).kept.is_some());
    }
}
