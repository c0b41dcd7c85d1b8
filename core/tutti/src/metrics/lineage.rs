//! How well an embedding keeps the cells of a lineage together.

use std::collections::BTreeMap;

use ndarray::{ArrayView2, Axis};
use serde::Serialize;

use super::check_cells;
use crate::data::Lineages;
use crate::error::{Error, Result};
use crate::neighbors::{Metric, NeighborConfig, nearest};

/// How often the nearest training cells name the wrong lineage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LineageError {
    /// Share of test cells named wrong, 0 to 1.
    pub error: f64,
    /// Standard error of it.
    pub standard_error: f64,
    /// Test cells: all that have a lineage which a training cell has.
    pub n_test: usize,
    /// The same over test cells of lineages with at least the number of test cells that was asked for; `None` where there are none.
    pub error_of_large: Option<f64>,
    /// How many these are.
    pub n_test_of_large: usize,
    /// What naming all cells after the lineage with the most training cells gives.
    pub error_of_largest: f64,
}

/// Error of the lineage that most of the `n_neighbors` nearest training cells have (Euclidean; the first of equal ones), on all test cells. LCL
/// takes 5 neighbours, and in one of its tables only test cells of lineages with 16 test cells, which `min_test` gives beside. A cell of several
/// lineages votes for all of them, and is right with any.
///
/// x: [n_cells, d]; `train` and `test`: cells.
///
/// # Errors
/// [`Error::Data`] for lineages of other cells or no test cell with a known lineage; as [`nearest`].
pub fn lineage_error(
    x: ArrayView2<'_, f32>,
    lineages: &Lineages,
    train: &[usize],
    test: &[usize],
    n_neighbors: usize,
    min_test: usize,
) -> Result<LineageError> {
    check_cells(x.nrows(), &[("lineages", lineages.n_cells())])?;
    let train: Vec<usize> = train.iter().copied().filter(|i| !lineages.of(*i).is_empty()).collect();
    let mut n_train = vec![0; lineages.names().len()];
    train.iter().flat_map(|i| lineages.of(*i)).for_each(|l| n_train[*l as usize] += 1);
    let known = |i: &usize| lineages.of(*i).iter().any(|l| n_train[*l as usize] > 0);
    let test: Vec<usize> = test.iter().copied().filter(known).collect();
    if test.is_empty() {
        return Err(Error::data("no test cell has a lineage that a training cell has", "hold out cells within lineages"));
    }
    let (reference, query) = (x.select(Axis(0), &train), x.select(Axis(0), &test));
    let config = NeighborConfig { n_neighbors, metric: Metric::Euclidean, ..Default::default() };
    let neighbors = nearest(reference.view(), query.view(), &config)?;
    let named = |k: usize| -> Option<u32> {
        let mut votes: BTreeMap<u32, usize> = BTreeMap::new();
        let of = neighbors.row(k).0.iter().flat_map(|j| lineages.of(train[*j as usize]));
        of.for_each(|l| *votes.entry(*l).or_insert(0) += 1);
        let most = votes.values().max().copied()?;
        votes.into_iter().find(|(_, n)| *n == most).map(|(l, _)| l)
    };
    let right: Vec<bool> = (0..test.len()).map(|k| named(k).is_some_and(|l| lineages.of(test[k]).contains(&l))).collect();
    let mut n_test = vec![0; lineages.names().len()];
    test.iter().flat_map(|i| lineages.of(*i)).for_each(|l| n_test[*l as usize] += 1);
    let large = |i: usize| lineages.of(i).iter().any(|l| n_test[*l as usize] >= min_test);
    let of_large: Vec<bool> = test.iter().zip(&right).filter(|(i, _)| large(**i)).map(|(_, r)| *r).collect();
    let largest = (0..n_train.len()).fold(0, |best, l| if n_train[l] > n_train[best] { l } else { best }) as u32;
    let wrong = |right: &[bool]| 1.0 - right.iter().filter(|r| **r).count() as f64 / right.len() as f64;
    let error = wrong(&right);
    Ok(LineageError {
        error,
        standard_error: (error * (1.0 - error) / test.len() as f64).sqrt(),
        n_test: test.len(),
        error_of_large: (!of_large.is_empty()).then(|| wrong(&of_large)),
        n_test_of_large: of_large.len(),
        error_of_largest: wrong(&test.iter().map(|i| lineages.of(*i).contains(&largest)).collect::<Vec<_>>()),
    })
}

