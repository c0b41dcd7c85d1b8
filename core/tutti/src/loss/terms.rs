//! The named, weighted losses of one mini-batch.

use candle_core::Tensor;

use crate::error::Result;

/// Losses by name. The history shows the raw values; the trainer differentiates the weighted sum.
#[derive(Debug, Default)]
pub struct LossTerms {
    terms: Vec<(&'static str, f64, Tensor)>,
}

impl LossTerms {
    /// No terms yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a scalar loss. A weight of 0 records it without training on it.
    pub fn add(&mut self, name: &'static str, weight: f64, value: Tensor) {
        self.terms.push((name, weight, value));
    }

    /// The terms of this name alone, with the weight 1.
    pub fn only(self, name: &str) -> Self {
        let terms = self.terms.into_iter().filter(|(n, _, _)| *n == name).map(|(n, _, value)| (n, 1.0, value));
        Self { terms: terms.collect() }
    }

    /// The weighted sum, a scalar; `None` where no term has a weight.
    ///
    /// # Errors
    /// For a term that is no scalar.
    pub fn total(&self) -> Result<Option<Tensor>> {
        let mut total: Option<Tensor> = None;
        for (_, weight, value) in self.terms.iter().filter(|(_, weight, _)| *weight != 0.0) {
            let weighted = if *weight == 1.0 { value.clone() } else { (value * *weight)? };
            total = Some(match total {
                Some(sum) => (sum + weighted)?,
                None => weighted,
            });
        }
        Ok(total)
    }

    /// Name, weight and raw value of each term.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn values(&self) -> Result<Vec<(&'static str, f64, f64)>> {
        self.terms.iter().map(|(name, weight, value)| Ok((*name, *weight, f64::from(value.to_scalar::<f32>()?)))).collect()
    }
}
