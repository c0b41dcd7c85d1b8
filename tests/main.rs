//! Tests that need several crates.

mod layering;
