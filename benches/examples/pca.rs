//! PCA of a generated sparse matrix, for `peers/pca.py`: `pca FOLDER [n_cells] [n_genes] [density]` writes the matrix to the folder and
//! prints seconds and singular values.

use std::io::Write;
use std::path::Path;

use tutti::preprocess::{PcaConfig, pca};
use tutti::threads::Threads;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("pca FOLDER [n_cells] [n_genes] [density]")?;
    let numbers: Vec<f64> = arguments.filter_map(|a| a.parse().ok()).collect();
    let number = |i: usize, default: f64| numbers.get(i).copied().unwrap_or(default);
    let x = tutti_benches::expression(number(0, 50_000.0) as usize, number(1, 2000.0) as usize, number(2, 0.1), 1);
    let folder = Path::new(&folder);
    write(&folder.join("data"), x.values().iter().map(|v| v.to_le_bytes()))?;
    write(&folder.join("indices"), x.indices().iter().map(|v| v.to_le_bytes()))?;
    write(&folder.join("indptr"), x.indptr().iter().map(|v| (*v as u64).to_le_bytes()))?;
    let threads = Threads::new(2)?;
    let begin = std::time::Instant::now();
    let result = threads.run(|| pca(&x, &PcaConfig::default()))?;
    let seconds = begin.elapsed().as_secs_f64();
    let summary = serde_json::json!({
        "shape": [x.n_rows(), x.n_cols()], "seconds": seconds, "singular_values": result.singular_values.to_vec(),
    });
    println!("{summary}");
    Ok(())
}

fn write<const N: usize>(path: &Path, mut bytes: impl Iterator<Item = [u8; N]>) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    bytes.try_for_each(|b| file.write_all(&b))
}
