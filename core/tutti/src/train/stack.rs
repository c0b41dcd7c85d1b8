//! Mini-batches that pass the network together.

use crate::data::{Batch, Cells, Csr};
use crate::error::Result;
use crate::model::System;
use crate::nn::Draws;
use crate::sampler::{MiniBatch, MiniBatches};

/// Rows of stacked mini-batches at most: beyond it nothing is gained and memory grows.
const MOST_STACKED_ROWS: usize = 2048;

/// A mini-batch, or several of the same size that pass the network together.
pub(super) struct Stack {
    indices: Vec<usize>,
    n_pairs: usize,
    n_stacked: usize,
}

impl Stack {
    pub fn of(batch: MiniBatch) -> Self {
        Self { indices: batch.rows, n_pairs: batch.n_pairs, n_stacked: 1 }
    }

    /// The next mini-batches, `most` at most, one at least; `None` after the last.
    pub fn draw(batches: &mut MiniBatches, most: usize) -> Option<Self> {
        let mut stack = Self::of(batches.next()?);
        let n_rows = stack.indices.len();
        while stack.n_stacked < most
            && stack.indices.len() + n_rows <= MOST_STACKED_ROWS
            && let Some(next) = batches.next_if(|next| (next.rows.len(), next.n_pairs) == (n_rows, stack.n_pairs))
        {
            stack.indices.extend(next.rows);
            stack.n_stacked += 1;
        }
        Some(stack)
    }
}

/// What a system made of a [`Stack`], and how many mini-batches and cells that were.
pub(super) struct Ready<P> {
    pub prepared: P,
    pub n_steps: usize,
    pub n_cells: usize,
}

/// Reads the rows and lets the system make them ready.
pub(super) fn prepare<S: System>(system: &S, cells: &Cells<'_>, stack: Stack, draws: &Draws) -> Result<Ready<S::Prepared>> {
    let Stack { indices, n_pairs, n_stacked } = stack;
    let n_cells = indices.len();
    let mut rows = Csr::empty(cells.n_genes());
    cells.source().read_rows(&indices, &mut rows)?;
    let prepared = system.prepare(Batch { rows, indices, n_pairs, n_stacked }, draws)?;
    Ok(Ready { prepared, n_steps: n_stacked, n_cells })
}
