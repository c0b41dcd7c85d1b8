//! LCL: lineage-aware contrastive learning. Cells that descend from one ancestor are each other's natural augmentation.
//!
//! "Leveraging Lineage Barcodes as Natural Augmentations for Contrastive Learning of Cell Fate in scRNA-seq Data", submitted to ICML,
//! with the code `Lineage-aware_CL`. Differences, each an option where it changes a result: pairs are drawn anew in every epoch
//! (`fixed_pairs`); held-out cells decide when to stop, not mini-batches of cells that are trained on (`validation`), and the best weights
//! are kept (`keep_best`); test cells are seen only where asked (`mode`); related cells that are no partners are not pushed apart
//! (`mask_related`); a mini-batch that lacks lineages is filled by others that it does not have yet; pairs and cells without a barcode pass
//! the network together, so that their batch statistics are the same; the learning rate moves with every step, not once an epoch. Paper and code
//! differ in the denominator (`decoupled`) and in the projection head (`projection_norm`); the defaults are the code's.
//!
//! What has been measured, beside principal components of the same cells (`benches/results/lcl.md`): new cells of simulated lineages that were
//! trained on are told apart better; pairs of unseen lineages better by the preset `shallow` on two sets of real cells, worse by the published
//! depth and where each clone has many genes of its own. Compare on your own cells: `--split` does.

mod config;
mod inference;
mod saved;

use std::sync::Arc;

use candle_core::{Device, Tensor};
use ndarray::Array2;
use rayon::prelude::*;

pub use config::{Embedding, LclConfig, Mode, Preset, Validation};

use crate::data::{Batch, CellSource, Cells, LineageSummary, Lineages, Stacked};
use crate::error::{Error, Result};
use crate::loss::{LossTerms, NtXentConfig, Relation, Relations, entropy_penalty, nt_xent};
use crate::model::{Phase, System};
use crate::nn::{Draws, Parameters, Pass, ProjectionHead, SparseMlp};
use crate::ops::sparse_batch::SparseBatch;
use crate::rng::Rng;
use crate::sampler::{LineageSampler, MiniBatch, Sampler};
use crate::threads::Threads;
use crate::train::Trainer;

/// Mini-batches above which an epoch is said to be long.
const LONG_EPOCH: usize = 5000;
/// Mini-batches at most on which the loss is validated.
const MOST_VALIDATED: usize = 500;

/// Lineages of the cells, and which of them are not to be learned from.
#[derive(Debug, Clone, PartialEq)]
pub struct LclInput {
    /// Lineages of all cells.
    pub lineages: Lineages,
    /// Test cells: their barcodes are not used, and their expression only in [`Mode::Transductive`]. See [`Lineages::split_within`] and
    /// [`Lineages::split_whole`].
    pub test: Vec<usize>,
}

impl LclInput {
    /// Adds cells without a barcode, of another experiment for instance, for the entropy penalty: the cells to train on, those of `cells` first,
    /// with their lineages. `more`: [n, n_genes], the genes of `cells` in their order, treated as they were
    /// ([`crate::preprocess::prepare_query`]).
    ///
    /// # Errors
    /// [`Error::Data`] for another number of genes, or lineages of other cells.
    pub fn with_unlabelled<'a>(&self, cells: &Cells<'a>, more: impl CellSource + 'a) -> Result<(Cells<'a>, Self)> {
        let n_cells = cells.n_cells();
        if self.lineages.n_cells() != n_cells {
            let problem = format!("lineages of {} cells for {n_cells} cells", self.lineages.n_cells());
            return Err(Error::data(problem, "give lineages of these cells"));
        }
        let n_more = more.n_cells();
        let more_names = (n_cells..n_cells + n_more).map(|i| format!("without barcode {}", i + 1));
        let names = cells.cell_names().iter().cloned().chain(more_names).collect();
        let parts: Vec<Arc<dyn CellSource + 'a>> = vec![cells.shared_source(), Arc::new(more)];
        let all = Cells::new(Stacked::new(parts)?, names, cells.gene_names().to_vec())?;
        Ok((all, Self { lineages: self.lineages.with_unlabelled(n_more), test: self.test.clone() }))
    }
}

/// The network of LCL.
#[derive(Debug)]
pub struct Lcl {
    config: LclConfig,
    genes: Vec<String>,
    summary: LineageSummary,
    parameters: Parameters,
    encoder: SparseMlp,
    projection: ProjectionHead,
    training: Option<Training>,
}

/// What is known of the cells in training.
#[derive(Debug)]
struct Training {
    /// Without the barcodes of test cells.
    lineages: Lineages,
    unlabelled: Vec<usize>,
}

