//! The operations of one CONCORD step at its default sizes: 256 cells, 2000 genes, hidden 1000, latent 100, 5.5 % of the entries left
//! after masking.

use std::hint::black_box;
use std::sync::Arc;

use candle_core::{Device, Tensor, Var};
use criterion::{Criterion, criterion_group, criterion_main};
use tutti::augment::RandomMask;
use tutti::loss::{NtXentConfig, nt_xent};
use tutti::nn::{Draws, GeneAttention, Kernels, Parameters, Pass};
use tutti::ops::chain::Trained;
use tutti::ops::layer_norm::{layer_norm_leaky_relu, layer_norm_leaky_relu_plain};
use tutti::ops::sparse_batch::SparseBatch;
use tutti::ops::sparse_linear::{sparse_linear, sparse_linear_plain};
use tutti::optim::{Adam, AdamConfig, Gradients};
use tutti::rng::Rng;
use tutti::threads::Threads;

fn random(rows: usize, columns: usize, purpose: &str) -> Tensor {
    let mut stream = Rng::new(1).stream(purpose, 0, 0);
    let values: Vec<f32> = (0..rows * columns).map(|_| stream.normal() as f32).collect();
    Tensor::from_vec(values, (rows, columns), &Device::Cpu).expect("the shape fits")
}

fn ops(c: &mut Criterion) {
    let threads = Threads::new(0).expect("threads");
    let rows = tutti_benches::expression(256, 2000, 0.13, 1);
    let mask = RandomMask { element: 0.4, feature: 0.3 };
    let view = mask.apply(&rows, &mut Rng::new(2).stream("mask", 0, 0));
    c.bench_function("mask/256x2000", |b| b.iter(|| mask.apply(black_box(&rows), &mut Rng::new(2).stream("mask", 0, 0))));
    let batch = Arc::new(SparseBatch::with_gradient(view));
    let (w, bias) = (random(2000, 1000, "w"), Tensor::zeros(1000, candle_core::DType::F32, &Device::Cpu).expect("memory"));
    c.bench_function("sparse_linear/256x2000x1000", |b| b.iter(|| threads.run(|| sparse_linear(&batch, &w, &bias, None))));
    c.bench_function("sparse_linear_plain/256x2000x1000", |b| b.iter(|| threads.run(|| sparse_linear_plain(&batch, &w, &bias))));
    let (x, gamma) = (random(256, 1000, "x"), bias.ones_like().expect("memory"));
    c.bench_function("layer_norm/256x1000", |b| b.iter(|| threads.run(|| layer_norm_leaky_relu(&x, &gamma, &bias, 0.1))));
    c.bench_function("layer_norm_plain/256x1000", |b| {
        b.iter(|| threads.run(|| layer_norm_leaky_relu_plain(&x, &gamma, &bias, 0.1)))
    });
    let config = NtXentConfig::default();
    for (n, d, name, kernels) in [
        (256, 100, "nt_xent", Kernels::Fused),
        (256, 100, "nt_xent_plain", Kernels::Plain),
        (512, 64, "nt_xent", Kernels::Fused),
        (512, 64, "nt_xent_plain", Kernels::Plain),
    ] {
        let views = ["a", "b"].map(|view| Var::from_tensor(&random(n, d, view)).expect("memory"));
        c.bench_function(&format!("{name}/{n}x{d}"), |b| {
            b.iter(|| threads.run(|| nt_xent(&views[0], &views[1], &config, kernels).and_then(|l| Ok(l.backward()?))))
        });
    }
}

/// Concerto's teacher, there and back: 64 cells x 2,000 genes x 128 features, a tenth of the values not zero.
fn gene_attention(c: &mut Criterion) {
    let threads = Threads::new(0).expect("threads");
    let x = Arc::new(SparseBatch::with_gradient(tutti_benches::expression(64, 2000, 0.1, 1)));
    let draws = Draws::new(Rng::new(1), 0, 0);
    for (name, kernels) in [("gene_attention", Kernels::Fused), ("gene_attention_plain", Kernels::Plain)] {
        let mut parameters = Parameters::new(&Device::Cpu, Rng::new(1)).with_kernels(kernels);
        let layer = GeneAttention::new(&mut parameters, "rna", 2000, 128).expect("memory");
        c.bench_function(&format!("{name}/64x2000x128"), |b| {
            b.iter(|| {
                threads.run(|| {
                    let y = layer.forward(&x, Pass::train(&draws, 0))?;
                    Gradients::of(&y.sqr()?.sum_all()?, &parameters)
                })
            })
        });
    }
}

fn adam(c: &mut Criterion) {
    let threads = Threads::new(0).expect("threads");
    let mut parameters = Parameters::new(&Device::Cpu, Rng::new(1));
    let Trained { tensor: w, slot } = parameters.weight("w", (2000, 1000), 2000).expect("memory");
    let bias = parameters.constant("b", 1000, 0.0).expect("memory");
    let batch = Arc::new(SparseBatch::with_gradient(tutti_benches::expression(256, 2000, 0.055, 1)));
    let loss = sparse_linear(&batch, &w, &bias, Some(&slot)).and_then(|y| Ok(y.sum_all()?)).expect("shapes fit");
    let gradients = Gradients::of(&loss, &parameters).expect("a gradient");
    let mut adam = Adam::new(&parameters, AdamConfig::default()).expect("memory");
    c.bench_function("adam_with_gradient/2000x1000", |b| {
        b.iter(|| threads.run(|| adam.step(&parameters, 0, &gradients, 1e-3, 1.0)))
    });
}

criterion_group!(benches, ops, gene_attention, adam);
criterion_main!(benches);
