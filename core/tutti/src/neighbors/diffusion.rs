//! Diffusion maps of a graph of cells.

use ndarray::{Array1, Array2};
use ndarray_linalg::{Eigh, UPLO};
use rayon::prelude::*;

use super::Graph;
use crate::error::{Error, Result};
use crate::rng::Rng;

/// Nodes up to which the whole spectrum is computed.
const WHOLE: usize = 600;

/// Coordinates in which distances are those of diffusion over all times (Coifman and Lafon 2006; Haghverdi et al. 2016, eq. 4), [n_nodes, at
/// most n_components]: eigenvectors of the transition matrix of a connected graph, normalised for density, each times e / (1 - e) for its
/// eigenvalue e. The constant one, of eigenvalue 1, is left out.
///
/// The same for any number of threads. Time: up to 600 nodes n³; above, n * (3 * n_components)².
///
/// # Errors
/// [`Error::Data`] for a graph that is not connected or has fewer than 3 nodes.
pub fn diffusion_map(graph: &Graph, n_components: usize) -> Result<Array2<f32>> {
    let n = graph.n_nodes();
    if n < 3 || graph.components().iter().any(|c| *c != 0) {
        return Err(Error::data(format!("a graph of {n} nodes that is not connected"), "give each connected part alone"));
    }
    let transitions = Transitions::new(graph);
    let k = n_components.min(n - 1);
    let (values, vectors) = if n <= WHOLE { whole(&transitions)? } else { lanczos(&transitions, k)? };
    let mut out = Array2::zeros((n, k.min(values.len())));
    // Ascending: the last ones are wanted.
    for (mut column, at) in out.columns_mut().into_iter().zip((0..values.len()).rev()) {
        let e = values[at].min(1.0 - 1e-12);
        let vector = vectors.column(at);
        let largest = vector.iter().copied().fold(0.0f64, |a, b| if b.abs() > a.abs() { b } else { a });
        column.zip_mut_with(&vector, |out, v| *out = (v * largest.signum() * e / (1.0 - e)) as f32);
    }
    Ok(out)
}

/// The symmetric matrix with the eigenvalues of the transition matrix, and its first eigenvector.
struct Transitions<'a> {
    graph: &'a Graph,
    /// The weight of an edge is `w * scale_i * scale_j`.
    scale: Vec<f64>,
    first: Array1<f64>,
}

impl<'a> Transitions<'a> {
    fn new(graph: &'a Graph) -> Self {
        let n = graph.n_nodes();
        let degrees: Vec<f64> = (0..n).map(|i| graph.degree(i)).collect();
        let sum = |i: usize| {
            let (neighbors, weights) = graph.row(i);
            neighbors.iter().zip(weights).map(|(j, w)| f64::from(*w) / (degrees[i] * degrees[*j as usize])).sum::<f64>()
        };
        let roots: Vec<f64> = (0..n).map(|i| sum(i).sqrt()).collect();
        let scale = degrees.iter().zip(&roots).map(|(d, z)| 1.0 / (d * z)).collect();
        let first = Array1::from(roots);
        let length = first.dot(&first).sqrt();
        Self { graph, scale, first: first / length }
    }

    /// The product with a vector, without the part of the first eigenvector.
    fn times(&self, x: &Array1<f64>) -> Array1<f64> {
        let entry = |i: usize| {
            let (neighbors, weights) = self.graph.row(i);
            let sum: f64 =
                neighbors.iter().zip(weights).map(|(j, w)| f64::from(*w) * self.scale[*j as usize] * x[*j as usize]).sum();
            self.scale[i] * sum
        };
        let y: Vec<f64> = (0..x.len()).into_par_iter().with_min_len(512).map(entry).collect();
        let mut y = Array1::from(y);
        let share = self.first.dot(&y);
        y.scaled_add(-share, &self.first);
        y
    }
}

type Spectrum = (Vec<f64>, Array2<f64>);

fn failed(error: ndarray_linalg::error::LinalgError) -> Error {
    Error::data(format!("the spectrum of the graph was not found ({error})"), "check its weights")
}

fn whole(transitions: &Transitions<'_>) -> Result<Spectrum> {
    let n = transitions.scale.len();
    let mut matrix = Array2::<f64>::zeros((n, n));
    for i in 0..n {
        let (neighbors, weights) = transitions.graph.row(i);
        for (j, w) in neighbors.iter().zip(weights) {
            matrix[[i, *j as usize]] = f64::from(*w) * transitions.scale[i] * transitions.scale[*j as usize];
        }
    }
    let (values, vectors) = matrix.eigh(UPLO::Lower).map_err(failed)?;
    // The last one is the first eigenvector, of eigenvalue 1.
    Ok((values.to_vec()[..n - 1].to_vec(), vectors.slice(ndarray::s![.., ..n - 1]).to_owned()))
}

