//! Which batch and state each cell has, and where in the state it is.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::draw::dirichlet;
use super::spec::{Batches, number, positive, share};
use crate::error::{Error, Result};
use crate::rng::Rng;

/// Shares of something: `"equal"`, `{ given = [3, 1] }`, `{ dirichlet = 1.0 }` or `{ log_normal = 0.8 }`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sizes {
    /// All the same.
    #[default]
    Equal,
    /// These, in any unit, each above 0.
    Given(Vec<f64>),
    /// One Dirichlet draw of this concentration; below 1 few shares take nearly all.
    Dirichlet(f64),
    /// Log-normal with this standard deviation of the log.
    LogNormal(f64),
}

impl Sizes {
    pub(super) fn validate(&self, key: &str, n: usize) -> Result<()> {
        match self {
            Self::Equal => Ok(()),
            Self::Given(values) if values.len() != n => {
                Err(Error::argument(key, format!("has {} numbers for {n}", values.len()), format!("give {n} numbers")))
            }
            Self::Given(values) => values.iter().try_for_each(|v| positive(key, *v)),
            Self::Dirichlet(concentration) => positive(key, *concentration),
            Self::LogNormal(spread) => super::spec::not_negative(key, *spread),
        }
    }

    /// `n` shares that sum to 1.
    pub(super) fn draw(&self, key: &str, n: usize, rng: &Rng) -> Result<Vec<f64>> {
        self.validate(key, n)?;
        let mut stream = rng.stream(key, 0, 0);
        let weights: Vec<f64> = match self {
            Self::Equal => vec![1.0; n],
            Self::Given(values) => values.clone(),
            Self::Dirichlet(concentration) => dirichlet(n, *concentration, &mut stream),
            Self::LogNormal(spread) => (0..n).map(|_| (spread * stream.normal()).exp()).collect(),
        };
        let total: f64 = weights.iter().sum();
        Ok(weights.iter().map(|w| w / total).collect())
    }
}

/// Which states the batches have in common. The states stand in a row (clusters by number, a path or tree by time and branch), cut into
/// one piece per batch; the number is the width of the zone at each border, in pieces, 0 to below 1.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Every batch has all states.
    #[default]
    Full,
    /// Neighbours share the zone at their border: `{ partial = 0.4 }`.
    Partial(f64),
    /// Each batch has its piece alone.
    None,
    /// No batch has the zone at a border: `{ gap = 0.4 }`.
    Gap(f64),
}

impl Overlap {
    pub(super) fn validate(self) -> Result<()> {
        match self {
            Self::Full | Self::None => Ok(()),
            Self::Partial(width) | Self::Gap(width) => share("batches.overlap", width),
        }
    }

    /// Part of the row of states, 0 to 1, that batch `b` of `n` has.
    pub(super) fn window(self, b: usize, n: usize) -> Range<f64> {
        let widen = match self {
            Self::Full => return 0.0..1.0,
            Self::None => 0.0,
            Self::Partial(width) => width / 2.0,
            Self::Gap(width) => -width / 2.0,
        };
        let start = if b == 0 { 0.0 } else { b as f64 - widen };
        let end = if b + 1 == n { n as f64 } else { b as f64 + 1.0 + widen };
        start / n as f64..end / n as f64
    }
}

/// Places of all cells, 12 bytes each.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Plan {
    pub batch: Vec<u32>,
    pub state: Vec<u32>,
    /// 0 to 1 within the state.
    pub time: Vec<f32>,
}

/// Part of a state that a batch has.
struct Segment {
    state: usize,
    from: f64,
    to: f64,
    weight: f64,
}

impl Plan {
    /// Spreads the cells of each batch evenly over the states it has. `weights`: share of each state; `separate`: states are taken whole.
    pub(super) fn new(n_cells: usize, batches: &Batches, weights: &[f64], separate: bool, rng: &Rng) -> Result<Self> {
        let mut plan = Self::default();
        for (b, n) in batch_sizes(n_cells, batches, rng)?.into_iter().enumerate() {
            let segments = segments(batches, b, weights, separate)?;
            let total: f64 = segments.iter().map(|s| s.weight).sum();
            let (mut at, mut passed) = (0, 0.0);
            for j in 0..n {
                let target = (j as f64 + 0.5) / n as f64 * total;
                while at + 1 < segments.len() && target >= passed + segments[at].weight {
                    passed += segments[at].weight;
                    at += 1;
                }
                let segment = &segments[at];
                let within = ((target - passed) / segment.weight).clamp(0.0, 1.0);
                plan.batch.push(b as u32);
                plan.state.push(segment.state as u32);
                plan.time.push((segment.from + within * (segment.to - segment.from)) as f32);
            }
        }
        Ok(plan)
    }
}

impl Plan {
    /// The places in another order.
    pub(super) fn reorder(&mut self, order: &[u32]) {
        self.batch = select(&self.batch, order);
        self.state = select(&self.state, order);
        self.time = select(&self.time, order);
    }
}

/// The values at `order`.
pub(super) fn select<T: Copy>(values: &[T], order: &[u32]) -> Vec<T> {
    order.iter().map(|i| values[*i as usize]).collect()
}

/// Cells of every batch; each has at least one.
pub(super) fn batch_sizes(n_cells: usize, batches: &Batches, rng: &Rng) -> Result<Vec<usize>> {
    Ok(apportion(n_cells, &batches.sizes.draw("batches.sizes", batches.n, rng)?))
}

