//! Probabilities that mean what they say: one temperature for all classes, fitted to cells whose class is known and that trained nothing.

use ndarray::{Array2, ArrayView1, ArrayView2};
use serde::Serialize;

use crate::error::{Error, Result};

/// Temperatures that [`fit_temperature`] gives. Beyond them nothing changes any more: one class has all, or all have the same.
pub const TEMPERATURES: [f64; 2] = [0.02, 50.0];

/// A temperature T: probabilities are softmax(logits / T). Above 1 makes them less certain, below 1 more; no cell changes its class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Temperature {
    /// T, within [`TEMPERATURES`].
    pub temperature: f64,
    /// Mean of -log of the probability of the true class before, nats.
    pub nll_before: f64,
    /// The same after.
    pub nll_after: f64,
    /// Cells that it was fitted to.
    pub n_cells: usize,
    /// Whether T is one of the ends of [`TEMPERATURES`]: all classes are right by far, or worse than guessed.
    pub at_limit: bool,
}

impl Temperature {
    /// softmax(logits / T), [n_cells, n_classes]; a row sums to 1.
    ///
    /// # Errors
    /// [`Error::Data`] for a logit that is not finite.
    pub fn probabilities(&self, logits: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        check_logits(logits)?;
        let mut out = Array2::zeros(logits.raw_dim());
        for (row, mut out) in logits.rows().into_iter().zip(out.rows_mut()) {
            let p = softmax(row, 1.0 / self.temperature);
            out.iter_mut().zip(p).for_each(|(out, p)| *out = p as f32);
        }
        Ok(out)
    }
}

/// Temperature scaling (Guo et al. 2017, section 4.2): the T of least negative log likelihood on cells that were held out of training.
///
/// logits: [n_cells, n_classes]; `truth`: the class of each cell, a column of `logits`; cells without take no part. The likelihood is convex
/// in 1 / T, which Newton's method with bisection finds to 1e-9.
///
/// `smoothing`, 0 to below 1, is the share of every target that is spread over all classes. 0 is Guo et al. Where all cells are right, T then
/// falls to its least; 1 / (n_cells + 2), after Platt (1999), keeps certainty to what so many cells can show.
///
/// # Errors
/// [`Error::Argument`] for a smoothing out of range; [`Error::Data`] for no cell with a class, less than two classes, a class without column
/// or a logit that is not finite.
pub fn fit_temperature(logits: ArrayView2<'_, f32>, truth: &[Option<u32>], smoothing: f64) -> Result<Temperature> {
    if !(0.0..1.0).contains(&smoothing) {
        return Err(Error::argument("smoothing", format!("must be from 0 to below 1 (got {smoothing})"), "use 0"));
    }
    let known = known_rows(logits, truth)?;
    // Of every cell the logit of its target.
    let target = |i: usize, class: u32| {
        let row = logits.row(i);
        let mean = row.iter().map(|z| f64::from(*z)).sum::<f64>() / row.len() as f64;
        (1.0 - smoothing) * f64::from(row[class as usize]) + smoothing * mean
    };
    let targets: Vec<f64> = known.iter().map(|(i, class)| target(*i, *class)).collect();
    // First and second derivative by 1 / T of the mean likelihood.
    let derivatives = |inverse: f64| {
        let (mut slope, mut curvature) = (0.0, 0.0);
        for ((i, _), target) in known.iter().zip(&targets) {
            let row = logits.row(*i);
            let p = softmax(row, inverse);
            let mean: f64 = p.iter().zip(row).map(|(p, z)| p * f64::from(*z)).sum();
            slope += mean - target;
            curvature += p.iter().zip(row).map(|(p, z)| p * (f64::from(*z) - mean).powi(2)).sum::<f64>();
        }
        (slope / known.len() as f64, curvature / known.len() as f64)
    };
    let inverse = least(derivatives, 1.0 / TEMPERATURES[1], 1.0 / TEMPERATURES[0]);
    let nll = |inverse: f64| {
        let one = |(i, class): &(usize, u32)| {
            let row = logits.row(*i);
            log_total(row, inverse) - inverse * f64::from(row[*class as usize])
        };
        known.iter().map(one).sum::<f64>() / known.len() as f64
    };
    let temperature = 1.0 / inverse;
    let at_limit = TEMPERATURES.iter().any(|limit| (temperature / limit - 1.0).abs() < 1e-9);
    Ok(Temperature { temperature, nll_before: nll(1.0), nll_after: nll(inverse), n_cells: known.len(), at_limit })
}

