//! Many points as an image: discs with smooth edges, painted one over the other.

use resvg::tiny_skia;

use crate::error::{Error, Result};
use crate::palette::Rgb;

/// Points that are painted, not drawn. Lengths are pixels of the figure.
#[derive(Debug, Clone)]
pub(crate) struct PointLayer {
    /// x, y, width, height.
    area: [f64; 4],
    radius: f64,
    opacity: f64,
    /// Places within the area, and colours, in the order of painting.
    points: Vec<(f32, f32, Rgb)>,
}

/// Parts of a dot that a disc is placed to.
const PHASES: usize = 4;

impl PointLayer {
    pub(crate) fn new(area: [f64; 4], radius: f64, opacity: f64, points: Vec<(f32, f32, Rgb)>) -> Self {
        Self { area, radius, opacity, points }
    }

    pub(crate) fn area(&self) -> [f64; 4] {
        self.area
    }

    /// The layer at `scale` dots per pixel.
    pub(crate) fn paint(&self, scale: f64) -> Painted {
        let (width, height) = ((self.area[2] * scale).ceil() as usize, (self.area[3] * scale).ceil() as usize);
        let mut image = Painted { width, height, rgba: vec![0f32; width * height * 4] };
        let discs = Discs::new(self.radius * scale, self.opacity as f32);
        for (x, y, color) in &self.points {
            discs.paint(&mut image, f64::from(*x) * scale, f64::from(*y) * scale, *color);
        }
        image
    }
}

/// Figures are plain areas and repeated shapes: differences between neighbouring dots, which help photographs, make their files twice as large.
pub(crate) fn compress_well<W: std::io::Write>(encoder: &mut png::Encoder<'_, W>) {
    encoder.set_filter(png::FilterType::NoFilter);
    encoder.set_adaptive_filter(png::AdaptiveFilterType::NonAdaptive);
    encoder.set_compression(png::Compression::Default);
}

/// Colours times opacity, and opacity, 0 to 1.
pub(crate) struct Painted {
    width: usize,
    height: usize,
    rgba: Vec<f32>,
}

impl Painted {
    pub(crate) fn to_png(&self) -> Result<Vec<u8>> {
        let byte = |v: f32| (v * 255.0).round().clamp(0.0, 255.0) as u8;
        let straight = |p: &[f32]| {
            let a = p[3].max(1e-6);
            [byte(p[0] / a), byte(p[1] / a), byte(p[2] / a), byte(p[3])]
        };
        let rgba: Vec<u8> = self.rgba.chunks_exact(4).flat_map(straight).collect();
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgba);
        compress_well(&mut encoder);
        let written = encoder.write_header().and_then(|mut w| w.write_image_data(&rgba));
        written.map_err(|e| Error::Render(e.to_string()))?;
        Ok(out)
    }

    /// Draws onto an opaque image at x, y (of x, y, width, height).
    pub(crate) fn draw_onto(&self, image: &mut tiny_skia::Pixmap, area: [f64; 4]) {
        let (x0, y0) = (area[0].round() as usize, area[1].round() as usize);
        let (width, height) = (image.width() as usize, image.height() as usize);
        let pixels = image.pixels_mut();
        for y in 0..self.height.min(height.saturating_sub(y0)) {
            for x in 0..self.width.min(width.saturating_sub(x0)) {
                let over = &self.rgba[4 * (y * self.width + x)..][..4];
                let pixel = &mut pixels[(y0 + y) * width + x0 + x];
                let mixed = |under: u8, over_value: f32| {
                    (255.0 * over_value + f32::from(under) * (1.0 - over[3])).round().clamp(0.0, 255.0) as u8
                };
                let (r, g, b) = (mixed(pixel.red(), over[0]), mixed(pixel.green(), over[1]), mixed(pixel.blue(), over[2]));
                *pixel = tiny_skia::ColorU8::from_rgba(r, g, b, 255).premultiply();
            }
        }
    }
}

/// Opacities of a disc whose centre lies at each of 4 x 4 places within a dot.
struct Discs {
    reach: i64,
    masks: Vec<Vec<f32>>,
}

impl Discs {
    fn new(radius: f64, opacity: f32) -> Self {
        // A disc smaller than a dot is a fainter dot.
        let radius = radius.max(0.35);
        let reach = (radius + 1.0).ceil() as i64;
        let phase = |i: usize| (i as f64 + 0.5) / PHASES as f64;
        let mask = |(px, py): (f64, f64)| -> Vec<f32> {
            let dots = (-reach..=reach).flat_map(|y| (-reach..=reach).map(move |x| (x, y)));
            // The edge runs over about one dot.
            let covered = |(x, y): (i64, i64)| {
                let distance = (x as f64 + 0.5 - px).hypot(y as f64 + 0.5 - py);
                (radius + 0.5 - distance).clamp(0.0, 1.0) as f32 * opacity
            };
            dots.map(covered).collect()
        };
        let masks = (0..PHASES * PHASES).map(|i| mask((phase(i % PHASES), phase(i / PHASES)))).collect();
        Self { reach, masks }
    }

    fn paint(&self, image: &mut Painted, x: f64, y: f64, Rgb(r, g, b): Rgb) {
        let color = [r, g, b].map(|v| f32::from(v) / 255.0);
        let phase = |v: f64| ((v - v.floor()) * PHASES as f64) as usize % PHASES;
        let mask = &self.masks[phase(y) * PHASES + phase(x)];
        let (x, y) = (x.floor() as i64, y.floor() as i64);
        let side = 2 * self.reach + 1;
        for row in 0..side {
            let at = y - self.reach + row;
            if !(0..image.height as i64).contains(&at) {
                continue;
            }
            for column in 0..side {
                let over = mask[(row * side + column) as usize];
                let to = x - self.reach + column;
                if over == 0.0 || !(0..image.width as i64).contains(&to) {
                    continue;
                }
                let dot = &mut image.rgba[4 * (at as usize * image.width + to as usize)..][..4];
                (0..3).for_each(|c| dot[c] = over * color[c] + (1.0 - over) * dot[c]);
                dot[3] = over + (1.0 - over) * dot[3];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disc_covers_its_area_wherever_its_centre_lies_and_the_last_is_on_top() {
        for (x, y) in [(20.0, 20.0), (20.3, 20.8), (19.9, 21.5)] {
            let layer = PointLayer::new([0.0, 0.0, 40.0, 40.0], 6.0, 1.0, vec![(x, y, Rgb(255, 0, 0))]);
            let covered: f32 = layer.paint(1.0).rgba.chunks_exact(4).map(|p| p[3]).sum();
            assert!((covered - std::f32::consts::PI * 36.0).abs() < 2.0, "{covered}");
        }
        let two = vec![(5.0, 5.0, Rgb(255, 0, 0)), (5.0, 5.0, Rgb(0, 0, 255))];
        let painted = PointLayer::new([0.0, 0.0, 10.0, 10.0], 3.0, 1.0, two).paint(1.0);
        assert_eq!(painted.rgba[4 * (5 * 10 + 5)..][..4], [0.0, 0.0, 1.0, 1.0]);
    }

    #[test]
    fn points_at_the_edge_are_cut_off() {
        let layer =
            PointLayer::new([0.0, 0.0, 10.0, 10.0], 3.0, 0.5, vec![(0.0, 0.0, Rgb(1, 2, 3)), (500.0, -3.0, Rgb(1, 2, 3))]);
        assert!(layer.paint(2.0).rgba.iter().all(|v| (0.0..=1.0).contains(v)));
    }
}