/// [`lineage_error`] on the test cells of a split: the others name those that were held out within lineages ([`Lineages::split_within`]). Of `whole`
/// lineages that were held out ([`Lineages::split_whole`]) no other cell is left, so that every second test cell names the rest.
///
/// `test`: cells, ascending.
///
/// # Errors
/// As [`lineage_error`].
pub fn held_out_lineage_error(
    x: ArrayView2<'_, f32>,
    lineages: &Lineages,
    test: &[usize],
    whole: bool,
    n_neighbors: usize,
    min_test: usize,
) -> Result<LineageError> {
    let every_second = |first: usize| test.iter().skip(first).step_by(2).copied().collect::<Vec<_>>();
    let (known, asked) = match whole {
        true => (every_second(0), every_second(1)),
        false => ((0..x.nrows()).filter(|i| test.binary_search(i).is_err()).collect(), test.to_vec()),
    };
    lineage_error(x, lineages, &known, &asked, n_neighbors, min_test)
}

/// How well scores of pairs tell those of one lineage from the others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PairScores {
    /// Area under the precision-recall curve (average precision, pairs of equal score pass together).
    pub auprc: f64,
    /// Area under the receiver operating curve, ties counting half.
    pub auroc: f64,
    /// Pairs of cells that both have a lineage.
    pub n_pairs: usize,
    /// Share of them that are of one lineage: the precision of guessing.
    pub share_related: f64,
}

/// How well the cosine of two of `cells` in an embedding `x`, [n_cells, n_dims], says whether they are of one lineage; cells without a lineage
/// are left out. Memory is that of all pairs.
///
/// # Errors
/// [`Error::Data`] for an embedding with NaN, or cells that are all of one lineage or none of the same.
pub fn cosine_pair_scores(x: ArrayView2<'_, f32>, lineages: &Lineages, cells: &[usize]) -> Result<PairScores> {
    check_cells(x.nrows(), &[("lineages", lineages.n_cells())])?;
    if let Some(i) = cells.iter().find(|i| **i >= x.nrows()) {
        return Err(Error::data(format!("there is no cell {} of {}", i + 1, x.nrows()), "count cells from 0"));
    }
    let known: Vec<usize> = cells.iter().copied().filter(|i| !lineages.of(*i).is_empty()).collect();
    let mut unit = x.select(Axis(0), &known);
    unit.rows_mut().into_iter().for_each(|mut row| {
        let length = row.dot(&row).sqrt();
        if length > 0.0 {
            row /= length;
        }
    });
    let cosine = unit.dot(&unit.t());
    let pairs = (0..known.len()).flat_map(|b| (0..b).map(move |a| (a, b)));
    let scores: Vec<((u32, u32), f64)> =
        pairs.map(|(a, b)| ((known[a] as u32, known[b] as u32), (1.0 + f64::from(cosine[[a, b]])).clamp(0.0, 2.0))).collect();
    pair_scores(scores.iter().map(|(pair, score)| (pair, *score)), &lineages.only(&known))
}

