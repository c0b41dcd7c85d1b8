//! Two axes with numbers.

use crate::canvas::{Anchor, Canvas, Text};
use crate::error::Result;
use crate::scale::{Scale, tick_text, ticks};
use crate::theme;

/// Axes along the lower and left side of an area; the area is what is left for the data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axes<'a> {
    pub(crate) x: Scale,
    pub(crate) y: Scale,
    pub(crate) names: [&'a str; 2],
    /// Whether x and y are counts, whose ticks are whole numbers.
    pub(crate) whole: [bool; 2],
}

/// Room below the data for numbers and the name of the axis.
pub(crate) const BELOW: f64 = 36.0;

impl<'a> Axes<'a> {
    /// Axes over ranges of the data, in an area x, y, width, height.
    pub(crate) fn new(x: (f64, f64), y: (f64, f64), names: [&'a str; 2], whole: [bool; 2], area: [f64; 4]) -> Self {
        let [left, top, width, height] = area;
        Self { x: Scale::new(x.0, x.1, left, left + width), y: Scale::new(y.0, y.1, top + height, top), names, whole }
    }

    /// Room left of the data for the numbers of this range and the name of the axis.
    pub(crate) fn left(y: (f64, f64), whole: bool) -> f64 {
        let (text, all) = (Text::new(theme::SMALL), marks(y, whole));
        let widest = all.iter().map(|t| text.width(&tick_text(*t, &all))).fold(0.0, f64::max);
        widest + 7.0 + 1.6 * theme::LABEL
    }

    pub(crate) fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (self.x.at(x), self.y.at(y))
    }

    pub(crate) fn draw(&self, canvas: &mut Canvas<'_>) -> Result<()> {
        let (left, right, bottom, top) = (self.x.from, self.x.to, self.y.from, self.y.to);
        let (small, name) = (Text::new(theme::SMALL), Text::new(theme::LABEL).anchor(Anchor::Middle));
        let (xs, ys) = (marks((self.x.low, self.x.high), self.whole[0]), marks((self.y.low, self.y.high), self.whole[1]));
        for y in &ys {
            let at = self.y.at(*y);
            canvas.line(&[(left, at), (right, at)], theme::GRID, 0.8)?;
            canvas.text(&tick_text(*y, &ys), (left - 6.0, at), &small.anchor(Anchor::End))?;
        }
        canvas.line(&[(left, top), (left, bottom), (right, bottom)], theme::INK, 1.0)?;
        for x in &xs {
            let at = self.x.at(*x);
            canvas.line(&[(at, bottom), (at, bottom + 3.5)], theme::INK, 1.0)?;
            canvas.text(&tick_text(*x, &xs), (at, bottom + 11.0), &small.anchor(Anchor::Middle))?;
        }
        canvas.text(self.names[0], (0.5 * (left + right), bottom + 27.0), &name)?;
        let x = left - Self::left((self.y.low, self.y.high), self.whole[1]) + 0.5 * theme::LABEL;
        canvas.text(self.names[1], (x, 0.5 * (top + bottom)), &name.upwards())
    }
}

fn marks((low, high): (f64, f64), whole: bool) -> Vec<f64> {
    let mut all = ticks(low, high, 5);
    all.retain(|t| !whole || (t - t.round()).abs() < 1e-9);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_whole_ticks() {
        assert_eq!(marks((0.0, 2.1), true), [0.0, 1.0, 2.0]);
        assert_eq!(marks((0.0, 120.0), true), marks((0.0, 120.0), false));
        assert_eq!(marks((0.5, 1.5), true), [1.0]);
    }
}
