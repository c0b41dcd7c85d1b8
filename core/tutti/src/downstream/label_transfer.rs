//! What is known of reference cells, carried onto query cells by their nearest neighbours in one embedding: labels by vote, numbers by
//! weighted means.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data::Categorical;
use crate::error::{Error, Result};
use crate::neighbors::{Method, Metric, NeighborConfig, Neighbors, nearest, nearest_self};

/// How much each of the neighbours counts. The weights of a query cell are divided by their sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NeighborWeights {
    /// Its similarity, as in Concerto: the cosine, or 1 / (1 + distance) for the Euclidean metric. A cosine below 0 counts 0; where none
    /// is above 0, all count the same.
    #[default]
    Similarity,
    /// exp(-d² / 2σ²) of its distance d, where σ² is the mean of d² over the neighbours of the query cell: the width follows the density.
    Gaussian,
    /// All count the same, as in LCL's majority vote and Concerto's proteins for cells without them.
    Uniform,
}

/// Settings of [`transfer_labels`] and [`transfer_values`]. The defaults are Concerto's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferConfig {
    /// Reference cells that each query cell learns from, at least 1. More smooth over noise and over small classes. Default 5.
    pub n_neighbors: usize,
    /// Distance of the cells. Default cosine, by which contrastive embeddings are trained.
    pub metric: Metric,
    /// How much each neighbour counts. Default by similarity.
    pub weights: NeighborWeights,
    /// How neighbours are searched. Default exact up to 100,000 reference cells.
    pub method: Method,
    /// Names the draws of the approximate search.
    pub seed: u64,
}

impl Default for TransferConfig {
    fn default() -> Self {
        Self { n_neighbors: 5, metric: Metric::Cosine, weights: NeighborWeights::default(), method: Method::default(), seed: 0 }
    }
}

impl TransferConfig {
    fn search(&self, n_neighbors: usize) -> NeighborConfig {
        NeighborConfig { n_neighbors, metric: self.metric, method: self.method, seed: self.seed }
    }

    fn similarity(&self, distance: f32) -> f64 {
        match self.metric {
            Metric::Cosine => 1.0 - f64::from(distance),
            Metric::Euclidean => 1.0 / (1.0 + f64::from(distance)),
        }
    }

    /// Weights of neighbours at these distances; they sum to 1.
    fn weights(&self, distances: &[f32]) -> Vec<f64> {
        let n = distances.len();
        let weights: Vec<f64> = match self.weights {
            NeighborWeights::Similarity => distances.iter().map(|d| self.similarity(*d).max(0.0)).collect(),
            NeighborWeights::Gaussian => {
                let squares = distances.iter().map(|d| f64::from(*d).powi(2));
                // Neighbours that all lie on the query cell count the same.
                let variance = (squares.clone().sum::<f64>() / n as f64).max(f64::MIN_POSITIVE);
                squares.map(|square| (-0.5 * square / variance).exp()).collect()
            }
            NeighborWeights::Uniform => vec![1.0; n],
        };
        let total: f64 = weights.iter().sum();
        if total > 0.0 { weights.iter().map(|w| w / total).collect() } else { vec![1.0 / n as f64; n] }
    }
}

/// Labels of query cells, and how far to trust them. A label is always the best one there is: what makes it doubtful stands beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelTransfer {
    /// The class with the largest score of every query cell, the first of equal ones. Levels and codes are those of the reference.
    pub label: Categorical,
    /// Share of the votes for each class, [n_query, n_classes], a column per level; a row sums to 1.
    pub scores: Array2<f32>,
    /// The largest score, 0 to 1. It tells classes apart, not near from far: neighbours that agree give 1 at any distance.
    pub confidence: Vec<f32>,
    /// Mean similarity to those neighbours that have the label: cosines, -1 to 1, or 1 / (1 + distance) for the Euclidean metric. Concerto's
    /// published code calls this the confidence, its paper the share above.
    pub mean_similarity: Vec<f32>,
    /// How unusual it is among the reference to be this far from its neighbours, 0 to 1: the share of the labelled reference cells whose
    /// mean distance to their `n_neighbors` nearest others is smaller than the mean distance of the query cell to its neighbours.
    ///
    /// Query cells like those of the reference have every value equally often; 0.99 is seen in one of 100 of them. Where a query has another
    /// batch effect than the reference, all its cells lie farther off: then the order of the values still tells, their level does not.
    /// A query cell that is itself in the reference finds itself, and its value is too small.
    pub novelty: Vec<f32>,
}

