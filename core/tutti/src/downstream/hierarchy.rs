//! Hierarchical clustering of rows, and an order of them for heatmaps.

use ndarray::{Array2, ArrayView2};

use crate::error::{Error, Result};

/// How far two groups of rows are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Linkage {
    /// The mean over pairs of rows (UPGMA).
    #[default]
    Average,
    /// The largest distance of a pair.
    Complete,
    /// The smallest distance of a pair.
    Single,
    /// By how much joining raises the squared distances to the centroids (Ward 1963); for Euclidean distances.
    Ward,
}

/// How far two rows are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RowDistance {
    /// Length of the difference.
    #[default]
    Euclidean,
    /// 1 - cosine of the angle.
    Cosine,
    /// 1 - Pearson correlation.
    Correlation,
}

/// Two groups that are joined. Rows are groups 0 to n - 1; the group that the i-th merge makes is n + i, as scipy numbers them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Merge {
    /// The smaller number.
    pub a: usize,
    /// The larger number.
    pub b: usize,
    /// Their distance.
    pub height: f64,
    /// Rows of the new group.
    pub size: usize,
}

/// A tree over rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Hierarchy {
    /// From the nearest groups to the furthest, n - 1 of them.
    pub merges: Vec<Merge>,
    /// The rows from end to end, such that no branches cross and neighbours are as near as the tree allows.
    pub order: Vec<usize>,
}

/// Most rows: n² distances are kept, and the best order takes time n³.
const MOST: usize = 4000;

/// Joins the two nearest groups of rows, again and again (nearest-neighbour chains, Murtagh 1983), and orders the rows so that the sum of
/// the distances of neighbours is the least that turning branches can reach (Bar-Joseph et al. 2001). x: [n, any].
///
/// # Errors
/// [`Error::Data`] for no rows or more than 4,000, values that are not finite, or a row of zeros or of equal values where an angle or a
/// correlation is asked for; [`Error::Argument`] for Ward with another distance than the Euclidean.
pub fn hierarchical(x: ArrayView2<'_, f32>, linkage: Linkage, distance: RowDistance) -> Result<Hierarchy> {
    let n = x.nrows();
    if !(1..=MOST).contains(&n) {
        return Err(Error::data(format!("{n} rows to order"), "give 1 to 4,000 rows, such as means of groups"));
    }
    if linkage == Linkage::Ward && distance != RowDistance::Euclidean {
        return Err(Error::argument("linkage", "is Ward, which is defined for Euclidean distances", "use the average instead"));
    }
    let distances = distances(x, distance)?;
    let merges = numbered(n, join(distances.clone(), linkage));
    let order = ordered(n, &merges, &distances);
    Ok(Hierarchy { merges, order })
}

fn distances(x: ArrayView2<'_, f32>, distance: RowDistance) -> Result<Array2<f64>> {
    let mut rows = x.mapv(f64::from);
    for (i, mut row) in rows.rows_mut().into_iter().enumerate() {
        if row.iter().any(|v| !v.is_finite()) {
            return Err(Error::data(format!("row {} is not finite", i + 1), "leave it out"));
        }
        if distance == RowDistance::Correlation {
            let mean = row.mean().unwrap_or(0.0);
            row.mapv_inplace(|v| v - mean);
        }
        if distance != RowDistance::Euclidean {
            let length = row.dot(&row).sqrt();
            if length == 0.0 {
                return Err(Error::data(format!("row {} has no direction", i + 1), "leave it out or use Euclidean distances"));
            }
            row.mapv_inplace(|v| v / length);
        }
    }
    let n = x.nrows();
    let mut out = Array2::zeros((n, n));
    for i in 0..n {
        for j in 0..i {
            let d = match distance {
                RowDistance::Euclidean => (&rows.row(i) - &rows.row(j)).mapv(|v| v * v).sum().sqrt(),
                _ => (1.0 - rows.row(i).dot(&rows.row(j))).max(0.0),
            };
            (out[[i, j]], out[[j, i]]) = (d, d);
        }
    }
    Ok(out)
}

