//! CONCORD: contrastive learning whose mini-batches are composed by batch and neighbourhood.
//!
//! Zhu et al., Nature Biotechnology 2025 (s41587-025-02950-z). Differences from the published code, each an option where it changes a
//! result: held-out cells are validated on two masked views with fixed draws (there: two identical views); a batch smaller than a
//! mini-batch is used whole (there: drawn with replacement); the trained batch and class levels stay with the model, so that new data
//! are decoded and classified by name; the input is never changed.

mod columns;
mod config;
mod inference;
mod saved;

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use ndarray::Array2;

pub use crate::model::PredictedClasses;
pub use config::{ConcordConfig, GraphSource, Preset};

use crate::data::{Batch, Categorical, CellSource, Cells};
use crate::error::{Error, Result};
use crate::loss::{LossTerms, cross_entropy, importance_penalty, mse, nt_xent};
use crate::model::{Phase, System};
use crate::neighbors::{NeighborConfig, Neighbors, nearest_self};
use crate::nn::{Classifier, Decoder, Draws, Parameters, Pass, SparseMlp};
use crate::ops::sparse_batch::SparseBatch;
use crate::preprocess::{PcaConfig, gene_means, pca};
use crate::rng::Rng;
use crate::sampler::{DomainSampler, MIN_CELLS, Neighborhood, Sampler};
use crate::threads::Threads;
use crate::train::Trainer;

/// Columns of obs that CONCORD reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConcordColumns {
    /// Experimental batch (the most granular one); `None` takes all cells as one batch.
    pub batch: Option<String>,
    /// Class of each cell, for the classifier.
    pub label: Option<String>,
}

/// The network of CONCORD with the names that it was trained on.
#[derive(Debug)]
pub struct Concord {
    config: ConcordConfig,
    names: Names,
    parameters: Parameters,
    encoder: SparseMlp,
    decoder: Option<Decoder>,
    classifier: Option<Classifier>,
    importance: Option<Tensor>,
    training: Option<TrainingColumns>,
    /// Embedding behind the sampler's neighbour graph.
    graph: Option<Array2<f32>>,
}

/// Names that a trained model keeps.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Names {
    genes: Vec<String>,
    batches: Vec<String>,
    classes: Vec<String>,
    covariates: BTreeMap<String, Vec<String>>,
}

/// Codes of the cells in training.
#[derive(Debug)]
struct TrainingColumns {
    batch: Vec<u32>,
    class: Vec<Option<u32>>,
    covariates: Vec<Vec<u32>>,
}

impl Concord {
    /// A network with initial weights for these cells.
    ///
    /// # Errors
    /// Settings out of range; a column that is missing or incomplete.
    pub fn new(cells: &Cells<'_>, columns: &ConcordColumns, config: ConcordConfig, device: &Device) -> Result<Self> {
        let parameters = Parameters::new(device, Rng::new(config.seed));
        Self::with_parameters(cells, columns, config, parameters)
    }

    fn with_parameters(
        cells: &Cells<'_>,
        columns: &ConcordColumns,
        config: ConcordConfig,
        parameters: Parameters,
    ) -> Result<Self> {
        config.validate()?;
        let (names, training) = read_columns(cells, columns, &config)?;
        let mut model = Self::build(config, names, parameters)?;
        if let Some(decoder) = &model.decoder {
            let kept = if model.config.decoder_target_unmasked { 1.0 } else { model.config.mask().kept() };
            let mean = gene_means(cells.source())?.mapv(|m| (kept * m) as f32);
            decoder.start_from(&model.parameters, &mean.to_vec())?;
        }
        model.training = Some(training);
        Ok(model)
    }