/// Query cells of one class.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassFound {
    /// Name of the class.
    pub class: String,
    /// Query cells that were called so.
    pub n_cells: usize,
    /// Median of their confidences, the upper of two.
    pub median_confidence: f32,
    /// Median of their novelties, the upper of two.
    pub median_novelty: f32,
}

/// Median novelty above which something is probably wrong: cells like those of the reference have 0.5.
const SUSPICIOUS_NOVELTY: f32 = 0.9;

/// The middle value, the upper of two; NaN of nothing.
pub(super) fn median(values: impl Iterator<Item = f32>) -> f32 {
    let mut values: Vec<f32> = values.collect();
    values.sort_unstable_by(f32::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f32::NAN)
}

/// Limits beyond which a transferred label is taken as unknown. The default has none.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Rejection {
    /// Smallest [`LabelTransfer::confidence`], 0 to 1.
    pub min_confidence: Option<f32>,
    /// Smallest [`LabelTransfer::mean_similarity`], -1 to 1.
    pub min_similarity: Option<f32>,
    /// Largest [`LabelTransfer::novelty`], 0 to 1; 0.99 rejects about 1 % of query cells like those of the reference.
    pub max_novelty: Option<f32>,
}

impl Rejection {
    pub(super) fn validate(&self) -> Result<()> {
        let limits = [
            ("min_confidence", self.min_confidence, 0.0),
            ("min_similarity", self.min_similarity, -1.0),
            ("max_novelty", self.max_novelty, 0.0),
        ];
        for (name, limit, least) in limits {
            if let Some(limit) = limit.filter(|l| !(least..=1.0).contains(l)) {
                return Err(Error::argument(
                    name,
                    format!("must be between {least} and 1 (got {limit})"),
                    "leave it out for no limit",
                ));
            }
        }
        Ok(())
    }
}

/// Classes that cells were called, those with most cells first, each with its cells. Medians of a novelty that is not known are NaN.
pub(super) fn classes_found(label: &Categorical, confidence: &[f32], novelty: Option<&[f32]>) -> Vec<(ClassFound, Vec<usize>)> {
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); label.n_levels()];
    let codes = label.codes().iter().enumerate().filter_map(|(i, code)| code.map(|code| (i, code)));
    codes.for_each(|(i, code)| members[code as usize].push(i));
    let found = |(cells, class): (Vec<usize>, &String)| {
        let of_class = ClassFound {
            class: class.clone(),
            n_cells: cells.len(),
            median_confidence: median(cells.iter().map(|i| confidence[*i])),
            median_novelty: median(cells.iter().filter_map(|i| novelty.map(|novelty| novelty[*i]))),
        };
        (of_class, cells)
    };
    let pairs = members.into_iter().zip(label.levels()).filter(|(cells, _)| !cells.is_empty());
    let mut classes: Vec<(ClassFound, Vec<usize>)> = pairs.map(found).collect();
    // Classes of as many cells stay in their order.
    classes.sort_by_key(|(c, _)| std::cmp::Reverse(c.n_cells));
    classes
}

impl LabelTransfer {
    /// Classes that were found, those with most cells first.
    pub fn by_class(&self) -> Vec<ClassFound> {
        classes_found(&self.label, &self.confidence, Some(&self.novelty)).into_iter().map(|(found, _)| found).collect()
    }

    /// Median of the confidences, the upper of two.
    pub fn median_confidence(&self) -> f32 {
        median(self.confidence.iter().copied())
    }

    /// Median of the novelties, the upper of two; 0.5 for a query like the reference.
    pub fn median_novelty(&self) -> f32 {
        median(self.novelty.iter().copied())
    }

    /// What a user should look at: a query that as a whole lies far from the reference.
    pub fn warning(&self) -> Option<String> {
        let novelty = self.median_novelty();
        (novelty > SUSPICIOUS_NOVELTY).then(|| {
            format!(
                "half of the query cells are farther from the reference than {:.0} % of its own cells from each other; check that one \
                 model embedded both, and that they are alike",
                100.0 * novelty
            )
        })
    }

