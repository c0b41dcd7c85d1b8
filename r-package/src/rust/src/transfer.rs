//! Labels and numbers of reference cells for query cells.

use extendr_api::prelude::*;
use tutti::downstream::{TransferConfig, transfer_labels, transfer_values};
use tutti::threads::Threads;

use crate::guard::{Failure, guard};
use crate::matrix::{dense, factor, number, to_robj};

fn config(options: &Robj) -> std::result::Result<TransferConfig, Failure> {
    Ok(TransferConfig { n_neighbors: number(options, "n_neighbors")? as usize, ..Default::default() })
}

/// Votes of the nearest reference cells. `options`: n_neighbors, threads.
#[extendr]
fn rust_transfer_labels(reference: Robj, labels: Robj, query: Robj, options: Robj) -> Robj {
    guard(|| {
        let (reference, query) = (dense(&reference)?, dense(&query)?);
        let (labels, config) = (factor(&labels)?, config(&options)?);
        let threads = Threads::new(number(&options, "threads")? as usize)?;
        let found = threads.run(|| transfer_labels(reference.view(), &labels, query.view(), &config))?;
        let numbers = |values: &[f32]| Robj::from(values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
        Ok(List::from_pairs([
            ("levels", Robj::from(found.label.levels().to_vec())),
            ("label", found.label.codes().iter().map(|c| c.map(|c| c as i32 + 1)).collect::<Vec<Option<i32>>>().into()),
            ("scores", to_robj(&found.scores)),
            ("confidence", numbers(&found.confidence)),
            ("similarity", numbers(&found.mean_similarity)),
            ("novelty", numbers(&found.novelty)),
        ])
        .into())
    })
}

/// Weighted means of the nearest reference cells' values, one row per query cell. `options`: n_neighbors, threads.
#[extendr]
fn rust_transfer_values(reference: Robj, values: Robj, query: Robj, options: Robj) -> Robj {
    guard(|| {
        let (reference, values, query) = (dense(&reference)?, dense(&values)?, dense(&query)?);
        let config = config(&options)?;
        let threads = Threads::new(number(&options, "threads")? as usize)?;
        let found = threads.run(|| transfer_values(reference.view(), values.view(), query.view(), &config))?;
        Ok(to_robj(&found))
    })
}

extendr_module! {
    mod transfer;
    fn rust_transfer_labels;
    fn rust_transfer_values;
}
