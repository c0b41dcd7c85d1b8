//! What was learned by the epoch.

use std::sync::Arc;

use crate::display::{Content, Rich, show};
use crate::error::Result;
use crate::figure::{Figure, failed};
use crate::shown;
use crate::table::Table;

/// The losses of a training. Cheap to clone.
#[derive(Clone)]
pub struct History {
    inner: Arc<tutti::train::History>,
}

impl History {
    pub(crate) fn new(history: tutti::train::History) -> Self {
        Self { inner: Arc::new(history) }
    }

    /// Epochs trained.
    pub fn n_epochs(&self) -> usize {
        self.inner.epochs.len()
    }

    /// Total loss of each epoch.
    pub fn losses(&self) -> Vec<f64> {
        self.inner.epochs.iter().map(|e| e.loss).collect()
    }

    /// A row per epoch: learning rate, total loss, its terms, the loss on held-out cells.
    ///
    /// # Errors
    /// None for what this crate made.
    pub fn table(&self) -> Result<Table> {
        let epochs = &self.inner.epochs;
        let numbers = |value: &dyn Fn(&tutti::train::EpochRecord) -> Option<f64>| -> Vec<f64> {
            epochs.iter().map(|e| value(e).unwrap_or(f64::NAN)).collect()
        };
        let mut table = Table::build()
            .integers("epoch", epochs.iter().map(|e| e.epoch as i64).collect::<Vec<_>>())
            .numbers("loss", numbers(&|e| Some(e.loss)));
        for name in epochs.first().iter().flat_map(|e| e.terms.keys()) {
            table = table.numbers(name, numbers(&|e| e.terms.get(name).copied()));
        }
        if epochs.iter().any(|e| e.validation_loss.is_some()) {
            table = table.numbers("validation loss", numbers(&|e| e.validation_loss));
        }
        table.numbers("learning rate", numbers(&|e| Some(e.learning_rate))).run()
    }

    /// Loss, its terms and the learning rate by epoch.
    ///
    /// # Errors
    /// A history without epochs.
    pub fn plot(&self) -> Result<Figure> {
        Ok(Figure::new("training history", tutti_figures::training_history(&self.inner)?))
    }

    /// The history as the core has it.
    pub fn inner(&self) -> &tutti::train::History {
        &self.inner
    }

    /// Shows the curves; notebooks call this for the last expression of a cell.
    pub fn evcxr_display(&self) {
        show(self);
    }
}

impl Rich for History {
    fn content(&self) -> Content {
        match self.plot() {
            Ok(figure) => figure.content(),
            Err(error) => failed(&error),
        }
    }
}

/// What a console shows.
impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        shown::debug(self, &format!("history of {} epochs, losses {:.4?}", self.n_epochs(), self.losses()), f)
    }
}
