//! Genes of two species that are one gene of their last common ancestor.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::GeneAlignment;
use crate::error::{Error, Result};

/// One-to-one orthologues: each gene of the reference's species with one of the query's, and the other way round.
#[derive(Debug, Clone, PartialEq)]
pub struct Orthologues {
    /// Reference gene of each query gene.
    reference_of: HashMap<String, String>,
    summary: OrthologueSummary,
}

/// What a table of orthologues held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct OrthologueSummary {
    /// Pairs that were given, without repeats and those with an empty name.
    pub n_pairs: usize,
    /// Pairs kept.
    pub n_one_to_one: usize,
    /// Pairs left out: their reference gene has several query genes.
    pub n_one_to_many: usize,
    /// Pairs left out: their query gene has several reference genes (and their reference gene one query gene).
    pub n_many_to_one: usize,
}

impl Orthologues {
    /// From pairs (gene of the reference, gene of the query). Genes with several partners are left out, with all of their pairs: which of the
    /// copies has kept the function is not in such a table, and a sum over copies is no expression of one gene. Repeats and pairs with an empty
    /// name count once and not at all.
    ///
    /// # Errors
    /// [`Error::Data`] where no pair is one to one.
    pub fn new<S: AsRef<str>>(pairs: impl IntoIterator<Item = (S, S)>) -> Result<Self> {
        let mut distinct: Vec<(String, String)> = pairs
            .into_iter()
            .map(|(a, b)| (a.as_ref().trim().to_owned(), b.as_ref().trim().to_owned()))
            .filter(|(a, b)| !a.is_empty() && !b.is_empty())
            .collect();
        distinct.sort_unstable();
        distinct.dedup();
        let (mut of_reference, mut of_query) = (HashMap::<&str, usize>::new(), HashMap::<&str, usize>::new());
        for (a, b) in &distinct {
            *of_reference.entry(a).or_insert(0) += 1;
            *of_query.entry(b).or_insert(0) += 1;
        }
        let n_one_to_many = distinct.iter().filter(|(a, _)| of_reference[a.as_str()] > 1).count();
        let n_many_to_one = distinct.iter().filter(|(a, b)| of_reference[a.as_str()] == 1 && of_query[b.as_str()] > 1).count();
        let kept = distinct.iter().filter(|(a, b)| of_reference[a.as_str()] == 1 && of_query[b.as_str()] == 1);
        let reference_of: HashMap<String, String> = kept.map(|(a, b)| (b.clone(), a.clone())).collect();
        if reference_of.is_empty() {
            let problem = format!("none of the {} pairs of orthologues is one to one", distinct.len());
            return Err(Error::data(problem, "give a gene of the reference and one of the query per line"));
        }
        let summary =
            OrthologueSummary { n_pairs: distinct.len(), n_one_to_one: reference_of.len(), n_one_to_many, n_many_to_one };
        Ok(Self { reference_of, summary })
    }

    /// As [`Orthologues::new`] from two columns of which it is not known which is the reference's: the order in which more names are found. `true`
    /// beside it where the columns were exchanged.
    ///
    /// # Errors
    /// As [`Orthologues::new`]; [`Error::Data`] where no name of either is in the table.
    pub fn oriented(pairs: &[(String, String)], reference: &[String], query: &[String]) -> Result<(Self, bool)> {
        let (of_reference, of_query): (HashSet<&str>, HashSet<&str>) =
            (reference.iter().map(String::as_str).collect(), query.iter().map(String::as_str).collect());
        let both = |a: &str, b: &str| of_reference.contains(a) && of_query.contains(b);
        let as_given = pairs.iter().filter(|(a, b)| both(a.trim(), b.trim())).count();
        let exchanged = pairs.iter().filter(|(a, b)| both(b.trim(), a.trim())).count();
        if as_given == 0 && exchanged == 0 {
            let first = pairs.first().map_or(String::new(), |(a, b)| format!(" (first pair: {a}, {b})"));
            let problem = format!("no pair of orthologues has a gene of the reference and one of the query{first}");
            return Err(Error::data(problem, "check that the table has the same kind of gene names as both files"));
        }
        if exchanged > as_given {
            return Ok((Self::new(pairs.iter().map(|(a, b)| (b, a)))?, true));
        }
        Ok((Self::new(pairs.iter().map(|(a, b)| (a, b)))?, false))
    }

