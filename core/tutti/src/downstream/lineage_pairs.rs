//! Which pairs of cells descend from one ancestor, told from an embedding alone.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::rng::Rng;

/// Which clusters count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SizeRule {
    /// Those with at least the first and at most the second number of cells.
    #[default]
    Range,
    /// Those with exactly the first or the second number, as the published script has it; for comparison only.
    Exact,
}

/// Settings of [`lineage_pairs`]; the defaults are LCL's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LineagePairConfig {
    /// Repeats, the most votes that a pair can have. Default 100.
    pub n_repeats: usize,
    /// Share of the embedding's dimensions that each repeat sees, above 0 to 1. Default 2/3.
    pub dimension_share: f64,
    /// Sizes of clusters that count. Default 50 and 200; about the sizes of the lineages that are looked for.
    pub sizes: (usize, usize),
    /// How these sizes are meant.
    pub rule: SizeRule,
    /// Clusters with fewer cells are not divided further. Default 4.
    pub min_cells: usize,
    /// Divisions at most, one below the other. Default 25.
    pub max_depth: usize,
    /// Names the draws of dimensions.
    pub seed: u64,
}

impl Default for LineagePairConfig {
    fn default() -> Self {
        Self {
            n_repeats: 100,
            dimension_share: 2.0 / 3.0,
            sizes: (50, 200),
            rule: SizeRule::Range,
            min_cells: 4,
            max_depth: 25,
            seed: 0,
        }
    }
}

/// How often pairs of cells were in one cluster of the right size.
#[derive(Debug, Clone, PartialEq)]
pub struct PairVotes {
    /// Cells.
    pub n_cells: usize,
    /// Repeats.
    pub n_repeats: usize,
    /// (cell, later cell) and votes, for pairs that have any.
    pub votes: BTreeMap<(u32, u32), u32>,
}

/// Most cells that [`lineage_pairs`] takes: distances of all pairs are kept.
pub const MOST_PAIRED_CELLS: usize = 5000;

