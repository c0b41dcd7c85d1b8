//! Pairs of cells of one lineage, each mini-batch with pairs of distinct lineages (LCL, section 3.1 "cell-pair generator").

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{MiniBatch, MiniBatches, Sampler};
use crate::data::Lineages;
use crate::error::{Error, Result};
use crate::rng::{Rng, Stream};

/// Settings of [`LineageSampler`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LineageSamplerConfig {
    /// Pairs per mini-batch, each of another lineage, at least 2. Default 25.
    pub n_pairs: usize,
    /// Share of all pairs of a lineage that an epoch has, above 0 to 1, but as many at least as give every cell a partner. Default 0.3.
    pub size_factor: f64,
    /// Cells without lineage per mini-batch. Default 5.
    pub n_unlabelled: usize,
    /// Share of the mini-batches that are kept for validation, 0 to below 1. They are never trained on; their cells are. Above 0 all epochs
    /// have the same mini-batches. Default 0.
    pub held_out: f64,
    /// Takes the same mini-batches in every epoch. Default false.
    pub fixed: bool,
}

impl Default for LineageSamplerConfig {
    fn default() -> Self {
        Self { n_pairs: 25, size_factor: 0.3, n_unlabelled: 5, held_out: 0.0, fixed: false }
    }
}

/// Draws pairs while they are asked for: memory is that of the cells and of one mini-batch, whatever the number of pairs.
///
/// Within an epoch the pairs of a lineage are the first rounds of a tournament over its cells in random order: in a round every cell meets
/// another (but one, where their number is odd, which comes first in the next round), in no two rounds the same. So every cell occurs,
/// all occur about equally often, no pair comes twice, and every pair is equally likely.
///
/// A mini-batch takes one pair each of distinct lineages, at random among those that have pairs left. Where too few have, others are added
/// with a pair at random. Large lineages therefore fill the end of an epoch; a lineage of n cells gives about `size_factor` n²/2 pairs.
#[derive(Debug)]
pub struct LineageSampler {
    pool: Arc<Pool>,
    config: LineageSamplerConfig,
}

#[derive(Debug)]
struct Pool {
    /// Cells of each lineage with two or more.
    members: Vec<Vec<usize>>,
    unlabelled: Vec<usize>,
}

impl LineageSampler {
    /// `lineages`: of the cells that are trained on, the others have none there; `unlabelled`: cells that are drawn beside the pairs.
    ///
    /// # Errors
    /// [`Error::Argument`] for settings out of range; [`Error::Data`] for fewer than two lineages of two cells.
    pub fn new(lineages: &Lineages, unlabelled: Vec<usize>, config: LineageSamplerConfig) -> Result<Self> {
        if config.n_pairs < 2 {
            let problem = format!("must be at least 2 (got {})", config.n_pairs);
            return Err(Error::argument("n_pairs", problem, "use 25 to 260"));
        }
        if !(config.size_factor > 0.0 && config.size_factor <= 1.0) {
            let problem = format!("must be above 0 and at most 1 (got {})", config.size_factor);
            return Err(Error::argument("size_factor", problem, "use 0.02 for large lineages, 0.5 for small ones"));
        }
        if !(0.0..1.0).contains(&config.held_out) {
            let problem = format!("must be at least 0 and below 1 (got {})", config.held_out);
            return Err(Error::argument("held_out", problem, "use 0.2"));
        }
        let mut members = lineages.members();
        members.retain(|m| !m.is_empty());
        let n_lineages = members.len();
        members.retain(|m| m.len() > 1);
        if members.len() < 2 {
            let problem = format!("{} lineages have two cells or more, of {n_lineages} that any cell has", members.len());
            return Err(Error::data(problem, "two at least are needed to contrast; check the column of barcodes"));
        }
        Ok(Self { pool: Arc::new(Pool { members, unlabelled }), config })
    }

