//! Dataset- and neighbourhood-aware mini-batches (CONCORD, Methods "dataset-aware" and "neighborhood-aware" sampler).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{MIN_CELLS, MiniBatch, Sampler};
use crate::error::{Error, Result};
use crate::neighbors::Neighbors;
use crate::rng::{Rng, Stream};

/// How many mini-batches each domain gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MinibatchStrategy {
    /// As its number of cells allows.
    #[default]
    Proportional,
    /// The median of these numbers for each.
    Equal,
    /// By a score per domain, e.g. the share of cell states that it covers.
    Coverage,
}

/// Settings of [`DomainSampler`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DomainSamplerConfig {
    /// Cells per mini-batch, at least 4.
    pub batch_size: usize,
    /// Share of a mini-batch that comes from its domain, 0 to 1; the rest leaks in from the others. Default 1.
    pub p_intra_domain: f64,
    /// How many mini-batches each domain gets.
    pub strategy: MinibatchStrategy,
    /// For [`MinibatchStrategy::Coverage`]: a score of 0 or more per domain, in the order of its levels.
    pub domain_coverage: Option<Vec<f64>>,
    /// Leaves the remainder of a domain after whole mini-batches out of the epoch, at random, as the published code does. Otherwise
    /// the proportional strategy gives each domain one mini-batch more and makes its mini-batches equally large. Default false.
    pub drop_last: bool,
}

impl Default for DomainSamplerConfig {
    fn default() -> Self {
        Self {
            batch_size: 256,
            p_intra_domain: 1.0,
            strategy: MinibatchStrategy::Proportional,
            domain_coverage: None,
            drop_last: false,
        }
    }
}

/// Enrichment of mini-batches for the neighbours of a core cell.
#[derive(Debug, Clone)]
pub struct Neighborhood {
    /// Nearest neighbours of every cell, over all domains.
    pub neighbors: Arc<Neighbors>,
    /// Share of a mini-batch that comes from the neighbourhood, 0 to 1.
    pub p_intra_knn: f64,
}

/// Mini-batches mostly of one domain, optionally enriched for a neighbourhood.
///
/// Cells of a mini-batch are distinct and ascending. A cell is drawn as an in-domain cell at most once per epoch under the
/// proportional strategy, and without leak and neighbourhoods exactly once unless the remainder is dropped. A domain smaller than a
/// mini-batch gives one mini-batch with all its cells.
#[derive(Debug)]
pub struct DomainSampler {
    config: DomainSamplerConfig,
    /// Cells of each domain, ascending.
    inside: Vec<Vec<usize>>,
    domain_of: Vec<Option<u32>>,
    neighborhood: Option<Neighborhood>,
}

impl DomainSampler {
    /// `rows`: the cells that take part; `domains`: code of every cell of the data; `n_domains`: number of codes.
    ///
    /// # Errors
    /// [`Error::Argument`] for settings out of range; [`Error::Data`] for fewer than 4 cells.
    pub fn new(rows: &[usize], domains: &[u32], n_domains: usize, config: DomainSamplerConfig) -> Result<Self> {
        validate(&config, n_domains)?;
        if rows.len() < MIN_CELLS {
            let problem = format!("{} cells are too few to form a mini-batch", rows.len());
            return Err(Error::data(problem, format!("at least {MIN_CELLS} are needed")));
        }
        let mut inside = vec![Vec::new(); n_domains];
        let mut domain_of = vec![None; domains.len()];
        for row in rows {
            inside[domains[*row] as usize].push(*row);
            domain_of[*row] = Some(domains[*row]);
        }
        inside.iter_mut().for_each(|cells| cells.sort_unstable());
        Ok(Self { config, inside, domain_of, neighborhood: None })
    }

    /// Enriches the mini-batches for neighbourhoods.
    ///
    /// # Errors
    /// [`Error::Argument`] for a probability outside of 0 to 1 or a graph over other cells.
    pub fn with_neighborhood(mut self, neighborhood: Neighborhood) -> Result<Self> {
        check_share("p_intra_knn", neighborhood.p_intra_knn)?;
        if neighborhood.neighbors.n_queries() != self.domain_of.len() {
            let problem = format!("has {} cells for {}", neighborhood.neighbors.n_queries(), self.domain_of.len());
            return Err(Error::argument("neighbour graph", problem, "build it over all cells"));
        }
        self.neighborhood = (neighborhood.p_intra_knn > 0.0).then_some(neighborhood);
        Ok(self)
    }

