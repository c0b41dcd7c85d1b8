//! Concerto: a teacher that attends to genes and a student that reads them densely, taught to agree on every cell.
//!
//! Yang et al., Nature Machine Intelligence 2022 (10.1038/s42256-022-00518-z). Where the paper's equations and the published code differ, the network is that of the
//! code: the attention has W and b, and its output a tanh. Differences from both: the loss is the mean over all anchors (the code adds the two views, the paper
//! halves them; Adam is blind to the factor); batch normalisation has PyTorch's epsilon 1e-5 and momentum 0.1 (Keras: 1e-3, 0.01), dense layers start at Kaiming's
//! normal weights (Keras: Glorot's even ones); each cell is seen once per epoch (the code shuffles within 10,000 cells); the learning rate falls over all of
//! training (`decay_steps`: in the code it has fallen after a fixed number of mini-batches); few cells are seen more than three times (`n_epochs`). The attention
//! is evaluated on the values that are not zero, which gives the same as over all genes.
//!
//! Trained on one assay. Not here yet: several assays and missing ones, the classifier on the teacher with its adaptation to other tissues.

mod config;
mod inference;
mod saved;

use std::sync::Arc;

use candle_core::{Device, Tensor};
use ndarray::Array2;

pub use config::{ConcertoConfig, Preset};

use crate::data::{Batch, CellSource, Cells};
use crate::error::{Error, Result};
use crate::loss::{LossTerms, nt_xent};
use crate::model::{Phase, System};
use crate::nn::{Activation, Draws, GeneAttention, JointHead, Norm, NormActivation, NormalizedLinear, Parameters, Pass};
use crate::ops::sparse_batch::SparseBatch;
use crate::rng::Rng;
use crate::sampler::{DomainSampler, MIN_CELLS, Sampler};
use crate::threads::Threads;
use crate::train::Trainer;

/// Updates below which a run has hardly moved from its initial weights.
const FEW_UPDATES: usize = 200;

/// Attention over genes, then the joint head: what embeds cells.
#[derive(Debug, Clone)]
struct Teacher {
    rna: GeneAttention,
    head: JointHead,
}

impl Teacher {
    fn forward(&self, x: &Arc<SparseBatch>, pass: Pass<'_>) -> Result<Tensor> {
        self.head.forward(&[self.rna.forward(x, pass)?], pass)
    }
}

/// Batch norm of genes, a dense layer with ReLU, batch norm, then a joint head of its own.
#[derive(Debug, Clone)]
struct Student {
    rna: NormalizedLinear,
    norm: NormActivation,
    head: JointHead,
}

impl Student {
    fn forward(&self, x: &Arc<SparseBatch>, pass: Pass<'_>) -> Result<Tensor> {
        let hidden = Activation::Relu.apply(&self.rna.forward(x, pass)?)?;
        self.head.forward(&[self.norm.forward(&hidden, pass)?], pass)
    }
}

/// The two networks of Concerto.
#[derive(Debug)]
pub struct Concerto {
    config: ConcertoConfig,
    genes: Vec<String>,
    batches: Vec<String>,
    parameters: Parameters,
    teacher: Teacher,
    student: Student,
    /// Batch of each cell in training.
    training: Option<Vec<u32>>,
}

impl Concerto {
    /// Networks with initial weights for these cells. `batch`: the obs column of experimental batches, each of which gives mini-batches of its own; `None`
    /// takes all cells as one.
    ///
    /// # Errors
    /// Settings out of range; a column that is missing or incomplete; batches of too few cells.
    pub fn new(cells: &Cells<'_>, batch: Option<&str>, config: ConcertoConfig, device: &Device) -> Result<Self> {
        config.validate()?;
        let (codes, batches) = match batch {
            Some(name) => {
                let column = cells.column(name)?.drop_unused();
                (column.complete(name, cells.cell_names())?, column.levels().to_vec())
            }
            None => (vec![0; cells.n_cells()], vec!["all".to_owned()]),
        };
        let sizes = batch_sizes(cells, batch)?;
        if config.n_batches(&sizes) == 0 {
            let problem = format!("no batch has the {MIN_CELLS} cells that a mini-batch needs");
            return Err(Error::data(problem, "give more cells, or a column of larger batches"));
        }
        let parameters = Parameters::new(device, Rng::new(config.seed));
        let config = ConcertoConfig { n_epochs: Some(config.epochs_of(&sizes)), ..config };
        let mut model = Self::build(config, cells.gene_names().to_vec(), batches, parameters)?;
        model.training = Some(codes);
        Ok(model)
    }

