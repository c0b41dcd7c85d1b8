//! A scatter in three dimensions that turns, as one HTML page.

use std::path::Path;

use base64::Engine as _;
use ndarray::ArrayView2;
use serde_json::{Value, json};

use crate::embedding::Color;
use crate::error::{Error, Result};
use crate::palette::{ColorMap, Rgb, categorical};
use crate::scale::{Scale, range};

/// The page but for its title and data.
const PAGE: &str = include_str!("scatter3d.html");

/// Steps of a colour map on the page.
const STEPS: usize = 256;

/// A page that shows cells in three dimensions, to turn, move and zoom; it needs a browser with WebGL, but no network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    html: String,
}

impl Page {
    /// The page.
    pub fn html(&self) -> &str {
        &self.html
    }

    /// Writes the page.
    ///
    /// # Errors
    /// [`Error::Data`] for a name that does not end in .html; [`Error::Io`] naming the path.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        if path.extension().is_none_or(|e| e != "html") {
            return Err(Error::data(format!("{} is no .html", path.display()), "end the name in .html"));
        }
        std::fs::write(path, &self.html).map_err(|source| Error::Io { path: path.to_owned(), source })
    }
}

/// Cells in three dimensions, points [n_cells, 3 or more], in the colours of any of the named columns: categories, whose levels hide at a click on their
/// name, or values. About 12 bytes per cell, and 2 per cell and column.
///
/// # Errors
/// [`Error::Data`] for no cells or columns, fewer than three dimensions, a place that is not finite, a column of other cells, or a colour that is
/// neither category nor value.
pub fn scatter_3d(points: ArrayView2<'_, f32>, columns: &[(&str, Color<'_>)], title: &str) -> Result<Page> {
    let n = points.nrows();
    if n == 0 || points.ncols() < 3 || columns.is_empty() {
        let problem = format!("{n} cells in {} dimensions with {} columns of colours", points.ncols(), columns.len());
        return Err(Error::data(problem, "give cells in three dimensions and at least one column"));
    }
    if let Some(row) = points.rows().into_iter().position(|p| (0..3).any(|d| !p[d].is_finite())) {
        return Err(Error::data(format!("the place of cell number {} is not finite", row + 1), "leave the cell out"));
    }
    let columns: Vec<Value> = columns.iter().map(|(name, color)| column(name, color, n)).collect::<Result<_>>()?;
    let data = json!({ "points": base64::engine::general_purpose::STANDARD.encode(scaled(points)), "columns": columns });
    // A name may hold what would end the script.
    let data = data.to_string().replace("</", "<\\/");
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    Ok(Page { html: PAGE.replace("__TITLE__", &title).replace("__DATA__", &data) })
}

/// Places within a ball of radius 1 around the middle, as little-endian floats.
fn scaled(points: ArrayView2<'_, f32>) -> Vec<u8> {
    let ranges: Vec<(f32, f32)> = (0..3)
        .map(|d| {
            let (low, high) = range(points.column(d).iter().map(|v| f64::from(*v)));
            ((0.5 * (low + high)) as f32, (0.5 * (high - low)) as f32)
        })
        .collect();
    let widest = ranges.iter().map(|r| r.1).fold(f32::MIN_POSITIVE, f32::max);
    let place = |p: ndarray::ArrayView1<'_, f32>| (0..3).map(|d| (p[d] - ranges[d].0) / widest).collect::<Vec<f32>>();
    points.rows().into_iter().flat_map(place).flat_map(f32::to_le_bytes).collect()
}

fn column(name: &str, color: &Color<'_>, n: usize) -> Result<Value> {
    let triples = |colors: Vec<Rgb>| colors.iter().map(|c| [c.0, c.1, c.2]).collect::<Vec<_>>();
    let check = |found: usize| match found == n {
        true => Ok(()),
        false => Err(Error::data(format!("`{name}` has {found} values for {n} cells"), "give one per cell")),
    };
    match color {
        Color::Category(column) => {
            check(column.len())?;
            let codes: Vec<i64> = column.codes().iter().map(|c| c.map_or(-1, i64::from)).collect();
            Ok(
                json!({ "name": name, "codes": codes, "levels": column.levels(), "colors": triples(categorical(column.n_levels())) }),
            )
        }
        Color::Values(values, map) => {
            check(values.len())?;
            let (mut low, mut high) = range(values.iter().map(|v| f64::from(*v)).filter(|v| v.is_finite()));
            if *map == ColorMap::Diverging {
                high = high.abs().max(low.abs());
                low = -high;
            }
            let scale = Scale::new(low, high, 0.0, (STEPS - 1) as f64);
            let code = |v: &f32| if v.is_finite() { scale.at(f64::from(*v)).round() as i64 } else { -1 };
            let colors = (0..STEPS).map(|i| map.at(i as f64 / (STEPS - 1) as f64)).collect();
            let text = |v: f64| format!("{v:.3}");
            let codes: Vec<i64> = values.iter().map(code).collect();
            Ok(json!({ "name": name, "codes": codes, "low": text(low), "high": text(high), "colors": triples(colors) }))
        }
        _ => Err(Error::data(format!("`{name}` is neither a category nor values"), "give one of these")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tutti::data::Categorical;

    #[test]
    fn a_page_holds_every_cell_and_no_link_to_elsewhere() {
        let points = ndarray::array![[0.0f32, 0.0, 0.0], [10.0, 5.0, 1.0], [2.0, 2.0, 2.0]];
        let types = Categorical::from_values([Some("</script>"), None, Some("b")]);
        let columns = [("type", Color::Category(&types)), ("time", Color::Values(&[0.0, 1.0, f32::NAN], ColorMap::Viridis))];
        let page = scatter_3d(points.view(), &columns, "a <b> & c").unwrap();
        let html = page.html();
        assert!(!html.contains("http") && !html.contains("__") && html.contains("a &lt;b> &amp; c"));
        assert_eq!(html.matches("</script>").count(), 1, "a name does not end the script");
        assert!(html.contains("\"codes\":[0,-1,1]") && html.contains("\"codes\":[0,255,-1]"));
        let bytes = scaled(points.view());
        let at = |i: usize| f32::from_le_bytes(bytes[4 * i..4 * i + 4].try_into().unwrap());
        assert_eq!(((at(0), at(3)), bytes.len()), ((-1.0, 1.0), 36));
        assert!(scatter_3d(points.view(), &[("d", Color::Density)], "").is_err());
        assert!(scatter_3d(points.slice(ndarray::s![.., ..2]), &columns, "").is_err());
        assert!(page.save("page.png").is_err());
    }
}
