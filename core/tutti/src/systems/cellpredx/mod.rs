//! CellPredX: labels of a reference carried to a query of another technology, species or assay by five losses.
//!
//! Liu et al., PLOS Computational Biology 2025 (10.1371/journal.pcbi.1013824), on the design of scJoint (Lin et al. 2022). Differences, each an
//! option where it changes a result: held-out reference cells decide when to stop (`stopping`; the published code chooses by the labels of
//! the query); class centres are learned, as the paper has it (`centers`; in the code no optimiser knows of them); the gate is kept open
//! (`gate_floor`), since the centre loss alone would close it; gradients are clipped (`clip_norm`); the learning rate is that of the code's
//! examples (`lr`); the encoder starts at principal components and the classifier at zero (`start`; published: both at random). Several references and several queries are trained on at once: each gives its own cells to every mini-batch, has its own
//! regularisation and, for queries, its own neighbours. A domain smaller than a mini-batch gives all its cells (the code fails). Neighbours are
//! searched by Euclidean distance and exactly up to 100,000 cells (the code: Manhattan, approximate).

mod config;
mod contrast;
mod inference;
mod saved;
mod scenario;
mod training;

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Device, Tensor, Var};
use ndarray::{Array2, s};

pub use config::{CellPredXConfig, Centers, Preset, Start, Stopping};
use contrast::without_neighbors;
pub use inference::UNKNOWN_BELOW;
pub use scenario::{DetectedScenario, Scenario};
use training::Training;

use crate::data::{Batch, Categorical, CellSource, Cells, RowSubset};
use crate::error::{Error, Result};
use crate::loss::{
    AlignmentNegatives, LossTerms, NtXentConfig, Relations, cross_entropy, mean_absolute, moved_centers, normalized_gate,
    nt_xent, projection_regularization, sparse_center, top_p_cosine_alignment,
};
use crate::model::{Phase, System};
use crate::nn::{Activation, Dense, Draws, FeatureGate, MlpConfig, Norm, Parameters, Pass, SparseMlp};
use crate::ops::sparse_batch::SparseBatch;
use crate::preprocess::{PAIR_BATCH, Pair, PcaConfig, pca};
use crate::rng::Rng;
use crate::sampler::{DomainCells, MiniBatch, PairedSampler, Sampler};
use crate::threads::Threads;
use crate::train::Trainer;

/// Mini-batches on which the loss is validated, at most.
const MOST_VALIDATED: usize = 20;

/// Cells of each reference and each query that the first components are of, at most.
const MOST_OF_COMPONENTS: usize = 5000;

/// Which cells are the query, and what is known of the others.
#[derive(Debug, Clone, PartialEq)]
pub struct CellPredXInput {
    /// Class of each reference cell; a reference cell without one helps to regularise. What stands at query cells is not read.
    pub labels: Categorical,
    /// Whether each cell is of a query.
    pub is_query: Vec<bool>,
    /// Batch of each cell, where there are several references or queries; a cell without one is of a batch of its own kind.
    pub batch: Option<Categorical>,
}

impl CellPredXInput {
    /// Of a reference and a query that [`crate::preprocess::prepare_pair`] joined, with their batches. `labels`: of the reference cells, or of these and
    /// then of query cells, which are not read.
    ///
    /// # Errors
    /// None for what `prepare_pair` returns.
    pub fn of_pair(pair: &Pair<'_>, labels: Categorical) -> Result<Self> {
        let n = pair.cells.n_cells();
        let codes = (0..n).map(|i| labels.codes().get(i).copied().flatten().filter(|_| i < pair.n_reference)).collect();
        Ok(Self {
            labels: Categorical::new(codes, labels.levels().to_vec())?,
            is_query: (0..n).map(|i| i >= pair.n_reference).collect(),
            batch: Some(pair.cells.column(PAIR_BATCH)?.clone()),
        })
    }
}

