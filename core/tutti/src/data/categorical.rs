//! A column of categories: codes and levels.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use crate::error::{Error, Result};

/// Categories of cells, e.g. batches or cell types. A code is an index into `levels`; a missing value has no code.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Categorical {
    codes: Vec<Option<u32>>,
    levels: Vec<String>,
}

impl Categorical {
    /// From codes and levels.
    ///
    /// # Errors
    /// [`Error::Data`] for a code without level or a level that occurs twice.
    pub fn new(codes: Vec<Option<u32>>, levels: Vec<String>) -> Result<Self> {
        let mut seen = HashMap::new();
        for level in &levels {
            if seen.insert(level.as_str(), ()).is_some() {
                return Err(Error::data(format!("category `{level}` occurs twice"), "merge or rename it"));
            }
        }
        if let Some(i) = codes.iter().position(|c| c.is_some_and(|c| c as usize >= levels.len())) {
            let problem = format!("cell number {} has a category code beyond the {} levels", i + 1, levels.len());
            return Err(Error::data(problem, "write the column again"));
        }
        Ok(Self { codes, levels })
    }

    /// From one text per cell; levels in natural order (`cluster 9` before `cluster 10`), so that the order of cells changes no code.
    pub fn from_values<S: AsRef<str>>(values: impl IntoIterator<Item = Option<S>>) -> Self {
        let values: Vec<Option<S>> = values.into_iter().collect();
        let distinct: HashSet<&str> = values.iter().flatten().map(AsRef::as_ref).collect();
        let mut levels: Vec<String> = distinct.into_iter().map(str::to_owned).collect();
        levels.sort_unstable_by(|a, b| natural(a, b));
        let code: HashMap<&str, u32> = levels.iter().enumerate().map(|(i, l)| (l.as_str(), i as u32)).collect();
        let codes = values.iter().map(|v| v.as_ref().map(|v| code[v.as_ref()])).collect();
        Self { codes, levels }
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// Whether there are no cells.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// Code of every cell.
    pub fn codes(&self) -> &[Option<u32>] {
        &self.codes
    }

    /// Names of the categories.
    pub fn levels(&self) -> &[String] {
        &self.levels
    }

    /// Number of categories, those without a cell included.
    pub fn n_levels(&self) -> usize {
        self.levels.len()
    }

    /// Name of the category of cell `i`.
    pub fn value(&self, i: usize) -> Option<&str> {
        self.codes[i].map(|c| self.levels[c as usize].as_str())
    }

    /// Cells per category.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.levels.len()];
        for code in self.codes.iter().flatten() {
            counts[*code as usize] += 1;
        }
        counts
    }

    /// Codes of all cells.
    ///
    /// # Errors
    /// [`Error::Data`], naming `column` and the first cell without a value.
    pub fn complete(&self, column: &str, cell_names: &[String]) -> Result<Vec<u32>> {
        let missing: Vec<usize> = (0..self.len()).filter(|i| self.codes[*i].is_none()).collect();
        match missing.first() {
            None => Ok(self.codes.iter().flatten().copied().collect()),
            Some(first) => {
                let name = cell_names.get(*first).map_or_else(|| format!("number {}", first + 1), Clone::clone);
                let problem = format!("obs column `{column}` has {} missing values (first: cell {name})", missing.len());
                Err(Error::data(problem, "fill them or drop these cells"))
            }
        }
    }

    /// The same column without categories that no cell has.
    pub fn drop_unused(&self) -> Self {
        let counts = self.counts();
        let mut new_code = vec![None; self.levels.len()];
        let mut levels = Vec::new();
        for (i, level) in self.levels.iter().enumerate() {
            if counts[i] > 0 {
                new_code[i] = Some(levels.len() as u32);
                levels.push(level.clone());
            }
        }
        let codes = self.codes.iter().map(|c| c.and_then(|c| new_code[c as usize])).collect();
        Self { codes, levels }
    }

    /// The same column in which cells whose category is empty, or blanks alone, have none: tables of text write a missing value so.
    pub fn without_blank(&self) -> Self {
        let blank: Vec<bool> = self.levels.iter().map(|level| level.trim().is_empty()).collect();
        if !blank.contains(&true) {
            return self.clone();
        }
        let codes = self.codes.iter().map(|code| code.filter(|c| !blank[*c as usize])).collect();
        Self { codes, levels: self.levels.clone() }.drop_unused()
    }

