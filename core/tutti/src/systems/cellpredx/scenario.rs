//! What kind of data labels are carried between.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::data::{Cells, RowSubset};
use crate::error::Result;
use crate::preprocess::{Pair, gene_means};

/// Kind of reference and query, each with its own weights of losses (CellPredX, "parameter settings").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// RNA to gene activity of the same cells.
    MatchedRnaToAtac,
    /// RNA to gene activity of other cells.
    UnmatchedRnaToAtac,
    /// RNA to RNA, between technologies, donors or species.
    #[default]
    RnaToRna,
    /// Peaks to peaks.
    AtacToAtac,
}

/// A scenario with the reason for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DetectedScenario {
    /// What the data look like.
    pub scenario: Scenario,
    /// What was seen, for the user.
    pub reason: String,
}

/// Correlation of mean log expression below which two matrices of the same genes are taken for different assays.
/// Real pairs: RNA of two technologies 0.66 to 0.93, of man and mouse 0.45 to 0.72, RNA and gene activity 0.35 to 0.37.
const SAME_ASSAY: f64 = 0.4;
/// Share of features that are named as intervals above which they are peaks.
const PEAKS: f64 = 0.5;

impl Scenario {
    /// All of them with what they are called.
    pub const ALL: [(Scenario, &str); 4] = [
        (Scenario::MatchedRnaToAtac, "matched-rna-to-atac"),
        (Scenario::UnmatchedRnaToAtac, "unmatched-rna-to-atac"),
        (Scenario::RnaToRna, "rna-to-rna"),
        (Scenario::AtacToAtac, "atac-to-atac"),
    ];

    /// What it is called, e.g. `rna-to-rna`.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(scenario, _)| *scenario == self).map_or("", |(_, name)| name)
    }

    /// As [`Scenario::detect`], of what [`crate::preprocess::prepare_pair`] joined.
    ///
    /// # Errors
    /// What the source fails at.
    pub fn of_pair(pair: &Pair<'_>) -> Result<DetectedScenario> {
        let part = |rows: Vec<usize>, side: &str| {
            let strip = |i: &usize| pair.cells.cell_names()[*i].strip_prefix(side).unwrap_or_default().to_owned();
            let names = rows.iter().map(strip).collect();
            Cells::new(RowSubset::new(pair.cells.source(), rows), names, pair.cells.gene_names().to_vec())
        };
        let (reference, query) = ((0..pair.n_reference).collect(), (pair.n_reference..pair.cells.n_cells()).collect());
        Self::detect(&part(reference, "reference:")?, &part(query, "query:")?)
    }

    /// Looks at a reference and a query with the same features, log-normalised: features named as intervals are peaks; genes whose mean
    /// expression hardly correlates are measured by different assays; these are matched where half of the cells of the smaller one have the name of a
    /// cell of the other. A guess from the matrices alone: say what they are where you know.
    ///
    /// # Errors
    /// What the sources fail at.
    pub fn detect(reference: &Cells<'_>, query: &Cells<'_>) -> Result<DetectedScenario> {
        let intervals = reference.gene_names().iter().filter(|name| is_interval(name)).count();
        if intervals as f64 > PEAKS * reference.n_genes() as f64 {
            let reason = format!("{intervals} of {} features are named as intervals", reference.n_genes());
            return Ok(DetectedScenario { scenario: Self::AtacToAtac, reason });
        }
        let r = rank_correlation(&gene_means(reference.source())?.to_vec(), &gene_means(query.source())?.to_vec());
        let seen = format!("mean expression of {} genes correlates by {r:.2} between reference and query", reference.n_genes());
        if r >= SAME_ASSAY {
            return Ok(DetectedScenario { scenario: Self::RnaToRna, reason: seen });
        }
        let names: HashSet<&String> = reference.cell_names().iter().collect();
        let shared = query.cell_names().iter().filter(|name| names.contains(name)).count();
        let (scenario, cells) = match 2 * shared > reference.n_cells().min(query.n_cells()) {
            true => (Self::MatchedRnaToAtac, format!("{shared} cells have the same name in both")),
            false => (Self::UnmatchedRnaToAtac, format!("{shared} cells have the same name in both, so that they are others")),
        };
        Ok(DetectedScenario { scenario, reason: format!("{seen}, as of different assays; {cells}") })
    }
}

