//! k nearest neighbours in 50 dimensions, and the recall of the approximate search (printed once).

use criterion::{Criterion, criterion_group, criterion_main};
use ndarray::Array2;
use tutti::neighbors::{Method, NeighborConfig, nearest_self};
use tutti::rng::Rng;
use tutti::threads::Threads;

fn clustered(n: usize, d: usize) -> Array2<f32> {
    let mut stream = Rng::new(1).stream("clusters", 0, 0);
    let centres = Array2::from_shape_fn((30, d), |_| 2.0 * stream.normal() as f32);
    let mut x = Array2::from_shape_fn((n, d), |_| stream.normal() as f32);
    x.rows_mut().into_iter().enumerate().for_each(|(i, mut row)| row += &centres.row(i % 30));
    x
}

fn neighbors(c: &mut Criterion) {
    let threads = Threads::new(0).expect("threads");
    let x = clustered(20_000, 50);
    let config = |method| NeighborConfig { n_neighbors: 30, method, ..Default::default() };
    let run = |method| threads.run(|| nearest_self(x.view(), &config(method))).expect("settings in range");
    let (exact, found) = (run(Method::Exact), run(Method::Approximate));
    let shared = |i: usize| found.row(i).0.iter().filter(|j| exact.row(i).0.contains(j)).count();
    println!("recall@30 of 20000x50: {:.4}", (0..20_000).map(shared).sum::<usize>() as f64 / 600_000.0);
    let mut group = c.benchmark_group("neighbors/20000x50/k30");
    group.sample_size(10);
    for method in [Method::Exact, Method::Approximate, Method::Tree] {
        group.bench_function(format!("{method:?}"), |b| b.iter(|| run(method)));
    }
}

criterion_group!(benches, neighbors);
criterion_main!(benches);