/// Merges as (a row of the one, a row of the other, height), in any order: a chain of nearest neighbours ends where two are nearest to each other.
fn join(mut d: Array2<f64>, linkage: Linkage) -> Vec<(usize, usize, f64)> {
    let n = d.nrows();
    let mut sizes = vec![1f64; n];
    let mut alive: Vec<usize> = (0..n).collect();
    let (mut chain, mut out) = (Vec::new(), Vec::new());
    while alive.len() > 1 {
        if chain.is_empty() {
            chain.push(alive[0]);
        }
        let top = chain[chain.len() - 1];
        let before = chain.len().checked_sub(2).map(|at| chain[at]);
        // The one before wins ties, or the chain would never end.
        let mut nearest = before.unwrap_or(if alive[0] == top { alive[1] } else { alive[0] });
        for other in alive.iter().copied().filter(|o| *o != top) {
            if d[[top, other]] < d[[top, nearest]] {
                nearest = other;
            }
        }
        if Some(nearest) != before {
            chain.push(nearest);
            continue;
        }
        chain.truncate(chain.len() - 2);
        let (a, b) = (top.min(nearest), top.max(nearest));
        let height = d[[a, b]];
        out.push((a, b, height));
        alive.retain(|o| *o != b);
        for other in alive.iter().copied().filter(|o| *o != a) {
            let (da, db) = (d[[a, other]], d[[b, other]]);
            let new = match linkage {
                Linkage::Average => (sizes[a] * da + sizes[b] * db) / (sizes[a] + sizes[b]),
                Linkage::Complete => da.max(db),
                Linkage::Single => da.min(db),
                Linkage::Ward => {
                    let k = sizes[other];
                    let sum = (sizes[a] + k) * da * da + (sizes[b] + k) * db * db - k * height * height;
                    (sum / (sizes[a] + sizes[b] + k)).max(0.0).sqrt()
                }
            };
            (d[[a, other]], d[[other, a]]) = (new, new);
        }
        sizes[a] += sizes[b];
    }
    out
}

/// Merges by height, with the numbers of groups.
fn numbered(n: usize, mut found: Vec<(usize, usize, f64)>) -> Vec<Merge> {
    found.sort_by(|a, b| a.2.total_cmp(&b.2));
    let mut group: Vec<usize> = (0..n).collect();
    let mut sizes = vec![1usize; n];
    let mut parent: Vec<usize> = (0..n).collect();
    let root = |parent: &[usize], mut v: usize| {
        while parent[v] != v {
            v = parent[v];
        }
        v
    };
    let merge = |(i, (a, b, height)): (usize, (usize, usize, f64))| {
        let (a, b) = (root(&parent, a), root(&parent, b));
        parent[b] = a;
        sizes[a] += sizes[b];
        let merge = Merge { a: group[a].min(group[b]), b: group[a].max(group[b]), height, size: sizes[a] };
        group[a] = n + i;
        merge
    };
    found.into_iter().enumerate().map(merge).collect()
}

/// The best order of the leaves. `best[i, j]`: the least sum of neighbours' distances within the smallest group that holds i and j, with these at
/// its ends; two rows determine that group, so one matrix serves for all.
fn ordered(n: usize, merges: &[Merge], d: &Array2<f64>) -> Vec<usize> {
    let mut leaves: Vec<Vec<usize>> = (0..n).map(|i| vec![i]).collect();
    let mut best = Array2::from_elem((n, n), f64::INFINITY);
    (0..n).for_each(|i| best[[i, i]] = 0.0);
    for merge in merges {
        let (left, right) = (&leaves[merge.a], &leaves[merge.b]);
        let right_ends: Vec<&[usize]> = right.iter().map(|j| opposite(n, merges, &leaves, merge.b, *j)).collect();
        for i in left {
            // The way from i through the left group and over to each row of the right one.
            let ends = opposite(n, merges, &leaves, merge.a, *i);
            let way = |l: &usize| ends.iter().map(|k| best[[*i, *k]] + d[[*k, *l]]).fold(f64::INFINITY, f64::min);
            let mut over = vec![f64::INFINITY; n];
            right.iter().for_each(|l| over[*l] = way(l));
            for (j, ends) in right.iter().zip(&right_ends) {
                let least = ends.iter().map(|l| over[*l] + best[[*l, *j]]).fold(f64::INFINITY, f64::min);
                (best[[*i, *j]], best[[*j, *i]]) = (least, least);
            }
        }
        leaves.push([left.as_slice(), right].concat());
    }
    let Some(last) = merges.last() else { return (0..n).collect() };
    let pairs = leaves[last.a].iter().flat_map(|i| leaves[last.b].iter().map(move |j| (*i, *j)));
    let ends = pairs.fold((0, 0, f64::INFINITY), |b, (i, j)| if best[[i, j]] < b.2 { (i, j, best[[i, j]]) } else { b });
    let mut out = Vec::with_capacity(n);
    let tree = Tree { n, merges, leaves: &leaves, best: &best, d };
    tree.place(n + merges.len() - 1, ends.0, ends.1, &mut out);
    out
}

/// Rows of a group that may be at the other end from i: those of the branch without i, or i itself where it is alone.
fn opposite<'a>(n: usize, merges: &[Merge], leaves: &'a [Vec<usize>], group: usize, i: usize) -> &'a [usize] {
    if group < n {
        return &leaves[group];
    }
    let merge = merges[group - n];
    if leaves[merge.a].contains(&i) { &leaves[merge.b] } else { &leaves[merge.a] }
}

struct Tree<'a> {
    n: usize,
    merges: &'a [Merge],
    leaves: &'a [Vec<usize>],
    best: &'a Array2<f64>,
    d: &'a Array2<f64>,
}