    /// Mini-batches of each domain in an epoch.
    pub fn batches_per_domain(&self) -> Vec<usize> {
        let whole = |n: usize| (n / self.config.batch_size).max(1);
        let with_last = |n: usize| if self.config.drop_last { whole(n) } else { n.div_ceil(self.config.batch_size) };
        let present = |counts: Vec<usize>| -> Vec<usize> {
            counts.iter().zip(&self.inside).map(|(n, cells)| if cells.is_empty() { 0 } else { *n }).collect()
        };
        match self.config.strategy {
            MinibatchStrategy::Proportional => present(self.inside.iter().map(|cells| with_last(cells.len())).collect()),
            MinibatchStrategy::Equal => {
                let proportional = present(self.inside.iter().map(|cells| whole(cells.len())).collect());
                let mut sorted: Vec<usize> = proportional.iter().copied().filter(|n| *n > 0).collect();
                sorted.sort_unstable();
                let half = sorted.len() / 2;
                let median = if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2 };
                present(vec![median; self.inside.len()])
            }
            MinibatchStrategy::Coverage => {
                let scores = self.config.domain_coverage.clone().unwrap_or_default();
                let total: f64 = scores.iter().sum();
                let n_cells: usize = self.inside.iter().map(Vec::len).sum();
                let all = whole(n_cells) as f64;
                present(scores.iter().map(|score| ((score / total * all) as usize).max(1)).collect())
            }
        }
    }

    fn outside(&self, domain: usize) -> Vec<usize> {
        let others = self.inside.iter().enumerate().filter(|(d, _)| *d != domain);
        others.flat_map(|(_, cells)| cells.iter().copied()).collect()
    }

    /// Cells per mini-batch of a domain, in order.
    fn batch_sizes(&self, n_cells: usize, n_batches: usize) -> Vec<usize> {
        let size = self.config.batch_size;
        let even = self.config.strategy == MinibatchStrategy::Proportional && !self.config.drop_last && n_cells > size;
        (0..n_batches).map(|i| if even { n_cells * (i + 1) / n_batches - n_cells * i / n_batches } else { size }).collect()
    }

    fn domain_batches(&self, domain: usize, n_batches: usize, stream: &mut Stream) -> Vec<MiniBatch> {
        let cells = &self.inside[domain];
        let single = self.inside.iter().filter(|cells| !cells.is_empty()).count() == 1;
        let p = if single { 1.0 } else { self.config.p_intra_domain };
        let cores = match &self.neighborhood {
            Some(_) => stream.choose(cells, n_batches),
            None => Vec::new(),
        };
        let sizes = self.batch_sizes(cells.len(), n_batches);
        let n_knn = |size: usize| self.neighborhood.as_ref().map_or(0, |n| (n.p_intra_knn * size as f64) as usize);
        let n_inside = |size: usize| (p * (size - n_knn(size)) as f64) as usize;
        let n_outside = |size: usize| if single { 0 } else { size - n_knn(size) - n_inside(size) };
        let inside = draw_blocks(cells, sizes.iter().map(|s| n_inside(*s)), stream);
        let outside = if sizes.iter().all(|s| n_outside(*s) == 0) {
            vec![Vec::new(); n_batches]
        } else {
            draw_blocks(&self.outside(domain), sizes.iter().map(|s| n_outside(*s)), stream)
        };
        let blocks = inside.into_iter().zip(outside).zip(&sizes).enumerate();
        blocks
            .map(|(i, ((mut rows, outside), size))| {
                rows.extend(outside);
                let core = cores.get(i % cores.len().max(1)).copied();
                if let (Some(core), Some(neighborhood)) = (core, &self.neighborhood) {
                    rows.extend(self.neighbor_cells(core, neighborhood, n_knn(*size), p, stream));
                }
                rows.sort_unstable();
                rows.dedup();
                MiniBatch { rows, domain: Some(domain as u32), core, ..Default::default() }
            })
            .collect()
    }

    /// `n` neighbours of `core`, at most the share `p` of them from its own domain; fewer where the neighbourhood lacks them.
    fn neighbor_cells(&self, core: usize, neighborhood: &Neighborhood, n: usize, p: f64, stream: &mut Stream) -> Vec<usize> {
        let domain = self.domain_of[core];
        let neighbors = neighborhood.neighbors.row(core).0.iter().map(|i| *i as usize);
        let (same, other): (Vec<usize>, Vec<usize>) =
            neighbors.filter(|i| self.domain_of[*i].is_some()).partition(|i| self.domain_of[*i] == domain);
        let n_same = (p * n as f64) as usize;
        let mut cells = stream.choose(&same, n_same);
        cells.extend(stream.choose(&other, n - n_same));
        cells
    }
}

