//! Sparse rows times a matrix with many columns, in panels of columns that stay in the nearest caches: a first layer and its gradient.
//!
//! The rows of a matrix of 1,024 columns lie 4 KiB apart, where a cache finds room for few of them. So some columns of it are copied, those of
//! some rows after the other, and summed up in registers. Sums run in the order of their sparse entries, as in
//! [`axpy_rows`](super::axpy_rows), so that neither panels nor threads change a bit.

use std::ops::Range;

use rayon::prelude::*;

use super::simd::{Isa, isa, per_isa};
use crate::data::Csr;

/// Columns of the matrix that are summed up together, at most eight vectors.
const PANEL: usize = 64;

/// Rows of a panel, 44 KiB, that stay in the first level of the cache while all sums take their share of them.
const BLOCK: usize = 176;

/// Whether gradients of `n` numbers together are better taken in panels: of fewer, 1 MiB, all stay in the second level of the cache anyway.
pub(super) fn pay(n: usize) -> bool {
    n > 1 << 18
}

/// Whether the product of `rows` and a matrix of `width` columns is better taken in panels: every column of `rows` must be met often enough to be
/// worth a copy.
pub(super) fn product_pays(rows: &Csr, width: usize) -> bool {
    width >= PANEL && rows.nnz() >= 8 * rows.n_cols()
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

per_isa! {
    /// Copies some columns of a matrix of that width; what a row holds beyond them is left.
    fn copy_columns(out: &mut [Row], matrix: &[f32], width: usize, columns: Range<usize>) {
        let rows = out.iter_mut().zip(matrix.chunks_exact(width));
        if columns.len() == PANEL {
            // Of a fixed size, so that no function is called for each row.
            rows.for_each(|(out, row)| out.0.copy_from_slice(&row[columns.start..][..PANEL]));
        } else {
            rows.for_each(|(out, row)| out.0[..columns.len()].copy_from_slice(&row[columns.clone()]));
        }
    }
}

/// The columns of each panel.
fn panels(width: usize) -> impl Iterator<Item = Range<usize>> {
    (0..width).step_by(PANEL).map(move |start| start..(start + PANEL).min(width))
}

/// A copy of a matrix [n_rows, width], [`PANEL`] columns of all rows after the other, the last ones filled up with zeros.
#[derive(Debug)]
pub(crate) struct Panels(Vec<Vec<Row>>);

impl Panels {
    pub(super) fn new(matrix: &[f32], width: usize) -> Self {
        let n_rows = matrix.len() / width.max(1);
        let copy = |columns| {
            let mut rows = vec![Row([0.0; PANEL]); n_rows];
            copy_columns(&mut rows, matrix, width, columns);
            rows
        };
        Self(panels(width).collect::<Vec<_>>().into_par_iter().map(copy).collect())
    }
}

/// A mini-batch, [n_genes, n_rows], and the gradient of its first layer's output in panels.
pub(super) type Factors<'a> = (&'a Csr, Panels);

