//! From counts to what a system trains on. Nothing changes the caller's data.

mod filter;
mod gene_activity;
mod hvg;
mod loess;
mod lsi;
mod normalize;
mod pair;
mod pca;
mod prepare;
mod tfidf;
mod values;

pub use filter::{CellFilter, GeneFilter, gene_means, keep_cells, keep_genes};
pub use gene_activity::{Gene, GeneActivity, GeneActivityConfig, GeneActivitySummary, Interval, Strand};
pub use hvg::{HvgConfig, HvgFlavor, HvgResult, highly_variable_genes};
pub use lsi::{Lsi, LsiConfig, lsi};
pub use normalize::{Binarized, Normalized, TargetSum, to_memory};
pub use pair::{PAIR_BATCH, Pair, PairConfig, PairGenes, prepare_pair};
pub(crate) use pca::product;
pub use pca::{Pca, PcaConfig, pca};
pub use prepare::{Normalization, Origin, PrepareConfig, Prepared, Preprocessing, Query, checked_values, prepare, prepare_query};
pub use tfidf::{IdfWeights, TfIdf};
pub use values::{ValueKind, ValueSummary, summarise};
