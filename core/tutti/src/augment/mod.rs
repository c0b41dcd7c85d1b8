//! Random views and mixtures of cells.

mod doublets;
mod mask;

pub use doublets::{DoubletConfig, Doublets, synthetic_doublets};
pub use mask::RandomMask;
