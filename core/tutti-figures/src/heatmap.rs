//! Heatmaps with a tree and bars of annotation.

use ndarray::ArrayView2;
use tutti::data::Categorical;
use tutti::downstream::{Hierarchy, Merge};

use crate::canvas::{Anchor, Canvas, Text};
use crate::error::{Error, Result};
use crate::figure::Figure;
use crate::legend::{Legend, entries};
use crate::palette::{ColorMap, MISSING, Rgb, categorical};
use crate::scale::{Scale, range};
use crate::theme;

/// What is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Heatmap<'a> {
    /// Values, [n_rows, n_columns]. Those that are not finite are grey.
    pub values: ArrayView2<'a, f64>,
    /// Names of the rows, from the first row of `values` on; empty writes none.
    pub rows: &'a [String],
    /// Names of the columns; empty writes none.
    pub columns: &'a [String],
    /// A tree over the rows, which also orders them; `None` keeps their order.
    pub tree: Option<&'a Hierarchy>,
    /// Bars beside the rows: a name, and a category of each row.
    pub annotations: &'a [(&'a str, &'a Categorical)],
    /// Colours of the values. The middle of the diverging map is 0.
    pub map: ColorMap,
    /// What the values are, e.g. `z-score`; stands over their colours.
    pub value_name: &'a str,
}

const LARGEST: (f64, f64) = (420.0, 420.0);
const CELL: f64 = 18.0;
const TREE: f64 = 60.0;
const BAR: f64 = 12.0;
const NAME_AT_MOST: f64 = 130.0;
/// Height of the name of a legend.
const HEAD: f64 = 22.0;
/// Height or width of a cell under which names would overlap.
const NAMED: f64 = 9.0;

/// A heatmap.
///
/// # Errors
/// [`Error::Data`] for no values, or names, annotations or a tree of another number of rows or columns.
pub fn heatmap(what: &Heatmap<'_>) -> Result<Figure> {
    let (n_rows, n_columns) = what.values.dim();
    check(what)?;
    let (width, height) = ((CELL * n_columns as f64).min(LARGEST.0), (CELL * n_rows as f64).min(LARGEST.1));
    let cell = (width / n_columns as f64, height / n_rows as f64);
    let order: Vec<usize> = what.tree.map_or_else(|| (0..n_rows).collect(), |tree| tree.order.clone());
    let small = Text::new(theme::SMALL.min(cell.1.max(7.0)));
    let widest = |names: &[String]| names.iter().map(|n| small.width(n).min(NAME_AT_MOST)).fold(0.0, f64::max);
    let with_rows = !what.rows.is_empty() && cell.1 >= NAMED;
    let with_columns = !what.columns.is_empty() && cell.0 >= NAMED;

    let tree_right = theme::MARGIN + if what.tree.is_some() { TREE } else { 0.0 };
    let left = tree_right + 4.0 + (BAR + 3.0) * what.annotations.len() as f64;
    let names_below = if with_columns { widest(what.columns) + 8.0 } else { 0.0 };
    let bars_above = what.annotations.iter().map(|(name, _)| small.width(name)).fold(0.0, f64::max);
    let top = theme::MARGIN + if what.annotations.is_empty() { 0.0 } else { bars_above + 6.0 };
    let names_right = left + width + if with_rows { widest(what.rows) + 8.0 } else { 0.0 };
    let (low, high) = limits(what);
    let scale = Scale::new(low, high, 0.0, 1.0);
    let colors = annotation_colors(what.annotations);
    let mut legends = vec![(what.value_name, Legend::Values { low: scale.low, high: scale.high, map: what.map })];
    legends.extend(what.annotations.iter().zip(&colors).map(|((name, column), colors)| (*name, entries(column, colors))));
    let legend_height = (height + names_below).max(130.0);
    let (places, legend_width) = stacked(&legends, legend_height);
    let size = (
        names_right + theme::GAP + legend_width + theme::MARGIN,
        top + (height + names_below).max(legend_height) + theme::MARGIN,
    );
    Figure::draw(size, Vec::new(), |canvas| {
        if let Some(tree) = what.tree {
            dendrogram(canvas, tree, (theme::MARGIN, tree_right), (top, cell.1))?;
        }
        for (place, row) in order.iter().enumerate() {
            let y = top + cell.1 * place as f64;
            for (a, ((_, column), colors)) in what.annotations.iter().zip(&colors).enumerate() {
                let x = tree_right + 4.0 + (BAR + 3.0) * a as f64;
                let color = column.codes()[*row].map_or(MISSING, |c| colors[c as usize]);
                // A little over the edge, so that no seam shows.
                canvas.rect((x, y), (x + BAR, y + cell.1 + 0.2), color)?;
            }
            for j in 0..n_columns {
                let value = what.values[[*row, j]];
                let color = if value.is_finite() { what.map.at(scale.at(value)) } else { MISSING };
                let x = left + cell.0 * j as f64;
                canvas.rect((x, y), (x + cell.0 + 0.2, y + cell.1 + 0.2), color)?;
            }
            if with_rows {
                canvas.name(&what.rows[*row], NAME_AT_MOST, (left + width + 5.0, y + 0.5 * cell.1), &small)?;
            }
        }
        for (a, (name, _)) in what.annotations.iter().enumerate() {
            let x = tree_right + 4.0 + (BAR + 3.0) * a as f64 + 0.5 * BAR;
            canvas.text(name, (x, top - 4.0), &small.upwards())?;
        }
        if with_columns {
            for (j, name) in what.columns.iter().enumerate() {
                let at = (left + cell.0 * (j as f64 + 0.5), top + height + 5.0);
                canvas.name(name, NAME_AT_MOST, at, &small.anchor(Anchor::End).upwards())?;
            }
        }
        for ((name, legend), (x, y)) in legends.iter().zip(places) {
            let at = (names_right + theme::GAP + x, top + y);
            canvas.text(name, (at.0, at.1 + 0.3 * HEAD), &Text::new(theme::SMALL).bold())?;
            legend.draw(canvas, (at.0, at.1 + HEAD), legend_height - HEAD)?;
        }
        Ok(())
    })
}

