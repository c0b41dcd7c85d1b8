//! Genes of a query put onto the genes of a reference, by name.

use std::collections::HashMap;

use crate::error::{Error, Result};

/// Where each reference gene is found in a query.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneAlignment {
    /// Query column of each reference gene; `None` where the query lacks it (read as zero).
    pub columns: Vec<Option<usize>>,
    /// Names of the reference genes that the query lacks.
    pub missing: Vec<String>,
}

impl GeneAlignment {
    /// Joins by name. Query genes unknown to the reference are left out.
    ///
    /// # Errors
    /// [`Error::GeneOverlap`] where less than `min_overlap` (0 to 1) of the reference genes are in the query.
    pub fn by_name(reference: &[String], query: &[String], min_overlap: f64) -> Result<Self> {
        let mut at: HashMap<&str, usize> = HashMap::with_capacity(query.len());
        for (i, gene) in query.iter().enumerate() {
            at.entry(gene).or_insert(i);
        }
        let columns: Vec<Option<usize>> = reference.iter().map(|g| at.get(g.as_str()).copied()).collect();
        let missing: Vec<String> = reference.iter().zip(&columns).filter(|(_, c)| c.is_none()).map(|(g, _)| g.clone()).collect();
        let (total, shared) = (reference.len(), reference.len() - missing.len());
        let share = if total == 0 { 1.0 } else { shared as f64 / total as f64 };
        if share < min_overlap || shared == 0 {
            return Err(Error::GeneOverlap {
                shared,
                total,
                percent: 100.0 * share,
                required: 100.0 * min_overlap,
                first_missing: missing.iter().take(3).cloned().collect::<Vec<_>>().join(", "),
            });
        }
        Ok(Self { columns, missing })
    }

    /// Share of the reference genes that the query lacks, 0 to 1.
    pub fn missing_share(&self) -> f64 {
        self.missing.len() as f64 / self.columns.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(x: &[&str]) -> Vec<String> {
        x.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn genes_are_joined_by_name_and_the_missing_are_reported() {
        let a = GeneAlignment::by_name(&names(&["A", "B", "C"]), &names(&["C", "X", "A"]), 0.5).unwrap();
        assert_eq!(a.columns, [Some(2), None, Some(0)]);
        assert_eq!(a.missing, ["B"]);
        let error = GeneAlignment::by_name(&names(&["A", "B", "C"]), &names(&["C"]), 0.5).unwrap_err().to_string();
        assert!(error.contains("1 of the model's 3 genes") && error.contains("A, B"), "{error}");
    }
}
