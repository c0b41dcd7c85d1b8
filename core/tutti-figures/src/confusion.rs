//! Confusion matrices.

use ndarray::ArrayView2;

use crate::canvas::{Anchor, Text};
use crate::error::{Error, Result};
use crate::figure::Figure;
use crate::legend::Legend;
use crate::palette::{ColorMap, is_dark};
use crate::theme;

const CELL: f64 = 26.0;
/// Height of the name of the scale.
const HEAD: f64 = 22.0;
const NAME_AT_MOST: f64 = 150.0;
/// Cells of a row in which shares are still written.
const WRITTEN: usize = 25;

/// How often each true class (row) was called each class (column), colours by the share of the row. `counts`: [n_true, n_called].
///
/// # Errors
/// [`Error::Data`] for no classes, or names for another number of them.
pub fn confusion_matrix(counts: ArrayView2<'_, usize>, truth: &[String], called: &[String]) -> Result<Figure> {
    let (n_rows, n_columns) = counts.dim();
    if n_rows == 0 || n_columns == 0 || truth.len() != n_rows || called.len() != n_columns {
        let problem = format!("{n_rows} x {n_columns} counts for {} true and {} called classes", truth.len(), called.len());
        return Err(Error::data(problem, "give a name per row and column"));
    }
    let small = Text::new(theme::SMALL);
    let widest = |names: &[String]| names.iter().map(|n| small.width(n).min(NAME_AT_MOST)).fold(0.0, f64::max);
    let (left, above) = (theme::MARGIN + 20.0 + widest(truth) + 6.0, theme::MARGIN + 20.0 + widest(called) + 6.0);
    let (right, bottom) = (left + CELL * n_columns as f64, above + CELL * n_rows as f64);
    let legend = Legend::Values { low: 0.0, high: 1.0, map: ColorMap::Blues };
    // Two rows are not high enough for the scale.
    let legend_height = (bottom - above - HEAD).max(60.0);
    let width = right + theme::GAP + legend.width(legend_height).max(small.bold().width("share")) + theme::MARGIN;
    let height = bottom.max(above + HEAD + legend_height) + theme::MARGIN;
    Figure::draw((width, height), Vec::new(), |canvas| {
        let axis = Text::new(theme::LABEL).bold().anchor(Anchor::Middle);
        canvas.text("called", (0.5 * (left + right), theme::MARGIN + 7.0), &axis)?;
        canvas.text("true", (theme::MARGIN + 7.0, 0.5 * (above + bottom)), &axis.upwards())?;
        for (j, name) in called.iter().enumerate() {
            let x = left + CELL * (j as f64 + 0.5);
            canvas.name(name, NAME_AT_MOST, (x, above - 5.0), &small.upwards())?;
        }
        for (i, name) in truth.iter().enumerate() {
            let y = above + CELL * (i as f64 + 0.5);
            canvas.name(name, NAME_AT_MOST, (left - 6.0, y), &small.anchor(Anchor::End))?;
            let total: usize = counts.row(i).sum();
            for j in 0..n_columns {
                let share = counts[[i, j]] as f64 / total.max(1) as f64;
                let (x, fill) = (left + CELL * j as f64, ColorMap::Blues.at(share));
                canvas.rect((x, y - CELL / 2.0), (x + CELL, y + CELL / 2.0), fill)?;
                if counts[[i, j]] > 0 && n_columns <= WRITTEN {
                    let color = if is_dark(fill) { theme::WHITE } else { theme::INK };
                    let style = Text::new(9.0).color(color).anchor(Anchor::Middle);
                    let text = if share < 0.005 { "<.01".into() } else { format!("{share:.2}").replace("0.", ".") };
                    canvas.text(&text, (x + CELL / 2.0, y), &style)?;
                }
            }
        }
        canvas.frame((left, above), (right, bottom), theme::SOFT, 0.8)?;
        canvas.text("share", (right + theme::GAP, above + 0.3 * HEAD), &small.bold())?;
        legend.draw(canvas, (right + theme::GAP, above + HEAD), legend_height)
    })
}
