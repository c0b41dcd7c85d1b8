//! Exponentials, and the functions made of them.

use super::{Isa, per_isa, sum_inline};

/// `exp(x)` for x of at most 88, relative error below 2e-7; 0 for very negative x. Written so that loops over it vectorise.
#[inline(always)]
fn exp_approx(x: f32) -> f32 {
    // Range reduction x = n ln 2 + r, then the degree-6 Taylor polynomial on |r| <= ln 2 / 2.
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits: no conversion that would keep the loop scalar.
    let shifted = x.max(-87.0) * std::f32::consts::LOG2_E + 12_582_912.0;
    let n = shifted - 12_582_912.0;
    let r = (x.max(-87.0) - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r + 1.0;
    let p = p * r + 1.0;
    p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
}

per_isa! {
    /// `out[i] = exp(scale * (x[i] - shift))` where `mask[i]` is above 0, elsewhere 0; returns their sum, in the order of [`sum`].
    pub(crate) fn exp_masked(out: &mut [f32], x: &[f32], mask: &[f32], scale: f32, shift: f32) -> f32 {
        let n = out.len();
        let (x, mask) = (&x[..n], &mask[..n]);
        for i in 0..n {
            // What is masked may be far above the shift.
            let value = exp_approx(scale * (x[i] - shift));
            out[i] = if mask[i] > 0.0 { value } else { 0.0 };
        }
        sum_inline(out)
    }
}

/// `log(1 + t)` for t from 0 to 1, to single precision: twice the series of the inverse hyperbolic tangent at t / (2 + t), at most 1/3.
#[inline(always)]
fn log_1p_approx(t: f32) -> f32 {
    let s = t / (2.0 + t);
    let square = s * s;
    let p = 1.0 / 13.0;
    let p = p * square + 1.0 / 11.0;
    let p = p * square + 1.0 / 9.0;
    let p = p * square + 1.0 / 7.0;
    let p = p * square + 1.0 / 5.0;
    let p = p * square + 1.0 / 3.0;
    2.0 * s * (p * square + 1.0)
}

#[inline(always)]
fn sigmoid_approx(x: f32) -> f32 {
    let e = exp_approx(-x.abs());
    let r = 1.0 / (1.0 + e);
    if x < 0.0 { e * r } else { r }
}

#[inline(always)]
fn tanh_approx(x: f32) -> f32 {
    // Near 0 the Taylor series: the difference of exponentials would lose digits there.
    let square = x * x;
    let p = -1382.0 / 155_925.0;
    let p = p * square + 62.0 / 2835.0;
    let p = p * square - 17.0 / 315.0;
    let p = p * square + 2.0 / 15.0;
    let p = p * square - 1.0 / 3.0;
    let near = x + x * square * p;
    let e = exp_approx(-2.0 * x.abs());
    let far = ((1.0 - e) / (1.0 + e)).copysign(x);
    if square < 0.09 { near } else { far }
}

/// `value`, or `x` where this is not a number: minima and maxima would hide it.
#[inline(always)]
fn unless_nan(x: f32, value: f32) -> f32 {
    if x.is_nan() { x } else { value }
}

per_isa! {
    /// `out = log(1 + exp(x))`.
    pub(crate) fn softplus(out: &mut [f32], x: &[f32]) {
        for (out, x) in out.iter_mut().zip(x) {
            *out = unless_nan(*x, x.max(0.0) + log_1p_approx(exp_approx(-x.abs())));
        }
    }
}

per_isa! {
    /// `out = grad / (1 + exp(-x))`.
    pub(crate) fn softplus_backward(out: &mut [f32], x: &[f32], grad: &[f32]) {
        for ((out, x), grad) in out.iter_mut().zip(x).zip(grad) {
            *out = grad * unless_nan(*x, sigmoid_approx(*x));
        }
    }
}

per_isa! {
    /// `out = tanh(x)`.
    pub(crate) fn tanh(out: &mut [f32], x: &[f32]) {
        for (out, x) in out.iter_mut().zip(x) {
            *out = unless_nan(*x, tanh_approx(*x));
        }
    }
}

per_isa! {
    /// `out = grad (1 - y²)`.
    pub(crate) fn tanh_backward(out: &mut [f32], y: &[f32], grad: &[f32]) {
        for ((out, y), grad) in out.iter_mut().zip(y).zip(grad) {
            *out = grad * (1.0 - y * y);
        }
    }
}

per_isa! {
    /// `out = 1 / (1 + exp(-x))`.
    pub(crate) fn sigmoid(out: &mut [f32], x: &[f32]) {
        for (out, x) in out.iter_mut().zip(x) {
            *out = unless_nan(*x, sigmoid_approx(*x));
        }
    }
}

per_isa! {
    /// `out = grad y (1 - y)`.
    pub(crate) fn sigmoid_backward(out: &mut [f32], y: &[f32], grad: &[f32]) {
        for ((out, y), grad) in out.iter_mut().zip(y).zip(grad) {
            *out = grad * (y * (1.0 - y));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_accurate_to_single_precision() {
        let x: Vec<f32> = (-8600..=880).map(|i| i as f32 / 100.0).collect();
        let mut out = vec![0.0; x.len()];
        exp_masked(&mut out, &x, &vec![1.0; x.len()], 1.0, 0.0);
        for (x, y) in x.iter().zip(out) {
            let exact = f64::from(*x).exp();
            assert!((f64::from(y) - exact).abs() <= 4e-7 * exact, "exp({x}) = {y}, exactly {exact}");
        }
    }
}