/// The gradient `xᵀ dy` of `genes`, all mini-batches together, in `sums`, [genes, hidden]; added to what is there where `add`.
pub(super) fn gradient(sums: &mut [f32], hidden: usize, genes: Range<usize>, mini_batches: &[Factors<'_>], add: bool) {
    if !add && mini_batches.iter().all(|(transposed, _)| transposed.n_cols() == 0) {
        sums.fill(0.0);
    }
    for (p, columns) in panels(hidden).enumerate() {
        let mut sums = Sums { values: sums, stride: hidden, columns, add };
        for (transposed, panels) in mini_batches {
            let mut entries = Entries::new(transposed, genes.clone());
            for (b, block) in panels.0[p].chunks(BLOCK).enumerate() {
                gather(&mut sums, &mut entries, block, b * BLOCK);
                sums.add = true;
            }
        }
    }
}

/// `rows matrix + bias`, [n_rows, width], for rows [n_rows, n], matrix [n, width], bias \[width\].
pub(super) fn product(rows: &Csr, matrix: &[f32], bias: &[f32]) -> Vec<f32> {
    let (n_rows, width) = (rows.n_rows(), bias.len());
    assert_eq!(matrix.len(), rows.n_cols() * width);
    let mut out = Vec::with_capacity(n_rows * width);
    let place = Place(out.as_mut_ptr());
    // Every sum is on its own, so that the number of tasks changes no bit.
    let chunks = (2 * rayon::current_num_threads()).div_ceil(width.div_ceil(PANEL));
    let chunk = n_rows.div_ceil(chunks).max(1);
    let tasks: Vec<_> = panels(width).flat_map(|c| (0..n_rows).step_by(chunk).map(move |first| (c.clone(), first))).collect();
    tasks.into_par_iter().for_each(|(columns, first)| {
        let within = first..(first + chunk).min(n_rows);
        let sums = part(rows, within.clone(), matrix, columns.clone(), bias);
        for (i, sums) in within.zip(&sums) {
            // SAFETY: there is room for n_rows x width values, `i` is below the one and `columns` end at the other, and no two tasks have both
            // a row and a column in common.
            unsafe { place.at(i * width + columns.start).copy_from_nonoverlapping(sums.0.as_ptr(), columns.len()) };
        }
    });
    // SAFETY: the tasks are all rows of all columns, and each was written.
    unsafe { out.set_len(n_rows * width) };
    out
}

/// Where tasks write values, each its own.
struct Place(*mut f32);

// SAFETY: tasks write to places that do not overlap.
unsafe impl Sync for Place {}

impl Place {
    /// # Safety
    /// `i` must be within what was reserved.
    unsafe fn at(&self, i: usize) -> *mut f32 {
        // SAFETY: by the caller.
        unsafe { self.0.add(i) }
    }
}

/// Some rows and columns of [`product`].
fn part(rows: &Csr, within: Range<usize>, matrix: &[f32], columns: Range<usize>, bias: &[f32]) -> Vec<Row> {
    let width = bias.len();
    let mut sums = vec![Row(padded(&bias[columns.clone()])); within.len()];
    let mut entries = Entries::new(rows, within);
    let mut block = vec![Row([0.0; PANEL]); BLOCK.min(rows.n_cols())];
    for (b, matrix) in matrix.chunks(BLOCK * width).enumerate() {
        let block = &mut block[..matrix.len() / width];
        copy_columns(block, matrix, width, columns.clone());
        let values = as_values(&mut sums);
        gather(&mut Sums { values, stride: PANEL, columns: 0..PANEL, add: true }, &mut entries, block, b * BLOCK);
    }
    sums
}

fn as_values(rows: &mut [Row]) -> &mut [f32] {
    // SAFETY: a row is `PANEL` numbers and nothing else, 256 bytes, which its alignment divides.
    unsafe { std::slice::from_raw_parts_mut(rows.as_mut_ptr().cast(), rows.len() * PANEL) }
}

/// Some columns of sums, by row.
struct Sums<'a> {
    values: &'a mut [f32],
    /// From one row to the next.
    stride: usize,
    columns: Range<usize>,
    /// Whether what is there counts.
    add: bool,
}

impl Sums<'_> {
    #[inline]
    fn of(&mut self, i: usize) -> &mut [f32] {
        &mut self.values[i * self.stride..][self.columns.clone()]
    }
}

/// Sparse rows, and how far each has been summed up.
struct Entries<'a> {
    indices: &'a [u32],
    values: &'a [f32],
    next: Vec<usize>,
    ends: &'a [usize],
}

impl<'a> Entries<'a> {
    fn new(matrix: &'a Csr, rows: Range<usize>) -> Self {
        let indptr = &matrix.indptr()[rows.start..=rows.end];
        Self { indices: matrix.indices(), values: matrix.values(), next: indptr[..rows.len()].to_vec(), ends: &indptr[1..] }
    }

    /// What is left of row `i`.
    #[inline]
    fn left(&self, i: usize) -> (&'a [u32], &'a [f32]) {
        let range = self.next[i]..self.ends[i];
        (&self.indices[range.clone()], &self.values[range])
    }
}

