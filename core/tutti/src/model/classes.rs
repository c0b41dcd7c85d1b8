//! Classes that a classifier gives.

use ndarray::{Array2, ArrayView1};

use crate::data::Categorical;
use crate::error::Result;

/// Classes that a classifier gives.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictedClasses {
    /// The likeliest class of every cell, the first of equal ones; levels are those of the model.
    pub label: Categorical,
    /// Its probability.
    pub probability: Vec<f32>,
    /// Probability of each class, [n_cells, n_classes], a column per level.
    pub probabilities: Array2<f32>,
}

impl PredictedClasses {
    /// From the probability of each class, [n_cells, n_classes]; `classes` names the columns.
    ///
    /// # Errors
    /// Names of another number, or that occur twice.
    pub fn from_probabilities(probabilities: Array2<f32>, classes: &[String]) -> Result<Self> {
        let best = |row: ArrayView1<'_, f32>| (0..row.len()).fold(0, |best, c| if row[c] > row[best] { c } else { best });
        let codes: Vec<usize> = probabilities.rows().into_iter().map(best).collect();
        let probability = codes.iter().enumerate().map(|(i, c)| probabilities[[i, *c]]).collect();
        let label = Categorical::new(codes.into_iter().map(|c| Some(c as u32)).collect(), classes.to_vec())?;
        Ok(Self { label, probability, probabilities })
    }

    /// From a logit per class, [n_cells, n_classes], by softmax.
    ///
    /// # Errors
    /// As [`PredictedClasses::from_probabilities`].
    pub fn from_logits(mut logits: Array2<f32>, classes: &[String]) -> Result<Self> {
        for mut row in logits.rows_mut() {
            let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.mapv_inplace(|v| (v - most).exp());
            let total = row.sum();
            row.mapv_inplace(|v| v / total);
        }
        Self::from_probabilities(logits, classes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_become_probabilities_and_the_first_of_equals_wins() {
        let names = ["a", "b"].map(str::to_owned);
        let found = PredictedClasses::from_logits(ndarray::array![[0.0, 2f32.ln()], [900.0, 900.0]], &names).unwrap();
        assert!((found.probability[0] - 2.0 / 3.0).abs() < 1e-6 && (found.probabilities[[0, 0]] - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!((found.label.value(0), found.label.value(1), found.probability[1]), (Some("b"), Some("a"), 0.5));
    }
}
