//! Inner loops, compiled for several instruction sets and chosen at run time.

mod attention;
mod functions;
mod norms;

use std::sync::OnceLock;

pub(super) use attention::*;
pub(super) use functions::*;
pub(super) use norms::*;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

pub(super) fn isa() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                return Isa::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Isa::Avx2;
            }
        }
        Isa::Portable
    })
}

/// Defines a function whose body is compiled once per instruction set; loops in it are vectorised by the compiler.
macro_rules! per_isa {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
                match crate::ops::simd::isa() {
                    // SAFETY: `isa` found these features on this processor.
                    Isa::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    Isa::Avx2 => return unsafe { avx2($($arg),*) },
                    Isa::Portable => {}
                }
            }
            body($($arg),*)
        }
    };
}

pub(super) use per_isa;

/// Numbers of one Adam step, the same for all elements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdamStep {
    /// lr / (1 - beta1^t)
    pub step_size: f32,
    pub beta1: f32,
    pub beta2: f32,
    /// 1 / sqrt(1 - beta2^t)
    pub inv_sqrt_correction2: f32,
    pub eps: f32,
    /// 1 - lr * weight_decay (decoupled decay, as in AdamW)
    pub keep: f32,
    /// Factor on the gradient, below 1 where the norm is clipped.
    pub gradient_scale: f32,
}

per_isa! {
    /// One Adam step on a run of parameters, in place (Kingma and Ba 2015, algorithm 1).
    pub(crate) fn adam_update(p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], s: AdamStep) {
        let n = p.len();
        let (m, v, g) = (&mut m[..n], &mut v[..n], &g[..n]);
        for i in 0..n {
            let gradient = g[i] * s.gradient_scale;
            let first = s.beta1 * m[i] + (1.0 - s.beta1) * gradient;
            let second = s.beta2 * v[i] + (1.0 - s.beta2) * gradient * gradient;
            m[i] = first;
            v[i] = second;
            p[i] = p[i] * s.keep - s.step_size * first / (second.sqrt() * s.inv_sqrt_correction2 + s.eps);
        }
    }
}

per_isa! {
    /// The largest `x[i]` where `mask[i]` is above 0; the least number there is where none is.
    pub(crate) fn masked_max(x: &[f32], mask: &[f32]) -> f32 {
        let kept = |x: f32, keep: f32| if keep > 0.0 { x } else { f32::MIN };
        let larger = |a: f32, b: f32| if b > a { b } else { a };
        let mut parts = [f32::MIN; 16];
        let whole = x.len() / 16 * 16;
        for (x, mask) in x[..whole].chunks_exact(16).zip(mask[..whole].chunks_exact(16)) {
            for i in 0..16 {
                parts[i] = larger(parts[i], kept(x[i], mask[i]));
            }
        }
        let rest = x[whole..].iter().zip(&mask[whole..]).map(|(x, keep)| kept(*x, *keep));
        parts.into_iter().chain(rest).fold(f32::MIN, larger)
    }
}

per_isa! {
    /// `out[i] = a * x[i] - b * y[i]`.
    pub(crate) fn scaled_difference(out: &mut [f32], a: f32, x: &[f32], b: f32, y: &[f32]) {
        let n = out.len();
        let (x, y) = (&x[..n], &y[..n]);
        for i in 0..n {
            out[i] = a * x[i] - b * y[i];
        }
    }
}

/// Numbers in a line of the cache, the side of the blocks of [`with_columns`].
pub(super) const LINE: usize = 16;

/// Puts the columns of `matrix`, [n, width], from `first` on into the rows of `out`, [k, n]. By blocks, so that whole lines of the cache are read and
/// written: those of a column lie in few places of the cache where the width is a power of two.
pub(crate) fn with_columns(out: &mut [f32], matrix: &[f32], width: usize, first: usize, put: impl Fn(&mut f32, f32)) {
    let n = matrix.len() / width.max(1);
    let mut block = [[0f32; LINE]; LINE];
    for (b, rows) in out.chunks_mut(LINE * n.max(1)).enumerate() {
        let columns = first + b * LINE..first + b * LINE + rows.len() / n;
        for j in (0..n).step_by(LINE) {
            let height = LINE.min(n - j);
            for (k, line) in matrix[j * width..].chunks(width).take(height).enumerate() {
                line[columns.clone()].iter().enumerate().for_each(|(i, v)| block[i][k] = *v);
            }
            for (row, line) in rows.chunks_exact_mut(n).zip(&block) {
                row[j..j + height].iter_mut().zip(line).for_each(|(out, v)| put(out, *v));
            }
        }
    }
}

per_isa! {
    /// Sum in 16 interleaved parts, a fixed order that vectorises.
    pub(crate) fn sum(x: &[f32]) -> f32 {
        sum_inline(x)
    }
}

per_isa! {
    /// Sum of `sqrt(own + norms[i] - 2 products[i])`: distances from their scalar products, roundings below zero taken as zero.
    pub(crate) fn sum_of_distances(products: &[f32], norms: &[f32], own: f32) -> f64 {
        let mut sum = 0.0;
        // Short runs in single precision, their sums in double.
        for (products, norms) in products.chunks(512).zip(norms.chunks(512)) {
            let mut parts = [0.0f32; 16];
            let whole = products.len() / 16 * 16;
            for (p, n) in products[..whole].chunks_exact(16).zip(norms[..whole].chunks_exact(16)) {
                for i in 0..16 {
                    parts[i] += (own + n[i] - 2.0 * p[i]).max(0.0).sqrt();
                }
            }
            let rest: f32 = products[whole..].iter().zip(&norms[whole..]).map(|(p, n)| (own + n - 2.0 * p).max(0.0).sqrt()).sum();
            sum += f64::from(parts.iter().sum::<f32>() + rest);
        }
        sum
    }
}

