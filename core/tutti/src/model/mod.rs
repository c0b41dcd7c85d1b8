//! The contract of a system, and the file that keeps a trained one.

mod saved;
mod system;

pub use saved::{FORMAT_VERSION, Preprocessing, SavedModel, write_atomically};
pub use system::{Phase, System};
