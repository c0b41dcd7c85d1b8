//! Random masking of sparse rows.

use serde::{Deserialize, Serialize};

use crate::data::Csr;
use crate::error::{Error, Result};
use crate::rng::Stream;

/// Sets values to zero at random; what remains is not rescaled.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RandomMask {
    /// Probability that a non-zero entry is masked, 0 up to but not 1.
    pub element: f64,
    /// Probability that a gene is masked in the whole mini-batch, 0 up to but not 1.
    pub feature: f64,
}

impl RandomMask {
    /// Checks the probabilities.
    ///
    /// # Errors
    /// [`Error::Argument`] for a probability below 0 or not below 1.
    pub fn validate(&self) -> Result<()> {
        for (name, p) in [("element_mask_prob", self.element), ("feature_mask_prob", self.feature)] {
            if !(0.0..1.0).contains(&p) {
                return Err(Error::argument(name, format!("must be at least 0 and below 1 (got {p})"), "use 0.2 to 0.5"));
            }
        }
        Ok(())
    }

    /// Share of the values that stay, in the mean.
    pub fn kept(&self) -> f64 {
        (1.0 - self.element) * (1.0 - self.feature)
    }

    /// A masked copy of the rows; masked entries are no longer stored.
    pub fn apply(&self, rows: &Csr, stream: &mut Stream) -> Csr {
        let gene_kept: Vec<bool> = (0..rows.n_cols()).map(|_| !stream.bernoulli(self.feature)).collect();
        // One comparison of 32 random bits per entry: two entries per draw.
        let threshold = (self.element * 4_294_967_296.0) as u64;
        let (mut bits, mut left) = (0u64, 0);
        // Every entry is written where the next kept one belongs: whether it is kept is random, and a branch would be guessed wrongly.
        let (mut indices, mut kept_values) = (vec![0u32; rows.nnz()], vec![0f32; rows.nnz()]);
        let (mut indptr, mut n) = (vec![0usize; 1], 0);
        indptr.reserve_exact(rows.n_rows());
        for i in 0..rows.n_rows() {
            let (columns, values) = rows.row(i);
            for (column, value) in columns.iter().zip(values) {
                if left == 0 {
                    (bits, left) = (stream.next_u64(), 2);
                }
                let kept = ((bits & 0xffff_ffff) >= threshold) & gene_kept[*column as usize];
                bits >>= 32;
                left -= 1;
                indices[n] = *column;
                kept_values[n] = *value;
                n += usize::from(kept);
            }
            indptr.push(n);
        }
        indices.truncate(n);
        kept_values.truncate(n);
        Csr::from_ordered(rows.n_cols(), indptr, indices, kept_values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn ones(n_rows: usize, n_genes: usize) -> Csr {
        Csr::from_dense(ndarray::Array2::ones((n_rows, n_genes)).view()).unwrap()
    }

    #[test]
    fn keeps_the_expected_share_and_never_rescales() {
        let mask = RandomMask { element: 0.4, feature: 0.3 };
        let kept = mask.apply(&ones(200, 2000), &mut Rng::new(1).stream("mask", 0, 0));
        let share = kept.nnz() as f64 / 400_000.0;
        assert!((share - 0.42).abs() < 0.025, "share kept {share}, expected 0.42");
        assert!(kept.values().iter().all(|v| *v == 1.0));
    }

    #[test]
    fn a_masked_gene_is_masked_in_every_cell() {
        let kept = RandomMask { element: 0.0, feature: 0.5 }.apply(&ones(50, 400), &mut Rng::new(2).stream("mask", 0, 0));
        let per_gene: Vec<usize> = (0..400).map(|g| kept.transpose().row(g).0.len()).collect();
        assert!(per_gene.iter().all(|n| *n == 0 || *n == 50));
        let masked = per_gene.iter().filter(|n| **n == 0).count();
        assert!((150..250).contains(&masked), "{masked} of 400 genes masked");
    }

    #[test]
    fn elements_are_masked_independently() {
        // Chi-square of the number of entries kept per cell against the binomial variance.
        let kept = RandomMask { element: 0.4, feature: 0.0 }.apply(&ones(500, 200), &mut Rng::new(3).stream("mask", 0, 0));
        let chi2: f64 = (0..500).map(|i| (kept.row(i).0.len() as f64 - 120.0).powi(2) / (200.0 * 0.6 * 0.4)).sum();
        assert!((400.0..610.0).contains(&chi2), "chi-square {chi2} for 500 cells");
    }
}