    /// What the table held.
    pub fn summary(&self) -> OrthologueSummary {
        self.summary
    }

    /// The reference's name of a query gene.
    pub fn reference_name(&self, query_gene: &str) -> Option<&str> {
        self.reference_of.get(query_gene).map(String::as_str)
    }

    /// Puts the genes of a query onto those of a reference. Query genes without a one-to-one orthologue are left out, also where a reference gene has
    /// the same name; reference genes without one are missing.
    ///
    /// # Errors
    /// As [`GeneAlignment::by_name`].
    pub fn align(&self, reference: &[String], query: &[String], min_overlap: f64) -> Result<GeneAlignment> {
        // No gene is called the empty text, so that such columns are found by none.
        let renamed: Vec<String> = query.iter().map(|gene| self.reference_name(gene).unwrap_or_default().to_owned()).collect();
        GeneAlignment::by_name(reference, &renamed, min_overlap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(x: &[&str]) -> Vec<String> {
        x.iter().map(|s| (*s).to_owned()).collect()
    }

    const PAIRS: [(&str, &str); 9] = [
        ("INS", "Ins1"),
        ("INS", "Ins2"),
        ("GCG", "Gcg"),
        ("GCG", "Gcg"),
        ("SST ", "Sst"),
        ("HBA1", "Hba"),
        ("HBA2", "Hba"),
        ("PPY", "Ppy"),
        ("ABC", ""),
    ];

    #[test]
    fn only_pairs_without_another_partner_are_kept_and_the_others_counted() {
        let table = Orthologues::new(PAIRS).unwrap();
        let expected = OrthologueSummary { n_pairs: 7, n_one_to_one: 3, n_one_to_many: 2, n_many_to_one: 2 };
        assert_eq!(table.summary(), expected);
        assert_eq!(
            (table.reference_name("Sst"), table.reference_name("Ins1"), table.reference_name("Hba")),
            (Some("SST"), None, None)
        );
        assert!(Orthologues::new(PAIRS[..2].iter().copied()).unwrap_err().to_string().contains("none of the 2 pairs"));
    }

    #[test]
    fn genes_are_aligned_through_the_table_and_the_missing_are_reported() {
        let table = Orthologues::new(PAIRS).unwrap();
        // `GCG` of the query has the name of a reference gene but no entry.
        let query = names(&["GCG", "Sst", "Xist", "Gcg", "Ins1"]);
        let found = table.align(&names(&["INS", "GCG", "SST", "PPY"]), &query, 0.5).unwrap();
        assert_eq!(found.columns, [None, Some(3), Some(1), None]);
        assert_eq!(found.missing, ["INS", "PPY"]);
        assert!(table.align(&names(&["INS", "GCG", "SST", "PPY"]), &query, 0.6).is_err());
    }

    #[test]
    fn columns_find_their_species() {
        let pairs: Vec<(String, String)> = PAIRS.iter().map(|(a, b)| ((*b).to_owned(), (*a).to_owned())).collect();
        let (reference, query) = (names(&["GCG", "SST"]), names(&["Gcg", "Sst", "Ppy"]));
        let (table, exchanged) = Orthologues::oriented(&pairs, &reference, &query).unwrap();
        assert!(exchanged && table.reference_name("Gcg") == Some("GCG"));
        let (table, exchanged) = Orthologues::oriented(&pairs, &query, &reference).unwrap();
        assert!(!exchanged && table.reference_name("GCG") == Some("Gcg"));
        let error = Orthologues::oriented(&pairs, &names(&["ENSG1"]), &query).unwrap_err().to_string();
        assert!(error.contains("first pair: Ins1, INS"), "{error}");
    }
}
