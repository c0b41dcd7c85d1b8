//! Drawing in pixels with fractions, on the SVG backend of plotters.

use std::sync::Once;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontTransform, TextStyle, register_font};

use crate::error::{Error, Result};
use crate::palette::Rgb;
use crate::theme;

/// Units of the backend, which counts in whole numbers, per pixel.
pub(crate) const UNITS: f64 = 10.0;

/// Which point of a text lies at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// Height of a line of the font over its size. plotters measures text as if the size were that of a line, SVG draws it as that of the letters.
const LINE: f64 = 1.257;

/// How a text looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Text {
    pub(crate) size: f64,
    pub(crate) bold: bool,
    pub(crate) color: Rgb,
    pub(crate) anchor: Anchor,
    /// Turned to be read from below upwards.
    pub(crate) upwards: bool,
}

impl Text {
    pub(crate) fn new(size: f64) -> Self {
        Self { size, bold: false, color: theme::INK, anchor: Anchor::Start, upwards: false }
    }

    pub(crate) fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub(crate) fn color(self, color: Rgb) -> Self {
        Self { color, ..self }
    }

    pub(crate) fn anchor(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    pub(crate) fn upwards(self) -> Self {
        Self { upwards: true, ..self }
    }

    fn style(&self) -> TextStyle<'static> {
        static FONTS: Once = Once::new();
        FONTS.call_once(|| {
            // Refused only for bytes that are no font; those of the crate are tested below.
            let _ = register_font(theme::FONT, FontStyle::Normal, theme::REGULAR);
            let _ = register_font(theme::FONT, FontStyle::Bold, theme::SEMIBOLD);
        });
        let style = if self.bold { FontStyle::Bold } else { FontStyle::Normal };
        let mut font = FontDesc::new(FontFamily::Name(theme::FONT), self.size * UNITS, style);
        if self.upwards {
            font = font.transform(FontTransform::Rotate270);
        }
        let horizontal = match self.anchor {
            Anchor::Start => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::End => HPos::Right,
        };
        TextStyle {
            color: rgba(self.color, 1.0).to_backend_color(),
            pos: Pos::new(horizontal, VPos::Center),
            ..TextStyle::from(font)
        }
    }

    /// Width of a text in pixels.
    pub(crate) fn width(&self, text: &str) -> f64 {
        self.style().font.layout_box(text).map_or(0.0, |((x0, _), (x1, _))| LINE * f64::from(x1 - x0) / UNITS)
    }

    /// The text, cut to a width with an ellipsis at its end.
    pub(crate) fn cut(&self, text: &str, width: f64) -> String {
        if self.width(text) <= width {
            return text.to_owned();
        }
        let characters: Vec<char> = text.chars().collect();
        let fits = |n: usize| self.width(&with_ellipsis(&characters[..n])) <= width;
        // Widths grow with the number of characters.
        let n = (1..characters.len()).collect::<Vec<_>>().partition_point(|n| fits(*n));
        with_ellipsis(&characters[..n.max(1)])
    }
}

fn with_ellipsis(characters: &[char]) -> String {
    format!("{}…", characters.iter().collect::<String>().trim_end())
}

fn rgba(Rgb(r, g, b): Rgb, opacity: f64) -> RGBAColor {
    RGBAColor(r, g, b, opacity)
}

/// A surface of fixed size, origin at the upper left.
pub(crate) struct Canvas<'a> {
    backend: SVGBackend<'a>,
}

impl<'a> Canvas<'a> {
    pub(crate) fn new(buffer: &'a mut String, width: f64, height: f64) -> Self {
        let units = |v: f64| (v * UNITS).round() as u32;
        Self { backend: SVGBackend::with_string(buffer, (units(width), units(height))) }
    }

    pub(crate) fn finish(mut self) -> Result<()> {
        done(self.backend.present())
    }

    /// A line through points.
    pub(crate) fn line(&mut self, points: &[(f64, f64)], color: Rgb, width: f64) -> Result<()> {
        done(self.backend.draw_path(points.iter().map(|p| units(*p)), &stroke(color, width)))
    }

    /// A filled rectangle between two corners.
    pub(crate) fn rect(&mut self, from: (f64, f64), to: (f64, f64), fill: Rgb) -> Result<()> {
        done(self.backend.draw_rect(units(from), units(to), &rgba(fill, 1.0), true))
    }

    /// The outline of a rectangle.
    pub(crate) fn frame(&mut self, from: (f64, f64), to: (f64, f64), color: Rgb, width: f64) -> Result<()> {
        done(self.backend.draw_rect(units(from), units(to), &stroke(color, width), false))
    }

    /// A filled circle.
    pub(crate) fn circle(&mut self, center: (f64, f64), radius: f64, fill: Rgb, opacity: f64) -> Result<()> {
        let radius = (radius * UNITS).round().max(1.0) as u32;
        done(self.backend.draw_circle(units(center), radius, &rgba(fill, opacity), true))
    }

    /// A filled polygon.
    pub(crate) fn polygon(&mut self, points: &[(f64, f64)], fill: Rgb, opacity: f64) -> Result<()> {
        done(self.backend.fill_polygon(points.iter().map(|p| units(*p)), &rgba(fill, opacity)))
    }

    /// One line of text, in the middle of its height at `at`.
    pub(crate) fn text(&mut self, text: &str, at: (f64, f64), style: &Text) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        done(self.backend.draw_text(text, &style.style(), units(at)))
    }
}

fn stroke(color: Rgb, width: f64) -> ShapeStyle {
    ShapeStyle { color: rgba(color, 1.0), filled: false, stroke_width: (width * UNITS).round().max(1.0) as u32 }
}

fn units((x, y): (f64, f64)) -> (i32, i32) {
    ((x * UNITS).round() as i32, (y * UNITS).round() as i32)
}

fn done<E: std::error::Error>(drawn: std::result::Result<(), E>) -> Result<()> {
    drawn.map_err(|e| Error::Render(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_come_from_the_font_and_long_text_is_cut() {
        let text = Text::new(12.0);
        // In Source Sans Pro, the letter n is 547 of 1000 units wide.
        assert!((text.width("nnnnnnnnnn") - 10.0 * 0.547 * 12.0).abs() < 2.0, "{}", text.width("nnnnnnnnnn"));
        assert!(text.bold().width("Many words") > text.width("Many words"));
        assert_eq!(text.cut("short", 100.0), "short");
        let cut = text.cut("plasmacytoid dendritic cell of the lung", 90.0);
        assert!(cut.ends_with('…') && text.width(&cut) <= 90.0 && cut.len() > 10, "{cut}");
    }
}
