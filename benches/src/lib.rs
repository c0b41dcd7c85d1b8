//! Data made for the benches.

use tutti::data::{Categorical, Cells, Csr};
use tutti::rng::Rng;

/// Log-normal-like expression with skewed gene frequencies: `density` of the entries are non-zero in the mean.
pub fn expression(n_cells: usize, n_genes: usize, density: f64, seed: u64) -> Csr {
    let rng = Rng::new(seed);
    let mut stream = rng.stream("genes", 0, 0);
    let raw: Vec<f64> = (0..n_genes).map(|_| (1.2 * stream.normal()).exp()).collect();
    let scale = density * n_genes as f64 / raw.iter().sum::<f64>();
    let frequency: Vec<f64> = raw.iter().map(|f| (f * scale).min(0.95)).collect();
    let mut out = Csr::empty(n_genes);
    for i in 0..n_cells {
        let mut stream = rng.stream("cell", 0, i as u64);
        let row: Vec<(u32, f32)> = frequency
            .iter()
            .enumerate()
            .filter_map(|(g, f)| stream.bernoulli(*f).then(|| (g as u32, (0.2 + 2.0 * stream.uniform()) as f32)))
            .collect();
        out.push_row(row);
    }
    out
}

/// The same with names and `n_batches` batches of equal size in the column `batch`.
///
/// # Panics
/// Never: names are made to fit.
pub fn cells(n_cells: usize, n_genes: usize, density: f64, n_batches: usize) -> Cells<'static> {
    let names = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect::<Vec<_>>();
    let batch = Categorical::from_values((0..n_cells).map(|i| Some(format!("b{}", i % n_batches))));
    Cells::new(expression(n_cells, n_genes, density, 1), names("c", n_cells), names("g", n_genes))
        .and_then(|cells| cells.with_column("batch", batch))
        .expect("names fit the matrix")
}
