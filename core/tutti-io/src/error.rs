//! What can go wrong with a file.

use std::path::{Path, PathBuf};

/// Result of every fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that reading and writing can fail at; each names the file and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is there but its content is not what it should be.
    #[error("{path}: {problem}; {fix}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the place in the file.
        problem: String,
        /// What to do instead.
        fix: String,
    },
    /// A value that is not finite.
    #[error(
        "{path}: value {value} of cell number {} and gene number {}; replace it by a finite number or leave the cell out", cell + 1, gene + 1
    )]
    Value {
        /// The file.
        path: PathBuf,
        /// The value.
        value: f32,
        /// Number of the cell, from 0.
        cell: usize,
        /// Number of the gene, from 0.
        gene: usize,
    },
    /// The HDF5 library refused.
    #[error("{path}: {context}: {source}")]
    Hdf5 {
        /// The file.
        path: PathBuf,
        /// What was being read or written.
        context: String,
        /// The library's error.
        #[source]
        source: hdf5::Error,
    },
    /// The system refused.
    #[error("{path}: {}", refusal(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// A table could not be read or written.
    #[error("{path}: {source}")]
    Table {
        /// The file.
        path: PathBuf,
        /// The table library's error.
        #[source]
        source: polars::error::PolarsError,
    },
    /// The matrix or its names are refused by the science crate.
    #[error("{path}: {source}")]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: tutti::Error,
    },
}

/// What the system said, with the way out where it is known.
fn refusal(source: &std::io::Error) -> String {
    match source.kind() {
        std::io::ErrorKind::NotFound => "No such file or directory; check the name".to_owned(),
        std::io::ErrorKind::PermissionDenied => "no permission; check who may read and write here".to_owned(),
        _ => source.to_string(),
    }
}

impl Error {
    pub(crate) fn format(path: &Path, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Format { path: path.to_owned(), problem: problem.into(), fix: fix.into() }
    }
}

/// Adds the file to an error of another library.
pub(crate) trait InFile<T> {
    /// `context` says what was being done.
    fn in_file(self, path: &Path, context: &str) -> Result<T>;
}

impl<T> InFile<T> for hdf5::Result<T> {
    fn in_file(self, path: &Path, context: &str) -> Result<T> {
        self.map_err(|source| Error::Hdf5 { path: path.to_owned(), context: context.to_owned(), source })
    }
}

impl<T> InFile<T> for std::io::Result<T> {
    fn in_file(self, path: &Path, _context: &str) -> Result<T> {
        self.map_err(|source| Error::Io { path: path.to_owned(), source })
    }
}

impl<T> InFile<T> for polars::error::PolarsResult<T> {
    fn in_file(self, path: &Path, _context: &str) -> Result<T> {
        self.map_err(|source| Error::Table { path: path.to_owned(), source })
    }
}

impl<T> InFile<T> for tutti::Result<T> {
    fn in_file(self, path: &Path, _context: &str) -> Result<T> {
        self.map_err(|source| Error::Content { path: path.to_owned(), source })
    }
}

impl From<Error> for tutti::Error {
    fn from(error: Error) -> Self {
        Self::Source { message: error.to_string(), source: Some(Box::new(error)) }
    }
}
