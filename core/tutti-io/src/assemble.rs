//! Cells that no file holds as they are: made in memory, with columns added, or some of those of a file.

use std::path::Path;

use ndarray::Axis;
use polars::prelude::{DataFrame, IdxCa, IdxSize, PlSmallStr};
use tutti::data::{Categorical, CellSource, Cells, Csr};
use tutti::preprocess::{Origin, PrepareConfig, Prepared, prepare};
use tutti::simulate::Truth;

use crate::anndata::{AnnData, Matrix};
use crate::column::Column;
use crate::error::{Error, InFile, Result};
use crate::h5ad::{Additions, ObsColumn};

impl AnnData {
    /// Cells in memory. `name` stands for the file in messages.
    ///
    /// # Errors
    /// Names that do not fit the matrix.
    pub fn from_memory(name: &Path, x: Csr, cell_names: Vec<String>, gene_names: Vec<String>) -> Result<Self> {
        crate::h5ad::check_shape(&x, &cell_names, &gene_names, name)?;
        Ok(Self::new(name, Matrix::Memory(x.into()), cell_names, gene_names))
    }

    /// The same with these columns of obs instead of what there was.
    ///
    /// # Errors
    /// A column of another number of cells.
    pub fn with_obs(mut self, columns: Vec<(String, ObsColumn)>) -> Result<Self> {
        self.set_obs(columns.into_iter().map(|(name, column)| (name, to_column(column))).collect())?;
        Ok(self)
    }

    /// The cells `rows`, in memory, in that order, with everything that belongs to them.
    ///
    /// # Errors
    /// A row that there is not; what the matrix fails at.
    pub fn select(&self, rows: &[usize]) -> Result<Self> {
        let n = self.n_cells();
        if let Some(row) = rows.iter().find(|row| **row >= n) {
            return Err(Error::format(&self.path, format!("there is no cell number {row} (of {n}, from 0)"), "give others"));
        }
        let x = match self.has_x() {
            true => {
                let mut x = Csr::empty(self.n_genes());
                self.x.source()?.read_rows(rows, &mut x).in_file(&self.path, "")?;
                Matrix::Memory(x.into())
            }
            false => Matrix::None,
        };
        let index = IdxCa::from_vec(PlSmallStr::EMPTY, rows.iter().map(|row| *row as IdxSize).collect());
        let names = rows.iter().map(|row| self.cell_names[*row].clone()).collect();
        let mut selected = Self::new(&self.path, x, names, self.gene_names.clone());
        selected.obs = self.obs.take(&index).in_file(&self.path, "obs")?;
        selected.var = self.var.clone();
        selected.categories = self.categories.iter().map(|(name, c)| (name.clone(), c.select(rows))).collect();
        selected.obsm = self.obsm.iter().map(|(name, x)| (name.clone(), x.select(Axis(0), rows))).collect();
        Ok(selected)
    }

    /// These cells, in memory, with another matrix of other genes, `x` [n_cells, genes], such as gene activity from peaks. Obs and obsm stay.
    ///
    /// # Errors
    /// Names that do not fit the matrix.
    pub fn with_genes(&self, x: Csr, genes: Vec<String>) -> Result<Self> {
        crate::h5ad::check_shape(&x, &self.cell_names, &genes, &self.path)?;
        let mut other = Self::new(&self.path, Matrix::Memory(x.into()), self.cell_names.clone(), genes);
        (other.obs, other.categories) = (self.obs.clone(), self.categories.clone());
        (other.obsm, other.sparse_obsm) = (self.obsm.clone(), self.sparse_obsm.clone());
        Ok(other)
    }

    /// Writes an .h5ad file of all that is here, `layers` of the same cells and genes, and `additions`, which go before what has the same name.
    ///
    /// # Errors
    /// As [`crate::write_h5ad`].
    pub fn write(&self, path: &Path, layers: &[(&str, &dyn CellSource)], additions: &Additions) -> Result<()> {
        let x = if self.has_x() { Some(self.x.source()?) } else { None };
        let genes = (&self.gene_names[..], &self.var);
        self.write_with(path, genes, x.as_deref(), layers, additions)
    }

    /// Writes an .h5ad file of these cells with another matrix of other genes, `x` [n_cells, genes], such as gene activity from peaks. Obs and obsm stay.
    ///
    /// # Errors
    /// As [`crate::write_h5ad`].
    pub fn write_genes(&self, path: &Path, genes: &[String], x: &dyn CellSource, additions: &Additions) -> Result<()> {
        self.write_with(path, (genes, &DataFrame::empty_with_height(genes.len())), Some(x), &[], additions)
    }