    /// Starts training on `cells`, expected log-normalised.
    ///
    /// # Errors
    /// As [`Concord::new`], or no threads.
    pub fn trainer<'a>(
        cells: &Cells<'a>,
        columns: &ConcordColumns,
        config: ConcordConfig,
        device: &Device,
        threads: Threads,
    ) -> Result<Trainer<'a, Self>> {
        let train = config.train();
        let model = threads.run(|| Self::new(cells, columns, config, device))?;
        Trainer::new(model, cells.clone(), train, threads)
    }

    /// What a user should know before training: settings that rarely help, a single batch, batches too small for a mini-batch.
    ///
    /// # Errors
    /// [`Error::Data`] for a column that is not there.
    pub fn warnings(cells: &Cells<'_>, columns: &ConcordColumns, config: &ConcordConfig) -> Result<Vec<String>> {
        let mut out = config.warnings();
        let Some(batch) = &columns.batch else { return Ok(out) };
        let column = cells.column(batch)?.drop_unused();
        if column.n_levels() == 1 {
            out.push(format!("obs column `{batch}` has a single batch; there is nothing to integrate, the embedding is trained without correction"));
        }
        let sizes = column.levels().iter().zip(column.counts());
        let tiny: Vec<String> = sizes.filter(|(_, n)| *n < MIN_CELLS).map(|(level, n)| format!("{level} ({n})")).collect();
        if !tiny.is_empty() && column.n_levels() > 1 {
            out.push(format!("batches with fewer than {MIN_CELLS} cells give no mini-batch of their own: {}", tiny.join(", ")));
        }
        Ok(out)
    }

    fn build(config: ConcordConfig, names: Names, mut parameters: Parameters) -> Result<Self> {
        let n_genes = names.genes.len();
        let encoder = SparseMlp::new(&mut parameters, "encoder", n_genes, &config.encoder())?;
        let mut model_decoder = None;
        if config.use_decoder {
            let mut categories = vec![("batch".to_owned(), (names.batches.len(), config.domain_embedding_dim))];
            for (name, dim) in &config.covariate_embedding_dims {
                categories.push((format!("covariate.{name}"), (names.covariates[name].len(), *dim)));
            }
            let decoder = Decoder::new(
                &mut parameters,
                config.latent_dim,
                &categories,
                &config.decoder(),
                n_genes,
                config.decoder_final_activation,
            )?;
            model_decoder = Some(decoder);
        }
        let classifier = match config.use_classifier {
            true => Some(Classifier::new(&mut parameters, config.latent_dim, names.classes.len(), config.norm)?),
            false => None,
        };
        let importance = match config.use_importance_mask {
            true => Some(parameters.constant("importance", n_genes, 1.0)?.as_tensor().clone()),
            false => None,
        };
        Ok(Self {
            config,
            names,
            parameters,
            encoder,
            decoder: model_decoder,
            classifier,
            importance,
            training: None,
            graph: None,
        })
    }

    /// Uses this embedding, [n_cells, any width], for the sampler's neighbour graph; needs `sampler_graph` `given`.
    ///
    /// # Errors
    /// [`Error::Argument`] where the settings ask for another graph.
    pub fn with_graph_embedding(mut self, embedding: Array2<f32>) -> Result<Self> {
        if self.config.sampler_graph != GraphSource::Given || self.config.p_intra_knn == 0.0 {
            let problem = "has no effect without `sampler_graph` `given` and `p_intra_knn`";
            return Err(Error::argument("sampler embedding", problem, "set both or leave it out"));
        }
        self.graph = Some(embedding);
        Ok(self)
    }

    /// Settings of this model.
    pub fn config(&self) -> &ConcordConfig {
        &self.config
    }

    /// Genes that the model reads, in order.
    pub fn genes(&self) -> &[String] {
        &self.names.genes
    }

    /// Names of the batches that it was trained on.
    pub fn batches(&self) -> &[String] {
        &self.names.batches
    }

    /// Names of the classes that it knows; empty without a classifier.
    pub fn classes(&self) -> &[String] {
        &self.names.classes
    }

    /// Weight of each gene, 0 to 1, where an importance mask was learned.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn gene_weights(&self) -> Result<Option<Vec<f32>>> {
        self.sigmoid_importance()?.map(|w| Ok(w.to_vec1()?)).transpose()
    }

    fn sigmoid_importance(&self) -> Result<Option<Tensor>> {
        Ok(self.importance.as_ref().map(candle_nn::ops::sigmoid).transpose()?)
    }

    fn training_columns(&self) -> Result<&TrainingColumns> {
        self.training.as_ref().ok_or_else(|| Error::data("a loaded model has no training cells", "start with `Concord::trainer`"))
    }

    /// Both views through the encoder, NT-Xent between them, and the optional parts on the first.
    fn forward(&self, prepared: &Views, first: Pass<'_>, second: Pass<'_>) -> Result<LossTerms> {
        let config = &self.config;
        let gene_weights = self.sigmoid_importance()?;
        let z_a = self.encoder.forward(&prepared.a, gene_weights.as_ref(), first)?;
        let z_b = if config.symmetric_gradient {
            self.encoder.forward(&prepared.b, gene_weights.as_ref(), second)?
        } else {
            let fixed = gene_weights.as_ref().map(Tensor::detach);
            self.encoder.detached().forward(&prepared.b, fixed.as_ref(), second)?
        };
        let mut terms = LossTerms::new();
        terms.add("nt_xent", config.contrastive_weight, nt_xent(&z_a, &z_b, &config.nt_xent(), self.parameters.kernels())?);
        if let Some(decoder) = &self.decoder {
            let decoded = decoder.forward(&z_a, &prepared.codes(self.parameters.device())?, first)?;
            let target = prepared.target.as_ref().unwrap_or(&prepared.a).to_tensor(self.parameters.device())?;
            terms.add("reconstruction", config.decoder_weight, mse(&decoded, &target)?);
        }
        if let Some(classifier) = &self.classifier
            && let Some(loss) = cross_entropy(&classifier.forward(&z_a, first)?, &prepared.class)?
        {
            terms.add("classification", config.classifier_weight, loss);
        }
        if let Some(weights) = gene_weights.filter(|_| config.importance_penalty_weight > 0.0) {
            terms.add("importance", config.importance_penalty_weight, importance_penalty(&weights, config.importance_penalty)?);
        }
        Ok(terms)
    }

    /// The neighbour graph of the sampler, once there is an embedding for it.
    fn neighborhood(&mut self, cells: &Cells<'_>, epoch: usize) -> Result<Option<Neighborhood>> {
        let config = &self.config;
        if config.p_intra_knn == 0.0 || (config.sampler_graph == GraphSource::Warmup && epoch < config.knn_warmup_epochs) {
            return Ok(None);
        }
        let embedding = match (&self.graph, config.sampler_graph) {
            (Some(embedding), _) => embedding.clone(),
            (None, GraphSource::Warmup) => self.embed(cells.source())?,
            (None, GraphSource::Pca) => pca(cells.source(), &PcaConfig { seed: config.seed, ..Default::default() })?.scores,
            (None, GraphSource::Given) => {
                let fix = "give it with `with_graph_embedding`";
                return Err(Error::argument("sampler_graph", "is `given` but no embedding was given", fix));
            }
        };
        let neighbors = self.graph_over(&embedding)?;
        self.graph = Some(embedding);
        Ok(Some(Neighborhood { neighbors: Arc::new(neighbors), p_intra_knn: self.config.p_intra_knn }))
    }

    fn graph_over(&self, embedding: &Array2<f32>) -> Result<Neighbors> {
        let n_cells = embedding.nrows();
        let n_neighbors = self.config.sampler_knn.unwrap_or((n_cells / 10).min(1000)).clamp(1, n_cells);
        let (metric, seed) = (self.config.sampler_metric, self.config.seed);
        nearest_self(embedding.view(), &NeighborConfig { n_neighbors, metric, seed, ..Default::default() })
    }
}

