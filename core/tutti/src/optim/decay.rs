//! Which parameters a weight decay shrinks.

use serde::{Deserialize, Serialize};

/// Which parameters a weight decay shrinks, by the last part of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Neither biases nor the scales and shifts of normalisations: shrinking these only moves what the next layer sees.
    #[default]
    Weights,
    /// All but biases and shifts, as code does that goes by the name `bias` alone.
    AllButBiases,
    /// Everything, as PyTorch does unless told otherwise.
    All,
}

impl Decay {
    /// Whether the parameter of this name decays.
    pub fn applies_to(self, name: &str) -> bool {
        let last = name.rsplit('.').next().unwrap_or(name);
        match self {
            Self::Weights => !["bias", "beta", "gamma"].contains(&last),
            Self::AllButBiases => !["bias", "beta"].contains(&last),
            Self::All => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_decide() {
        let decaying = |decay: Decay| {
            let names = ["encoder.0.weight", "encoder.0.bias", "encoder.0.gamma", "encoder.0.beta", "centres"];
            names.map(|name| decay.applies_to(name))
        };
        assert_eq!(decaying(Decay::Weights), [true, false, false, false, true]);
        assert_eq!(decaying(Decay::AllButBiases), [true, false, true, false, true]);
        assert_eq!(decaying(Decay::All), [true; 5]);
    }
}
