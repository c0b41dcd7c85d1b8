//! Labels of a query that its own cells around agree on.

use ndarray::{Array2, ArrayView2};
use serde::Serialize;

use super::annotate::{Annotated, calibrated};
use super::evidence::ClassEvidence;
use crate::error::{Error, Result};
use crate::neighbors::{NeighborConfig, nearest_self};

/// What [`Annotated::smoothed`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Smoothing {
    /// Cells that vote on each, itself among them.
    pub n_neighbors: usize,
    /// Cells that got another label.
    pub n_changed: usize,
}

/// Refuses a number of voters that [`Annotated::smoothed`] cannot take, so that it is told before anything is trained.
///
/// # Errors
/// [`Error::Argument`] for less than 3, of which one cell can outvote no other, or more than the query has cells.
pub fn check_smoothing(n_neighbors: usize, n_query: usize) -> Result<()> {
    match (3..=n_query).contains(&n_neighbors) {
        true => Ok(()),
        false => {
            let problem = format!("must be from 3 to the number of query cells, {n_query} (got {n_neighbors})");
            Err(Error::argument("smooth", problem, "use 10, or leave it out"))
        }
    }
}

impl Annotated {
    /// Gives each query cell the label that most of the `search.n_neighbors` nearest query cells have, itself among them, as the published code of
    /// CellPredX offers (`label_prop`, of 10 cells). Of equally many, a cell keeps its own label, or takes the one that it has the larger probability of.
    ///
    /// What is unknown stays so: cells beyond a limit neither vote nor change. Limits are those of before; `probability` is that of the new label, and may
    /// be below the limit, `runner_up` the likeliest other. Held-out cells are left as they are. Small classes within large ones are smoothed away.
    ///
    /// `evidence`: what was annotated; `embedding` of the query, [n_query, d].
    ///
    /// # Errors
    /// As [`check_smoothing`]; [`Error::Data`] for evidence or an embedding of other cells; as [`nearest_self`].
    pub fn smoothed(mut self, evidence: &ClassEvidence, embedding: ArrayView2<'_, f32>, search: &NeighborConfig) -> Result<Self> {
        let n = self.query.n_cells();
        check_smoothing(search.n_neighbors, n)?;
        if embedding.nrows() != n || evidence.query.logits.nrows() != n {
            let (z, logits) = (embedding.nrows(), evidence.query.logits.nrows());
            let problem = format!("{n} annotated cells, an embedding of {z} and logits of {logits}");
            return Err(Error::data(problem, "give the embedding and the evidence of the query"));
        }
        let probabilities = calibrated(&evidence.query, self.temperature)?;
        let neighbors = nearest_self(embedding, search)?;
        let kept = self.query.kept();
        let named = |i: usize| match kept.codes()[i] {
            Some(own) => {
                let votes = neighbors.row(i).0.iter().filter_map(|j| kept.codes()[*j as usize]);
                majority(own, votes, &probabilities, i)
            }
            None => self.query.label.codes()[i].unwrap_or_default(),
        };
        let codes: Vec<u32> = (0..n).map(named).collect();
        let n_changed = codes.iter().zip(self.query.label.codes()).filter(|(new, old)| Some(**new) != **old).count();
        self.query = self.query.renamed(&codes, probabilities.view())?;
        self.smoothing = Some(Smoothing { n_neighbors: search.n_neighbors, n_changed });
        Ok(self)
    }
}

