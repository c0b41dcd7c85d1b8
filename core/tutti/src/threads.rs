//! Worker pool made per top-level call, never the global one.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::error::{Error, Result};
use crate::observe;

/// A pool of worker threads of a chosen size.
///
/// Results never depend on the size: parallel sums have a fixed order.
#[derive(Debug)]
pub struct Threads {
    pool: rayon::ThreadPool,
}

impl Threads {
    /// A pool of `n_threads` threads; 0 takes as many as there are processors.
    ///
    /// # Errors
    /// [`Error::Threads`] where the system refuses.
    pub fn new(n_threads: usize) -> Result<Self> {
        let n_threads = if n_threads == 0 { Self::available() } else { n_threads };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .thread_name(|i| format!("tutti-{i}"))
            .build()
            .map_err(|e| Error::Threads { n_threads, message: e.to_string() })?;
        Ok(Self { pool })
    }

    /// Processors of this machine that the process may use.
    pub fn available() -> usize {
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
    }

    /// Number of threads in the pool.
    pub fn n_threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs `work` in the pool: all parallel code inside uses it. What guards the call, see [`observe::CancelToken::guard`], guards it there too.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let guard = observe::guard().filter(|_| self.pool.current_thread_index().is_none());
        let Some(token) = guard else { return self.pool.install(work) };
        self.pool.broadcast(|_| observe::replace_guard(Some(token.clone())));
        let outcome = catch_unwind(AssertUnwindSafe(|| self.pool.install(work)));
        self.pool.broadcast(|_| observe::replace_guard(None));
        outcome.unwrap_or_else(|reason| resume_unwind(reason))
    }
}
