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

/// The SVG backend divides the size of a text by this.
const SVG_SIZE: f64 = 1.24;

/// Height of a line of the font over its size. plotters measures text as if the size were that of a line.
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
        let mut font = FontDesc::new(FontFamily::Name(theme::FONT), self.size * UNITS * SVG_SIZE, style);
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
        self.style().font.layout_box(text).map_or(0.0, |((x0, _), (x1, _))| LINE / SVG_SIZE * f64::from(x1 - x0) / UNITS)
    }

    /// x, y, width and height of a text at a place.
    fn area(&self, text: &str, (x, y): (f64, f64)) -> [f64; 4] {
        let width = self.width(text);
        let before = match self.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => 0.5 * width,
            Anchor::End => width,
        };
        match self.upwards {
            true => [x - 0.5 * self.size, y + before - width, self.size, width],
            false => [x - before, y - 0.5 * self.size, width, self.size],
        }
    }

    /// The text in up to `most` lines, broken between words, those that `_` or `-` joins among them. The last line may be wider.
    pub(crate) fn wrapped(&self, text: &str, width: f64, most: usize) -> Vec<String> {
        let mut lines = vec![String::new()];
        for word in text.split_inclusive([' ', '_', '-']) {
            let line = lines.last().map_or("", String::as_str);
            let is_full = !line.is_empty() && self.width(format!("{line}{word}").trim_end()) > width;
            if is_full && lines.len() < most {
                lines.push(String::new());
            }
            lines.last_mut().iter_mut().for_each(|line| line.push_str(word));
        }
        lines
    }

    /// The text, cut to a width with an ellipsis at its end.
    fn cut(&self, text: &str, width: f64) -> String {
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
    /// Full names over those that are cut, as elements of SVG. They are no part of the drawing, whose conversion to outlines drops titles.
    tooltips: String,
}

impl<'a> Canvas<'a> {
    pub(crate) fn new(buffer: &'a mut String, width: f64, height: f64) -> Self {
        let units = |v: f64| (v * UNITS).round() as u32;
        Self { backend: SVGBackend::with_string(buffer, (units(width), units(height))), tooltips: String::new() }
    }

    /// Ends the drawing; returns what is to lie over it.
    pub(crate) fn finish(mut self) -> Result<String> {
        done(self.backend.present())?;
        Ok(self.tooltips)
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

    /// A name, cut to a width; where it is cut, a tooltip has the whole of it.
    pub(crate) fn name(&mut self, name: &str, width: f64, at: (f64, f64), style: &Text) -> Result<()> {
        let shown = style.cut(name, width);
        if shown != name {
            self.tooltip(name, style.area(&shown, at));
        }
        self.text(&shown, at, style)
    }

    /// A name as above, on a white rim, so that it can be read before points.
    pub(crate) fn rimmed_name(&mut self, name: &str, width: f64, (x, y): (f64, f64), style: &Text) -> Result<()> {
        let shown = style.cut(name, width);
        for i in 0..8 {
            let angle = f64::from(i) * std::f64::consts::FRAC_PI_4;
            self.text(&shown, (x + 1.4 * angle.cos(), y + 1.4 * angle.sin()), &style.color(theme::WHITE))?;
        }
        self.name(name, width, (x, y), style)
    }

    fn tooltip(&mut self, text: &str, area: [f64; 4]) {
        let [x, y, width, height] = area.map(|v| (v * UNITS).round());
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        self.tooltips += &format!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"none\" pointer-events=\"all\"><title>{text}</title></rect>\n"
        );
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
    fn text_has_the_size_asked_for() {
        let mut svg = String::new();
        let mut canvas = Canvas::new(&mut svg, 100.0, 100.0);
        canvas.text("a", (50.0, 50.0), &Text::new(12.0)).unwrap();
        canvas.finish().unwrap();
        let size = svg.split_once("font-size=\"").and_then(|(_, rest)| rest.split_once('"')).unwrap().0;
        assert!((size.parse::<f64>().unwrap() - 12.0 * UNITS).abs() < 1e-6, "{size}");
    }

    #[test]
    fn widths_come_from_the_font_and_long_text_is_cut() {
        let text = Text::new(12.0);
        // In Source Sans Pro, the letter n is 547 of 1000 units wide.
        assert!((text.width("nnnnnnnnnn") - 10.0 * 0.547 * 12.0).abs() < 0.2, "{}", text.width("nnnnnnnnnn"));
        assert!(text.bold().width("Many words") > text.width("Many words"));
        assert_eq!(text.cut("short", 100.0), "short");
        assert_eq!(text.wrapped("short", 100.0, 2), ["short"]);
        assert_eq!(text.wrapped("predicted_cell_type", 70.0, 2), ["predicted_", "cell_type"]);
        let two = text.wrapped("share of the neighbours of the same batch", 110.0, 2);
        assert!(
            two.len() == 2
                && text.width(two[0].trim_end()) <= 110.0
                && two.concat() == "share of the neighbours of the same batch"
        );
        let cut = text.cut("plasmacytoid dendritic cell of the lung", 90.0);
        assert!(cut.ends_with('…') && text.width(&cut) <= 90.0 && cut.len() > 10, "{cut}");
    }
}