    fn build(config: ConcertoConfig, genes: Vec<String>, batches: Vec<String>, mut parameters: Parameters) -> Result<Self> {
        let (n_genes, d, dropout) = (genes.len(), config.latent_dim, config.dropout);
        let teacher = Teacher {
            rna: GeneAttention::new(&mut parameters, "teacher.rna", n_genes, d)?,
            head: JointHead::new(&mut parameters, "teacher.head", d, dropout)?,
        };
        let student = Student {
            rna: NormalizedLinear::new(&mut parameters, "student.rna", n_genes, d)?,
            norm: NormActivation::new(&mut parameters, "student.rna.out", Norm::BatchNorm, Activation::None, d)?,
            head: JointHead::new(&mut parameters, "student.head", d, dropout)?,
        };
        Ok(Self { config, genes, batches, parameters, teacher, student, training: None })
    }

    /// Starts training on `cells`, expected log-normalised; `batch` as in [`Concerto::new`].
    ///
    /// # Errors
    /// As [`Concerto::new`], or no threads.
    pub fn trainer<'a>(
        cells: &Cells<'a>,
        batch: Option<&str>,
        config: ConcertoConfig,
        device: &Device,
        threads: Threads,
    ) -> Result<Trainer<'a, Self>> {
        let model = threads.run(|| Self::new(cells, batch, config, device))?;
        let train = model.config.train();
        Trainer::new(model, cells.clone(), train, threads)
    }

    /// What a user should know before training: batches too small for a mini-batch, too few updates to learn from.
    ///
    /// # Errors
    /// [`Error::Data`] for a column that is not there.
    pub fn warnings(cells: &Cells<'_>, batch: Option<&str>, config: &ConcertoConfig) -> Result<Vec<String>> {
        let sizes = batch_sizes(cells, batch)?;
        let mut out = Vec::new();
        if let Some(name) = batch {
            let column = cells.column(name)?.drop_unused();
            let tiny: Vec<String> = column
                .levels()
                .iter()
                .zip(&sizes)
                .filter(|(_, n)| **n < MIN_CELLS)
                .map(|(level, n)| format!("{level} ({n})"))
                .collect();
            if !tiny.is_empty() {
                out.push(format!("batches with fewer than {MIN_CELLS} cells give no mini-batch: {}", tiny.join(", ")));
            }
        }
        let (n_epochs, n_batches) = (config.epochs_of(&sizes), config.n_batches(&sizes));
        if n_epochs * n_batches < FEW_UPDATES {
            let n = n_epochs * n_batches;
            out.push(format!("{n} mini-batches in all are few to learn from: raise `n_epochs` ({n_epochs})"));
        }
        Ok(out)
    }

    /// Settings of this model, with the number of epochs that was chosen.
    pub fn config(&self) -> &ConcertoConfig {
        &self.config
    }

    /// Genes that the model reads, in order.
    pub fn genes(&self) -> &[String] {
        &self.genes
    }

    /// Names of the batches that it was trained on.
    pub fn batches(&self) -> &[String] {
        &self.batches
    }

    /// NT-Xent between what teacher and student make of the same cells; both are trained.
    fn forward(&self, x: &Arc<SparseBatch>, teacher: Pass<'_>, student: Pass<'_>) -> Result<LossTerms> {
        let (taught, learned) = (self.teacher.forward(x, teacher)?, self.student.forward(x, student)?);
        let mut terms = LossTerms::new();
        terms.add("nt_xent", 1.0, nt_xent(&taught, &learned, &self.config.nt_xent(), self.parameters.kernels())?);
        Ok(terms)
    }
}

impl System for Concerto {
    type Prepared = Arc<SparseBatch>;

    fn name(&self) -> &'static str {
        "concerto"
    }

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn phases(&self) -> &[Phase] {
        &[Phase::MODEL]
    }

    fn sampler(&mut self, _cells: &Cells<'_>, rows: &[usize], _epoch: usize, first: bool) -> Result<Option<Box<dyn Sampler>>> {
        if !first {
            return Ok(None);
        }
        let Some(batch) = &self.training else {
            return Err(Error::data("a loaded model has no training cells", "start with `Concerto::trainer`"));
        };
        Ok(Some(Box::new(DomainSampler::new(rows, batch, self.batches.len(), self.config.sampler())?)))
    }

    fn prepare(&self, batch: Batch, _draws: &Draws) -> Result<Arc<SparseBatch>> {
        Ok(Arc::new(SparseBatch::new(batch.rows, batch.is_trained)))
    }

    fn losses(&self, prepared: &Arc<SparseBatch>, _phase: Phase, draws: &Draws) -> Result<LossTerms> {
        self.forward(prepared, Pass::train(draws, 0), Pass::train(draws, 1))
    }

    fn validation_losses(&self, prepared: &Arc<SparseBatch>) -> Result<LossTerms> {
        self.forward(prepared, Pass::EVAL, Pass::EVAL)
    }

    fn embed(&self, source: &dyn CellSource) -> Result<Array2<f32>> {
        Concerto::embed(self, source)
    }
}

/// Cells of each batch.
fn batch_sizes(cells: &Cells<'_>, batch: Option<&str>) -> Result<Vec<usize>> {
    batch.map_or(Ok(vec![cells.n_cells()]), |name| Ok(cells.column(name)?.drop_unused().counts()))
}

#[cfg(test)]
mod tests;
