//! What the descendants of a cell become, told from its place in an embedding.

use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use ndarray::{Array1, Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::data::{Batch, Categorical, CellSource, Cells, Csr, Lineages};
use crate::error::{Error, Result};
use crate::loss::{LossTerms, kl_divergence};
use crate::model::{Phase, SavedModel, System, to_array};
use crate::nn::{Dense, Draws, Parameters};
use crate::observe::{CancelToken, Observer};
use crate::optim::{AdamConfig, Decay, OptimizerConfig, Schedule};
use crate::rng::Rng;
use crate::sampler::{Sampler, UniformSampler};
use crate::threads::Threads;
use crate::train::{History, State, TrainConfig, Trainer};

/// Which cells are early, which final, and what counts.
#[derive(Debug, Clone, PartialEq)]
pub struct FateTimes {
    /// Time of the cells whose descendants are looked at.
    pub early: Vec<String>,
    /// Time at which fates are read.
    pub last: String,
    /// Fewest final cells of a lineage. Fewer give fractions that say little. Default 5.
    pub min_final: usize,
    /// Added to each share before they are scaled to 1 again, above 0: no fate is impossible. Default 0.001.
    pub smoothing: f64,
}

impl FateTimes {
    /// Early cells of the first of the times (or of `early`), fates at the last (or at `last`); smoothing 0.001.
    ///
    /// # Errors
    /// [`Error::Data`] for fewer than two times.
    pub fn of(time: &Categorical, early: &[String], last: Option<&str>, min_final: usize) -> Result<Self> {
        let there = time.drop_unused();
        let [first, .., newest] = there.levels() else {
            let problem = format!("the cells have {} times", there.n_levels());
            return Err(Error::data(problem, "fates need an early and a later time"));
        };
        Ok(Self {
            early: if early.is_empty() { vec![first.clone()] } else { early.to_vec() },
            last: last.unwrap_or(newest).to_owned(),
            min_final,
            smoothing: 1e-3,
        })
    }
}

/// Early cells and what became of their lineages.
#[derive(Debug, Clone, PartialEq)]
pub struct FateTargets {
    /// Fates, the columns of `shares`.
    pub fates: Vec<String>,
    /// Early cells of lineages with enough final cells.
    pub cells: Vec<usize>,
    /// Shares of the fates among the final cells of each one's lineage, [n_cells, n_fates], smoothed; a row sums to 1.
    pub shares: Array2<f32>,
    /// Final cells behind each row.
    pub n_final: Vec<usize>,
    /// First lineage of each of these cells.
    pub lineage: Vec<u32>,
}

impl FateTargets {
    /// From lineages, and the time and type of every cell; an empty type is none. A cell of several lineages gets the shares of all their final
    /// cells together.
    ///
    /// # Errors
    /// [`Error::Data`] for columns of other cells, a time that no cell has, final cells of fewer than two types, or no early cell with enough
    /// final relatives; [`Error::Argument`] for an early time that is the final one.
    pub fn new(lineages: &Lineages, time: &Categorical, fate: &Categorical, times: &FateTimes) -> Result<Self> {
        if time.len() != lineages.n_cells() || fate.len() != lineages.n_cells() {
            let problem = format!("lineages of {} cells, times of {}, fates of {}", lineages.n_cells(), time.len(), fate.len());
            return Err(Error::data(problem, "give all for the same cells"));
        }
        for wanted in times.early.iter().chain([&times.last]) {
            if !time.drop_unused().levels().contains(wanted) {
                let fix = format!("the times are: {}", time.drop_unused().levels().join(", "));
                return Err(Error::data(format!("no cell has the time `{wanted}`"), fix));
            }
        }
        if times.early.contains(&times.last) {
            let problem = format!("has the final time `{}`: its cells would tell of themselves", times.last);
            return Err(Error::argument("early", problem, "give times before it, or another final one"));
        }
        let is_final = |i: &usize| time.value(*i) == Some(&times.last);
        let of_final = |i: usize| fate.value(i).filter(|name| is_final(&i) && !name.trim().is_empty());
        let read = Categorical::from_values((0..fate.len()).map(of_final));
        let fates = read.levels().to_vec();
        if fates.len() < 2 {
            let problem = format!("the cells at time `{}` are of {} types ({})", times.last, fates.len(), fates.join(", "));
            return Err(Error::data(problem, "there is nothing to tell apart; check the column of types and the final time"));
        }
        let members = lineages.members();
        let mut out = Self { fates, cells: Vec::new(), shares: Array2::zeros((0, 0)), n_final: Vec::new(), lineage: Vec::new() };
        let mut shares = Vec::new();
        for i in 0..lineages.n_cells() {
            let (Some(at), Some(first)) = (time.value(i), lineages.of(i).first()) else { continue };
            if !times.early.iter().any(|t| t == at) {
                continue;
            }
            let mut kin: Vec<usize> = lineages.of(i).iter().flat_map(|l| members[*l as usize].iter().copied()).collect();
            kin.sort_unstable();
            kin.dedup();
            let codes: Vec<u32> = kin.into_iter().filter_map(|j| read.codes()[j]).collect();
            if codes.len() < times.min_final.max(1) {
                continue;
            }
            let n_fates = out.fates.len();
            let share = |f: usize| codes.iter().filter(|c| **c as usize == f).count() as f64 / codes.len() as f64;
            let total = 1.0 + n_fates as f64 * times.smoothing;
            shares.extend((0..n_fates).map(|f| ((share(f) + times.smoothing) / total) as f32));
            out.cells.push(i);
            out.n_final.push(codes.len());
            out.lineage.push(*first);
        }
        if out.cells.is_empty() {
            let problem = format!("no early cell is of a lineage with {} cells at time `{}`", times.min_final, times.last);
            return Err(Error::data(problem, "lower the number of final cells that is asked for"));
        }
        out.shares = Array2::from_shape_vec((out.cells.len(), out.fates.len()), shares)
            .map_err(|e| Error::data(e.to_string(), "report this"))?;
        Ok(out)
    }

    /// The rows `rows` of these.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            fates: self.fates.clone(),
            cells: rows.iter().map(|r| self.cells[*r]).collect(),
            shares: self.shares.select(Axis(0), rows),
            n_final: rows.iter().map(|r| self.n_final[*r]).collect(),
            lineage: rows.iter().map(|r| self.lineage[*r]).collect(),
        }
    }

    /// Rows of a share of the lineages (at least one), and all others.
    pub fn split_lineages(&self, share: f64, rng: &Rng) -> (Vec<usize>, Vec<usize>) {
        let mut lineages = self.lineage.clone();
        lineages.sort_unstable();
        lineages.dedup();
        let n = ((share * lineages.len() as f64).round() as usize).max(1);
        let chosen = rng.stream("lineages to test fates on", 0, 0).choose(&lineages, n);
        (0..self.cells.len()).partition(|r| chosen.contains(&self.lineage[*r]))
    }

    /// Mean shares over the rows: the best guess without looking at cells.
    pub fn mean(&self) -> Array1<f32> {
        self.shares.mean_axis(Axis(0)).unwrap_or_default()
    }

    /// Mean Kullback-Leibler divergence, nats, of predictions [n_cells, n_fates] from these shares, and how many rows have their largest share
    /// right.
    ///
    /// # Errors
    /// [`Error::Data`] for predictions of another shape.
    pub fn score(&self, predicted: ArrayView2<'_, f32>) -> Result<(f64, f64)> {
        if predicted.dim() != self.shares.dim() {
            let problem = format!("predictions of shape {:?} for {:?}", predicted.dim(), self.shares.dim());
            return Err(Error::data(problem, "predict the same cells and fates"));
        }
        let best = |row: ndarray::ArrayView1<'_, f32>| (1..row.len()).fold(0, |b, f| if row[f] > row[b] { f } else { b });
        let (mut kl, mut right) = (0.0, 0);
        for (observed, predicted) in self.shares.rows().into_iter().zip(predicted.rows()) {
            let term = |(o, p): (&f32, &f32)| f64::from(*o) * (f64::from(*o).ln() - f64::from(p.max(1e-30)).ln());
            kl += observed.iter().zip(predicted).filter(|(o, _)| **o > 0.0).map(term).sum::<f64>();
            right += usize::from(best(observed) == best(predicted));
        }
        let n = self.cells.len() as f64;
        Ok((kl / n, right as f64 / n))
    }
}

