//! From counts to principal components.

use criterion::{Criterion, criterion_group, criterion_main};
use tutti::data::Csr;
use tutti::preprocess::{HvgConfig, HvgFlavor, PcaConfig, highly_variable_genes, pca};
use tutti::threads::Threads;

/// Whole numbers in place of the values.
fn counts(x: &Csr) -> Csr {
    let values = x.values().iter().map(|v| v.ceil()).collect();
    Csr::new(x.n_cols(), x.indptr().to_vec(), x.indices().to_vec(), values).expect("the places are kept")
}

fn preprocess(c: &mut Criterion) {
    let threads = Threads::new(0).expect("threads");
    let values = tutti_benches::expression(10_000, 2000, 0.1, 1);
    let raw = counts(&values);
    let batch: Vec<u32> = (0..10_000).map(|i| i % 3).collect();
    let mut group = c.benchmark_group("preprocess/10000x2000");
    group.sample_size(10);
    for flavor in [HvgFlavor::SeuratV3, HvgFlavor::Seurat, HvgFlavor::CellRanger] {
        let source = if flavor == HvgFlavor::SeuratV3 { &raw } else { &values };
        let config = HvgConfig { n_top_genes: 500, flavor, ..Default::default() };
        group.bench_function(format!("hvg/{flavor:?}"), |b| {
            b.iter(|| threads.run(|| highly_variable_genes(source, Some(&batch), 3, &config)).expect("settings in range"))
        });
    }
    group.bench_function("pca/50", |b| b.iter(|| threads.run(|| pca(&values, &PcaConfig::default())).expect("enough cells")));
}

criterion_group!(benches, preprocess);
criterion_main!(benches);
