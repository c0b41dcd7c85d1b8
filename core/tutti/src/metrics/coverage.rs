//! Labels of which some are refused: how many are left, and how good these and the refusals are.

use serde::Serialize;

use super::{auroc, average_precision, check_cells, oscr};
use crate::data::Categorical;
use crate::error::{Error, Result};

/// Predicted labels with refusals against the truth. Cells without a true label are left out.
///
/// Types are `known` where the reference has them, that is, where they are a level of the predicted labels; cells of other types should be
/// refused. Accuracy without coverage says little: refusing all cells but one gives 1 or 0.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Coverage {
    /// Cells with a true label.
    pub n_cells: usize,
    /// Of these, cells of types that the reference has.
    pub n_known: usize,
    /// Share of the cells that keep their label.
    pub coverage: f64,
    /// Share of the cells with a label that have the right one; cells of unknown types have none. `None` where all are refused.
    pub accuracy_of_kept: Option<f64>,
    /// Share of the cells of known types whose likeliest label is right, refused or not. `None` without such cells.
    pub accuracy: Option<f64>,
    /// Share of all cells treated right: named right where the type is known, refused where it is not.
    pub overall_accuracy: f64,
    /// Share of the cells of known types that are refused.
    pub false_rejection_rate: Option<f64>,
    /// Share of the cells of unknown types that are refused.
    pub detection_rate: Option<f64>,
    /// True types that the reference lacks, with their cells and how many of them are refused, in the order of the levels.
    pub unknown_types: Vec<(String, usize, usize)>,
}

/// Compares; `rejected`: whether the label of each cell is refused. Columns are joined by the names of their levels.
///
/// # Errors
/// [`Error::Data`] for parts of unequal length, or no cell with both a true and a predicted label.
pub fn coverage(truth: &Categorical, predicted: &Categorical, rejected: &[bool]) -> Result<Coverage> {
    let n = truth.len();
    check_cells(n, &[("predicted labels", predicted.len()), ("marks of rejected cells", rejected.len())])?;
    let cells: Vec<usize> = (0..n).filter(|i| truth.value(*i).is_some() && predicted.value(*i).is_some()).collect();
    if cells.is_empty() {
        return Err(Error::data("no cell has both a true and a predicted label", "check that both columns are filled"));
    }
    let (known, unknown): (Vec<usize>, Vec<usize>) = cells.iter().partition(|i| is_known(truth, predicted, **i));
    let right = |i: &&usize| truth.value(**i) == predicted.value(**i);
    let kept: Vec<usize> = cells.iter().copied().filter(|i| !rejected[*i]).collect();
    let share = |some: usize, of: usize| (of > 0).then(|| some as f64 / of as f64);
    let refused = |cells: &[usize]| cells.iter().filter(|i| rejected[**i]).count();
    let kept_right = kept.iter().filter(right).count();
    let types = truth.levels().iter().filter(|l| !predicted.levels().contains(l)).map(|level| {
        let of_type: Vec<usize> = unknown.iter().copied().filter(|i| truth.value(*i) == Some(level)).collect();
        (level.clone(), of_type.len(), refused(&of_type))
    });
    Ok(Coverage {
        n_cells: cells.len(),
        n_known: known.len(),
        coverage: kept.len() as f64 / cells.len() as f64,
        accuracy_of_kept: share(kept_right, kept.len()),
        accuracy: share(known.iter().filter(right).count(), known.len()),
        overall_accuracy: (kept_right + refused(&unknown)) as f64 / cells.len() as f64,
        false_rejection_rate: share(refused(&known), known.len()),
        detection_rate: share(refused(&unknown), unknown.len()),
        unknown_types: types.filter(|(_, n, _)| *n > 0).collect(),
    })
}

fn is_known(truth: &Categorical, predicted: &Categorical, i: usize) -> bool {
    truth.value(i).is_some_and(|t| predicted.levels().iter().any(|l| l == t))
}