/// Settings of [`FateDecoder`]; the defaults are LCL's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FateConfig {
    /// Learning rate of AdamW. Default 0.005.
    pub lr: f64,
    /// Weight decay, of all parameters. Default 1e-4.
    pub weight_decay: f64,
    /// Cells per mini-batch. Default 256.
    pub batch_size: usize,
    /// Passes over the cells at most. Default 5000.
    pub n_epochs: usize,
    /// Share of the cells that is trained on; the others decide when to stop. Default 0.8.
    pub train_frac: f64,
    /// Epochs without a gain before training stops. Default 150.
    pub patience: usize,
    /// Least gain that counts. Default 1e-5.
    pub min_delta: f64,
    /// Names all random draws. Default 42.
    pub seed: u64,
}

impl Default for FateConfig {
    fn default() -> Self {
        Self {
            lr: 5e-3,
            weight_decay: 1e-4,
            batch_size: 256,
            n_epochs: 5000,
            train_frac: 0.8,
            patience: 150,
            min_delta: 1e-5,
            seed: 42,
        }
    }
}

impl FateConfig {
    fn train(&self, n_cells: usize) -> TrainConfig {
        let adam = AdamConfig { weight_decay: self.weight_decay, decay: Decay::All, ..Default::default() };
        TrainConfig {
            n_epochs: self.n_epochs,
            learning_rate: self.lr,
            schedule: Schedule::Constant,
            optimizer: OptimizerConfig::Adam(adam),
            // Too few cells to spare some.
            train_frac: if n_cells < 10 { 1.0 } else { self.train_frac },
            patience: self.patience,
            min_delta: self.min_delta,
            validation_batch_size: self.batch_size,
            seed: self.seed,
            ..Default::default()
        }
    }
}

