//! Data made for the benches, and how their tables write a mean.

use tutti::data::{Categorical, Cells, Csr};
use tutti::rng::Rng;

/// That of the command line and of the R package.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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

/// A mean to three places, with its 95 % interval by Student's t where there are several values; `-` where there is none.
pub fn interval(values: &[f64]) -> String {
    /// 97.5 % quantiles of Student's t with 1, 2, ... degrees of freedom.
    const STUDENT: [f64; 9] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    match values.len() {
        0 => "-".into(),
        1 => format!("{mean:.3}"),
        n => format!("{mean:.3} ± {:.3}", STUDENT.get(n - 2).copied().unwrap_or(2.0) * (variance / n as f64).sqrt()),
    }
}
