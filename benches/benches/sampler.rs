//! Mini-batches of one epoch.

use criterion::{Criterion, criterion_group, criterion_main};
use tutti::rng::Rng;
use tutti::sampler::{DomainSampler, DomainSamplerConfig, Sampler};

fn sampler(c: &mut Criterion) {
    let n = 100_000;
    let rows: Vec<usize> = (0..n).collect();
    let domains: Vec<u32> = (0..n as u32).map(|i| i % 7).collect();
    for p_intra_domain in [1.0, 0.95] {
        let config = DomainSamplerConfig { p_intra_domain, ..Default::default() };
        let sampler = DomainSampler::new(&rows, &domains, 7, config).expect("settings in range");
        c.bench_function(&format!("domain_sampler/100000x7/p{p_intra_domain}"), |b| b.iter(|| sampler.epoch(&Rng::new(1), 1)));
    }
}

criterion_group!(benches, sampler);
criterion_main!(benches);