    /// Pairs of an epoch that are of a lineage with `n_cells` cells: the share `size_factor` of all, or as many as give every cell a partner.
    pub fn n_pairs_of(&self, n_cells: usize) -> usize {
        let all = n_cells * (n_cells - 1) / 2;
        ((self.config.size_factor * all as f64).ceil() as usize).clamp(n_cells.div_ceil(2), all)
    }

    /// Lineages with two cells or more.
    pub fn n_lineages(&self) -> usize {
        self.pool.members.len()
    }

    /// Mini-batches that are kept for validation, at most `at_most`; the same whenever asked.
    ///
    /// # Errors
    /// None: as [`Sampler::epoch`].
    pub fn validation(&self, rng: &Rng, at_most: usize) -> Vec<MiniBatch> {
        let all = Drawing::new(self, *rng, 0);
        all.enumerate().filter(|(i, _)| self.keeps(rng, *i)).map(|(_, batch)| batch).take(at_most).collect()
    }

    /// Whether mini-batch `i` is kept for validation.
    fn keeps(&self, rng: &Rng, i: usize) -> bool {
        self.config.held_out > 0.0 && rng.stream("mini-batches kept for validation", 0, i as u64).bernoulli(self.config.held_out)
    }
}

impl Sampler for LineageSampler {
    fn epoch(&self, rng: &Rng, epoch: usize) -> Result<Vec<MiniBatch>> {
        Ok(self.draw(rng, epoch)?.collect())
    }

    fn draw(&self, rng: &Rng, epoch: usize) -> Result<MiniBatches> {
        let epoch = if self.config.fixed || self.config.held_out > 0.0 { 0 } else { epoch };
        let drawing = Drawing::new(self, *rng, epoch);
        let n_batches = drawing.urn.clone().n_batches();
        let (this, rng) = (Self { pool: self.pool.clone(), config: self.config }, *rng);
        let n_trained = (0..n_batches).filter(|i| !this.keeps(&rng, *i)).count();
        let rows = 2 * self.config.n_pairs.min(self.n_lineages()) + self.config.n_unlabelled.min(self.pool.unlabelled.len());
        let kept = drawing.enumerate().filter(move |(i, _)| !this.keeps(&rng, *i)).map(|(_, batch)| batch);
        Ok(MiniBatches::new(n_trained, rows as f64, kept))
    }
}

/// Which lineages a mini-batch has; knows of counts only, so that an epoch can be counted before it is drawn.
#[derive(Debug, Clone)]
struct Urn {
    n_pairs: usize,
    /// Pairs left, by lineage.
    left: Vec<usize>,
    /// Lineages with pairs left.
    active: Vec<u32>,
    all: Vec<u32>,
    stream: Stream,
}

impl Urn {
    /// Lineages of the next mini-batch, those that give one of their pairs first, and how many these are. `None` at the end.
    fn next(&mut self) -> Option<(Vec<u32>, usize)> {
        if self.active.is_empty() {
            return None;
        }
        let n = self.n_pairs.min(self.all.len());
        let n_own = n.min(self.active.len());
        shuffle_first(&mut self.active, n_own, &mut self.stream);
        let mut chosen = self.active[..n_own].to_vec();
        for place in (0..n_own).rev() {
            let left = &mut self.left[self.active[place] as usize];
            *left -= 1;
            if *left == 0 {
                self.active.swap_remove(place);
            }
        }
        // Others, at random among all that are not there yet.
        let mut at = 0;
        while chosen.len() < n {
            let place = at + self.stream.below(self.all.len() - at);
            self.all.swap(at, place);
            if !chosen[..n_own].contains(&self.all[at]) {
                chosen.push(self.all[at]);
            }
            at += 1;
        }
        Some((chosen, n_own))
    }

    fn n_batches(mut self) -> usize {
        std::iter::from_fn(|| self.next()).count()
    }
}

/// Brings `k` elements to the front, each set of them equally likely.
fn shuffle_first<T>(items: &mut [T], k: usize, stream: &mut Stream) {
    for i in 0..k {
        let j = i + stream.below(items.len() - i);
        items.swap(i, j);
    }
}

