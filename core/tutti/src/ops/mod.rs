//! Operations with their own backward pass, where candle's stock ones are too slow.
//!
//! Each has a plain candle twin, used on devices without a kernel of ours and as the oracle in tests. On a CPU the vector
//! instructions are chosen when the program runs; machines with other instructions may differ in the last bits, thread counts never.

pub(crate) mod alignment;
pub mod batch_norm;
pub mod chain;
pub mod elementwise;
pub(crate) mod entropy;
pub mod factored;
pub(crate) mod gene_attention;
mod known;
pub mod layer_norm;
pub mod linear;
mod matmul;
pub mod nt_xent;
mod panels;
pub mod product;
pub(crate) mod projection;
mod simd;
pub mod sparse_batch;
pub mod sparse_linear;
mod sparse_rows;
pub(crate) mod unit_rows;
pub(crate) mod values;
mod written;

pub(crate) use simd::{AdamStep, adam_update, squared_distances, sum_of_distances};
use sparse_rows::axpy_rows;