/// The network of CellPredX.
#[derive(Debug)]
pub struct CellPredX {
    config: CellPredXConfig,
    genes: Vec<String>,
    classes: Vec<String>,
    parameters: Parameters,
    encoder: SparseMlp,
    classifier: Dense,
    gate: Option<FeatureGate>,
    /// [n_classes, latent_dim].
    centers: Option<Var>,
    training: Option<Training>,
    /// Of each query cell, rows of the cells; where they are no negatives.
    known_neighbors: Option<Vec<Vec<u32>>>,
}

impl CellPredX {
    /// A network with initial weights for these cells.
    ///
    /// # Errors
    /// Settings out of range; labels, marks or batches of other cells; no query, no reference, or fewer than two classes.
    pub fn new(cells: &Cells<'_>, input: &CellPredXInput, config: CellPredXConfig, device: &Device) -> Result<Self> {
        config.validate()?;
        let (training, classes) = Training::new(cells.n_cells(), input)?;
        let parameters = Parameters::new(device, Rng::new(config.seed));
        let mut model = Self::build(config, cells.gene_names().to_vec(), classes, parameters)?;
        if model.config.start == Start::Components {
            model.start_at_components(cells.source(), &training)?;
        }
        model.training = Some(training);
        Ok(model)
    }

    fn build(config: CellPredXConfig, genes: Vec<String>, classes: Vec<String>, mut parameters: Parameters) -> Result<Self> {
        let (m, k) = (config.latent_dim, classes.len());
        let linear = MlpConfig { dims: vec![m], norm: Norm::None, activation: Activation::None, dropout: 0.0 };
        let encoder = SparseMlp::new(&mut parameters, "encoder", genes.len(), &linear)?;
        let classifier = Dense::new(&mut parameters, "classifier", m, k)?;
        let (mut gate, mut centers) = (None, None);
        if config.center_weight > 0.0 {
            gate = Some(FeatureGate::new(&mut parameters, m, config.gate_dim)?);
            centers = Some(parameters.buffer("centers", (k, m), 0.0)?);
            if config.centers == Centers::Fixed {
                let mut stream = Rng::new(config.seed).stream("class centres", 0, 0);
                let deviation = (2.0 / m as f64).sqrt();
                parameters.set("centers", (0..k * m).map(|_| (deviation * stream.normal()) as f32).collect())?;
            }
        }
        Ok(Self { config, genes, classes, parameters, encoder, classifier, gate, centers, training: None, known_neighbors: None })
    }

    /// Sets the encoder to the principal components of the cells, and the classifier to zero. An embedded cell is as long as from random weights, whose
    /// squares have the mean 2 / n_genes, so that learning rate and weights of losses mean the same; dimensions beyond the components are zero.
    fn start_at_components(&self, source: &dyn CellSource, training: &Training) -> Result<()> {
        let rng = Rng::new(self.config.seed);
        let of_domain = |(d, members): (usize, &Vec<usize>)| {
            rng.stream("cells of the first components", 0, d as u64).choose(members, MOST_OF_COMPONENTS)
        };
        let mut rows: Vec<usize> = training.members.iter().enumerate().flat_map(of_domain).collect();
        rows.sort_unstable();
        let (m, n_genes) = (self.config.latent_dim, self.genes.len());
        let n_components = m.min(n_genes).min(rows.len() - 1);
        let config = PcaConfig { n_components, seed: self.config.seed, ..Default::default() };
        let found = pca(&RowSubset::new(source, &rows), &config)?;
        let mut weight = Array2::zeros((n_genes, m));
        let length = (2.0 * m as f64 / n_genes as f64).sqrt() as f32;
        weight.slice_mut(s![.., ..n_components]).assign(&(found.components.t().to_owned() * length));
        let bias = -found.mean.dot(&weight);
        self.parameters.set("encoder.0.weight", weight.into_iter().collect())?;
        self.parameters.set("encoder.0.bias", bias.to_vec())?;
        self.parameters.set("classifier.weight", vec![0.0; m * self.classes.len()])
    }

