//! Curves: training histories, trustworthiness, Betti numbers.

use tutti::train::History;

use crate::axes::{Axes, BELOW};
use crate::canvas::{Canvas, Text};
use crate::error::{Error, Result};
use crate::figure::Figure;
use crate::legend::Legend;
use crate::palette::{Rgb, categorical};
use crate::scale::range;
use crate::theme;

/// A curve and its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// Its points, from left to right. Where one is not finite, the curve breaks.
    pub points: Vec<(f64, f64)>,
}

/// One panel of curves.
#[derive(Debug, Clone, PartialEq)]
pub struct LinePanel {
    /// What stands above it.
    pub title: String,
    /// Names of the axes.
    pub axes: [String; 2],
    /// The curves.
    pub series: Vec<Series>,
    /// Marks the points; for curves of few.
    pub with_points: bool,
    /// The curve keeps its value until the next point.
    pub stepped: bool,
}

/// Data part of a panel, in pixels.
const SIZE: (f64, f64) = (200.0, 150.0);
const TITLE: f64 = 22.0;

/// Panels of curves side by side, each with its legend.
///
/// # Errors
/// [`Error::Data`] for no panels or a panel without a finite point.
pub fn lines(panels: &[LinePanel]) -> Result<Figure> {
    if panels.is_empty() {
        return Err(Error::data("there are no panels", "give at least one"));
    }
    let mut x = theme::MARGIN;
    let mut placed = Vec::new();
    for panel in panels {
        let points = || panel.series.iter().flat_map(|s| &s.points).filter(|p| p.0.is_finite() && p.1.is_finite());
        if points().next().is_none() {
            return Err(Error::data(format!("`{}` has no finite points", panel.title), "give at least one"));
        }
        let (xs, ys) = (range(points().map(|p| p.0)), padded_share(range(points().map(|p| p.1))));
        // Marked points do not lie on the axis.
        let xs = if panel.with_points { padded(xs) } else { xs };
        let whole = [points().all(|p| p.0.fract() == 0.0), points().all(|p| p.1.fract() == 0.0)];
        x += Axes::left(ys, whole[1]);
        let axes = Axes::new(xs, ys, [&panel.axes[0], &panel.axes[1]], whole, [x, theme::MARGIN + TITLE, SIZE.0, SIZE.1]);
        let legend = legend(panel);
        x += SIZE.0 + theme::GAP + legend.width(SIZE.1) + if panel.series.len() > 1 { theme::GAP } else { 0.0 };
        placed.push((panel, axes, legend));
    }
    Figure::draw((x - theme::GAP + theme::MARGIN, TITLE + SIZE.1 + BELOW + 2.0 * theme::MARGIN), Vec::new(), |canvas| {
        for (panel, axes, legend) in &placed {
            let title = Text::new(theme::TITLE).bold();
            canvas.name(&panel.title, SIZE.0, (axes.x.from, theme::MARGIN + 0.4 * TITLE), &title)?;
            axes.draw(canvas)?;
            let colors = categorical(panel.series.len());
            panel.series.iter().zip(colors).try_for_each(|(series, color)| curve(canvas, panel, axes, series, color))?;
            legend.draw(canvas, (axes.x.to + theme::GAP, axes.y.to), SIZE.1)?;
        }
        Ok(())
    })
}

/// A twentieth more on both sides, so that no curve runs along the edge, and half of a value that is alone.
fn padded((low, high): (f64, f64)) -> (f64, f64) {
    let more = match high - low {
        0.0 if high == 0.0 => 1.0,
        0.0 => 0.5 * high.abs(),
        spread => 0.05 * spread,
    };
    (low - more, high + more)
}

/// Padded, but a share stays between 0 and 1.
fn padded_share((low, high): (f64, f64)) -> (f64, f64) {
    let (below, above) = padded((low, high));
    (if low >= 0.0 { below.max(0.0) } else { below }, if low >= 0.0 && high <= 1.0 { above.min(1.0) } else { above })
}

fn legend(panel: &LinePanel) -> Legend {
    if panel.series.len() < 2 {
        return Legend::None;
    }
    let names = panel.series.iter().map(|s| s.name.clone());
    Legend::Categories(names.zip(categorical(panel.series.len())).collect())
}

