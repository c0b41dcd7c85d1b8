//! Mini-batches with cells of every reference and every query (CellPredX, scJoint).

use std::sync::Arc;

use super::{MiniBatch, MiniBatches, Sampler};
use crate::error::{Error, Result};
use crate::neighbors::Neighbors;
use crate::rng::{Rng, Stream};

/// Settings of [`PairedSampler`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairedSamplerConfig {
    /// Cells of each domain in a mini-batch, at least 2; a smaller domain gives all it has. Default 512.
    pub batch_size: usize,
    /// Mini-batches of an epoch, at least 1. Default 10.
    pub n_batches: usize,
}

impl Default for PairedSamplerConfig {
    fn default() -> Self {
        Self { batch_size: 512, n_batches: 10 }
    }
}

/// The cells of one domain: a reference or a query.
#[derive(Debug)]
pub struct DomainCells {
    /// Their row numbers.
    pub rows: Vec<usize>,
    /// Nearest neighbours among them, by position in `rows`, where each cell is to come with one of these: for queries.
    pub neighbors: Option<Neighbors>,
}

/// Draws from every domain at once, without replacement.
///
/// A domain is passed in random order, so many mini-batches as it fills, then in another order; a mini-batch never has a cell of a domain
/// twice. Rows of a mini-batch: the cells of the domains with neighbours, domain after domain; as many neighbours in the same order, each one at
/// random among those of its cell; then the cells of the domains without.
#[derive(Debug)]
pub struct PairedSampler {
    domains: Arc<Vec<DomainCells>>,
    config: PairedSamplerConfig,
}

impl PairedSampler {
    /// For these domains, none of them empty.
    ///
    /// # Errors
    /// [`Error::Argument`] for settings out of range; [`Error::Data`] for no domains, an empty one, or neighbours of other cells.
    pub fn new(domains: Vec<DomainCells>, config: PairedSamplerConfig) -> Result<Self> {
        if config.batch_size < 2 {
            let problem = format!("must be at least 2 (got {})", config.batch_size);
            return Err(Error::argument("batch_size", problem, "use 128 to 512"));
        }
        if config.n_batches == 0 {
            return Err(Error::argument("n_batches", "must be at least 1 (got 0)", "use 10"));
        }
        if domains.is_empty() || domains.iter().any(|d| d.rows.is_empty()) {
            return Err(Error::data("a reference or a query has no cells", "give cells of each"));
        }
        if domains.iter().any(|d| d.neighbors.as_ref().is_some_and(|n| n.n_queries() != d.rows.len())) {
            return Err(Error::data("neighbours are of other cells", "search them among the cells of the domain"));
        }
        Ok(Self { domains: Arc::new(domains), config })
    }
}

impl Sampler for PairedSampler {
    fn epoch(&self, rng: &Rng, epoch: usize) -> Result<Vec<MiniBatch>> {
        Ok(self.draw(rng, epoch)?.collect())
    }

    fn draw(&self, rng: &Rng, epoch: usize) -> Result<MiniBatches> {
        let PairedSamplerConfig { batch_size, n_batches } = self.config;
        let domains = self.domains.clone();
        let rows: usize = domains.iter().map(|d| d.rows.len().min(batch_size) * if d.neighbors.is_some() { 2 } else { 1 }).sum();
        let mut decks: Vec<Deck> = (0..domains.len()).map(|d| Deck { domain: d, pass: None, order: Vec::new() }).collect();
        let rng = *rng;
        let mut step = 0;
        let batches = std::iter::from_fn(move || {
            let mut stream = rng.stream("neighbours of mini-batches", epoch as u64, step as u64);
            let number = epoch * n_batches + step;
            step += 1;
            Some(mini_batch(&domains, &mut decks, number, batch_size, &rng, &mut stream))
        });
        Ok(MiniBatches::new(n_batches, rows as f64, batches))
    }
}