/// Scores all pairs of cells that have a lineage; pairs without a score, given as (cell, later cell), have 0. No score is below 0.
///
/// Time and memory are those of the pairs given; the others are counted.
///
/// # Errors
/// [`Error::Data`] for a score that is negative or NaN, or pairs that are all related or all not.
pub fn pair_scores<'a>(scores: impl IntoIterator<Item = (&'a (u32, u32), f64)>, lineages: &Lineages) -> Result<PairScores> {
    let n_known = (0..lineages.n_cells()).filter(|i| !lineages.of(*i).is_empty()).count();
    let n_pairs = n_known * n_known.saturating_sub(1) / 2;
    let n_related = n_related(lineages);
    if n_related == 0 || n_related == n_pairs {
        return Err(Error::data("all pairs of cells are of one lineage, or none is", "give cells of several lineages"));
    }
    let mut scored: Vec<(f64, bool)> = Vec::new();
    for ((a, b), score) in scores {
        let (a, b) = (*a as usize, *b as usize);
        if !(score >= 0.0) {
            return Err(Error::data(
                format!("the pair of cells {} and {} has the score {score}", a + 1, b + 1),
                "give 0 or more",
            ));
        }
        if score > 0.0 && !lineages.of(a).is_empty() && !lineages.of(b).is_empty() {
            scored.push((score, lineages.related(a, b)));
        }
    }
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (p, n) = (n_related as f64, (n_pairs - n_related) as f64);
    let (mut true_positive, mut false_positive, mut precision_sum, mut below) = (0.0, 0.0, 0.0, 0.0);
    let mut pass = |positive: f64, negative: f64| {
        // Pairs of the run beat the negatives that come after it, and half of those within.
        below += positive * (n - false_positive - negative / 2.0);
        true_positive += positive;
        false_positive += negative;
        if positive > 0.0 {
            precision_sum += positive * true_positive / (true_positive + false_positive);
        }
    };
    let (mut positive_seen, mut negative_seen) = (0.0, 0.0);
    for run in scored.chunk_by(|a, b| a.0 == b.0) {
        let positive = run.iter().filter(|(_, related)| *related).count() as f64;
        let negative = run.len() as f64 - positive;
        pass(positive, negative);
        positive_seen += positive;
        negative_seen += negative;
    }
    pass(p - positive_seen, n - negative_seen);
    Ok(PairScores { auprc: precision_sum / p, auroc: below / (p * n), n_pairs, share_related: p / (p + n) })
}