/// Adds to each row's sums its entries in `block`, rows of a panel from `first` on.
fn gather(sums: &mut Sums<'_>, entries: &mut Entries<'_>, block: &[Row], first: usize) {
    match isa() {
        // SAFETY: `isa` found these features on this processor.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { x86::gather_avx512(sums, entries, block, first) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { x86::gather_avx2(sums, entries, block, first) },
        Isa::Portable => {
            for i in 0..entries.next.len() {
                let add = sums.add;
                let sums = sums.of(i);
                if !add {
                    sums.fill(0.0);
                }
                let (columns, values) = entries.left(i);
                for (column, value) in columns.iter().zip(values) {
                    let Some(row) = block.get((*column as usize).wrapping_sub(first)) else { break };
                    sums.iter_mut().zip(&row.0).for_each(|(sum, x)| *sum += value * x);
                    entries.next[i] += 1;
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Entries, PANEL, Row, Sums, padded};

    /// Defines `gather` for one instruction set. The sums of a row stay in registers.
    macro_rules! gather {
        ($gather:ident, $one:ident, $features:literal, $lanes:literal, $zero:ident, $set:ident, $load:ident, $fma:ident, $store:ident) => {
            #[target_feature(enable = $features)]
            pub(super) fn $gather(sums: &mut Sums<'_>, entries: &mut Entries<'_>, block: &[Row], first: usize) {
                let add = sums.add;
                for i in 0..entries.next.len() {
                    let (left, sums) = (entries.left(i), sums.of(i));
                    entries.next[i] += if let Ok(sums) = <&mut [f32; PANEL]>::try_from(&mut *sums) {
                        $one(sums, left, block, first, add)
                    } else {
                        let mut whole = padded(sums);
                        let n = $one(&mut whole, left, block, first, add);
                        sums.copy_from_slice(&whole[..sums.len()]);
                        n
                    };
                }
            }

            /// Returns the number of entries in the block.
            #[inline]
            #[target_feature(enable = $features)]
            fn $one(
                sums: &mut [f32; PANEL],
                (columns, values): (&[u32], &[f32]),
                block: &[Row],
                first: usize,
                add: bool,
            ) -> usize {
                const VECTORS: usize = PANEL / $lanes;
                let (at, mut n) = (sums.as_mut_ptr(), 0);
                // SAFETY: of `sums` and of a panel's row vector `l` is within `PANEL` numbers.
                unsafe {
                    let mut sum = [$zero(); VECTORS];
                    if add {
                        sum = std::array::from_fn(|l| $load(at.add(l * $lanes)));
                    }
                    for (column, value) in columns.iter().zip(values) {
                        let Some(row) = block.get((*column as usize).wrapping_sub(first)) else { break };
                        let (x, row) = ($set(*value), row.0.as_ptr());
                        for l in 0..VECTORS {
                            sum[l] = $fma(x, $load(row.add(l * $lanes)), sum[l]);
                        }
                        n += 1;
                    }
                    for l in 0..VECTORS {
                        $store(at.add(l * $lanes), sum[l]);
                    }
                }
                n
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
        for hidden in [1, 64, 128, 150, 300] {
            let batches = [random(9, 20, 2), random(200, 20, 3)];
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

    #[test]
    fn products_equal_the_dense_ones_for_every_width_and_number_of_threads() {
        for (n_rows, n, width) in [(5, 400, 64), (30, 176, 150), (1, 177, 300), (0, 3, 70), (40, 1, 65)] {
            let (rows, matrix, bias) = (random(n_rows, n, 7), numbers(n * width), numbers(width));
            let run = |threads| crate::threads::Threads::new(threads).unwrap().run(|| product(&rows, &matrix, &bias));
            let found = run(1);
            assert_eq!(found, run(3));
            assert_eq!(found, run(40));
            // The plain loop of the same processor, bit for bit.
            let mut plain: Vec<f32> = (0..n_rows).flat_map(|_| bias.clone()).collect();
            for (i, out) in plain.chunks_exact_mut(width).enumerate() {
                axpy_rows(out, rows.row(i).0, rows.row(i).1, &matrix);
            }
            assert_eq!(found, plain);
            let dense = rows.to_dense();
            let at = |i: usize, j: usize| -> f64 {
                let products = (0..n).map(|k| f64::from(dense[[i, k]]) * f64::from(matrix[k * width + j]));
                f64::from(bias[j]) + products.sum::<f64>()
            };
            near(&found, &(0..n_rows * width).map(|k| at(k / width, k % width)).collect::<Vec<_>>());
        }
    }

    /// The loops for AVX2 too, on a processor that would choose others.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_instruction_sets_agree_bit_for_bit() {
        if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) || isa() == Isa::Portable {
            return;
        }
        let (x, matrix) = (random(40, 20, 4), numbers(20 * 100));
        let panels = Panels::new(&matrix, 100);
        for (columns, add) in [(0..64, false), (64..100, true)] {
            let mut sums = [numbers(40 * 100), numbers(40 * 100)];
            let [chosen, avx2] = &mut sums;
            for (first, block) in [(0, &panels.0[columns.start / PANEL][..15]), (15, &panels.0[columns.start / PANEL][15..])] {
                let mut entries = [Entries::new(&x, 0..40), Entries::new(&x, 0..40)];
                if first > 0 {
                    entries
                        .iter_mut()
                        .for_each(|e| (0..40).for_each(|i| e.next[i] += x.row(i).0.iter().filter(|k| **k < 15).count()));
                }
                let of = |values| Sums { values, stride: 100, columns: columns.clone(), add: add || first > 0 };
                gather(&mut of(chosen), &mut entries[0], block, first);
                // SAFETY: the features were just found.
                unsafe { x86::gather_avx2(&mut of(avx2), &mut entries[1], block, first) };
                assert_eq!(entries[0].next, entries[1].next);
            }
            assert_eq!(sums[0], sums[1]);
        }
    }
}
