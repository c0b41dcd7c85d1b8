//! Mini-batches that pass the network together.

use crate::data::{Batch, Cells, Csr};
use crate::error::Result;
use crate::model::System;
use crate::nn::Draws;
use crate::sampler::{MiniBatch, MiniBatches};

/// Rows of stacked mini-batches at most, which bounds the memory of their activations.
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

/// What a mini-batch is prepared for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Training,
    Validation,
}

/// Reads the rows and lets the system make them ready.
pub(super) fn prepare<S: System>(
    system: &S,
    cells: &Cells<'_>,
    stack: Stack,
    purpose: Purpose,
    draws: &Draws,
) -> Result<Ready<S::Prepared>> {
    let Stack { indices, n_pairs, n_stacked } = stack;
    let n_cells = indices.len();
    let mut rows = Csr::empty(cells.n_genes());
    cells.source().read_rows(&indices, &mut rows)?;
    let prepared =
        system.prepare(Batch { rows, indices, n_pairs, n_stacked, is_trained: purpose == Purpose::Training }, draws)?;
    Ok(Ready { prepared, n_steps: n_stacked, n_cells })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_mini_batches_are_stacked_in_order_up_to_the_limits_and_none_is_lost() {
        let batch = |first: usize, n: usize, n_pairs: usize| MiniBatch {
            rows: (first..first + n).collect(),
            n_pairs,
            ..Default::default()
        };
        let sizes = |batches: Vec<MiniBatch>, most: usize| {
            let all: Vec<usize> = batches.iter().flat_map(|b| b.rows.clone()).collect();
            let mut batches: MiniBatches = batches.into();
            let (mut sizes, mut seen) = (Vec::new(), Vec::new());
            while let Some(stack) = Stack::draw(&mut batches, most) {
                sizes.push(stack.n_stacked);
                seen.extend(stack.indices);
                assert_eq!(batches.len() + sizes.iter().sum::<usize>(), 5);
            }
            assert_eq!(seen, all);
            sizes
        };
        let equal = |n: usize| (0..5).map(|i| batch(n * i, n, 2)).collect::<Vec<_>>();
        assert_eq!(sizes(equal(10), 3), [3, 2]);
        assert_eq!(sizes(equal(10), 1), [1; 5]);
        // Two of 900 rows are below the limit, three are not.
        assert_eq!(sizes(equal(900), 5), [2, 2, 1]);
        assert_eq!(sizes(equal(3000), 5), [1; 5]);
        let mixed = vec![batch(0, 9, 2), batch(9, 9, 2), batch(18, 9, 3), batch(27, 8, 3), batch(35, 8, 3)];
        assert_eq!(sizes(mixed, 5), [2, 1, 2]);
    }
}
