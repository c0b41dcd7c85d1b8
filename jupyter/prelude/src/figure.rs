//! Figures: sharp as SVG where they are small, as PNG of twice the pixels where SVG would be large.

use std::path::Path;
use std::sync::Arc;

use crate::display::{Content, Png, Rich, show};
use crate::error::Result;
use crate::html::{block, escape};

/// Bytes up to which a figure is shown as SVG: about 2,000 points.
const SVG_AT_MOST: usize = 400_000;

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

    /// The image with the size at which it is shown.
    fn shown(&self) -> Result<Png> {
        let (width, height) = self.inner.size();
        Ok(Png { bytes: self.inner.png(SHOWN_DPI)?, width: 96.0 * width, height: 96.0 * height })
    }
}

impl Rich for Figure {
    fn content(&self) -> Content {
        let (width, height) = self.inner.size();
        let content = Content::text(format!("figure: {} ({width:.1} x {height:.1} inches)", self.name));
        match self.svg() {
            Ok(svg) if svg.len() <= SVG_AT_MOST => content.with_svg(svg),
            _ => match self.shown() {
                Ok(png) => content.with_png(png),
                Err(error) => failed(&error),
            },
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
        write!(f, "figure: {} ({width:.1} x {height:.1} inches)", self.name)
    }
}
