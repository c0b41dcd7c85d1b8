//! The five systems, each a composition of the blocks of this crate.

pub mod cellpredx;
pub mod concerto;
pub mod concord;
pub mod lcl;
