//! Persistent homology to H2 of 500 points: a sphere, and a cloud without shape.

use criterion::{Criterion, criterion_group, criterion_main};
use ndarray::Array2;
use tutti::metrics::{TopologyConfig, persistence};
use tutti::rng::Rng;

fn topology(c: &mut Criterion) {
    let mut stream = Rng::new(1).stream("points", 0, 0);
    let cloud = Array2::from_shape_fn((500, 10), |_| stream.normal() as f32);
    let mut sphere = Array2::from_shape_fn((500, 3), |_| stream.normal() as f32);
    for mut row in sphere.rows_mut() {
        let length = row.dot(&row).sqrt();
        row.mapv_inplace(|v| v / length);
    }
    let mut group = c.benchmark_group("topology/500/h2");
    group.sample_size(10);
    // Without a threshold a sphere takes 20 s; see `peers/topology.py`.
    for (name, x, threshold) in [("sphere", &sphere, Some(1.2)), ("cloud_10d", &cloud, None)] {
        let config = TopologyConfig { threshold, ..Default::default() };
        group.bench_function(name, |b| b.iter(|| persistence(x.view(), &config).expect("settings in range")));
    }
}

criterion_group!(benches, topology);
criterion_main!(benches);