fn majority(own: u32, votes: impl Iterator<Item = u32>, probabilities: &Array2<f32>, cell: usize) -> u32 {
    let row = probabilities.row(cell);
    let mut counts = vec![0usize; row.len()];
    votes.for_each(|class| counts[class as usize] += 1);
    let better = |a: u32, b: u32| {
        let (a, b) = (a as usize, b as usize);
        counts[a] > counts[b] || counts[a] == counts[b] && b as u32 != own && row[a] > row[b]
    };
    (0..row.len() as u32).fold(own, |best, class| if better(class, best) { class } else { best })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::downstream::{AnnotateConfig, CellEvidence, Limit, annotate};
    use crate::neighbors::Metric;

    /// Cells on a line, whose logits are those of their probabilities.
    fn annotated(probabilities: &Array2<f32>, least: Limit) -> (Annotated, ClassEvidence) {
        let classes = ["a", "b", "c"].iter().take(probabilities.ncols()).map(|c| (*c).to_owned()).collect();
        let none = CellEvidence { logits: Array2::zeros((0, probabilities.ncols())), novelty: None };
        let query = CellEvidence { logits: probabilities.mapv(f32::ln), novelty: None };
        let evidence = ClassEvidence { classes, held_out: none, truth: Vec::new(), query };
        let config = AnnotateConfig { calibrate: false, probability: least, novelty: Limit::None, ..Default::default() };
        (annotate(&evidence, &config).unwrap(), evidence)
    }

    fn search(n_neighbors: usize) -> NeighborConfig {
        NeighborConfig { n_neighbors, metric: Metric::Euclidean, ..Default::default() }
    }

    fn names(found: &Annotated) -> String {
        (0..found.query.n_cells()).map(|i| found.query.cell(i).label).collect()
    }

    #[test]
    fn a_cell_takes_the_label_of_most_around_and_the_probability_of_it() {
        let p = array![[0.8f32, 0.2], [0.7, 0.3], [0.4, 0.6], [0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]];
        let z = array![[0.0f32], [1.0], [1.4], [2.0], [10.0], [11.0], [12.5]];
        let (found, evidence) = annotated(&p, Limit::None);
        assert_eq!(names(&found), "aababbb");
        let found = found.smoothed(&evidence, z.view(), &search(3)).unwrap();
        assert_eq!(names(&found), "aaaabbb");
        assert_eq!(found.smoothing, Some(Smoothing { n_neighbors: 3, n_changed: 1 }));
        let cell = found.query.cell(2);
        assert!((cell.probability - 0.4).abs() < 1e-6 && cell.runner_up == Some("b"), "{cell:?}");
        assert!((cell.runner_up_probability - 0.6).abs() < 1e-6);
        // Equal to the vote over all pairs by loops, for any number.
        for k in 3..=7 {
            let (found, evidence) = annotated(&p, Limit::None);
            let before = names(&found);
            let smooth = names(&found.smoothed(&evidence, z.view(), &search(k)).unwrap());
            for i in 0..7 {
                let mut order: Vec<usize> = (0..7).collect();
                order.sort_by(|a, b| (z[[*a, 0]] - z[[i, 0]]).abs().total_cmp(&(z[[*b, 0]] - z[[i, 0]]).abs()));
                let of_a = order[..k].iter().filter(|j| &before[**j..**j + 1] == "a").count();
                let expected = if 2 * of_a == k {
                    &before[i..i + 1]
                } else if 2 * of_a > k {
                    "a"
                } else {
                    "b"
                };
                assert_eq!(&smooth[i..i + 1], expected, "{k} {i}");
            }
        }
    }

    #[test]
    fn of_equally_many_others_the_likelier_counts() {
        let p = array![[0.6f32, 0.3, 0.1], [0.1, 0.8, 0.1], [0.1, 0.9, 0.0001], [0.1, 0.1, 0.8], [0.1, 0.0001, 0.9]];
        let z = array![[0.0f32], [0.1], [-0.1], [0.2], [-0.2]];
        let (found, evidence) = annotated(&p, Limit::None);
        assert_eq!(names(&found), "abbcc");
        // One vote for a, two for b, two for c: b is the likelier one of cell 0.
        assert_eq!(names(&found.smoothed(&evidence, z.view(), &search(5)).unwrap()), "bbbcc");
    }

    #[test]
    fn what_is_unknown_neither_votes_nor_changes() {
        let p = array![[0.9f32, 0.1], [0.45, 0.55], [0.4, 0.6], [0.3, 0.7], [0.9, 0.1]];
        let z = array![[0.0f32], [0.1], [0.2], [0.3], [0.4]];
        let (found, evidence) = annotated(&p, Limit::Given(0.65));
        assert_eq!((names(&found), found.query.unknown()), ("abbba".to_owned(), vec![false, true, true, false, false]));
        let smooth = found.smoothed(&evidence, z.view(), &search(5)).unwrap();
        assert_eq!((names(&smooth), smooth.query.unknown()), ("abbaa".to_owned(), vec![false, true, true, false, false]));
        assert_eq!(smooth.query.kept().value(3), Some("a"));
    }

    #[test]
    fn what_cannot_vote_is_refused() {
        let p = array![[0.9f32, 0.1], [0.45, 0.55], [0.4, 0.6], [0.3, 0.7]];
        let (found, evidence) = annotated(&p, Limit::None);
        let refused = |n: usize, z: Array2<f32>| found.clone().smoothed(&evidence, z.view(), &search(n)).unwrap_err().to_string();
        assert!(refused(2, Array2::zeros((4, 1))).contains("`smooth` must be from 3 to the number of query cells, 4 (got 2)"));
        assert!(refused(5, Array2::zeros((4, 1))).contains("(got 5)"));
        assert!(refused(3, Array2::zeros((5, 1))).contains("an embedding of 5"));
    }
}
