//! A table of cells: what each is called, how sure that is, what else it may be, and why it should not be called anything.

use ndarray::ArrayView2;
use serde::Serialize;

use super::label_transfer::classes_found;
use super::{ClassFound, Rejection};
use crate::data::Categorical;
use crate::error::{Error, Result};

/// Why a label is not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownReason {
    /// The reference has nothing like the cell.
    Novel,
    /// The cells that have the label are not similar enough.
    LowSimilarity,
    /// The reference has something like the cell, but no class is likely enough.
    LowProbability,
}

impl UnknownReason {
    /// As files have it: `novel`, `low_similarity`, `low_probability`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Novel => "novel",
            Self::LowSimilarity => "low_similarity",
            Self::LowProbability => "low_probability",
        }
    }
}

/// One value per cell in every part. A label is the likeliest class, or after [`super::Annotated::smoothed`] that of most cells around; what makes it
/// doubtful stands beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotations {
    /// The likeliest class, the first of equal ones; see above.
    pub label: Categorical,
    /// Its probability, 0 to 1.
    pub probability: Vec<f32>,
    /// The next likely class; missing where there is a single one.
    pub runner_up: Categorical,
    /// Its probability; 0 where there is none.
    pub runner_up_probability: Vec<f32>,
    /// How unlike the reference the cell is, larger is stranger; see [`super::LabelTransfer::novelty`].
    pub novelty: Option<Vec<f32>>,
    /// Similarity to the cells that have the label, larger is more similar.
    pub similarity: Option<Vec<f32>>,
    /// Why the cell is unknown; `None` for those that keep their label.
    pub reason: Vec<Option<UnknownReason>>,
}

/// One cell of [`Annotations`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CellAnnotation<'a> {
    /// The likeliest class.
    pub label: &'a str,
    /// Its probability.
    pub probability: f32,
    /// The next likely class.
    pub runner_up: Option<&'a str>,
    /// Its probability.
    pub runner_up_probability: f32,
    /// How unlike the reference the cell is.
    pub novelty: Option<f32>,
    /// Why the label is not to be believed.
    pub reason: Option<UnknownReason>,
}

impl Annotations {
    /// From the probability of each class, [n_cells, n_classes], a column per class; no cell is unknown.
    ///
    /// # Errors
    /// [`Error::Data`] for no class, a class that occurs twice, another number of columns than classes, or a probability outside of 0 to 1.
    pub fn new(probabilities: ArrayView2<'_, f32>, classes: &[String]) -> Result<Self> {
        let (n_cells, n_classes) = probabilities.dim();
        if n_classes != classes.len() || n_classes == 0 {
            let problem = format!("probabilities of {n_classes} classes, with {} names", classes.len());
            return Err(Error::data(problem, "give a column per class, and one class at least"));
        }
        if let Some(i) = probabilities.rows().into_iter().position(|row| row.iter().any(|p| !(-1e-6..=1.0 + 1e-5).contains(p))) {
            let problem = format!("cell number {} has the probabilities {}", i + 1, probabilities.row(i));
            return Err(Error::data(problem, "give numbers from 0 to 1"));
        }
        let (mut first, mut second) = (Vec::with_capacity(n_cells), Vec::with_capacity(n_cells));
        for row in probabilities.rows() {
            let largest = |without: Option<usize>| {
                let others = (0..n_classes).filter(|c| Some(*c) != without);
                others.reduce(|best, c| if row[c] > row[best] { c } else { best })
            };
            let best = largest(None).unwrap_or(0);
            first.push(best);
            second.push(largest(Some(best)));
        }
        let column = |codes: Vec<Option<usize>>| {
            Categorical::new(codes.into_iter().map(|c| c.map(|c| c as u32)).collect(), classes.to_vec())
        };
        Ok(Self {
            probability: first.iter().enumerate().map(|(i, c)| probabilities[[i, *c]]).collect(),
            runner_up_probability: second.iter().enumerate().map(|(i, c)| c.map_or(0.0, |c| probabilities[[i, c]])).collect(),
            label: column(first.into_iter().map(Some).collect())?,
            runner_up: column(second)?,
            novelty: None,
            similarity: None,
            reason: vec![None; n_cells],
        })
    }

    /// The same with a novelty and a similarity of each cell, where they are known.
    ///
    /// # Errors
    /// [`Error::Data`] for another number of cells or a value that is NaN.
    pub fn with_distances(mut self, novelty: Option<Vec<f32>>, similarity: Option<Vec<f32>>) -> Result<Self> {
        for (name, values) in [("novelties", &novelty), ("similarities", &similarity)] {
            let Some(values) = values else { continue };
            if values.len() != self.n_cells() || values.iter().any(|v| v.is_nan()) {
                let problem = format!("{} {name} for {} cells, or one that is NaN", values.len(), self.n_cells());
                return Err(Error::data(problem, "give a number per cell"));
            }
        }
        (self.novelty, self.similarity) = (novelty, similarity);
        Ok(self)
    }

