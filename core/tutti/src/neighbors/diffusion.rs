//! Diffusion maps (Coifman et al. 2005) of a graph of cells.

use ndarray::{Array1, Array2, s};
use rayon::prelude::*;

use super::Graph;
use super::lanczos::{by_size, largest};
use crate::error::Result;

/// Nodes up to which the whole spectrum is computed.
const DENSE_NODES: usize = 500;

/// The slow directions of a random walk.
pub(crate) struct DiffusionMap {
    /// Eigenvalues of the transitions, descending, from 1 to above -1.
    pub values: Array1<f64>,
    /// Eigenvectors, [n_nodes, n_components], each of length 1.
    pub vectors: Array2<f64>,
    /// Connected component of each node, numbered by their first node.
    pub components: Vec<u32>,
}

/// The `n_components` eigenpairs of largest size of the symmetric transitions D^(-1/2) K D^(-1/2), where K_ij = w_ij / (q_i q_j) with q
/// the degrees takes out how densely the cells were sampled, and D are the row sums of K. This is the matrix of scanpy's `diffmap`.
///
/// Every connected component has its own spectrum, with the eigenvalue 1 once, and they are joined.
/// The same for any number of threads. Memory: (2 * n_components + 21) * n_nodes * 8 bytes.
pub(crate) fn diffusion_map(graph: &Graph, n_components: usize) -> Result<DiffusionMap> {
    let components = graph.components();
    let mut members = vec![Vec::new(); components.iter().max().map_or(0, |c| *c as usize + 1)];
    components.iter().enumerate().for_each(|(node, component)| members[*component as usize].push(node));
    let mut pairs: Vec<(f64, usize, Array1<f64>)> = Vec::new();
    for (component, nodes) in members.iter().enumerate() {
        let (values, vectors) = Transitions::of(&graph.subgraph(nodes)).leading(n_components)?;
        pairs.extend(values.iter().zip(vectors.columns()).map(|(value, vector)| (*value, component, vector.to_owned())));
    }
    pairs.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
    pairs.truncate(n_components);
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut vectors = Array2::zeros((graph.n_nodes(), pairs.len()));
    for (j, (_, component, vector)) in pairs.iter().enumerate() {
        members[*component].iter().zip(vector).for_each(|(node, v)| vectors[[*node, j]] = *v);
    }
    Ok(DiffusionMap { values: pairs.iter().map(|p| p.0).collect(), vectors, components })
}

/// The symmetric transitions among the nodes of one component, its graph's rows with other weights.
struct Transitions<'g> {
    graph: &'g Graph,
    /// Per node, what its weights and those towards it are multiplied by.
    factors: Vec<f64>,
}

impl<'g> Transitions<'g> {
    fn of(graph: &'g Graph) -> Self {
        let inverse = |x: f64| if x > 0.0 { 1.0 / x } else { 0.0 };
        let by_density: Vec<f64> = (0..graph.n_nodes()).map(|i| inverse(graph.degree(i))).collect();
        let row_sum = |i: usize| {
            let (indices, weights) = graph.row(i);
            indices.iter().zip(weights).map(|(j, w)| f64::from(*w) * by_density[*j as usize]).sum::<f64>() * by_density[i]
        };
        let factors = (0..graph.n_nodes()).map(|i| by_density[i] * inverse(row_sum(i)).sqrt()).collect();
        Self { graph, factors }
    }

    /// Eigenvalues of largest size, at most `k`, and their vectors, [n_nodes, k].
    fn leading(&self, k: usize) -> Result<(Array1<f64>, Array2<f64>)> {
        let n = self.graph.n_nodes();
        if n > DENSE_NODES {
            return largest(n, k, |x, out| self.apply(x, out));
        }
        let k = k.min(n);
        let mut dense = Array2::<f64>::zeros((n, n));
        for i in 0..n {
            self.row(i).for_each(|(j, weight)| dense[[i, j]] = weight);
        }
        let (values, vectors) = by_size(&dense)?;
        Ok((values.slice(s![..k]).to_owned(), vectors.slice(s![.., ..k]).to_owned()))
    }

    fn row(&self, i: usize) -> impl Iterator<Item = (usize, f64)> {
        let (indices, weights) = self.graph.row(i);
        let weight = move |j: usize, w: f32| f64::from(w) * self.factors[i] * self.factors[j];
        indices.iter().zip(weights).map(move |(j, w)| (*j as usize, weight(*j as usize, *w)))
    }

    fn apply(&self, x: &[f64], out: &mut [f64]) {
        out.par_iter_mut().with_min_len(512).enumerate().for_each(|(i, out)| {
            *out = self.row(i).map(|(j, weight)| weight * x[j]).sum();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbors::{NeighborConfig, nearest_self};
    use crate::rng::Rng;
    use crate::threads::Threads;

    fn graph(n: usize) -> Graph {
        let mut stream = Rng::new(8).stream("points", 0, 0);
        let x = Array2::from_shape_fn((n, 3), |_| stream.normal() as f32);
        Graph::fuzzy(&nearest_self(x.view(), &NeighborConfig::default()).unwrap())
    }

    #[test]
    fn a_ring_has_the_eigenvalues_of_its_waves() {
        for n in [40, 600] {
            let edges: Vec<(u32, u32, f32)> = (0..n).map(|i| (i, (i + 1) % n, 0.5)).collect();
            let map = diffusion_map(&Graph::from_edges(n as usize, &edges).unwrap(), 6).unwrap();
            for value in &map.values {
                // cos(2 pi m / n): one of them is as near as rounding.
                let wave = value.clamp(-1.0, 1.0).acos() * f64::from(n) / std::f64::consts::TAU;
                assert!((wave - wave.round()).abs() < 1e-3, "{value}");
            }
            assert!((map.values[0] - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn the_iteration_finds_what_the_dense_decomposition_finds() {
        let graph = graph(900);
        let map = diffusion_map(&graph, 20).unwrap();
        let transitions = Transitions::of(&graph);
        let mut dense = Array2::<f64>::zeros((900, 900));
        (0..900).for_each(|i| transitions.row(i).for_each(|(j, w)| dense[[i, j]] = w));
        let (exact, _) = by_size(&dense).unwrap();
        let mut exact = exact.slice(s![..20]).to_vec();
        exact.sort_by(|a, b| b.total_cmp(a));
        assert!(map.values.iter().zip(&exact).all(|(a, b)| (a - b).abs() < 1e-9), "{} {exact:?}", map.values);
        let again = Threads::new(3).unwrap().run(|| diffusion_map(&graph, 20).unwrap());
        assert!(again.vectors == map.vectors && again.values == map.values);
    }

    #[test]
    fn each_component_has_the_eigenvalue_one() {
        let edges: Vec<(u32, u32, f32)> = (0..9).filter(|i| *i != 4).map(|i| (i, i + 1, 1.0)).collect();
        let map = diffusion_map(&Graph::from_edges(11, &edges).unwrap(), 4).unwrap();
        assert!(map.values.iter().filter(|v| (**v - 1.0).abs() < 1e-12).count() == 2);
        assert_eq!(map.components[10], 2);
        assert!(map.vectors.row(10).iter().all(|v| *v == 0.0));
    }
}