    fn write_with(
        &self,
        path: &Path,
        (genes, var): (&[String], &DataFrame),
        x: Option<&dyn CellSource>,
        layers: &[(&str, &dyn CellSource)],
        additions: &Additions,
    ) -> Result<()> {
        let (new_obs, new_obsm) = (additions.obs.iter().cloned(), additions.obsm.iter().cloned());
        let is_new = |name: &String| additions.obsm.iter().any(|(n, _)| n == name);
        let categories = self.categories.iter().map(|(name, c)| (name.clone(), ObsColumn::Levels(c.clone())));
        let all = Additions {
            // The table of obs has categories as text, without the order of their levels; later columns go before earlier ones.
            obs: categories.chain(new_obs).collect(),
            obsm: self.obsm.iter().filter(|(n, _)| !is_new(n)).map(|(n, x)| (n.clone(), x.clone())).chain(new_obsm).collect(),
            uns: additions.uns.clone(),
        };
        crate::h5ad::write_matrices(path, (&self.cell_names, genes), (&self.obs, var), x, layers, &all)
    }

    /// Cells of this file, normalised where the values are counts and with the genes picked, as every front end trains on them. `cells` are
    /// those of [`AnnData::cells`], with whatever columns; `choose` says in messages how the user chooses other values. The notes of the
    /// reader come first. A matrix on disk stays there.
    ///
    /// # Errors
    /// As [`prepare`].
    pub fn prepare(
        &self,
        cells: &Cells<'static>,
        config: &PrepareConfig<'_>,
        choose: &str,
    ) -> tutti::Result<(Cells<'static>, Prepared)> {
        let config = PrepareConfig { on_demand: matches!(self.x, Matrix::Disk(_)), ..*config };
        let file = self.path.display().to_string();
        let (cells, mut prepared) = prepare(cells, &config, Origin { name: &file, choose })?;
        prepared.notes.splice(..0, self.notes.iter().cloned());
        Ok((cells, prepared))
    }
}

impl From<Truth> for ObsColumn {
    fn from(truth: Truth) -> Self {
        match truth {
            Truth::Category(column) => Self::Levels(column),
            Truth::Number(values) => Self::Float(values),
        }
    }
}

fn to_column(column: ObsColumn) -> Column {
    match column {
        ObsColumn::Float(values) => Column::Float(values.into_iter().map(|v| v.is_finite().then_some(f64::from(v))).collect()),
        ObsColumn::Category(values) => Column::Category(Categorical::from_values(values)),
        ObsColumn::Levels(column) => Column::Category(column),
        ObsColumn::Text(values) => Column::Text(values),
        ObsColumn::Bool(values) => Column::Bool(values.into_iter().map(Some).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selected_cells_bring_everything_that_is_theirs() {
        let x = Csr::from_dense(ndarray::arr2(&[[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]]).view()).unwrap();
        let names = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect::<Vec<_>>();
        let data = AnnData::from_memory(Path::new("made up"), x, names("c", 3), names("g", 2)).unwrap();
        let batch = Categorical::from_values(["a", "b", "b"].map(Some));
        let columns =
            vec![("batch".to_owned(), ObsColumn::Levels(batch)), ("n".to_owned(), ObsColumn::Float(vec![0.5, 1.0, f32::NAN]))];
        let data = data.with_obs(columns).unwrap();
        let some = data.select(&[2, 0]).unwrap();
        assert_eq!(some.cell_names(), ["c2", "c0"]);
        assert_eq!(some.categorical("batch").unwrap().value(0), Some("b"));
        assert_eq!(some.obs().column("n").unwrap().null_count(), 1);
        let Matrix::Memory(x) = some.x() else { panic!("in memory") };
        assert_eq!(x.to_dense(), ndarray::arr2(&[[3.0, 4.0], [1.0, 0.0]]));
        let other =
            data.with_genes(Csr::from_dense(ndarray::arr2(&[[7.0], [8.0], [9.0]]).view()).unwrap(), names("h", 1)).unwrap();
        assert_eq!((other.gene_names(), other.cell_names()), (&names("h", 1)[..], data.cell_names()));
        assert_eq!(other.categorical("batch").unwrap().value(0), Some("a"));
        assert!(data.with_genes(Csr::empty(1), names("h", 1)).is_err());
        assert!(data.select(&[3]).unwrap_err().to_string().contains("no cell number 3"));
        let short = data.with_obs(vec![("n".to_owned(), ObsColumn::Bool(vec![true]))]).unwrap_err().to_string();
        assert!(short.contains("has 1 values for 3 rows"), "{short}");
    }
}
