//! Figures: as SVG, sharp at any size, where that is small; else as whichever of SVG and PNG of twice the pixels takes fewer bytes.

use std::path::Path;
use std::sync::Arc;

use crate::display::{Content, Png, Rich, encoded, show};
use crate::error::Result;
use crate::html::{block, escape};
use crate::shown;

/// Bytes up to which a figure is shown as SVG even if an image were smaller: lines, bars and up to some hundred points.
const SVG_ANYWAY: usize = 64_000;

/// Dots per inch of an image that is shown: two per pixel of the page.
const SHOWN_DPI: f64 = 192.0;

/// A finished figure. Cheap to clone.
#[derive(Clone)]
pub struct Figure {
    inner: Arc<tutti_figures::Figure>,
    name: String,
}

impl Figure {
    /// A figure of `tutti_figures`; `name` is what a console shows.
    pub fn new(name: &str, figure: tutti_figures::Figure) -> Figure {
        Figure { inner: Arc::new(figure), name: name.to_owned() }
    }

    /// Writes the figure by the ending of the path: `.svg`, or `.png` at 300 dots per inch.
    ///
    /// # Errors
    /// Another ending; what the system refuses.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        Ok(self.inner.save(path)?)
    }

    /// The figure as SVG.
    ///
    /// # Errors
    /// A fault of the drawing.
    pub fn svg(&self) -> Result<String> {
        Ok(self.inner.svg()?)
    }

    /// The figure as PNG.
    ///
    /// # Errors
    /// For dots per inch outside 30 to 2400, or an image too large.
    pub fn png(&self, dpi: f64) -> Result<Vec<u8>> {
        Ok(self.inner.png(dpi)?)
    }

    /// Width and height in inches.
    pub fn size(&self) -> (f64, f64) {
        self.inner.size()
    }

    /// The figure behind this one.
    pub fn inner(&self) -> &tutti_figures::Figure {
        &self.inner
    }

    /// Shows the figure; notebooks call this for the last expression of a cell.
    pub fn evcxr_display(&self) {
        show(self);
    }

    /// The figure within HTML.
    pub(crate) fn html(&self) -> Result<String> {
        Ok(match self.shown()? {
            Shown::Svg(svg) => svg,
            Shown::Png(png) => {
                let (width, height) = (png.width.round(), png.height.round());
                let name = escape(&self.name);
                format!(
                    "<img alt=\"{name}\" width=\"{width}\" height=\"{height}\" src=\"data:image/png;base64,{}\">",
                    encoded(&png)
                )
            }
        })
    }

    fn shown(&self) -> Result<Shown> {
        let svg = self.svg()?;
        if svg.len() <= SVG_ANYWAY {
            return Ok(Shown::Svg(svg));
        }
        let (width, height) = self.inner.size();
        let png = Png { bytes: self.inner.png(SHOWN_DPI)?, width: 96.0 * width, height: 96.0 * height };
        // A notebook keeps an image in base 64.
        Ok(if svg.len() <= png.bytes.len() * 4 / 3 { Shown::Svg(svg) } else { Shown::Png(png) })
    }
}

/// What a notebook gets of a figure.
enum Shown {
    Svg(String),
    Png(Png),
}

impl Rich for Figure {
    fn content(&self) -> Content {
        let (width, height) = self.inner.size();
        let content = Content::text(format!("figure: {} ({width:.1} x {height:.1} inches)", self.name));
        match self.shown() {
            Ok(Shown::Svg(svg)) => content.with_svg(svg),
            Ok(Shown::Png(png)) => content.with_png(png),
            Err(error) => failed(&error),
        }
    }
}

/// What stands in place of a figure that could not be drawn.
pub(crate) fn failed(error: &crate::Error) -> Content {
    let text = format!("no figure: {error}");
    let html = format!(
        "<div style=\"border-left:3px solid var(--jp-error-color1,#d32f2f);padding:2px 10px\"><b>No figure</b> {}</div>",
        escape(&error.to_string())
    );
    Content::text(text).with_html(block(&html))
}

/// What a console shows.
impl std::fmt::Debug for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (width, height) = self.inner.size();
        shown::debug(self, &format!("figure: {} ({width:.1} x {height:.1} inches)", self.name), f)
    }
}
