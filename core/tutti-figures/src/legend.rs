//! What colours mean, beside the axes.

use tutti::data::Categorical;

use crate::canvas::{Canvas, Text};
use crate::error::Result;
use crate::palette::{ColorMap, MISSING, Rgb};
use crate::scale::{Scale, tick_text, ticks};
use crate::theme;

const ROW: f64 = 16.0;
const DOT: f64 = 4.5;
const NAME_AT_MOST: f64 = 170.0;
const BAR: (f64, f64) = (12.0, 110.0);
/// Space between columns of entries.
const BETWEEN: f64 = 12.0;

/// A legend, before it has a place.
#[derive(Debug, Clone)]
pub(crate) enum Legend {
    None,
    /// Names and colours.
    Categories(Vec<(String, Rgb)>),
    /// Colours of the numbers from low to high.
    Values {
        low: f64,
        high: f64,
        map: ColorMap,
    },
}

impl Legend {
    /// Width of the legend beside something of this height.
    pub(crate) fn width(&self, height: f64) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Categories(entries) => columns(entries, height).iter().map(|(_, width)| width + BETWEEN).sum::<f64>() - BETWEEN,
            Self::Values { low, high, .. } => {
                let all = ticks(*low, *high, 4);
                let text = Text::new(theme::SMALL);
                BAR.0 + 8.0 + all.iter().map(|t| text.width(&tick_text(*t, &all))).fold(0.0, f64::max)
            }
        }
    }

    /// Height of the legend, where `height` is the most.
    pub(crate) fn height(&self, height: f64) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Categories(entries) => ROW * columns(entries, height).first().map_or(0.0, |(column, _)| column.len() as f64),
            Self::Values { .. } => BAR.1.min(height),
        }
    }

    /// Draws from the upper left corner down, in columns of at most `height`.
    pub(crate) fn draw(&self, canvas: &mut Canvas<'_>, (x, y): (f64, f64), height: f64) -> Result<()> {
        match self {
            Self::None => Ok(()),
            Self::Categories(entries) => {
                let text = Text::new(theme::SMALL);
                let mut x = x;
                for (column, width) in columns(entries, height) {
                    for (row, (name, color)) in column.iter().enumerate() {
                        let middle = y + ROW * (row as f64 + 0.5);
                        canvas.circle((x + DOT, middle), DOT, *color, 1.0)?;
                        canvas.name(name, NAME_AT_MOST, (x + 2.0 * DOT + 5.0, middle), &text)?;
                    }
                    x += width + BETWEEN;
                }
                Ok(())
            }
            Self::Values { low, high, map } => bar(canvas, (x, y), height, (*low, *high), *map),
        }
    }
}

/// The categories that cells have, and what those without are.
pub(crate) fn entries(column: &Categorical, colors: &[Rgb]) -> Legend {
    let counts = column.counts();
    let there = (0..column.n_levels()).filter(|l| counts[*l] > 0);
    let mut entries: Vec<(String, Rgb)> = there.map(|l| (column.levels()[l].clone(), colors[l])).collect();
    if column.codes().iter().any(Option::is_none) {
        entries.push(("missing".into(), MISSING));
    }
    Legend::Categories(entries)
}

/// Entries by columns, with the width of each.
fn columns(entries: &[(String, Rgb)], height: f64) -> Vec<(&[(String, Rgb)], f64)> {
    let rows = ((height / ROW) as usize).max(1);
    // Columns of about equal length.
    let n = entries.len().div_ceil(rows).max(1);
    let text = Text::new(theme::SMALL);
    let width = |part: &[(String, Rgb)]| {
        2.0 * DOT + 5.0 + part.iter().map(|(name, _)| text.width(name).min(NAME_AT_MOST)).fold(0.0, f64::max)
    };
    entries.chunks(entries.len().div_ceil(n).max(1)).map(|part| (part, width(part))).collect()
}

fn bar(canvas: &mut Canvas<'_>, (x, y): (f64, f64), height: f64, (low, high): (f64, f64), map: ColorMap) -> Result<()> {
    let height = BAR.1.min(height);
    let scale = Scale::new(low, high, y + height, y);
    let steps = 64;
    for i in 0..steps {
        let part = |i: usize| y + height * (1.0 - i as f64 / f64::from(steps as u32));
        // Overlapping by a fraction, so that no seam shows between the steps.
        let top = (part(i + 1) - 0.4).max(y);
        canvas.rect((x, top), (x + BAR.0, part(i)), map.at((i as f64 + 0.5) / f64::from(steps as u32)))?;
    }
    canvas.frame((x, y), (x + BAR.0, y + height), theme::SOFT, 0.6)?;
    let (text, all) = (Text::new(theme::SMALL), ticks(scale.low, scale.high, 4));
    for tick in &all {
        let at = scale.at(*tick);
        canvas.line(&[(x + BAR.0, at), (x + BAR.0 + 3.0, at)], theme::INK, 0.8)?;
        canvas.text(&tick_text(*tick, &all), (x + BAR.0 + 6.0, at), &text)?;
    }
    Ok(())
}