/// Votes for pairs of cells to be of one lineage, after GEMLI (Eisele et al. 2024): in each repeat some dimensions are drawn, cells are divided
/// in two again and again by Ward's method on their correlations, (1 - r) / 2, and each pair in a cluster of the right size gets a vote (once
/// per repeat).
///
/// x: [n_cells, d]. Memory: 4 n² bytes per thread. Parallel over repeats in the caller's pool; the same for any number of threads.
///
/// # Errors
/// [`Error::Data`] for fewer than 2 or more than 5,000 cells, fewer than 3 dimensions, values that are not finite or cells with all dimensions
/// equal; [`Error::Argument`] for settings out of range.
pub fn lineage_pairs(x: ArrayView2<'_, f32>, config: &LineagePairConfig) -> Result<PairVotes> {
    let (n_cells, d) = x.dim();
    if !(2..=MOST_PAIRED_CELLS).contains(&n_cells) || d < 3 {
        let problem = format!("{n_cells} cells in {d} dimensions");
        return Err(Error::data(
            problem,
            "give 2 to 5,000 cells, such as those of the largest lineages, in 3 dimensions or more",
        ));
    }
    if config.n_repeats == 0 || !(config.dimension_share > 0.0 && config.dimension_share <= 1.0) {
        let problem = format!("{} repeats with a share of {} dimensions", config.n_repeats, config.dimension_share);
        return Err(Error::argument("lineage pairs", problem, "use 100 and 0.67"));
    }
    if config.sizes.0 < 2 || config.sizes.1 < config.sizes.0 {
        let problem = format!("are {} and {}", config.sizes.0, config.sizes.1);
        return Err(Error::argument("sizes", problem, "give 2 or more, the smaller first"));
    }
    if let Some(i) = x.rows().into_iter().position(|row| row.iter().any(|v| !v.is_finite())) {
        return Err(Error::data(format!("row {} is not finite", i + 1), "leave the cell out"));
    }
    let n_dimensions = ((config.dimension_share * d as f64).round() as usize).clamp(3, d);
    let rng = Rng::new(config.seed);
    let repeats: Vec<Vec<Vec<u32>>> = (0..config.n_repeats)
        .into_par_iter()
        .map(|repeat| {
            let mut dimensions = rng.stream("dimensions", 0, repeat as u64).choose(&(0..d).collect::<Vec<_>>(), n_dimensions);
            dimensions.sort_unstable();
            let unit = standardised(x, &dimensions)?;
            let mut found = Vec::new();
            divide(&unit, (0..n_cells as u32).collect(), 0, config, &mut found);
            Ok(found)
        })
        .collect::<Result<_>>()?;
    let mut votes = BTreeMap::new();
    for clusters in repeats {
        // Larger clusters contain smaller ones: a pair counts once.
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        for cells in &clusters {
            for (k, a) in cells.iter().enumerate() {
                pairs.extend(cells[k + 1..].iter().map(|b| (*a.min(b), *a.max(b))));
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        pairs.into_iter().for_each(|pair| *votes.entry(pair).or_insert(0) += 1);
    }
    Ok(PairVotes { n_cells, n_repeats: config.n_repeats, votes })
}

/// Rows of these columns, of mean 0 and length 1: their products are correlations.
fn standardised(x: ArrayView2<'_, f32>, columns: &[usize]) -> Result<Array2<f64>> {
    let mut out = x.select(ndarray::Axis(1), columns).mapv(f64::from);
    for (i, mut row) in out.rows_mut().into_iter().enumerate() {
        let mean = row.sum() / columns.len() as f64;
        row.mapv_inplace(|v| v - mean);
        let length = row.dot(&row).sqrt();
        if length == 0.0 {
            return Err(Error::data(format!("row {} is the same in all dimensions", i + 1), "leave the cell out"));
        }
        row.mapv_inplace(|v| v / length);
    }
    Ok(out)
}

fn divide(unit: &Array2<f64>, cells: Vec<u32>, depth: usize, config: &LineagePairConfig, found: &mut Vec<Vec<u32>>) {
    let (least, most) = config.sizes;
    let counts = match config.rule {
        SizeRule::Range => (least..=most).contains(&cells.len()),
        SizeRule::Exact => cells.len() == least || cells.len() == most,
    };
    if counts {
        found.push(cells.clone());
    }
    // Nothing below the smallest size counts.
    if cells.len() < config.min_cells.max(least + 1).max(2) || depth == config.max_depth {
        return;
    }
    let (a, b) = halves(unit, &cells);
    divide(unit, a, depth + 1, config, found);
    divide(unit, b, depth + 1, config, found);
}

/// The two clusters that Ward's method (ward.D2 of R) joins last, by nearest-neighbour chains.
fn halves(unit: &Array2<f64>, cells: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let n = cells.len();
    let rows: Vec<usize> = cells.iter().map(|c| *c as usize).collect();
    let rows = unit.select(ndarray::Axis(0), &rows);
    // Squared distances, on which ward.D2 works.
    let mut d: Vec<f32> = rows.dot(&rows.t()).iter().map(|r| ((1.0 - r).max(0.0) / 2.0).powi(2) as f32).collect();
    let mut size = vec![1.0f32; n];
    let mut alive: Vec<usize> = (0..n).collect();
    let mut chain: Vec<usize> = Vec::new();
    let mut joins: Vec<(f32, usize, usize)> = Vec::new();
    while alive.len() > 1 {
        let Some(top) = chain.last().copied() else {
            chain.push(alive[0]);
            continue;
        };
        let before = chain.len().checked_sub(2).map(|k| chain[k]);
        // The cluster before in the chain wins ties, so that the chain ends.
        let mut nearest = before.unwrap_or(if alive[0] == top { alive[1] } else { alive[0] });
        for k in alive.iter().filter(|k| **k != top) {
            if d[top * n + k] < d[top * n + nearest] {
                nearest = *k;
            }
        }
        if Some(nearest) != before {
            chain.push(nearest);
            continue;
        }
        chain.truncate(chain.len() - 2);
        let (a, b) = (top.min(nearest), top.max(nearest));
        let (height, n_a, n_b) = (d[a * n + b], size[a], size[b]);
        joins.push((height, a, b));
        alive.retain(|k| *k != b);
        for k in alive.iter().filter(|k| **k != a) {
            let n_k = size[*k];
            let joined = ((n_a + n_k) * d[a * n + k] + (n_b + n_k) * d[b * n + k] - n_k * height) / (n_a + n_b + n_k);
            d[a * n + k] = joined;
            d[k * n + a] = joined;
        }
        size[a] += n_b;
    }
    // Chains join out of order: the last join by height is the highest one. What it joined is found by making all others.
    let highest = (0..joins.len()).max_by(|a, b| joins[*a].0.total_cmp(&joins[*b].0)).unwrap_or(0);
    let mut group: Vec<usize> = (0..n).collect();
    let find = |group: &[usize], mut i: usize| {
        while group[i] != i {
            i = group[i];
        }
        i
    };
    for (k, (_, a, b)) in joins.iter().enumerate() {
        if k != highest {
            let (a, b) = (find(&group, *a), find(&group, *b));
            group[b] = a;
        }
    }
    let first = find(&group, joins[highest].1);
    let (a, b): (Vec<usize>, Vec<usize>) = (0..n).partition(|i| find(&group, *i) == first);
    (a.into_iter().map(|i| cells[i]).collect(), b.into_iter().map(|i| cells[i]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::Threads;

    /// `n_groups` groups of `size` cells around directions of their own.
    fn groups(n_groups: usize, size: usize) -> Array2<f32> {
        let mut stream = Rng::new(1).stream("groups", 0, 0);
        let centres: Vec<Vec<f64>> = (0..n_groups).map(|_| (0..12).map(|_| stream.normal()).collect()).collect();
        Array2::from_shape_fn((n_groups * size, 12), |(i, j)| (centres[i % n_groups][j] + 0.2 * stream.normal()) as f32)
    }

    #[test]
    fn pairs_of_planted_groups_get_the_votes_for_any_threads() {
        let x = groups(6, 10);
        let config = LineagePairConfig { n_repeats: 20, sizes: (5, 12), ..Default::default() };
        let run = |n| Threads::new(n).unwrap().run(|| lineage_pairs(x.view(), &config).unwrap());
        let found = run(1);
        assert_eq!(found, run(2));
        let votes = |a: u32, b: u32| found.votes.get(&(a, b)).copied().unwrap_or(0);
        let mean = |same: bool| {
            let pairs = (0..60).flat_map(|a| (a + 1..60).map(move |b| (a, b))).filter(|(a, b)| (a % 6 == b % 6) == same);
            let all: Vec<f64> = pairs.map(|(a, b)| f64::from(votes(a, b))).collect();
            all.iter().sum::<f64>() / all.len() as f64
        };
        assert!(mean(true) > 18.0 && mean(false) < 1.0, "{} {}", mean(true), mean(false));
        // Groups of ten are neither 9 nor 12: an exact rule sees little of them.
        let exact = LineagePairConfig { rule: SizeRule::Exact, sizes: (9, 12), ..config };
        let total = |found: &PairVotes| found.votes.values().sum::<u32>();
        assert!(total(&lineage_pairs(x.view(), &exact).unwrap()) < total(&found) / 2);
    }

    #[test]
    fn halves_are_those_of_ward_by_brute_force() {
        let x = groups(5, 4);
        let unit = standardised(x.view(), &[0, 2, 3, 5, 7, 8, 9, 11]).unwrap();
        // All merges by searching the least increase among all pairs of clusters.
        let d = |i: usize, j: usize| ((1.0 - unit.row(i).dot(&unit.row(j))).max(0.0) / 2.0).powi(2);
        let mut clusters: Vec<Vec<usize>> = (0..20).map(|i| vec![i]).collect();
        // Ward's distance of two clusters from squared distances of their members, as Lance and Williams' formula gives it.
        let within = |c: &[usize]| c.iter().flat_map(|i| c.iter().map(move |j| d(*i, *j))).sum::<f64>() / (2.0 * c.len() as f64);
        while clusters.len() > 2 {
            let pairs = (0..clusters.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
            let increase = |(a, b): &(usize, usize)| {
                let joined = [clusters[*a].as_slice(), &clusters[*b]].concat();
                within(&joined) - within(&clusters[*a]) - within(&clusters[*b])
            };
            let (a, b) = pairs.min_by(|p, q| increase(p).total_cmp(&increase(q))).unwrap();
            let moved = clusters.remove(a);
            clusters[b].extend(moved);
        }
        let (a, b) = halves(&unit, &(0..20).collect::<Vec<u32>>());
        let sorted = |c: &[usize]| {
            let mut c: Vec<u32> = c.iter().map(|i| *i as u32).collect();
            c.sort_unstable();
            c
        };
        let expected = [sorted(&clusters[0]), sorted(&clusters[1])];
        assert!(expected == [a.clone(), b.clone()] || expected == [b, a]);
    }

    #[test]
    fn bad_requests_are_refused() {
        let x = groups(2, 5);
        assert!(lineage_pairs(x.slice(ndarray::s![.., ..2]), &LineagePairConfig::default()).is_err());
        let sizes = LineagePairConfig { sizes: (5, 2), ..Default::default() };
        assert!(lineage_pairs(x.view(), &sizes).unwrap_err().to_string().contains("sizes"));
    }
}
