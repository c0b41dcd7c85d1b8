//! How good predicted labels are, and the scores that come with them.

use super::check_cells;
use crate::data::Categorical;
use crate::error::{Error, Result};

/// Cells by true and predicted label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    /// Labels of rows and columns: the true ones in their order, then those that were only predicted.
    pub levels: Vec<String>,
    /// `counts[truth][predicted]`.
    pub counts: Vec<Vec<usize>>,
}

impl Confusion {
    /// From two columns, joined by the names of their levels; cells without a value in one are left out.
    ///
    /// # Errors
    /// [`Error::Data`] for columns of unequal length or without a cell that has both.
    pub fn new(truth: &Categorical, predicted: &Categorical) -> Result<Self> {
        check_cells(truth.len(), &[("predicted labels", predicted.len())])?;
        let mut levels = truth.levels().to_vec();
        levels.extend(predicted.levels().iter().filter(|l| !truth.levels().contains(l)).cloned());
        let place: Vec<usize> = predicted.levels().iter().filter_map(|l| levels.iter().position(|k| k == l)).collect();
        let mut counts = vec![vec![0; levels.len()]; levels.len()];
        let both = truth.codes().iter().zip(predicted.codes()).filter_map(|(t, p)| t.zip(*p));
        both.for_each(|(t, p)| counts[t as usize][place[p as usize]] += 1);
        let confusion = Self { levels, counts };
        if confusion.total() == 0 {
            return Err(Error::data("no cell has both a true and a predicted label", "check that both columns are filled"));
        }
        Ok(confusion)
    }

    /// Share of cells predicted right.
    pub fn accuracy(&self) -> f64 {
        (0..self.levels.len()).map(|i| self.counts[i][i]).sum::<usize>() as f64 / self.total() as f64
    }

    /// Mean over the true labels that occur of the share predicted right (recall).
    pub fn balanced_accuracy(&self) -> f64 {
        mean((0..self.levels.len()).filter(|i| self.row(*i) > 0).map(|i| self.counts[i][i] as f64 / self.row(i) as f64))
    }

    /// F1 of each label, 2 tp / (2 tp + fp + fn); none for a label neither true nor predicted anywhere.
    pub fn f1(&self) -> Vec<Option<f64>> {
        let column = |i: usize| self.counts.iter().map(|row| row[i]).sum::<usize>();
        let f1 = |i: usize| {
            let either = self.row(i) + column(i);
            (either > 0).then(|| 2.0 * self.counts[i][i] as f64 / either as f64)
        };
        (0..self.levels.len()).map(f1).collect()
    }

    /// Mean of [`Confusion::f1`] over labels that are true or predicted somewhere.
    pub fn macro_f1(&self) -> f64 {
        mean(self.f1().into_iter().flatten())
    }

    fn row(&self, i: usize) -> usize {
        self.counts[i].iter().sum()
    }

    fn total(&self) -> usize {
        self.counts.iter().flatten().sum()
    }
}

/// Area under the receiver operating curve, 0 to 1: the chance that a positive cell scores above a negative one, ties counting half.
///
/// For novelty, `positive` marks the cells of unknown type and a higher score means less known.
///
/// # Errors
/// [`Error::Data`] for unequal lengths, a score that is NaN, or cells all positive or all negative.
pub fn auroc(scores: &[f64], positive: &[bool]) -> Result<f64> {
    check_cells(scores.len(), &[("marks of positive cells", positive.len())])?;
    check_numbers(scores)?;
    let n_positive = positive.iter().filter(|p| **p).count();
    let (p, n) = (n_positive as f64, (positive.len() - n_positive) as f64);
    if p == 0.0 || n == 0.0 {
        return Err(Error::data("all cells are on one side", "give cells of both sides"));
    }
    let ranks = super::geometry::ranks(scores);
    let sum: f64 = ranks.iter().zip(positive).filter(|(_, p)| **p).map(|(r, _)| r).sum();
    Ok((sum - p * (p + 1.0) / 2.0) / (p * n))
}

