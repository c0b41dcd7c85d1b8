//! Communities of the graph of an embedding, for `peers/leiden.py`: writes the graph's edges as raw little-endian arrays and prints
//! modularity and seconds per resolution and algorithm as JSON lines.
//!
//! `cargo run --example leiden -- FILE OBSM FOLDER RESOLUTION...`

use std::time::Instant;

use tutti::downstream::{CommunityConfig, leiden, louvain};
use tutti::neighbors::{Graph, NeighborConfig, nearest_self};
use tutti_io::{ReadOptions, read};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, obsm, folder, resolutions @ ..] = &arguments[..] else { return Err("give FILE OBSM FOLDER RESOLUTION...".into()) };
    let data = read(file.as_ref(), &ReadOptions { without_x: true, ..Default::default() })?;
    let x = data.obsm().get(obsm).ok_or("no such obsm")?;
    let graph = Graph::fuzzy(&nearest_self(x.view(), &NeighborConfig::default())?);
    let (mut ends, mut weights) = (Vec::new(), Vec::new());
    for i in 0..graph.n_nodes() {
        let (neighbors, own) = graph.row(i);
        for (j, weight) in neighbors.iter().zip(own).filter(|(j, _)| **j as usize > i) {
            ends.extend([i as u32, *j].iter().flat_map(|e| e.to_le_bytes()));
            weights.extend(weight.to_le_bytes());
        }
    }
    std::fs::write(format!("{folder}/ends"), ends)?;
    std::fs::write(format!("{folder}/weights"), weights)?;
    for resolution in resolutions {
        for (name, algorithm) in [("leiden", leiden as fn(&_, &_) -> _), ("louvain", louvain)] {
            for seed in 0..3 {
                let started = Instant::now();
                let found = algorithm(&graph, &CommunityConfig { resolution: resolution.parse()?, seed, ..Default::default() })?;
                let seconds = started.elapsed().as_secs_f64();
                println!(
                    "{{\"resolution\": {resolution}, \"algorithm\": \"{name}\", \"modularity\": {}, \"communities\": {}, \"seconds\": {seconds}}}",
                    found.modularity, found.n_communities
                );
            }
        }
    }
    Ok(())
}
