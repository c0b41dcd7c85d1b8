//! What kind of values a matrix holds.

use crate::data::{CellSource, Csr, row_blocks};
use crate::error::Result;

/// Kind of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// Whole numbers of 0 or more.
    RawCounts,
    /// Logarithms of scaled counts.
    LogNormalised,
    /// Only 0 and 1.
    Binary,
    /// Anything else, e.g. scaled values or counts with fractions.
    Other,
}

impl std::fmt::Display for ValueKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::RawCounts => "raw counts",
            Self::LogNormalised => "log-normalised",
            Self::Binary => "binary",
            Self::Other => "other",
        })
    }
}

/// A matrix in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueSummary {
    /// Kind of values.
    pub kind: ValueKind,
    /// How that is known.
    pub reason: String,
    /// Share of entries that are not zero.
    pub density: f64,
    /// Smallest value, zeros included.
    pub min: f32,
    /// Largest value.
    pub max: f32,
    /// Non-zero values.
    pub nnz: usize,
    /// Row, column and value of the first negative entry.
    pub first_negative: Option<(usize, usize, f32)>,
    /// Cells without any non-zero value.
    pub n_zero_cells: usize,
    /// The first of them.
    pub first_zero_cell: Option<usize>,
    /// Genes without any non-zero value.
    pub n_zero_genes: usize,
}

/// Share of non-integer values up to which a matrix with large values counts as raw (RSEM and similar give expected counts).
const EXPECTED_COUNTS_MAX: f32 = 50.0;

/// Looks at every value, by blocks of rows.
///
/// # Errors
/// What the source fails at.
pub fn summarise(source: &dyn CellSource) -> Result<ValueSummary> {
    let (n_cells, n_genes) = (source.n_cells(), source.n_genes());
    let mut out = ValueSummary {
        kind: ValueKind::Other,
        reason: String::new(),
        density: 0.0,
        min: f32::INFINITY,
        max: f32::NEG_INFINITY,
        nnz: 0,
        first_negative: None,
        n_zero_cells: 0,
        first_zero_cell: None,
        n_zero_genes: 0,
    };
    let (mut whole, mut ones) = (0usize, 0usize);
    let mut seen = vec![false; n_genes];
    let mut rows = Csr::empty(n_genes);
    for block in row_blocks(n_cells, 1024) {
        source.read_range(block.clone(), &mut rows)?;
        for i in 0..rows.n_rows() {
            let (columns, values) = rows.row(i);
            let before = out.nnz;
            for (column, value) in columns.iter().zip(values).filter(|(_, v)| **v != 0.0) {
                out.nnz += 1;
                out.min = out.min.min(*value);
                out.max = out.max.max(*value);
                whole += usize::from(value.fract() == 0.0);
                ones += usize::from(*value == 1.0);
                seen[*column as usize] = true;
                if *value < 0.0 && out.first_negative.is_none() {
                    out.first_negative = Some((block.start + i, *column as usize, *value));
                }
            }
            if out.nnz == before {
                out.n_zero_cells += 1;
                out.first_zero_cell.get_or_insert(block.start + i);
            }
        }
    }
    if out.nnz < n_cells * n_genes {
        out.min = out.min.min(0.0);
        out.max = out.max.max(0.0);
    }
    out.density = out.nnz as f64 / (n_cells as f64 * n_genes as f64).max(1.0);
    out.n_zero_genes = seen.iter().filter(|s| !**s).count();
    (out.kind, out.reason) = kind(&out, whole, ones);
    Ok(out)
}

fn kind(s: &ValueSummary, whole: usize, ones: usize) -> (ValueKind, String) {
    if s.nnz == 0 {
        return (ValueKind::Other, "all values are zero".into());
    }
    if s.min < 0.0 {
        return (ValueKind::Other, format!("values down to {}", s.min));
    }
    if ones == s.nnz {
        return (ValueKind::Binary, "only 0 and 1".into());
    }
    if whole == s.nnz {
        return (ValueKind::RawCounts, format!("whole numbers up to {}", s.max));
    }
    let share = 100.0 * (s.nnz - whole) as f64 / s.nnz as f64;
    if s.max > EXPECTED_COUNTS_MAX {
        // log(1 + x) of any library stays far below 50.
        return (
            ValueKind::RawCounts,
            format!("values up to {}, {share:.0} % with fractions: expected counts, not logarithms", s.max),
        );
    }
    (ValueKind::LogNormalised, format!("values up to {} and {share:.0} % with fractions", s.max))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[[f32; 3]]) -> ValueSummary {
        let x = ndarray::Array2::from_shape_vec((rows.len(), 3), rows.concat()).unwrap();
        summarise(&Csr::from_dense(x.view()).unwrap()).unwrap()
    }

    #[test]
    fn kinds_are_told_apart() {
        assert_eq!(of(&[[1.0, 0.0, 3.0]]).kind, ValueKind::RawCounts);
        assert_eq!(of(&[[0.7, 0.0, 2.3]]).kind, ValueKind::LogNormalised);
        assert_eq!(of(&[[1.0, 0.0, 1.0]]).kind, ValueKind::Binary);
        assert_eq!(of(&[[812.4, 0.0, 3.0]]).kind, ValueKind::RawCounts);
        let negative = of(&[[1.0, 2.0, 2.0], [0.0, -1.5, 0.0]]);
        assert_eq!((negative.kind, negative.first_negative), (ValueKind::Other, Some((1, 1, -1.5))));
    }

    #[test]
    fn empty_cells_and_genes_are_counted() {
        let s = of(&[[1.0, 0.0, 3.0], [0.0, 0.0, 0.0]]);
        assert_eq!((s.n_zero_cells, s.first_zero_cell, s.n_zero_genes, s.nnz), (1, Some(1), 1, 2));
        assert!((s.density - 2.0 / 6.0).abs() < 1e-12);
    }
}
