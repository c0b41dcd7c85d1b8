//! A column of categories: codes and levels.

use std::collections::HashMap;

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

    /// From one text per cell; levels in alphabetical order, so that the order of cells changes no code.
    pub fn from_values<S: AsRef<str>>(values: impl IntoIterator<Item = Option<S>>) -> Self {
        let values: Vec<Option<S>> = values.into_iter().collect();
        let mut levels: Vec<String> = values.iter().flatten().map(|v| v.as_ref().to_owned()).collect();
        levels.sort_unstable();
        levels.dedup();
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

    /// The cells `rows`, with all levels.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self { codes: rows.iter().map(|i| self.codes[*i]).collect(), levels: self.levels.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_do_not_depend_on_the_order_of_cells() {
        let a = Categorical::from_values([Some("b"), None, Some("a")]);
        assert_eq!(a.levels(), ["a", "b"]);
        assert_eq!(a.codes(), [Some(1), None, Some(0)]);
        assert_eq!(a.counts(), [1, 1]);
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
