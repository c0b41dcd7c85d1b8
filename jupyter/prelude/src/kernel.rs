//! What the process that runs the cells needs once: settings of libraries, a panic hook, and Ctrl-C as a flag.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use tutti::observe::CancelToken;

use crate::display::{Target, panicked};
use crate::error::{Error, Result};

/// Whether the user asked to stop, since the cell began.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Whether it was asked for while no call ran: the next one of the cell is stopped then.
static ASKED_BETWEEN: AtomicBool = AtomicBool::new(false);

/// What stops the calls that run now, each with its number; none between calls.
static RUNNING: Mutex<Vec<(usize, CancelToken)>> = Mutex::new(Vec::new());

fn running() -> MutexGuard<'static, Vec<(usize, CancelToken)>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prepares the process that runs the cells of a notebook; the kernel calls it once, when it has loaded this library.
///
/// Settings of candle and HDF5 that can be made by the environment alone, where the user has made none; a panic hook that tells the kernel
/// message and place in one line; Ctrl-C stops a long call at its next step and ends nothing.
// SAFETY: no other library has a function of this name.
#[unsafe(no_mangle)]
pub extern "C" fn tutti_notebook_init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the kernel calls this before it runs any cell; no other thread is there to read the environment.
        unsafe { tutti_io::set_library_defaults() };
        listen();
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(|l| format!("{}:{}:{}", l.file(), l.line(), l.column())).unwrap_or_default();
            panicked(said(panic.payload()), &place);
        }));
    });
}

/// A cell begins; the kernel calls it. What was asked for in an earlier cell is forgotten. `answers`: where the lines come that the user types
/// for [`crate::input()`].
// SAFETY: no other library has a function of this name.
#[unsafe(no_mangle)]
pub extern "C" fn tutti_notebook_cell(answers: std::ffi::c_int) {
    INTERRUPTED.store(false, Ordering::Relaxed);
    ASKED_BETWEEN.store(false, Ordering::Relaxed);
    crate::input::answers_from(answers);
}

fn said(payload: &(dyn std::any::Any + Send)) -> &str {
    payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("panic")
}

/// Turns Ctrl-C into a flag; outside of a notebook it still ends a program that is not training.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A program may have a handler of its own; then that one decides.
        let _ = ctrlc::set_handler(|| {
            INTERRUPTED.store(true, Ordering::Relaxed);
            let running = running();
            running.iter().for_each(|(_, token)| token.cancel());
            match (running.is_empty(), Target::here()) {
                (true, Target::Console) => std::process::exit(130),
                (true, Target::Kernel) => ASKED_BETWEEN.store(true, Ordering::Relaxed),
                _ => {}
            }
        });
    });
}

/// Whether the user pressed stop (or Ctrl-C) since the cell began; for loops of your own: `if interrupted() { break; }`.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// A call that Ctrl-C stops, for as long as this value lives.
pub(crate) struct Stoppable {
    pub token: CancelToken,
    number: usize,
}

impl Stoppable {
    /// A call that begins, maybe inside of another one. It is stopped at once where the user asked before it, after the cell's last call.
    pub fn begin() -> Self {
        listen();
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let call = Self { token: CancelToken::default(), number: NEXT.fetch_add(1, Ordering::Relaxed) };
        running().push((call.number, call.token.clone()));
        if ASKED_BETWEEN.swap(false, Ordering::Relaxed) {
            call.token.cancel();
        }
        call
    }

    /// A training, which keeps what it has when it is stopped. In a program, which has no cells, what was asked for before is forgotten.
    pub fn training() -> Self {
        if Target::here() != Target::Kernel {
            INTERRUPTED.store(false, Ordering::Relaxed);
        }
        Self::begin()
    }

    /// Runs what has nothing to keep before its end.
    ///
    /// # Errors
    /// [`Error::Interrupted`] where the user stopped it; the work's own.
    pub fn run<R>(&self, work: impl FnOnce() -> Result<R>) -> Result<R> {
        match self.token.guard(work) {
            Ok(done) => done,
            Err(_) => {
                let text = "before there was a result";
                if Target::here() == Target::Kernel {
                    crate::display::interrupted(&format!("stopped by the user {text}"));
                }
                Err(Error::Interrupted(text.into()))
            }
        }
    }
}

/// Runs a long call that has nothing to keep before its end; Stop ends it at its next step.
///
/// # Errors
/// As [`Stoppable::run`].
pub(crate) fn stoppable<R>(work: impl FnOnce() -> Result<R>) -> Result<R> {
    Stoppable::begin().run(work)
}

impl Drop for Stoppable {
    fn drop(&mut self) {
        running().retain(|(number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, since the flags are of the process.
    #[test]
    fn a_request_stops_the_calls_that_run_or_the_next_one_of_the_cell() {
        let first = Stoppable::training();
        let inner = Stoppable::begin();
        assert_eq!(running().len(), 2);
        first.token.cancel();
        INTERRUPTED.store(true, Ordering::Relaxed);
        drop(inner);
        assert_eq!(running().iter().map(|(number, _)| *number).collect::<Vec<_>>(), [first.number]);
        drop(first);
        assert!(stoppable(|| Ok(interrupted())).unwrap(), "what follows a training that was stopped runs");
        assert!(!Stoppable::training().token.is_cancelled() && !interrupted());

        ASKED_BETWEEN.store(true, Ordering::Relaxed);
        assert_eq!(stoppable(|| Ok(())).unwrap_err().to_string(), "stopped by the user before there was a result");
        assert!(stoppable(|| Ok(())).is_ok(), "once");
        ASKED_BETWEEN.store(true, Ordering::Relaxed);
        tutti_notebook_cell(-1);
        assert!(stoppable(|| Ok(())).is_ok(), "a new cell");
        assert!(running().is_empty());
    }

    #[test]
    fn a_panic_is_told_in_its_words() {
        assert_eq!(said(&"index out of bounds"), "index out of bounds");
        assert_eq!(said(&String::from("cell 3")), "cell 3");
        assert_eq!(said(&42), "panic");
    }
}