/// Two masked views of a mini-batch, and what the optional parts need.
#[derive(Debug)]
pub struct Views {
    a: Arc<SparseBatch>,
    b: Arc<SparseBatch>,
    /// Unmasked rows, where the decoder is to reconstruct these.
    target: Option<SparseBatch>,
    class: Vec<Option<u32>>,
    /// Batch codes, then those of each covariate.
    categories: Vec<Vec<u32>>,
}

impl Views {
    fn codes(&self, device: &Device) -> Result<Vec<Tensor>> {
        self.categories.iter().map(|codes| Ok(Tensor::from_slice(codes, codes.len(), device)?)).collect()
    }
}

impl System for Concord {
    type Prepared = Views;

    fn name(&self) -> &'static str {
        "concord"
    }

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn phases(&self) -> &[Phase] {
        &[Phase::MODEL]
    }

    fn sampler(&mut self, cells: &Cells<'_>, rows: &[usize], epoch: usize, first: bool) -> Result<Option<Box<dyn Sampler>>> {
        let starts = self.config.p_intra_knn > 0.0
            && self.config.sampler_graph == GraphSource::Warmup
            && epoch == self.config.knn_warmup_epochs;
        if !first && !starts {
            return Ok(None);
        }
        let neighborhood = self.neighborhood(cells, epoch)?;
        let config = self.config.sampler(&self.names.batches)?;
        let sampler = DomainSampler::new(rows, &self.training_columns()?.batch, self.names.batches.len(), config)?;
        Ok(Some(match neighborhood {
            Some(neighborhood) => Box::new(sampler.with_neighborhood(neighborhood)?),
            None => Box::new(sampler),
        }))
    }

    fn prepare(&self, batch: Batch, draws: &Draws) -> Result<Views> {
        let columns = self.training_columns()?;
        let mask = self.config.mask();
        let a = mask.apply(&batch.rows, &mut draws.stream("mask_a"));
        let b = mask.apply(&batch.rows, &mut draws.stream("mask_b"));
        let take = |codes: &Vec<u32>| batch.indices.iter().map(|i| codes[*i]).collect();
        Ok(Views {
            a: Arc::new(SparseBatch::new(a, batch.is_trained)),
            b: Arc::new(SparseBatch::new(b, batch.is_trained && self.config.symmetric_gradient)),
            class: batch.indices.iter().map(|i| columns.class.get(*i).copied().flatten()).collect(),
            categories: std::iter::once(&columns.batch).chain(&columns.covariates).map(take).collect(),
            target: self.config.decoder_target_unmasked.then(|| SparseBatch::without_gradient(batch.rows)),
        })
    }

    fn losses(&self, prepared: &Views, _phase: Phase, draws: &Draws) -> Result<LossTerms> {
        self.forward(prepared, Pass::train(draws, 0), Pass::train(draws, 1))
    }

    fn validation_losses(&self, prepared: &Views) -> Result<LossTerms> {
        self.forward(prepared, Pass::EVAL, Pass::EVAL)
    }

    fn embed(&self, source: &dyn CellSource) -> Result<Array2<f32>> {
        Concord::embed(self, source)
    }

    fn extra_state(&self) -> Result<Vec<(String, Tensor)>> {
        let Some(graph) = &self.graph else { return Ok(Vec::new()) };
        let values: Vec<f32> = graph.iter().copied().collect();
        Ok(vec![("graph".to_owned(), Tensor::from_vec(values, graph.dim(), &Device::Cpu)?)])
    }

    fn restore_extra_state(&mut self, tensors: &[(String, Tensor)]) -> Result<()> {
        if let Some((_, graph)) = tensors.iter().find(|(name, _)| name == "graph") {
            let (rows, columns) = graph.dims2()?;
            let values = graph.flatten_all()?.to_vec1()?;
            let array = Array2::from_shape_vec((rows, columns), values).map_err(|e| Error::data(e.to_string(), "start again"))?;
            self.graph = Some(array);
        }
        Ok(())
    }
}

