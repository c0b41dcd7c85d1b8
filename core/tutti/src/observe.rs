//! How a caller follows and stops a long call: events out, a cancel flag in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Receives what happens during training and other long calls. All methods do nothing unless overridden.
pub trait Observer {
    /// After a step of gradient descent.
    fn on_step(&mut self, _progress: &Progress) {}
    /// After an epoch.
    fn on_epoch(&mut self, _progress: &Progress) {}
    /// Something the user should know that stops nothing.
    fn on_warning(&mut self, _message: &str) {}
    /// A stage begins, e.g. `PCA` or `neighbours`.
    fn on_stage(&mut self, _stage: &str) {}
}

/// Observer that ignores everything.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Observer for Silent {}

/// Where training stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Epochs planned.
    pub n_epochs: usize,
    /// Step within the epoch, from 1.
    pub step: usize,
    /// Steps of this epoch.
    pub n_steps: usize,
    /// Total loss: of the step in `on_step`, the mean over the epoch in `on_epoch`.
    pub loss: f64,
    /// Learning rate in use.
    pub learning_rate: f64,
    /// Cells trained per second since the start of this run.
    pub cells_per_second: f64,
    /// Seconds of training left, estimated from the speed so far.
    pub eta_seconds: f64,
    /// Loss on held-out cells, where there are any, at the end of an epoch.
    pub validation_loss: Option<f64>,
}

/// A flag to stop a running call from elsewhere; clones share it.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Asks the running call to stop at its next step. What was trained is kept.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether a stop was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
