//! Contrastive and metric learning for single-cell data.

pub mod data;
pub mod error;
pub mod loss;
pub mod nn;
pub mod observe;
pub mod ops;
pub mod optim;
pub mod rng;
pub mod simulate;
pub mod threads;

pub use error::{Error, Result};
