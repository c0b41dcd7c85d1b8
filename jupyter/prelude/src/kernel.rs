//! What the process that runs the cells needs once: settings of libraries, a panic hook, and Ctrl-C as a flag.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use tutti::observe::CancelToken;

use crate::display::{Target, panicked};

/// Whether the user asked to stop, since the last call began.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// What stops the call that runs now; `None` between calls.
static RUNNING: Mutex<Option<CancelToken>> = Mutex::new(None);

/// Prepares the process that runs the cells of a notebook; the kernel calls it once, when it has loaded this library.
///
/// Settings of candle and HDF5 that can be made by the environment alone, where the user has made none; a panic hook that tells the kernel
/// message and place in one line; Ctrl-C stops a training at its next step and ends nothing.
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
            let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
            match &*running {
                Some(token) => token.cancel(),
                None if Target::here() == Target::Console => std::process::exit(130),
                None => {}
            }
        });
    });
}

/// Whether the user pressed stop (or Ctrl-C) since the last long call began; for loops of your own in a cell.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// A call that Ctrl-C stops, for as long as this value lives.
pub(crate) struct Stoppable {
    pub token: CancelToken,
}

impl Stoppable {
    /// Forgets what was asked for before.
    pub fn begin() -> Self {
        listen();
        let token = CancelToken::default();
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        INTERRUPTED.store(false, Ordering::Relaxed);
        Self { token }
    }
}

impl Drop for Stoppable {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_request_does_not_stop_the_next_call() {
        let first = Stoppable::begin();
        first.token.cancel();
        INTERRUPTED.store(true, Ordering::Relaxed);
        drop(first);
        let second = Stoppable::begin();
        assert!(!second.token.is_cancelled() && !interrupted());
    }

    #[test]
    fn a_panic_is_told_in_its_words() {
        assert_eq!(said(&"index out of bounds"), "index out of bounds");
        assert_eq!(said(&String::from("cell 3")), "cell 3");
        assert_eq!(said(&42), "panic");
    }
}