fn curve(canvas: &mut Canvas<'_>, panel: &LinePanel, axes: &Axes<'_>, series: &Series, color: Rgb) -> Result<()> {
    let finite = |p: &(f64, f64)| p.0.is_finite() && p.1.is_finite();
    let parts = series.points.split(|p| !finite(p)).filter(|part| !part.is_empty());
    parts.map(|part| part.iter().map(|p| axes.at(*p)).collect()).try_for_each(|part: Vec<_>| stretch(canvas, panel, part, color))
}

/// A part of a curve without breaks, in pixels.
fn stretch(canvas: &mut Canvas<'_>, panel: &LinePanel, points: Vec<(f64, f64)>, color: Rgb) -> Result<()> {
    let path: Vec<(f64, f64)> = match panel.stepped {
        false => points.clone(),
        true => points.windows(2).flat_map(|w| [w[0], (w[1].0, w[0].1)]).chain(points.last().copied()).collect(),
    };
    canvas.line(&path, color, 1.6)?;
    if panel.with_points || points.len() == 1 {
        points.iter().try_for_each(|p| canvas.circle(*p, 2.6, color, 1.0))?;
    }
    Ok(())
}

/// Loss and its terms by epoch, and the learning rate.
///
/// # Errors
/// [`Error::Data`] for a history without epochs.
pub fn training_history(history: &History) -> Result<Figure> {
    if history.epochs.is_empty() {
        return Err(Error::data("the history has no epochs", "train for at least one"));
    }
    let over = |name: &str, value: &dyn Fn(&tutti::train::EpochRecord) -> Option<f64>| Series {
        name: name.to_owned(),
        points: history.epochs.iter().filter_map(|e| Some((e.epoch as f64, value(e)?))).collect(),
    };
    let mut losses = vec![over("training", &|e| Some(e.loss))];
    if history.epochs.iter().any(|e| e.validation_loss.is_some()) {
        losses.push(over("validation", &|e| e.validation_loss));
    }
    let panel = |title: &str, axis: &str, series| LinePanel {
        title: title.into(),
        axes: ["epoch".into(), axis.into()],
        series,
        with_points: history.epochs.len() <= 40,
        stepped: false,
    };
    let mut panels = vec![panel("Loss", "loss", losses)];
    let names: Vec<&String> = history.epochs[0].terms.keys().collect();
    if names.len() > 1 {
        let term = |name: &&String| over(name, &|e| e.terms.get(*name).copied());
        panels.push(panel("Its terms, unweighted", "value", names.iter().map(term).collect()));
    }
    panels.push(panel("Learning rate", "rate", vec![over("rate", &|e| Some(e.learning_rate))]));
    lines(&panels)
}

/// Trustworthiness by the number of neighbours, a curve per embedding.
///
/// # Errors
/// [`Error::Data`] for no embeddings, or scores for another number of neighbours.
pub fn trustworthiness_curve(n_neighbors: &[usize], embeddings: &[(String, Vec<f64>)]) -> Result<Figure> {
    if let Some((name, scores)) = embeddings.iter().find(|(_, s)| s.len() != n_neighbors.len()) {
        let problem = format!("`{name}` has {} scores for {} numbers of neighbours", scores.len(), n_neighbors.len());
        return Err(Error::data(problem, "give one each"));
    }
    let points = |scores: &[f64]| n_neighbors.iter().map(|k| *k as f64).zip(scores.iter().copied()).collect();
    let series = embeddings.iter().map(|(name, scores)| Series { name: name.clone(), points: points(scores) }).collect();
    let axes = ["neighbours".into(), "trustworthiness".into()];
    lines(&[LinePanel { title: "Neighbourhoods kept".into(), axes, series, with_points: true, stepped: false }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_lies_in_the_middle_at_any_size() {
        assert_eq!(padded((0.01, 0.01)), (0.005, 0.015));
        assert_eq!(padded((-40.0, -40.0)), (-60.0, -20.0));
        assert_eq!(padded((0.0, 0.0)), (-1.0, 1.0));
        assert_eq!(padded_share((0.0, 0.0)), (0.0, 1.0));
        assert_eq!(padded((10.0, 30.0)), (9.0, 31.0));
        assert_eq!(padded_share((0.5, 1.0)), (0.475, 1.0));
    }
}
