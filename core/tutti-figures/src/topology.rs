//! Persistence diagrams and Betti curves.

use tutti::metrics::{BettiCurve, Interval};

use crate::axes::{Axes, BELOW};
use crate::canvas::Text;
use crate::error::{Error, Result};
use crate::figure::Figure;
use crate::legend::Legend;
use crate::lines::{LinePanel, Series, lines};
use crate::palette::categorical;
use crate::theme;

const SIDE: f64 = 220.0;
const TITLE: f64 = 22.0;

fn name(dim: usize) -> String {
    format!("H{dim}")
}

/// Births and deaths of the classes of each dimension, from 0. Classes that never die lie on the line at the top. The further from the
/// diagonal, the longer a class lives.
///
/// # Errors
/// [`Error::Data`] for diagrams without any class.
pub fn persistence_diagram(diagrams: &[Vec<Interval>], title: &str) -> Result<Figure> {
    let all = || diagrams.iter().flatten();
    if all().next().is_none() {
        return Err(Error::data("the diagrams have no classes", "give an embedding of more points"));
    }
    let last = all().flat_map(|i| [i.birth, i.death]).filter(|v| v.is_finite()).fold(0.0, f64::max);
    let last = if last > 0.0 { last } else { 1.0 };
    let range = (0.0, 1.12 * last);
    let never = 1.08 * last;
    let left = theme::MARGIN + Axes::left(range, false);
    let axes = Axes::new(range, range, ["birth", "death"], [false; 2], [left, theme::MARGIN + TITLE, SIDE, SIDE]);
    let colors = categorical(diagrams.len());
    let legend = Legend::Categories(colors.iter().enumerate().map(|(dim, color)| (name(dim), *color)).collect());
    let size = (left + SIDE + theme::GAP + legend.width(SIDE) + theme::MARGIN, TITLE + SIDE + BELOW + 2.0 * theme::MARGIN);
    Figure::draw(size, Vec::new(), |canvas| {
        let text = Text::new(theme::TITLE).bold();
        canvas.name(title, SIDE, (left, theme::MARGIN + 0.4 * TITLE), &text)?;
        axes.draw(canvas)?;
        canvas.line(&[axes.at((0.0, 0.0)), axes.at((range.1, range.1))], theme::SOFT, 0.8)?;
        if all().any(|i| i.death.is_infinite()) {
            canvas.line(&[axes.at((0.0, never)), axes.at((range.1, never))], theme::SOFT, 0.8)?;
            canvas.text("never", (axes.x.to + 4.0, axes.y.at(never)), &Text::new(9.5).color(theme::SOFT))?;
        }
        for (diagram, color) in diagrams.iter().zip(&colors) {
            for class in diagram {
                let death = if class.death.is_finite() { class.death } else { never };
                canvas.circle(axes.at((class.birth, death)), 2.6, *color, 0.8)?;
            }
        }
        legend.draw(canvas, (axes.x.to + theme::GAP, axes.y.to + 16.0), SIDE)
    })
}

/// Classes alive by length, a panel per dimension and a curve per embedding.
///
/// # Errors
/// [`Error::Data`] for no embeddings, or of different numbers of dimensions.
pub fn betti_curves_figure(embeddings: &[(String, Vec<BettiCurve>)]) -> Result<Figure> {
    let n_dims = embeddings.first().map_or(0, |(_, curves)| curves.len());
    if let Some((name, curves)) = embeddings.iter().find(|(_, curves)| curves.len() != n_dims) {
        return Err(Error::data(format!("`{name}` has {} dimensions, the first {n_dims}", curves.len()), "compute all alike"));
    }
    let panel = |dim: usize| {
        let points = |curve: &BettiCurve| curve.lengths.iter().copied().zip(curve.betti.iter().map(|b| *b as f64)).collect();
        LinePanel {
            title: name(dim),
            axes: ["length".into(), "Betti number".into()],
            series: embeddings.iter().map(|(name, c)| Series { name: name.clone(), points: points(&c[dim]) }).collect(),
            with_points: false,
            stepped: true,
        }
    };
    lines(&(0..n_dims).map(panel).collect::<Vec<_>>())
}