/// Area under the precision-recall curve as average precision, 0 to 1: sum over thresholds of precision times gain in recall, cells of equal score
/// passing together. Guessing gives the share of positive cells.
///
/// # Errors
/// As [`auroc`].
pub fn average_precision(scores: &[f64], positive: &[bool]) -> Result<f64> {
    check_cells(scores.len(), &[("marks of positive cells", positive.len())])?;
    check_numbers(scores)?;
    let n_positive = positive.iter().filter(|p| **p).count();
    if n_positive == 0 || n_positive == positive.len() {
        return Err(Error::data("all cells are on one side", "give cells of both sides"));
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let (mut passed, mut found, mut area) = (0usize, 0usize, 0.0);
    for run in order.chunk_by(|a, b| scores[*a] == scores[*b]) {
        let more = run.iter().filter(|i| positive[**i]).count();
        passed += run.len();
        found += more;
        area += more as f64 * found as f64 / passed as f64;
    }
    Ok(area / n_positive as f64)
}

/// Open-set classification rate (Dhamija et al. 2018, section 4.1), 0 to 1: area under the correct classification rate, against the
/// false positive rate, as the threshold t of the confidence falls.
///
/// CCR(t): share of the known cells that are `correct` and have a confidence of t or more. FPR(t): share of the `unknown` cells with
/// a confidence of t or more. Points at all thresholds, from (0, 0), joined by straight lines; cells of equal confidence pass
/// together. `correct` is not read for unknown cells.
///
/// # Errors
/// As [`auroc`], the sides being known and unknown.
pub fn oscr(confidence: &[f64], correct: &[bool], unknown: &[bool]) -> Result<f64> {
    let n = confidence.len();
    check_cells(n, &[("marks of correct cells", correct.len()), ("marks of unknown cells", unknown.len())])?;
    check_numbers(confidence)?;
    let n_unknown = unknown.iter().filter(|u| **u).count();
    if n_unknown == 0 || n_unknown == n {
        return Err(Error::data("all cells are known or all are unknown", "give cells of both"));
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_unstable_by(|a, b| confidence[*b].total_cmp(&confidence[*a]));
    let (mut right, mut area) = (0.0, 0.0);
    for run in order.chunk_by(|a, b| confidence[*a] == confidence[*b]) {
        let more_right = run.iter().filter(|i| !unknown[**i] && correct[**i]).count() as f64;
        let more_false = run.iter().filter(|i| unknown[**i]).count() as f64;
        area += more_false * (right + more_right / 2.0);
        right += more_right;
    }
    Ok(area / (n_unknown as f64 * (n - n_unknown) as f64))
}

/// One bin of a reliability table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReliabilityBin {
    /// Cells in the bin.
    pub n_cells: usize,
    /// Mean confidence of its cells, 0 to 1; 0 without cells.
    pub confidence: f64,
    /// Share of its cells that are correct; 0 without cells.
    pub accuracy: f64,
}

/// Whether confidences mean what they say.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Bins of equal width from 0 to 1, each with its upper end (and the first with 0).
    pub bins: Vec<ReliabilityBin>,
    /// Expected calibration error (Guo et al. 2017, eq. 3): mean over cells of |accuracy - confidence| of their bin.
    pub expected_error: f64,
    /// Brier score of being correct: mean of (confidence - correct)².
    pub brier: f64,
}

/// Calibration of the confidence, 0 to 1, that each prediction is correct. Guo et al. use 15 bins.
///
/// # Errors
/// [`Error::Argument`] for no bins; [`Error::Data`] for unequal lengths, no cells or a confidence outside of 0 to 1.
pub fn calibration(confidence: &[f64], correct: &[bool], n_bins: usize) -> Result<Calibration> {
    check_cells(confidence.len(), &[("marks of correct cells", correct.len())])?;
    if n_bins == 0 {
        return Err(Error::argument("n_bins", "must be at least 1 (got 0)", "use 15"));
    }
    if confidence.is_empty() {
        return Err(Error::data("no cells to calibrate", "give at least one"));
    }
    if let Some(i) = confidence.iter().position(|c| !(0.0..=1.0).contains(c)) {
        let problem = format!("cell number {} has a confidence of {}", i + 1, confidence[i]);
        return Err(Error::data(problem, "give probabilities from 0 to 1"));
    }
    let mut sums = vec![(0usize, 0.0, 0usize); n_bins];
    for (c, right) in confidence.iter().zip(correct) {
        let bin = &mut sums[((c * n_bins as f64).ceil() as usize).clamp(1, n_bins) - 1];
        *bin = (bin.0 + 1, bin.1 + c, bin.2 + usize::from(*right));
    }
    let bin = |(n_cells, confidence, right): &(usize, f64, usize)| {
        let n = (*n_cells).max(1) as f64;
        ReliabilityBin { n_cells: *n_cells, confidence: confidence / n, accuracy: *right as f64 / n }
    };
    let bins: Vec<ReliabilityBin> = sums.iter().map(bin).collect();
    let n = confidence.len() as f64;
    let expected_error = bins.iter().map(|b| b.n_cells as f64 / n * (b.accuracy - b.confidence).abs()).sum();
    let brier = mean(confidence.iter().zip(correct).map(|(c, right)| (c - f64::from(u8::from(*right))).powi(2)));
    Ok(Calibration { bins, expected_error, brier })
}