/// Logits of probabilities or of shares of votes, [n_cells, n_classes]: logs of the values after a share `uniform`, above 0 and below 1, of each
/// row is spread over all classes, so that none is without hope.
///
/// 1e-6 for probabilities of a network. For shares of k votes 1 / (k + 1) is one vote more that all classes share.
///
/// # Errors
/// [`Error::Argument`] for a share out of range; [`Error::Data`] for a value below 0 or not finite, or a row without any.
pub fn log_probabilities(probabilities: ArrayView2<'_, f32>, uniform: f64) -> Result<Array2<f32>> {
    if !(uniform > 0.0 && uniform < 1.0) {
        return Err(Error::argument("uniform", format!("must be above 0 and below 1 (got {uniform})"), "use 1e-6"));
    }
    let mut out = Array2::zeros(probabilities.raw_dim());
    for (i, (row, mut out)) in probabilities.rows().into_iter().zip(out.rows_mut()).enumerate() {
        let total: f64 = row.iter().map(|p| f64::from(*p)).sum();
        if row.iter().any(|p| !(*p >= 0.0 && p.is_finite())) || total <= 0.0 {
            let problem = format!("cell number {} has no probabilities: {row}", i + 1);
            return Err(Error::data(problem, "give numbers of 0 or more, not all 0"));
        }
        let each = uniform / row.len() as f64;
        out.iter_mut().zip(row).for_each(|(out, p)| *out = (((1.0 - uniform) * f64::from(*p) / total) + each).ln() as f32);
    }
    Ok(out)
}

/// Where the derivative is 0, within the limits: Newton's steps, halving where they leave what is known to hold it.
fn least(derivatives: impl Fn(f64) -> (f64, f64), mut low: f64, mut high: f64) -> f64 {
    if derivatives(low).0 >= 0.0 {
        return low;
    }
    if derivatives(high).0 <= 0.0 {
        return high;
    }
    let mut at = 1.0;
    for _ in 0..200 {
        let (slope, curvature) = derivatives(at);
        if slope > 0.0 {
            high = at
        } else {
            low = at
        }
        let newton = at - slope / curvature;
        let next = if newton > low && newton < high { newton } else { (low * high).sqrt() };
        if (next - at).abs() <= 1e-10 * at {
            return next;
        }
        at = next;
    }
    at
}

/// Rows with a class, and the class.
fn known_rows(logits: ArrayView2<'_, f32>, truth: &[Option<u32>]) -> Result<Vec<(usize, u32)>> {
    let (n_cells, n_classes) = logits.dim();
    if truth.len() != n_cells {
        return Err(Error::data(
            format!("logits of {n_cells} cells and classes of {}", truth.len()),
            "give both of the same cells",
        ));
    }
    if n_classes < 2 {
        return Err(Error::data(format!("there are {n_classes} classes"), "two at least are needed to tell apart"));
    }
    check_logits(logits)?;
    let known: Vec<(usize, u32)> = truth.iter().enumerate().filter_map(|(i, class)| class.map(|class| (i, class))).collect();
    if let Some((i, class)) = known.iter().find(|(_, class)| *class as usize >= n_classes) {
        return Err(Error::data(format!("cell number {} is of class {class}, of {n_classes}", i + 1), "give a column per class"));
    }
    if known.is_empty() {
        return Err(Error::data("no cell has a class to calibrate with", "hold out labelled cells"));
    }
    Ok(known)
}

fn check_logits(logits: ArrayView2<'_, f32>) -> Result<()> {
    match logits.rows().into_iter().position(|row| row.iter().any(|z| !z.is_finite())) {
        Some(i) => Err(Error::data(format!("a logit of cell number {} is not finite", i + 1), "see `log_probabilities`")),
        None => Ok(()),
    }
}

/// log of the sum of exp(inverse * logit).
fn log_total(row: ArrayView1<'_, f32>, inverse: f64) -> f64 {
    let top = row.iter().fold(f64::NEG_INFINITY, |top, z| top.max(inverse * f64::from(*z)));
    top + row.iter().map(|z| (inverse * f64::from(*z) - top).exp()).sum::<f64>().ln()
}