    /// Marks the cells beyond one of the limits as unknown, by the first that applies: novelty, similarity, probability. A value that equals a
    /// limit is not beyond it. Marks of before go.
    ///
    /// # Errors
    /// [`Error::Argument`] for a limit outside of its range, or of something that is not known of these cells.
    pub fn reject(self, limits: &Rejection) -> Result<Self> {
        self.check(limits)?;
        Ok(self.marked(|_| limits))
    }

    /// As [`Annotations::reject`] with limits for each class, one per level of the label: those of the class that a cell is called.
    ///
    /// # Errors
    /// As [`Annotations::reject`]; [`Error::Data`] for limits of another number of classes.
    pub fn reject_by_class(self, limits: &[Rejection]) -> Result<Self> {
        if limits.len() != self.label.n_levels() {
            let problem = format!("limits for {} classes, of {}", limits.len(), self.label.n_levels());
            return Err(Error::data(problem, "give limits for each class"));
        }
        limits.iter().try_for_each(|limits| self.check(limits))?;
        let called: Vec<usize> = self.label.codes().iter().map(|code| code.unwrap_or_default() as usize).collect();
        Ok(self.marked(|i| &limits[called[i]]))
    }

    fn check(&self, limits: &Rejection) -> Result<()> {
        limits.validate()?;
        let needs = [
            ("max_novelty", limits.max_novelty.is_some() && self.novelty.is_none()),
            ("min_similarity", limits.min_similarity.is_some() && self.similarity.is_none()),
        ];
        match needs.iter().find(|(_, lacks)| *lacks) {
            Some((name, _)) => Err(Error::argument(*name, "has nothing to limit: these cells come without it", "leave it out")),
            None => Ok(()),
        }
    }

