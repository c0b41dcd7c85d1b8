//! Files in.

use std::path::{Path, PathBuf};

use tutti_io::{Backed, ReadOptions};

use crate::cells::Cells;
use crate::error::Result;

/// Reads a file, whatever its format: h5ad, 10x h5, a 10x folder, MatrixMarket, CSV, TSV or Parquet.
///
/// # Errors
/// Each names the file, the place in it and what to do.
pub fn read(path: impl AsRef<Path>) -> Result<Cells> {
    read_with(path).run()
}

/// As [`read()`], with options: `read_with("f.h5ad").layer("counts").run()?`.
pub fn read_with(path: impl AsRef<Path>) -> Reading {
    Reading { path: path.as_ref().to_owned(), options: ReadOptions::default() }
}

/// How a file is to be read; [`Reading::run`] reads it.
#[derive(Debug, Clone)]
pub struct Reading {
    path: PathBuf,
    options: ReadOptions,
}

impl Reading {
    /// Layer of an h5ad file to read instead of X.
    pub fn layer(mut self, name: &str) -> Reading {
        self.options.layer = Some(name.to_owned());
        self
    }

    /// Reads `raw` of an h5ad file instead of X.
    pub fn raw(mut self) -> Reading {
        self.options.raw = true;
        self
    }

    /// Genome of a 10x file that holds several.
    pub fn genome(mut self, name: &str) -> Reading {
        self.options.genome = Some(name.to_owned());
        self
    }

    /// Leaves the matrix of an h5ad file on the disk and reads each mini-batch from there, for files larger than memory. Without it, this is done
    /// above 200 million values.
    pub fn backed(mut self) -> Reading {
        self.options.backed = Backed::Always;
        self
    }

    /// Leaves the matrix of an h5ad file out: names, obs, var and obsm only, e.g. to score embeddings.
    pub fn without_x(mut self) -> Reading {
        self.options.without_x = true;
        self
    }

    /// Reads the file.
    ///
    /// # Errors
    /// As [`read()`].
    pub fn run(&self) -> Result<Cells> {
        Ok(Cells::of_file(tutti_io::read(&self.path, &self.options)?))
    }
}
