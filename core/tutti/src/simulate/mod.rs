//! Made-up experiments with everything known that an analysis should find.
//!
//! [`Spec`] says what to make: how states relate ([`Structure`]: clusters, trajectories, loops, crossing paths, trees, Splatter's groups,
//! barcoded lineages), what noise lies on them ([`Noise`]), what sets batches apart ([`Batches`]), and a second assay ([`Modality`]).
//! [`Simulation`] draws it: a [`CellSource`](crate::data::CellSource) whose rows come on demand, with the truth beside it. [`PRESETS`] names ready-made specs.
//!
//! [`simulate`] is the short way to counts of a few batches and types for a test or an example.
//!
//! Every cell has random streams of its own: a result depends on the spec alone, not on threads or the order of reading.

mod draw;
mod effect;
mod groups;
mod lineage;
mod modality;
mod noise;
mod plan;
mod presets;
mod programme;
mod quick;
mod simulation;
mod spec;
mod structure;

pub use effect::{BatchEffect, EffectKind};
pub use groups::Groups;
pub use lineage::Lineage;
pub use modality::{Atac, Modality, Protein};
pub use plan::{Overlap, Sizes};
pub use presets::PRESETS;
pub use programme::Shape;
pub use quick::{SimulateConfig, Simulated, simulate};
pub use simulation::{Layer, SimulatedRows, Simulation, Truth};
pub use spec::{Batches, Distribution, DropoutCurve, Noise, PerState, Spec, Structure};
pub use structure::{Clusters, Paths, SharedGenes, Trajectory, Tree};

#[cfg(test)]
mod tests;
