//! Values of tensors in CPU memory.

use candle_core::{CpuStorage, Layout, Tensor};
use rayon::prelude::*;

use super::simd::add_row;

/// Columns that one task sums up.
const COLUMNS: usize = 256;

/// Sums of the columns of a contiguous x [n, d], in the order of the rows, some columns per task.
pub(super) fn column_sums(x: &Tensor) -> candle_core::Result<Tensor> {
    let (_, n) = x.dims2()?;
    let mut out = vec![0f32; n];
    with_cpu_f32(x, |x| {
        out.par_chunks_mut(COLUMNS).enumerate().for_each(|(c, sums)| {
            x.chunks_exact(n).for_each(|row| add_row(sums, &row[c * COLUMNS..]));
        });
    })?;
    Tensor::from_vec(out, n, x.device())
}

/// The values of a contiguous f32 tensor in CPU memory.
pub(crate) fn cpu_f32<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        (CpuStorage::F32(_), None) => candle_core::bail!("the tensor is not contiguous"),
        _ => candle_core::bail!("the tensor is not f32"),
    }
}

/// Calls `f` with the values of a contiguous f32 tensor in CPU memory.
pub(crate) fn with_cpu_f32<R>(x: &Tensor, f: impl FnOnce(&[f32]) -> R) -> candle_core::Result<R> {
    let (storage, layout) = x.storage_and_layout();
    match &*storage {
        candle_core::Storage::Cpu(storage) => Ok(f(cpu_f32(storage, layout)?)),
        _ => candle_core::bail!("the tensor is not in CPU memory"),
    }
}