/// Shares of fates from an embedding: one linear layer and a softmax, fitted by the Kullback-Leibler divergence (LCL, section 3.4).
#[derive(Debug)]
pub struct FateDecoder {
    config: FateConfig,
    fates: Vec<String>,
    width: usize,
    parameters: Parameters,
    linear: Dense,
    /// Of the cells in training, [n_cells, n_fates].
    shares: Array2<f32>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    config: FateConfig,
    fates: Vec<String>,
    width: usize,
}

impl FateDecoder {
    /// Fits a decoder to `embedding` [n_cells, d], of whose cells the `targets` are some.
    ///
    /// # Errors
    /// [`Error::Data`] for targets of other cells or values that are not finite; settings out of range. A fit that the token stops is kept as far
    /// as it got.
    pub fn fit(
        embedding: ArrayView2<'_, f32>,
        targets: &FateTargets,
        config: FateConfig,
        threads: Threads,
        observer: &mut dyn Observer,
        cancel: &CancelToken,
    ) -> Result<(Self, History, State)> {
        if let Some(i) = targets.cells.iter().find(|i| **i >= embedding.nrows()) {
            let problem = format!("cell number {} is beyond the {} embedded ones", i + 1, embedding.nrows());
            return Err(Error::data(problem, "embed the cells that the targets are of"));
        }
        let x = Csr::from_dense(embedding.select(Axis(0), &targets.cells).view())?;
        let n_cells = targets.cells.len();
        let names = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
        let cells = Cells::new(x, names("cell", n_cells), names("dimension", embedding.ncols()))?;
        let train = config.train(n_cells);
        let decoder = Self::build(config, targets.fates.clone(), embedding.ncols(), targets.shares.clone())?;
        let mut trainer = Trainer::new(decoder, cells, train, threads)?;
        let state = trainer.train(observer, cancel)?;
        let (decoder, history) = trainer.finish()?;
        Ok((decoder, history, state))
    }

    fn build(config: FateConfig, fates: Vec<String>, width: usize, shares: Array2<f32>) -> Result<Self> {
        let mut parameters = Parameters::new(&Device::Cpu, Rng::new(config.seed));
        let linear = Dense::new(&mut parameters, "fate", width, fates.len())?;
        Ok(Self { config, fates, width, parameters, linear, shares })
    }

    /// Fates, in the order of [`FateDecoder::predict`]'s columns.
    pub fn fates(&self) -> &[String] {
        &self.fates
    }

