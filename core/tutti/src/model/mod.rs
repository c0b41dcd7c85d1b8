//! The contract of a system, and the file that keeps a trained one.

mod classes;
mod embed;
mod network;
mod saved;
mod settings;
mod system;

pub use classes::PredictedClasses;
pub use embed::{BLOCK, each_block, to_array};
pub use network::Network;
pub use saved::{FORMAT_VERSION, SavedModel, write_atomically};
pub use settings::with_settings;
pub use system::{Phase, System};