    /// Which query cells are beyond one of the limits; a value that equals a limit is not.
    ///
    /// # Errors
    /// [`Error::Argument`] for a limit outside its range.
    pub fn unknown(&self, rejection: &Rejection) -> Result<Vec<bool>> {
        rejection.validate()?;
        let below = |value: f32, limit: Option<f32>| limit.is_some_and(|limit| value < limit);
        let unknown = |i: usize| {
            below(self.confidence[i], rejection.min_confidence)
                || below(self.mean_similarity[i], rejection.min_similarity)
                || rejection.max_novelty.is_some_and(|limit| self.novelty[i] > limit)
        };
        Ok((0..self.label.len()).map(unknown).collect())
    }
}

/// Labels of query cells by vote of their nearest reference cells: `reference` [n_reference, d] and `query` [n_query, d] are embeddings by
/// one model. Reference cells without a label take no part.
///
/// The same result for any number of threads. Time: two searches, of the query in the reference and of the reference in itself, which tells
/// what distances are usual there. Memory: 8 (n_neighbors + 1) bytes per cell, a copy of the labelled reference, the scores.
///
/// # Errors
/// [`Error::Data`] for labels or dimensions of another number, a reference without labels, and rows that are not finite or, for the cosine,
/// all zero; [`Error::Argument`] for `n_neighbors` of 0 or not below the number of labelled reference cells.
///
/// ```
/// use tutti::data::Categorical;
/// use tutti::downstream::{Rejection, TransferConfig, transfer_labels};
/// let reference = ndarray::array![[1.0f32, 0.0], [0.9, 0.1], [1.0, 0.1], [0.0, 1.0], [0.1, 0.9], [0.1, 1.0]];
/// let labels = Categorical::from_values(["B", "B", "B", "T", "T", "T"].map(Some));
/// let query = ndarray::array![[0.95f32, 0.05], [-1.0, -1.0]];
/// let found = transfer_labels(reference.view(), &labels, query.view(), &TransferConfig { n_neighbors: 2, ..Default::default() })?;
/// assert_eq!(found.label.value(0), Some("B"));
/// let unknown = found.unknown(&Rejection { max_novelty: Some(0.99), ..Default::default() })?;
/// assert_eq!(unknown, [false, true]);
/// # Ok::<(), tutti::Error>(())
/// ```
pub fn transfer_labels(
    reference: ArrayView2<'_, f32>,
    labels: &Categorical,
    query: ArrayView2<'_, f32>,
    config: &TransferConfig,
) -> Result<LabelTransfer> {
    let labelled = labelled_cells(reference, labels)?;
    check_pair(reference, &labelled, query, config.metric)?;
    check_number(config.n_neighbors, labelled.len())?;
    let codes: Vec<u32> = labels.codes().iter().flatten().copied().collect();
    let reference = reference.select(Axis(0), &labelled);
    let neighbors = nearest(reference.view(), query, &config.search(config.n_neighbors))?;
    let novelty = novelty_of(&neighbors, reference.view(), config)?;

    let scores = vote(&neighbors, &codes, labels.n_levels(), config);
    let label: Vec<u32> = scores.rows().into_iter().map(first_largest).collect();
    let confidence = label.iter().zip(scores.rows()).map(|(label, row)| row[*label as usize]).collect();
    let mean_similarity =
        label.iter().enumerate().map(|(i, label)| similarity_to(*label, neighbors.row(i), &codes, config)).collect();
    let label = Categorical::new(label.into_iter().map(Some).collect(), labels.levels().to_vec())?;
    Ok(LabelTransfer { label, scores, confidence, mean_similarity, novelty })
}

/// How unusual it is among the reference [n_reference, d] to be as far from one's neighbours as each query cell [n_query, d] is, 0 to 1:
/// [`LabelTransfer::novelty`] for any embedding, without labels. Of `config`, the weights have no part.
///
/// # Errors
/// As [`transfer_labels`].
pub fn novelty(reference: ArrayView2<'_, f32>, query: ArrayView2<'_, f32>, config: &TransferConfig) -> Result<Vec<f32>> {
    let all: Vec<usize> = (0..reference.nrows()).collect();
    check_pair(reference, &all, query, config.metric)?;
    check_number(config.n_neighbors, reference.nrows())?;
    novelty_of(&nearest(reference, query, &config.search(config.n_neighbors))?, reference, config)
}

