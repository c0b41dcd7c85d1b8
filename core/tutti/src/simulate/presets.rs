//! Ready-made specs: the simulations of the five papers, in small.

use super::effect::{BatchEffect, EffectKind};
use super::groups::Groups;
use super::lineage::Lineage;
use super::modality::{Atac, Modality, Protein};
use super::plan::{Overlap, Sizes};
use super::spec::{Batches, Distribution, DropoutCurve, Noise, PerState, Spec, Structure};
use super::structure::{Clusters, Paths, SharedGenes, Trajectory, Tree};
use crate::error::{Error, Result};

/// Names of the presets, with what each is.
pub const PRESETS: &[(&str, &str)] = &[
    ("three_clusters", "three clusters, each with its own width of normal noise (CONCORD, fig. 2C)"),
    ("three_loops", "a trajectory of nine programmes that returns three times (CONCORD, fig. 2D)"),
    ("intersecting_paths", "two paths that cross"),
    ("tree", "a lineage of three levels of two branches (CONCORD, fig. 2G)"),
    ("five_clusters_two_batches", "five clusters in two batches with genes of their own (CONCORD, fig. 3A)"),
    ("trajectory", "a trajectory in two batches that overlap in part (CONCORD, fig. 3B)"),
    ("loop", "a closed loop in two batches that overlap in part (CONCORD, fig. 3C)"),
    ("tree_two_batches", "a tree in two batches that overlap in part (CONCORD, fig. 3D)"),
    ("ladder_2", "unequal clusters in 2 unequal batches"),
    ("ladder_10", "unequal clusters in 10 unequal batches"),
    ("ladder_30", "unequal clusters in 30 unequal batches"),
    ("splatter", "five groups of counts with losses, two batches (Concerto and scCRAFT, simulations)"),
    ("splatter_rare", "as splatter, six batches of seven groups, the first rare and the second in one batch only"),
    ("lineage", "barcoded clones on three days with three fates (for LCL)"),
    ("rna_atac", "five clusters with RNA and gene activity of the same cells (for CellPredX)"),
    ("rna_protein", "six clusters with RNA and 30 proteins of the same cells (for Concerto)"),
];

impl Spec {
    /// A ready-made spec, see [`PRESETS`].
    ///
    /// # Errors
    /// [`Error::Argument`] for an unknown name, listing the known ones.
    pub fn preset(name: &str) -> Result<Self> {
        let trajectory = |n_programmes, loop_to: &[usize]| {
            Structure::Trajectory(Trajectory { n_programmes, loop_to: loop_to.to_vec(), ..Default::default() })
        };
        Ok(match name {
            "three_clusters" => Self {
                noise: Noise { distribution: Distribution::Normal, dispersion: PerState::Each(vec![0.5, 1.0, 1.5]) },
                non_neg: true,
                ..continuous(Structure::Clusters(Clusters::default()))
            },
            "three_loops" => Self { n_cells: 1500, ..continuous(trajectory(9, &[1, 4, 7])) },
            "intersecting_paths" => continuous(Structure::Paths(Paths::default())),
            "tree" => Self { n_cells: 3000, ..continuous(Structure::Tree(Tree::default())) },
            "five_clusters_two_batches" => {
                Self { batches: two_batches(Overlap::Full), ..continuous(Structure::Clusters(five_clusters())) }
            }
            "trajectory" => Self { batches: two_batches(Overlap::Partial(0.4)), ..continuous(trajectory(5, &[])) },
            "loop" => Self { batches: two_batches(Overlap::Partial(0.4)), ..continuous(trajectory(5, &[1])) },
            "tree_two_batches" => {
                Self { batches: two_batches(Overlap::Partial(0.4)), ..continuous(Structure::Tree(Tree::default())) }
            }
            "ladder_2" => ladder(2),
            "ladder_10" => ladder(10),
            "ladder_30" => ladder(30),
            "splatter" => splatter(),
            "splatter_rare" => splatter_rare(),
            "lineage" => Self { n_cells: 4000, structure: Structure::Lineage(Lineage::default()), ..counts() },
            "rna_atac" => Self {
                structure: Structure::Clusters(five_clusters()),
                modality: Some(Modality::Atac(Atac::default())),
                ..counts()
            },
            "rna_protein" => Self {
                structure: Structure::Clusters(Clusters { n: 6, ..Default::default() }),
                modality: Some(Modality::Protein(Protein::default())),
                ..counts()
            },
            _ => {
                let names: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
                return Err(Error::argument("preset", format!("is `{name}`"), format!("the presets are: {}", names.join(", "))));
            }
        })
    }
}

/// Normal noise as wide as the CONCORD paper's simulations have it, relative to the level.
fn continuous(structure: Structure) -> Spec {
    let noise = Noise { distribution: Distribution::Normal, dispersion: PerState::One(0.8) };
    Spec { level: 2.0, non_neg: true, structure, noise, ..Default::default() }
}

/// Sparse counts.
fn counts() -> Spec {
    let noise = Noise { distribution: Distribution::NegativeBinomial, dispersion: PerState::One(0.5) };
    Spec { n_cells: 2000, level: 2.0, min_level: 0.15, non_specific_gene_fraction: 0.05, noise, ..Default::default() }
}

fn five_clusters() -> Clusters {
    // Two pairs of clusters are close: they share half of their genes.
    let shared = |of, also_in| SharedGenes { of, also_in, fraction: 0.5 };
    Clusters { n: 5, shared: vec![shared(1, 2), shared(3, 4)], ..Default::default() }
}

fn two_batches(overlap: Overlap) -> Batches {
    let features = BatchEffect { level: Some(2.0), dispersion: Some(0.8), ..BatchEffect::new(EffectKind::BatchSpecificFeatures) };
    let expression =
        BatchEffect { level: Some(1.0), dispersion: Some(0.5), ..BatchEffect::new(EffectKind::BatchSpecificExpression) };
    Batches { n: 2, overlap, effects: vec![expression, features], ..Default::default() }
}

fn ladder(n: usize) -> Spec {
    let clusters = Clusters { n: 8, sizes: Sizes::LogNormal(0.8), ..Default::default() };
    let factors = BatchEffect { dispersion: Some(0.3), ..BatchEffect::new(EffectKind::GeneFactors) };
    let batches = Batches { n, sizes: Sizes::Dirichlet(1.0), effects: vec![factors], ..Default::default() };
    Spec { n_cells: 6000, structure: Structure::Clusters(clusters), batches, ..counts() }
}

fn splatter() -> Spec {
    let factors = BatchEffect { level: Some(0.1), dispersion: Some(0.1), ..BatchEffect::new(EffectKind::GeneFactors) };
    Spec {
        n_cells: 2000,
        n_genes: 2500,
        structure: Structure::Groups(Groups { de_scale: 0.3, library_loc: 9.6, ..Default::default() }),
        dropout_curve: Some(DropoutCurve { mid: 1.0, shape: -1.0 }),
        batches: Batches { n: 2, effects: vec![factors], ..Default::default() },
        ..Default::default()
    }
}

fn splatter_rare() -> Spec {
    let sizes = Sizes::Given(vec![0.1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    let states = (0..6).map(|b| (1..=7).filter(|state| b == 0 || *state != 2).collect()).collect();
    let splatter = splatter();
    Spec {
        n_cells: 6000,
        structure: Structure::Groups(Groups { n: 7, sizes, de_scale: 0.3, library_loc: 9.6, ..Default::default() }),
        batches: Batches { n: 6, states, ..splatter.batches.clone() },
        ..splatter
    }
}
