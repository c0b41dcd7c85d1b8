//! Labelled cells that train nothing, to calibrate on.

use crate::data::Categorical;
use crate::error::{Error, Result};
use crate::rng::Rng;

/// Labelled cells in two parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldOut {
    /// Cells to train on or to vote, ascending.
    pub train: Vec<usize>,
    /// The others, ascending.
    pub held_out: Vec<usize>,
    /// Classes too small to hold a cell out, in the order of the levels.
    pub whole: Vec<String>,
}

/// Cells that a class needs for one to be held out.
const MIN_CLASS: usize = 5;

/// Holds out a share of each class at random, above 0 and below 1, rounded, one cell at least; classes of less than 5 cells are trained on as a
/// whole. Cells without a label are in neither part.
///
/// # Errors
/// [`Error::Argument`] for a share out of range.
pub fn hold_out(labels: &Categorical, share: f64, rng: &Rng) -> Result<HoldOut> {
    if !(share > 0.0 && share < 1.0) {
        return Err(Error::argument("held_out", format!("must be above 0 and below 1 (got {share})"), "use 0.2"));
    }
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); labels.n_levels()];
    let labelled = labels.codes().iter().enumerate().filter_map(|(i, code)| code.map(|code| (i, code)));
    labelled.for_each(|(i, code)| members[code as usize].push(i));
    let mut out = HoldOut { train: Vec::new(), held_out: Vec::new(), whole: Vec::new() };
    for (class, mut cells) in members.into_iter().enumerate().filter(|(_, cells)| !cells.is_empty()) {
        let n = cells.len();
        if n < MIN_CLASS {
            out.whole.push(labels.levels()[class].clone());
            out.train.extend(cells);
            continue;
        }
        rng.stream("hold_out", class as u64, 0).shuffle(&mut cells);
        let n_held_out = ((share * n as f64).round() as usize).clamp(1, n - 1);
        out.held_out.extend(&cells[..n_held_out]);
        out.train.extend(&cells[n_held_out..]);
    }
    out.train.sort_unstable();
    out.held_out.sort_unstable();
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_gives_its_share_and_small_ones_stay_whole() {
        let label = |i: usize| match i {
            0..40 => Some("a"),
            40..45 => Some("b"),
            45..49 => Some("c"),
            _ => None,
        };
        let labels = Categorical::from_values((0..60).map(label));
        let found = hold_out(&labels, 0.2, &Rng::new(3)).unwrap();
        let of = |class: &str| found.held_out.iter().filter(|i| labels.value(**i) == Some(class)).count();
        assert_eq!((of("a"), of("b"), of("c")), (8, 1, 0));
        assert_eq!(found.whole, ["c"]);
        let mut all = [found.train.clone(), found.held_out.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..49).collect::<Vec<_>>());
        assert_eq!(hold_out(&labels, 0.2, &Rng::new(3)).unwrap(), found);
        assert_ne!(hold_out(&labels, 0.2, &Rng::new(4)).unwrap(), found);
        assert!(hold_out(&labels, 1.0, &Rng::new(3)).is_err() && hold_out(&labels, 0.0, &Rng::new(3)).is_err());
    }
}
