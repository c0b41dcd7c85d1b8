//! How far cells have come from a root, along the neighbour graph.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ndarray::{ArrayView2, Axis};

use crate::error::{Error, Result};
use crate::neighbors::{Graph, Neighbors, diffusion_map};
use crate::observe::may_stop;

/// Diffusion components that scanpy computes, and those of them that it uses by default.
const N_COMPUTED: usize = 15;

/// Eigenvalue from which a direction counts as that which never changes, and is not scaled.
const STATIONARY: f64 = 1.0 - 1e-9;

/// Length of the shortest path from `root` to each cell over the kNN graph, whose edges are as long as their ends are apart, over the
/// longest of them: 0 at the root, 1 at the far end. `None` for cells that no path reaches: more neighbours may join them.
///
/// `neighbors` are those of [`crate::neighbors::nearest_self`]; an edge leads both ways. Dijkstra 1959; time n k log n.
///
/// # Errors
/// [`Error::Argument`] for a root that there is not.
pub fn graph_pseudotime(neighbors: &Neighbors, root: usize) -> Result<Vec<Option<f32>>> {
    let n = neighbors.n_queries();
    check_root(root, n)?;
    let mut edges = vec![Vec::new(); n];
    for i in 0..n {
        let (indices, distances) = neighbors.row(i);
        for (j, distance) in indices.iter().zip(distances).filter(|(j, _)| **j as usize != i) {
            edges[i].push((*j as usize, f64::from(*distance)));
            edges[*j as usize].push((i, f64::from(*distance)));
        }
    }
    Ok(scaled(shortest_paths(&edges, root)))
}

/// Diffusion pseudotime (Haghverdi et al. 2016): how far a cell is from `root` for random walks of all lengths at once, over the farthest:
/// 0 at the root, 1 at the far end. `None` for cells in another connected component than the root.
///
/// Follows scanpy's `dpt` on the graph that it calls `connectivities` ([`Graph::fuzzy`]): of the 15 eigenpairs of largest size,
/// the first `n_components` (scanpy takes 10) are used, scaled by λ / (1 - λ). scanpy leaves all from λ = 0.9994 on unscaled, for its
/// single precision, and so loses the slowest directions of long thin courses; here only λ = 1 is left.
///
/// # Errors
/// [`Error::Argument`] for a root that there is not or no components; what LAPACK fails at.
pub fn diffusion_pseudotime(graph: &Graph, root: usize, n_components: usize) -> Result<Vec<Option<f32>>> {
    check_root(root, graph.n_nodes())?;
    if n_components == 0 {
        return Err(Error::argument("n_components", "is 0", "use 10 to 15"));
    }
    let map = diffusion_map(graph, n_components.max(N_COMPUTED))?;
    let mut squares = vec![0.0; graph.n_nodes()];
    for (value, vector) in map.values.iter().zip(map.vectors.columns()).take(n_components) {
        let scale = if *value < STATIONARY { value / (1.0 - value) } else { 1.0 };
        squares.iter_mut().zip(vector).for_each(|(sum, v)| *sum += (scale * (vector[root] - v)).powi(2));
    }
    let reached = |(square, component): (f64, &u32)| (*component == map.components[root]).then(|| square.sqrt());
    Ok(scaled(squares.into_iter().zip(&map.components).map(reached).collect()))
}

/// The cell of a group that is nearest to the others of the group, by the sum of its distances: a root for a pseudotime.
/// `x` is the embedding, [n_cells, d]; `group` are row numbers. Ties go to the first. Time d times the square of the group.
///
/// # Errors
/// [`Error::Argument`] for an empty group or a cell that there is not.
pub fn medoid(x: ArrayView2<'_, f32>, group: &[usize]) -> Result<usize> {
    group.iter().try_for_each(|cell| check_root(*cell, x.nrows()))?;
    let members = x.select(Axis(0), group);
    let distance = |a: ndarray::ArrayView1<'_, f32>, b: ndarray::ArrayView1<'_, f32>| {
        a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
    };
    let sum = |a| {
        may_stop();
        members.rows().into_iter().map(|b| distance(a, b)).sum::<f64>()
    };
    let sums = members.rows().into_iter().map(sum);
    let best = sums.zip(group).min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, cell)| *cell);
    best.ok_or_else(|| Error::argument("group", "has no cells", "choose a level that is there"))
}

