//! Lineage barcodes: which cells descend from which ancestor.

use serde::{Deserialize, Serialize};

use super::{Categorical, Csr};
use crate::error::{Error, Result};
use crate::rng::Rng;

/// Lineages (clones) of cells. A cell has none where no barcode was read, one, or several where its ancestor took up several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineages {
    names: Vec<String>,
    /// Offsets into `codes`, one more than cells.
    offsets: Vec<usize>,
    /// Lineages of each cell, ascending.
    codes: Vec<u32>,
}

/// What there is to learn from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LineageSummary {
    /// Cells.
    pub n_cells: usize,
    /// Cells without a barcode.
    pub n_without: usize,
    /// Cells of several lineages.
    pub n_of_several: usize,
    /// Lineages that have a cell.
    pub n_lineages: usize,
    /// Lineages of a single cell, which form no pair.
    pub n_single: usize,
    /// Cells of the median lineage that has two cells or more.
    pub median_size: usize,
    /// Cells of the largest lineage.
    pub largest_size: usize,
}

impl Lineages {
    /// From one barcode per cell; missing and empty (`""`) mean none.
    pub fn from_column(column: &Categorical) -> Self {
        let read = (0..column.len()).map(|i| column.value(i).filter(|barcode| !barcode.trim().is_empty()));
        let kept = Categorical::from_values(read);
        let cells = kept.codes().iter().map(|code| code.iter().copied().collect());
        Self::from_cells(cells, kept.levels().to_vec())
    }

    /// From a matrix of cells x lineages, such as `X_clone` of CoSpar: each value above 0 is a barcode that was read. `names`: one per
    /// column.
    ///
    /// # Errors
    /// [`Error::Data`] for names that do not fit the columns, or a value below 0, which is no count of a barcode.
    pub fn from_matrix(matrix: &Csr, names: Vec<String>) -> Result<Self> {
        if names.len() != matrix.n_cols() {
            let problem = format!("{} names for {} lineages", names.len(), matrix.n_cols());
            return Err(Error::data(problem, "give one name per column"));
        }
        let below = |i: &usize| matrix.row(*i).1.iter().any(|v| *v < 0.0);
        if let Some(i) = (0..matrix.n_rows()).find(below) {
            let problem = format!("cell number {} has a value below 0, which is no count of a barcode", i + 1);
            return Err(Error::data(problem, "give a matrix of cells x clones, 0 where no barcode was read"));
        }
        let of = |i: usize| {
            let (columns, values) = matrix.row(i);
            columns.iter().zip(values).filter(|(_, v)| **v > 0.0).map(|(c, _)| *c).collect()
        };
        Ok(Self::from_cells((0..matrix.n_rows()).map(of), names))
    }

    fn from_cells(cells: impl Iterator<Item = Vec<u32>>, names: Vec<String>) -> Self {
        let (mut offsets, mut codes) = (vec![0], Vec::new());
        for of_cell in cells {
            codes.extend(of_cell);
            offsets.push(codes.len());
        }
        Self { names, offsets, codes }
    }

