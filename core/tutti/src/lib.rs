//! Contrastive and metric learning for single-cell data.

pub mod data;
pub mod error;
pub mod observe;
pub mod rng;
pub mod simulate;
pub mod threads;

pub use error::{Error, Result};
