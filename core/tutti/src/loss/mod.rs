//! Losses: plain functions of tensors, one per file. Weights are applied by [`LossTerms`].

mod cross_entropy;
mod nt_xent;
mod penalty;
mod reconstruction;
mod terms;

pub use cross_entropy::cross_entropy;
pub use nt_xent::{NtXentConfig, nt_xent};
pub use penalty::{Penalty, importance_penalty};
pub use reconstruction::mse;
pub use terms::LossTerms;
