//! The contract of a system, and the file that keeps a trained one.

mod saved;
mod settings;
mod system;

pub use saved::{FORMAT_VERSION, SavedModel, write_atomically};
pub use settings::with_settings;
pub use system::{Phase, System};
