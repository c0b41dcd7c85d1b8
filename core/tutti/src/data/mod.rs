//! Cells, their matrix and their labels, checked once.

mod align;
mod batch;
mod categorical;
mod cells;
mod csr;
mod lineages;
mod orthologues;
mod source;
mod stack;

pub use align::GeneAlignment;
pub use batch::Batch;
pub use categorical::Categorical;
pub use cells::Cells;
pub use csr::{Csr, CsrView, Indices, Offsets, Values};
pub use lineages::{LineageSummary, Lineages};
pub use orthologues::{OrthologueSummary, Orthologues};
pub use source::{CellSource, GeneSubset, RowSubset, row_blocks};
pub use stack::Stacked;