    /// The cells `rows`, with all levels.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self { codes: rows.iter().map(|i| self.codes[*i]).collect(), levels: self.levels.clone() }
    }
}

/// Order in which runs of digits count as numbers and all else by its code, as `natsorted` of Python, by which anndata orders categories. Texts
/// that differ in leading zeros only (`a02`, `a2`) follow in alphabetical order: distinct texts are never equal.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut rest_a, mut rest_b) = (a, b);
    loop {
        let (text_a, number_a, after_a) = next_number(rest_a);
        let (text_b, number_b, after_b) = next_number(rest_b);
        // Without leading zeros, the longer number is the larger, however many digits there are.
        let order = text_a.cmp(text_b).then(number_a.len().cmp(&number_b.len())).then_with(|| number_a.cmp(number_b));
        if order.is_ne() {
            return order;
        }
        if after_a.is_empty() || after_b.is_empty() {
            return after_a.len().cmp(&after_b.len()).then_with(|| a.cmp(b));
        }
        (rest_a, rest_b) = (after_a, after_b);
    }
}

/// What stands before the first run of digits, the run without leading zeros, and what follows.
fn next_number(text: &str) -> (&str, &str, &str) {
    let (before, from) = text.split_at(text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len()));
    let (digits, after) = from.split_at(from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len()));
    (before, digits.trim_start_matches('0'), after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_categories_are_missing_values() {
        let column =
            Categorical::new([0, 1, 2, 0, 3].map(Some).to_vec(), ["b", "", " ", "a"].map(String::from).to_vec()).unwrap();
        let named = column.without_blank();
        assert_eq!((0..5).map(|i| named.value(i)).collect::<Vec<_>>(), [Some("b"), None, None, Some("b"), Some("a")]);
        assert_eq!(named.levels(), ["b", "a"]);
        assert_eq!(named.without_blank(), named);
    }

    #[test]
    fn levels_do_not_depend_on_the_order_of_cells() {
        let a = Categorical::from_values([Some("b"), None, Some("a")]);
        assert_eq!(a.levels(), ["a", "b"]);
        assert_eq!(a.codes(), [Some(1), None, Some(0)]);
        assert_eq!(a.counts(), [1, 1]);
    }

    /// What `natsorted` of the Python package natsort 8.4.0 makes of these texts.
    const NATURAL: [&str; 28] = [
        "",
        "0",
        "00a1",
        "1.5",
        "1.10",
        "2",
        "9",
        "10",
        "-",
        "B2",
        "T1",
        "T cell",
        "a",
        "a0",
        "a0b",
        "a1",
        "a1b",
        "a1b2",
        "a1b10",
        "a 1",
        "a-1",
        "b1",
        "cluster 9",
        "cluster 10",
        "v2-",
        "v2-3",
        "x9999999999",
        "x12345678901234567890123",
    ];

    #[test]
    fn levels_are_in_the_natural_order_of_anndata() {
        let mut shuffled = NATURAL.to_vec();
        shuffled.sort_unstable();
        assert_eq!(Categorical::from_values(shuffled.iter().rev().map(Some)).levels(), NATURAL);
    }

    #[test]
    fn natural_order_tells_all_texts_apart_and_goes_on_behind_leading_zeros() {
        for texts in [["a02", "a2"], ["a02b1", "a2b1"], ["a2b1", "a02b10"], ["a02b9", "a2b10"], ["0", "00"], ["a", "a0"]] {
            assert_eq!(Categorical::from_values(texts.iter().rev().map(Some)).levels(), texts);
        }
        for (i, a) in NATURAL.iter().enumerate() {
            assert!(NATURAL.iter().enumerate().all(|(j, b)| natural(a, b) == i.cmp(&j)), "{a}");
        }
    }

    #[test]
    fn a_missing_value_names_column_and_cell() {
        let a = Categorical::from_values([Some("b"), None]);
        let message = a.complete("donor", &["c1".into(), "c2".into()]).unwrap_err().to_string();
        assert_eq!(message, "obs column `donor` has 1 missing values (first: cell c2); fill them or drop these cells");
    }

    #[test]
    fn unused_levels_go_and_codes_follow() {
        let a = Categorical::new(vec![Some(2), Some(0)], vec!["x".into(), "y".into(), "z".into()]).unwrap().drop_unused();
        assert_eq!(a.levels(), ["x", "z"]);
        assert_eq!(a.codes(), [Some(1), Some(0)]);
    }
}
