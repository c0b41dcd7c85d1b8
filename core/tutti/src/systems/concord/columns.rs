//! What the columns of obs mean for a run: which are read, and what the mini-batches are made of.

use super::{Concord, ConcordColumns, ConcordConfig};
use crate::data::Cells;
use crate::error::Result;
use crate::sampler::Composition;
use crate::train::Trainer;

impl ConcordColumns {
    /// Names of all columns that a run with these settings reads.
    pub fn used<'a>(&'a self, config: &'a ConcordConfig) -> Vec<&'a str> {
        let named = self.batch.iter().chain(&self.label).chain(config.covariate_embedding_dims.keys());
        let mut used: Vec<&str> = named.map(String::as_str).collect();
        used.sort_unstable();
        used.dedup();
        used
    }
}

impl Concord {
    /// What the mini-batches of the next epoch are made of, by batch.
    ///
    /// # Errors
    /// Where no mini-batches can be formed.
    pub fn composition(trainer: &mut Trainer<'_, Self>, cells: &Cells<'_>, columns: &ConcordColumns) -> Result<Composition> {
        let batches = trainer.mini_batches(trainer.history().len())?;
        let (codes, levels) = match &columns.batch {
            Some(name) => {
                let column = cells.column(name)?.drop_unused();
                (column.complete(name, cells.cell_names())?, column.levels().to_vec())
            }
            None => (vec![0; cells.n_cells()], vec!["all".to_owned()]),
        };
        Ok(Composition::of(&batches, &codes, &levels))
    }
}
