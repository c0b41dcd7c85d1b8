//! Reading a file of counts, in memory and by blocks of rows from the disk.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tutti::data::{Csr, row_blocks};
use tutti_io::{Additions, ReadOptions, read, write_expression};

fn io(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("cells.h5ad");
    let cells = tutti_benches::cells(6000, 2000, 0.13, 3);
    let mut x = Csr::empty(2000);
    cells.source().read_range(0..6000, &mut x).expect("in memory");
    let obs = Default::default();
    write_expression(&path, cells.cell_names(), cells.gene_names(), &obs, &x, &Additions::default()).expect("a file");
    let mut group = c.benchmark_group("read_h5ad/6000x2000");
    group.sample_size(20);
    group.throughput(Throughput::Elements(x.nnz() as u64));
    group.bench_function("memory", |b| b.iter(|| read(&path, &ReadOptions::default()).expect("the file just written")));
    let backed = ReadOptions { backed: tutti_io::Backed::Always, ..Default::default() };
    group.bench_function("backed", |b| {
        b.iter(|| {
            let data = read(&path, &backed).expect("the file just written");
            let cells = data.cells(&[]).expect("no column is asked for");
            let mut rows = Csr::empty(0);
            row_blocks(6000, 512).for_each(|block| cells.source().read_range(block, &mut rows).expect("rows of the file"));
        })
    });
}

criterion_group!(benches, io);
criterion_main!(benches);