    /// Number of cells.
    pub fn n_cells(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Names of the lineages, also of those without a cell.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Lineages of cell `i`, ascending.
    pub fn of(&self, i: usize) -> &[u32] {
        &self.codes[self.offsets[i]..self.offsets[i + 1]]
    }

    /// Whether two cells have a lineage in common.
    pub fn related(&self, i: usize, j: usize) -> bool {
        self.of(i).iter().any(|l| self.of(j).contains(l))
    }

    /// Cells of each lineage, ascending.
    pub fn members(&self) -> Vec<Vec<usize>> {
        let mut members = vec![Vec::new(); self.names.len()];
        for i in 0..self.n_cells() {
            self.of(i).iter().for_each(|l| members[*l as usize].push(i));
        }
        members
    }

    /// Cells of the `n` largest lineages with two cells or more, ascending.
    pub fn cells_of_largest(&self, n: usize) -> Vec<usize> {
        let mut members: Vec<Vec<usize>> = self.members().into_iter().filter(|m| m.len() > 1).collect();
        members.sort_by_key(|m| std::cmp::Reverse(m.len()));
        let mut cells: Vec<usize> = members.into_iter().take(n).flatten().collect();
        cells.sort_unstable();
        cells.dedup();
        cells
    }

    /// The same lineages, in which only the cells `rows` have a barcode.
    pub fn only(&self, rows: &[usize]) -> Self {
        let mut keep = vec![false; self.n_cells()];
        rows.iter().for_each(|i| keep[*i] = true);
        let of = |i: usize| if keep[i] { self.of(i).to_vec() } else { Vec::new() };
        Self::from_cells((0..self.n_cells()).map(of), self.names.clone())
    }

    /// The same with `n` more cells at the end that have no lineage.
    pub fn with_unlabelled(&self, n: usize) -> Self {
        let of = |i: usize| if i < self.n_cells() { self.of(i).to_vec() } else { Vec::new() };
        Self::from_cells((0..self.n_cells() + n).map(of), self.names.clone())
    }

    /// The first lineage of each cell as a column.
    pub fn first(&self) -> Categorical {
        let codes = (0..self.n_cells()).map(|i| self.of(i).first().copied()).collect();
        // Codes are below the number of names by construction.
        Categorical::new(codes, self.names.clone()).unwrap_or_default()
    }

    /// Sizes and what is missing.
    pub fn summary(&self) -> LineageSummary {
        let mut sizes: Vec<usize> = self.members().iter().map(Vec::len).filter(|n| *n > 0).collect();
        sizes.sort_unstable();
        let n_single = sizes.partition_point(|n| *n < 2);
        let pairs = &sizes[n_single..];
        let count = |f: &dyn Fn(usize) -> bool| (0..self.n_cells()).filter(|i| f(self.of(*i).len())).count();
        LineageSummary {
            n_cells: self.n_cells(),
            n_without: count(&|n| n == 0),
            n_of_several: count(&|n| n > 1),
            n_lineages: sizes.len(),
            n_single,
            median_size: pairs.get(pairs.len() / 2).copied().unwrap_or(0),
            largest_size: sizes.last().copied().unwrap_or(0),
        }
    }

    /// Test cells within lineages: of each lineage with at least `min_cells` cells the share `share`, rounded up, at random. What is learned
    /// of a lineage is asked of its other cells.
    pub fn split_within(&self, share: f64, min_cells: usize, rng: &Rng) -> Vec<usize> {
        let mut test = Vec::new();
        for (lineage, members) in self.members().iter().enumerate().filter(|(_, m)| m.len() >= min_cells.max(2)) {
            let n = (share * members.len() as f64).ceil() as usize;
            // One cell stays at least.
            test.extend(rng.stream("split within lineages", 0, lineage as u64).choose(members, n.min(members.len() - 1)));
        }
        test.sort_unstable();
        test.dedup();
        test
    }

    /// Test cells of whole lineages: the share `share` of those with two cells or more, at random. Their cells show whether what is learned
    /// holds for lineages that were never seen. A cell of several lineages is a test cell with the first.
    pub fn split_whole(&self, share: f64, rng: &Rng) -> Vec<usize> {
        let members: Vec<Vec<usize>> = self.members().into_iter().filter(|m| m.len() > 1).collect();
        let all: Vec<usize> = (0..members.len()).collect();
        let n = (share * members.len() as f64).round() as usize;
        let chosen = rng.stream("split of whole lineages", 0, 0).choose(&all, n);
        let mut test: Vec<usize> = chosen.into_iter().flat_map(|l| members[l].iter().copied()).collect();
        test.sort_unstable();
        test.dedup();
        test
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> Lineages {
        let x = ndarray::array![[1.0f32, 0.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
        Lineages::from_matrix(&Csr::from_dense(x.view()).unwrap(), ["a", "b", "c"].map(str::to_owned).to_vec()).unwrap()
    }

    #[test]
    fn a_column_and_a_matrix_say_who_belongs_together() {
        let column = Categorical::from_values([Some("x"), Some(""), None, Some("w"), Some("x")]);
        let lineages = Lineages::from_column(&column);
        assert_eq!(lineages.names(), ["w", "x"]);
        assert_eq!(lineages.members(), [vec![3], vec![0, 4]]);
        assert!(lineages.related(0, 4) && !lineages.related(0, 3) && !lineages.related(1, 2));

        let several = matrix();
        assert_eq!((several.of(1), several.of(2).len()), (&[0u32, 1][..], 0));
        assert!(several.related(0, 1) && several.related(1, 3) && !several.related(0, 3));
        let summary = several.summary();
        assert_eq!((summary.n_without, summary.n_of_several, summary.n_lineages, summary.n_single), (1, 1, 2, 0));
        assert_eq!(several.first().codes(), [Some(0), Some(0), None, Some(1)]);
        assert_eq!(several.only(&[0, 3]).members(), [vec![0], vec![3], vec![]]);
        assert_eq!((several.cells_of_largest(1), several.cells_of_largest(9)), (vec![0, 1], vec![0, 1, 3]));
        let more = several.with_unlabelled(2);
        assert_eq!((more.n_cells(), more.members(), more.of(5).len()), (6, several.members(), 0));
        assert!(Lineages::from_matrix(&Csr::empty(2), vec!["a".into()]).is_err());
        let coordinates = Csr::from_dense(ndarray::array![[0.5f32], [-1.0]].view()).unwrap();
        let refused = Lineages::from_matrix(&coordinates, vec!["a".into()]).unwrap_err().to_string();
        assert!(refused.contains("cell number 2 has a value below 0"), "{refused}");
    }

    #[test]
    fn splits_hold_out_cells_or_lineages() {
        let codes = (0..400).map(|i| Some(format!("{}", i % 20)));
        let lineages = Lineages::from_column(&Categorical::from_values(codes));
        let rng = Rng::new(3);
        let within = lineages.split_within(0.12, 10, &rng);
        // ceil(0.12 * 20) of each lineage.
        assert!(lineages.members().iter().all(|m| m.iter().filter(|i| within.contains(i)).count() == 3));
        assert!(lineages.split_within(0.1, 21, &rng).is_empty());
        let whole = lineages.split_whole(0.25, &rng);
        assert_eq!(whole.len(), 100);
        assert!(lineages.members().iter().all(|m| [0, 20].contains(&m.iter().filter(|i| whole.contains(i)).count())));
        assert_eq!(whole, lineages.split_whole(0.25, &rng));
        assert_ne!(whole, lineages.split_whole(0.25, &Rng::new(4)));
    }
}