impl Lcl {
    /// A network with initial weights for these cells.
    ///
    /// # Errors
    /// Settings out of range; lineages of other cells; fewer than two lineages with two cells.
    pub fn new(cells: &Cells<'_>, input: &LclInput, config: LclConfig, device: &Device) -> Result<Self> {
        config.validate()?;
        let n_cells = cells.n_cells();
        if input.lineages.n_cells() != n_cells || input.test.iter().any(|i| *i >= n_cells) {
            let problem = format!("lineages of {} cells for {n_cells} cells", input.lineages.n_cells());
            return Err(Error::data(problem, "give lineages and test cells of these cells"));
        }
        let training = Training::new(input, config.mode);
        // Refused before any time is spent.
        LineageSampler::new(&training.lineages, Vec::new(), config.sampler())?;
        let parameters = Parameters::new(device, Rng::new(config.seed));
        let mut model = Self::build(config, cells.gene_names().to_vec(), training.lineages.summary(), parameters)?;
        model.training = Some(training);
        Ok(model)
    }

    fn build(config: LclConfig, genes: Vec<String>, summary: LineageSummary, mut parameters: Parameters) -> Result<Self> {
        let encoder = SparseMlp::new(&mut parameters, "encoder", genes.len(), &config.encoder())?;
        let base_dim = config.encoder_dims[config.encoder_dims.len() - 1];
        let (hidden, norm) = (&config.projection_dims, config.projection_norm);
        let projection = ProjectionHead::new(&mut parameters, base_dim, hidden, config.latent_dim, norm)?;
        Ok(Self { config, genes, summary, parameters, encoder, projection, training: None })
    }

    /// Starts training on `cells`, expected log-normalised.
    ///
    /// # Errors
    /// As [`Lcl::new`], or no threads.
    pub fn trainer<'a>(
        cells: &Cells<'a>,
        input: &LclInput,
        config: LclConfig,
        device: &Device,
        threads: Threads,
    ) -> Result<Trainer<'a, Self>> {
        let train = config.train();
        let model = threads.run(|| Self::new(cells, input, config, device))?;
        Trainer::new(model, cells.clone(), train, threads)
    }

    /// What a user should know before training: no cells for the entropy penalty, fewer lineages than pairs, epochs that one large lineage
    /// makes long.
    ///
    /// # Errors
    /// As [`LineageSampler::new`].
    pub fn warnings(input: &LclInput, config: &LclConfig) -> Result<Vec<String>> {
        let training = Training::new(input, config.mode);
        let sampler = LineageSampler::new(&training.lineages, Vec::new(), config.sampler())?;
        let summary = training.lineages.summary();
        let mut out = Vec::new();
        if config.n_drawn_unlabelled() > 0 && training.unlabelled.is_empty() {
            out.push("every cell has a barcode, so that the entropy penalty on cells without one is left out".to_owned());
        }
        if sampler.n_lineages() < config.n_pairs {
            let (n, n_pairs) = (sampler.n_lineages(), config.n_pairs);
            out.push(format!("{n} lineages have two cells or more: mini-batches have {n} pairs, not {n_pairs}"));
        }
        let longest = sampler.n_pairs_of(summary.largest_size);
        if longest > LONG_EPOCH {
            out.push(format!(
                "the largest lineage has {} cells and gives {longest} pairs, one per mini-batch: lower `size_factor` ({}) for shorter epochs",
                summary.largest_size, config.size_factor
            ));
        }
        Ok(out)
    }

    /// Settings of this model.
    pub fn config(&self) -> &LclConfig {
        &self.config
    }

    /// Genes that the model reads, in order.
    pub fn genes(&self) -> &[String] {
        &self.genes
    }

    /// Lineages that it was trained on.
    pub fn summary(&self) -> &LineageSummary {
        &self.summary
    }

    fn training(&self) -> Result<&Training> {
        self.training.as_ref().ok_or_else(|| Error::data("a loaded model has no training cells", "start with `Lcl::trainer`"))
    }

    /// z = g(f(x)) of all rows, one tensor per stacked mini-batch.
    fn project(&self, prepared: &Pairs, pass: Pass<'_>) -> Result<Vec<Tensor>> {
        let h = self.encoder.forward(&prepared.x, None, pass)?;
        Ok(self.projection.forward(&h, pass)?.chunk(prepared.relations.len(), 0)?)
    }

    /// NT-Xent between the partners, the mean over the mini-batches.
    fn contrast(&self, prepared: &Pairs, z: &[Tensor]) -> Result<Tensor> {
        let n = prepared.n_pairs;
        let each = z.par_iter().zip(&prepared.relations).map(|(z, relations)| {
            let config = NtXentConfig {
                temperature: self.config.temperature,
                hard_negative_beta: 0.0,
                decoupled: self.config.decoupled,
                relations: relations.clone(),
            };
            nt_xent(&z.narrow(0, 0, n)?, &z.narrow(0, n, n)?, &config, self.parameters.kernels())
        });
        mean(each)
    }
}