fn novelty_of(neighbors: &Neighbors, reference: ArrayView2<'_, f32>, config: &TransferConfig) -> Result<Vec<f32>> {
    let usual = mean_distances_to_others(reference, config)?;
    Ok((0..neighbors.n_queries()).map(|i| share_below(&usual, mean(neighbors.row(i).1))).collect())
}

/// As [`novelty`], measured against cells that are like the reference but not in it: the share of the first `n_usual` of `cells` [n, d] whose mean
/// distance to their `n_neighbors` nearest reference cells is smaller than that of each cell; a cell of these is not measured against itself.
///
/// For an embedding that was trained to bring the reference together: its own cells are nearer to each other than any new one can be.
///
/// # Errors
/// As [`novelty`]; [`Error::Argument`] for fewer than two usual cells, or more than there are.
pub fn novelty_beside(
    reference: ArrayView2<'_, f32>,
    cells: ArrayView2<'_, f32>,
    n_usual: usize,
    config: &TransferConfig,
) -> Result<Vec<f32>> {
    let all: Vec<usize> = (0..reference.nrows()).collect();
    check_pair(reference, &all, cells, config.metric)?;
    check_number(config.n_neighbors, reference.nrows())?;
    if n_usual < 2 || n_usual > cells.nrows() {
        let problem = format!("must be between 2 and {} (got {n_usual})", cells.nrows());
        return Err(Error::argument("n_usual", problem, "hold more reference cells out"));
    }
    let neighbors = nearest(reference, cells, &config.search(config.n_neighbors))?;
    let distances: Vec<f64> = (0..cells.nrows()).map(|i| mean(neighbors.row(i).1)).collect();
    let mut usual = distances[..n_usual].to_vec();
    usual.sort_unstable_by(f64::total_cmp);
    let among_others = |i: usize| usual.partition_point(|v| *v < distances[i]) as f64 / (n_usual - 1) as f64;
    Ok((0..cells.nrows()).map(|i| if i < n_usual { among_others(i) as f32 } else { share_below(&usual, distances[i]) }).collect())
}

/// Refuses more neighbours than there are other cells.
fn check_number(n_neighbors: usize, n_cells: usize) -> Result<()> {
    if n_neighbors > 0 && n_neighbors < n_cells {
        return Ok(());
    }
    let most = n_cells.saturating_sub(1);
    let problem = format!("must be between 1 and the number of other labelled cells, {most} (got {n_neighbors})");
    Err(Error::argument("n_neighbors", problem, if most < 5 { "label more cells, or ask for fewer" } else { "use 5 to 50" }))
}

/// Numbers of query cells, [n_query, m], as weighted means over their nearest reference cells, of which `values` [n_reference, m] are known:
/// a layout such as UMAP, to draw a query into a reference, or the expression of an assay that the query lacks.
///
/// The same result for any number of threads. Means stay within the values of the neighbours: what lies outside of the reference is drawn
/// to its edge, and [`LabelTransfer::novelty`] tells of which cells that is true.
///
/// # Errors
/// [`Error::Data`] for values or dimensions of another number, and rows that are not finite or, for the cosine, all zero;
/// [`Error::Argument`] for `n_neighbors` of 0 or more than the reference cells.
pub fn transfer_values(
    reference: ArrayView2<'_, f32>,
    values: ArrayView2<'_, f32>,
    query: ArrayView2<'_, f32>,
    config: &TransferConfig,
) -> Result<Array2<f32>> {
    if values.nrows() != reference.nrows() {
        let problem = format!("{} reference cells and values of {}", reference.nrows(), values.nrows());
        return Err(Error::data(problem, "give a row of values per reference cell"));
    }
    let all: Vec<usize> = (0..reference.nrows()).collect();
    check_pair(reference, &all, query, config.metric)?;
    check_finite("values", values, &all)?;
    let neighbors = nearest(reference, query, &config.search(config.n_neighbors))?;
    let mut out = Array2::zeros((query.nrows(), values.ncols()));
    out.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(i, mut row)| {
        let (indices, distances) = neighbors.row(i);
        for (j, weight) in indices.iter().zip(config.weights(distances)) {
            row.scaled_add(weight as f32, &values.row(*j as usize));
        }
    });
    Ok(out)
}

