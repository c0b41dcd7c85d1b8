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

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::threads::Threads;

    #[test]
    fn column_sums_equal_the_plain_loop_for_any_width_and_number_of_threads() {
        for (n, d) in [(7, 1), (40, 256), (33, 600), (0, 5), (3, 0)] {
            let values: Vec<f32> = (0..n * d).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
            let x = Tensor::from_vec(values.clone(), (n, d), &Device::Cpu).unwrap();
            let run = |threads| Threads::new(threads).unwrap().run(|| column_sums(&x).unwrap().to_vec1::<f32>().unwrap());
            let found = run(1);
            assert_eq!(found, run(3));
            let expected: Vec<f32> = (0..d).map(|j| (0..n).map(|i| values[i * d + j]).fold(0.0, |sum, v| sum + v)).collect();
            assert_eq!(found, expected);
        }
    }
}
