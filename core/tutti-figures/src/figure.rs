//! A finished drawing, and the files it becomes.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use resvg::{tiny_skia, usvg};

use crate::canvas::{Canvas, UNITS};
use crate::error::{Error, Result};
use crate::outlines;
use crate::points::{self, PointLayer};
use crate::theme;

/// Pixels of a drawing per inch.
const PER_INCH: f64 = 96.0;

/// Dots of an image: along a side, as much as programs that show it take, and in all, about 2 GB of memory while points are painted.
const LONGEST: f64 = 32_768.0;
const LARGEST: f64 = 1e8;

/// Dots per inch of points inside an SVG.
const SVG_DPI: f64 = 300.0;

/// A figure: sharp lines and text, and points beneath them that are an image where they are many.
#[derive(Debug, Clone)]
pub struct Figure {
    width: f64,
    height: f64,
    /// All but the opening and the closing tag.
    body: String,
    layers: Vec<PointLayer>,
    /// Elements of SVG over all others, not painted: the full names of what is cut.
    tooltips: String,
}

impl Figure {
    /// Draws on a white canvas of this size in pixels.
    pub(crate) fn draw(
        (width, height): (f64, f64),
        layers: Vec<PointLayer>,
        draw: impl FnOnce(&mut Canvas<'_>) -> Result<()>,
    ) -> Result<Self> {
        let mut svg = String::new();
        let mut canvas = Canvas::new(&mut svg, width, height);
        draw(&mut canvas)?;
        let tooltips = canvas.finish()?;
        let body = svg.split_once('>').and_then(|(_, rest)| rest.rsplit_once("</svg>")).map(|(body, _)| body.trim().to_owned());
        let body = body.ok_or_else(|| Error::Render("the backend wrote no drawing".into()))?;
        Ok(Self { width, height, body, layers, tooltips })
    }

    /// Width and height in inches.
    pub fn size(&self) -> (f64, f64) {
        (self.width / PER_INCH, self.height / PER_INCH)
    }

    /// The figure as SVG with its text as outlines: it looks the same everywhere. A name that is cut has the whole of it as a tooltip.
    ///
    /// # Errors
    /// [`Error::Render`] for a drawing that cannot be read back, which is a fault of this crate.
    pub fn svg(&self) -> Result<String> {
        self.document(&outlines::shorter(&self.outlined()?))
    }

    /// The body with its text as outlines.
    pub(crate) fn outlined(&self) -> Result<String> {
        let options = usvg::WriteOptions { indent: usvg::Indent::None, ..Default::default() };
        let outlined = self.tree(&self.body)?.to_string(&options);
        Ok(outlined.split_once('>').and_then(|(_, rest)| rest.rsplit_once("</svg>")).map_or("", |(body, _)| body).to_owned())
    }

    /// The figure as SVG with its text as text, for a drawing program; the font must be there, Source Sans Pro.
    ///
    /// # Errors
    /// [`Error::Render`] for points that cannot be encoded, which is a fault of this crate.
    pub fn editable_svg(&self) -> Result<String> {
        self.document(&self.body)
    }

    fn document(&self, body: &str) -> Result<String> {
        let (w, h) = (self.width, self.height);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" width=\"{w}\" height=\"{h}\" \
             viewBox=\"0 0 {} {}\">\n<rect width=\"100%\" height=\"100%\" fill=\"#FFFFFF\"/>\n",
            w * UNITS,
            h * UNITS
        );
        for layer in &self.layers {
            let png = layer.paint(SVG_DPI / PER_INCH).to_png()?;
            let [x, y, width, height] = layer.area().map(|v| v * UNITS);
            let data = base64::engine::general_purpose::STANDARD.encode(png);
            out += &format!(
                "<image x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" preserveAspectRatio=\"none\" \
                 xlink:href=\"data:image/png;base64,{data}\"/>\n"
            );
        }
        Ok(out + body + "\n" + &self.tooltips + "</svg>\n")
    }

    /// The figure as PNG.
    ///
    /// # Errors
    /// [`Error::Data`] for `dpi` outside 30 to 2400, or an image of more than 32,768 pixels along a side or 100 million in all;
    /// [`Error::Render`] as for SVG.
    pub fn png(&self, dpi: f64) -> Result<Vec<u8>> {
        let scale = dpi / PER_INCH;
        if !(30.0..=2400.0).contains(&dpi) {
            return Err(Error::data(format!("{dpi} dots per inch"), "give 30 to 2400, e.g. 300"));
        }
        let (width, height) = ((self.width * scale).round(), (self.height * scale).round());
        if width.max(height) > LONGEST || width * height > LARGEST {
            let problem = format!(
                "the image would have {width} x {height} pixels at {dpi} dots per inch; at most {LONGEST} along a side and {:.0} million in all are drawn",
                LARGEST / 1e6
            );
            return Err(Error::data(problem, "give fewer dots per inch, or save as .svg"));
        }
        let mut image = tiny_skia::Pixmap::new(width as u32, height as u32)
            .ok_or_else(|| Error::Render("there is no memory for the image".into()))?;
        image.fill(tiny_skia::Color::WHITE);
        for layer in &self.layers {
            layer.paint(scale).draw_onto(&mut image, layer.area().map(|v| v * scale));
        }
        let scale = (scale / UNITS) as f32;
        resvg::render(&self.tree(&self.body)?, tiny_skia::Transform::from_scale(scale, scale), &mut image.as_mut());
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, image.width(), image.height());
        encoder.set_color(png::ColorType::Rgb);
        points::compress_well(&mut encoder);
        let per_metre = (dpi / 0.0254).round() as u32;
        encoder.set_pixel_dims(Some(png::PixelDimensions { xppu: per_metre, yppu: per_metre, unit: png::Unit::Meter }));
        // Opaque throughout, since it started white.
        let rgb: Vec<u8> = image.pixels().iter().flat_map(|p| [p.red(), p.green(), p.blue()]).collect();
        let written = encoder.write_header().and_then(|mut w| w.write_image_data(&rgb));
        written.map_err(|e| Error::Render(e.to_string()))?;
        Ok(out)
    }

    /// Writes the figure by the ending of the path: `.svg`, or `.png` at 300 dots per inch.
    ///
    /// # Errors
    /// [`Error::Data`] for another ending; [`Error::Io`] naming the path.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let bytes = match path.extension().and_then(|e| e.to_str()).map(str::to_lowercase).as_deref() {
            Some("svg") => self.svg()?.into_bytes(),
            Some("png") => self.png(300.0)?,
            _ => return Err(Error::data(format!("{} is neither .svg nor .png", path.display()), "end the name in one of them")),
        };
        std::fs::write(path, bytes).map_err(|source| Error::Io { path: path.to_owned(), source })
    }

    /// The drawing without its points.
    fn tree(&self, body: &str) -> Result<usvg::Tree> {
        static FONTS: LazyLock<Arc<usvg::fontdb::Database>> = LazyLock::new(|| {
            let mut fonts = usvg::fontdb::Database::new();
            fonts.load_font_data(theme::REGULAR.to_vec());
            fonts.load_font_data(theme::SEMIBOLD.to_vec());
            Arc::new(fonts)
        });
        let (w, h) = (self.width * UNITS, self.height * UNITS);
        let svg = format!("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\">{body}</svg>");
        let options = usvg::Options { fontdb: FONTS.clone(), font_family: theme::FONT.into(), ..Default::default() };
        usvg::Tree::from_str(&svg, &options).map_err(|e| Error::Render(e.to_string()))
    }
}
