//! Scores of attention over genes, and sums in double precision.

use super::{Isa, per_isa};

/// `tanh(x)`, error below 4e-7: x times a ratio of polynomials of x² that is fitted for the least largest error up to 8.5, from where on single precision has
/// 1 but for the last bit. In half the time of the one that elementwise functions take, which is exact at both ends.
#[inline(always)]
fn tanh_approx(x: f32) -> f32 {
    let x = x.clamp(-8.5, 8.5);
    let square = x * x;
    let p = 1.426_899_5e-8;
    let p = p * square + 2.125_088_8e-5;
    let p = p * square + 3.534_017_9e-3;
    let p = p * square + 0.134_132_4;
    let p = p * square + 1.0;
    let q = 8.145_032e-7;
    let q = q * square + 3.348_849_8e-4;
    let q = q * square + 0.026_022_718;
    let q = q * square + 0.467_465_6;
    let q = q * square + 1.0;
    (x * p / q).clamp(-1.0, 1.0)
}

/// Features that are taken together: two vectors of AVX-512, whose chains of operations run beside each other.
const LANES: usize = 32;

per_isa! {
    /// `sum_k query[k] tanh(value projected[k] + bias[k])`, in interleaved parts, a fixed order.
    pub(crate) fn attention_score(projected: &[f32], bias: &[f32], query: &[f32], value: f32) -> f32 {
        let n = projected.len();
        let term = |projected: f32, bias: f32, query: f32| query * tanh_approx(value * projected + bias);
        let mut parts = [0.0f32; LANES];
        let chunks = projected.chunks_exact(LANES).zip(bias.chunks_exact(LANES)).zip(query.chunks_exact(LANES));
        for ((projected, bias), query) in chunks {
            for (i, part) in parts.iter_mut().enumerate() {
                *part += term(projected[i], bias[i], query[i]);
            }
        }
        let rest = (n / LANES * LANES..n).map(|k| term(projected[k], bias[k], query[k]));
        parts.iter().sum::<f32>() + rest.sum::<f32>()
    }
}

per_isa! {
    /// The way back of [`attention_score`], whose gradient is `score`: adds to those of `projected`, of the bias and of the query, and returns the derivative
    /// of the score itself by the value.
    pub(crate) fn attention_score_backward(
        to_projected: &mut [f32], to_bias: &mut [f32], to_query: &mut [f32], projected: &[f32], bias: &[f32], query: &[f32],
        value: f32, score: f32,
    ) -> f32 {
        let n = projected.len();
        let (bias, query) = (&bias[..n], &query[..n]);
        let (to_projected, to_bias, to_query) = (&mut to_projected[..n], &mut to_bias[..n], &mut to_query[..n]);
        let mut parts = [0.0f32; LANES];
        for start in (0..n).step_by(LANES) {
            for (k, part) in (start..n.min(start + LANES)).zip(&mut parts) {
                let t = tanh_approx(value * projected[k] + bias[k]);
                let slope = query[k] * (1.0 - t * t);
                *part += slope * projected[k];
                to_projected[k] += score * value * slope;
                to_bias[k] += score * slope;
                to_query[k] += score * t;
            }
        }
        parts.iter().sum()
    }
}

per_isa! {
    /// `sum += factor x`, in double precision.
    pub(crate) fn add_scaled_f64(sum: &mut [f64], factor: f64, x: &[f32]) {
        sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += factor * f64::from(*x));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tanh_is_accurate_to_single_precision_and_within_one() {
        for x in (-12_000..=12_000).map(|i| i as f32 / 1000.0).chain([1e-8, -1e-4, 1e30, f32::INFINITY]) {
            let (y, exact) = (tanh_approx(x), f64::from(x).tanh());
            assert!((f64::from(y) - exact).abs() <= 4e-7 * exact.abs() && y.abs() <= 1.0, "tanh({x}) = {y}, exactly {exact}");
        }
        assert!(tanh_approx(f32::NAN).is_nan());
    }

    #[test]
    fn scores_and_their_derivatives_equal_plain_loops_for_every_width() {
        let numbers = |n: usize, step: usize| -> Vec<f32> { (0..n).map(|i| ((i * step) % 101) as f32 / 50.0 - 1.0).collect() };
        for d in [1, 15, 16, 40] {
            let (projected, bias, query) = (numbers(d, 37), numbers(d, 29), numbers(d, 53));
            for value in [-2.5f32, 0.0, 0.7] {
                let at = |k: usize| (f64::from(value) * f64::from(projected[k]) + f64::from(bias[k])).tanh();
                let expected: f64 = (0..d).map(|k| f64::from(query[k]) * at(k)).sum();
                assert!((f64::from(attention_score(&projected, &bias, &query, value)) - expected).abs() < 1e-5);
                let mut sums = [vec![1.0; d], vec![2.0; d], vec![3.0; d]];
                let [to_projected, to_bias, to_query] = &mut sums;
                let by_value = attention_score_backward(to_projected, to_bias, to_query, &projected, &bias, &query, value, 0.5);
                let slope = |k: usize| f64::from(query[k]) * (1.0 - at(k).powi(2));
                let expected: f64 = (0..d).map(|k| slope(k) * f64::from(projected[k])).sum();
                assert!((f64::from(by_value) - expected).abs() < 1e-5);
                for k in 0..d {
                    let found = [&sums[0], &sums[1], &sums[2]].map(|sum| f64::from(sum[k]));
                    let expected = [1.0 + 0.5 * f64::from(value) * slope(k), 2.0 + 0.5 * slope(k), 3.0 + 0.5 * at(k)];
                    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} and {expected:?}");
                }
            }
        }
    }

    #[test]
    fn sums_in_double_precision_keep_what_single_precision_drops() {
        let mut sum = [1e9f64; 20];
        add_scaled_f64(&mut sum, 0.5, &[0.25; 20]);
        assert!(sum.iter().all(|v| *v == 1e9 + 0.125));
    }
}