fn mini_batch(
    domains: &[DomainCells],
    decks: &mut [Deck],
    number: usize,
    batch_size: usize,
    rng: &Rng,
    stream: &mut Stream,
) -> MiniBatch {
    let (mut queries, mut partners, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for (domain, deck) in domains.iter().zip(decks) {
        let drawn = deck.draw(domain.rows.len(), number, batch_size, rng);
        let Some(neighbors) = &domain.neighbors else {
            others.extend(drawn.iter().map(|i| domain.rows[*i as usize]));
            continue;
        };
        for i in drawn {
            let i = *i as usize;
            queries.push(domain.rows[i]);
            let candidates = neighbors.row(i).0;
            // A cell alone with itself is its own partner.
            let n_others = candidates.iter().filter(|j| **j as usize != i).count();
            let pick = if n_others == 0 { 0 } else { stream.below(n_others) };
            let chosen = candidates.iter().filter(|j| **j as usize != i).nth(pick).map_or(i, |j| *j as usize);
            partners.push(domain.rows[chosen]);
        }
    }
    let n_pairs = queries.len();
    MiniBatch { rows: [queries, partners, others].concat(), n_pairs, ..Default::default() }
}

/// A domain in random order.
#[derive(Debug)]
struct Deck {
    domain: usize,
    pass: Option<usize>,
    order: Vec<u32>,
}

impl Deck {
    /// Positions of the cells in mini-batch `number` of the whole run.
    fn draw(&mut self, n: usize, number: usize, batch_size: usize, rng: &Rng) -> &[u32] {
        let size = n.min(batch_size);
        let per_pass = n / size;
        let pass = number / per_pass;
        if self.pass != Some(pass) {
            self.order = (0..n as u32).collect();
            rng.stream("order of a domain", pass as u64, self.domain as u64).shuffle(&mut self.order);
            self.pass = Some(pass);
        }
        let start = (number % per_pass) * size;
        &self.order[start..start + size]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::neighbors::{NeighborConfig, nearest_self};

    fn sampler(n_query: usize, n_reference: usize, config: PairedSamplerConfig) -> PairedSampler {
        let x = ndarray::Array2::from_shape_fn((n_query, 2), |(i, j)| if j == 0 { i as f32 } else { 0.0 });
        let neighbors = nearest_self(x.view(), &NeighborConfig { n_neighbors: 3.min(n_query), ..Default::default() }).unwrap();
        let query = DomainCells { rows: (100..100 + n_query).collect(), neighbors: Some(neighbors) };
        let reference = DomainCells { rows: (0..n_reference).collect(), neighbors: None };
        PairedSampler::new(vec![reference, query], config).unwrap()
    }

    #[test]
    fn every_cell_comes_equally_often_with_one_of_its_neighbours() {
        let sampler = sampler(12, 31, PairedSamplerConfig { batch_size: 4, n_batches: 30 });
        let batches = sampler.epoch(&Rng::new(1), 0).unwrap();
        assert_eq!((batches.len(), sampler.draw(&Rng::new(1), 0).unwrap().rows_per_batch()), (30, 12.0));
        let mut counts = vec![0; 200];
        let mut partners = HashSet::new();
        for batch in &batches {
            assert_eq!((batch.n_pairs, batch.rows.len()), (4, 12));
            assert_eq!(batch.rows[..4].iter().collect::<HashSet<_>>().len(), 4);
            assert_eq!(batch.rows[8..].iter().collect::<HashSet<_>>().len(), 4);
            for i in 0..4 {
                let (cell, partner) = (batch.rows[i], batch.rows[4 + i]);
                assert!(cell != partner && cell.abs_diff(partner) <= 2, "{cell} {partner}");
                partners.insert((cell, partner));
                counts[cell] += 1;
                counts[batch.rows[8 + i]] += 1;
            }
        }
        assert!((100..112).all(|i| counts[i] == 10));
        // Seven mini-batches fill 28 of 31 cells per pass.
        assert!((0..31).all(|i| (2..=5).contains(&counts[i])), "{counts:?}");
        assert_eq!(partners.len(), 24, "both neighbours of every cell are drawn");
    }

    #[test]
    fn a_small_domain_gives_all_it_has_and_a_lonely_cell_meets_itself() {
        let sampler = sampler(1, 3, PairedSamplerConfig { batch_size: 8, n_batches: 2 });
        for batch in sampler.epoch(&Rng::new(1), 0).unwrap() {
            assert_eq!(batch.rows[..2], [100, 100]);
            assert_eq!(batch.rows[2..].iter().collect::<HashSet<_>>().len(), 3);
        }
    }

    #[test]
    fn the_same_epoch_repeats_and_epochs_go_on_where_the_last_ended() {
        let sampler = sampler(12, 40, PairedSamplerConfig { batch_size: 4, n_batches: 5 });
        let rng = Rng::new(3);
        assert_eq!(sampler.epoch(&rng, 1).unwrap(), sampler.epoch(&rng, 1).unwrap());
        assert_ne!(sampler.epoch(&rng, 0).unwrap(), sampler.epoch(&rng, 1).unwrap());
        // Ten mini-batches of four are one pass over forty.
        let seen: HashSet<usize> =
            (0..2).flat_map(|e| sampler.epoch(&rng, e).unwrap()).flat_map(|b| b.rows[8..].to_vec()).collect();
        assert_eq!(seen.len(), 40);
    }

    #[test]
    fn what_cannot_be_sampled_is_refused() {
        let domain = |n| DomainCells { rows: (0..n).collect(), neighbors: None };
        let refused = |domains, config| PairedSampler::new(domains, config).unwrap_err().to_string();
        let config = PairedSamplerConfig::default();
        assert!(refused(vec![domain(3), domain(0)], config).contains("no cells"));
        assert!(refused(vec![domain(3)], PairedSamplerConfig { batch_size: 1, ..config }).contains("batch_size"));
        assert!(refused(vec![domain(3)], PairedSamplerConfig { n_batches: 0, ..config }).contains("n_batches"));
    }
}
