//! What is done with an embedding.

mod cluster;
mod communities;
mod hierarchy;
mod label_transfer;
mod pseudotime;
mod umap;

pub use cluster::{KMeans, KMeansConfig, k_means};
pub use communities::{Communities, CommunityConfig, leiden, leiden_at, louvain, modularity};
pub use hierarchy::{Hierarchy, Linkage, Merge, RowDistance, hierarchical};
pub use label_transfer::{
    ClassFound, LabelTransfer, NeighborWeights, Rejection, TransferConfig, transfer_labels, transfer_values,
};
pub use pseudotime::{diffusion_pseudotime, graph_pseudotime, medoid};
pub use umap::{UmapConfig, umap, umap_of_graph};