/// The largest eigenvalues by Lanczos' iteration with full reorthogonalisation, three steps for each wanted.
fn lanczos(transitions: &Transitions<'_>, k: usize) -> Result<Spectrum> {
    let n = transitions.scale.len();
    let n_steps = (3 * k + 20).min(n - 1);
    let mut stream = Rng::new(0).stream("lanczos", 0, 0);
    let mut basis = Array2::<f64>::zeros((n_steps, n));
    let mut matrix = Array2::<f64>::zeros((n_steps, n_steps));
    let mut next = transitions.times(&Array1::from_shape_fn(n, |_| stream.normal()));
    let mut found = 0;
    for step in 0..n_steps {
        let length = next.dot(&next).sqrt();
        if length < 1e-10 {
            break;
        }
        if step > 0 {
            (matrix[[step, step - 1]], matrix[[step - 1, step]]) = (length, length);
        }
        next /= length;
        basis.row_mut(step).assign(&next);
        found = step + 1;
        next = transitions.times(&next);
        matrix[[step, step]] = basis.row(step).dot(&next);
        // Twice, since one pass leaves rounding of the size of what it removes.
        for _ in 0..2 {
            let known = basis.slice(ndarray::s![..found, ..]);
            let shares = known.dot(&next);
            next -= &known.t().dot(&shares);
        }
    }
    let small = matrix.slice(ndarray::s![..found, ..found]).to_owned();
    let (values, vectors) = small.eigh(UPLO::Lower).map_err(failed)?;
    let from = found.saturating_sub(k);
    let wanted = vectors.slice(ndarray::s![.., from..]);
    Ok((values.to_vec()[from..].to_vec(), basis.slice(ndarray::s![..found, ..]).t().dot(&wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbors::{NeighborConfig, nearest_self};
    use crate::threads::Threads;

    fn line(n: usize) -> Graph {
        let mut stream = Rng::new(1).stream("points", 0, 0);
        let x = Array2::from_shape_fn(
            (n, 2),
            |(i, d)| if d == 0 { 30.0 * i as f32 / n as f32 } else { 0.3 * stream.normal() as f32 },
        );
        Graph::fuzzy(&nearest_self(x.view(), &NeighborConfig::default()).unwrap())
    }

    #[test]
    fn a_ring_has_the_eigenvalues_of_its_circulant_matrix() {
        let n = 40;
        let edges: Vec<(u32, u32, f32)> = (0..n).map(|i| (i, (i + 1) % n, 1.0)).collect();
        let (values, _) = whole(&Transitions::new(&Graph::from_edges(n as usize, &edges).unwrap())).unwrap();
        let mut expected: Vec<f64> = (1..n).map(|k| (std::f64::consts::TAU * f64::from(k) / f64::from(n)).cos()).collect();
        expected.sort_by(f64::total_cmp);
        assert!(values.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-9));
    }

    #[test]
    fn lanczos_finds_the_end_of_the_whole_spectrum() {
        let graph = line(500);
        let transitions = Transitions::new(&graph);
        let (all, _) = whole(&transitions).unwrap();
        let (some, vectors) = lanczos(&transitions, 40).unwrap();
        for i in 0..20 {
            assert!((all[all.len() - 1 - i] - some[some.len() - 1 - i]).abs() < 1e-6, "{i}");
            let v = vectors.column(some.len() - 1 - i).to_owned();
            let rest = transitions.times(&v) - some[some.len() - 1 - i] * &v;
            assert!(rest.dot(&rest).sqrt() < 1e-4, "{i}");
        }
    }

    #[test]
    fn the_first_coordinate_runs_along_a_line_with_any_number_of_threads() {
        let graph = line(900);
        let run = |n| Threads::new(n).unwrap().run(|| diffusion_map(&graph, 5).unwrap());
        let map = run(1);
        assert_eq!(map, run(2));
        let first = map.column(0);
        // Towards the ends, where cells have fewer neighbours, the symmetric form bends back.
        let sums: Vec<f32> = (10..80).map(|i| first.slice(ndarray::s![10 * i..10 * i + 10]).sum()).collect();
        assert!(sums.windows(2).all(|w| w[0] < w[1]) || sums.windows(2).all(|w| w[0] > w[1]));
        assert!(diffusion_map(&Graph::from_edges(4, &[(0, 1, 1.0), (2, 3, 1.0)]).unwrap(), 2).is_err());
    }
}