    /// Starts training on `cells`, references and queries together, expected log-normalised.
    ///
    /// # Errors
    /// As [`CellPredX::new`], or no threads.
    pub fn trainer<'a>(
        cells: &Cells<'a>,
        input: &CellPredXInput,
        config: CellPredXConfig,
        device: &Device,
        threads: Threads,
    ) -> Result<Trainer<'a, Self>> {
        let train = config.train();
        let model = threads.run(|| Self::new(cells, input, config, device))?;
        Trainer::new(model, cells.clone(), train, threads)
    }

    /// What a user should know before training: classes of few cells, domains smaller than a mini-batch.
    ///
    /// # Errors
    /// As [`CellPredX::new`].
    pub fn warnings(input: &CellPredXInput, config: &CellPredXConfig) -> Result<Vec<String>> {
        let (training, classes) = Training::new(input.is_query.len(), input)?;
        let mut counts = vec![0usize; classes.len()];
        training.class.iter().flatten().for_each(|c| counts[*c as usize] += 1);
        let few: Vec<String> =
            classes.iter().zip(&counts).filter(|(_, n)| **n < FEW_CELLS).map(|(class, n)| format!("{class} ({n})")).collect();
        let mut out = Vec::new();
        if !few.is_empty() {
            out.push(format!("classes with fewer than {FEW_CELLS} reference cells are hard to learn: {}", few.join(", ")));
        }
        let small = training.members.iter().map(Vec::len).filter(|n| *n < config.batch_size).collect::<Vec<_>>();
        if let Some(least) = small.iter().min() {
            let (n, size) = (small.len(), config.batch_size);
            let (has, gives) = match n {
                1 => ("one reference or query has", "gives"),
                _ => ("some references or queries have", "give"),
            };
            out.push(format!(
                "{has} fewer cells than the {size} of a mini-batch and {gives} all of them to each (the least: {least})"
            ));
        }
        Ok(out)
    }

    /// Settings of this model.
    pub fn config(&self) -> &CellPredXConfig {
        &self.config
    }

    /// Genes that the model reads, in order.
    pub fn genes(&self) -> &[String] {
        &self.genes
    }

    /// Names of the classes that it knows.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    fn training(&self) -> Result<&Training> {
        self.training
            .as_ref()
            .ok_or_else(|| Error::data("a loaded model has no training cells", "start with `CellPredX::trainer`"))
    }

    /// All losses of a mini-batch; `step` counts from the start of training, `None` outside of it.
    fn forward(&self, prepared: &Domains, pass: Pass<'_>, step: Option<usize>) -> Result<LossTerms> {
        let c = &self.config;
        let f = self.encoder.forward(&prepared.x, None, pass)?;
        let cut = |rows: &Range<usize>| f.narrow(0, rows.start, rows.len());
        let (query, reference) = (cut(&prepared.query)?, cut(&prepared.reference)?);
        // Where there is one query or reference, its cells are cut out once: each cut costs an array of the mini-batch's size when differentiated.
        let part = |rows: &Range<usize>| match rows {
            rows if *rows == prepared.query => Ok(query.clone()),
            rows if *rows == prepared.reference => Ok(reference.clone()),
            rows => cut(rows),
        };
        let mut terms = LossTerms::new();

        let logits = self.classifier.forward(&reference)?;
        if let Some(loss) = cross_entropy(&logits, &prepared.class)? {
            terms.add("classification", c.classification_weight, loss);
        }
        if c.projection_weight > 0.0 {
            let kinds = [
                ("projection_reference", &prepared.references, c.reference_spread),
                ("projection_query", &prepared.queries, true),
            ];
            for (name, domains, spread) in kinds {
                let large = || domains.iter().filter(|rows| rows.len() > 1);
                let losses = large().map(|rows| projection_regularization(&part(rows)?, spread)).collect::<Result<Vec<_>>>()?;
                if let Some(loss) = mean(&losses)? {
                    terms.add(name, c.projection_weight, loss);
                }
            }
        }
        if let Some(partners) = prepared.partners.as_ref().filter(|_| step.is_some()) {
            // Cells of another query are no negatives: its batch effect would tell them apart.
            let large = || prepared.queries.iter().zip(&prepared.relations).filter(|(rows, _)| rows.len() > 1);
            let contrast = |(rows, relations): (&Range<usize>, &Option<Relations>)| {
                let (temperature, relations) = (c.temperature, relations.clone());
                let config = NtXentConfig { temperature, hard_negative_beta: 0.0, relations, ..Default::default() };
                let second = part(&(partners.start + rows.start..partners.start + rows.end))?;
                nt_xent(&part(rows)?, &second, &config, self.parameters.kernels())
            };
            if let Some(loss) = mean(&large().map(contrast).collect::<Result<Vec<_>>>()?)? {
                terms.add("nt_xent", c.contrastive_weight, loss);
            }
        }
        if c.alignment_weight > 0.0 {
            let negatives = match (c.negative_margin, &prepared.strangers[..]) {
                (Some(margin), partners) if !partners.is_empty() => Some(AlignmentNegatives { margin, partners }),
                _ => None,
            };
            terms.add("alignment", c.alignment_weight, top_p_cosine_alignment(&query, &reference, c.top_p, negatives)?);
        }
        self.center_loss(prepared, (&query, &reference), pass, step, &mut terms)?;
        if c.l1_weight > 0.0
            && let Some(loss) = mean_absolute(self.parameters.iter().map(|p| p.var.as_tensor()))?
        {
            terms.add("l1", c.l1_weight, loss);
        }
        Ok(terms)
    }

    /// The sparse centre loss on reference cells by their class and on the surest query cells by the class predicted; centres move on.
    fn center_loss(
        &self,
        prepared: &Domains,
        (query, reference): (&Tensor, &Tensor),
        pass: Pass<'_>,
        step: Option<usize>,
        terms: &mut LossTerms,
    ) -> Result<()> {
        let (Some(gate), Some(centers)) = (&self.gate, &self.centers) else { return Ok(()) };
        let c = &self.config;
        let n_query = query.dim(0)?;
        let all = Tensor::cat(&[query, reference], 0)?;
        let a = gate.forward(&all, pass)?;
        let probabilities = candle_nn::ops::softmax(&self.classifier.detached().forward(&query.detach())?, 1)?;
        let mut known = surest(&probabilities.to_vec2()?, c.pseudo_label_quantile);
        known.extend((0u32..).zip(&prepared.class).filter_map(|(i, class)| class.map(|class| (n_query as u32 + i, class))));
        let (rows, classes): (Vec<u32>, Vec<u32>) = known.into_iter().unzip();
        let rows = Tensor::new(rows.as_slice(), all.device())?;
        let (z, a_known) = (all.index_select(&rows, 0)?, a.index_select(&rows, 0)?);
        let n = all.dim(0)?;
        let level = a.mean_all()?;
        let weight = if step.is_some_and(|step| step < c.center_start) { 0.0 } else { c.center_weight };
        let gate_weights = if c.normalize_gate { normalized_gate(&a_known)? } else { a_known.clone() };
        let loss = sparse_center(&z, &gate_weights, centers, &classes, n)?;
        if c.gate_floor > 0.0 && !c.normalize_gate && f64::from(level.to_scalar::<f32>()?) < c.gate_floor {
            terms.add("gate_penalty", weight, opening(&loss, &level, c.gate_floor)?);
        }
        terms.add("center", weight, loss);
        terms.add("gate_mean", 0.0, level);
        if step.is_some() && c.centers == Centers::Learned {
            centers.set(&moved_centers(&z, &a_known, centers, &classes, c.center_rate)?)?;
        }
        Ok(())
    }
}