impl Training {
    fn new(input: &LclInput, mode: Mode) -> Self {
        let n_cells = input.lineages.n_cells();
        let mut is_test = vec![false; n_cells];
        input.test.iter().for_each(|i| is_test[*i] = true);
        let trained: Vec<usize> = (0..n_cells).filter(|i| !is_test[*i]).collect();
        let without_barcode = |i: &usize| match is_test[*i] {
            true => mode == Mode::Transductive,
            false => input.lineages.of(*i).is_empty(),
        };
        Self { lineages: input.lineages.only(&trained), unlabelled: (0..n_cells).filter(without_barcode).collect() }
    }

    /// Cells that have a partner.
    fn paired(&self) -> Vec<usize> {
        let mut rows: Vec<usize> = self.lineages.members().into_iter().filter(|m| m.len() > 1).flatten().collect();
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    /// Cells held out of each lineage, so many that two are left at least: a share `1 - train_frac` in the mean.
    fn held_out(&self, train_frac: f64, rng: &Rng) -> Vec<usize> {
        let mut held_out = Vec::new();
        for (lineage, members) in self.lineages.members().iter().enumerate().filter(|(_, m)| m.len() > 2) {
            let mut stream = rng.stream("cells held out of a lineage", 0, lineage as u64);
            let share = (1.0 - train_frac) * members.len() as f64;
            let n = share as usize + usize::from(stream.bernoulli(share.fract()));
            held_out.extend(stream.choose(members, n.min(members.len() - 2)));
        }
        held_out.sort_unstable();
        held_out.dedup();
        held_out
    }

    /// Each held-out cell with one of its lineage that is trained on, `n_pairs` of distinct lineages together.
    fn validation_pairs(&self, held_out: &[usize], n_pairs: usize, rng: &Rng) -> Vec<MiniBatch> {
        let mut stream = rng.stream("validation pairs", 0, 0);
        let mut is_held_out = vec![false; self.lineages.n_cells()];
        held_out.iter().for_each(|i| is_held_out[*i] = true);
        let mut rounds: Vec<Vec<(usize, usize)>> = Vec::new();
        for members in self.lineages.members().into_iter().filter(|m| m.len() > 2) {
            let (out, kept): (Vec<usize>, Vec<usize>) = members.into_iter().partition(|i| is_held_out[*i]);
            for (round, cell) in out.into_iter().enumerate().filter(|_| !kept.is_empty()) {
                if rounds.len() == round {
                    rounds.push(Vec::new());
                }
                rounds[round].push((cell, kept[stream.below(kept.len())]));
            }
        }
        let batch = |pairs: &[(usize, usize)]| {
            let rows = pairs.iter().map(|p| p.0).chain(pairs.iter().map(|p| p.1)).collect();
            MiniBatch { rows, n_pairs: pairs.len(), ..Default::default() }
        };
        rounds.iter_mut().for_each(|round| stream.shuffle(round));
        let chunks = rounds.iter().flat_map(|round| round.chunks(n_pairs)).filter(|pairs| pairs.len() > 1);
        chunks.map(batch).take(MOST_VALIDATED).collect()
    }

    /// Rows of different pairs that share a lineage are no negatives; `None` where there are none.
    fn relations(&self, rows: &[usize], n_pairs: usize) -> Option<Relations> {
        let rows = &rows[..2 * n_pairs];
        let mut by_lineage: Vec<(u32, usize)> =
            rows.iter().enumerate().flat_map(|(at, i)| self.lineages.of(*i).iter().map(move |l| (*l, at))).collect();
        by_lineage.sort_unstable();
        let related: Vec<&[(u32, usize)]> = by_lineage.chunk_by(|a, b| a.0 == b.0).filter(|run| run.len() > 2).collect();
        // Two of a lineage are mostly partners; where they are not, one of them has a second lineage, which is looked at too.
        let strangers = by_lineage.chunk_by(|a, b| a.0 == b.0).filter(|run| run.len() == 2);
        let strangers = strangers.filter(|run| run[0].1 % n_pairs != run[1].1 % n_pairs);
        let mut relations: Option<Relations> = None;
        for run in related.iter().copied().chain(strangers) {
            let relations = relations.get_or_insert_with(|| Relations::new(n_pairs));
            for (k, (_, i)) in run.iter().enumerate() {
                run[..k].iter().for_each(|(_, j)| relations.set(*i, *j, Relation::Ignored));
            }
        }
        relations
    }
}

/// Rows of each mini-batch: the first cells of all pairs, their partners, then cells without a barcode.
#[derive(Debug)]
pub struct Pairs {
    x: Arc<SparseBatch>,
    n_pairs: usize,
    n_unlabelled: usize,
    /// By mini-batch.
    relations: Vec<Option<Relations>>,
}

/// The mean over the mini-batches, whose losses are small and found side by side.
fn mean(losses: impl IndexedParallelIterator<Item = Result<Tensor>>) -> Result<Tensor> {
    let losses = losses.collect::<Vec<_>>().into_iter().collect::<Result<Vec<_>>>()?;
    Ok((Tensor::stack(&losses, 0)?.sum(0)? / losses.len() as f64)?)
}

impl System for Lcl {
    type Prepared = Pairs;

