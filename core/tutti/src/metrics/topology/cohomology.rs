//! Persistent cohomology of the flag complex of a filtered graph, over the field of two elements.
//!
//! Coboundaries are enumerated, not stored; a simplex that kills a class of one dimension is no column of the next (clearing); a column
//! whose first cofacet of its own diameter is free is paired without a reduction (emergent pairs), and not even stored if it is the last
//! facet of that cofacet (apparent pairs): Bauer (2021), sections 3 and 4.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use rayon::prelude::*;

use super::Interval;
use super::collapse::Distances;
use crate::observe::may_stop;

/// Bits of one vertex in a key: four vertices fill it.
const BITS: u32 = 16;

/// Steps in which the cofacets of a sum are enumerated.
const HORIZONS: usize = 64;

/// A simplex, ordered by its entry: by diameter, then by its vertices from the last down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Simplex {
    /// Bits of the diameter; they order as the numbers do, none being negative.
    diameter: u64,
    /// Vertices from the largest down, 16 bits each.
    key: Reverse<u64>,
}

impl Simplex {
    fn diameter(self) -> f64 {
        f64::from_bits(self.diameter)
    }

    fn vertices(self, dim: usize) -> impl DoubleEndedIterator<Item = usize> {
        (0..=dim as u32).rev().map(move |at| (self.key.0 >> (BITS * at) & 0xffff) as usize)
    }
}

/// The complex: distances, and the neighbours of each vertex from the largest down.
struct Complex<'a> {
    distances: &'a Distances,
    neighbors: Vec<Vec<usize>>,
    /// Diameters up to which cofacets are enumerated, one after the other.
    horizons: Vec<f64>,
}

impl Complex<'_> {
    /// Cofacets that enter at the simplex's diameter or later, up to `horizon`, from the largest vertex down, so that those of one
    /// diameter come in the order of entry.
    fn cofacets(&self, simplex: Simplex, dim: usize, horizon: f64) -> impl Iterator<Item = Simplex> {
        let mut corners = [0; 3];
        simplex.vertices(dim).zip(&mut corners).for_each(|(v, corner)| *corner = v);
        let fewest = (0..=dim).min_by_key(|at| self.neighbors[corners[*at]].len()).unwrap_or(0);
        let rows = corners.map(|v| self.distances.row(v));
        self.neighbors[corners[fewest]].iter().filter_map(move |new| {
            let diameter = rows[..=dim].iter().fold(simplex.diameter(), |d, row| d.max(row[*new]));
            let corners = &corners[..=dim];
            if diameter > horizon || corners.contains(new) {
                return None;
            }
            let larger = corners.iter().filter(|v| *v > new).count();
            let below = BITS * (dim + 1 - larger) as u32;
            let low = simplex.key.0 & ((1u64 << below) - 1);
            let high = simplex.key.0.checked_shr(below).unwrap_or(0);
            let key = (high << BITS | *new as u64).checked_shl(below).unwrap_or(0) | low;
            Some(Simplex { diameter: diameter.to_bits(), key: Reverse(key) })
        })
    }

    /// All simplices of the next dimension, each from its facet without the largest vertex.
    fn next(&self, simplices: &[Simplex], dim: usize) -> impl ParallelIterator<Item = Simplex> {
        let larger = move |s: &Simplex, c: &Simplex| c.vertices(dim + 1).next() > s.vertices(dim).next();
        simplices.par_iter().flat_map_iter(move |s| {
            may_stop();
            self.cofacets(*s, dim, f64::MAX).filter(move |c| larger(s, c))
        })
    }

    /// The first cofacet, if it enters with the simplex.
    fn first_cofacet(&self, simplex: Simplex, dim: usize) -> Option<Simplex> {
        self.cofacets(simplex, dim, simplex.diameter()).next()
    }

    /// The last facet among those that enter with the simplex.
    fn last_facet(&self, simplex: Simplex, dim: usize) -> Option<Simplex> {
        let facet = |without: usize| {
            let mut key = 0;
            let mut diameter = 0f64;
            for (a, v) in simplex.vertices(dim).enumerate().filter(|(a, _)| *a != without) {
                key = key << BITS | v as u64;
                let before = simplex.vertices(dim).take(a).enumerate().filter(|(b, _)| *b != without);
                diameter = before.fold(diameter, |d, (_, w)| d.max(self.distances.row(v)[w]));
            }
            Simplex { diameter: diameter.to_bits(), key: Reverse(key) }
        };
        (0..=dim).map(facet).filter(|f| f.diameter == simplex.diameter).max()
    }

    /// The cofacet paired with a simplex of dimension `dim` on sight: its first, of which it is the last facet.
    fn apparent_cofacet(&self, simplex: Simplex, dim: usize) -> Option<Simplex> {
        self.first_cofacet(simplex, dim).filter(|c| self.last_facet(*c, dim + 1) == Some(simplex))
    }

    /// The facet paired with a simplex of dimension `dim` on sight.
    fn apparent_facet(&self, simplex: Simplex, dim: usize) -> Option<Simplex> {
        self.last_facet(simplex, dim).filter(|f| self.first_cofacet(*f, dim - 1) == Some(simplex))
    }
}