fn read_columns(cells: &Cells<'_>, columns: &ConcordColumns, config: &ConcordConfig) -> Result<(Names, TrainingColumns)> {
    let complete = |name: &str| -> Result<(Vec<u32>, Vec<String>)> {
        let column = cells.column(name)?.drop_unused();
        Ok((column.complete(name, cells.cell_names())?, column.levels().to_vec()))
    };
    let (batch, batches) = match &columns.batch {
        Some(name) => complete(name)?,
        None => (vec![0; cells.n_cells()], vec!["all".to_owned()]),
    };
    let (class, classes) = match (&columns.label, config.use_classifier) {
        (Some(name), true) => {
            let column = without_level(&cells.column(name)?.drop_unused(), config.unlabeled_class.as_deref());
            if column.n_levels() < 2 {
                let problem = format!("obs column `{name}` has {} classes", column.n_levels());
                return Err(Error::data(problem, "a classifier needs at least 2 labelled classes"));
            }
            (column.codes().to_vec(), column.levels().to_vec())
        }
        (None, true) => return Err(Error::argument("use_classifier", "needs a column of classes", "name it with `class_key`")),
        (_, false) => (Vec::new(), Vec::new()),
    };
    let mut covariate_levels = BTreeMap::new();
    let mut covariates = Vec::new();
    for name in config.covariate_embedding_dims.keys() {
        let (codes, levels) = complete(name)?;
        covariates.push(codes);
        covariate_levels.insert(name.clone(), levels);
    }
    let names = Names { genes: cells.gene_names().to_vec(), batches, classes, covariates: covariate_levels };
    Ok((names, TrainingColumns { batch, class, covariates }))
}

/// The column with one level taken as missing.
fn without_level(column: &Categorical, level: Option<&str>) -> Categorical {
    let values = (0..column.len()).map(|i| column.value(i).filter(|v| Some(*v) != level));
    Categorical::from_values(values)
}

#[cfg(test)]
mod tests;
