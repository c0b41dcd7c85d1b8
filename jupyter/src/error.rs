//! What can go wrong outside of a cell.

use std::path::PathBuf;

/// Result of this program.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure, with the way out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The prelude is not there.
    #[error("the prelude is not installed in {} ({problem}); run `tutti-jupyter install`", folder.display())]
    NotInstalled {
        /// Where it should be.
        folder: PathBuf,
        /// What was found.
        problem: String,
    },
    /// Rust was updated after the prelude was built.
    #[error("the prelude was built by {built}, and Rust is now {now}; run `tutti-jupyter install` again")]
    OtherCompiler {
        /// Compiler of the prelude.
        built: String,
        /// Compiler of today.
        now: String,
    },
    /// The prelude could not be built.
    #[error("{0}")]
    Build(String),
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The kernel's connection file is not one.
    #[error("{} is no connection file of Jupyter: {problem}", path.display())]
    Connection {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// evcxr could not start.
    #[error("evcxr could not start: {0}")]
    Evcxr(String),
    /// A socket of Jupyter's failed.
    #[error("connection to Jupyter: {0}")]
    Jupyter(#[from] jupyter_zmq_client::RuntimeError),
}
