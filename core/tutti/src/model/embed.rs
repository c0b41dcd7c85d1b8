//! Cells through a trained network, block by block.

use std::ops::Range;
use std::sync::Arc;

use candle_core::Tensor;
use ndarray::Array2;

use crate::data::{CellSource, Csr, row_blocks};
use crate::error::{Error, Result};
use crate::ops::sparse_batch::SparseBatch;

/// Cells that are embedded at a time; memory is this times the widest layer.
pub const BLOCK: usize = 2048;

/// Calls `f` with the numbers and the rows of each block of cells. `n_genes`: what the model reads.
///
/// # Errors
/// Another number of genes; what the source or `f` fails at.
pub fn each_block(
    source: &dyn CellSource,
    n_genes: usize,
    mut f: impl FnMut(Range<usize>, Arc<SparseBatch>) -> Result<()>,
) -> Result<()> {
    if source.n_genes() != n_genes {
        let problem = format!("the data have {} genes, the model {n_genes}", source.n_genes());
        return Err(Error::data(problem, "put the genes in the model's order with `GeneAlignment`"));
    }
    let mut rows = Csr::empty(n_genes);
    for block in row_blocks(source.n_cells(), BLOCK) {
        source.read_range(block.clone(), &mut rows)?;
        f(block, Arc::new(SparseBatch::without_gradient(std::mem::take(&mut rows))))?;
    }
    Ok(())
}

/// A tensor [n, d] as an array.
///
/// # Errors
/// Where the device fails.
pub fn to_array(x: &Tensor) -> Result<Array2<f32>> {
    let (n, d) = x.dims2()?;
    let values = x.contiguous()?.flatten_all()?.to_vec1()?;
    Array2::from_shape_vec((n, d), values).map_err(|e| Error::data(e.to_string(), "report this"))
}
