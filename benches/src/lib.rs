//! Data made for the benches.