/// Reference cells of a class below which it is said to be small.
const FEW_CELLS: usize = 10;

/// Mean of scalars.
fn mean(losses: &[Tensor]) -> Result<Option<Tensor>> {
    Ok(match losses {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(Tensor::stack(several, 0)?.mean_all()?),
    })
}

/// Rows whose largest probability is at or above its quantile, with the class of it.
fn surest(probabilities: &[Vec<f32>], quantile: f64) -> Vec<(u32, u32)> {
    let best = |row: &Vec<f32>| (0..row.len()).fold(0, |best, c| if row[c] > row[best] { c } else { best });
    let classes: Vec<usize> = probabilities.iter().map(best).collect();
    let largest: Vec<f32> = probabilities.iter().zip(&classes).map(|(row, c)| row[*c]).collect();
    let mut sorted = largest.clone();
    sorted.sort_unstable_by(f32::total_cmp);
    // Linear between order statistics, as PyTorch's quantile.
    let Some(last) = sorted.len().checked_sub(1) else { return Vec::new() };
    let at = quantile * last as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    let threshold = below + (above - below) * at.fract() as f32;
    (0u32..).zip(classes).filter(|(i, _)| largest[*i as usize] >= threshold).map(|(i, c)| (i, c as u32)).collect()
}

/// Twice what the centre loss would be with an open gate, times how far the mean of the gate is below `floor`: closing the gate lowers the centre loss
/// by at most half of what it adds here, however far it is closed.
fn opening(center_loss: &Tensor, level: &Tensor, floor: f64) -> Result<Tensor> {
    let open = (center_loss.detach() / level.detach().affine(1.0, 1e-12)?)?;
    Ok((open * level.affine(-2.0, 2.0 * floor)?)?)
}