fn segments(batches: &Batches, b: usize, weights: &[f64], separate: bool) -> Result<Vec<Segment>> {
    let whole = |state: usize| Segment { state, from: 0.0, to: 1.0, weight: weights[state] };
    if !batches.states.is_empty() {
        if batches.states.len() != batches.n {
            let problem = format!("has {} lists for {} batches", batches.states.len(), batches.n);
            return Err(Error::argument("batches.states", problem, "give one list per batch"));
        }
        let mut chosen: Vec<usize> =
            batches.states[b].iter().map(|s| number("batches.states", *s, weights.len())).collect::<Result<_>>()?;
        chosen.sort_unstable();
        chosen.dedup();
        if chosen.is_empty() {
            return Err(Error::argument("batches.states", format!("has no state for batch {}", b + 1), "give at least one"));
        }
        return Ok(chosen.into_iter().map(whole).collect());
    }
    let window = batches.overlap.window(b, batches.n);
    if separate {
        let n = weights.len() as f64;
        let inside: Vec<Segment> = (0..weights.len()).filter(|k| window.contains(&((*k as f64 + 0.5) / n))).map(whole).collect();
        if inside.is_empty() {
            let fix = "give more states, fewer batches, or `batches.states`";
            return Err(Error::argument("batches.overlap", format!("leaves batch {} without a state", b + 1), fix));
        }
        return Ok(inside);
    }
    let total: f64 = weights.iter().sum();
    let mut start = 0.0;
    let mut out = Vec::new();
    for (state, weight) in weights.iter().enumerate() {
        let width = weight / total;
        let (from, to) = (((window.start - start) / width).max(0.0), ((window.end - start) / width).min(1.0));
        if to > from {
            out.push(Segment { state, from, to, weight: (to - from) * width });
        }
        start += width;
    }
    Ok(out)
}

/// `n` items in proportion to the weights (largest remainders), at least one each. There are at most `n` weights.
pub(super) fn apportion(n: usize, weights: &[f64]) -> Vec<usize> {
    let total: f64 = weights.iter().sum();
    let exact: Vec<f64> = weights.iter().map(|w| w / total * n as f64).collect();
    let mut sizes: Vec<usize> = exact.iter().map(|e| *e as usize).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|a, b| exact[*b].fract().total_cmp(&exact[*a].fract()).then(a.cmp(b)));
    let left = n - sizes.iter().sum::<usize>();
    order.iter().cycle().take(left).for_each(|i| sizes[*i] += 1);
    while let Some(empty) = sizes.iter().position(|s| *s == 0) {
        let largest = (0..sizes.len()).max_by_key(|i| sizes[*i]).unwrap_or(empty);
        sizes[largest] -= 1;
        sizes[empty] += 1;
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(n: usize, overlap: Overlap, weights: &[f64], separate: bool) -> Plan {
        let batches = Batches { n, overlap, ..Default::default() };
        Plan::new(1200, &batches, weights, separate, &Rng::new(0)).unwrap()
    }

    /// States of each batch, sorted.
    fn states(plan: &Plan, batch: u32) -> Vec<u32> {
        let mut out: Vec<u32> = plan.batch.iter().zip(&plan.state).filter(|(b, _)| **b == batch).map(|(_, s)| *s).collect();
        out.sort_unstable();
        out.dedup();
        out
    }

    #[test]
    fn separate_states_are_shared_as_the_overlap_says() {
        let weights = [1.0; 6];
        let of = |overlap| [0, 1].map(|b| states(&plan(2, overlap, &weights, true), b));
        assert_eq!(of(Overlap::Full), [vec![0, 1, 2, 3, 4, 5], vec![0, 1, 2, 3, 4, 5]]);
        assert_eq!(of(Overlap::None), [vec![0, 1, 2], vec![3, 4, 5]]);
        assert_eq!(of(Overlap::Partial(0.5)), [vec![0, 1, 2, 3], vec![2, 3, 4, 5]]);
        assert_eq!(of(Overlap::Gap(0.5)), [vec![0, 1], vec![4, 5]]);
    }

    #[test]
    fn a_continuum_is_shared_by_measure() {
        let ends = |overlap: Overlap, batch: u32| {
            let plan = plan(2, overlap, &[1.0, 1.0], false);
            let at: Vec<f32> =
                (0..1200).filter(|i| plan.batch[*i] == batch).map(|i| plan.state[i] as f32 + plan.time[i]).collect();
            (at[0], at[at.len() - 1])
        };
        for (overlap, first_ends, second_starts) in [
            (Overlap::None, 1.0, 1.0),
            (Overlap::Partial(0.4), 1.2, 0.8),
            (Overlap::Gap(0.4), 0.8, 1.2),
            (Overlap::Full, 2.0, 0.0),
        ] {
            assert!((ends(overlap, 0).1 - first_ends).abs() < 0.01 && (ends(overlap, 1).0 - second_starts).abs() < 0.01);
        }
    }

    #[test]
    fn cells_follow_the_weights_and_each_batch_has_one() {
        let plan = plan(2, Overlap::Full, &[3.0, 1.0], true);
        for batch in 0..2 {
            let first = (0..1200).filter(|i| plan.batch[*i] == batch && plan.state[*i] == 0).count();
            assert_eq!(first, 450);
        }
        assert_eq!(apportion(10, &[0.98, 0.01, 0.01]), [8, 1, 1]);
        assert_eq!(apportion(7, &[1.0, 1.0, 1.0]).iter().sum::<usize>(), 7);
    }

    #[test]
    fn too_few_states_for_the_batches_is_said() {
        let batches = Batches { n: 3, overlap: Overlap::None, ..Default::default() };
        let message = Plan::new(30, &batches, &[1.0, 1.0], true, &Rng::new(0)).unwrap_err().to_string();
        assert!(message.contains("`batches.overlap` leaves batch 2 without a state"), "{message}");
    }
}
