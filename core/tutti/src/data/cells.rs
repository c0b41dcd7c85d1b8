//! Cells as every system takes them: a source of rows, names and categories that belong together.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Categorical, CellSource};
use crate::error::{Error, Result};

/// Matrix, names and categorical columns of the same cells, checked once.
///
/// The matrix is read through [`CellSource`] and never changed. Cheap to clone.
#[derive(Clone)]
pub struct Cells<'a> {
    source: Arc<dyn CellSource + 'a>,
    cell_names: Arc<Vec<String>>,
    gene_names: Arc<Vec<String>>,
    columns: HashMap<String, Arc<Categorical>>,
}

impl<'a> Cells<'a> {
    /// Joins a matrix with the names of its rows and columns.
    ///
    /// # Errors
    /// [`Error::Data`] for no cells or genes, names that do not fit the matrix in number, or a name that occurs twice.
    pub fn new(source: impl CellSource + 'a, cell_names: Vec<String>, gene_names: Vec<String>) -> Result<Self> {
        check_names("cell", &cell_names, source.n_cells())?;
        check_names("gene", &gene_names, source.n_genes())?;
        Ok(Self {
            source: Arc::new(source),
            cell_names: Arc::new(cell_names),
            gene_names: Arc::new(gene_names),
            columns: HashMap::new(),
        })
    }

    /// Adds (or replaces) a categorical column of obs.
    ///
    /// # Errors
    /// [`Error::Data`] where it has another number of cells.
    pub fn with_column(mut self, name: impl Into<String>, column: Categorical) -> Result<Self> {
        let name = name.into();
        if column.len() != self.n_cells() {
            let problem = format!("obs column `{name}` has {} values for {} cells", column.len(), self.n_cells());
            return Err(Error::data(problem, "give one value per cell"));
        }
        self.columns.insert(name, Arc::new(column));
        Ok(self)
    }

    /// The same cells and columns with another matrix, e.g. a normalised one with fewer genes.
    ///
    /// # Errors
    /// As [`Cells::new`].
    pub fn with_source<'b>(&self, source: impl CellSource + 'b, gene_names: Vec<String>) -> Result<Cells<'b>> {
        check_names("gene", &gene_names, source.n_genes())?;
        if source.n_cells() != self.n_cells() {
            let problem = format!("a matrix of {} cells for {} cell names", source.n_cells(), self.n_cells());
            return Err(Error::data(problem, "give one row per cell"));
        }
        Ok(Cells {
            source: Arc::new(source),
            cell_names: self.cell_names.clone(),
            gene_names: Arc::new(gene_names),
            columns: self.columns.clone(),
        })
    }

    /// The matrix, cells x genes.
    pub fn source(&self) -> &(dyn CellSource + 'a) {
        &*self.source
    }

    /// The matrix, shared.
    pub fn shared_source(&self) -> Arc<dyn CellSource + 'a> {
        self.source.clone()
    }

    /// Number of cells.
    pub fn n_cells(&self) -> usize {
        self.cell_names.len()
    }

    /// Number of genes.
    pub fn n_genes(&self) -> usize {
        self.gene_names.len()
    }

    /// Names of the cells, unique.
    pub fn cell_names(&self) -> &[String] {
        &self.cell_names
    }

    /// Names of the genes, unique.
    pub fn gene_names(&self) -> &[String] {
        &self.gene_names
    }

    /// A categorical column.
    ///
    /// # Errors
    /// [`Error::Data`], listing the columns there are.
    pub fn column(&self, name: &str) -> Result<&Categorical> {
        self.columns.get(name).map(|c| &**c).ok_or_else(|| {
            let mut there: Vec<&str> = self.columns.keys().map(String::as_str).collect();
            there.sort_unstable();
            let fix = if there.is_empty() {
                "add it with `with_column`".to_owned()
            } else {
                format!("the columns are: {}", there.join(", "))
            };
            Error::data(format!("there is no obs column `{name}`"), fix)
        })
    }
}

impl std::fmt::Debug for Cells<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut columns: Vec<&String> = self.columns.keys().collect();
        columns.sort_unstable();
        write!(f, "Cells {{ {} cells x {} genes, columns: {columns:?} }}", self.n_cells(), self.n_genes())
    }
}

fn check_names(what: &str, names: &[String], n: usize) -> Result<()> {
    if n == 0 {
        return Err(Error::data(format!("the matrix has no {what}s"), "check the filters that made it"));
    }
    if names.len() != n {
        let problem = format!("{} {what} names for {n} {what}s", names.len());
        return Err(Error::data(problem, format!("give one name per {what}")));
    }
    let mut seen = HashMap::with_capacity(n);
    for (i, name) in names.iter().enumerate() {
        if let Some(first) = seen.insert(name.as_str(), i) {
            let problem = format!("{what} name `{name}` occurs twice (rows {} and {})", first + 1, i + 1);
            return Err(Error::data(problem, format!("make {what} names unique")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Csr;
    use super::*;

    fn names(prefix: &str, n: usize) -> Vec<String> {
        (0..n).map(|i| format!("{prefix}{i}")).collect()
    }

    #[test]
    fn names_must_fit_and_be_unique() {
        let x = || Csr::from_dense(ndarray::arr2(&[[1.0, 0.0], [0.0, 2.0]]).view()).unwrap();
        assert!(Cells::new(x(), names("c", 2), names("g", 2)).is_ok());
        let short = Cells::new(x(), names("c", 1), names("g", 2)).unwrap_err().to_string();
        assert!(short.contains("1 cell names for 2 cells"), "{short}");
        let twice = Cells::new(x(), names("c", 2), vec!["g".into(), "g".into()]).unwrap_err().to_string();
        assert!(twice.contains("gene name `g` occurs twice"), "{twice}");
    }

    #[test]
    fn a_missing_column_lists_those_there_are() {
        let x = Csr::from_dense(ndarray::arr2(&[[1.0]]).view()).unwrap();
        let cells = Cells::new(x, names("c", 1), names("g", 1)).unwrap();
        let cells = cells.with_column("tech", Categorical::from_values([Some("a")])).unwrap();
        let message = cells.column("batch").unwrap_err().to_string();
        assert_eq!(message, "there is no obs column `batch`; the columns are: tech");
    }
}
