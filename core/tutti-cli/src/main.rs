//! Command line of tutti.
fn main() {}
