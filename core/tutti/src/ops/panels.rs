//! The gradient of a first layer on sparse rows with many columns, in panels of columns that stay in the nearest caches.
//!
//! The rows of a matrix of 1,024 columns lie 4 KiB apart, where a cache finds room for few of them. So the gradient of the layer's output is
//! copied, some columns of all rows after the other, and summed up in registers. Sums run in the order of their sparse entries, as in
//! [`axpy_rows`](super::axpy_rows), so that neither panels nor threads change a bit.

use std::ops::Range;

use super::simd::{Isa, isa};
use crate::data::Csr;

/// Columns of the gradient that are summed up together, at most eight vectors at a time.
const PANEL: usize = 128;

/// Whether gradients of `n` numbers together are better taken in panels: of fewer, 1 MiB, all stay in the second level of the cache anyway.
pub(super) fn pay(n: usize) -> bool {
    n > 1 << 18
}

/// A row of a panel, whose vectors lie within lines of the cache: others take twice as long to be read.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Row([f32; PANEL]);

fn padded(values: &[f32]) -> [f32; PANEL] {
    let mut row = [0.0; PANEL];
    row[..values.len()].copy_from_slice(values);
    row
}

/// A copy of a matrix [n_rows, width], [`PANEL`] columns of all rows after the other, the last ones filled up with zeros.
#[derive(Debug)]
pub(crate) struct Panels {
    n_rows: usize,
    rows: Vec<Row>,
}

impl Panels {
    pub(super) fn new(matrix: &[f32], width: usize) -> Self {
        let n_rows = matrix.len() / width.max(1);
        let mut rows = Vec::with_capacity(n_rows * width.div_ceil(PANEL));
        for start in (0..width).step_by(PANEL) {
            let columns = start..(start + PANEL).min(width);
            rows.extend((0..n_rows).map(|i| Row(padded(&matrix[i * width..][columns.clone()]))));
        }
        Self { n_rows, rows }
    }

    fn of(&self, panel: usize) -> &[Row] {
        &self.rows[panel * self.n_rows..][..self.n_rows]
    }
}

/// A mini-batch, [n_genes, n_rows], and the gradient of its first layer's output in panels.
pub(super) type Factors<'a> = (&'a Csr, Panels);

/// The gradient `xᵀ dy` of `genes`, all mini-batches together, in `sums`, [genes, hidden]; added to what is there where `add`.
pub(super) fn gradient(sums: &mut [f32], hidden: usize, genes: Range<usize>, mini_batches: &[Factors<'_>], add: bool) {
    for panel in 0..hidden.div_ceil(PANEL) {
        let factors: Vec<Factor<'_>> = mini_batches.iter().map(|(transposed, panels)| (*transposed, panels.of(panel))).collect();
        let columns = panel * PANEL..(panel * PANEL + PANEL).min(hidden);
        gather(&mut Sums { values: sums, hidden, columns, add }, genes.clone(), &factors);
    }
}

/// A mini-batch and one panel.
type Factor<'a> = (&'a Csr, &'a [Row]);

/// Some columns of sums, [genes, hidden].
struct Sums<'a> {
    values: &'a mut [f32],
    hidden: usize,
    columns: Range<usize>,
    /// Whether what is there counts.
    add: bool,
}

impl Sums<'_> {
    #[inline]
    fn of(&mut self, i: usize) -> &mut [f32] {
        &mut self.values[i * self.hidden..][self.columns.clone()]
    }
}