fn check_numbers(scores: &[f64]) -> Result<()> {
    match scores.iter().position(|s| s.is_nan()) {
        Some(i) => Err(Error::data(format!("the score of cell number {} is NaN", i + 1), "drop the cell")),
        None => Ok(()),
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0.0), |(sum, n), v| (sum + v, n + 1.0));
    sum / f64::max(n, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn confusion_by_hand_joins_levels_by_name() {
        let truth = Categorical::from_values([Some("b"), Some("b"), Some("b"), Some("t"), Some("t"), None]);
        let predicted = Categorical::from_values([Some("b"), Some("t"), Some("a"), Some("t"), Some("t"), Some("t")]);
        let found = Confusion::new(&truth, &predicted).unwrap();
        assert_eq!(found.levels, ["b", "t", "a"]);
        assert_eq!(found.counts, [[1, 1, 1], [0, 2, 0], [0, 0, 0]]);
        assert!((found.accuracy() - 0.6).abs() < 1e-12);
        assert!((found.balanced_accuracy() - (1.0 / 3.0 + 1.0) / 2.0).abs() < 1e-12);
        // b: 2 / (2 + 0 + 2); t: 4 / (4 + 1); a: never right.
        assert!((found.macro_f1() - (0.5 + 0.8 + 0.0) / 3.0).abs() < 1e-12);
        assert!(Confusion::new(&truth, &truth.select(&[0])).is_err());
        assert!(Confusion::new(&truth.select(&[5]), &truth.select(&[0])).is_err());
    }

    #[test]
    fn areas_equal_loops_with_ties() {
        for case in 0..20 {
            let mut stream = Rng::new(case).stream("scores", 0, 0);
            let scores: Vec<f64> = (0..60).map(|_| stream.below(12) as f64).collect();
            let unknown: Vec<bool> = (0..60).map(|i| i < 2 || i > 2 && stream.bernoulli(0.3)).collect();
            let correct: Vec<bool> = (0..60).map(|_| stream.bernoulli(0.7)).collect();
            let (mut above, mut pairs) = (0.0, 0.0);
            for i in (0..60).filter(|i| unknown[*i]) {
                for j in (0..60).filter(|j| !unknown[*j]) {
                    pairs += 1.0;
                    above += if scores[i] > scores[j] {
                        1.0
                    } else if scores[i] == scores[j] {
                        0.5
                    } else {
                        0.0
                    };
                }
            }
            assert!((auroc(&scores, &unknown).unwrap() - above / pairs).abs() < 1e-12);
            // Precision at every threshold, weighted by the positive cells it gains.
            let passing = |t: f64, side: bool| (0..60).filter(|i| scores[*i] >= t && unknown[*i] == side).count() as f64;
            let thresholds = (0..12).map(f64::from);
            let gains = thresholds.map(|t| {
                (passing(t, true) - passing(t + 1.0, true)) * passing(t, true) / (passing(t, true) + passing(t, false)).max(1.0)
            });
            let expected = gains.sum::<f64>() / passing(-1.0, true);
            assert!((average_precision(&scores, &unknown).unwrap() - expected).abs() < 1e-12);
            // The curve by counting at every threshold.
            let share = |t: f64, of: bool, ok: &dyn Fn(usize) -> bool| {
                let side: Vec<usize> = (0..60).filter(|i| unknown[*i] == of).collect();
                side.iter().filter(|i| scores[**i] >= t && ok(**i)).count() as f64 / side.len() as f64
            };
            let curve: Vec<(f64, f64)> = (0..=13)
                .rev()
                .map(|t| (share(f64::from(t), true, &|_| true), share(f64::from(t), false, &|i| correct[i])))
                .collect();
            let area: f64 = curve.windows(2).map(|w| (w[1].0 - w[0].0) * (w[0].1 + w[1].1) / 2.0).sum();
            assert!((oscr(&scores, &correct, &unknown).unwrap() - area).abs() < 1e-12);
        }
        assert!(auroc(&[1.0, f64::NAN], &[true, false]).is_err() && auroc(&[1.0, 2.0], &[true, true]).is_err());
        assert!(oscr(&[1.0], &[true], &[true]).is_err() && oscr(&[1.0], &[true], &[true, false]).is_err());
    }

    #[test]
    fn calibration_by_hand() {
        let found = calibration(&[0.0, 0.4, 0.5, 0.6, 1.0], &[false, true, false, true, true], 2).unwrap();
        assert_eq!((found.bins[0].n_cells, found.bins[1].n_cells), (3, 2));
        // 0.9 / 3 against 1 / 3, and 0.8 against 1.
        assert!((found.expected_error - (3.0 / 5.0 * (1.0 / 3.0 - 0.3) + 2.0 / 5.0 * 0.2)).abs() < 1e-12);
        assert!((found.brier - (0.0 + 0.36 + 0.25 + 0.16 + 0.0) / 5.0).abs() < 1e-12);
        assert!(calibration(&[1.1], &[true], 5).is_err() && calibration(&[], &[], 5).is_err());
        assert!(calibration(&[1.0], &[true], 0).is_err());
    }
}
