//! From numbers to places, and round numbers for axes.

/// A linear map of data to pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

impl Scale {
    /// Maps `low..high` to `from..to`; equal ends are widened around themselves.
    pub(crate) fn new(low: f64, high: f64, from: f64, to: f64) -> Self {
        let (low, high) = if high > low { (low, high) } else { (low - 0.5, low + 0.5) };
        Self { low, high, from, to }
    }

    pub(crate) fn at(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }
}

/// Smallest and largest; 0 and 1 of nothing.
pub(crate) fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low.is_finite() { (low, high) } else { (0.0, 1.0) }
}

/// Round numbers within a range, about `n` of them: steps of 1, 2 or 5 times a power of ten.
pub(crate) fn ticks(low: f64, high: f64, n: usize) -> Vec<f64> {
    let raw = (high - low) / n.max(1) as f64;
    if !(raw.is_finite() && raw > 0.0) {
        return vec![low];
    }
    let power = 10f64.powf(raw.log10().floor());
    let within = |step: f64| ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    // The widest step that still gives three ticks, from the one that gives about n.
    let fit = [10.0, 5.0, 2.0, 1.0].into_iter().rev().find(|s| s * power >= raw * 0.999).unwrap_or(10.0);
    let steps = [10.0, 5.0, 2.0, 1.0, 0.5, 0.2].into_iter().filter(|s| *s <= fit).map(|s| s * power);
    let enough = |step: &f64| within(*step).1 - within(*step).0 >= 2;
    let step = steps.clone().find(enough).unwrap_or(fit * power);
    let (first, last) = within(step);
    (first..=last).map(|i| i as f64 * step).collect()
}

/// A tick as text, with the digits that the step between ticks needs.
pub(crate) fn tick_text(value: f64, all: &[f64]) -> String {
    let step = if all.len() > 1 { (all[1] - all[0]).abs() } else { value.abs().max(1.0) };
    if value.abs() >= 1e6 || (step < 1e-4 && value != 0.0) {
        return format!("{value:e}");
    }
    let digits = (-step.log10() - 1e-9).ceil().clamp(0.0, 6.0) as usize;
    let text = format!("{value:.digits$}");
    // A true minus is as wide as a plus.
    if value == 0.0 { text.replace('-', "") } else { text.replace('-', "−") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(0.0, 10.0, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(-0.31, 0.52, 4).iter().map(|t| (t * 100.0).round() as i64).collect::<Vec<_>>(), [-20, 0, 20, 40]);
        assert_eq!(ticks(3.0, 3.0, 4), [3.0]);
        let all = ticks(0.0, 1.0, 5);
        assert_eq!(tick_text(all[1], &all), "0.2");
        assert_eq!(tick_text(-20.0, &[-20.0, 0.0]), "−20");
    }

    #[test]
    fn a_scale_maps_its_ends_and_widens_a_point() {
        let scale = Scale::new(2.0, 4.0, 100.0, 0.0);
        assert_eq!((scale.at(2.0), scale.at(4.0), scale.at(3.0)), (100.0, 0.0, 50.0));
        assert_eq!(Scale::new(5.0, 5.0, 0.0, 10.0).at(5.0), 5.0);
        assert_eq!(range(std::iter::empty()), (0.0, 1.0));
    }
}
