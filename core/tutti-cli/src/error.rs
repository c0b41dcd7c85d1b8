//! Errors of the command line, and the exit code of each kind.

/// What can stop a command.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The arguments do not make sense together.
    #[error("{0}")]
    Usage(String),
    /// The science refused or failed.
    #[error("{0}")]
    Science(#[from] tutti::Error),
    /// A file could not be read or written.
    #[error("{0}")]
    File(#[from] tutti_io::Error),
    /// A figure could not be drawn or written.
    #[error("{0}")]
    Figure(#[from] tutti_figures::Error),
    /// Stopped by the user; what was trained is written.
    #[error("stopped by the user after {epochs} epochs; what was trained so far is in {output}")]
    Interrupted {
        /// Whole epochs that were trained.
        epochs: usize,
        /// The output file.
        output: String,
    },
    /// Training broke off; the last good weights are written.
    #[error("{source} (the embedding of the last good weights is in {output})")]
    Training {
        /// Why.
        source: tutti::Error,
        /// The output file.
        output: String,
    },
}

/// Names the file that data at fault came from.
pub trait InFile<T> {
    /// As it is, with the file before what it says of data; arguments at fault are named without.
    fn in_file(self, path: &std::path::Path) -> std::result::Result<T, CliError>;
}

impl<T> InFile<T> for tutti::Result<T> {
    fn in_file(self, path: &std::path::Path) -> std::result::Result<T, CliError> {
        self.map_err(|source| match source {
            tutti::Error::Data { .. } | tutti::Error::GeneOverlap { .. } => {
                CliError::File(tutti_io::Error::Content { path: path.to_owned(), source })
            }
            source => CliError::Science(source),
        })
    }
}

impl CliError {
    /// 2: arguments; 3: input; 4: training broke off; 130: interrupted; 1: everything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Science(tutti::Error::Argument { .. }) => 2,
            Self::File(_) | Self::Figure(_) => 3,
            Self::Science(tutti::Error::Data { .. } | tutti::Error::Value { .. } | tutti::Error::Matrix { .. }) => 3,
            Self::Science(tutti::Error::GeneOverlap { .. } | tutti::Error::ModelFile { .. } | tutti::Error::Io { .. }) => 3,
            Self::Training { .. } => 4,
            Self::Interrupted { .. } => 130,
            Self::Science(_) => 1,
        }
    }
}
