//! Lays out the embedding of an h5ad file with the library's UMAP and prints the seconds of its parts, for `peers/layout.py`.
//!
//! `cargo run --example umap -- FILE OBSM THREADS DIMENSIONS OUT.csv`

use std::time::Instant;

use tutti::downstream::{UmapConfig, umap_of_graph};
use tutti::neighbors::{Graph, NeighborConfig, nearest_self};
use tutti::threads::Threads;
use tutti_io::{ReadOptions, read, write_embedding};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, obsm, threads, n_components, out] = &arguments[..] else {
        return Err("give FILE OBSM THREADS DIMENSIONS OUT.csv".into());
    };
    let data = read(file.as_ref(), &ReadOptions { without_x: true, ..Default::default() })?;
    let x = data.obsm().get(obsm).ok_or("no such obsm")?;
    let config = UmapConfig { n_components: n_components.parse()?, ..Default::default() };
    let layout = Threads::new(threads.parse()?)?.run(|| -> tutti::Result<_> {
        let started = Instant::now();
        let neighbors = nearest_self(x.view(), &NeighborConfig { n_neighbors: config.n_neighbors, ..Default::default() })?;
        let searched = started.elapsed().as_secs_f64();
        let graph = Graph::fuzzy(&neighbors);
        let weighed = started.elapsed().as_secs_f64();
        // The columns of a PCA are its components by falling variance.
        let start = x.slice(ndarray::s![.., ..config.n_components]);
        let started_layout = Instant::now();
        let layout = umap_of_graph(&graph, start, &config)?;
        let layout_seconds = started_layout.elapsed().as_secs_f64();
        println!("{{\"neighbors\": {searched:.4}, \"graph\": {:.4}, \"layout\": {layout_seconds:.4}}}", weighed - searched);
        Ok(layout)
    })?;
    write_embedding(out.as_ref(), data.cell_names(), &layout, "umap", &[])?;
    Ok(())
}
