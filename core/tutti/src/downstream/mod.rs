//! What is done with an embedding.

mod cluster;

pub use cluster::{KMeans, KMeansConfig, k_means};