    /// Shares of the fates of each cell's descendants, [n_cells, n_fates]; a row sums to 1.
    ///
    /// # Errors
    /// [`Error::Data`] for an embedding of another width.
    pub fn predict(&self, embedding: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        if embedding.ncols() != self.width {
            let problem = format!("the embedding has {} dimensions, the decoder reads {}", embedding.ncols(), self.width);
            return Err(Error::data(problem, "embed the cells by the model that the decoder was fitted to"));
        }
        let values: Vec<f32> = embedding.iter().copied().collect();
        let logits = self.linear.detached().forward(&Tensor::from_vec(values, embedding.dim(), &Device::Cpu)?)?;
        to_array(&candle_nn::ops::softmax(&logits, 1)?)
    }

    /// Writes the decoder.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        let header = Header { config: self.config.clone(), fates: self.fates.clone(), width: self.width };
        let header = serde_json::to_value(header).map_err(|e| Error::data(e.to_string(), "report this"))?;
        SavedModel::new(self.name(), header, self.parameters.snapshot()?).save(path)
    }

    /// Reads a decoder that [`FateDecoder::save`] wrote.
    ///
    /// # Errors
    /// [`Error::ModelFile`] for a file that is truncated, foreign, newer, or of a system.
    pub fn load(path: &Path) -> Result<Self> {
        let saved = SavedModel::load(path)?;
        let header: Header = saved.header_as("fate", path)?;
        let decoder = Self::build(header.config, header.fates, header.width, Array2::zeros((0, 0)))?;
        let wrong =
            |e: Error| Error::ModelFile { path: path.to_owned(), problem: e.to_string(), fix: "save the decoder again".into() };
        decoder.parameters.restore(&saved.tensors).map_err(wrong)?;
        Ok(decoder)
    }
}

/// Coordinates and observed shares of a mini-batch.
#[derive(Debug)]
pub struct Fates {
    z: Tensor,
    observed: Tensor,
}

impl System for FateDecoder {
    type Prepared = Fates;

