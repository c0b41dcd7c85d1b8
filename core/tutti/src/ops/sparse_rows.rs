//! Inner loops of sparse rows times a dense matrix, compiled for several instruction sets and chosen at run time.
//!
//! See [`panels`](super::panels) for matrices too wide for the nearest caches.

use super::simd::{Isa, isa};

/// `y += sum_k values[k] * matrix[rows[k]]`, `matrix` row-major with as many columns as `y`.
///
/// The one loop behind the sparse first layer, forward (rows are genes, matrix the weights) and backward (rows are cells, matrix the
/// output's gradient). The sum runs in the order of `rows` for every column, so that it never depends on blocks or threads.
pub(crate) fn axpy_rows(y: &mut [f32], rows: &[u32], values: &[f32], matrix: &[f32]) {
    assert_eq!(rows.len(), values.len());
    let width = y.len();
    let n_rows = matrix.len() / width.max(1);
    assert!(width == 0 || rows.is_empty() || (rows.iter().fold(0, |max, row| max.max(*row)) as usize) < n_rows);
    match isa() {
        // SAFETY: every row is inside the matrix, by the assertions; the features are there.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { x86::axpy_rows_avx512(y, rows, values, matrix.as_ptr(), width) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { x86::axpy_rows_avx2(y, rows, values, matrix.as_ptr(), width) },
        Isa::Portable => {
            for (row, value) in rows.iter().zip(values) {
                let start = *row as usize * width;
                for (out, w) in y.iter_mut().zip(&matrix[start..]) {
                    *out += value * w;
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// Defines `axpy_rows` for one instruction set: rows are taken `GROUP` at a time, so that `y` is read and written once per group while
    /// each row is read from front to back, as the processor's own fetching ahead expects.
    macro_rules! axpy_rows {
        ($name:ident, $group:ident, $features:literal, $most:literal) => {
            /// # Safety
            /// For each row: `matrix + row * stride .. + y.len()` must be readable; the processor must have the features.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $name(y: &mut [f32], rows: &[u32], values: &[f32], matrix: *const f32, stride: usize) {
                let mut k = 0;
                while k < rows.len() {
                    let (rows, values) = (&rows[k..], &values[k..]);
                    // SAFETY: by the caller.
                    k += unsafe {
                        match rows.len() {
                            n if n >= $most => $group::<$most>(y, rows, values, matrix, stride),
                            4.. => $group::<4>(y, rows, values, matrix, stride),
                            2.. => $group::<2>(y, rows, values, matrix, stride),
                            _ => $group::<1>(y, rows, values, matrix, stride),
                        }
                    };
                }
            }
        };
    }

    axpy_rows!(axpy_rows_avx512, group_avx512, "avx512f", 8);
    axpy_rows!(axpy_rows_avx2, group_avx2, "avx2,fma", 4);

    /// Defines the sum of `GROUP` rows for one instruction set, two vectors of columns at a time; `$tail` does what is left.
    macro_rules! group {
        ($name:ident, $features:literal, $lanes:literal, $set:ident, $load:ident, $fma:ident, $store:ident, $tail:ident) => {
            /// Adds the first `GROUP` rows and returns `GROUP`.
            ///
            /// # Safety
            /// For each row: `matrix + row * stride .. + y.len()` must be readable; the processor must have the features.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn $name<const GROUP: usize>(
                y: &mut [f32],
                rows: &[u32],
                values: &[f32],
                matrix: *const f32,
                stride: usize,
            ) -> usize {
                let (width, out) = (y.len(), y.as_mut_ptr());
                // SAFETY: all offsets stay below the width, and the caller vouches for the rows.
                unsafe {
                    let value: [_; GROUP] = std::array::from_fn(|k| $set(values[k]));
                    let row: [*const f32; GROUP] = std::array::from_fn(|k| matrix.add(rows[k] as usize * stride));
                    let mut j = 0;
                    while j + 2 * $lanes <= width {
                        let (mut a, mut b) = ($load(out.add(j)), $load(out.add(j + $lanes)));
                        for k in 0..GROUP {
                            a = $fma(value[k], $load(row[k].add(j)), a);
                            b = $fma(value[k], $load(row[k].add(j + $lanes)), b);
                        }
                        $store(out.add(j), a);
                        $store(out.add(j + $lanes), b);
                        j += 2 * $lanes;
                    }
                    $tail(&mut y[j..], values, row.map(|row| row.add(j)));
                }
                GROUP
            }
        };
    }

    group!(group_avx512, "avx512f", 16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_fmadd_ps, _mm512_storeu_ps, masked_tail);
    group!(group_avx2, "avx2,fma", 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_fmadd_ps, _mm256_storeu_ps, scalar_tail);

    /// # Safety
    /// Each row must hold `y.len()` values; AVX-512F must be there.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn masked_tail<const GROUP: usize>(y: &mut [f32], values: &[f32], row: [*const f32; GROUP]) {
        for (block, y) in y.chunks_mut(16).enumerate() {
            let mask = ((1u32 << y.len()) - 1) as __mmask16;
            // SAFETY: the mask leaves out what lies behind the end; the caller vouches for the rows.
            unsafe {
                let mut a = _mm512_maskz_loadu_ps(mask, y.as_ptr());
                for k in 0..GROUP {
                    a = _mm512_fmadd_ps(_mm512_set1_ps(values[k]), _mm512_maskz_loadu_ps(mask, row[k].add(16 * block)), a);
                }
                _mm512_mask_storeu_ps(y.as_mut_ptr(), mask, a);
            }
        }
    }

    /// # Safety
    /// Each row must hold `y.len()` values; FMA must be there.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn scalar_tail<const GROUP: usize>(y: &mut [f32], values: &[f32], row: [*const f32; GROUP]) {
        for (j, y) in y.iter_mut().enumerate() {
            for k in 0..GROUP {
                // SAFETY: by the caller.
                *y = values[k].mul_add(unsafe { *row[k].add(j) }, *y);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axpy_rows_equals_the_plain_loop_for_every_width_and_instruction_set() {
        // 15 rows make groups of 8, 4, 2 and 1.
        let rows: Vec<u32> = (0..15).map(|k| (k * 5) % 7).collect();
        let values: Vec<f32> = (0..15).map(|k| 0.25 * k as f32 - 1.5).collect();
        for width in [300, 1, 16, 129, 200, 64, 40, 0] {
            let matrix: Vec<f32> = (0..7 * width).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
            let start: Vec<f32> = (0..width).map(|j| j as f32).collect();
            let expected: Vec<f64> = (0..width)
                .map(|j| {
                    let products = rows.iter().zip(&values).map(|(r, v)| f64::from(v * matrix[*r as usize * width + j]));
                    j as f64 + products.sum::<f64>()
                })
                .collect();
            let check = |y: &[f32], name: &str| {
                for (a, b) in y.iter().zip(&expected) {
                    assert!((f64::from(*a) - b).abs() < 1e-4, "{name}, width {width}: {a} and {b}");
                }
            };
            let mut y = start.clone();
            axpy_rows(&mut y, &rows, &values, &matrix);
            check(&y, "chosen at run time");
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                let mut y = start.clone();
                // SAFETY: rows are below 7; the features were just found.
                unsafe { x86::axpy_rows_avx2(&mut y, &rows, &values, matrix.as_ptr(), width) };
                check(&y, "AVX2");
            }
        }
    }
}