/// Pairs of cells with a lineage in common; those with several in common count once.
fn n_related(lineages: &Lineages) -> usize {
    let mut n = 0;
    for (lineage, members) in lineages.members().iter().enumerate() {
        for (k, i) in members.iter().enumerate() {
            if lineages.of(*i).len() == 1 {
                // Of this lineage alone: no other counts the pair.
                n += k;
            } else {
                let first = |j: &&usize| {
                    let common = lineages.of(*i).iter().find(|l| lineages.of(**j).contains(l));
                    common.is_some_and(|l| *l as usize == lineage)
                };
                n += members[..k].iter().filter(first).count();
            }
        }
    }
    n
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Categorical, Csr};
    use crate::metrics::auroc;

    fn several() -> Lineages {
        let x = ndarray::array![
            [1.0f32, 0.0, 1.0],
            [1.0, 1.0, 0.0],
            [0.0, 1.0, 0.0],
            [1.0, 1.0, 0.0],
            [0.0, 0.0, 0.0],
            [0.0, 0.0, 1.0]
        ];
        Lineages::from_matrix(&Csr::from_dense(x.view()).unwrap(), ["a", "b", "c"].map(str::to_owned).to_vec()).unwrap()
    }

    #[test]
    fn the_error_counts_all_test_cells_and_those_of_large_lineages() {
        let column = Categorical::from_values(["a", "a", "a", "b", "b", "b", "a", "b", "b", "c"].map(Some));
        let lineages = Lineages::from_column(&column);
        let x = ndarray::array![[0.0f32], [0.1], [0.2], [5.0], [5.1], [5.2], [0.3], [5.3], [0.15], [9.0]];
        let found = lineage_error(x.view(), &lineages, &[0, 1, 2, 3, 4, 5], &[6, 7, 8, 9], 3, 2).unwrap();
        // The cell of lineage c has no training cell; one of b lies among a.
        assert_eq!((found.n_test, found.n_test_of_large), (3, 2));
        assert!((found.error - 1.0 / 3.0).abs() < 1e-12 && found.error_of_large == Some(0.5));
        assert!((found.error_of_largest - 2.0 / 3.0).abs() < 1e-12);
        assert!(lineage_error(x.view(), &lineages, &[0, 1, 2], &[9], 3, 2).is_err());
        assert_eq!(held_out_lineage_error(x.view(), &lineages, &[6, 7, 8, 9], false, 3, 2).unwrap(), found);
        // Of whole lineages every second cell names the others.
        let whole = held_out_lineage_error(x.view(), &lineages, &[0, 1, 2, 3, 4, 7, 8], true, 1, 1).unwrap();
        assert_eq!(whole, lineage_error(x.view(), &lineages, &[0, 2, 4, 8], &[1, 3, 7], 1, 1).unwrap());
    }

    #[test]
    fn pair_scores_equal_the_curves_over_all_pairs() {
        let lineages = several();
        let scores: BTreeMap<(u32, u32), f64> =
            [((0, 1), 5.0), ((0, 2), 5.0), ((1, 2), 3.0), ((2, 5), 2.0), ((3, 4), 9.0), ((1, 3), 2.0)].into_iter().collect();
        let found = pair_scores(scores.iter().map(|(pair, score)| (pair, *score)), &lineages).unwrap();
        let known = [0u32, 1, 2, 3, 5];
        let mut all: Vec<(f64, bool)> = Vec::new();
        for (k, a) in known.iter().enumerate() {
            for b in &known[k + 1..] {
                all.push((scores.get(&(*a, *b)).copied().unwrap_or(0.0), lineages.related(*a as usize, *b as usize)));
            }
        }
        let n_related = all.iter().filter(|(_, r)| *r).count();
        assert_eq!((found.n_pairs, (found.share_related * 10.0).round() as usize), (10, n_related));
        let (values, marks): (Vec<f64>, Vec<bool>) = all.iter().copied().unzip();
        assert!((found.auroc - auroc(&values, &marks).unwrap()).abs() < 1e-12);
        // Average precision by its definition: recall gained at each threshold, times the precision there.
        let (mut auprc, mut before) = (0.0, 0.0);
        for threshold in [5.0, 3.0, 2.0, 0.0] {
            let taken: Vec<bool> = all.iter().filter(|(s, _)| *s >= threshold).map(|(_, r)| *r).collect();
            let right = taken.iter().filter(|r| **r).count() as f64;
            auprc += (right - before) / n_related as f64 * right / taken.len() as f64;
            before = right;
        }
        assert!((found.auprc - auprc).abs() < 1e-12, "{} {auprc}", found.auprc);
        assert!(pair_scores([(&(0, 1), f64::NAN)], &lineages).is_err());
        assert!(pair_scores([], &lineages.only(&[0, 1])).is_err());
    }

    #[test]
    fn cosine_pair_scores_equal_the_curve_over_the_cosines() {
        let lineages = several();
        // The fifth cell has no lineage, the second no direction.
        let x = ndarray::array![[1.0_f32, 0.2], [0.0, 0.0], [-1.0, 3.0], [0.3, -2.0], [5.0, 5.0], [2.0, 0.1]];
        let found = cosine_pair_scores(x.view(), &lineages, &[0, 1, 2, 3, 4, 5]).unwrap();
        let (mut cosines, mut marks) = (Vec::new(), Vec::new());
        for (a, b) in [(0, 1), (0, 2), (0, 3), (0, 5), (1, 2), (1, 3), (1, 5), (2, 3), (2, 5), (3, 5)] {
            let (p, q) = (x.row(a), x.row(b));
            let length = (p.dot(&p) * q.dot(&q)).sqrt();
            cosines.push(if length > 0.0 { f64::from(p.dot(&q) / length) } else { 0.0 });
            marks.push(lineages.related(a, b));
        }
        assert_eq!(found.n_pairs, 10);
        assert!((found.auroc - auroc(&cosines, &marks).unwrap()).abs() < 1e-12, "{found:?}");
        assert!(cosine_pair_scores(x.view(), &lineages, &[0, 6]).is_err());
        assert!(cosine_pair_scores((&x * f32::NAN).view(), &lineages, &[0, 1, 2, 3, 4, 5]).is_err());
    }
}
