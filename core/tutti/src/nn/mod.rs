//! Layers. Each holds its tensors and knows two things: its forward pass and how to detach itself from the gradient.

mod batch_norm;
mod decoder;
mod dropout;
mod gate;
mod gene_attention;
mod heads;
mod mlp;
mod norm;
mod normalized_linear;
mod parameters;

pub use batch_norm::{BatchNorm, RunningStatistics};
pub use decoder::{Decoder, FinalActivation};
pub use dropout::dropout;
pub use gate::FeatureGate;
pub use gene_attention::GeneAttention;
pub use heads::{Classifier, JointHead, ProjectionHead};
pub use mlp::{Dense, Mlp, MlpConfig, SparseMlp};
pub use norm::{Activation, LEAKY_SLOPE, Norm, NormActivation};
pub use normalized_linear::NormalizedLinear;
pub use parameters::{Draws, Kernels, Parameter, Parameters, Pass};
