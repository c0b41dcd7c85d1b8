//! What is done with an embedding.

mod cluster;
mod umap;

pub use cluster::{KMeans, KMeansConfig, k_means};
pub use umap::{UmapConfig, umap, umap_of_graph};
