//! From counts to what a system trains on. Nothing changes the caller's data.

mod filter;
mod hvg;
mod loess;
mod lsi;
mod normalize;
mod pca;
mod prepare;
mod tfidf;
mod values;

pub use filter::{CellFilter, GeneFilter, gene_means, keep_cells, keep_genes};
pub use hvg::{HvgConfig, HvgFlavor, HvgResult, highly_variable_genes};
pub use lsi::{Lsi, LsiConfig, lsi};
pub use normalize::{Normalized, TargetSum, to_memory};
pub(crate) use pca::product;
pub use pca::{Pca, PcaConfig, pca};
pub use prepare::{Origin, PrepareConfig, Prepared, Preprocessing, Query, checked_values, prepare, prepare_query};
pub use tfidf::{IdfWeights, TfIdf};
pub use values::{ValueKind, ValueSummary, summarise};
