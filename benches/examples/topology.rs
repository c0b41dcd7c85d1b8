//! Persistent homology of the embedding of an h5ad file up to H2, its intervals and seconds, for `peers/topology.py`.
//!
//! `cargo run --example topology -- FILE OBSM THREADS [THRESHOLD]`

use std::time::Instant;

use tutti::metrics::{Interval, TopologyConfig, persistence};
use tutti::threads::Threads;
use tutti_io::{ReadOptions, read};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, obsm, threads, threshold @ ..] = &arguments[..] else {
        return Err("give FILE OBSM THREADS [THRESHOLD]".into());
    };
    let data = read(file.as_ref(), &ReadOptions { without_x: true, ..Default::default() })?;
    let x = data.obsm().get(obsm).ok_or("no such obsm")?;
    let threshold = threshold.first().map(|t| t.parse()).transpose()?;
    let config = TopologyConfig { threshold, max_points: x.nrows().max(2), ..Default::default() };
    let threads = Threads::new(threads.parse()?)?;
    let started = Instant::now();
    let diagrams = threads.run(|| persistence(x.view(), &config))?;
    let seconds = started.elapsed().as_secs_f64();
    // What lives beyond the threshold is counted up to it.
    let end = |i: &Interval| i.death.min(threshold.unwrap_or(f64::MAX));
    let total = |d: &Vec<Interval>| d.iter().map(|i| end(i) - i.birth).sum::<f64>();
    let counts: Vec<usize> = diagrams.iter().map(Vec::len).collect();
    let totals: Vec<f64> = diagrams.iter().map(total).collect();
    println!("{{\"seconds\": {seconds:.4}, \"intervals\": {counts:?}, \"total\": {totals:?}}}");
    Ok(())
}
