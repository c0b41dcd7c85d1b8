//! How a caller follows and stops a long call: events out, a cancel flag in.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

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

    /// Runs a call that has nothing to keep before its end, such as a layout or a score, so that this token ends it: loops of this crate look at
    /// the token, also on the threads of [`crate::threads::Threads`]. The token is not given from function to function: what is inside of a
    /// long call need not know of it, and results are the same with and without.
    ///
    /// A training has something to keep: give the token to the trainer instead.
    ///
    /// ```
    /// use tutti::observe::CancelToken;
    /// use tutti::downstream::{UmapConfig, umap};
    /// let token = CancelToken::default();
    /// let x = ndarray::Array2::from_shape_fn((60, 4), |(i, j)| ((i * 7 + j * 3) % 11) as f32);
    /// assert!(token.guard(|| umap(x.view(), &UmapConfig::default()))?.is_ok());
    /// token.cancel();
    /// assert!(matches!(token.guard(|| umap(x.view(), &UmapConfig::default())), Err(tutti::Error::Stopped)));
    /// # Ok::<(), tutti::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Stopped`] where the token was cancelled before the end.
    pub fn guard<R>(&self, work: impl FnOnce() -> R) -> Result<R> {
        let outer = replace_guard(Some(self.clone()));
        // What the work has borrowed and left half done is gone with it, or its owner's to drop.
        let outcome = catch_unwind(AssertUnwindSafe(work));
        replace_guard(outer);
        match outcome {
            Err(reason) if !is_stop(&*reason) => resume_unwind(reason),
            Ok(result) if !self.is_cancelled() => Ok(result),
            _ => Err(Error::Stopped),
        }
    }
}

thread_local! {
    /// What ends the call that runs on this thread.
    static GUARD: RefCell<Option<CancelToken>> = const { RefCell::new(None) };
}

/// The token that guards the call on this thread, if any.
pub(crate) fn guard() -> Option<CancelToken> {
    GUARD.with_borrow(Clone::clone)
}

/// Sets the token that guards the call on this thread, and returns the one before.
pub(crate) fn replace_guard(token: Option<CancelToken>) -> Option<CancelToken> {
    GUARD.replace(token)
}

/// What unwinds a call that was stopped.
struct Stop;

fn is_stop(reason: &(dyn Any + Send)) -> bool {
    reason.is::<Stop>()
}

/// A place at which a guarded call may end, for a loop that can be long. It costs some nanoseconds.
///
/// The stack is unwound as by a panic, without the panic's message, to [`CancelToken::guard`]: a loop may be many functions below it, most of which
/// cannot fail otherwise, and on several threads. Nothing happens in a call that is not guarded.
pub fn may_stop() {
    if GUARD.with_borrow(|guard| guard.as_ref().is_some_and(CancelToken::is_cancelled)) {
        resume_unwind(Box::new(Stop));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::Threads;
    use rayon::prelude::*;

    #[test]
    fn a_guarded_call_ends_where_it_may_stop() {
        let token = CancelToken::default();
        assert_eq!(token.guard(|| 1 + 1).unwrap(), 2);
        let mut n = 0;
        let outcome = token.guard(|| {
            loop {
                n += 1;
                if n == 5 {
                    token.cancel();
                }
                may_stop();
            }
        });
        assert!(matches!(outcome, Err::<(), _>(Error::Stopped)) && n == 5);
        // Asked for too late for a place to stop at, it is a stop still.
        assert!(matches!(token.guard(|| 1), Err(Error::Stopped)));
        // Outside of a guard nothing stops.
        may_stop();
    }

    #[test]
    fn guards_lie_in_each_other() {
        let (outer, inner) = (CancelToken::default(), CancelToken::default());
        inner.cancel();
        let outcome = outer.guard(|| {
            assert!(matches!(inner.guard(may_stop), Err(Error::Stopped)));
            may_stop();
            7
        });
        assert_eq!(outcome.unwrap(), 7);
    }

    #[test]
    fn a_panic_passes_the_guard() {
        let outcome = catch_unwind(|| CancelToken::default().guard(|| std::panic::resume_unwind(Box::new("a panic"))));
        assert_eq!(outcome.unwrap_err().downcast_ref::<&str>(), Some(&"a panic"));
    }

    #[test]
    fn the_threads_of_a_guarded_call_stop_and_forget() {
        let (threads, token) = (Threads::new(3).unwrap(), CancelToken::default());
        let endless = |token: &CancelToken| {
            threads.run(|| {
                (0..3).into_par_iter().for_each(|i| {
                    for step in 0.. {
                        if (i, step) == (1, 1000) {
                            token.cancel();
                        }
                        may_stop();
                    }
                });
            });
        };
        assert!(matches!(token.guard(|| endless(&token)), Err(Error::Stopped)));
        // The same threads serve the next call, which no one stops.
        let sum = || threads.run(|| (0..1000u64).into_par_iter().inspect(|_| may_stop()).sum::<u64>());
        assert_eq!((sum(), CancelToken::default().guard(sum).unwrap()), (499_500, 499_500));
    }
}