    fn name(&self) -> &'static str {
        "fate"
    }

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn phases(&self) -> &[Phase] {
        &[Phase::MODEL]
    }

    fn sampler(&mut self, _cells: &Cells<'_>, rows: &[usize], _epoch: usize, first: bool) -> Result<Option<Box<dyn Sampler>>> {
        Ok(if first { Some(Box::new(UniformSampler::new(rows.to_vec(), self.config.batch_size))) } else { None })
    }

    fn prepare(&self, batch: Batch, _draws: &Draws) -> Result<Fates> {
        let tensor = |x: Array2<f32>| -> Result<Tensor> {
            let shape = x.dim();
            Ok(Tensor::from_vec(x.iter().copied().collect::<Vec<f32>>(), shape, &Device::Cpu)?)
        };
        Ok(Fates { z: tensor(batch.rows.to_dense())?, observed: tensor(self.shares.select(Axis(0), &batch.indices))? })
    }

    fn losses(&self, prepared: &Fates, _phase: Phase, _draws: &Draws) -> Result<LossTerms> {
        self.validation_losses(prepared)
    }

    fn validation_losses(&self, prepared: &Fates) -> Result<LossTerms> {
        let mut terms = LossTerms::new();
        terms.add("kl", 1.0, kl_divergence(&prepared.observed, &self.linear.forward(&prepared.z)?)?);
        Ok(terms)
    }

    fn embed(&self, source: &dyn CellSource) -> Result<Array2<f32>> {
        let mut rows = Csr::empty(source.n_genes());
        source.read_range(0..source.n_cells(), &mut rows)?;
        self.predict(Arc::new(rows.to_dense()).view())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Silent;

    /// Ten lineages; the early cells of each lie where the shares of its final cells say.
    fn planted() -> (Lineages, Categorical, Categorical, Array2<f32>) {
        let mut stream = Rng::new(5).stream("cells", 0, 0);
        let (mut lineage, mut time, mut fate, mut z) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for l in 0..10 {
            let p = [0.05, 0.95, 0.5][l % 3];
            for k in 0..60 {
                let early = k < 20;
                lineage.push(Some(format!("l{l}")));
                time.push(Some(if early { "2" } else { "6" }));
                fate.push(Some(if early {
                    "stem"
                } else if stream.bernoulli(p) {
                    "B"
                } else {
                    "A"
                }));
                z.extend([(4.0 * (p - 0.5) + 0.3 * stream.normal()) as f32, stream.normal() as f32]);
            }
        }
        let z = Array2::from_shape_vec((600, 2), z).unwrap();
        let column = |v: Vec<Option<&str>>| Categorical::from_values(v);
        (Lineages::from_column(&Categorical::from_values(lineage)), column(time), column(fate), z)
    }

    fn times() -> FateTimes {
        FateTimes { early: vec!["2".into()], last: "6".into(), min_final: 5, smoothing: 1e-3 }
    }

    #[test]
    fn targets_are_the_shares_of_the_final_cells() {
        let x = ndarray::array![[1.0f32, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]];
        let lineages = Lineages::from_matrix(&Csr::from_dense(x.view()).unwrap(), vec!["a".into(), "b".into()]).unwrap();
        let time = Categorical::from_values(["2", "2", "2", "6", "6", "2"].map(Some));
        let fate = Categorical::from_values(["x", "x", "x", "A", "B", "x"].map(Some));
        let targets = FateTargets::new(&lineages, &time, &fate, &FateTimes { min_final: 1, ..times() }).unwrap();
        assert_eq!((targets.fates.as_slice(), targets.cells.as_slice()), (&["A".to_owned(), "B".to_owned()][..], &[0, 1, 2][..]));
        let expected = [[1.001 / 1.002, 0.001 / 1.002], [0.5, 0.5], [0.001 / 1.002, 1.001 / 1.002]];
        for (row, expected) in targets.shares.rows().into_iter().zip(expected) {
            assert!((0..2).all(|f| (f64::from(row[f]) - expected[f]).abs() < 1e-6), "{row}");
        }
        assert_eq!(targets.n_final, [1, 2, 1]);
        let none = FateTargets::new(&lineages, &time, &fate, &times()).unwrap_err().to_string();
        assert!(none.contains("lineage with 5 cells at time `6`"), "{none}");
        let wrong =
            FateTargets::new(&lineages, &time, &fate, &FateTimes { last: "7".into(), ..times() }).unwrap_err().to_string();
        assert!(wrong.contains("`7`; the times are: 2, 6"), "{wrong}");
    }

    #[test]
    fn predicts_fates_of_unseen_lineages_better_than_their_mean_and_comes_back_from_a_file() {
        let (lineages, time, fate, z) = planted();
        let targets = FateTargets::new(&lineages, &time, &fate, &times()).unwrap();
        assert_eq!(targets.cells.len(), 200);
        let (test, train) = targets.split_lineages(0.3, &Rng::new(2));
        let (test, train) = (targets.select(&test), targets.select(&train));
        let fit = |n| {
            let threads = Threads::new(n).unwrap();
            FateDecoder::fit(z.view(), &train, FateConfig::default(), threads, &mut Silent, &CancelToken::default()).unwrap()
        };
        let (decoder, history, state) = fit(2);
        assert_eq!(state, State::Finished);
        assert!(history.best_epoch.is_some());
        let predicted = decoder.predict(z.select(Axis(0), &test.cells).view()).unwrap();
        assert!(predicted.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-5));
        let guess = train.mean().broadcast(test.shares.dim()).unwrap().to_owned();
        let ((kl, right), (kl_mean, _)) = (test.score(predicted.view()).unwrap(), test.score(guess.view()).unwrap());
        assert!(kl < 0.3 * kl_mean && right > 0.6, "{kl} {right}, by the mean {kl_mean}");
        assert_eq!(predicted, fit(1).0.predict(z.select(Axis(0), &test.cells).view()).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fate.safetensors");
        decoder.save(&path).unwrap();
        let back = FateDecoder::load(&path).unwrap();
        assert_eq!((back.fates(), back.predict(z.view()).unwrap()), (decoder.fates(), decoder.predict(z.view()).unwrap()));
        assert!(back.predict(z.slice(ndarray::s![.., ..1])).unwrap_err().to_string().contains("1 dimensions"));
    }
}
