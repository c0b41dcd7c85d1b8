//! The optimiser of a run, whichever it is.

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{Adam, AdamConfig, Gradients, Sgd, SgdConfig};
use crate::error::{Error, Result};
use crate::nn::Parameters;

/// Which optimiser, and its settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OptimizerConfig {
    /// Adam, or AdamW with a weight decay.
    Adam(AdamConfig),
    /// Gradient descent with momentum.
    Sgd(SgdConfig),
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::Adam(AdamConfig::default())
    }
}

impl OptimizerConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        let (shares, weight_decay) = match self {
            Self::Adam(c) => ([("beta1", c.beta1), ("beta2", c.beta2)], c.weight_decay),
            Self::Sgd(c) => ([("momentum", c.momentum); 2], c.weight_decay),
        };
        if let Some((name, value)) = shares.into_iter().find(|(_, v)| !(0.0..1.0).contains(v)) {
            return Err(Error::argument(name, format!("must be at least 0 and below 1 (got {value})"), "use 0.9"));
        }
        if !(weight_decay >= 0.0 && weight_decay.is_finite()) {
            return Err(Error::argument("weight_decay", format!("must be 0 or more (got {weight_decay})"), "use 0 to 0.1"));
        }
        Ok(())
    }
}

/// Named tensors, and updates made so far by parameter group.
pub type OptimizerState = (Vec<(String, Tensor)>, BTreeMap<usize, u64>);

/// An optimiser with its state.
#[derive(Debug)]
pub enum Optimizer {
    /// See [`Adam`].
    Adam(Adam),
    /// See [`Sgd`].
    Sgd(Sgd),
}

impl Optimizer {
    /// Before the first step.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn new(parameters: &Parameters, config: &OptimizerConfig) -> Result<Self> {
        Ok(match config {
            OptimizerConfig::Adam(config) => Self::Adam(Adam::new(parameters, *config)?),
            OptimizerConfig::Sgd(config) => Self::Sgd(Sgd::new(parameters, *config)?),
        })
    }

    /// One update of the parameters of `group`; `gradient_scale` multiplies all gradients.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn step(
        &mut self,
        parameters: &Parameters,
        group: usize,
        gradients: &Gradients,
        lr: f64,
        gradient_scale: f64,
    ) -> Result<()> {
        match self {
            Self::Adam(adam) => adam.step(parameters, group, gradients, lr, gradient_scale),
            Self::Sgd(sgd) => sgd.step(parameters, group, gradients, lr, gradient_scale),
        }
    }

    /// State as named tensors, and updates made so far by parameter group where they count.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn state(&self, parameters: &Parameters) -> Result<OptimizerState> {
        Ok(match self {
            Self::Adam(adam) => (adam.state(parameters)?, adam.steps().clone()),
            Self::Sgd(sgd) => (sgd.state(parameters)?, BTreeMap::new()),
        })
    }

    /// Sets what [`Optimizer::state`] gave.
    ///
    /// # Errors
    /// [`Error::Data`] for a tensor that is missing or does not fit.
    pub fn restore(&mut self, parameters: &Parameters, tensors: &[(String, Tensor)], steps: BTreeMap<usize, u64>) -> Result<()> {
        match self {
            Self::Adam(adam) => adam.restore(parameters, tensors, steps),
            Self::Sgd(sgd) => sgd.restore(parameters, tensors),
        }
    }
}
