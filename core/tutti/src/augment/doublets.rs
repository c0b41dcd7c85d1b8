//! Synthetic doublets: two cells of one batch, mixed.

use crate::data::{CellSource, Csr};
use crate::error::{Error, Result};
use crate::rng::Rng;

/// Settings of [`synthetic_doublets`].
#[derive(Debug, Clone, PartialEq)]
pub struct DoubletConfig {
    /// Doublets per cell, above 0. Default 0.2.
    pub ratio: f64,
    /// Mean weight of the first cell; the second has the rest. Default 0.5.
    pub mean: f64,
    /// Standard deviation of that weight. Default 0.1.
    pub standard_deviation: f64,
    /// Smallest and largest weight. Default 0.2 and 0.8.
    pub clip: (f64, f64),
    /// Names the draws.
    pub seed: u64,
}

impl Default for DoubletConfig {
    fn default() -> Self {
        Self { ratio: 0.2, mean: 0.5, standard_deviation: 0.1, clip: (0.2, 0.8), seed: 0 }
    }
}

/// Doublets and the cells they were made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Doublets {
    /// Expression, [n_doublets, n_genes]: the weighted sum of both cells.
    pub rows: Csr,
    /// Both cells of each doublet.
    pub parents: Vec<(usize, usize)>,
    /// Batch of each doublet.
    pub batch: Vec<u32>,
}

/// Mixes pairs of distinct cells of one batch; train the classifier on cells against these to find real doublets. `batch`: code of
/// every cell. Batches get doublets in proportion to their cells; one with a single cell gets none.
///
/// # Errors
/// [`Error::Argument`] for a ratio not above 0 or clips out of order; what the source fails at.
pub fn synthetic_doublets(source: &dyn CellSource, batch: &[u32], config: &DoubletConfig) -> Result<Doublets> {
    let (low, high) = config.clip;
    if !(config.ratio > 0.0 && 0.0 < low && low <= high && high < 1.0) {
        let problem = format!("must have a ratio above 0 and clips between 0 and 1 in order (got {config:?})");
        return Err(Error::argument("doublets", problem, "use the default"));
    }
    let mut inside: Vec<Vec<usize>> = Vec::new();
    for (i, code) in batch.iter().enumerate() {
        inside.resize(inside.len().max(*code as usize + 1), Vec::new());
        inside[*code as usize].push(i);
    }
    let mut out = Doublets { rows: Csr::empty(source.n_genes()), parents: Vec::new(), batch: Vec::new() };
    let mut pair = Csr::empty(source.n_genes());
    for (code, cells) in inside.iter().enumerate().filter(|(_, cells)| cells.len() > 1) {
        let mut stream = Rng::new(config.seed).stream("doublets", 0, code as u64);
        for _ in 0..(config.ratio * cells.len() as f64).round() as usize {
            let parents = stream.choose(cells, 2);
            let weight = (config.mean + config.standard_deviation * stream.normal()).clamp(config.clip.0, config.clip.1);
            source.read_rows(&parents, &mut pair)?;
            out.rows.push_row(mixed(&pair, weight as f32));
            out.parents.push((parents[0], parents[1]));
            out.batch.push(code as u32);
        }
    }
    Ok(out)
}

/// `weight` of row 0 and the rest of row 1, columns merged in order.
fn mixed(pair: &Csr, weight: f32) -> Vec<(u32, f32)> {
    let ((ca, va), (cb, vb)) = (pair.row(0), pair.row(1));
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::with_capacity(ca.len() + cb.len());
    while i < ca.len() || j < cb.len() {
        let (a, b) = (ca.get(i).copied().unwrap_or(u32::MAX), cb.get(j).copied().unwrap_or(u32::MAX));
        let column = a.min(b);
        let mut value = 0.0;
        if a == column {
            value += weight * va[i];
            i += 1;
        }
        if b == column {
            value += (1.0 - weight) * vb[j];
            j += 1;
        }
        out.push((column, value));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doublet_is_the_weighted_sum_of_two_cells_of_its_batch() {
        let x = ndarray::Array2::from_shape_fn((20, 6), |(i, j)| if (i + j) % 2 == 0 { (1 + i * j) as f32 } else { 0.0 });
        let batch: Vec<u32> = (0..20).map(|i| u32::from(i >= 10)).collect();
        let source = Csr::from_dense(x.view()).unwrap();
        let doublets = synthetic_doublets(&source, &batch, &DoubletConfig { ratio: 0.5, ..Default::default() }).unwrap();
        assert_eq!(doublets.parents.len(), 10);
        let rows = doublets.rows.to_dense();
        for (k, (a, b)) in doublets.parents.iter().enumerate() {
            assert!(a != b && batch[*a] == doublets.batch[k] && batch[*b] == doublets.batch[k]);
            // The weight follows from the gene with the largest difference, and must then fit every gene.
            let g =
                (0..6).max_by(|g, h| (x[[*a, *g]] - x[[*b, *g]]).abs().total_cmp(&(x[[*a, *h]] - x[[*b, *h]]).abs())).unwrap();
            let weight = (rows[[k, g]] - x[[*b, g]]) / (x[[*a, g]] - x[[*b, g]]);
            assert!((0.199..0.801).contains(&weight), "weight {weight}");
            for g in 0..6 {
                assert!((rows[[k, g]] - weight * x[[*a, g]] - (1.0 - weight) * x[[*b, g]]).abs() < 1e-3);
            }
        }
    }
}
