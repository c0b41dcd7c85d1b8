//! Single-cell files: h5ad, 10x, MatrixMarket, CSV, TSV and Parquet in; h5ad and tables out.
//!
//! [`read`] picks the reader by what the file is. Values become 32-bit floats; cell and gene names are made unique; what is not read
//! is said in [`AnnData::notes`].

mod anndata;
mod assemble;
mod backed;
mod column;
mod embedding;
mod environment;
mod error;
mod genes;
mod h5ad;
mod mtx;
mod names;
mod pairs;
mod table;
mod tenx;

pub use anndata::{AnnData, Backed, Matrix, ReadOptions, read};
pub use backed::BackedH5ad;
pub use environment::set_library_defaults;
pub use error::{Error, Result};
pub use genes::read_genes;
pub use h5ad::{Additions, ObsColumn, add_to_copy, write_expression, write_h5ad, write_layers};
pub use pairs::{read_markers, read_orthologues};
pub use table::{write_embedding, write_table};
