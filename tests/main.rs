//! Tests that need several crates.

mod attribution;
mod communities;
mod gene_activity;
mod label_transfer;
mod layering;
mod lineages;
mod metrics;
mod palettes;
mod preprocess;
mod readers;
mod round_trip;
mod simulate;

mod systems;

use std::path::PathBuf;

/// The folder of real data beside the repository; `None`, with a note, where it is absent.
fn shared_data() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: there is no {}", folder.display());
    None
}
