//! Labels and numbers of reference cells for query cells.

use extendr_api::prelude::*;
use tutti::downstream::{ClassEvidence, TransferConfig, annotate, transfer_labels, transfer_values};
use tutti::threads::Threads;

use crate::annotate::{codes, finer, finer_labels, labels_of, named, numbers, split};
use crate::guard::{Failure, guard};
use crate::matrix::{dense, factor, number, to_robj};
use crate::score::metric;

fn config(options: &Robj) -> std::result::Result<TransferConfig, Failure> {
    Ok(TransferConfig { n_neighbors: number(options, "n_neighbors")? as usize, metric: metric(options)?, ..Default::default() })
}

/// Votes of the nearest reference cells. `options`: n_neighbors, metric, threads.
#[extendr]
fn rust_transfer_labels(reference: Robj, labels: Robj, query: Robj, options: Robj) -> Robj {
    guard(|| {
        let (reference, query) = (dense(&reference)?, dense(&query)?);
        let (labels, config) = (factor(&labels)?, config(&options)?);
        let threads = Threads::new(number(&options, "threads")? as usize)?;
        let found = threads.run(|| transfer_labels(reference.view(), &labels, query.view(), &config))?;
        Ok(List::from_pairs([
            ("levels", Robj::from(found.label.levels().to_vec())),
            ("label", codes(&found.label)),
            ("scores", to_robj(&found.scores)),
            ("confidence", numbers(&found.confidence)),
            ("similarity", numbers(&found.mean_similarity)),
            ("novelty", numbers(&found.novelty)),
        ])
        .into())
    })
}

/// Votes with calibrated probabilities and limits: of reference cells that are not held out, on those that are and on the query. `options`: labels,
/// n_neighbors, metric, held_out, seed, false_rejection_rate, reject, min_probability, max_novelty, limits, finer, threads. Beside the names, which reference
/// cells vote.
#[extendr]
fn rust_annotate_votes(reference: Robj, query: Robj, options: Robj) -> Robj {
    guard(|| {
        let (reference, query) = (dense(&reference)?, dense(&query)?);
        let (labels, seed) = (labels_of(&options)?, number(&options, "seed")? as u64);
        let split = split(&labels, number(&options, "held_out")?, seed)?;
        let (transfer, config) = (TransferConfig { seed, ..config(&options)? }, crate::annotate::config(&options)?);
        let of_reference = finer_labels(&options)?;
        let (found, finer) = Threads::new(number(&options, "threads")? as usize)?.run(|| -> tutti::Result<_> {
            let evidence = ClassEvidence::of_neighbors(reference.view(), &labels, &split, query.view(), &transfer)?;
            let found = annotate(&evidence, &config)?;
            let parts = (reference.view(), query.view());
            let finer = finer(of_reference.as_ref(), parts, &labels, &split, &found.query.label, &transfer)?;
            Ok((found, finer))
        })?;
        let voters = split.train.iter().map(|i| *i as i32 + 1).collect::<Vec<_>>();
        Ok(List::from_pairs([("named", named(&found, finer.as_ref())), ("voters", voters.into())]).into())
    })
}

/// Weighted means of the nearest reference cells' values, one row per query cell. `options`: n_neighbors, metric, threads.
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
    fn rust_annotate_votes;
    fn rust_transfer_values;
}