/// The mini-batches of one epoch.
struct Drawing {
    pool: Arc<Pool>,
    urn: Urn,
    /// Cells of each lineage in the order of its tournament, and pairs drawn so far.
    tournaments: Vec<(Vec<usize>, usize)>,
    unlabelled: Vec<usize>,
    n_unlabelled: usize,
    stream: Stream,
}

impl Drawing {
    fn new(sampler: &LineageSampler, rng: Rng, epoch: usize) -> Self {
        let pool = sampler.pool.clone();
        let epoch = epoch as u64;
        let ordered = |(lineage, members): (usize, &Vec<usize>)| {
            let mut order = members.clone();
            rng.stream("lineage tournament", epoch, lineage as u64).shuffle(&mut order);
            (order, 0)
        };
        let all: Vec<u32> = (0..pool.members.len() as u32).collect();
        Self {
            urn: Urn {
                n_pairs: sampler.config.n_pairs,
                left: pool.members.iter().map(|m| sampler.n_pairs_of(m.len())).collect(),
                active: all.clone(),
                all,
                stream: rng.stream("lineages of mini-batches", epoch, 0),
            },
            tournaments: pool.members.iter().enumerate().map(ordered).collect(),
            unlabelled: pool.unlabelled.clone(),
            n_unlabelled: sampler.config.n_unlabelled.min(pool.unlabelled.len()),
            stream: rng.stream("cells of mini-batches", epoch, 0),
            pool,
        }
    }
}

impl Iterator for Drawing {
    type Item = MiniBatch;

    fn next(&mut self) -> Option<MiniBatch> {
        let (lineages, n_own) = self.urn.next()?;
        let n = lineages.len();
        let mut rows = vec![0; 2 * n];
        for (i, lineage) in lineages.iter().enumerate() {
            let (a, b) = if i < n_own {
                let (order, drawn) = &mut self.tournaments[*lineage as usize];
                let (a, b) = tournament_pair(order.len(), *drawn);
                *drawn += 1;
                (order[a], order[b])
            } else {
                let members = &self.pool.members[*lineage as usize];
                let (a, b) = two_of(members.len(), &mut self.stream);
                (members[a], members[b])
            };
            // Neither view is the first by anything but chance.
            (rows[i], rows[n + i]) = if self.stream.bernoulli(0.5) { (a, b) } else { (b, a) };
        }
        shuffle_first(&mut self.unlabelled, self.n_unlabelled, &mut self.stream);
        rows.extend_from_slice(&self.unlabelled[..self.n_unlabelled]);
        Some(MiniBatch { rows, n_pairs: n, ..Default::default() })
    }
}

/// Two distinct numbers below `n`.
fn two_of(n: usize, stream: &mut Stream) -> (usize, usize) {
    let a = stream.below(n);
    let b = stream.below(n - 1);
    (a, if b < a { b } else { b + 1 })
}

