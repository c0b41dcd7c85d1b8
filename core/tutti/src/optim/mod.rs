//! Optimisers and schedules of the learning rate.

mod adam;
mod decay;
mod gradients;
mod optimizer;
mod schedule;
mod sgd;

pub use adam::{Adam, AdamConfig};
pub use decay::Decay;
pub use gradients::Gradients;
pub use optimizer::{Optimizer, OptimizerConfig, OptimizerState};
pub use schedule::Schedule;
pub use sgd::{Sgd, SgdConfig};