/// Rows of the reference cells that have a label.
fn labelled_cells(reference: ArrayView2<'_, f32>, labels: &Categorical) -> Result<Vec<usize>> {
    if labels.len() != reference.nrows() {
        let problem = format!("{} reference cells and labels of {}", reference.nrows(), labels.len());
        return Err(Error::data(problem, "give a label per reference cell; one that is missing leaves the cell out"));
    }
    let labelled: Vec<usize> = (0..labels.len()).filter(|i| labels.codes()[*i].is_some()).collect();
    if labelled.is_empty() {
        return Err(Error::data(format!("none of the {} reference cells has a label", labels.len()), "choose another column"));
    }
    Ok(labelled)
}

/// Refuses embeddings that cannot be compared; of the reference, `used` are the rows that take part.
fn check_pair(reference: ArrayView2<'_, f32>, used: &[usize], query: ArrayView2<'_, f32>, metric: Metric) -> Result<()> {
    if reference.ncols() != query.ncols() {
        let problem = format!("the reference embedding has {} dimensions, the query's {}", reference.ncols(), query.ncols());
        return Err(Error::data(problem, "embed both by one model"));
    }
    let all: Vec<usize> = (0..query.nrows()).collect();
    for (name, x, rows) in [("reference embedding", reference, used), ("query embedding", query, &all)] {
        check_finite(name, x, rows)?;
        let zero = rows.iter().find(|i| x.row(**i).iter().all(|v| *v == 0.0));
        if let Some(i) = zero.filter(|_| metric == Metric::Cosine) {
            let problem = format!("row {} of the {name} is all zero, so that it has no angle to others", i + 1);
            return Err(Error::data(problem, "leave the cell out or take the Euclidean metric"));
        }
    }
    Ok(())
}

fn check_finite(name: &str, x: ArrayView2<'_, f32>, rows: &[usize]) -> Result<()> {
    match rows.iter().find(|i| x.row(**i).iter().any(|v| !v.is_finite())) {
        Some(i) => Err(Error::data(format!("row {} of the {name} is not finite", i + 1), "leave the cell out")),
        None => Ok(()),
    }
}

/// Mean distance of each cell to its nearest others, ascending.
fn mean_distances_to_others(reference: ArrayView2<'_, f32>, config: &TransferConfig) -> Result<Vec<f64>> {
    let neighbors = nearest_self(reference, &config.search(config.n_neighbors + 1))?;
    // First comes the cell itself, or another that lies on it, which leaves the same distances.
    let mut means: Vec<f64> = (0..neighbors.n_queries()).map(|i| mean(&neighbors.row(i).1[1..])).collect();
    means.sort_unstable_by(f64::total_cmp);
    Ok(means)
}

fn mean(distances: &[f32]) -> f64 {
    distances.iter().map(|d| f64::from(*d)).sum::<f64>() / distances.len() as f64
}

/// Share of `ascending` that is smaller than `value`.
fn share_below(ascending: &[f64], value: f64) -> f32 {
    (ascending.partition_point(|v| *v < value) as f64 / ascending.len() as f64) as f32
}

/// Shares of the votes, [n_query, n_classes]; `codes` are the classes of the reference cells.
fn vote(neighbors: &Neighbors, codes: &[u32], n_classes: usize, config: &TransferConfig) -> Array2<f32> {
    let mut scores = Array2::zeros((neighbors.n_queries(), n_classes));
    let mut shares = vec![0f64; n_classes];
    for (i, mut row) in scores.rows_mut().into_iter().enumerate() {
        let (indices, distances) = neighbors.row(i);
        shares.fill(0.0);
        for (j, weight) in indices.iter().zip(config.weights(distances)) {
            shares[codes[*j as usize] as usize] += weight;
        }
        row.iter_mut().zip(&shares).for_each(|(score, share)| *score = *share as f32);
    }
    scores
}

fn first_largest(scores: ArrayView1<'_, f32>) -> u32 {
    (1..scores.len()).fold(0, |best, c| if scores[c] > scores[best] { c } else { best }) as u32
}

/// Mean similarity to the neighbours of this class; there is one at least.
fn similarity_to(class: u32, (indices, distances): (&[u32], &[f32]), codes: &[u32], config: &TransferConfig) -> f32 {
    let of_class = indices.iter().zip(distances).filter(|(j, _)| codes[**j as usize] == class);
    let (sum, n) = of_class.fold((0.0, 0), |(sum, n), (_, d)| (sum + config.similarity(*d), n + 1));
    (sum / f64::from(n)) as f32
}

#[cfg(test)]
mod tests;
