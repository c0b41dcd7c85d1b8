//! What is done with an embedding.

mod cluster;
mod communities;
mod differential;
mod fate;
mod fate_prediction;
mod hierarchy;
mod integrated_gradients;
mod label_transfer;
mod lineage_pairs;
mod pseudotime;
mod umap;

pub use cluster::{KMeans, KMeansConfig, k_means};
pub use communities::{Communities, CommunityConfig, leiden, leiden_at, louvain, modularity};
pub use differential::{GeneTest, markers, wilcoxon};
pub use fate::{FateConfig, FateDecoder, FateTargets, FateTimes};
pub use fate_prediction::{FatePrediction, HeldOutFates, predict_fates};
pub use hierarchy::{Hierarchy, Linkage, Merge, RowDistance, hierarchical};
pub use integrated_gradients::{
    Attribution, Baseline, GradientConfig, LineageGenes, LineageGenesConfig, Target, centroid, integrated_gradients,
    lineage_genes,
};
pub use label_transfer::{
    ClassFound, LabelTransfer, NeighborWeights, Rejection, TransferConfig, transfer_labels, transfer_values,
};
pub use lineage_pairs::{LineagePairConfig, PairVotes, SizeRule, lineage_pairs};
pub use pseudotime::{diffusion_pseudotime, graph_pseudotime, medoid};
pub use umap::{UmapConfig, umap, umap_of_graph};