fn softmax(row: ArrayView1<'_, f32>, inverse: f64) -> Vec<f64> {
    let total = log_total(row, inverse);
    row.iter().map(|z| (inverse * f64::from(*z) - total).exp()).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::rng::Rng;

    /// Logits, and classes drawn by softmax(logits / t).
    fn drawn(n: usize, t: f64, seed: u64) -> (Array2<f32>, Vec<Option<u32>>) {
        let mut stream = Rng::new(seed).stream("logits", 0, 0);
        let logits = Array2::from_shape_fn((n, 4), |_| 3.0 * stream.normal() as f32);
        let draw = |row: ArrayView1<'_, f32>, mut u: f64| {
            let p = softmax(row, 1.0 / t);
            Some(
                (0..3)
                    .find(|c| {
                        u -= p[*c];
                        u < 0.0
                    })
                    .unwrap_or(3) as u32,
            )
        };
        let truth = logits.rows().into_iter().map(|row| draw(row, stream.uniform())).collect();
        (logits, truth)
    }

    fn nll(logits: &Array2<f32>, truth: &[Option<u32>], t: f64) -> f64 {
        let one = |(row, class): (ArrayView1<'_, f32>, &Option<u32>)| {
            let total: f64 = row.iter().map(|z| (f64::from(*z) / t).exp()).sum();
            -((f64::from(row[class.unwrap() as usize]) / t).exp() / total).ln()
        };
        logits.rows().into_iter().zip(truth).map(one).sum::<f64>() / truth.len() as f64
    }

    #[test]
    fn the_temperature_that_drew_the_classes_is_found_and_none_is_better() {
        for (t, seed) in [(0.5, 1), (1.0, 2), (2.5, 3)] {
            let (logits, truth) = drawn(4000, t, seed);
            let found = fit_temperature(logits.view(), &truth, 0.0).unwrap();
            assert!((found.temperature / t - 1.0).abs() < 0.08, "{t}: {found:?}");
            assert!((found.nll_before - nll(&logits, &truth, 1.0)).abs() < 1e-9 && !found.at_limit);
            assert!((found.nll_after - nll(&logits, &truth, found.temperature)).abs() < 1e-9);
            for other in [0.5, 0.9, 0.999, 1.001, 1.1, 2.0] {
                assert!(found.nll_after < nll(&logits, &truth, found.temperature * other), "{t}: {other}");
            }
            let p = found.probabilities(logits.view()).unwrap();
            assert!(p.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-5));
        }
    }

    #[test]
    fn two_cells_in_closed_form() {
        // Two of three cells are right at a logit of 1: softmax must give 2 / 3, so that exp(1 / T) = 2.
        let logits = array![[1.0f32, 0.0], [1.0, 0.0], [0.0, 1.0], [5.0, 5.0]];
        let found = fit_temperature(logits.view(), &[Some(0), Some(0), Some(0), None], 0.0).unwrap();
        assert!((found.temperature - 1.0 / 2f64.ln()).abs() < 1e-8, "{found:?}");
        assert_eq!(found.n_cells, 3);
        let p = found.probabilities(logits.view()).unwrap();
        assert!((p[[0, 0]] - 2.0 / 3.0).abs() < 1e-6 && (p[[3, 0]] - 0.5).abs() < 1e-6);
    }

    #[test]
    fn all_right_is_as_certain_as_the_cells_can_show() {
        let logits = array![[1.0f32, 0.0], [1.0, 0.0], [0.0, 1.0]];
        let truth = [Some(0), Some(0), Some(1)];
        let hard = fit_temperature(logits.view(), &truth, 0.0).unwrap();
        assert!(hard.at_limit && (hard.temperature - TEMPERATURES[0]).abs() < 1e-9, "{hard:?}");
        let soft = fit_temperature(logits.view(), &truth, 0.2).unwrap();
        // The target of the right class is 0.9.
        assert!((f64::from(soft.probabilities(logits.view()).unwrap()[[0, 0]]) - 0.9).abs() < 1e-6, "{soft:?}");
        let wrong = fit_temperature(logits.view(), &[Some(1), Some(1), Some(0)], 0.0).unwrap();
        assert!(wrong.at_limit && wrong.temperature > 49.0, "{wrong:?}");
        // Whatever is added to the logits of a cell changes nothing.
        let (logits, truth) = drawn(50, 1.0, 4);
        let found = fit_temperature(logits.view(), &truth, 0.0).unwrap().temperature;
        let moved = fit_temperature((&logits + 100.0).view(), &truth, 0.0).unwrap().temperature;
        assert!((found / moved - 1.0).abs() < 1e-4);
    }

    #[test]
    fn votes_become_logits_with_one_vote_more() {
        let logs = log_probabilities(array![[1.0f32, 0.0], [3.0, 1.0]].view(), 0.2).unwrap();
        let expected = array![[0.9f32.ln(), 0.1f32.ln()], [0.7f32.ln(), 0.3f32.ln()]];
        assert!((&logs - &expected).iter().all(|d| d.abs() < 1e-6), "{logs}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let x = array![[1.0f32, 0.0], [f32::NAN, 0.0]];
        let refused = |x: ArrayView2<'_, f32>, truth: &[Option<u32>]| fit_temperature(x, truth, 0.0).unwrap_err().to_string();
        assert!(refused(x.view(), &[Some(0), None]).contains("cell number 2 is not finite"));
        let fine = array![[1.0f32, 0.0]];
        assert!(refused(fine.view(), &[]).contains("logits of 1 cells and classes of 0"));
        assert!(refused(fine.view(), &[None]).contains("no cell has a class"));
        assert!(refused(fine.view(), &[Some(2)]).contains("class 2, of 2"));
        assert!(refused(array![[1.0f32]].view(), &[Some(0)]).contains("there are 1 classes"));
        assert!(fit_temperature(fine.view(), &[Some(0)], 1.0).is_err());
        assert!(log_probabilities(array![[0.0f32, 0.0]].view(), 0.1).is_err() && log_probabilities(x.view(), 0.1).is_err());
        assert!(log_probabilities(fine.view(), 0.0).is_err());
    }
}
