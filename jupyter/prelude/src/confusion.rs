//! How well called labels agree with true ones.

use std::sync::Arc;

use ndarray::Array2;
use tutti::metrics;

use crate::column::Column;
use crate::display::{Content, Rich, show};
use crate::error::{Error, Result};
use crate::figure::{Figure, failed};
use crate::html::{block, counted, muted};
use crate::shown;
use crate::table::Table;

/// Cells by true and called label.
///
/// # Errors
/// Columns of numbers, of different cells, or without a cell that has both.
pub fn confusion(truth: &Column, called: &Column) -> Result<Confusion> {
    let (of_truth, of_called) = (truth.categorical()?, called.categorical()?);
    if truth.len() != called.len() {
        let (a, b) = (truth.len(), called.len());
        let problem = format!("`{}` has {a} values and `{}` {b}", truth.name(), called.name());
        return Err(Error::usage(format!("{problem}; give two columns of the same cells")));
    }
    if of_truth.codes().iter().zip(of_called.codes()).all(|(t, c)| t.is_none() || c.is_none()) {
        return Err(nothing_to_compare(truth, called));
    }
    Ok(Confusion { inner: Arc::new(metrics::Confusion::new(&of_truth, &of_called)?) })
}

fn nothing_to_compare(truth: &Column, called: &Column) -> Error {
    for column in [truth, called] {
        if column.n_missing() == column.len() {
            let (name, n) = (column.name(), counted(column.len(), "cell"));
            return Error::usage(format!("`{name}` has no value in any of {n}; give a column that is filled"));
        }
    }
    let (a, b) = (truth.name(), called.name());
    Error::usage(format!("no cell has both a value of `{a}` and one of `{b}`; give columns that are filled for the same cells"))
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
        let cells: Vec<i64> = self.inner.counts.iter().map(|row| row.iter().sum::<usize>() as i64).collect();
        let f1: Vec<f64> = self.inner.f1().into_iter().map(|f| f.unwrap_or(f64::NAN)).collect();
        Table::build().text("label", self.inner.levels.clone()).integers("cells", cells).numbers("F1", f1).run()
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
        match self.plot().and_then(|f| f.html()) {
            Ok(figure) => {
                let html = block(&format!("{}<div>{figure}</div>", muted(&brief)));
                Content::text(brief).with_html(html)
            }
            Err(error) => failed(&error),
        }
    }
}

/// What a console shows.
impl std::fmt::Debug for Confusion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        shown::debug(self, &self.brief(), f)
    }
}
