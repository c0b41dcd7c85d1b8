//! Fewer edges, same persistence: collapse of the edges of a filtered graph.

use crate::observe::may_stop;

/// Distances of a graph on `n` points, infinite where there is no edge.
#[derive(Clone)]
pub(super) struct Distances {
    n: usize,
    values: Vec<f64>,
}

impl Distances {
    /// The symmetric matrix of `between`, infinite beyond `threshold`.
    pub(super) fn new(n: usize, threshold: f64, between: impl Fn(usize, usize) -> f64) -> Self {
        let mut values = vec![0.0; n * n];
        for i in 0..n {
            may_stop();
            for j in 0..i {
                let distance = between(i, j);
                let kept = if distance <= threshold { distance } else { f64::INFINITY };
                (values[i * n + j], values[j * n + i]) = (kept, kept);
            }
        }
        Self { n, values }
    }

    pub(super) fn n(&self) -> usize {
        self.n
    }

    #[inline]
    pub(super) fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.n..][..self.n]
    }

    pub(super) fn n_edges(&self) -> usize {
        (0..self.n).map(|i| self.row(i)[..i].iter().filter(|d| d.is_finite()).count()).sum()
    }

    /// The edges as (length, larger end, smaller end).
    pub(super) fn edges(&self) -> Vec<(f64, usize, usize)> {
        let pairs = (0..self.n).flat_map(|i| (0..i).map(move |j| (i, j)));
        pairs.map(|(i, j)| (self.row(i)[j], i, j)).filter(|(d, ..)| d.is_finite()).collect()
    }

    /// With every edge delayed for as long as a vertex dominates it, and without those always dominated.
    ///
    /// An edge whose common neighbours are all neighbours of one of them can leave the flag complex without a change of homotopy
    /// type (Boissonnat and Pritam 2020). It may therefore enter only when that ends, with the same persistence in every dimension;
    /// going from the longest edge down, few are left (Glisse and Pritam 2022, the shift operation).
    pub(super) fn collapsed(&self) -> Self {
        let mut out = self.clone();
        let mut edges = self.edges();
        edges.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        for (_, i, j) in edges {
            let entry = out.entry(i, j);
            (out.values[i * out.n + j], out.values[j * out.n + i]) = (entry, entry);
        }
        out
    }

    /// When the edge is first not dominated, from its own length on; infinite for never.
    fn entry(&self, i: usize, j: usize) -> f64 {
        may_stop();
        let mut time = self.row(i)[j];
        let arrivals = self.row(i).iter().zip(self.row(j)).map(|(a, b)| a.max(*b));
        let others = arrivals.enumerate().filter(|(k, a)| *k != i && *k != j && a.is_finite());
        let (now, mut later): (Vec<_>, Vec<_>) = others.partition(|(_, arrival)| *arrival <= time);
        // Each with the time before which it cannot dominate, as far as seen.
        let mut present: Vec<(usize, f64)> = now.into_iter().map(|(k, _)| (k, 0.0)).collect();
        let mut sorted = false;
        loop {
            let Some(c) = self.dominating(&mut present, time) else { return time };
            if !sorted {
                // Latest first, to be taken from the end.
                later.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
                sorted = true;
            }
            loop {
                let Some((k, arrival)) = later.pop() else { return f64::INFINITY };
                time = arrival;
                present.push((k, 0.0));
                if self.row(c)[k] > time {
                    break;
                }
            }
            // All that arrive at the same moment count for the next search.
            while let Some((k, _)) = later.pop_if(|(_, arrival)| *arrival <= time) {
                present.push((k, 0.0));
            }
        }
    }

    /// One of `present` that is a neighbour of all of them.
    fn dominating(&self, present: &mut [(usize, f64)], time: f64) -> Option<usize> {
        for at in 0..present.len() {
            let (c, blocked) = present[at];
            if blocked > time {
                continue;
            }
            let row = self.row(c);
            // The last to arrive are the likeliest strangers.
            match present.iter().rev().map(|(k, _)| row[*k]).find(|arrival| *arrival > time) {
                Some(arrival) => present[at].1 = arrival,
                None => return Some(c),
            }
        }
        None
    }
}
