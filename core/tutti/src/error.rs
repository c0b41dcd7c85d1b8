//! What can go wrong, named after the user's thing and with the way out.

use std::path::PathBuf;

/// Result of every fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything the library can refuse or fail at.
///
/// The variants are what a caller could handle apart; both bindings turn the variant into a class of their language.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option or argument outside its range, or without effect in its combination.
    #[error("`{argument}` {problem}; {fix}")]
    Argument {
        /// Name of the option, as the user writes it.
        argument: String,
        /// What is wrong, with the value seen.
        problem: String,
        /// What to do instead.
        fix: String,
    },
    /// A matrix that is no valid expression matrix: wrong shape, unsorted columns, a value that is not finite.
    #[error("invalid matrix: {problem}; {fix}")]
    Matrix {
        /// What is wrong, with the cell and the gene where there is one.
        problem: String,
        /// What to do instead.
        fix: String,
    },
    /// A value of one cell and gene that the method cannot use.
    #[error("{what} for cell {cell} and gene {gene}; {fix}")]
    Value {
        /// What was found, e.g. `value NaN`.
        what: String,
        /// Name of the cell, or its row number.
        cell: String,
        /// Name of the gene, or its column number.
        gene: String,
        /// What to do instead.
        fix: String,
    },
    /// Tables or names that do not belong together.
    #[error("{problem}; {fix}")]
    Data {
        /// What is wrong.
        problem: String,
        /// What to do instead.
        fix: String,
    },
    /// The genes of a query cover too little of the reference.
    #[error(
        "the query has only {shared} of the model's {total} genes ({percent:.1} %, at least {required:.1} % are needed); first missing: {first_missing}; check that both use the same kind of gene name"
    )]
    GeneOverlap {
        /// Genes found in the query.
        shared: usize,
        /// Genes of the model.
        total: usize,
        /// `shared / total` in percent.
        percent: f64,
        /// Smallest share accepted, in percent.
        required: f64,
        /// A few names that were looked for.
        first_missing: String,
    },
    /// A loss or gradient became NaN or infinite. The last good weights are kept.
    #[error(
        "the {term} became {value} in epoch {epoch}, step {step}; the weights of the last good step are kept. Lower `lr`, set `clip_norm`, or check that the input is log-normalised"
    )]
    NonFinite {
        /// Name of the loss term, or `gradient`.
        term: String,
        /// NaN or infinity, as text.
        value: String,
        /// Epoch, from 1.
        epoch: usize,
        /// Step within the epoch, from 1.
        step: usize,
    },
    /// A model or checkpoint file that cannot be used.
    #[error("{path}: {problem}; {fix}")]
    ModelFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What to do instead.
        fix: String,
    },
    /// Reading cells from a source outside of this crate failed.
    #[error("{message}")]
    Source {
        /// What failed, naming the file.
        message: String,
        /// The underlying error.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A tensor operation failed: a defect of this library or a lack of memory, not of the input.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// A matrix factorisation did not succeed.
    #[error("matrix factorisation failed: {0}")]
    Linalg(#[from] ndarray_linalg::error::LinalgError),
    /// The caller asked a call to end before it had a result, see [`crate::observe::CancelToken::guard`].
    #[error("stopped before there was a result")]
    Stopped,
    /// The thread pool could not be started.
    #[error("could not start {n_threads} threads: {message}; ask for fewer with `threads`")]
    Threads {
        /// Threads asked for.
        n_threads: usize,
        /// What the system said.
        message: String,
    },
}

impl Error {
    /// An [`Error::Argument`].
    pub fn argument(argument: impl Into<String>, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Argument { argument: argument.into(), problem: problem.into(), fix: fix.into() }
    }

    /// An [`Error::Data`].
    pub fn data(problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Data { problem: problem.into(), fix: fix.into() }
    }

    /// An [`Error::Matrix`].
    pub fn matrix(problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Matrix { problem: problem.into(), fix: fix.into() }
    }
}
