//! The approximate neighbour search beside the exact one: `recall [n_cells] [n_dimensions] [threads]`.
//!
//! Three shapes of data: clusters, one cloud stretched along a few directions as the principal components of cells are, and one round
//! cloud, in which all cells are almost equally far (the hardest case; no embedding of cells looks like it).

use std::time::Instant;

use ndarray::Array2;
use tutti::neighbors::{Method, NeighborConfig, nearest_self};
use tutti::rng::Rng;
use tutti::threads::Threads;

const K: usize = 30;

/// Cells around 30 centres that lie `apart` from the origin; direction j of a cluster has the standard deviation `spread(j)`.
fn clusters(n: usize, d: usize, apart: f64, spread: impl Fn(usize) -> f64) -> Array2<f32> {
    let mut stream = Rng::new(1).stream("clusters", 0, 0);
    let centres = Array2::from_shape_fn((30, d), |_| apart * stream.normal());
    Array2::from_shape_fn((n, d), |(i, j)| (centres[[i % 30, j]] + spread(j) * stream.normal()) as f32)
}

fn main() -> tutti::Result<()> {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let number = |i: usize, default: usize| arguments.get(i).copied().unwrap_or(default);
    let (n, d, threads) = (number(0, 100_000), number(1, 50), Threads::new(number(2, 2))?);
    println!("| data | cells | dimensions | exact, s | approximate, s | times faster | recall@{K} |");
    println!("|---|---|---|---|---|---|---|");
    let data = [
        ("clusters", clusters(n, d, 2.0, |_| 1.0)),
        ("stretched cloud", clusters(n, d, 0.0, |j| 10.0 / (1.0 + j as f64))),
        ("round cloud", clusters(n, d, 0.0, |_| 1.0)),
    ];
    for (name, x) in data {
        let run = |method| {
            let config = NeighborConfig { n_neighbors: K, method, ..Default::default() };
            let begin = Instant::now();
            let found = threads.run(|| nearest_self(x.view(), &config))?;
            Ok::<_, tutti::Error>((found, begin.elapsed().as_secs_f64()))
        };
        let ((exact, slow), (found, fast)) = (run(Method::Exact)?, run(Method::Approximate)?);
        let shared = |i: usize| found.row(i).0.iter().filter(|j| exact.row(i).0.contains(j)).count();
        let recall = (0..n).map(shared).sum::<usize>() as f64 / (n * K) as f64;
        println!("| {name} | {n} | {d} | {slow:.1} | {fast:.1} | {:.1} | {recall:.4} |", slow / fast);
    }
    Ok(())
}
