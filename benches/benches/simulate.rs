//! Drawing counts: programmes with few genes on, with a background, and Splatter's groups.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tutti::data::{CellSource, Csr};
use tutti::simulate::{Simulation, Spec};

fn simulate(c: &mut Criterion) {
    let ladder = Spec { n_cells: 2000, n_genes: 2000, ..Spec::preset("ladder_10").expect("a preset") };
    let sparse = Spec { min_level: 0.0, ..ladder.clone() };
    let splatter = Spec { n_cells: 2000, n_genes: 2000, ..Spec::preset("splatter").expect("a preset") };
    let mut group = c.benchmark_group("simulate/2000x2000");
    group.sample_size(10);
    group.throughput(Throughput::Elements(2000));
    for (name, spec) in [("programmes", sparse), ("background", ladder), ("groups", splatter)] {
        let simulation = Simulation::new(&spec).expect("a spec that fits");
        let mut rows = Csr::empty(0);
        group.bench_function(name, |b| b.iter(|| simulation.read_range(0..2000, &mut rows).expect("rows are drawn")));
    }
}

criterion_group!(benches, simulate);
criterion_main!(benches);
