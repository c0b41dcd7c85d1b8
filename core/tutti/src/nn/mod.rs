//! Layers. Each holds its tensors and knows two things: its forward pass and how to detach itself from the gradient.

mod batch_norm;
mod decoder;
mod dropout;
mod gate;
mod heads;
mod mlp;
mod norm;
mod parameters;

pub use batch_norm::{BatchNorm, RunningStatistics};
pub use decoder::{Decoder, FinalActivation};
pub use dropout::dropout;
pub use gate::FeatureGate;
pub use heads::{Classifier, ProjectionHead};
pub use mlp::{Dense, Mlp, MlpConfig, SparseMlp};
pub use norm::{Activation, LEAKY_SLOPE, Norm, NormActivation};
pub use parameters::{Draws, Kernels, Parameter, Parameters, Pass};
