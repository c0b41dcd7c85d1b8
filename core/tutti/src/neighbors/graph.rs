//! Weighted graphs of cells, from their nearest neighbours.

use rayon::prelude::*;

use super::Neighbors;
use crate::error::{Error, Result};
use crate::observe::may_stop;

/// Share of its mean neighbour distance below which the bandwidth of a cell does not fall.
const MIN_BANDWIDTH: f64 = 1e-3;

/// A weighted undirected graph: each edge is stored at both ends with one weight above 0, no node has an edge to itself, and the
/// neighbours of a node ascend.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    offsets: Vec<usize>,
    indices: Vec<u32>,
    weights: Vec<f32>,
}

impl Graph {
    /// A graph of `n_nodes` from its edges, in any order; those given twice, in either direction, are summed.
    ///
    /// # Errors
    /// [`Error::Data`] for a node that there is not, an edge of a node to itself, or a weight that is not finite and above 0.
    pub fn from_edges(n_nodes: usize, edges: &[(u32, u32, f32)]) -> Result<Self> {
        for (a, b, weight) in edges {
            if a == b || *a as usize >= n_nodes || *b as usize >= n_nodes || !(weight.is_finite() && *weight > 0.0) {
                let problem = format!("edge {a}–{b} of weight {weight} in a graph of {n_nodes} nodes");
                return Err(Error::data(problem, "join two different nodes of the graph by a finite weight above 0"));
            }
        }
        let mut rows = vec![Vec::new(); n_nodes];
        for (a, b, weight) in edges {
            rows[*a as usize].push((*b, *weight));
            rows[*b as usize].push((*a, *weight));
        }
        rows.iter_mut().for_each(|row| {
            row.sort_by_key(|(node, _)| *node);
            row.dedup_by(|next, kept| {
                let same = next.0 == kept.0;
                if same {
                    kept.1 += next.1;
                }
                same
            });
        });
        Ok(Self::from_rows(rows))
    }

    /// How surely two cells are neighbours of each other: the fuzzy simplicial set of UMAP (McInnes et al. 2018, section 3.1), which
    /// scanpy calls `connectivities`. The weight of j in the view of i is exp(-(d - rho_i) / sigma_i), with rho_i the distance of the
    /// nearest cell that is not on i, and sigma_i such that the weights of a cell sum to log2(k); both views join as a + b - ab.
    ///
    /// `neighbors` are those of [`super::nearest_self`], of which k counts the cell itself, as in umap-learn, whose weights these equal to 1e-4.
    /// The same for any number of threads.
    pub fn fuzzy(neighbors: &Neighbors) -> Self {
        let (n, k) = (neighbors.n_queries(), neighbors.k());
        let others: Vec<Vec<(u32, f32)>> = (0..n).into_par_iter().map(|i| others(neighbors, i)).collect();
        let mean_of = |row: &[(u32, f32)]| row.iter().map(|(_, d)| f64::from(*d)).sum::<f64>() / k.max(1) as f64;
        let means: Vec<f64> = others.iter().map(|row| mean_of(row)).collect();
        let mean = means.iter().sum::<f64>() / n.max(1) as f64;
        let views: Vec<Vec<(u32, f32)>> =
            others.into_par_iter().zip(&means).map(|(row, own)| memberships(row, k, *own, mean)).collect();
        Self::joined(views, |a, b| a + b - a * b)
    }

    /// Shared nearest neighbours, as Seurat weighs them: the number of neighbours that two cells have in common over the number
    /// that either has (the Jaccard index; each cell is its own neighbour). Weights below `prune` are left out; Seurat takes 1/15.
    /// The same for any number of threads.
    ///
    /// # Errors
    /// [`Error::Argument`] for `prune` outside 0 to 1.
    pub fn shared_neighbors(neighbors: &Neighbors, prune: f32) -> Result<Self> {
        if !(0.0..=1.0).contains(&prune) {
            return Err(Error::argument("prune", format!("is {prune}"), "give a share from 0 to 1, such as 1/15"));
        }
        let n = neighbors.n_queries();
        let mut neighbor_of = vec![Vec::new(); n];
        for i in 0..n {
            neighbors.row(i).0.iter().for_each(|j| neighbor_of[*j as usize].push(i as u32));
        }
        let row = |i: usize| {
            let mut sharing: Vec<u32> =
                neighbors.row(i).0.iter().flat_map(|j| neighbor_of[*j as usize].iter().copied()).collect();
            sharing.sort_unstable();
            let weighed = sharing.chunk_by(|a, b| a == b).map(|same| {
                let shared = same.len() as f32;
                (same[0], shared / (2 * neighbors.k()) as f32 / (1.0 - shared / (2 * neighbors.k()) as f32))
            });
            weighed.filter(|(j, weight)| *j as usize != i && *weight >= prune && *weight > 0.0).collect()
        };
        Ok(Self::from_rows((0..n).into_par_iter().map(row).collect()))
    }