/// Pair number `t` of a tournament of `n` players (circle method). In a round every player meets one other; for an odd `n` the one left out
/// in a round is in the first pair of the next. All n (n - 1) / 2 pairs are there once.
fn tournament_pair(n: usize, t: usize) -> (usize, usize) {
    // Players on a circle; the last of an even number stands in its middle.
    let circle = if n.is_multiple_of(2) { n - 1 } else { n };
    let per_round = n / 2;
    let (round, i) = (t / per_round, t % per_round);
    match (n % 2, i) {
        (0, 0) => (n - 1, round),
        (0, i) => ((round + i) % circle, (round + circle - i) % circle),
        (_, i) => ((round + i + 1) % circle, (round + circle - i - 1) % circle),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::data::Categorical;

    /// Lineages of these sizes, cells in order, then `n_without` cells without one.
    fn lineages(sizes: &[usize], n_without: usize) -> (Lineages, Vec<usize>) {
        let codes = sizes.iter().enumerate().flat_map(|(l, n)| std::iter::repeat_n(Some(format!("{l:03}")), *n));
        let column = Categorical::from_values(codes.chain(std::iter::repeat_n(None, n_without)));
        let n: usize = sizes.iter().sum();
        (Lineages::from_column(&column), (n..n + n_without).collect())
    }

    fn sampler(sizes: &[usize], n_without: usize, config: LineageSamplerConfig) -> (LineageSampler, Lineages) {
        let (lineages, unlabelled) = lineages(sizes, n_without);
        (LineageSampler::new(&lineages, unlabelled, config).unwrap(), lineages)
    }

    fn pair(batch: &MiniBatch, i: usize) -> (usize, usize) {
        let (a, b) = (batch.rows[i], batch.rows[batch.n_pairs + i]);
        (a.min(b), a.max(b))
    }

    #[test]
    fn a_tournament_has_every_pair_once_and_everyone_in_its_first_pairs() {
        for n in 2..40 {
            let pairs: Vec<_> = (0..n * (n - 1) / 2).map(|t| tournament_pair(n, t)).collect();
            let distinct: HashSet<_> = pairs.iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
            assert!(distinct.len() == pairs.len() && pairs.iter().all(|(a, b)| a != b && *a < n && *b < n), "{n}: {pairs:?}");
            let seen: HashSet<_> = pairs[..n.div_ceil(2)].iter().flat_map(|(a, b)| [*a, *b]).collect();
            assert_eq!(seen.len(), n);
        }
    }

    #[test]
    fn an_epoch_covers_all_cells_with_distinct_lineages_in_each_mini_batch() {
        let sizes: Vec<usize> = (2..30).chain([1, 60]).collect();
        let config = LineageSamplerConfig { n_pairs: 8, size_factor: 0.2, n_unlabelled: 3, ..Default::default() };
        let (sampler, lineages) = sampler(&sizes, 20, config);
        let batches = sampler.epoch(&Rng::new(1), 0).unwrap();
        assert_eq!(batches.len(), sampler.draw(&Rng::new(1), 0).unwrap().len());
        let mut seen = HashSet::new();
        let mut drawn = vec![HashSet::new(); sizes.len()];
        for batch in &batches {
            assert_eq!((batch.n_pairs, batch.rows.len()), (8, 19));
            assert_eq!(batch.rows.iter().collect::<HashSet<_>>().len(), 19);
            let of: Vec<u32> = (0..8).map(|i| lineages.of(pair(batch, i).0)[0]).collect();
            assert_eq!(of.iter().collect::<HashSet<_>>().len(), 8);
            for (i, lineage) in of.iter().enumerate() {
                let (a, b) = pair(batch, i);
                assert!(lineages.related(a, b));
                seen.extend([a, b]);
                drawn[*lineage as usize].insert((a, b));
            }
            assert!(batch.rows[16..].iter().all(|u| lineages.of(*u).is_empty()));
        }
        let single = lineages.members().into_iter().find(|m| m.len() == 1).unwrap()[0];
        assert!((0..lineages.n_cells() - 20).all(|i| seen.contains(&i) != (i == single)));
        for (n, drawn) in sizes.iter().zip(&drawn).filter(|(n, _)| **n > 1) {
            assert!(drawn.len() >= sampler.n_pairs_of(*n), "{n} cells: {} pairs", drawn.len());
        }
        // The largest has 354 pairs, one per mini-batch.
        assert!(batches.len() >= sampler.n_pairs_of(60));
    }

    #[test]
    fn every_pair_and_every_lineage_is_equally_likely() {
        let config = LineageSamplerConfig { n_pairs: 3, size_factor: 0.35, n_unlabelled: 1, ..Default::default() };
        let (sampler, _) = sampler(&[7, 7, 7, 7, 7, 7], 4, config);
        let (mut pairs, mut first, mut unlabelled) = (vec![0.0; 42 * 42], [0.0; 6], [0.0; 4]);
        let n_epochs = 3000;
        for epoch in 0..n_epochs {
            let batches = sampler.epoch(&Rng::new(5), epoch).unwrap();
            // Eight pairs of each lineage, three of distinct lineages at a time; some of the last may be added.
            assert!((16..24).contains(&batches.len()));
            (0..3).for_each(|i| first[pair(&batches[0], i).0 / 7] += 1.0);
            batches[..8].iter().for_each(|b| {
                (0..3).for_each(|i| {
                    let (a, b) = pair(b, i);
                    pairs[a * 42 + b] += 1.0;
                });
                unlabelled[b.rows[6] - 42] += 1.0;
            });
        }
        let chi2 = |counts: &[f64]| {
            let expected = counts.iter().sum::<f64>() / counts.len() as f64;
            counts.iter().map(|c| (c - expected).powi(2) / expected).sum::<f64>()
        };
        let seen: Vec<f64> = pairs.into_iter().filter(|c| *c > 0.0).collect();
        assert_eq!(seen.len(), 6 * 21);
        // Far within what 125, 5 and 3 degrees of freedom allow at p = 0.001; pairs within an epoch are not independent.
        assert!(chi2(&seen) < 183.0, "{}", chi2(&seen));
        assert!(chi2(&first) < 20.5 && chi2(&unlabelled) < 16.3, "{first:?} {unlabelled:?}");
    }

    #[test]
    fn the_same_epoch_repeats_and_the_next_differs_unless_fixed() {
        let config = LineageSamplerConfig { n_pairs: 4, ..Default::default() };
        let (fresh, _) = sampler(&[9; 10], 10, config);
        let rng = Rng::new(2);
        assert_eq!(fresh.epoch(&rng, 1).unwrap(), fresh.epoch(&rng, 1).unwrap());
        assert_ne!(fresh.epoch(&rng, 1).unwrap(), fresh.epoch(&rng, 2).unwrap());
        assert_ne!(fresh.epoch(&rng, 1).unwrap(), fresh.epoch(&Rng::new(3), 1).unwrap());
        let (fixed, _) = sampler(&[9; 10], 10, LineageSamplerConfig { fixed: true, ..config });
        assert_eq!(fixed.epoch(&rng, 1).unwrap(), fixed.epoch(&rng, 2).unwrap());

        let (held_out, _) = sampler(&[9; 10], 10, LineageSamplerConfig { held_out: 0.25, ..config });
        let (trained, kept) = (held_out.epoch(&rng, 3).unwrap(), held_out.validation(&rng, usize::MAX));
        assert_eq!(trained.len() + kept.len(), fixed.epoch(&rng, 0).unwrap().len());
        assert!(!kept.is_empty() && kept.iter().all(|b| !trained.contains(b)));
        assert_eq!(trained.len(), held_out.draw(&rng, 9).unwrap().len());
    }

    #[test]
    fn a_large_lineage_takes_no_memory_by_its_pairs() {
        // 200 million pairs: their numbers alone would take gigabytes.
        let config = LineageSamplerConfig { n_pairs: 2, size_factor: 1.0, ..Default::default() };
        let (lineages, _) = lineages(&[20_000, 3], 0);
        let sampler = LineageSampler::new(&lineages, Vec::new(), config).unwrap();
        let mut drawing = Drawing::new(&sampler, Rng::new(1), 0);
        let last = drawing.nth(50_000).unwrap();
        assert!(lineages.related(last.rows[0], last.rows[2]));
        assert!(drawing.tournaments.iter().map(|(order, _)| order.capacity()).sum::<usize>() < 21_000);
    }

    #[test]
    fn what_cannot_be_sampled_is_refused() {
        let (lineages, _) = lineages(&[5, 1, 1], 0);
        let refused = |config| LineageSampler::new(&lineages, Vec::new(), config).unwrap_err().to_string();
        assert!(refused(LineageSamplerConfig::default()).contains("1 lineages have two cells or more"));
        assert!(refused(LineageSamplerConfig { n_pairs: 1, ..Default::default() }).contains("n_pairs"));
        assert!(refused(LineageSamplerConfig { size_factor: 0.0, ..Default::default() }).contains("size_factor"));
    }
}
