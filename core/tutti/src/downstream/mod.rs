//! What is done with an embedding.

mod annotate;
mod annotation;
mod calibration;
mod cluster;
mod communities;
mod determinants;
mod differential;
mod evidence;
mod fate;
mod fate_prediction;
mod hierarchy;
mod hold_out;
mod integrated_gradients;
mod label_hierarchy;
mod label_transfer;
mod limits;
mod lineage_genes;
mod lineage_pairs;
mod pseudotime;
mod rejection;
mod smoothing;
mod umap;

pub use annotate::{AnnotateConfig, Annotated, Limit, annotate};
pub use annotation::{Annotations, CellAnnotation, UnknownReason};
pub use calibration::{TEMPERATURES, Temperature, fit_temperature, log_probabilities};
pub use cluster::{KMeans, KMeansConfig, k_means};
pub use communities::{Communities, CommunityConfig, leiden, leiden_at, louvain, modularity};
pub use determinants::{
    CellDeterminants, ClassDeterminants, DeterminantConfig, DeterminantGene, KeyGeneHits, KeyGeneReport, determinant_genes,
    determinant_genes_of_cells, key_gene_hit_rate, key_gene_hit_rates,
};
pub use differential::{GeneTest, markers, wilcoxon};
pub use evidence::{CellEvidence, ClassEvidence};
pub use fate::{FateConfig, FateDecoder, FateTargets, FateTimes};
pub use fate_prediction::{FatePrediction, HeldOutFates, predict_fates};
pub use hierarchy::{Hierarchy, Linkage, Merge, RowDistance, hierarchical};
pub use hold_out::{HoldOut, hold_out};
pub use integrated_gradients::{Attribution, Baseline, GradientConfig, Target, integrated_gradients};
pub use label_hierarchy::{LevelTransfer, transfer_hierarchy, transfer_within};
pub use label_transfer::{
    ClassFound, LabelTransfer, NeighborWeights, Rejection, TransferConfig, novelty, novelty_beside, transfer_labels,
    transfer_values,
};
pub use limits::{ClassLimits, LimitScope};
pub use lineage_genes::{LineageGenes, LineageGenesConfig, centroid, lineage_genes};
pub use lineage_pairs::{LineagePairConfig, MOST_PAIRED_CELLS, PairVotes, SizeRule, lineage_pairs};
pub use pseudotime::{diffusion_pseudotime, graph_pseudotime, medoid};
pub use rejection::{KnownSide, Threshold, rejection_threshold};
pub use smoothing::{Smoothing, check_smoothing};
pub use umap::{UmapConfig, umap, umap_of_graph};