impl Sampler for DomainSampler {
    fn epoch(&self, rng: &Rng, epoch: usize) -> Result<Vec<MiniBatch>> {
        let mut batches = Vec::new();
        for (domain, n_batches) in self.batches_per_domain().into_iter().enumerate().filter(|(_, n)| *n > 0) {
            let mut stream = rng.stream("domain sampler", epoch as u64, domain as u64);
            batches.extend(self.domain_batches(domain, n_batches, &mut stream));
        }
        batches.retain(|batch| batch.rows.len() >= MIN_CELLS);
        if batches.is_empty() {
            let problem = format!("every batch has fewer than {MIN_CELLS} cells, so that no mini-batch can be formed");
            return Err(Error::data(problem, "merge batches, or lower `p_intra_domain` so that others leak in"));
        }
        rng.stream("mini-batch order", epoch as u64, 0).shuffle(&mut batches);
        Ok(batches)
    }
}

/// Blocks of these sizes: consecutive parts of one permutation where there are enough cells, else each block on its own without repeats,
/// all cells where there are no more.
fn draw_blocks(pool: &[usize], sizes: impl Iterator<Item = usize> + Clone, stream: &mut Stream) -> Vec<Vec<usize>> {
    let total = sizes.clone().sum();
    if total <= pool.len() {
        let mut drawn = stream.choose(pool, total).into_iter();
        return sizes.map(|size| drawn.by_ref().take(size).collect()).collect();
    }
    sizes.map(|size| stream.choose(pool, size)).collect()
}

fn validate(config: &DomainSamplerConfig, n_domains: usize) -> Result<()> {
    if config.batch_size < MIN_CELLS {
        let problem = format!("must be at least {MIN_CELLS} (got {})", config.batch_size);
        return Err(Error::argument("batch_size", problem, "use 128 to 1024"));
    }
    check_share("p_intra_domain", config.p_intra_domain)?;
    match (config.strategy, &config.domain_coverage) {
        (MinibatchStrategy::Coverage, Some(scores)) => {
            let usable = scores.iter().all(|s| s.is_finite() && *s >= 0.0) && scores.iter().sum::<f64>() > 0.0;
            if scores.len() != n_domains || !usable {
                let problem = format!("must give one score of 0 or more for each of the {n_domains} batches, not all 0");
                return Err(Error::argument("domain_coverage", problem, "give the share of cell states each batch covers"));
            }
            Ok(())
        }
        (MinibatchStrategy::Coverage, None) => {
            Err(Error::argument("domain_coverage", "is missing for strategy `coverage`", "give a score per batch"))
        }
        (_, Some(_)) => Err(Error::argument(
            "domain_coverage",
            "has no effect without strategy `coverage`",
            "set the strategy or leave it out",
        )),
        _ => Ok(()),
    }
}

fn check_share(name: &str, p: f64) -> Result<()> {
    if (0.0..=1.0).contains(&p) {
        Ok(())
    } else {
        Err(Error::argument(
            name,
            format!("must be between 0 and 1 (got {p})"),
            "use 0.9 to 1 for p_intra_domain, 0 to 0.5 for p_intra_knn",
        ))
    }
}

#[cfg(test)]
#[path = "domain_tests.rs"]
mod tests;