/// `chr1:100-200`, `chr1-100-200` or `chr1_100_200`.
fn is_interval(name: &str) -> bool {
    let mut parts = name.rsplitn(3, [':', '-', '_']);
    let is_number = |part: Option<&str>| part.is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    is_number(parts.next()) && is_number(parts.next()) && parts.next().is_some_and(|p| !p.is_empty())
}

/// Spearman's correlation; 0 where one side is constant.
fn rank_correlation(x: &[f64], y: &[f64]) -> f64 {
    let (x, y) = (ranks(x), ranks(y));
    let mean = (x.len() as f64 - 1.0) / 2.0;
    let sum = |f: &dyn Fn(f64, f64) -> f64| x.iter().zip(&y).map(|(a, b)| f(a - mean, b - mean)).sum::<f64>();
    let (xy, xx, yy) = (sum(&|a, b| a * b), sum(&|a, _| a * a), sum(&|_, b| b * b));
    if xx > 0.0 && yy > 0.0 { xy / (xx * yy).sqrt() } else { 0.0 }
}

/// Ranks from 0, the mean of those of equal values.
fn ranks(x: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|a, b| x[*a].total_cmp(&x[*b]));
    let mut out = vec![0.0; x.len()];
    let mut at = 0;
    for run in order.chunk_by(|a, b| x[*a] == x[*b]) {
        let rank = at as f64 + (run.len() as f64 - 1.0) / 2.0;
        run.iter().for_each(|i| out[*i] = rank);
        at += run.len();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Csr;

    #[test]
    fn intervals_are_told_from_genes() {
        assert!(["chr1:100-200", "chr1-100-200", "chrX_1_2", "GL000219.1-39933-40839"].iter().all(|name| is_interval(name)));
        assert!(["CD4", "HLA-DRA", "MT-ND4", "RP11-34-2B", "NKX2-1", "1-2"].iter().all(|name| !is_interval(name)));
    }

    #[test]
    fn ranks_correlate_by_the_formula() {
        // 1 - 6 sum d² / n (n² - 1) without ties.
        let r = rank_correlation(&[1.0, 5.0, 2.0, 9.0], &[0.1, 0.2, 0.3, 0.4]);
        assert!((r - (1.0 - 6.0 * 2.0 / (4.0 * 15.0))).abs() < 1e-12, "{r}");
        assert_eq!(ranks(&[3.0, 1.0, 3.0]), [1.5, 0.0, 1.5]);
        assert_eq!(rank_correlation(&[1.0, 1.0], &[0.0, 1.0]), 0.0);
    }

    #[test]
    fn the_data_decide() {
        let cells = |prefix: &str, first: usize, feature: &str, reversed: bool| {
            let x = ndarray::Array2::from_shape_fn((4, 20), |(_, j)| if reversed { 20.0 - j as f32 } else { 1.0 + j as f32 });
            let names = (first..first + 4).map(|i| format!("{prefix}{i}")).collect();
            let genes = (0..20).map(|j| feature.replace('#', &j.to_string())).collect();
            Cells::new(Csr::from_dense(x.view()).unwrap(), names, genes).unwrap()
        };
        let of = |reference: &Cells, query: &Cells| Scenario::detect(reference, query).unwrap().scenario;
        let rna = cells("c", 0, "G#", false);
        assert_eq!(of(&rna, &cells("d", 0, "G#", false)), Scenario::RnaToRna);
        assert_eq!(of(&rna, &cells("c", 1, "G#", true)), Scenario::MatchedRnaToAtac);
        assert_eq!(of(&rna, &cells("c", 3, "G#", true)), Scenario::UnmatchedRnaToAtac);
        let peaks = cells("c", 0, "chr1-#-99", false);
        assert_eq!(of(&peaks, &peaks), Scenario::AtacToAtac);
    }
}