/// How well a score of being known ranks cells, whatever the limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OpenSet {
    /// Area under the receiver operating curve; cells of unknown types are positive, at 1 - confidence.
    pub auroc: f64,
    /// Area under the precision-recall curve of the same ([`average_precision`]).
    pub aupr: f64,
    /// Share of cells of unknown types, which is what guessing gives as `aupr`.
    pub share_unknown: f64,
    /// Open-set classification rate ([`oscr`]).
    pub oscr: f64,
}

/// Ranks cells by `confidence`, larger is more known, such as the largest probability or 1 - novelty.
///
/// # Errors
/// As [`coverage`] and [`oscr`]: cells both of types that the predicted labels have as a level and of others are needed.
pub fn open_set(truth: &Categorical, predicted: &Categorical, confidence: &[f64]) -> Result<OpenSet> {
    let n = truth.len();
    check_cells(n, &[("predicted labels", predicted.len()), ("confidences", confidence.len())])?;
    let cells: Vec<usize> = (0..n).filter(|i| truth.value(*i).is_some() && predicted.value(*i).is_some()).collect();
    let unknown: Vec<bool> = cells.iter().map(|i| !is_known(truth, predicted, *i)).collect();
    let correct: Vec<bool> = cells.iter().map(|i| truth.value(*i) == predicted.value(*i)).collect();
    let confidence: Vec<f64> = cells.iter().map(|i| confidence[*i]).collect();
    let novelty: Vec<f64> = confidence.iter().map(|c| 1.0 - c).collect();
    Ok(OpenSet {
        auroc: auroc(&novelty, &unknown)?,
        aupr: average_precision(&novelty, &unknown)?,
        share_unknown: unknown.iter().filter(|u| **u).count() as f64 / cells.len() as f64,
        oscr: oscr(&confidence, &correct, &unknown)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_by_hand() {
        let truth = Categorical::from_values([Some("a"), Some("a"), Some("b"), Some("b"), Some("x"), Some("x"), Some("y"), None]);
        let levels = ["a", "b", "c"].map(String::from).to_vec();
        let predicted = Categorical::new([0, 1, 1, 1, 0, 2, 2, 0].map(Some).to_vec(), levels).unwrap();
        let rejected = [false, true, false, true, true, false, true, false];
        let found = coverage(&truth, &predicted, &rejected).unwrap();
        let expected = Coverage {
            n_cells: 7,
            n_known: 4,
            coverage: 3.0 / 7.0,
            accuracy_of_kept: Some(2.0 / 3.0),
            accuracy: Some(0.75),
            overall_accuracy: 4.0 / 7.0,
            false_rejection_rate: Some(0.5),
            detection_rate: Some(2.0 / 3.0),
            unknown_types: vec![("x".into(), 2, 1), ("y".into(), 1, 1)],
        };
        assert_eq!(found, expected);
        let all = coverage(&truth, &predicted, &[true; 8]).unwrap();
        assert_eq!((all.coverage, all.accuracy_of_kept, all.detection_rate), (0.0, None, Some(1.0)));
        let of_known = coverage(&truth.select(&[0, 1]), &predicted.select(&[0, 1]), &[false; 2]).unwrap();
        assert_eq!((of_known.detection_rate, of_known.overall_accuracy), (None, 0.5));
        assert!(coverage(&truth.select(&[7]), &predicted.select(&[7]), &[false]).is_err());
        assert!(coverage(&truth, &predicted, &[false; 3]).is_err());
    }

    #[test]
    fn a_confidence_that_knows_ranks_perfectly() {
        let truth = Categorical::from_values([Some("a"), Some("b"), Some("x"), Some("y"), None]);
        let predicted = Categorical::from_values(["a", "a", "a", "b", "b"].map(Some));
        let found = open_set(&truth, &predicted, &[0.9, 0.8, 0.2, 0.1, 0.0]).unwrap();
        // One of the two known cells has the wrong label, at any threshold.
        assert_eq!((found.auroc, found.aupr, found.share_unknown, found.oscr), (1.0, 1.0, 0.5, 0.5));
        assert!(open_set(&truth.select(&[0]), &predicted.select(&[0]), &[0.5]).is_err());
    }
}
