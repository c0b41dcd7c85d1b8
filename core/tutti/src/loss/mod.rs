//! Losses: plain functions of tensors, one per file. Weights are applied by [`LossTerms`].

mod cross_entropy;
mod entropy;
mod kl;
mod nt_xent;
mod penalty;
mod reconstruction;
mod terms;

pub use cross_entropy::cross_entropy;
pub use entropy::entropy_penalty;
pub use kl::kl_divergence;
pub use nt_xent::{NtXentConfig, Relation, Relations, nt_xent};
pub use penalty::{Penalty, importance_penalty};
pub use reconstruction::mse;
pub use terms::LossTerms;