/// Intervals of dimensions 0 to `max_dim` (at most 2), those of no length left out; one class of dimension 0 that never dies too.
pub(super) fn intervals(distances: &Distances, max_dim: usize) -> Vec<Vec<Interval>> {
    let n = distances.n();
    let neighbors = |i: usize| (0..n).rev().filter(|j| *j != i && distances.row(i)[*j].is_finite()).collect();
    let edge = |(d, i, j): (f64, usize, usize)| Simplex { diameter: d.to_bits(), key: Reverse((i as u64) << BITS | j as u64) };
    let mut simplices: Vec<Simplex> = distances.edges().into_iter().map(edge).collect();
    simplices.sort_unstable();
    let complex = Complex { distances, neighbors: (0..n).map(neighbors).collect(), horizons: horizons(&simplices) };
    let (components, mut columns) = components(n, &simplices);
    columns.retain(|s| complex.apparent_cofacet(*s, 1).is_none());
    let mut out = vec![components];
    for dim in 1..=max_dim {
        // The last to enter is reduced first.
        columns.sort_unstable_by(|a, b| b.cmp(a));
        let (found, pivots) = reduce(&complex, &columns, dim);
        out.push(found);
        if dim < max_dim {
            let paired = |s: &Simplex| pivots.contains_key(&s.key.0) || complex.apparent_facet(*s, dim + 1).is_some();
            let open = |s: &Simplex| complex.apparent_cofacet(*s, dim + 1).is_none() && !paired(s);
            columns = complex.next(&simplices, dim).filter(open).collect();
            if dim + 1 < max_dim {
                simplices = complex.next(&simplices, dim).collect();
            }
        }
    }
    out
}

/// Diameters that part the edges, ordered by entry, in `HORIZONS` equal steps; the last is that of all.
fn horizons(edges: &[Simplex]) -> Vec<f64> {
    let step = edges.len().div_ceil(HORIZONS).max(1);
    let mut out: Vec<f64> = edges.iter().skip(step).step_by(step).chain(edges.last()).map(|e| e.diameter()).collect();
    out.dedup();
    out
}

/// Intervals of dimension 0, and the edges that join no two components.
fn components(n: usize, edges: &[Simplex]) -> (Vec<Interval>, Vec<Simplex>) {
    let mut parent: Vec<usize> = (0..n).collect();
    let (mut found, mut rest, mut left) = (Vec::new(), Vec::new(), n);
    for edge in edges {
        let mut ends = edge.vertices(1).map(|v| root(&mut parent, v));
        let (a, b) = (ends.next().unwrap_or(0), ends.next().unwrap_or(0));
        if a == b {
            rest.push(*edge);
            continue;
        }
        parent[a] = b;
        left -= 1;
        if edge.diameter() > 0.0 {
            found.push(Interval { birth: 0.0, death: edge.diameter() });
        }
    }
    found.extend((1..left).map(|_| Interval { birth: 0.0, death: f64::INFINITY }));
    (found, rest)
}

