//! The scores of one embedding, by family.

use super::GeometryScores;
use crate::metrics::{ScibScores, TopologyScore};

/// What a score speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Cell types are kept.
    Biology,
    /// Batches are gone.
    Batch,
    /// Both, by the suite's weights.
    Total,
    /// Distances and neighbourhoods of a known truth are kept.
    Geometry,
    /// Components, loops and cavities are those known.
    Topology,
}

/// One score, more is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// What it speaks of.
    pub family: Family,
    /// Its name in files, such as `label_silhouette`.
    pub key: &'static str,
    /// Its name for readers, such as `label silhouette`.
    pub title: &'static str,
    /// Whether it sums others up.
    pub is_aggregate: bool,
    /// Nothing where the data cannot have it.
    pub value: Option<f64>,
}

/// All scores of one embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddingScores {
    /// The suite of scIB.
    pub scib: ScibScores,
    /// Agreement with the truth, where one was given.
    pub geometry: Option<GeometryScores>,
    /// Agreement with the Betti numbers, where they were given.
    pub topology: Option<TopologyScore>,
}

impl EmbeddingScores {
    /// Mean over biology, batch, geometry and topology, of those that there are: the last column of CONCORD's benchmark.
    pub fn overall(&self) -> Option<f64> {
        let families = [
            self.scib.bio_conservation(),
            self.scib.batch_correction(),
            self.geometry.as_ref().map(GeometryScores::mean),
            self.topology.as_ref().map(|t| t.score),
        ];
        let there: Vec<f64> = families.into_iter().flatten().collect();
        (!there.is_empty()).then(|| there.iter().sum::<f64>() / there.len() as f64)
    }

    /// The scores in the order of a table; the same ones for every embedding.
    pub fn scores(&self) -> Vec<Score> {
        use Family::*;
        let (s, geometry, topology) = (&self.scib, self.geometry.as_ref(), self.topology.as_ref());
        let has_truth = geometry.is_some() || topology.is_some();
        let score = |family, key, title, value| Score { family, key, title, is_aggregate: false, value };
        let sum = |family, key, title, value| Score { family, key, title, is_aggregate: true, value };
        vec![
            score(Biology, "isolated_labels", "isolated labels", s.isolated_labels),
            score(Biology, "nmi", "NMI, k-means", s.nmi),
            score(Biology, "ari", "ARI, k-means", s.ari),
            score(Biology, "nmi_leiden", "NMI, Leiden", s.nmi_leiden),
            score(Biology, "ari_leiden", "ARI, Leiden", s.ari_leiden),
            score(Biology, "label_silhouette", "label silhouette", s.label_silhouette),
            score(Biology, "clisi", "cLISI", s.clisi),
            sum(Biology, "bio_conservation", "= biology kept", s.bio_conservation()),
            score(Batch, "batch_silhouette", "batch silhouette", s.batch_silhouette),
            score(Batch, "bras", "BRAS", s.bras),
            score(Batch, "ilisi", "iLISI", s.ilisi),
            score(Batch, "kbet", "kBET", s.kbet),
            score(Batch, "graph_connectivity", "graph connectivity", s.graph_connectivity),
            score(Batch, "pcr_comparison", "PCR comparison", s.pcr_comparison),
            sum(Batch, "batch_correction", "= batches gone", s.batch_correction()),
            sum(Total, "total", "total (0.6, 0.4)", s.total()),
            score(Geometry, "trustworthiness", "trustworthiness", geometry.and_then(|g| g.trustworthiness)),
            score(Geometry, "distance_correlation", "distances, Pearson", geometry.map(|g| g.pearson)),
            score(Geometry, "distance_spearman", "distances, Spearman", geometry.map(|g| g.spearman)),
            sum(Geometry, "geometry", "= geometry kept", geometry.map(GeometryScores::mean)),
            score(Topology, "betti_accuracy", "Betti accuracy", topology.map(|t| t.accuracy)),
            score(Topology, "betti_stability", "Betti stability", topology.map(|t| t.stability)),
            sum(Topology, "topology", "= topology kept", topology.map(|t| t.score)),
            sum(Total, "overall", "mean of all", if has_truth { self.overall() } else { None }),
        ]
    }
}
