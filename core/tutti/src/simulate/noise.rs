//! Values around their noise-free expression.

use super::draw::{Counts, poisson};
use super::spec::{Distribution, DropoutCurve};
use crate::rng::Stream;

/// One value around `mean`, 0 or above.
pub(super) fn draw(distribution: Distribution, mean: f64, dispersion: f64, stream: &mut Stream) -> f64 {
    match distribution {
        Distribution::Normal => mean + dispersion * stream.normal(),
        Distribution::Poisson => poisson(mean, stream) as f64,
        Distribution::NegativeBinomial => Counts::new(mean, dispersion).draw(stream) as f64,
        Distribution::LogNormal => mean * (dispersion * stream.normal() - dispersion * dispersion / 2.0).exp(),
    }
}

/// Replaces the means of one cell by values around them.
pub(super) fn add_noise(distribution: Distribution, dispersion: f64, values: &mut [f32], stream: &mut Stream) {
    if distribution == Distribution::Normal {
        if dispersion > 0.0 {
            values.iter_mut().for_each(|v| *v += (dispersion * stream.normal()) as f32);
        }
        return;
    }
    if distribution == Distribution::NegativeBinomial {
        let mut counts = Counts::new(0.0, dispersion);
        let mut last = 0.0;
        for v in values.iter_mut().filter(|v| **v != 0.0) {
            if *v != last {
                (last, counts) = (*v, Counts::new(f64::from(*v), dispersion));
            }
            *v = counts.draw(stream) as f32;
        }
        return;
    }
    // Nothing is drawn around 0, which most genes of most cells are.
    for v in values.iter_mut().filter(|v| **v != 0.0) {
        *v = draw(distribution, f64::from(*v), dispersion, stream) as f32;
    }
}

/// Loses values with one probability for all, and by the curve of their means where there is one.
pub(super) fn drop_values(p: f64, curve: Option<DropoutCurve>, means: &[f32], values: &mut [f32], stream: &mut Stream) {
    for (value, mean) in values.iter_mut().zip(means).filter(|(v, _)| **v != 0.0) {
        // A mean of 0 counts as the smallest there is, so that a shape of 0 loses half of everything.
        let log_mean = f64::from(mean.max(f32::MIN_POSITIVE)).ln();
        let by_mean = curve.map_or(0.0, |c| 1.0 / (1.0 + (-c.shape * (log_mean - c.mid)).exp()));
        if stream.bernoulli(1.0 - (1.0 - p) * (1.0 - by_mean)) {
            *value = 0.0;
        }
    }
}

/// What a measurement cannot be: negative, or between two counts.
pub(super) fn measure(non_neg: bool, to_int: bool, values: &mut [f32]) {
    if non_neg {
        values.iter_mut().for_each(|v| *v = v.max(0.0));
    }
    if to_int {
        values.iter_mut().for_each(|v| *v = v.round());
    }
}
