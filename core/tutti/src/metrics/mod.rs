//! How good an embedding is, one metric per file.

mod neighborhood;
mod report;
mod silhouette;

pub use neighborhood::{knn_purity, same_batch_ratio};
pub use report::{ScoreConfig, Scores, score};
pub use silhouette::{batch_silhouette, label_silhouette, silhouette_samples};
