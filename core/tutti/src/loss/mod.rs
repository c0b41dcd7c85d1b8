//! Losses: plain functions of tensors, one per file. Weights are applied by [`LossTerms`].

mod alignment;
mod center;
mod cross_entropy;
mod entropy;
mod kl;
mod nt_xent;
mod penalty;
mod projection;
mod reconstruction;
mod terms;

pub use alignment::{AlignmentNegatives, top_p_cosine_alignment};
pub use center::{moved_centers, normalized_gate, sparse_center};
pub use cross_entropy::cross_entropy;
pub use entropy::entropy_penalty;
pub use kl::kl_divergence;
pub use nt_xent::{NtXentConfig, Relation, Relations, nt_xent};
pub use penalty::{Penalty, importance_penalty, mean_absolute};
pub use projection::projection_regularization;
pub use reconstruction::mse;
pub use terms::LossTerms;
