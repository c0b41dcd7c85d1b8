//! Stops when held-out cells no longer gain.

/// Remembers the best value and how long ago it was.
#[derive(Debug, Clone, PartialEq)]
pub struct EarlyStopping {
    patience: usize,
    min_delta: f64,
    best: Option<(usize, f64)>,
    since: usize,
}

impl EarlyStopping {
    /// Stops after more than `patience` epochs in a row without a value that is better than the best by more than `min_delta`.
    pub fn new(patience: usize, min_delta: f64) -> Self {
        Self { patience, min_delta, best: None, since: 0 }
    }

    /// Takes the value of an epoch; true where it is the best so far.
    pub fn observe(&mut self, epoch: usize, value: f64) -> bool {
        let better = self.best.is_none_or(|(_, best)| value < best - self.min_delta);
        if better {
            self.best = Some((epoch, value));
            self.since = 0;
        } else {
            self.since += 1;
        }
        better
    }

    /// Whether it is time to stop.
    pub fn should_stop(&self) -> bool {
        self.since > self.patience
    }

    /// Epoch of the best value.
    pub fn best_epoch(&self) -> Option<usize> {
        self.best.map(|(epoch, _)| epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_after_patience_is_exceeded_and_starts_anew_on_a_gain() {
        let mut stop = EarlyStopping::new(2, 0.0);
        let values = [3.0, 2.0, 2.5, 2.5, 1.0, 1.5, 1.5];
        for (epoch, value) in values.iter().enumerate() {
            stop.observe(epoch, *value);
            assert!(!stop.should_stop(), "epoch {epoch}");
        }
        stop.observe(7, 1.0);
        assert!(stop.should_stop());
        assert_eq!(stop.best_epoch(), Some(4));
    }

    #[test]
    fn a_gain_below_the_least_one_is_none() {
        let mut stop = EarlyStopping::new(1, 0.1);
        assert_eq!([1.0, 0.95, 0.85, 0.8, 0.76].map(|v| stop.observe(0, v)), [true, false, true, false, false]);
        assert!(stop.should_stop());
    }
}
