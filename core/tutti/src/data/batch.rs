//! Rows of a mini-batch, gathered.

use super::Csr;

/// A mini-batch as read from its source, or several of the same size stacked.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Expression, [n_rows, n_genes].
    pub rows: Csr,
    /// Row number of each cell in its source.
    pub indices: Vec<usize>,
    /// Number of pairs of each mini-batch: its rows i and n_pairs + i belong together for each i below it; what follows are cells of no pair.
    pub n_pairs: usize,
    /// Mini-batches in the rows, one after the other; 1 unless the system stacks them.
    pub n_stacked: usize,
    /// Whether gradients will be asked for.
    pub is_trained: bool,
}