per_isa! {
    /// Scalar product, in the order of [`sum`].
    pub(crate) fn dot(x: &[f32], y: &[f32]) -> f32 {
        let mut parts = [0.0f32; 16];
        let n = x.len() / 16 * 16;
        for (a, b) in x[..n].chunks_exact(16).zip(y[..n].chunks_exact(16)) {
            for i in 0..16 {
                parts[i] += a[i] * b[i];
            }
        }
        let rest: f32 = x[n..].iter().zip(&y[n..]).map(|(a, b)| a * b).sum();
        parts.iter().sum::<f32>() + rest
    }
}

per_isa! {
    /// Squared distance of each row of a matrix, as long as `point`, from that point. Equal rows are at 0 exactly.
    pub(crate) fn squared_distances(out: &mut [f32], matrix: &[f32], point: &[f32]) {
        let whole = point.len() / 16 * 16;
        for (out, row) in out.iter_mut().zip(matrix.chunks_exact(point.len())) {
            let mut parts = [0.0f32; 16];
            for (a, b) in row[..whole].chunks_exact(16).zip(point[..whole].chunks_exact(16)) {
                for i in 0..16 {
                    parts[i] += (a[i] - b[i]) * (a[i] - b[i]);
                }
            }
            let rest: f32 = row[whole..].iter().zip(&point[whole..]).map(|(a, b)| (a - b) * (a - b)).sum();
            *out = parts.iter().sum::<f32>() + rest;
        }
    }
}

#[inline(always)]
fn sum_inline(x: &[f32]) -> f32 {
    let mut parts = [0.0f32; 16];
    let chunks = x.chunks_exact(16);
    let rest: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        for (part, value) in parts.iter_mut().zip(chunk) {
            *part += value;
        }
    }
    parts.iter().sum::<f32>() + rest
}

per_isa! {
    /// `sum += x`.
    pub(crate) fn add_row(sum: &mut [f32], x: &[f32]) {
        sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
    }
}

per_isa! {
    /// `sum += factor x`.
    pub(crate) fn add_scaled(sum: &mut [f32], factor: f32, x: &[f32]) {
        sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += factor * x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squared_distances_equal_the_plain_loop_and_are_zero_for_equal_rows() {
        for d in [1, 15, 16, 50] {
            let matrix: Vec<f32> = (0..5 * d).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
            let point = &matrix[2 * d..3 * d];
            let mut out = [f32::NAN; 5];
            squared_distances(&mut out, &matrix, point);
            for (row, found) in matrix.chunks(d).zip(out) {
                let expected: f64 = row.iter().zip(point).map(|(a, b)| f64::from(a - b).powi(2)).sum();
                assert!((f64::from(found) - expected).abs() <= 1e-5 * expected, "width {d}: {found} and {expected}");
            }
            assert_eq!(out[2], 0.0);
        }
    }

    #[test]
    fn masked_loops_equal_plain_ones() {
        let x: Vec<f32> = (0..83).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
        let mask: Vec<f32> = (0..83).map(|i| f32::from(u8::from(i % 3 != 0))).collect();
        let kept = || x.iter().zip(&mask).filter(|(_, keep)| **keep > 0.0).map(|(x, _)| *x);
        assert_eq!(masked_max(&x, &mask), kept().fold(f32::MIN, f32::max));
        assert_eq!(masked_max(&x, &[0.0; 83]), f32::MIN);
        let mut out = vec![f32::NAN; 83];
        let found = exp_masked(&mut out, &x, &mask, 1.5, 0.25);
        assert!(out.iter().step_by(3).all(|v| *v == 0.0));
        assert!((found - kept().map(|x| (1.5 * (x - 0.25)).exp()).sum::<f32>()).abs() < 1e-4);
        scaled_difference(&mut out, 2.0, &x, 3.0, &mask);
        assert!(out.iter().zip(&x).zip(&mask).all(|((out, x), mask)| *out == 2.0 * x - 3.0 * mask));
    }

    #[test]
    fn columns_are_put_into_rows() {
        for (n, width, first, k) in [(5, 5, 1, 3), (16, 16, 0, 16), (40, 40, 7, 33), (3, 50, 20, 30), (33, 2, 1, 1)] {
            let matrix: Vec<f32> = (0..n * width).map(|i| i as f32).collect();
            let mut out: Vec<f32> = (0..k * n).map(|i| 0.5 * i as f32).collect();
            with_columns(&mut out, &matrix, width, first, |out, v| *out += v);
            for (p, v) in out.iter().enumerate() {
                assert_eq!(*v, 0.5 * p as f32 + matrix[p % n * width + first + p / n]);
            }
        }
    }

    #[test]
    fn sums_and_moments_equal_plain_loops() {
        let x: Vec<f32> = (0..100).map(|i| ((i * 7) % 13) as f32 - 3.0).collect();
        let mean = x.iter().sum::<f32>() / 100.0;
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / 100.0;
        let (m, r) = moments(&x, 1e-5);
        assert!((m - mean).abs() < 1e-5 && (r - 1.0 / (variance + 1e-5).sqrt()).abs() < 1e-5);
        assert!((dot(&x, &x) - x.iter().map(|v| v * v).sum::<f32>()).abs() < 1e-2);
        assert!((sum(&x) - 100.0 * mean).abs() < 1e-3);
    }
}
