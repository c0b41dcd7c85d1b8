//! Matrices whose values R does not hold, such as those on disk: they come over by blocks of cells.

use std::sync::Arc;

use extendr_api::prelude::*;
use tutti::data::{CellSource, Csr};

use crate::guard::{Failure, guard};
use crate::matrix::view;

type Outcome<T> = std::result::Result<T, Failure>;

/// What has come over: each block exactly as large as its values, 8 bytes each. One matrix that grows would be copied as it does.
#[derive(Default)]
pub struct Blocks(Vec<Arc<Csr>>);

impl Blocks {
    /// The blocks behind a pointer, in their order, each a source of cells; `None` for any other value.
    pub fn of(robj: &Robj) -> Outcome<Option<Vec<Arc<dyn CellSource>>>> {
        if !robj.is_external_pointer() {
            return Ok(None);
        }
        let blocks: ExternalPtr<Self> = robj.clone().try_into()?;
        Ok(Some(blocks.try_addr()?.0.iter().map(|block| block.clone() as Arc<dyn CellSource>).collect()))
    }
}

/// A matrix without cells yet.
#[extendr]
fn rust_blocks() -> Robj {
    guard(|| Ok(ExternalPtr::new(Blocks::default()).into()))
}

/// Copies the next cells, a dgCMatrix of genes x cells.
#[extendr]
fn rust_blocks_push(pointer: Robj, block: Robj) -> Robj {
    guard(|| {
        let mut blocks: ExternalPtr<Blocks> = pointer.try_into()?;
        blocks.try_addr_mut()?.0.push(Arc::new(view(&block)?.to_csr()));
        Ok(().into())
    })
}

extendr_module! {
    mod blocks;
    fn rust_blocks;
    fn rust_blocks_push;
}
