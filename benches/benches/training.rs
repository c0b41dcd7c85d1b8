//! One epoch of CONCORD at its default widths, start to end: mini-batches, masks, both views, loss, gradient, Adam.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tutti::observe::{CancelToken, Silent};
use tutti::systems::concord::{Concord, ConcordColumns, ConcordConfig};
use tutti::threads::Threads;

fn training(c: &mut Criterion) {
    let mut group = c.benchmark_group("epoch_concord");
    group.sample_size(10);
    for (n_cells, n_genes, density) in [(6000, 2000, 0.13), (3000, 10_000, 0.08)] {
        let cells = tutti_benches::cells(n_cells, n_genes, density, 3);
        let columns = ConcordColumns { batch: Some("batch".into()), label: None };
        let trainer = || {
            let config = ConcordConfig { n_epochs: 1, ..Default::default() };
            let threads = Threads::new(0).expect("threads");
            Concord::trainer(&cells, &columns, config, &candle_core::Device::Cpu, threads).expect("enough cells")
        };
        group.throughput(criterion::Throughput::Elements(n_cells as u64));
        group.bench_function(format!("{n_cells}x{n_genes}"), |b| {
            b.iter_batched_ref(
                trainer,
                |trainer| trainer.train(&mut Silent, &CancelToken::default()).expect("a finite loss"),
                BatchSize::PerIteration,
            )
        });
    }
}

criterion_group!(benches, training);
criterion_main!(benches);
