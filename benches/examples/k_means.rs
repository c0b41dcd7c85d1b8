//! k-means of an embedding in an h5ad file, for `peers/kmeans.py`: prints inertia and seconds as JSON.
//!
//! `cargo run --example k_means -- FILE OBSM THREADS CLUSTERS STARTS SEED`

use std::time::Instant;

use tutti::downstream::{KMeansConfig, k_means};
use tutti::threads::Threads;
use tutti_io::{ReadOptions, read};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, obsm, threads, n_clusters, n_init, seed] = &arguments[..] else {
        return Err("give FILE OBSM THREADS CLUSTERS STARTS SEED".into());
    };
    let data = read(file.as_ref(), &ReadOptions { without_x: true, ..Default::default() })?;
    let x = data.obsm().get(obsm).ok_or("no such obsm")?;
    let threads = Threads::new(threads.parse()?)?;
    let config =
        KMeansConfig { n_clusters: n_clusters.parse()?, n_init: n_init.parse()?, seed: seed.parse()?, ..Default::default() };
    let started = Instant::now();
    let found = threads.run(|| k_means(x.view(), &config))?;
    println!("{{\"inertia\": {}, \"seconds\": {}}}", found.inertia, started.elapsed().as_secs_f64());
    Ok(())
}
