//! One look for all figures. Lengths are CSS pixels, 96 to the inch.

use crate::palette::Rgb;

/// Family of the font, as drawings name it.
pub(crate) const FONT: &str = "Source Sans Pro";
pub(crate) const REGULAR: &[u8] = include_bytes!("../fonts/SourceSansPro-Regular.ttf");
pub(crate) const SEMIBOLD: &[u8] = include_bytes!("../fonts/SourceSansPro-Semibold.ttf");

/// Title of a panel.
pub(crate) const TITLE: f64 = 14.0;
/// Names of axes and legends.
pub(crate) const LABEL: f64 = 12.0;
/// Numbers on axes, entries of legends.
pub(crate) const SMALL: f64 = 11.0;

pub(crate) const INK: Rgb = Rgb(34, 34, 34);
pub(crate) const SOFT: Rgb = Rgb(120, 120, 120);
pub(crate) const GRID: Rgb = Rgb(230, 230, 230);
pub(crate) const WHITE: Rgb = Rgb(255, 255, 255);

/// Space around a figure.
pub(crate) const MARGIN: f64 = 10.0;
/// Space between panels, and between a panel and its legend.
pub(crate) const GAP: f64 = 16.0;
