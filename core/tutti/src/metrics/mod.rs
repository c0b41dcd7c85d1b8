//! How good an embedding is, one metric per file.

mod alignment_uniformity;
mod ari_nmi;
mod centroids;
mod classification;
mod coverage;
mod geometry;
mod graph_connectivity;
mod isolated_labels;
mod kbet;
mod lineage;
mod lisi;
mod neighborhood;
mod pcr;
mod probe;
mod report;
mod scib;
mod silhouette;
mod topology;

pub use alignment_uniformity::{alignment, uniformity};
pub use ari_nmi::{adjusted_rand_index, normalized_mutual_information};
pub use centroids::{
    calinski_harabasz, lineage_distance_correlation, state_batch_distance_ratio, state_dispersion_correlation,
    state_distance_correlation,
};
pub use classification::{Calibration, Confusion, ReliabilityBin, auroc, average_precision, calibration, oscr};
pub use coverage::{Coverage, OpenSet, coverage, open_set};
pub use geometry::{Correlation, distance_correlation, trustworthiness};
pub use graph_connectivity::graph_connectivity;
pub use isolated_labels::isolated_labels;
pub use kbet::{kbet, kbet_per_label};
pub use lineage::{LineageError, PairScores, cosine_pair_scores, held_out_lineage_error, lineage_error, pair_scores};
pub use lisi::{clisi, ilisi, lisi};
pub use neighborhood::{knn_purity, same_batch_ratio};
pub use pcr::{explained_by_groups, pcr_comparison};
pub use probe::{ProbeConfig, knn_probe, linear_probe, linear_probe_r2};
pub use report::{ScoreConfig, Scores, score};
pub use scib::{ScibConfig, ScibInput, ScibScores, scib};
pub use silhouette::{batch_silhouette, bras, label_silhouette, silhouette_samples};
pub use topology::{
    BettiCurve, Interval, TopologyConfig, TopologyScore, betti_curves, persistence, rips_persistence, topology_score,
};

use crate::error::{Error, Result};

/// Refuses parts of one score that are not over the same cells.
fn check_cells(n_cells: usize, parts: &[(&str, usize)]) -> Result<()> {
    match parts.iter().find(|(_, n)| *n != n_cells) {
        Some((name, n)) => Err(Error::data(format!("{name} of {n} cells for {n_cells} cells"), "give all for the same cells")),
        None => Ok(()),
    }
}
