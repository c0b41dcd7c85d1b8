//! What is known of the cells in training: classes of the reference, and which domain each cell is of.

use std::ops::Range;

use super::CellPredXInput;
use crate::data::Categorical;
use crate::error::{Error, Result};
use crate::rng::Rng;

/// What is known of the cells in training.
#[derive(Debug)]
pub(super) struct Training {
    /// By cell; `None` in a query.
    pub class: Vec<Option<u32>>,
    /// By cell.
    pub domain: Vec<u32>,
    /// Cells of each domain, ascending.
    pub members: Vec<Vec<usize>>,
    /// Whether each domain is a query.
    pub is_query: Vec<bool>,
}

impl Training {
    pub fn new(n_cells: usize, input: &CellPredXInput) -> Result<(Self, Vec<String>)> {
        let sizes = [("labels", input.labels.len()), ("marks of query cells", input.is_query.len())];
        let sizes = sizes.into_iter().chain(input.batch.as_ref().map(|b| ("batches", b.len())));
        for (what, n) in sizes {
            if n != n_cells {
                return Err(Error::data(format!("{what} of {n} cells for {n_cells} cells"), "give one per cell"));
            }
        }
        let of_reference = |i: usize| if input.is_query[i] { None } else { input.labels.codes()[i] };
        let n_query = input.is_query.iter().filter(|q| **q).count();
        if n_query == 0 || n_query == n_cells {
            let what = if n_query == 0 { "query" } else { "reference" };
            return Err(Error::data(format!("there are no {what} cells"), "give a reference with labels and a query"));
        }
        let labelled = (0..n_cells).map(|i| of_reference(i).and_then(|_| input.labels.value(i)));
        let labels = Categorical::new((0..n_cells).map(of_reference).collect(), input.labels.levels().to_vec())?.drop_unused();
        if labels.n_levels() < 2 {
            let n = labelled.flatten().count();
            let problem = format!("the {n} reference cells with a label are of {} class", labels.n_levels());
            return Err(Error::data(problem, "give labels of at least two classes; check the column"));
        }
        let key = |i: usize| (input.is_query[i], input.batch.as_ref().and_then(|b| b.codes()[i]));
        let mut keys: Vec<(bool, Option<u32>)> = (0..n_cells).map(key).collect();
        keys.sort_unstable();
        keys.dedup();
        let domain: Vec<u32> = (0..n_cells).map(|i| keys.partition_point(|k| *k < key(i)) as u32).collect();
        let mut members = vec![Vec::new(); keys.len()];
        domain.iter().enumerate().for_each(|(i, d)| members[*d as usize].push(i));
        let is_query = keys.iter().map(|(query, _)| *query).collect();
        let (class, classes) = (labels.codes().to_vec(), labels.levels().to_vec());
        Ok((Self { class, domain, members, is_query }, classes))
    }

    /// Reference cells held out of each class, so many that two are left at least: a share `1 - train_frac` in the mean.
    pub fn held_out(&self, n_classes: usize, train_frac: f64, rng: &Rng) -> Vec<usize> {
        let mut of_class: Vec<Vec<usize>> = vec![Vec::new(); n_classes];
        self.class.iter().enumerate().for_each(|(i, class)| class.iter().for_each(|c| of_class[*c as usize].push(i)));
        let mut held_out = Vec::new();
        for (class, members) in of_class.iter().enumerate() {
            let mut stream = rng.stream("cells held out of a class", 0, class as u64);
            let share = (1.0 - train_frac) * members.len() as f64;
            let n = share as usize + usize::from(stream.bernoulli(share.fract()));
            held_out.extend(stream.choose(members, n.min(members.len().saturating_sub(2))));
        }
        held_out.sort_unstable();
        held_out
    }

    /// Cells of each kind of domain, with their row numbers.
    pub fn rows_of(&self, query: bool) -> Vec<usize> {
        (0..self.domain.len()).filter(|i| self.is_query[self.domain[*i] as usize] == query).collect()
    }

    /// Runs of rows of one domain within `rows`, offset by `start`.
    pub fn runs(&self, rows: &[usize], start: usize) -> Vec<Range<usize>> {
        let mut at = start;
        let run = |run: &[usize]| {
            at += run.len();
            at - run.len()..at
        };
        rows.chunk_by(|a, b| self.domain[*a] == self.domain[*b]).map(run).collect()
    }
}
