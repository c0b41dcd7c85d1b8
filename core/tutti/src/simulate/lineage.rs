//! Barcoded clones that are sampled on several days and reach fates, as LARRY and CellTag experiments are.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::draw::dirichlet;
use super::plan::{Plan, batch_sizes, select};
use super::programme::{Curve, Shape, State, blocks};
use super::spec::{Batches, at_least_one, not_negative, positive, probability, share};
use crate::error::{Error, Result};
use crate::rng::{Rng, Stream};

/// Clones: each has a bias between the fates and genes that its cells express whatever their state; cells of later days have come
/// further on the way from `undifferentiated` to their fate. Truth: `clone`, `barcode` (the clone where it was read), `day`, `fate`,
/// `cell_type` (`undifferentiated` on the first half of the way), `time` (how far on the way, 0 to 1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lineage {
    /// Number of clones, at least 1. Default 200.
    pub n_clones: usize,
    /// Standard deviation of the log of a clone's size; 0 makes them alike. Default 1.
    pub clone_spread: f64,
    /// Number of fates, at least 1. Default 3.
    pub n_fates: usize,
    /// Concentration of the clones' shares of fates: small makes clones of one fate, large gives all clones all fates. Default 0.3.
    pub fate_concentration: f64,
    /// Days of sampling, ascending, above 0. Default `[2, 4, 6]`. On the last day the way is done on average.
    pub days: Vec<f64>,
    /// Standard deviation of how far cells of one day have come. Default 0.12.
    pub progress_spread: f64,
    /// Part of the fate's expression that a cell has at the start of the way, 0 to 1: what early cells tell of their fate. Default 0.1.
    pub priming: f64,
    /// Share of the genes that a clone expresses by inheritance, 0 to below 1: the fewer, the harder clones are to tell apart. Default 0.02.
    pub memory_gene_fraction: f64,
    /// Their expression in units of `level`, 0 or above. Default 0.5.
    pub memory: f64,
    /// Probability that a cell's barcode is not read, 0 to below 1. Default 0.2.
    pub unread: f64,
}

impl Default for Lineage {
    fn default() -> Self {
        Self {
            n_clones: 200,
            clone_spread: 1.0,
            n_fates: 3,
            fate_concentration: 0.3,
            days: vec![2.0, 4.0, 6.0],
            progress_spread: 0.12,
            priming: 0.1,
            memory_gene_fraction: 0.02,
            memory: 0.5,
            unread: 0.2,
        }
    }
}

impl Lineage {
    pub(super) fn validate(&self) -> Result<()> {
        at_least_one("structure.n_clones", self.n_clones)?;
        at_least_one("structure.n_fates", self.n_fates)?;
        positive("structure.fate_concentration", self.fate_concentration)?;
        for (name, value) in
            [("clone_spread", self.clone_spread), ("progress_spread", self.progress_spread), ("memory", self.memory)]
        {
            not_negative(&format!("structure.{name}"), value)?;
        }
        probability("structure.priming", self.priming)?;
        share("structure.memory_gene_fraction", self.memory_gene_fraction)?;
        share("structure.unread", self.unread)?;
        let ascending = self.days.windows(2).all(|w| w[0] < w[1]);
        if self.days.is_empty() || !ascending || !self.days.iter().all(|d| d.is_finite() && *d > 0.0) {
            let fix = "give at least one day, ascending and above 0";
            return Err(Error::argument("structure.days", format!("is {:?}", self.days), fix));
        }
        Ok(())
    }

    /// One state per fate: the way to it.
    pub(super) fn states(&self, genes: Range<usize>) -> Result<Vec<State>> {
        let runs = blocks(&vec![1.0; self.n_fates + 1], genes.start, genes.end, "structure.n_fates")?;
        let (shape, plateau) = (Shape::Linear, 0.0);
        let way = |fate: usize| State {
            name: format!("fate_{}", fate + 1),
            path: fate,
            depth: 0,
            start: 0.0,
            weight: 1.0,
            programmes: vec![
                (runs[0].clone(), Curve::Fall { shape, plateau }),
                (runs[fate + 1].clone(), Curve::Ramp { from: self.priming, to: 1.0 }),
            ],
        };
        Ok((0..self.n_fates).map(way).collect())
    }
}

/// Clones with what they inherit, and the clone, day and barcode of each cell.
#[derive(Debug, Clone)]
pub(super) struct Clones {
    /// Genes that each clone expresses.
    pub memory_genes: Vec<Vec<u32>>,
    pub clone: Vec<u32>,
    /// Index into the days.
    pub day: Vec<u32>,
    pub read: Vec<bool>,
}

impl Clones {
    /// Draws clones, and the place of each cell: its state is its fate, its time how far it has come.
    pub(super) fn draw(config: &Lineage, n_cells: usize, n_genes: usize, batches: &Batches, rng: &Rng) -> Result<(Self, Plan)> {
        if batches.overlap != super::Overlap::Full || !batches.states.is_empty() {
            let fix = "leave `overlap` and `states` out: every batch has all clones";
            return Err(Error::argument("batches.overlap", "has no effect on a lineage", fix));
        }
        let mut stream = rng.stream("clones", 0, 0);
        let sizes = running_sum((0..config.n_clones).map(|_| (config.clone_spread * stream.normal()).exp()));
        let fates: Vec<Vec<f64>> = (0..config.n_clones)
            .map(|_| running_sum(dirichlet(config.n_fates, config.fate_concentration, &mut stream).into_iter()))
            .collect();
        let n_memory = (config.memory_gene_fraction * n_genes as f64).round() as usize;
        let all: Vec<u32> = (0..n_genes as u32).collect();
        let memory_genes = (0..config.n_clones).map(|_| stream.choose(&all, n_memory)).collect();
        let mut clones = Self { memory_genes, clone: Vec::new(), day: Vec::new(), read: Vec::new() };
        let mut plan = Plan::default();
        let last = config.days[config.days.len() - 1];
        for (b, n) in batch_sizes(n_cells, batches, rng)?.into_iter().enumerate() {
            for _ in 0..n {
                let mut stream = rng.stream("place", 0, plan.batch.len() as u64);
                let clone = pick(&sizes, &mut stream);
                let day = stream.below(config.days.len());
                plan.batch.push(b as u32);
                plan.state.push(pick(&fates[clone], &mut stream) as u32);
                let mean = config.days[day] / last;
                plan.time.push((mean + config.progress_spread * stream.normal()).clamp(0.0, 1.0) as f32);
                clones.clone.push(clone as u32);
                clones.day.push(day as u32);
                clones.read.push(!stream.bernoulli(config.unread));
            }
        }
        Ok((clones, plan))
    }
}

impl Clones {
    /// The cells in another order.
    pub(super) fn reorder(&mut self, order: &[u32]) {
        self.clone = select(&self.clone, order);
        self.day = select(&self.day, order);
        self.read = select(&self.read, order);
    }
}

fn running_sum(values: impl Iterator<Item = f64>) -> Vec<f64> {
    values
        .scan(0.0, |sum, v| {
            *sum += v;
            Some(*sum)
        })
        .collect()
}

/// An index with probability in proportion to its step in `sums`; the search is fast where there are many.
fn pick(sums: &[f64], stream: &mut Stream) -> usize {
    let at = stream.uniform() * sums[sums.len() - 1];
    sums.partition_point(|s| *s <= at).min(sums.len() - 1)
}
