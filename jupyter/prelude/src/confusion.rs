//! How well called labels agree with true ones.

use std::sync::Arc;

use ndarray::Array2;
use tutti::metrics;

use crate::column::Column;
use crate::display::{Content, Rich, show};
use crate::error::Result;
use crate::figure::{Figure, failed};
use crate::html::{block, muted};
use crate::table::Table;

/// Cells by true and called label.
///
/// # Errors
/// Columns of numbers, of different cells, or without a cell that has both.
pub fn confusion(truth: &Column, called: &Column) -> Result<Confusion> {
    let found = metrics::Confusion::new(&truth.categorical()?, &called.categorical()?)?;
    Ok(Confusion { inner: Arc::new(found) })
}

/// Counts of cells by true and called label. Cheap to clone.
#[derive(Clone)]
pub struct Confusion {
    inner: Arc<metrics::Confusion>,
}

impl Confusion {
    /// Share of cells called right.
    pub fn accuracy(&self) -> f64 {
        self.inner.accuracy()
    }

    /// Mean over the true labels of the share called right.
    pub fn balanced_accuracy(&self) -> f64 {
        self.inner.balanced_accuracy()
    }

    /// Mean over the labels of F1.
    pub fn macro_f1(&self) -> f64 {
        self.inner.macro_f1()
    }

    /// A row per label: its cells, and F1.
    ///
    /// # Errors
    /// None for what this crate made.
    pub fn table(&self) -> Result<Table> {
        let cells = self.inner.counts.iter().map(|row| row.iter().sum::<usize>() as i64).collect();
        let f1 = self.inner.f1().into_iter().map(|f| f.unwrap_or(f64::NAN)).collect();
        Table::build().text("label", self.inner.levels.clone()).integers("cells", cells).numbers("F1", f1).done()
    }

    /// The matrix; colours are shares of the row.
    ///
    /// # Errors
    /// A fault of the drawing.
    pub fn plot(&self) -> Result<Figure> {
        let (counts, levels) = (&self.inner.counts, &self.inner.levels);
        // Rows are labels that are true somewhere, columns those called somewhere.
        let rows: Vec<usize> = (0..levels.len()).filter(|i| counts[*i].iter().sum::<usize>() > 0).collect();
        let columns: Vec<usize> = (0..levels.len()).filter(|j| counts.iter().any(|row| row[*j] > 0)).collect();
        let shown = Array2::from_shape_fn((rows.len(), columns.len()), |(i, j)| counts[rows[i]][columns[j]]);
        let names = |of: &[usize]| of.iter().map(|i| levels[*i].clone()).collect::<Vec<String>>();
        let figure = tutti_figures::confusion_matrix(shown.view(), &names(&rows), &names(&columns))?;
        Ok(Figure::new("confusion matrix", figure))
    }

    /// Shows the matrix; notebooks call this for the last expression of a cell.
    pub fn evcxr_display(&self) {
        show(self);
    }

    fn brief(&self) -> String {
        let (a, b, f) = (self.accuracy(), self.balanced_accuracy(), self.macro_f1());
        format!("accuracy {a:.3}, balanced accuracy {b:.3}, macro F1 {f:.3}")
    }
}

impl Rich for Confusion {
    fn content(&self) -> Content {
        let brief = self.brief();
        match self.plot().and_then(|f| f.svg()) {
            Ok(svg) => {
                let html = block(&format!("{}<div>{svg}</div>", muted(&brief)));
                Content::text(brief).with_html(html)
            }
            Err(error) => failed(&error),
        }
    }
}

/// What a console shows.
impl std::fmt::Debug for Confusion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.brief())
    }
}
