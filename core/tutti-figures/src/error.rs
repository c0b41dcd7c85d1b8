//! What can go wrong with a figure.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a figure was not made or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data cannot be drawn.
    #[error("{problem}; {fix}")]
    Data {
        /// What is wrong, and where.
        problem: String,
        /// The way out.
        fix: String,
    },
    /// A file cannot be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The drawing could not be turned into an image.
    #[error("the figure cannot be rendered: {0}")]
    Render(String),
}

impl Error {
    pub(crate) fn data(problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Data { problem: problem.into(), fix: fix.into() }
    }
}
