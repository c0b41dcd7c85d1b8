//! Learning rate by epoch and step.

use serde::{Deserialize, Serialize};

/// How the learning rate changes from its initial value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Schedule {
    /// Stays as it is.
    Constant,
    /// Multiplied by `gamma` `per_epoch` times at the end of each epoch.
    StepDecay {
        /// Factor, above 0.
        gamma: f64,
        /// Times per epoch; the published CONCORD code steps twice.
        per_epoch: u32,
    },
    /// Falls linearly over all steps to `last` times the initial value.
    Linear {
        /// Share of the initial value at the end.
        last: f64,
    },
    /// Falls linearly over the first `n_steps` steps to `last` times the initial value, and stays there.
    LinearThenFlat {
        /// Share of the initial value at the end.
        last: f64,
        /// Steps of the fall, counted over all epochs.
        n_steps: usize,
    },
    /// Multiplied by `factor` once, after the share `at` of all steps.
    Drop {
        /// Share of the steps before it, 0 to 1.
        at: f64,
        /// Factor, above 0.
        factor: f64,
    },
    /// Rises linearly for `warmup_epochs`, then falls as half a cosine to zero.
    WarmupCosine {
        /// Epochs of the rise.
        warmup_epochs: usize,
    },
}

impl Schedule {
    /// Factor on the initial learning rate in step `step` (from 0) of `n_steps` of epoch `epoch` (from 0) of `n_epochs`.
    pub fn factor(&self, epoch: usize, n_epochs: usize, step: usize, n_steps: usize) -> f64 {
        let at = epoch as f64 + step as f64 / n_steps.max(1) as f64;
        let end = n_epochs.max(1) as f64;
        match *self {
            Self::Constant => 1.0,
            Self::StepDecay { gamma, per_epoch } => gamma.powf(f64::from(per_epoch) * epoch as f64),
            Self::Linear { last } => 1.0 - (1.0 - last) * (at / end),
            Self::LinearThenFlat { last, n_steps: falling } => {
                let done = (epoch * n_steps + step) as f64 / falling.max(1) as f64;
                1.0 - (1.0 - last) * done.min(1.0)
            }
            Self::Drop { at: share, factor } => {
                if at < share * end {
                    1.0
                } else {
                    factor
                }
            }
            Self::WarmupCosine { warmup_epochs } => {
                let warmup = warmup_epochs as f64;
                if at < warmup {
                    at / warmup
                } else {
                    0.5 * (1.0 + (std::f64::consts::PI * (at - warmup) / (end - warmup).max(f64::MIN_POSITIVE)).cos())
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_steps_per_epoch_square_the_factor() {
        let twice = Schedule::StepDecay { gamma: 0.97, per_epoch: 2 };
        assert_eq!(twice.factor(0, 15, 7, 10), 1.0);
        assert!((twice.factor(14, 15, 0, 10) - 0.97f64.powi(28)).abs() < 1e-12);
        // 0.01 becomes 0.0043 in the 15th epoch.
        assert!((0.01 * twice.factor(14, 15, 0, 10) - 0.00426).abs() < 1e-5);
        let once = Schedule::StepDecay { gamma: 0.97, per_epoch: 1 };
        assert!((once.factor(14, 15, 3, 10) - 0.97f64.powi(14)).abs() < 1e-12);
    }

    #[test]
    fn the_others_meet_their_ends() {
        let linear = Schedule::Linear { last: 0.01 };
        assert_eq!(linear.factor(0, 4, 0, 10), 1.0);
        assert!((linear.factor(2, 4, 0, 10) - 0.505).abs() < 1e-12);
        let short = Schedule::LinearThenFlat { last: 0.01, n_steps: 20 };
        let found = [(0, 0), (1, 0), (2, 0), (3, 9)].map(|(epoch, step)| short.factor(epoch, 4, step, 10));
        assert!(found.iter().zip([1.0, 0.505, 0.01, 0.01]).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        let drop = Schedule::Drop { at: 0.5, factor: 0.1 };
        assert_eq!([drop.factor(1, 4, 9, 10), drop.factor(2, 4, 0, 10), drop.factor(3, 4, 9, 10)], [1.0, 0.1, 0.1]);
        let cosine = Schedule::WarmupCosine { warmup_epochs: 2 };
        assert_eq!(cosine.factor(0, 10, 0, 5), 0.0);
        assert_eq!(cosine.factor(1, 10, 0, 5), 0.5);
        assert_eq!(cosine.factor(2, 10, 0, 5), 1.0);
        assert!((cosine.factor(6, 10, 0, 5) - 0.5).abs() < 1e-12);
    }
}
