//! Gradients of one backward pass, or of several added up.

use candle_core::{Shape, Tensor};

use crate::error::Result;
use crate::nn::{Parameter, Parameters};
use crate::ops::factored::{FactoredGradient, total};
use crate::ops::values::with_cpu_f32;

/// Gradients of the parameters, in their order: dense ones, and the layers' weights as factors.
pub struct Gradients {
    dense: Vec<Option<Tensor>>,
    factored: Vec<Vec<FactoredGradient>>,
}

impl Gradients {
    /// Differentiates `loss` by all parameters.
    ///
    /// # Errors
    /// Where an operation has no backward pass.
    pub fn of(loss: &Tensor, parameters: &Parameters) -> Result<Self> {
        let taken = |p: &Parameter| p.slot.as_ref().map(|slot| slot.take()).unwrap_or_default();
        // Nothing may be left from a step that failed half-way.
        parameters.iter().for_each(|p| drop(taken(p)));
        let store = loss.backward()?;
        Ok(Self {
            dense: parameters.iter().map(|p| store.get(&p.var).cloned()).collect(),
            factored: parameters.iter().map(taken).collect(),
        })
    }

    /// Adds those of another mini-batch. Factors are kept side by side: memory grows by the inputs of the layers and the gradients of their
    /// outputs, not by genes times hidden.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn add(&mut self, other: Self) -> Result<()> {
        for (sum, more) in self.dense.iter_mut().zip(other.dense) {
            *sum = match (sum.take(), more) {
                (Some(sum), Some(more)) => Some((sum + more)?),
                (sum, more) => sum.or(more),
            };
        }
        self.factored.iter_mut().zip(other.factored).for_each(|(sum, more)| sum.extend(more));
        Ok(())
    }

    /// Euclidean length of all gradients of `group` together, in double precision and a fixed order. Gradients that wait as factors are multiplied
    /// out, and stay so for the update.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn norm(&mut self, parameters: &Parameters, group: usize) -> Result<f64> {
        let mut squares = 0.0;
        for (i, p) in parameters.iter().enumerate().filter(|(_, p)| p.group == group) {
            let total = self.total(i, p.var.shape())?;
            self.factored[i].clear();
            self.dense[i] = total;
            if let Some(g) = &self.dense[i] {
                squares += match g.device().is_cpu() {
                    true => with_cpu_f32(&g.contiguous()?, |g| g.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>())?,
                    false => f64::from(g.sqr()?.sum_all()?.to_scalar::<f32>()?),
                };
            }
        }
        Ok(squares.sqrt())
    }

    /// The factors of parameter `i`, where its gradient is in these alone and can be formed row by row.
    pub(super) fn factors(&self, i: usize) -> Option<&[FactoredGradient]> {
        let factors = &*self.factored[i];
        (self.dense[i].is_none() && !factors.is_empty() && factors.iter().all(FactoredGradient::is_sparse)).then_some(factors)
    }

    /// The whole gradient of parameter `i`, of that shape, multiplied out.
    pub(super) fn total(&self, i: usize, shape: &Shape) -> Result<Option<Tensor>> {
        match (&self.dense[i], &*self.factored[i]) {
            (dense, []) => Ok(dense.clone()),
            (dense, factors) => Ok(Some(total(factors, dense.as_ref(), shape)?)),
        }
    }
}