/// Sums up for each gene its values times the rows of its cells.
fn gather(sums: &mut Sums<'_>, genes: Range<usize>, factors: &[Factor<'_>]) {
    match isa() {
        // SAFETY: `isa` found these features on this processor.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { x86::gather_avx512(sums, genes, factors) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { x86::gather_avx2(sums, genes, factors) },
        Isa::Portable => {
            for (i, gene) in genes.enumerate() {
                if !sums.add {
                    sums.of(i).fill(0.0);
                }
                for (transposed, panel) in factors {
                    let (cells, values) = transposed.row(gene);
                    for (cell, value) in cells.iter().zip(values) {
                        for (sum, x) in sums.of(i).iter_mut().zip(&panel[*cell as usize].0) {
                            *sum += value * x;
                        }
                    }
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::ops::Range;

    use super::{Factor, PANEL, Sums, padded};

    /// Defines `gather` for one instruction set. Sums of eight vectors stay in registers.
    macro_rules! gather {
        ($gather:ident, $one:ident, $features:literal, $lanes:literal, $zero:ident, $set:ident, $load:ident, $fma:ident, $store:ident) => {
            #[target_feature(enable = $features)]
            pub(super) fn $gather(sums: &mut Sums<'_>, genes: Range<usize>, factors: &[Factor<'_>]) {
                let add = sums.add;
                for (i, gene) in genes.enumerate() {
                    let sums = sums.of(i);
                    if let Ok(sums) = <&mut [f32; PANEL]>::try_from(&mut *sums) {
                        $one(sums, gene, factors, add);
                    } else {
                        let mut whole = padded(sums);
                        $one(&mut whole, gene, factors, add);
                        sums.copy_from_slice(&whole[..sums.len()]);
                    }
                }
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn $one(sums: &mut [f32; PANEL], gene: usize, factors: &[Factor<'_>], add: bool) {
                for start in (0..PANEL).step_by(8 * $lanes) {
                    let at = sums[start..].as_mut_ptr();
                    // SAFETY: of `sums` and of a panel's row the vector `l` of these eight is within `PANEL` numbers.
                    unsafe {
                        let mut sum = [$zero(); 8];
                        if add {
                            sum = std::array::from_fn(|l| $load(at.add(l * $lanes)));
                        }
                        for (transposed, panel) in factors {
                            let (cells, values) = transposed.row(gene);
                            for (cell, value) in cells.iter().zip(values) {
                                let (x, row) = ($set(*value), panel[*cell as usize].0[start..].as_ptr());
                                for l in 0..8 {
                                    sum[l] = $fma(x, $load(row.add(l * $lanes)), sum[l]);
                                }
                            }
                        }
                        for l in 0..8 {
                            $store(at.add(l * $lanes), sum[l]);
                        }
                    }
                }
            }
        };
    }

    gather!(
        gather_avx512,
        one_avx512,
        "avx512f",
        16,
        _mm512_setzero_ps,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_fmadd_ps,
        _mm512_storeu_ps
    );
    gather!(
        gather_avx2,
        one_avx2,
        "avx2,fma",
        8,
        _mm256_setzero_ps,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_fmadd_ps,
        _mm256_storeu_ps
    );
}

#[cfg(test)]
mod tests {
    use super::super::axpy_rows;
    use super::*;
    use crate::rng::Rng;

    fn random(n_rows: usize, n_genes: usize, seed: u64) -> Csr {
        let mut stream = Rng::new(seed).stream("rows", 0, 0);
        let mut csr = Csr::empty(n_genes);
        for _ in 0..n_rows {
            let row: Vec<(u32, f32)> =
                (0..n_genes).filter_map(|j| stream.bernoulli(0.3).then(|| (j as u32, stream.normal() as f32))).collect();
            csr.push_row(row);
        }
        csr
    }

    fn numbers(n: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect()
    }

    fn near(found: &[f32], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (i, (a, b)) in found.iter().zip(expected).enumerate() {
            assert!((f64::from(*a) - b).abs() < 1e-4, "{i}: {a} and {b}");
        }
    }

    #[test]
    fn the_gradient_is_set_or_added_for_every_width_and_range_of_genes() {
        for hidden in [1, 128, 150, 300] {
            let batches = [random(9, 20, 2), random(30, 20, 3)];
            let d_out = batches.each_ref().map(|x| numbers(x.n_rows() * hidden));
            let transposed = batches.each_ref().map(Csr::transpose);
            let factors: Vec<Factors<'_>> = transposed.iter().zip(&d_out).map(|(t, d)| (t, Panels::new(d, hidden))).collect();
            for genes in [0..20, 3..11, 5..5] {
                let start = numbers(genes.len() * hidden);
                let at = |gene: usize, j: usize| -> f64 {
                    let of = |(x, d): (&Csr, &Vec<f32>)| {
                        let dense = x.to_dense();
                        (0..x.n_rows()).map(|i| f64::from(dense[[i, gene]]) * f64::from(d[i * hidden + j])).sum::<f64>()
                    };
                    batches.iter().zip(&d_out).map(of).sum()
                };
                let expected: Vec<f64> =
                    (0..start.len()).map(|k| f64::from(start[k]) + at(genes.start + k / hidden, k % hidden)).collect();
                // The plain loop of the same processor, bit for bit.
                let mut plain = start.clone();
                for (gene, sum) in genes.clone().zip(plain.chunks_exact_mut(hidden)) {
                    for (t, d) in transposed.iter().zip(&d_out) {
                        axpy_rows(sum, t.row(gene).0, t.row(gene).1, d);
                    }
                }
                let mut sums = start.clone();
                gradient(&mut sums, hidden, genes.clone(), &factors, true);
                assert_eq!(sums, plain);
                near(&sums, &expected);
                gradient(&mut sums, hidden, genes, &factors, false);
                near(&sums, &expected.iter().zip(&start).map(|(sum, start)| sum - f64::from(*start)).collect::<Vec<_>>());
            }
        }
    }

    /// The loops for AVX2 too, on a processor that would choose others.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_instruction_sets_agree_bit_for_bit() {
        if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) || isa() == Isa::Portable {
            return;
        }
        let (x, matrix) = (random(20, 40, 4), numbers(40 * 256));
        let transposed = x.transpose();
        let panels = Panels::new(&matrix[..20 * 256], 256);
        let factors = [(&transposed, panels.of(1))];
        let mut sums = [numbers(40 * 256), numbers(40 * 256)];
        let [chosen, avx2] = &mut sums;
        gather(&mut Sums { values: chosen, hidden: 256, columns: 128..256, add: true }, 0..40, &factors);
        // SAFETY: the features were just found.
        unsafe { x86::gather_avx2(&mut Sums { values: avx2, hidden: 256, columns: 128..256, add: true }, 0..40, &factors) };
        assert_eq!(sums[0], sums[1]);
    }
}