impl Tree<'_> {
    /// The leaves of a group from `first` to `last`. As deep as the tree, at most 4,000 calls.
    fn place(&self, group: usize, first: usize, last: usize, out: &mut Vec<usize>) {
        if group < self.n {
            out.push(group);
            return;
        }
        let merge = self.merges[group - self.n];
        let (a, b) = if self.leaves[merge.a].contains(&first) { (merge.a, merge.b) } else { (merge.b, merge.a) };
        let mut found = (first, last, f64::INFINITY);
        for k in opposite(self.n, self.merges, self.leaves, a, first) {
            for l in opposite(self.n, self.merges, self.leaves, b, last) {
                let sum = self.best[[first, *k]] + self.d[[*k, *l]] + self.best[[*l, last]];
                if sum < found.2 {
                    found = (*k, *l, sum);
                }
            }
        }
        self.place(a, first, found.0, out);
        self.place(b, found.1, last, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn random(n: usize) -> Array2<f32> {
        let mut stream = Rng::new(8).stream("points", 0, 0);
        Array2::from_shape_fn((n, 5), |_| stream.normal() as f32)
    }

    fn length(order: &[usize], d: &Array2<f64>) -> f64 {
        order.windows(2).map(|w| d[[w[0], w[1]]]).sum()
    }

    /// All orders that turning branches can reach.
    fn all_orders(group: usize, n: usize, merges: &[Merge]) -> Vec<Vec<usize>> {
        if group < n {
            return vec![vec![group]];
        }
        let merge = merges[group - n];
        let (a, b) = (all_orders(merge.a, n, merges), all_orders(merge.b, n, merges));
        let pairs = a.iter().flat_map(|x| b.iter().map(move |y| (x, y)));
        pairs.flat_map(|(x, y)| [[x.as_slice(), y].concat(), [y.as_slice(), x].concat()]).collect()
    }

    #[test]
    fn the_order_is_the_best_of_all_that_the_tree_allows() {
        let x = random(9);
        for linkage in [Linkage::Average, Linkage::Single, Linkage::Ward] {
            let found = hierarchical(x.view(), linkage, RowDistance::Euclidean).unwrap();
            let d = distances(x.view(), RowDistance::Euclidean).unwrap();
            let best = all_orders(16, 9, &found.merges).iter().map(|o| length(o, &d)).fold(f64::INFINITY, f64::min);
            assert!((length(&found.order, &d) - best).abs() < 1e-9);
            assert_eq!(found.merges[7].size, 9);
        }
    }

    #[test]
    fn heights_equal_those_of_groups_joined_by_loops() {
        let x = random(20);
        let d = distances(x.view(), RowDistance::Correlation).unwrap();
        for (linkage, of) in [
            (Linkage::Average, (|v: &[f64]| v.iter().sum::<f64>() / v.len() as f64) as fn(&[f64]) -> f64),
            (Linkage::Complete, |v| v.iter().copied().fold(0.0, f64::max)),
            (Linkage::Single, |v| v.iter().copied().fold(f64::INFINITY, f64::min)),
        ] {
            let mut groups: Vec<Vec<usize>> = (0..20).map(|i| vec![i]).collect();
            let mut heights = Vec::new();
            while groups.len() > 1 {
                let apart = |a: usize, b: usize| {
                    let pairs = groups[a].iter().flat_map(|i| groups[b].iter().map(move |j| (*i, *j)));
                    of(&pairs.map(|(i, j)| d[[i, j]]).collect::<Vec<_>>())
                };
                let pairs = (0..groups.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
                let (a, b, height) = pairs
                    .map(|(a, b)| (a, b, apart(a, b)))
                    .fold((0, 0, f64::INFINITY), |best, now| if now.2 < best.2 { now } else { best });
                heights.push(height);
                let joined = groups.swap_remove(a);
                groups[b].extend(joined);
            }
            let found = hierarchical(x.view(), linkage, RowDistance::Correlation).unwrap();
            assert!(found.merges.iter().zip(&heights).all(|(m, h)| (m.height - h).abs() < 1e-9), "{linkage:?}");
        }
    }

    #[test]
    fn one_row_ties_and_bad_rows() {
        let one = hierarchical(random(1).view(), Linkage::Average, RowDistance::Euclidean).unwrap();
        assert!(one.merges.is_empty() && one.order == [0]);
        let same = hierarchical(Array2::ones((6, 2)).view(), Linkage::Complete, RowDistance::Euclidean).unwrap();
        let mut order = same.order;
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2, 3, 4, 5]);
        assert!(hierarchical(Array2::ones((3, 2)).view(), Linkage::Average, RowDistance::Correlation).is_err());
        assert!(hierarchical(random(3).view(), Linkage::Ward, RowDistance::Cosine).is_err());
    }
}
