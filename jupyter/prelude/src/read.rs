//! Files in.

use std::path::{Path, PathBuf};

use tutti_io::{Backed, ReadOptions};

use crate::builder::changed;
use crate::cells::Cells;
use crate::error::Result;
use crate::kernel::stoppable;

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
    pub fn layer(&self, name: &str) -> Reading {
        changed(self, |run| run.options.layer = Some(name.to_owned()))
    }

    /// Reads `raw` of an h5ad file instead of X.
    pub fn raw(&self) -> Reading {
        changed(self, |run| run.options.raw = true)
    }

    /// Genome of a 10x file that holds several.
    pub fn genome(&self, name: &str) -> Reading {
        changed(self, |run| run.options.genome = Some(name.to_owned()))
    }

    /// Leaves the matrix of an h5ad file on the disk and reads each mini-batch from there, for files larger than memory. Without it, this is done
    /// above 200 million values.
    pub fn backed(&self) -> Reading {
        changed(self, |run| run.options.backed = Backed::Always)
    }

    /// Leaves the matrix of an h5ad file out: names, obs, var and obsm only, e.g. to score embeddings.
    pub fn without_x(&self) -> Reading {
        changed(self, |run| run.options.without_x = true)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// As [`read()`].
    pub fn run(&self) -> Result<Cells> {
        stoppable(|| Ok(Cells::of_file(tutti_io::read(&self.path, &self.options)?)))
    }
}