fn check(what: &Heatmap<'_>) -> Result<()> {
    let (n_rows, n_columns) = what.values.dim();
    if n_rows == 0 || n_columns == 0 {
        return Err(Error::data("the heatmap has no values", "give at least one row and column"));
    }
    let wrong = |what: &str, n: usize, of: usize| Error::data(format!("{n} {what} for {of}"), "give one for each");
    for (name, n, of) in [("names of rows", what.rows.len(), n_rows), ("names of columns", what.columns.len(), n_columns)] {
        if n != 0 && n != of {
            return Err(wrong(name, n, of));
        }
    }
    if let Some((name, column)) = what.annotations.iter().find(|(_, c)| c.len() != n_rows) {
        return Err(wrong(&format!("categories of `{name}`"), column.len(), n_rows));
    }
    match what.tree {
        Some(tree) if tree.order.len() != n_rows || tree.merges.len() + 1 != n_rows => {
            Err(wrong("leaves of the tree", tree.order.len(), n_rows))
        }
        _ => Ok(()),
    }
}

fn limits(what: &Heatmap<'_>) -> (f64, f64) {
    let (low, high) = range(what.values.iter().copied().filter(|v| v.is_finite()));
    match what.map {
        ColorMap::Diverging => (-high.abs().max(low.abs()), high.abs().max(low.abs())),
        _ => (low, high),
    }
}

/// Colours of the levels of each bar, which no other bar has while there are colours enough.
fn annotation_colors(annotations: &[(&str, &Categorical)]) -> Vec<Vec<Rgb>> {
    let mut colors = categorical(annotations.iter().map(|(_, column)| column.n_levels()).sum()).into_iter();
    annotations.iter().map(|(_, column)| colors.by_ref().take(column.n_levels()).collect()).collect()
}

/// Places of legends with their names, one below the other in columns of at most `height`, and the width of all.
fn stacked(legends: &[(&str, Legend)], height: f64) -> (Vec<(f64, f64)>, f64) {
    let (mut x, mut y, mut widest) = (0.0, 0.0, 0.0f64);
    let mut places = Vec::new();
    for (name, legend) in legends {
        let needed = HEAD + legend.height(height - HEAD);
        if y > 0.0 && y + needed > height {
            (x, y, widest) = (x + widest + theme::GAP, 0.0, 0.0);
        }
        places.push((x, y));
        y += needed + theme::GAP;
        widest = widest.max(legend.width(height - HEAD)).max(Text::new(theme::SMALL).bold().width(name));
    }
    (places, x + widest)
}

/// The tree, its root at the left: each merge is a bracket at its height.
fn dendrogram(canvas: &mut Canvas<'_>, tree: &Hierarchy, (left, right): (f64, f64), (top, row): (f64, f64)) -> Result<()> {
    let n = tree.order.len();
    let highest = tree.merges.iter().map(|m| m.height).fold(0.0, f64::max);
    let x = Scale::new(0.0, if highest > 0.0 { highest } else { 1.0 }, right, left);
    // Middle and height of each group.
    let mut groups = vec![(0.0, 0.0); n];
    for (place, leaf) in tree.order.iter().enumerate() {
        groups[*leaf] = (top + row * (place as f64 + 0.5), 0.0);
    }
    for Merge { a, b, height, .. } in &tree.merges {
        let ((ya, ha), (yb, hb)) = (groups[*a], groups[*b]);
        let bracket = [(x.at(ha), ya), (x.at(*height), ya), (x.at(*height), yb), (x.at(hb), yb)];
        canvas.line(&bracket, theme::SOFT, 0.9)?;
        groups.push((0.5 * (ya + yb), *height));
    }
    Ok(())
}
