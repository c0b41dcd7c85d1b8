//! The one training loop.

mod checkpoint;
mod config;
mod early_stopping;
mod history;
mod stack;
mod trainer;
mod validation;

pub use config::TrainConfig;
pub use early_stopping::EarlyStopping;
pub use history::{EpochRecord, History};
pub use trainer::{State, Trainer};
