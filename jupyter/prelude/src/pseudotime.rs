//! How far cells have come from a root.

use tutti::downstream::{diffusion_pseudotime, graph_pseudotime, medoid};
use tutti::neighbors::{NeighborConfig, nearest_self};
use tutti::threads::Threads;

use crate::builder::changed;
use crate::column::{Column, ColumnRef, Values};
use crate::embedding::Embedding;
use crate::error::{Error, Result, find};
use crate::kernel::stoppable;
use crate::plot::resolve;

/// Pseudotime of cells, 0 at the root and 1 at the far end: `pseudotime(&z).root_in("cell_type", "stem").run()?`.
///
/// Diffusion pseudotime on the graph of 15 neighbours, as scanpy has it by default. Cells that cannot be reached from the root are missing.
pub fn pseudotime(embedding: impl Into<Embedding>) -> Pseudotime {
    Pseudotime { embedding: embedding.into(), root: None, n_neighbors: 15, n_components: 10, by_path: false, threads: 0 }
}

/// From where and how pseudotime is measured; [`Pseudotime::run`] does it.
#[derive(Clone)]
pub struct Pseudotime {
    embedding: Embedding,
    root: Option<Root>,
    n_neighbors: usize,
    n_components: usize,
    by_path: bool,
    threads: usize,
}

#[derive(Clone)]
enum Root {
    Cell(usize),
    Named(String),
    Within(ColumnRef, String),
}

impl Pseudotime {
    /// The root is the cell at this place, from 0.
    pub fn root(&self, cell: usize) -> Pseudotime {
        changed(self, |run| run.root = Some(Root::Cell(cell)))
    }

    /// The root is the cell of this name.
    pub fn root_cell(&self, name: &str) -> Pseudotime {
        changed(self, |run| run.root = Some(Root::Named(name.to_owned())))
    }

    /// The root is the cell in the middle of the cells of this level of a column.
    pub fn root_in(&self, column: impl Into<ColumnRef>, level: &str) -> Pseudotime {
        changed(self, |run| run.root = Some(Root::Within(column.into(), level.to_owned())))
    }

    /// Neighbours per cell in the graph, the cell itself among them. Default 15.
    pub fn n_neighbors(&self, n: usize) -> Pseudotime {
        changed(self, |run| run.n_neighbors = n)
    }

    /// Diffusion components that are used. Default 10.
    pub fn n_components(&self, n: usize) -> Pseudotime {
        changed(self, |run| run.n_components = n)
    }

    /// Length of the shortest path over the graph instead of diffusion.
    pub fn shortest_path(&self) -> Pseudotime {
        changed(self, |run| run.by_path = true)
    }

    /// Threads; the result does not depend on them. Default: all processors.
    pub fn threads(&self, n: usize) -> Pseudotime {
        changed(self, |run| run.threads = n)
    }

    /// Measures it.
    ///
    /// # Errors
    /// No root, or one that there is not.
    pub fn run(&self) -> Result<Column> {
        let z = &self.embedding;
        let metric = z.raw_metric();
        let from = |root: usize| -> tutti::Result<_> {
            if self.by_path {
                let n_neighbors = self.n_neighbors.min(z.n_cells());
                let config = NeighborConfig { n_neighbors, metric, ..Default::default() };
                return graph_pseudotime(&nearest_self(z.array().view(), &config)?, root);
            }
            diffusion_pseudotime(&z.graph(self.n_neighbors, metric, 0)?, root, self.n_components)
        };
        let (root, times) = stoppable(|| {
            let root = self.place()?;
            Ok((root, Threads::new(self.threads)?.run(|| from(root))?))
        })?;
        let names = z.cell_names();
        let note = format!("from cell {}", names.get(root).map_or("", String::as_str));
        let values = times.into_iter().map(|t| t.unwrap_or(f32::NAN)).collect();
        Ok(Column::new("pseudotime", Values::Number(values), Some(note)))
    }

    fn place(&self) -> Result<usize> {
        let z = &self.embedding;
        match &self.root {
            None => {
                let ways = "`.root_in(\"COLUMN\", \"LEVEL\")`, `.root_cell(\"NAME\")` or `.root(PLACE)`";
                Err(Error::usage(format!("where does pseudotime begin? Give the root with {ways}")))
            }
            Some(Root::Cell(cell)) => Ok(*cell),
            Some(Root::Named(name)) => find("cell", name, &z.cell_names()),
            Some(Root::Within(column, level)) => {
                let column = resolve(z, column)?.categorical()?;
                let code = find("level", level, column.levels())?;
                let group: Vec<usize> = (0..column.len()).filter(|i| column.codes()[*i] == Some(code as u32)).collect();
                Ok(medoid(z.array().view(), &group)?)
            }
        }
    }
}
