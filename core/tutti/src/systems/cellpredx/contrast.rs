//! Neighbours in the query: the partners of NT-Xent, and which cells of a mini-batch it does not push apart.

use std::collections::HashMap;

use ndarray::Array2;

use super::CellPredX;
use crate::data::{CellSource, RowSubset};
use crate::error::Result;
use crate::loss::{Relation, Relations};
use crate::neighbors::{NeighborConfig, Neighbors, nearest_self};
use crate::preprocess::{PcaConfig, pca};

/// Relations of query cells and their partners, `cells`: n cells and then n partners, by row of the data. `neighbors`: of each cell of the data. Two rows are no
/// negatives of each other where one has the cell of the other among its neighbours, or where both are the same cell, which as a partner comes with
/// several others; partners stay positive.
pub(super) fn without_neighbors(cells: &[usize], neighbors: &[Vec<u32>]) -> Relations {
    let mut rows_of: HashMap<u32, Vec<usize>> = HashMap::new();
    cells.iter().enumerate().for_each(|(row, cell)| rows_of.entry(*cell as u32).or_default().push(row));
    let mut relations = Relations::new(cells.len() / 2);
    for (i, cell) in cells.iter().enumerate() {
        for other in neighbors[*cell].iter().chain([&(*cell as u32)]) {
            for j in rows_of.get(other).into_iter().flatten() {
                relations.set(i, *j, Relation::Ignored);
            }
        }
    }
    relations
}

impl CellPredX {
    /// Nearest neighbours of the cells `rows` among themselves, by principal components; each cell finds itself too.
    pub(super) fn neighbors_among(&self, source: &dyn CellSource, rows: &[usize]) -> Result<Neighbors> {
        let (n, seed) = (rows.len(), self.config.seed);
        let most = n.saturating_sub(1).min(source.n_genes());
        let n_neighbors = (self.config.n_neighbors + 1).min(n);
        let search = NeighborConfig { n_neighbors, seed, ..Default::default() };
        if most == 0 {
            return nearest_self(Array2::zeros((n, 1)).view(), &search);
        }
        let config = PcaConfig { n_components: self.config.n_pcs.min(most), seed, ..Default::default() };
        nearest_self(pca(&RowSubset::new(source, rows), &config)?.scores.view(), &search)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn neighbours_of_either_and_the_cell_itself_are_no_negatives() {
        let mut stream = Rng::new(1).stream("neighbours", 0, 0);
        let neighbors: Vec<Vec<u32>> = (0..30).map(|_| (0..3).map(|_| stream.below(30) as u32).collect()).collect();
        let partner = |cell: usize| neighbors[cell][0] as usize;
        let firsts: Vec<usize> = (0..12).collect();
        let cells: Vec<usize> = firsts.iter().copied().chain(firsts.iter().map(|c| partner(*c))).collect();
        let relations = without_neighbors(&cells, &neighbors);
        let near = |a: usize, b: usize| neighbors[a].contains(&(b as u32)) || neighbors[b].contains(&(a as u32));
        let mut counts = [0; 3];
        for i in 0..24 {
            for j in 0..24 {
                let expected = if i == j {
                    Relation::Ignored
                } else if i % 12 == j % 12 {
                    Relation::Positive
                } else if cells[i] == cells[j] || near(cells[i], cells[j]) {
                    Relation::Ignored
                } else {
                    Relation::Negative
                };
                assert_eq!(relations.get(i, j), expected, "{i} {j}");
                counts[expected as usize] += 1;
            }
        }
        assert!(counts.iter().all(|n| *n > 20), "{counts:?}");
    }
}
