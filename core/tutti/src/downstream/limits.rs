//! Limits of probability and novelty from held-out cells: over all of them, or for each class on those that are called by it.

use serde::{Deserialize, Serialize};

use super::rejection::{KnownSide, Threshold, cells_needed, rejection_threshold};
use super::{Annotations, Rejection};
use crate::error::Result;

/// For which cells a limit is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitScope {
    /// One for all cells.
    #[default]
    Overall,
    /// One for each class, for the cells that are called by it.
    ByClass,
}

/// The limits of one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassLimits {
    /// Its name.
    pub class: String,
    /// Held-out cells of known classes that are called by it.
    pub n_held_out: usize,
    /// How the least probability was chosen; `None` where that of all classes holds.
    pub probability_threshold: Option<Threshold>,
    /// How the largest novelty was chosen; `None` where that of all classes holds.
    pub novelty_threshold: Option<Threshold>,
    /// The limits in use.
    pub limits: Rejection,
}

/// Which limits are chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    pub probability: bool,
    pub novelty: bool,
    /// False rejection rate of each.
    pub rate: f64,
}

/// What was chosen on some cells.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Chosen {
    pub probability: Option<Threshold>,
    pub novelty: Option<Threshold>,
}

impl Choice {
    /// On these of the held-out cells.
    pub fn on(&self, held_out: &Annotations, cells: &[usize]) -> Result<Chosen> {
        let of = |values: &[f32]| cells.iter().map(|i| values[*i]).collect::<Vec<f32>>();
        let choose = |values: &[f32], side| rejection_threshold(&of(values), side, self.rate).map(Some);
        Ok(Chosen {
            probability: if self.probability { choose(&held_out.probability, KnownSide::Large)? } else { None },
            novelty: match &held_out.novelty {
                Some(novelty) if self.novelty => choose(novelty, KnownSide::Small)?,
                _ => None,
            },
        })
    }

    /// For each class, on those of the held-out cells that are called by it; the `overall` limits where these are too few for the rate.
    pub fn by_class(&self, held_out: &Annotations, cells: &[usize], overall: &Rejection) -> Result<Vec<ClassLimits>> {
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); held_out.label.n_levels()];
        let called = cells.iter().filter_map(|i| held_out.label.codes()[*i].map(|code| (*i, code)));
        called.for_each(|(i, code)| members[code as usize].push(i));
        let limits = |(class, cells): (&String, Vec<usize>)| {
            let enough = cells.len() >= cells_needed(self.rate);
            let chosen = if enough { self.on(held_out, &cells)? } else { Chosen::default() };
            Ok(ClassLimits {
                class: class.clone(),
                n_held_out: cells.len(),
                probability_threshold: chosen.probability,
                novelty_threshold: chosen.novelty,
                limits: chosen.or(overall),
            })
        };
        held_out.label.levels().iter().zip(members).map(limits).collect()
    }

    /// Which classes have the limits of all, for the user.
    pub fn warning(&self, classes: &[ClassLimits]) -> Option<String> {
        let needed = cells_needed(self.rate);
        let small = classes.iter().filter(|c| c.n_held_out < needed).map(|c| format!("{} ({})", c.class, c.n_held_out));
        let small: Vec<String> = small.collect();
        (!small.is_empty()).then(|| {
            let small = small.join(", ");
            format!("of these classes fewer than {needed} held-out cells are called, so that the limits of all together hold for them: {small}")
        })
    }
}

impl Chosen {
    /// With other limits where none was chosen.
    pub fn or(&self, others: &Rejection) -> Rejection {
        Rejection {
            min_confidence: self.probability.map(|t| t.value).or(others.min_confidence),
            max_novelty: self.novelty.map(|t| t.value).or(others.max_novelty),
            min_similarity: others.min_similarity,
        }
    }
}
