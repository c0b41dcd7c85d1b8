//! Optimisers and schedules of the learning rate.

mod adam;
mod schedule;

pub use adam::{Adam, AdamConfig, Gradients};
pub use schedule::Schedule;
