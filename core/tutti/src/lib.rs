//! Contrastive and metric learning for single-cell data: from a sparse matrix of several batches to one embedding.
//!
//! Data flows one way: `data` → `preprocess` → `neighbors` → `sampler` and `augment` → `nn` and `loss` → `train` → an embedding. A
//! learning system in `systems` is a composition of these blocks on the one trainer.
//!
//! ```
//! use tutti::data::{Categorical, Cells, Csr};
//! use tutti::observe::{CancelToken, Silent};
//! use tutti::systems::concord::{Concord, ConcordColumns, ConcordConfig};
//! use tutti::threads::Threads;
//!
//! # fn main() -> tutti::Result<()> {
//! // 40 cells of two batches, 12 genes; rows are cells.
//! let x = ndarray::Array2::from_shape_fn((40, 12), |(i, j)| if (i + j) % 3 == 0 { 1.0 + (i % 2) as f32 } else { 0.0 });
//! let names = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
//! let batch = Categorical::from_values((0..40).map(|i| Some(if i < 20 { "a" } else { "b" })));
//! let cells = Cells::new(Csr::from_dense(x.view())?, names("cell", 40), names("gene", 12))?.with_column("batch", batch)?;
//!
//! let config = ConcordConfig { latent_dim: 8, encoder_dims: vec![32], n_epochs: 3, ..Default::default() };
//! let columns = ConcordColumns { batch: Some("batch".into()), label: None };
//! let mut trainer = Concord::trainer(&cells, &columns, config, &candle_core::Device::Cpu, Threads::new(2)?)?;
//! trainer.train(&mut Silent, &CancelToken::default())?;
//! let (model, history) = trainer.finish()?;
//! assert_eq!(model.embed(cells.source())?.dim(), (40, 8));
//! assert_eq!(history.epochs.len(), 3);
//! # Ok(())
//! # }
//! ```
//!
//! The same seed gives the same bytes for any number of threads on one machine; processors with other vector instructions, and GPUs,
//! may differ in the last bits.

pub mod augment;
pub mod benchmark;
pub mod data;
pub mod downstream;
pub mod error;
pub mod loss;
pub mod metrics;
pub mod model;
pub mod neighbors;
pub mod nn;
pub mod observe;
pub mod ops;
pub mod optim;
pub mod preprocess;
pub mod rng;
pub mod sampler;
pub mod simulate;
pub mod systems;
pub mod threads;
pub mod train;

pub use error::{Error, Result};
