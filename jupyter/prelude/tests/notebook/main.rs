//! The prelude as a notebook uses it.

mod annotation;
mod errors;
mod kernel;
mod lineages;
mod numbers;
mod verbs;

use tutti_notebook::*;

/// Five clusters in two batches, small.
fn clusters() -> Cells {
    simulate_with("five_clusters_two_batches").n_cells(400).n_genes(100).run().unwrap()
}

/// A training of seconds.
fn short(cells: &Cells) -> ConcordRun {
    concord(cells).batch("batch").n_epochs(4).latent_dim(16).set("encoder_dims", vec![64]).batch_size(64)
}