    /// `limits`: those of cell `i`.
    fn marked<'a>(mut self, limits: impl Fn(usize) -> &'a Rejection) -> Self {
        let beyond = |limit: Option<f32>, values: Option<&Vec<f32>>, i: usize, above: bool| {
            limit.zip(values).is_some_and(|(limit, v)| if above { v[i] > limit } else { v[i] < limit })
        };
        let reason = |i: usize| {
            let limits = limits(i);
            if beyond(limits.max_novelty, self.novelty.as_ref(), i, true) {
                Some(UnknownReason::Novel)
            } else if beyond(limits.min_similarity, self.similarity.as_ref(), i, false) {
                Some(UnknownReason::LowSimilarity)
            } else if beyond(limits.min_confidence, Some(&self.probability), i, false) {
                Some(UnknownReason::LowProbability)
            } else {
                None
            }
        };
        self.reason = (0..self.n_cells()).map(reason).collect();
        self
    }

    /// With these labels, codes of the levels there are, their probabilities, and the likeliest other class; all else as it was.
    pub(super) fn renamed(mut self, codes: &[u32], probabilities: ArrayView2<'_, f32>) -> Result<Self> {
        let other = |i: usize| {
            let row = probabilities.row(i);
            let others = (0..row.len()).filter(|c| *c != codes[i] as usize);
            others.reduce(|best, c| if row[c] > row[best] { c } else { best })
        };
        let second: Vec<Option<usize>> = (0..codes.len()).map(other).collect();
        let levels = self.label.levels().to_vec();
        self.probability = codes.iter().enumerate().map(|(i, c)| probabilities[[i, *c as usize]]).collect();
        self.runner_up_probability = second.iter().enumerate().map(|(i, c)| c.map_or(0.0, |c| probabilities[[i, c]])).collect();
        self.label = Categorical::new(codes.iter().map(|c| Some(*c)).collect(), levels.clone())?;
        self.runner_up = Categorical::new(second.into_iter().map(|c| c.map(|c| c as u32)).collect(), levels)?;
        Ok(self)
    }

    /// Number of cells.
    pub fn n_cells(&self) -> usize {
        self.probability.len()
    }

    /// Which cells are unknown.
    pub fn unknown(&self) -> Vec<bool> {
        self.reason.iter().map(Option::is_some).collect()
    }

    /// Share of the cells that keep their label, 0 to 1.
    pub fn coverage(&self) -> f64 {
        self.reason.iter().filter(|r| r.is_none()).count() as f64 / self.n_cells().max(1) as f64
    }

    /// Labels in which unknown cells have no value.
    pub fn kept(&self) -> Categorical {
        let codes = self.label.codes().iter().zip(&self.reason).map(|(code, reason)| code.filter(|_| reason.is_none())).collect();
        // The codes are those of levels that are checked.
        Categorical::new(codes, self.label.levels().to_vec()).unwrap_or_default()
    }

    /// Why cells are unknown, as a column; missing where they are not.
    pub fn reasons(&self) -> Categorical {
        Categorical::from_values(self.reason.iter().map(|r| r.map(UnknownReason::as_str)))
    }

    /// Classes that cells are called, those with most cells first, each with the number of cells that keep the label. The median of a novelty that is
    /// not known is NaN.
    pub fn by_class(&self) -> Vec<(ClassFound, usize)> {
        let classes = classes_found(&self.label, &self.probability, self.novelty.as_deref()).into_iter();
        classes.map(|(found, cells)| (found, cells.iter().filter(|i| self.reason[**i].is_none()).count())).collect()
    }

    /// Cell `i`.
    pub fn cell(&self, i: usize) -> CellAnnotation<'_> {
        CellAnnotation {
            label: self.label.value(i).unwrap_or_default(),
            probability: self.probability[i],
            runner_up: self.runner_up.value(i),
            runner_up_probability: self.runner_up_probability[i],
            novelty: self.novelty.as_ref().map(|n| n[i]),
            reason: self.reason[i],
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    fn classes(n: usize) -> Vec<String> {
        ["a", "b", "c"].iter().take(n).map(|c| (*c).to_owned()).collect()
    }

    #[test]
    fn the_two_likeliest_classes_are_named_and_reasons_are_in_order() {
        let p = array![[0.2f32, 0.5, 0.3], [0.4, 0.2, 0.4], [0.1, 0.1, 0.8], [0.9, 0.1, 0.0]];
        let table = Annotations::new(p.view(), &classes(3)).unwrap();
        assert_eq!((0..4).map(|i| table.cell(i).label).collect::<String>(), "baca");
        assert_eq!((0..4).filter_map(|i| table.cell(i).runner_up).collect::<String>(), "ccab");
        assert_eq!((table.cell(1).probability, table.cell(2).runner_up_probability), (0.4, 0.1));
        assert_eq!((table.coverage(), table.unknown()), (1.0, vec![false; 4]));

        let table = table.with_distances(Some(vec![0.1, 0.2, 0.99, 0.5]), Some(vec![0.9, 0.9, 0.1, 0.2])).unwrap();
        let limits = Rejection { min_confidence: Some(0.5), max_novelty: Some(0.98), min_similarity: Some(0.3) };
        let table = table.reject(&limits).unwrap();
        let reasons = [None, Some(UnknownReason::LowProbability), Some(UnknownReason::Novel), Some(UnknownReason::LowSimilarity)];
        assert_eq!((&table.reason[..], table.coverage()), (&reasons[..], 0.25));
        assert_eq!((table.kept().value(0), table.kept().value(1)), (Some("b"), None));
        assert_eq!((table.reasons().value(0), table.reasons().value(2)), (None, Some("novel")));
        assert_eq!(table.clone().reject(&Rejection::default()).unwrap().coverage(), 1.0);

        // Cells are called b, a, c, a: what holds for `b` says nothing of the others.
        let of_b = Rejection { min_confidence: Some(0.6), ..Default::default() };
        let table = table.reject_by_class(&[Rejection::default(), of_b, limits]).unwrap();
        assert_eq!(table.reason, [Some(UnknownReason::LowProbability), None, Some(UnknownReason::Novel), None]);
        assert!(table.reject_by_class(&[limits]).unwrap_err().to_string().contains("limits for 1 classes, of 3"));
    }

    #[test]
    fn a_single_class_has_no_other() {
        let table = Annotations::new(Array2::ones((2, 1)).view(), &classes(1)).unwrap();
        assert_eq!((table.cell(1).label, table.cell(1).runner_up, table.cell(1).runner_up_probability), ("a", None, 0.0));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let error = |p: Array2<f32>, n| Annotations::new(p.view(), &classes(n)).unwrap_err().to_string();
        assert!(error(array![[0.5, 0.5]], 3).contains("probabilities of 2 classes, with 3 names"));
        assert!(error(array![[0.5, 0.5], [1.5, 0.0]], 2).contains("cell number 2"));
        assert!(error(array![[f32::NAN, 0.5]], 2).contains("cell number 1"));
        let table = Annotations::new(array![[0.5f32, 0.5]].view(), &classes(2)).unwrap();
        let limits = Rejection { max_novelty: Some(0.9), ..Default::default() };
        assert!(table.clone().reject(&limits).unwrap_err().to_string().contains("`max_novelty` has nothing to limit"));
        assert!(table.clone().with_distances(Some(vec![]), None).is_err());
        assert!(table.with_distances(None, Some(vec![f32::NAN])).is_err());
    }
}