    fn name(&self) -> &'static str {
        "lcl"
    }

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn phases(&self) -> &[Phase] {
        &[Phase::MODEL]
    }

    fn split(&self, _cells: &Cells<'_>, train_frac: f64, rng: &Rng) -> Result<(Vec<usize>, Vec<usize>)> {
        let training = self.training()?;
        let mut rows = training.paired();
        if train_frac >= 1.0 || self.config.validation == Validation::MiniBatches {
            return Ok((rows, Vec::new()));
        }
        let held_out = training.held_out(train_frac, rng);
        rows.retain(|i| held_out.binary_search(i).is_err());
        Ok((rows, held_out))
    }

    fn validation_batches(&self, held_out: &[usize], _batch_size: usize, rng: &Rng) -> Result<Vec<MiniBatch>> {
        let training = self.training()?;
        Ok(match self.config.validation {
            Validation::Cells => training.validation_pairs(held_out, self.config.n_pairs, rng),
            Validation::MiniBatches if self.config.train_frac >= 1.0 => Vec::new(),
            Validation::MiniBatches => {
                let sampler = LineageSampler::new(&training.lineages, training.unlabelled.clone(), self.config.sampler())?;
                sampler.validation(rng, MOST_VALIDATED)
            }
        })
    }

    fn sampler(&mut self, _cells: &Cells<'_>, rows: &[usize], _epoch: usize, first: bool) -> Result<Option<Box<dyn Sampler>>> {
        if !first {
            return Ok(None);
        }
        let training = self.training()?;
        let sampler = LineageSampler::new(&training.lineages.only(rows), training.unlabelled.clone(), self.config.sampler())?;
        Ok(Some(Box::new(sampler)))
    }

    fn stacks(&self) -> bool {
        true
    }

    fn prepare(&self, batch: Batch, _draws: &Draws) -> Result<Pairs> {
        let (n_pairs, n_rows) = (batch.n_pairs, batch.indices.len() / batch.n_stacked);
        let n_unlabelled = n_rows - 2 * n_pairs;
        let relations =
            |rows: &[usize]| Ok(if self.config.mask_related { self.training()?.relations(rows, n_pairs) } else { None });
        let relations = batch.indices.chunks(n_rows).map(relations).collect::<Result<_>>()?;
        Ok(Pairs { x: Arc::new(SparseBatch::new(batch.rows, batch.is_trained)), n_pairs, n_unlabelled, relations })
    }

    fn losses(&self, prepared: &Pairs, _phase: Phase, draws: &Draws) -> Result<LossTerms> {
        let n_stacked = prepared.relations.len();
        let z = self.project(prepared, Pass { n_stacked, ..Pass::train(draws, 0) })?;
        let mut terms = LossTerms::new();
        terms.add("nt_xent", 1.0, self.contrast(prepared, &z)?);
        if prepared.n_unlabelled > 0 {
            let n_labelled = 2 * prepared.n_pairs;
            let penalty = |z: &Tensor| {
                let (labelled, unlabelled) = (z.narrow(0, 0, n_labelled)?, z.narrow(0, n_labelled, prepared.n_unlabelled)?);
                entropy_penalty(&unlabelled, &labelled, self.config.temperature)
            };
            terms.add("entropy", self.config.entropy_weight, mean(z.par_iter().map(penalty))?);
        }
        Ok(terms)
    }

    fn validation_losses(&self, prepared: &Pairs) -> Result<LossTerms> {
        let mut terms = LossTerms::new();
        terms.add("nt_xent", 1.0, self.contrast(prepared, &self.project(prepared, Pass::EVAL)?)?);
        Ok(terms)
    }

    fn embed(&self, source: &dyn CellSource) -> Result<Array2<f32>> {
        Lcl::embed(self, source)
    }
}

#[cfg(test)]
mod tests;
