//! What the R package calls: conversion of R's values and calls of the core. No arithmetic of its own.

// The functions that extendr's macros write have no documentation; R's pages are in `R/`.
#![allow(missing_docs)]

mod annotate;
mod blocks;
mod cellpredx;
mod guard;
mod info;
mod json;
mod lcl;
mod matrix;
mod model;
mod peaks;
mod score;
mod simulate;
mod train;
mod transfer;

use extendr_api::prelude::*;

/// As in the command line: the system's allocator costs a quarter of the training speed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

extendr_module! {
    mod tutti;
    use blocks;
    use cellpredx;
    use info;
    use lcl;
    use model;
    use peaks;
    use score;
    use simulate;
    use train;
    use transfer;
}
