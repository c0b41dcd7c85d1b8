//! Genes that tell groups of cells apart, by the rank-sum test.

use rayon::prelude::*;
use serde::Serialize;

use crate::data::{Categorical, CellSource};
use crate::error::{Error, Result};
use crate::preprocess::to_memory;

/// One gene in one group against all other cells.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GeneTest {
    /// Column of the gene.
    pub gene: usize,
    /// How much higher its ranks are in the group, in standard deviations.
    pub z: f64,
    /// Two-sided p value of it.
    pub p: f64,
    /// The same, adjusted for all genes of the group (Benjamini and Hochberg 1995).
    pub p_adjusted: f64,
    /// The chance that a cell of the group expresses more than another cell, ties counting half.
    pub auc: f64,
    /// Logarithm to base 2 of the ratio of means, taken back from log(1 + x).
    pub log2_fold_change: f64,
    /// Share of the group's cells that express it.
    pub share_in: f64,
    /// Share of the other cells that do.
    pub share_out: f64,
}

/// Wilcoxon's rank-sum test (Mann-Whitney) of every gene in every group against all other cells that have one, by the normal approximation
/// with ties corrected and without continuity correction. `source` holds logarithms log(1 + x). Returns the genes by group, in the order of the
/// levels, the highest z first; a group without cells or with all of them has none.
///
/// Memory: two copies of the stored values. Parallel in the caller's pool.
///
/// # Errors
/// [`Error::Data`] for groups of another number of cells, or fewer than two groups.
pub fn wilcoxon(source: &dyn CellSource, groups: &Categorical) -> Result<Vec<Vec<GeneTest>>> {
    if groups.len() != source.n_cells() {
        let problem = format!("groups of {} cells for {} cells", groups.len(), source.n_cells());
        return Err(Error::data(problem, "give a group per cell"));
    }
    let sizes = groups.counts();
    if sizes.iter().filter(|n| **n > 0).count() < 2 {
        return Err(Error::data("there are fewer than two groups to compare", "choose another column"));
    }
    let by_gene = to_memory(source)?.transpose();
    let rows: Vec<Vec<GeneTest>> = (0..by_gene.n_rows())
        .into_par_iter()
        .map(|gene| {
            let (cells, values) = by_gene.row(gene);
            one_gene(gene, cells, values, groups, &sizes)
        })
        .collect();
    let n_cells: usize = sizes.iter().sum();
    let of_group = |group: usize| {
        let mut tests: Vec<GeneTest> = rows.iter().map(|row| row[group]).collect();
        adjust(&mut tests);
        tests.sort_by(|a, b| b.z.total_cmp(&a.z));
        tests
    };
    let tested = |group: usize| sizes[group] > 0 && sizes[group] < n_cells;
    Ok((0..sizes.len()).map(|group| if tested(group) { of_group(group) } else { Vec::new() }).collect())
}

/// Sums over the cells of one group.
#[derive(Clone, Copy, Default)]
struct Sums {
    ranks: f64,
    total: f64,
    n_expressing: usize,
    n_stored: usize,
}

fn one_gene(gene: usize, cells: &[u32], values: &[f32], groups: &Categorical, sizes: &[usize]) -> Vec<GeneTest> {
    let n_cells: usize = sizes.iter().sum();
    let mut stored: Vec<(f32, usize)> = cells
        .iter()
        .zip(values)
        .filter(|(_, v)| **v != 0.0)
        .filter_map(|(cell, v)| Some((*v, groups.codes()[*cell as usize]? as usize)))
        .collect();
    stored.sort_by(|a, b| a.0.total_cmp(&b.0));
    let n_zero = n_cells - stored.len();
    let n_negative = stored.partition_point(|(v, _)| *v < 0.0);
    let mut sums = vec![Sums::default(); sizes.len()];
    let (mut before, mut ties) = (0usize, 0.0f64);
    let mut run = |members: &[(f32, usize)], n: usize| {
        // Ranks before + 1 to before + n, all of them the mean.
        let rank = before as f64 + (n as f64 + 1.0) / 2.0;
        members.iter().for_each(|(_, group)| sums[*group].ranks += rank);
        ties += (n as f64).powi(3) - n as f64;
        before += n;
        rank
    };
    stored[..n_negative].chunk_by(|a, b| a.0 == b.0).for_each(|members| {
        run(members, members.len());
    });
    let zero_rank = run(&[], n_zero);
    stored[n_negative..].chunk_by(|a, b| a.0 == b.0).for_each(|members| {
        run(members, members.len());
    });
    for (value, group) in &stored {
        sums[*group].total += f64::from(*value);
        sums[*group].n_expressing += usize::from(*value > 0.0);
        sums[*group].n_stored += 1;
    }
    let all = Sums {
        total: sums.iter().map(|s| s.total).sum(),
        n_expressing: sums.iter().map(|s| s.n_expressing).sum(),
        ..Default::default()
    };
    let test = |(s, n_in): (&Sums, &usize)| {
        let (n, n1) = (n_cells as f64, *n_in as f64);
        let n2 = n - n1;
        let ranks = s.ranks + zero_rank * (n_in - s.n_stored) as f64;
        let variance = n1 * n2 / 12.0 * (n + 1.0 - ties / (n * (n - 1.0)));
        let z = if variance > 0.0 { (ranks - n1 * (n + 1.0) / 2.0) / variance.sqrt() } else { 0.0 };
        let (mean_in, mean_out) = (s.total / n1, (all.total - s.total) / n2);
        GeneTest {
            gene,
            z,
            p: two_sided(z),
            p_adjusted: 1.0,
            auc: (ranks - n1 * (n1 + 1.0) / 2.0) / (n1 * n2),
            log2_fold_change: ((mean_in.exp_m1() + 1e-9) / (mean_out.exp_m1() + 1e-9)).log2(),
            share_in: s.n_expressing as f64 / n1,
            share_out: (all.n_expressing - s.n_expressing) as f64 / n2,
        }
    };
    sums.iter().zip(sizes).map(test).collect()
}

