//! What the one trainer needs to know of a system.

use candle_core::Tensor;

use ndarray::Array2;

use crate::data::{Batch, CellSource, Cells};
use crate::error::Result;
use crate::loss::LossTerms;
use crate::nn::{Draws, Parameters};
use crate::rng::Rng;
use crate::sampler::{MiniBatch, Sampler, UniformSampler};

/// A parameter group and how often it is updated within one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase {
    /// Name in error messages, e.g. `model` or `discriminator`.
    pub name: &'static str,
    /// Parameter group that is updated.
    pub group: usize,
    /// Updates per mini-batch.
    pub n_updates: usize,
}

impl Phase {
    /// The single phase of a system without an adversary.
    pub const MODEL: Phase = Phase { name: "model", group: 0, n_updates: 1 };
}

/// A learning system: networks, how a mini-batch is prepared, and the losses of a prepared one.
///
/// Preparing (gathering, masking, transposing) runs beside the training of the mini-batch before, hence the two methods; both draw
/// only from the keyed streams they are given.
pub trait System: Send + Sync {
    /// A mini-batch ready for training.
    type Prepared: Send + Sync;

    /// Name in files and messages, e.g. `concord`.
    fn name(&self) -> &'static str;

    /// All tensors.
    fn parameters(&self) -> &Parameters;

    /// Parameter groups in the order in which a step updates them; one for most, two when an adversary is trained.
    fn phases(&self) -> &[Phase];

    /// Cells to train on and held-out cells, both ascending; here a share `train_frac` at random.
    ///
    /// # Errors
    /// Where too few cells are left for either.
    fn split(&self, cells: &Cells<'_>, train_frac: f64, rng: &Rng) -> Result<(Vec<usize>, Vec<usize>)> {
        let mut rows: Vec<usize> = (0..cells.n_cells()).collect();
        if train_frac >= 1.0 {
            return Ok((rows, Vec::new()));
        }
        rng.stream("validation split", 0, 0).shuffle(&mut rows);
        let mut held_out = rows.split_off((train_frac * cells.n_cells() as f64) as usize);
        rows.sort_unstable();
        held_out.sort_unstable();
        Ok((rows, held_out))
    }

    /// Mini-batches on which the validation loss is measured, the same after every epoch; here the held-out cells one after the other.
    /// None leave validation out.
    ///
    /// # Errors
    /// As [`System::sampler`].
    fn validation_batches(&self, held_out: &[usize], batch_size: usize, rng: &Rng) -> Result<Vec<MiniBatch>> {
        let mut batches = UniformSampler::in_order(held_out.to_vec(), batch_size).epoch(rng, 0)?;
        // A single cell has nothing to be contrasted with.
        batches.retain(|batch| batch.rows.len() > 1);
        Ok(batches)
    }

    /// The sampler of the epochs from `epoch` on, if it changes there; `first` asks for one in any case. `rows` are the cells that are
    /// trained on.
    ///
    /// # Errors
    /// Where no mini-batches can be formed.
    fn sampler(&mut self, cells: &Cells<'_>, rows: &[usize], epoch: usize, first: bool) -> Result<Option<Box<dyn Sampler>>>;

    /// Whether mini-batches whose gradients make one update ([`crate::train::TrainConfig::accumulate`]) come stacked, as one [`Batch`]: they
    /// pass the network together, each with statistics and losses of its own, which gives the same gradient in less time. Here not.
    fn stacks(&self) -> bool {
        false
    }

    /// Makes a mini-batch, or several stacked ones, ready.
    ///
    /// # Errors
    /// What the preparation can fail at.
    fn prepare(&self, batch: Batch, draws: &Draws) -> Result<Self::Prepared>;

    /// Named, weighted losses of a mini-batch, the mean over stacked ones; the trainer sums, differentiates, steps and records them.
    ///
    /// # Errors
    /// What the forward pass can fail at.
    fn losses(&self, prepared: &Self::Prepared, phase: Phase, draws: &Draws) -> Result<LossTerms>;

    /// The same losses without dropout or change of running statistics, for held-out cells.
    ///
    /// # Errors
    /// As [`System::losses`].
    fn validation_losses(&self, prepared: &Self::Prepared) -> Result<LossTerms>;

    /// Latent coordinates, [n_cells, latent_dim], without randomness. `source` has the model's genes in the model's order, preprocessed as in
    /// training.
    ///
    /// # Errors
    /// Another number of genes; what the source fails at.
    fn embed(&self, source: &dyn CellSource) -> Result<Array2<f32>>;

    /// What beside the parameters a resumed run needs, e.g. the embedding behind a neighbour graph.
    ///
    /// # Errors
    /// Where the device fails.
    fn extra_state(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(Vec::new())
    }

    /// Sets what [`System::extra_state`] gave; called before [`System::sampler`].
    ///
    /// # Errors
    /// For tensors that do not fit.
    fn restore_extra_state(&mut self, _tensors: &[(String, Tensor)]) -> Result<()> {
        Ok(())
    }
}