fn check_root(root: usize, n_cells: usize) -> Result<()> {
    if root >= n_cells {
        return Err(Error::argument("root", format!("is cell {root} of {n_cells}, counted from 0"), "give the row of a cell"));
    }
    Ok(())
}

fn shortest_paths(edges: &[Vec<(usize, f64)>], root: usize) -> Vec<Option<f64>> {
    let mut lengths: Vec<Option<f64>> = vec![None; edges.len()];
    // Lengths are not below 0, so that their bits order as they do.
    let mut open = BinaryHeap::from([(Reverse(0u64), root)]);
    while let Some((Reverse(bits), node)) = open.pop() {
        if lengths[node].is_some() {
            continue;
        }
        let length = f64::from_bits(bits);
        lengths[node] = Some(length);
        let unreached = edges[node].iter().filter(|(next, _)| lengths[*next].is_none());
        open.extend(unreached.map(|(next, distance)| (Reverse((length + distance).to_bits()), *next)));
    }
    lengths
}

/// Over the largest; zeros where that is 0.
fn scaled(lengths: Vec<Option<f64>>) -> Vec<Option<f32>> {
    let longest = lengths.iter().flatten().fold(f64::MIN_POSITIVE, |longest, length| longest.max(*length));
    lengths.into_iter().map(|length| length.map(|l| (l / longest) as f32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbors::{NeighborConfig, nearest_self};
    use crate::rng::Rng;
    use ndarray::Array2;

    const N: usize = 400;

    /// Both pseudotimes of points along a known course, from cell 0.
    fn both(x: &Array2<f32>) -> [Vec<Option<f32>>; 2] {
        let neighbors = nearest_self(x.view(), &NeighborConfig { n_neighbors: 12, ..Default::default() }).unwrap();
        let graph = Graph::fuzzy(&neighbors);
        [graph_pseudotime(&neighbors, 0).unwrap(), diffusion_pseudotime(&graph, 0, 10).unwrap()]
    }

    /// Pearson correlation of the ranks.
    fn spearman(a: &[f32], b: &[f32]) -> f64 {
        let ranks = |x: &[f32]| {
            let mut order: Vec<usize> = (0..x.len()).collect();
            order.sort_by(|i, j| x[*i].total_cmp(&x[*j]));
            let mut ranks = vec![0.0; x.len()];
            order.iter().enumerate().for_each(|(rank, i)| ranks[*i] = rank as f64 - (x.len() - 1) as f64 / 2.0);
            ranks
        };
        let (a, b) = (ranks(a), ranks(b));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
    }

    #[track_caller]
    fn assert_ordered(x: &Array2<f32>, truth: &[f32]) {
        for (found, name) in both(x).into_iter().zip(["by paths", "by diffusion"]) {
            let found: Vec<f32> = found.into_iter().map(|t| t.unwrap()).collect();
            assert!(found[0] == 0.0 && found.iter().all(|t| (0.0..=1.0).contains(t)) && found.contains(&1.0));
            let correlation = spearman(&found, truth);
            assert!(correlation > 0.95, "{name}: {correlation}");
        }
    }

    fn noise() -> impl FnMut() -> f32 {
        let mut stream = Rng::new(4).stream("noise", 0, 0);
        move || 0.02 * stream.normal() as f32
    }

    #[test]
    fn a_bent_line_is_followed_from_its_end() {
        let (mut noise, t) = (noise(), |i: usize| i as f32 / (N - 1) as f32);
        // Three quarters of a circle: straight distances would turn back.
        let angle = |i: usize| 1.5 * std::f32::consts::PI * t(i);
        let x = Array2::from_shape_fn((N, 2), |(i, j)| noise() + if j == 0 { angle(i).cos() } else { angle(i).sin() });
        assert_ordered(&x, &(0..N).map(t).collect::<Vec<_>>());
    }

    #[test]
    fn a_loop_is_followed_both_ways() {
        let (mut noise, angle) = (noise(), |i: usize| std::f32::consts::TAU * i as f32 / N as f32);
        let x = Array2::from_shape_fn((N, 2), |(i, j)| noise() + if j == 0 { angle(i).cos() } else { angle(i).sin() });
        assert_ordered(&x, &(0..N).map(|i| i.min(N - i) as f32).collect::<Vec<_>>());
    }

    #[test]
    fn the_branches_of_a_tree_are_followed() {
        // A trunk that splits in two at 1; each arm has the length 1.
        let mut noise = noise();
        let depth = |i: usize| if i < N / 2 { 2.0 * i as f32 / N as f32 } else { 1.0 + (i - N / 2) as f32 / (N / 2) as f32 };
        let x = Array2::from_shape_fn((N, 2), |(i, j)| {
            let (beyond, side) = ((depth(i) - 1.0).max(0.0), if i % 2 == 0 { 1.0 } else { -1.0 });
            noise() + if j == 0 { depth(i).min(1.0) + 0.5 * beyond } else { side * 0.87 * beyond }
        });
        assert_ordered(&x, &(0..N).map(depth).collect::<Vec<_>>());
    }

    #[test]
    fn paths_equal_those_of_all_pairs() {
        let mut stream = Rng::new(9).stream("points", 0, 0);
        let x = Array2::from_shape_fn((60, 2), |_| stream.uniform() as f32);
        let neighbors = nearest_self(x.view(), &NeighborConfig { n_neighbors: 6, ..Default::default() }).unwrap();
        // Floyd and Warshall.
        let mut d = Array2::from_elem((60, 60), f64::INFINITY);
        for i in 0..60 {
            let (indices, distances) = neighbors.row(i);
            for (j, distance) in indices.iter().zip(distances) {
                d[[i, *j as usize]] = f64::from(*distance);
                d[[*j as usize, i]] = f64::from(*distance);
            }
        }
        for k in 0..60 {
            for i in 0..60 {
                for j in 0..60 {
                    d[[i, j]] = d[[i, j]].min(d[[i, k]] + d[[k, j]]);
                }
            }
        }
        let longest = d.row(7).iter().filter(|v| v.is_finite()).fold(0f64, |a, b| a.max(*b));
        for (found, expected) in graph_pseudotime(&neighbors, 7).unwrap().iter().zip(d.row(7)) {
            let expected = expected.is_finite().then_some(*expected / longest);
            assert!(found.is_some() == expected.is_some());
            assert!(found.zip(expected).is_none_or(|(a, b)| (f64::from(a) - b).abs() < 1e-6), "{found:?} {expected:?}");
        }
    }

    #[test]
    fn other_components_are_not_reached_and_bad_roots_are_refused() {
        let x = Array2::from_shape_fn((60, 1), |(i, _)| i as f32 + if i < 30 { 0.0 } else { 1e4 });
        for found in both(&x) {
            assert!(found[..30].iter().all(Option::is_some) && found[30..].iter().all(Option::is_none));
        }
        let neighbors = nearest_self(x.view(), &NeighborConfig { n_neighbors: 5, ..Default::default() }).unwrap();
        assert!(graph_pseudotime(&neighbors, 60).unwrap_err().to_string().contains("cell 60 of 60"));
        assert!(diffusion_pseudotime(&Graph::fuzzy(&neighbors), 0, 0).is_err());
    }

    #[test]
    fn the_medoid_is_the_middle_cell() {
        let x = ndarray::array![[9f32], [0.0], [1.0], [2.0], [50.0]];
        assert_eq!(medoid(x.view(), &[1, 2, 3]).unwrap(), 2);
        assert!(medoid(x.view(), &[]).is_err() && medoid(x.view(), &[5]).is_err());
    }
}
