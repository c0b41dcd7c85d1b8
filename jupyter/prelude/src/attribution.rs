//! Which genes drive which dimension of an embedding.

use std::sync::Arc;

use ndarray::Array2;

use crate::display::{Content, Rich, show};
use crate::embedding::short;
use crate::error::{Error, Result};
use crate::figure::Figure;
use crate::html::number;
use crate::shown;
use crate::table::Table;

/// Mean gradients, [n_genes, n_dimensions]. Cheap to clone.
#[derive(Clone)]
pub struct Attribution {
    inner: Arc<Inner>,
}

struct Inner {
    values: Array2<f32>,
    genes: Vec<String>,
    what: String,
}

/// Genes that are named per dimension, and dimensions that are listed.
const TOP: usize = 5;

impl Attribution {
    pub(crate) fn new(values: Array2<f32>, genes: Vec<String>, what: &str) -> Self {
        Self { inner: Arc::new(Inner { values, genes, what: short(what) }) }
    }

    /// Number of genes.
    pub fn n_genes(&self) -> usize {
        self.inner.genes.len()
    }

    /// Number of dimensions.
    pub fn n_dimensions(&self) -> usize {
        self.inner.values.ncols()
    }

    /// The gradients, [n_genes, n_dimensions].
    pub fn array(&self) -> &ndarray::Array2<f32> {
        &self.inner.values
    }

    /// The `n` genes that raise a dimension, from 0, most, and those that lower it most.
    ///
    /// # Errors
    /// For a dimension that there is not.
    pub fn top(&self, dimension: usize, n: usize) -> Result<Table> {
        self.checked(dimension)?;
        let order = self.order(dimension);
        let n = n.min(order.len() / 2 + order.len() % 2);
        let chosen: Vec<usize> =
            order.iter().take(n).chain(order.iter().skip(order.len().saturating_sub(n).max(n))).copied().collect();
        let value = |g: &usize| f64::from(self.inner.values[[*g, dimension]]);
        Table::build()
            .text("gene", chosen.iter().map(|g| self.inner.genes[*g].clone()).collect::<Vec<_>>())
            .numbers("attribution", chosen.iter().map(value).collect::<Vec<_>>())
            .run()
    }

    /// All gradients, a row per gene.
    ///
    /// # Errors
    /// None for what this crate made.
    pub fn table(&self) -> Result<Table> {
        let columns = self.inner.values.columns().into_iter().enumerate();
        let table = Table::build().text("gene", self.inner.genes.clone());
        let named = |(i, c): (usize, ndarray::ArrayView1<'_, f32>)| {
            (format!("{}_{}", self.inner.what, i + 1), c.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>())
        };
        columns.map(named).fold(table, |t, (name, values)| t.numbers(&name, values)).run()
    }

    /// The genes of largest size of the first dimensions, as a heatmap: `n_genes` per dimension, of `n_dimensions` dimensions.
    ///
    /// # Errors
    /// For no genes or dimensions.
    pub fn heatmap(&self, n_genes: usize, n_dimensions: usize) -> Result<Figure> {
        let dimensions = n_dimensions.min(self.n_dimensions());
        let mut genes: Vec<usize> = Vec::new();
        for d in 0..dimensions {
            let mut order = self.order(d);
            order.sort_by(|a, b| self.inner.values[[*b, d]].abs().total_cmp(&self.inner.values[[*a, d]].abs()));
            genes.extend(order.iter().take(n_genes).filter(|g| !genes.contains(g)).copied().collect::<Vec<_>>());
        }
        let values = Array2::from_shape_fn((genes.len(), dimensions), |(i, d)| f64::from(self.inner.values[[genes[i], d]]));
        let rows: Vec<String> = genes.iter().map(|g| self.inner.genes[*g].clone()).collect();
        let columns: Vec<String> = (0..dimensions).map(|d| format!("{} {}", self.inner.what, d + 1)).collect();
        let figure = tutti_figures::heatmap(&tutti_figures::Heatmap {
            values: values.view(),
            rows: &rows,
            columns: &columns,
            tree: None,
            annotations: &[],
            map: tutti_figures::ColorMap::Diverging,
            value_name: "attribution",
        })?;
        Ok(Figure::new("gene attribution", figure))
    }

    /// Shows the leading genes of each dimension; notebooks call this for the last expression of a cell.
    pub fn evcxr_display(&self) {
        show(self);
    }

    fn checked(&self, dimension: usize) -> Result<()> {
        if dimension >= self.n_dimensions() {
            let n = self.n_dimensions();
            return Err(Error::usage(format!("there is no dimension {dimension}; there are {n}, from 0")));
        }
        Ok(())
    }

    /// Genes from the largest value of a dimension to the smallest.
    fn order(&self, dimension: usize) -> Vec<usize> {
        let values = self.inner.values.column(dimension);
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
        order
    }

    fn brief(&self) -> Result<Table> {
        let n = self.n_dimensions();
        let names = |genes: &mut dyn Iterator<Item = &usize>| {
            genes.take(TOP).map(|g| self.inner.genes[*g].clone()).collect::<Vec<_>>().join(", ")
        };
        let (mut up, mut down, mut largest) = (Vec::new(), Vec::new(), Vec::new());
        for d in 0..n {
            let order = self.order(d);
            let positive = order.iter().filter(|g| self.inner.values[[**g, d]] > 0.0);
            let negative = order.iter().rev().filter(|g| self.inner.values[[**g, d]] < 0.0);
            up.push(names(&mut { positive }));
            down.push(names(&mut { negative }));
            largest.push(order.iter().map(|g| f64::from(self.inner.values[[*g, d]]).abs()).fold(0.0, f64::max));
        }
        Table::build()
            .text("dimension", (1..=n).map(|d| format!("{} {d}", self.inner.what)).collect::<Vec<_>>())
            .text("raised by", up)
            .text("lowered by", down)
            .numbers("largest", largest)
            .run()
    }
}

impl Rich for Attribution {
    fn content(&self) -> Content {
        self.brief().map_or_else(|e| Content::text(e.to_string()), |t| t.content())
    }
}

/// What a console shows.
impl std::fmt::Debug for Attribution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let largest = self.inner.values.iter().fold(0.0f32, |a, v| a.max(v.abs()));
        let (genes, dimensions) = (self.n_genes(), self.n_dimensions());
        let text = format!("attribution of {genes} genes to {dimensions} dimensions, at most {}", number(f64::from(largest)));
        shown::debug(self, &text, f)
    }
}