fn adjust(tests: &mut [GeneTest]) {
    let mut order: Vec<usize> = (0..tests.len()).collect();
    order.sort_by(|a, b| tests[*b].p.total_cmp(&tests[*a].p));
    let n = tests.len() as f64;
    let mut least = 1.0f64;
    for (k, i) in order.into_iter().enumerate() {
        least = least.min(tests[i].p * n / (n - k as f64));
        tests[i].p_adjusted = least;
    }
}

/// Probability that a standard normal number is at least this far from zero.
fn two_sided(z: f64) -> f64 {
    erfc(z.abs() / std::f64::consts::SQRT_2)
}

/// Complementary error function for x of 0 or more, relative error below 1e-13: the series of erf for small x, the continued fraction for
/// large x.
fn erfc(x: f64) -> f64 {
    let scale = (-x * x).exp() / std::f64::consts::PI.sqrt();
    if x < 2.0 {
        // erf(x) = 2 x exp(-x²) / sqrt(pi) * sum of (2 x²)^k / (1 3 5 ... (2 k + 1))
        let (mut term, mut sum) = (1.0, 1.0);
        for k in 1..100 {
            term *= 2.0 * x * x / (2.0 * f64::from(k) + 1.0);
            sum += term;
        }
        return 1.0 - 2.0 * x * scale * sum;
    }
    // erfc(x) = exp(-x²) / sqrt(pi) / (x + (1/2) / (x + (2/2) / (x + (3/2) / ...))), from the inside.
    let fraction = (1..=120).rev().fold(x, |below, k| x + f64::from(k) / 2.0 / below);
    scale / fraction
}

/// The genes whose adjusted p value is at most `level`, of those that are higher in the group.
pub fn markers(tests: &[GeneTest], level: f64) -> Vec<usize> {
    tests.iter().filter(|t| t.z > 0.0 && t.p_adjusted <= level).map(|t| t.gene).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Csr;

    #[test]
    fn the_complementary_error_function_equals_tabulated_values() {
        // Abramowitz and Stegun, table 7.1, and mpmath for the tail.
        for (x, expected) in
            [(0.0, 1.0), (0.5, 0.479_500_122_186_953_5), (1.0, 0.157_299_207_050_285_13), (2.0, 0.004_677_734_981_047_266)]
        {
            assert!((erfc(x) / expected - 1.0).abs() < 1e-13, "{x}: {}", erfc(x));
        }
        assert!((erfc(5.0) / 1.537_459_794_428_034_8e-12 - 1.0).abs() < 1e-12);
        assert!((erfc(1.999_999) / erfc(2.000_001) - 1.0).abs() < 1e-4);
    }

    #[test]
    fn ranks_by_brute_force_and_a_planted_marker() {
        let x = ndarray::array![
            [2.0f32, 0.0, -1.0],
            [3.0, 0.0, 0.0],
            [1.0, 1.0, 2.0],
            [0.0, 1.0, 0.0],
            [0.0, 0.0, -1.0],
            [9.0, 9.0, 9.0]
        ];
        let groups = Categorical::from_values([Some("a"), Some("a"), Some("b"), Some("b"), Some("c"), None]);
        let found = wilcoxon(&Csr::from_dense(x.view()).unwrap(), &groups).unwrap();
        for (group, code) in found.iter().zip(0..) {
            for test in group {
                let value = |i: usize| x[[i, test.gene]];
                let (inside, outside): (Vec<usize>, Vec<usize>) = (0..5).partition(|i| groups.codes()[*i] == Some(code));
                let wins = |i: &usize| {
                    outside.iter().map(|j| 0.5 * f64::from(1 + (value(*i) - value(*j)).total_cmp(&0.0) as i8)).sum::<f64>()
                };
                let auc = inside.iter().map(wins).sum::<f64>() / (inside.len() * outside.len()) as f64;
                assert!((test.auc - auc).abs() < 1e-12, "{test:?} {auc}");
                let share = inside.iter().filter(|i| value(**i) > 0.0).count() as f64 / inside.len() as f64;
                assert_eq!(test.share_in, share);
            }
        }
        assert_eq!(found[0][0].gene, 0);
        assert!(wilcoxon(&Csr::from_dense(x.view()).unwrap(), &Categorical::from_values([Some("a"); 6])).is_err());
    }
}