fn root(parent: &mut [usize], mut v: usize) -> usize {
    while parent[v] != v {
        parent[v] = parent[parent[v]];
        v = parent[v];
    }
    v
}

/// Reduces the coboundaries of `columns`; returns the intervals and the column of each pivot.
fn reduce(complex: &Complex<'_>, columns: &[Simplex], dim: usize) -> (Vec<Interval>, HashMap<u64, usize>) {
    let (mut found, mut pivots) = (Vec::new(), HashMap::new());
    // What each column is the coboundary of, once reduced.
    let mut sums: Vec<Vec<Simplex>> = Vec::with_capacity(columns.len());
    for (at, column) in columns.iter().enumerate() {
        may_stop();
        let mut sum = vec![*column];
        // The earliest cofacet possible: if free, no reduction can give another pivot.
        let emergent = complex.first_cofacet(*column, dim);
        let free = |c: &Simplex| !pivots.contains_key(&c.key.0) && complex.apparent_facet(*c, dim + 1).is_none();
        let pivot = match emergent.filter(free) {
            Some(free) => Some(free),
            None => reduce_column(complex, &mut sum, dim, &pivots, &sums),
        };
        let (birth, death) = (column.diameter(), pivot.map_or(f64::INFINITY, Simplex::diameter));
        if death > birth {
            found.push(Interval { birth, death });
        }
        if let Some(pivot) = pivot {
            pivots.insert(pivot.key.0, at);
        }
        sums.push(sum);
    }
    (found, pivots)
}

/// Adds earlier columns to `sum` until its first cofacet is no pivot of theirs; returns it.
fn reduce_column(
    complex: &Complex<'_>,
    sum: &mut Vec<Simplex>,
    dim: usize,
    pivots: &HashMap<u64, usize>,
    sums: &[Vec<Simplex>],
) -> Option<Simplex> {
    // Cofacets are enumerated up to a horizon that moves on when all before it have cancelled: most would never be looked at.
    let birth = sum[0].diameter();
    let mut horizons = complex.horizons.iter().copied().skip_while(|h| *h < birth);
    let mut horizon = horizons.next()?;
    let mut heap: BinaryHeap<Reverse<Simplex>> =
        sum.iter().flat_map(|s| complex.cofacets(*s, dim, horizon)).map(Reverse).collect();
    loop {
        may_stop();
        let Some(pivot) = pop_odd(&mut heap) else {
            *sum = odd(std::mem::take(sum));
            let seen = std::mem::replace(&mut horizon, horizons.next()?);
            heap.extend(sum.iter().flat_map(|s| complex.cofacets(*s, dim, horizon)).filter(|c| c.diameter() > seen).map(Reverse));
            continue;
        };
        let apparent;
        let added = match pivots.get(&pivot.key.0) {
            Some(earlier) => &sums[*earlier],
            None => match complex.apparent_facet(pivot, dim + 1) {
                Some(facet) => {
                    apparent = vec![facet];
                    &apparent
                }
                None => {
                    // Kept once for each remaining odd number of times.
                    *sum = odd(std::mem::take(sum));
                    break Some(pivot);
                }
            },
        };
        heap.push(Reverse(pivot));
        for simplex in added {
            sum.push(*simplex);
            heap.extend(complex.cofacets(*simplex, dim, horizon).map(Reverse));
        }
    }
}

/// The first simplex that is there an odd number of times.
fn pop_odd(heap: &mut BinaryHeap<Reverse<Simplex>>) -> Option<Simplex> {
    while let Some(Reverse(first)) = heap.pop() {
        let mut copies = 1;
        while heap.peek() == Some(&Reverse(first)) {
            heap.pop();
            copies += 1;
        }
        if copies % 2 == 1 {
            return Some(first);
        }
    }
    None
}

fn odd(mut simplices: Vec<Simplex>) -> Vec<Simplex> {
    simplices.sort_unstable();
    simplices.chunk_by(|a, b| a == b).filter(|run| run.len() % 2 == 1).map(|run| run[0]).collect()
}