    /// Number of nodes.
    pub fn n_nodes(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Number of edges, each counted once.
    pub fn n_edges(&self) -> usize {
        self.indices.len() / 2
    }

    /// Neighbours of a node, ascending, and the weights of its edges to them.
    pub fn row(&self, node: usize) -> (&[u32], &[f32]) {
        let range = self.offsets[node]..self.offsets[node + 1];
        (&self.indices[range.clone()], &self.weights[range])
    }

    /// Sum of the weights of the edges of a node.
    pub fn degree(&self, node: usize) -> f64 {
        self.row(node).1.iter().map(|w| f64::from(*w)).sum()
    }

    /// Connected component of each node, numbered by their first node.
    pub fn components(&self) -> Vec<u32> {
        let mut component = vec![u32::MAX; self.n_nodes()];
        let (mut found, mut open) = (0, Vec::new());
        for start in 0..self.n_nodes() {
            if component[start] != u32::MAX {
                continue;
            }
            component[start] = found;
            open.push(start);
            while let Some(node) = open.pop() {
                for next in self.row(node).0 {
                    if component[*next as usize] == u32::MAX {
                        component[*next as usize] = found;
                        open.push(*next as usize);
                    }
                }
            }
            found += 1;
        }
        component
    }

    /// The nodes given and the edges among them, numbered in their order. `nodes` has no node twice.
    pub fn subgraph(&self, nodes: &[usize]) -> Self {
        let mut place = vec![u32::MAX; self.n_nodes()];
        nodes.iter().zip(0..).for_each(|(node, new)| place[*node] = new);
        let row = |node: &usize| {
            let (indices, weights) = self.row(*node);
            let mut row: Vec<(u32, f32)> =
                indices.iter().zip(weights).map(|(j, w)| (place[*j as usize], *w)).filter(|(j, _)| *j != u32::MAX).collect();
            row.sort_by_key(|(j, _)| *j);
            row
        };
        Self::from_rows(nodes.iter().map(row).collect())
    }

    /// Both directions of each edge as one weight. `views[i]` holds what i sees, by ascending neighbour.
    fn joined(views: Vec<Vec<(u32, f32)>>, join: impl Fn(f32, f32) -> f32 + Sync) -> Self {
        let mut seen_by = vec![Vec::new(); views.len()];
        for (i, view) in views.iter().enumerate() {
            view.iter().for_each(|(j, weight)| seen_by[*j as usize].push((i as u32, *weight)));
        }
        let rows = views.into_par_iter().zip(seen_by).map(|(own, other)| merged(&own, &other, &join)).collect();
        Self::from_rows(rows)
    }

    fn from_rows(rows: Vec<Vec<(u32, f32)>>) -> Self {
        let mut graph = Self { offsets: vec![0], indices: Vec::new(), weights: Vec::new() };
        for row in rows {
            row.into_iter().for_each(|(j, weight)| {
                graph.indices.push(j);
                graph.weights.push(weight);
            });
            graph.offsets.push(graph.indices.len());
        }
        graph
    }
}

/// The neighbours of a cell but for itself, and at most k - 1: where others lie on it, it may not be among its own.
fn others(neighbors: &Neighbors, i: usize) -> Vec<(u32, f32)> {
    let (indices, distances) = neighbors.row(i);
    let pairs = indices.iter().copied().zip(distances.iter().copied());
    pairs.filter(|(j, _)| *j as usize != i).take(neighbors.k().saturating_sub(1)).collect()
}

/// What a cell sees: the weights of its neighbours, by ascending index, those of no weight left out.
fn memberships(mut row: Vec<(u32, f32)>, k: usize, own_mean: f64, mean: f64) -> Vec<(u32, f32)> {
    may_stop();
    let rho = row.iter().map(|(_, d)| f64::from(*d)).find(|d| *d > 0.0).unwrap_or(0.0);
    let sigma = bandwidth(&row, rho, (k as f64).log2()).max(MIN_BANDWIDTH * if rho > 0.0 { own_mean } else { mean });
    for (_, value) in &mut row {
        let beyond = f64::from(*value) - rho;
        *value = if beyond <= 0.0 || sigma == 0.0 { 1.0 } else { (-beyond / sigma).exp() as f32 };
    }
    row.retain(|(_, weight)| *weight > 0.0);
    row.sort_by_key(|(j, _)| *j);
    row
}

/// The bandwidth at which the weights sum to `target`, by bisection.
fn bandwidth(row: &[(u32, f32)], rho: f64, target: f64) -> f64 {
    let (mut low, mut high, mut middle) = (0.0, f64::INFINITY, 1.0);
    for _ in 0..64 {
        let sum: f64 = row.iter().map(|(_, d)| (-(f64::from(*d) - rho).max(0.0) / middle).exp()).sum();
        if (sum - target).abs() < 1e-5 {
            break;
        }
        if sum > target {
            high = middle;
            middle = 0.5 * (low + high);
        } else {
            low = middle;
            middle = if high.is_finite() { 0.5 * (low + high) } else { 2.0 * middle };
        }
    }
    middle
}

/// Two ascending rows as one; a neighbour of only one has 0 in the other.
fn merged(a: &[(u32, f32)], b: &[(u32, f32)], join: impl Fn(f32, f32) -> f32) -> Vec<(u32, f32)> {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    let mut out = Vec::new();
    while let Some(next) = [a.peek().map(|e| e.0), b.peek().map(|e| e.0)].into_iter().flatten().min() {
        let from_a = a.next_if(|e| e.0 == next).map_or(0.0, |e| e.1);
        let from_b = b.next_if(|e| e.0 == next).map_or(0.0, |e| e.1);
        out.push((next, join(from_a, from_b)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbors::{NeighborConfig, nearest_self};
    use crate::rng::Rng;
    use crate::threads::Threads;
    use ndarray::{Array2, array};

    fn neighbors(n: usize, k: usize) -> Neighbors {
        let mut stream = Rng::new(1).stream("points", 0, 0);
        let x = Array2::from_shape_fn((n, 5), |_| stream.normal() as f32);
        nearest_self(x.view(), &NeighborConfig { n_neighbors: k, ..Default::default() }).unwrap()
    }

    #[track_caller]
    fn assert_symmetric(graph: &Graph) {
        for i in 0..graph.n_nodes() {
            let (indices, weights) = graph.row(i);
            assert!(indices.windows(2).all(|w| w[0] < w[1]));
            for (j, weight) in indices.iter().zip(weights) {
                let (back, weights) = graph.row(*j as usize);
                let place = back.binary_search(&(i as u32)).unwrap();
                assert!(weights[place] == *weight && *j as usize != i && *weight > 0.0 && *weight <= 1.0);
            }
        }
    }

    #[test]
    fn fuzzy_views_sum_to_log2_k_and_join_by_probability() {
        let found = neighbors(200, 10);
        let views: Vec<Vec<(u32, f32)>> = (0..200).map(|i| memberships(others(&found, i), 10, 1.0, 1.0)).collect();
        for view in &views {
            let sum: f32 = view.iter().map(|(_, w)| w).sum();
            assert!((sum - 10f32.log2()).abs() < 1e-3, "{sum}");
            assert!(view.iter().any(|(_, w)| *w == 1.0));
        }
        let graph = Graph::fuzzy(&found);
        assert_symmetric(&graph);
        let weight = |i: usize, j: u32| views[i].iter().find(|(o, _)| *o == j).map_or(0.0, |(_, w)| *w);
        for i in 0..200 {
            let (indices, weights) = graph.row(i);
            for (j, w) in indices.iter().zip(weights) {
                let (a, b) = (weight(i, *j), weight(*j as usize, i as u32));
                assert!((w - (1.0 - (1.0 - a) * (1.0 - b))).abs() < 1e-6);
            }
        }
        assert_eq!(graph, Threads::new(2).unwrap().run(|| Graph::fuzzy(&found)));
    }

    #[test]
    fn shared_neighbors_equal_sets_counted_by_loops() {
        let found = neighbors(80, 8);
        let graph = Graph::shared_neighbors(&found, 1.0 / 15.0).unwrap();
        assert_symmetric(&graph);
        for i in 0..80 {
            for j in (0..80).filter(|j| *j != i) {
                let common = found.row(i).0.iter().filter(|c| found.row(j).0.contains(c)).count();
                let jaccard = common as f32 / (16 - common) as f32;
                let (indices, weights) = graph.row(i);
                let seen = indices.iter().position(|c| *c as usize == j).map_or(0.0, |p| weights[p]);
                assert!((seen - if jaccard >= 1.0 / 15.0 { jaccard } else { 0.0 }).abs() < 1e-6);
            }
        }
        assert!(Graph::shared_neighbors(&found, 2.0).is_err());
    }

    #[test]
    fn cells_on_one_another_are_sure_neighbours() {
        let x = array![[0f32, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [5.0, 5.0]];
        let found = nearest_self(x.view(), &NeighborConfig { n_neighbors: 3, ..Default::default() }).unwrap();
        let graph = Graph::fuzzy(&found);
        assert_symmetric(&graph);
        assert_eq!(graph.row(2).1[..2], [1.0, 1.0]);
    }

    #[test]
    fn edges_sum_components_are_numbered_and_subgraphs_renumber() {
        let graph = Graph::from_edges(6, &[(0, 2, 1.0), (2, 0, 0.5), (4, 2, 1.0), (1, 5, 2.0)]).unwrap();
        assert_eq!(graph.row(2), (&[0, 4][..], &[1.5, 1.0][..]));
        assert_eq!((graph.n_edges(), graph.degree(2)), (3, 2.5));
        assert_eq!(graph.components(), [0, 1, 0, 2, 0, 1]);
        assert_eq!(graph.subgraph(&[4, 1, 2]).row(0), (&[2][..], &[1.0][..]));
        assert!(Graph::from_edges(2, &[(0, 0, 1.0)]).is_err() && Graph::from_edges(2, &[(0, 1, f32::NAN)]).is_err());
    }
}
