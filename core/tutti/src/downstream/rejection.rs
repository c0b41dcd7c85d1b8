//! From where on a label is not to be believed, chosen on cells whose class is known.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Which end of a score says that a cell is of a known class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownSide {
    /// Large scores, such as the probability of the likeliest class.
    Large,
    /// Small scores, such as a novelty or a distance.
    Small,
}

/// A limit of a score, and how it was found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Threshold {
    /// The limit: a score of a held-out cell. A score that equals it is not rejected.
    pub value: f32,
    /// The side that is kept.
    pub known_side: KnownSide,
    /// Rate of false rejections that was asked for.
    pub false_rejection_rate: f64,
    /// Rate that cells like the held-out ones are rejected at, at most: a share of n_cells + 1. Above `false_rejection_rate` where the cells
    /// are too few.
    pub expected_rate: f64,
    /// Held-out cells.
    pub n_cells: usize,
    /// Of these, how many are beyond the limit.
    pub n_rejected: usize,
}

impl Threshold {
    /// Whether a score is beyond the limit.
    pub fn rejects(&self, score: f32) -> bool {
        match self.known_side {
            KnownSide::Large => score < self.value,
            KnownSide::Small => score > self.value,
        }
    }

    /// What a user should know: held-out cells too few for the rate that was asked for.
    pub fn warning(&self) -> Option<String> {
        let needed = cells_needed(self.false_rejection_rate);
        (self.expected_rate > self.false_rejection_rate + 1e-12).then(|| {
            format!(
                "{} held-out cells are too few for a false rejection rate of {}, which needs {needed}; the limit is their most extreme \
                 score, beyond which {:.3} of cells like them are expected",
                self.n_cells, self.false_rejection_rate, self.expected_rate
            )
        })
    }
}

/// Held-out cells from which on a limit can keep to a false rejection rate.
pub(super) fn cells_needed(false_rejection_rate: f64) -> usize {
    // As where the rank is taken: 1 / 0.05 must not be a little more than 20.
    (1.0 / false_rejection_rate - 1e-9).ceil() as usize - 1
}

/// The limit beyond which a share of at most `false_rejection_rate`, above 0 and below 1, of cells of known classes lie, from the scores of such
/// cells that trained nothing.
///
/// By the finite-sample quantile of split conformal prediction (Vovk et al. 2005; Lei et al. 2018): of n held-out scores the one of rank
/// ceil((n + 1)(1 - rate)), from the known side. For a new cell that is exchangeable with them the rate holds on average, whatever the scores
/// are. It does not hold for cells that differ from them by a batch effect: coverage then falls. Where n + 1 < 1 / rate, the limit is the most
/// extreme score and [`Threshold::warning`] says so.
///
/// # Errors
/// [`Error::Argument`] for a rate out of range; [`Error::Data`] for no scores or one that is NaN.
pub fn rejection_threshold(held_out: &[f32], known_side: KnownSide, false_rejection_rate: f64) -> Result<Threshold> {
    if !(false_rejection_rate > 0.0 && false_rejection_rate < 1.0) {
        let problem = format!("must be above 0 and below 1 (got {false_rejection_rate})");
        return Err(Error::argument("false_rejection_rate", problem, "use 0.05"));
    }
    if let Some(i) = held_out.iter().position(|s| s.is_nan()) {
        return Err(Error::data(format!("the score of held-out cell number {} is NaN", i + 1), "leave the cell out"));
    }
    let n = held_out.len();
    if n == 0 {
        return Err(Error::data("no cell is held out", "hold out labelled cells, or give a limit of your own"));
    }
    let mut scores = held_out.to_vec();
    // From what is known best to what is known least.
    scores.sort_unstable_by(f32::total_cmp);
    if known_side == KnownSide::Large {
        scores.reverse();
    }
    // 0.05 * 20 must be 1 also where rounding makes it a little less.
    let beyond = (false_rejection_rate * (n + 1) as f64 + 1e-9).floor() as usize;
    let rank = (n + 1 - beyond).clamp(1, n);
    let mut found = Threshold {
        value: scores[rank - 1],
        known_side,
        false_rejection_rate,
        expected_rate: (n + 1 - rank) as f64 / (n + 1) as f64,
        n_cells: n,
        n_rejected: 0,
    };
    found.n_rejected = held_out.iter().filter(|s| found.rejects(**s)).count();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn ranks_by_hand() {
        let scores: Vec<f32> = (1..=19).map(|i| i as f32).collect();
        let small = rejection_threshold(&scores, KnownSide::Small, 0.05).unwrap();
        // ceil(20 * 0.95) = 19.
        assert_eq!((small.value, small.n_rejected, small.expected_rate), (19.0, 0, 0.05));
        assert!(small.rejects(19.5) && !small.rejects(19.0) && small.warning().is_none());
        let large = rejection_threshold(&scores, KnownSide::Large, 0.1).unwrap();
        assert_eq!((large.value, large.n_rejected, large.expected_rate), (2.0, 1, 0.1));
        assert!(large.rejects(1.9) && !large.rejects(2.0));
    }

    #[test]
    fn too_few_cells_give_the_extreme_and_a_warning() {
        let few = rejection_threshold(&[0.9, 0.7, 0.8], KnownSide::Large, 0.05).unwrap();
        assert_eq!((few.value, few.expected_rate, few.n_rejected), (0.7, 0.25, 0));
        let warning = few.warning().unwrap();
        assert!(warning.contains("3 held-out cells are too few") && warning.contains("needs 19"), "{warning}");
        for rate in [0.025, 0.05, 0.1, 0.3, 1.0 / 3.0] {
            let expected = |n: usize| rejection_threshold(&vec![0.5; n], KnownSide::Large, rate).unwrap().expected_rate;
            let needed = cells_needed(rate);
            assert!(expected(needed) <= rate + 1e-9 && expected(needed - 1) > rate, "{rate}: {needed}");
        }
        let error = rejection_threshold(&[], KnownSide::Large, 0.05).unwrap_err().to_string();
        assert!(error.contains("no cell is held out"), "{error}");
        assert!(rejection_threshold(&[f32::NAN], KnownSide::Large, 0.05).is_err());
        assert!(rejection_threshold(&[1.0], KnownSide::Large, 0.0).is_err());
    }

    #[test]
    fn the_rate_holds_on_average_for_both_sides_and_few_cells() {
        for (n, rate) in [(19, 0.05), (30, 0.1), (57, 0.05)] {
            for side in [KnownSide::Large, KnownSide::Small] {
                let (mut rejected, trials) = (0, 20_000);
                let mut stream = Rng::new(n as u64).stream("scores", 0, 0);
                for _ in 0..trials {
                    let scores: Vec<f32> = (0..n).map(|_| stream.normal() as f32).collect();
                    let found = rejection_threshold(&scores, side, rate).unwrap();
                    rejected += usize::from(found.rejects(stream.normal() as f32));
                }
                let found = rejected as f64 / f64::from(trials);
                let expected = (rate * (n + 1) as f64 + 1e-9).floor() / (n + 1) as f64;
                // Five standard errors.
                assert!((found - expected).abs() < 5.0 * (rate / f64::from(trials)).sqrt(), "{n} {rate} {side:?}: {found}");
            }
        }
    }

    #[test]
    fn ties_are_kept() {
        let found = rejection_threshold(&[0.5; 40], KnownSide::Large, 0.2).unwrap();
        assert_eq!((found.value, found.n_rejected), (0.5, 0));
    }
}