/// Rows of a mini-batch: query cells by domain, their partners, reference cells by domain.
#[derive(Debug)]
pub struct Domains {
    x: Arc<SparseBatch>,
    query: Range<usize>,
    /// Neighbours of the query cells, in their order.
    partners: Option<Range<usize>>,
    reference: Range<usize>,
    queries: Vec<Range<usize>>,
    /// What the cells of each query are to each other in NT-Xent, where known neighbours are no negatives.
    relations: Vec<Option<Relations>>,
    references: Vec<Range<usize>>,
    /// Class of each reference cell.
    class: Vec<Option<u32>>,
    /// Another query cell for each, at random.
    strangers: Vec<u32>,
}

impl System for CellPredX {
    type Prepared = Domains;

    fn name(&self) -> &'static str {
        "cellpredx"
    }

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn phases(&self) -> &[Phase] {
        &[Phase::MODEL]
    }

    fn split(&self, cells: &Cells<'_>, train_frac: f64, rng: &Rng) -> Result<(Vec<usize>, Vec<usize>)> {
        let held_out = match train_frac < 1.0 {
            true => self.training()?.held_out(self.classes.len(), train_frac, rng),
            false => Vec::new(),
        };
        let rows = (0..cells.n_cells()).filter(|i| held_out.binary_search(i).is_err()).collect();
        Ok((rows, held_out))
    }

    fn validation_batches(&self, held_out: &[usize], batch_size: usize, rng: &Rng) -> Result<Vec<MiniBatch>> {
        let training = self.training()?;
        let mut stream = rng.stream("validation cells", 0, 0);
        let mut reference = match self.config.stopping {
            Stopping::Never => return Ok(Vec::new()),
            Stopping::HeldOut => held_out.to_vec(),
            Stopping::CenterLoss => training.rows_of(false),
        };
        let mut query = training.rows_of(true);
        stream.shuffle(&mut reference);
        stream.shuffle(&mut query);
        let chunks = reference.chunks(batch_size).filter(|chunk| chunk.len() > 1).take(MOST_VALIDATED);
        let batch = |(k, reference): (usize, &[usize])| {
            let start = (k * batch_size) % query.len();
            let mut query = query[start..(start + batch_size).min(query.len())].to_vec();
            let mut reference = reference.to_vec();
            let by_domain = |rows: &mut Vec<usize>| rows.sort_unstable_by_key(|i| (training.domain[*i], *i));
            by_domain(&mut query);
            by_domain(&mut reference);
            MiniBatch { rows: [query, reference].concat(), ..Default::default() }
        };
        Ok(chunks.enumerate().map(batch).collect())
    }

    fn sampler(&mut self, cells: &Cells<'_>, rows: &[usize], _epoch: usize, first: bool) -> Result<Option<Box<dyn Sampler>>> {
        if !first {
            return Ok(None);
        }
        let training = self.training()?;
        let mut domains = Vec::new();
        let mut known = self.config.mask_neighbors.then(|| vec![Vec::new(); training.domain.len()]);
        for (members, is_query) in training.members.iter().zip(&training.is_query) {
            let rows: Vec<usize> = members.iter().copied().filter(|i| rows.binary_search(i).is_ok()).collect();
            if rows.is_empty() {
                continue;
            }
            let neighbors = match *is_query && self.config.contrastive_weight > 0.0 {
                true => Some(self.neighbors_among(cells.source(), &rows)?),
                false => None,
            };
            if let (Some(known), Some(found)) = (&mut known, &neighbors) {
                for (i, row) in rows.iter().enumerate() {
                    known[*row] = found.row(i).0.iter().map(|j| rows[*j as usize] as u32).collect();
                }
            }
            domains.push(DomainCells { rows, neighbors });
        }
        self.known_neighbors = known;
        let training = self.training()?;
        // Queries first: without neighbours, they are told from references by their place.
        domains.sort_by_key(|d| !training.is_query[training.domain[d.rows[0]] as usize]);
        Ok(Some(Box::new(PairedSampler::new(domains, self.config.sampler())?)))
    }

    fn prepare(&self, batch: Batch, draws: &Draws) -> Result<Domains> {
        let training = self.training()?;
        let n_query = match batch.n_pairs {
            0 => batch.indices.iter().filter(|i| training.is_query[training.domain[**i] as usize]).count(),
            n => n,
        };
        let (n_pairs, n) = (batch.n_pairs, batch.indices.len());
        let reference = n_query + n_pairs..n;
        let mut stream = draws.stream("strangers");
        // Never the cell itself.
        let stranger = |i: usize| ((i + 1 + stream.below(n_query - 1)) % n_query) as u32;
        let strangers = if n_query > 1 { (0..n_query).map(stranger).collect() } else { Vec::new() };
        let queries = training.runs(&batch.indices[..n_query], 0);
        let relations = |rows: &Range<usize>| {
            let known = self.known_neighbors.as_ref().filter(|_| n_pairs > 0)?;
            let partners = &batch.indices[n_query + rows.start..n_query + rows.end];
            Some(without_neighbors(&[&batch.indices[rows.clone()], partners].concat(), known))
        };
        Ok(Domains {
            relations: queries.iter().map(relations).collect(),
            queries,
            references: training.runs(&batch.indices[reference.clone()], reference.start),
            class: batch.indices[reference.clone()].iter().map(|i| training.class[*i]).collect(),
            partners: (n_pairs > 0).then_some(n_query..n_query + n_pairs),
            query: 0..n_query,
            reference,
            strangers,
            x: Arc::new(SparseBatch::new(batch.rows, batch.is_trained)),
        })
    }

    fn losses(&self, prepared: &Domains, _phase: Phase, draws: &Draws) -> Result<LossTerms> {
        let step = draws.epoch() * self.config.sampler().n_batches + draws.step();
        self.forward(prepared, Pass::train(draws, 0), Some(step))
    }

    fn validation_losses(&self, prepared: &Domains) -> Result<LossTerms> {
        let terms = self.forward(prepared, Pass::EVAL, None)?;
        Ok(if self.config.stopping == Stopping::CenterLoss { terms.only("center") } else { terms })
    }

    fn embed(&self, source: &dyn CellSource) -> Result<Array2<f32>> {
        CellPredX::embed(self, source)
    }
}

#[cfg(test)]
mod tests;
