//! Cells as points of a plane.

use ndarray::ArrayView2;
use tutti::data::Categorical;
use tutti::rng::Rng;

use crate::canvas::{Anchor, Canvas, Text};
use crate::error::{Error, Result};
use crate::figure::Figure;
use crate::legend::{Legend, entries};
use crate::palette::{ColorMap, MISSING, Rgb, categorical};
use crate::points::PointLayer;
use crate::scale::{Scale, range};
use crate::theme;

/// Points up to which each is drawn as a shape of its own; more become an image.
const SHAPES: usize = 10_000;

/// What the colour of a point tells.
#[derive(Debug, Clone, Copy)]
pub enum Color<'a> {
    /// The category of each cell; cells without one are grey and lie beneath. There are 40 colours: of more levels, some share one.
    Category(&'a Categorical),
    /// A number per cell; the largest lie on top. Those that are not finite are grey and lie beneath.
    Values(&'a [f32], ColorMap),
    /// The cells of one level in colour, all others grey.
    Highlight(&'a Categorical, &'a str),
    /// How many cells lie around.
    Density,
    /// Nothing.
    Plain,
}

/// One scatter of a grid.
#[derive(Debug, Clone, Copy)]
pub struct Panel<'a> {
    /// What stands above it.
    pub title: &'a str,
    /// Places, [n_cells, 2 or more]; the first two columns are drawn.
    pub points: ArrayView2<'a, f32>,
    /// Colours of the cells.
    pub color: Color<'a>,
}

/// How embeddings are drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddingOptions {
    /// Side of a panel in pixels (96 per inch), 60 to 4,000. Default 260.
    pub panel_size: f64,
    /// Panels side by side, at least 1. Default 2.
    pub n_columns: usize,
    /// Radius of a point in pixels, 0.1 to 100; `None` fits it to the number of cells.
    pub point_radius: Option<f64>,
    /// Names of the axes, e.g. `UMAP 1`; empty draws none.
    pub axes: [String; 2],
    /// Writes the name of each category amid its cells, beside the legend.
    pub label_clusters: bool,
    /// Names the order in which points are drawn, so that no batch covers another.
    pub seed: u64,
}

impl Default for EmbeddingOptions {
    fn default() -> Self {
        Self {
            panel_size: 260.0,
            n_columns: 2,
            point_radius: None,
            axes: ["UMAP 1".into(), "UMAP 2".into()],
            label_clusters: false,
            seed: 0,
        }
    }
}

/// One scatter of cells with its legend.
///
/// # Errors
/// [`Error::Data`] for no cells, a colour for another number of cells, or a place that is not finite, naming its row.
pub fn embedding(points: ArrayView2<'_, f32>, color: Color<'_>, title: &str, options: &EmbeddingOptions) -> Result<Figure> {
    embedding_grid(&[Panel { title, points, color }], options)
}

/// A scatter per level of `split`, its cells in colour before all others in grey.
///
/// # Errors
/// As [`embedding`]; a column without levels.
pub fn embedding_by_level(points: ArrayView2<'_, f32>, split: &Categorical, options: &EmbeddingOptions) -> Result<Figure> {
    let levels = split.drop_unused();
    let panel = |title: &'_ String| title.clone();
    let titles: Vec<String> = levels.levels().iter().map(panel).collect();
    let panels: Vec<Panel<'_>> =
        titles.iter().map(|level| Panel { title: level, points, color: Color::Highlight(&levels, level) }).collect();
    embedding_grid(&panels, options)
}

/// Several scatters, row by row, each with its legend.
///
/// # Errors
/// As [`embedding`]; no panels.
pub fn embedding_grid(panels: &[Panel<'_>], options: &EmbeddingOptions) -> Result<Figure> {
    if panels.is_empty() {
        return Err(Error::data("there are no panels", "give at least one"));
    }
    if !(60.0..=4000.0).contains(&options.panel_size) {
        return Err(Error::data(format!("panel_size is {}", options.panel_size), "give 60 to 4000 pixels, e.g. 260"));
    }
    if options.n_columns == 0 {
        return Err(Error::data("n_columns is 0", "give at least 1"));
    }
    if let Some(radius) = options.point_radius.filter(|r| !(0.1..=100.0).contains(r)) {
        return Err(Error::data(format!("point_radius is {radius}"), "give 0.1 to 100 pixels, or none to fit it"));
    }
    panels.iter().try_for_each(check)?;
    let n_columns = options.n_columns.min(panels.len());
    let side = options.panel_size;
    let prepared: Vec<Prepared> = panels.iter().map(|panel| prepare(panel, options)).collect();
    let legend_width = |column: usize| {
        let widths = prepared.iter().skip(column).step_by(n_columns).map(|p| p.legend.width(side));
        widths.fold(0.0, f64::max)
    };
    let mut lefts = vec![theme::MARGIN];
    for column in 0..n_columns {
        let legend = legend_width(column);
        lefts.push(lefts[column] + side + if legend > 0.0 { theme::GAP + legend } else { 0.0 } + theme::GAP);
    }
    // A title may reach over the legend.
    let room = |i: usize| lefts[i % n_columns + 1] - theme::GAP - lefts[i % n_columns];
    let title = Text::new(theme::TITLE).bold();
    let titles: Vec<Vec<String>> =
        panels.iter().enumerate().map(|(i, panel)| title.wrapped(panel.title, room(i), TITLE_LINES)).collect();
    let above = TITLE + LINE * (titles.iter().map(Vec::len).max().unwrap_or(1).max(1) - 1) as f64;
    let row_height = above + side + theme::GAP;
    let n_rows = panels.len().div_ceil(n_columns);
    let size = (lefts[n_columns] - theme::GAP + theme::MARGIN, n_rows as f64 * row_height - theme::GAP + 2.0 * theme::MARGIN);
    let corner = |i: usize| (lefts[i % n_columns], theme::MARGIN + (i / n_columns) as f64 * row_height + above);

    let total: usize = prepared.iter().map(|p| p.points.len()).sum();
    let layers = match total > SHAPES {
        true => prepared.iter().enumerate().map(|(i, p)| p.layer(corner(i), side)).collect(),
        false => Vec::new(),
    };
    Figure::draw(size, layers, |canvas| {
        for (i, prepared) in prepared.iter().enumerate() {
            let (x, y) = corner(i);
            for (line, text) in titles[i].iter().rev().enumerate() {
                canvas.name(text, room(i), (x, y - TITLE / 2.0 - 1.0 - line as f64 * LINE), &title)?;
            }
            if total <= SHAPES {
                for (px, py, color) in &prepared.points {
                    canvas.circle((x + f64::from(*px), y + f64::from(*py)), prepared.radius, *color, prepared.opacity)?;
                }
            }
            if i == 0 {
                // A little outside, where points seldom are.
                arrows(canvas, (x - 6.0, y + side + 4.0), &options.axes)?;
            }
            let label = Text::new(theme::SMALL).bold().anchor(Anchor::Middle);
            let mut labels = prepared.labels.iter();
            labels.try_for_each(|(name, at)| canvas.rimmed_name(name, LABEL_AT_MOST * side, (x + at.0, y + at.1), &label))?;
            prepared.legend.draw(canvas, (x + side + theme::GAP, y), side)?;
        }
        Ok(())
    })
}

/// Width of a name amid its cells over that of the panel.
const LABEL_AT_MOST: f64 = 0.6;

/// Height of the line with the title, and of one more above it.
const TITLE: f64 = 22.0;
const LINE: f64 = 15.0;

/// Lines that a title may have.
const TITLE_LINES: usize = 2;

fn check(panel: &Panel<'_>) -> Result<()> {
    let n = panel.points.nrows();
    if n == 0 || panel.points.ncols() < 2 {
        let problem = format!("`{}` has {n} cells in {} dimensions", panel.title, panel.points.ncols());
        return Err(Error::data(problem, "give at least one cell and two columns"));
    }
    let colors = match panel.color {
        Color::Category(column) | Color::Highlight(column, _) => column.len(),
        Color::Values(values, _) => values.len(),
        Color::Density | Color::Plain => n,
    };
    if colors != n {
        return Err(Error::data(format!("`{}` has {n} cells and colours for {colors}", panel.title), "give one per cell"));
    }
    if let Color::Highlight(column, level) = panel.color
        && !column.levels().iter().any(|l| l == level)
    {
        return Err(Error::data(
            format!("there is no level `{level}`"),
            format!("the levels are: {}", column.levels().join(", ")),
        ));
    }
    let finite = |row: ndarray::ArrayView1<'_, f32>| row[0].is_finite() && row[1].is_finite();
    match panel.points.rows().into_iter().position(|row| !finite(row)) {
        Some(row) => Err(Error::data(format!("the place of cell number {} is not finite", row + 1), "leave the cell out")),
        None => Ok(()),
    }
}

/// A panel in pixels.
struct Prepared {
    points: Vec<(f32, f32, Rgb)>,
    radius: f64,
    opacity: f64,
    legend: Legend,
    labels: Vec<(String, (f64, f64))>,
}

impl Prepared {
    fn layer(&self, (x, y): (f64, f64), side: f64) -> PointLayer {
        // Discs at the edge reach beyond the panel.
        let reach = self.radius + 1.0;
        let moved = self.points.iter().map(|(px, py, color)| (px + reach as f32, py + reach as f32, *color)).collect();
        let area = [x - reach, y - reach, side + 2.0 * reach, side + 2.0 * reach];
        PointLayer::new(area, self.radius, self.opacity, moved)
    }
}

fn prepare(panel: &Panel<'_>, options: &EmbeddingOptions) -> Prepared {
    let (n, side) = (panel.points.nrows(), options.panel_size);
    let fitted = (0.3 * side * side / (n as f64 * std::f64::consts::PI)).sqrt().clamp(0.4, 3.5);
    let radius = options.point_radius.unwrap_or(fitted);
    let places = places(panel.points, side, radius);
    let (colors, legend) = colors(panel, &places, side);
    let mut order: Vec<usize> = (0..n).collect();
    Rng::new(options.seed).stream("order of points", 0, 0).shuffle(&mut order);
    // Grey first; numbers by size; the shuffle decides the rest.
    match panel.color {
        Color::Values(values, _) => order.sort_by(|a, b| {
            let key = |i: usize| if values[i].is_finite() { values[i] } else { f32::NEG_INFINITY };
            key(*a).total_cmp(&key(*b))
        }),
        _ => order.sort_by_key(|i| colors[*i] != MISSING),
    }
    let labels = match panel.color {
        Color::Category(column) if options.label_clusters => cluster_labels(column, &places, side),
        _ => Vec::new(),
    };
    let points = order.into_iter().map(|i| (places[i].0, places[i].1, colors[i])).collect();
    Prepared { points, radius, opacity: if n > 1000 { 0.8 } else { 0.9 }, legend, labels }
}

/// Places within a panel: one scale for both dimensions, the cells in its middle.
fn places(points: ArrayView2<'_, f32>, side: f64, radius: f64) -> Vec<(f32, f32)> {
    let along = |d: usize| range(points.column(d).iter().map(|v| f64::from(*v)));
    let ((x0, x1), (y0, y1)) = (along(0), along(1));
    let half = (0.5 * (x1 - x0).max(y1 - y0)).max(1e-12);
    let middle = (0.5 * (x0 + x1), 0.5 * (y0 + y1));
    let x = Scale::new(middle.0 - half, middle.0 + half, radius + 1.0, side - radius - 1.0);
    let y = Scale::new(middle.1 - half, middle.1 + half, side - radius - 1.0, radius + 1.0);
    points.rows().into_iter().map(|p| (x.at(f64::from(p[0])) as f32, y.at(f64::from(p[1])) as f32)).collect()
}

fn colors(panel: &Panel<'_>, places: &[(f32, f32)], side: f64) -> (Vec<Rgb>, Legend) {
    let n = places.len();
    match panel.color {
        Color::Category(column) => {
            let palette = categorical(column.n_levels());
            let colors = column.codes().iter().map(|c| c.map_or(MISSING, |c| palette[c as usize])).collect();
            (colors, entries(column, &palette))
        }
        Color::Highlight(column, level) => {
            let colors = (0..n).map(|i| if column.value(i) == Some(level) { categorical(1)[0] } else { MISSING }).collect();
            (colors, Legend::None)
        }
        Color::Values(values, map) => by_value(&values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>(), map),
        Color::Density => {
            let (colors, _) = by_value(&density(places, side), ColorMap::Viridis);
            (colors, Legend::None)
        }
        Color::Plain => (vec![theme::SOFT; n], Legend::None),
    }
}

fn by_value(values: &[f64], map: ColorMap) -> (Vec<Rgb>, Legend) {
    let (mut low, mut high) = range(values.iter().copied().filter(|v| v.is_finite()));
    if map == ColorMap::Diverging {
        // The middle of the map is 0.
        high = high.abs().max(low.abs());
        low = -high;
    }
    let scale = Scale::new(low, high, 0.0, 1.0);
    let colors = values.iter().map(|v| if v.is_finite() { map.at(scale.at(*v)) } else { MISSING }).collect();
    (colors, Legend::Values { low: scale.low, high: scale.high, map })
}

/// Cells around each cell: counts on a grid, smoothed over its neighbours thrice, which is nearly a normal curve.
fn density(places: &[(f32, f32)], side: f64) -> Vec<f64> {
    const CELLS: usize = 96;
    let at = |v: f32| ((f64::from(v) / side * CELLS as f64) as usize).min(CELLS - 1);
    let mut counts = vec![0f64; CELLS * CELLS];
    places.iter().for_each(|(x, y)| counts[at(*y) * CELLS + at(*x)] += 1.0);
    for _ in 0..3 {
        for (step, line) in [(1, CELLS), (CELLS, 1)] {
            let before = counts.clone();
            for i in 0..CELLS {
                for j in 0..CELLS {
                    let around = i.saturating_sub(2)..(i + 3).min(CELLS);
                    counts[j * line + i * step] = around.map(|k| before[j * line + k * step]).sum::<f64>() / 5.0;
                }
            }
        }
    }
    places.iter().map(|(x, y)| counts[at(*y) * CELLS + at(*x)].sqrt()).collect()
}

/// Short arrows for the two dimensions, from the lower left corner.
fn arrows(canvas: &mut Canvas<'_>, (x, y): (f64, f64), names: &[String; 2]) -> Result<()> {
    const LENGTH: f64 = 46.0;
    if names.iter().all(String::is_empty) {
        return Ok(());
    }
    canvas.line(&[(x, y - LENGTH), (x, y), (x + LENGTH, y)], theme::INK, 1.0)?;
    canvas.polygon(&[(x + LENGTH + 5.0, y), (x + LENGTH, y - 2.5), (x + LENGTH, y + 2.5)], theme::INK, 1.0)?;
    canvas.polygon(&[(x, y - LENGTH - 5.0), (x - 2.5, y - LENGTH), (x + 2.5, y - LENGTH)], theme::INK, 1.0)?;
    let text = Text::new(9.5).color(theme::SOFT);
    canvas.text(&names[0], (x + 5.0, y - 7.0), &text)?;
    canvas.text(&names[1], (x + 7.0, y - 14.0), &text.upwards())
}

/// Names amid the cells of their category, pushed apart where they would overlap.
fn cluster_labels(column: &Categorical, places: &[(f32, f32)], side: f64) -> Vec<(String, (f64, f64))> {
    let text = Text::new(theme::SMALL).bold();
    let median = |mut values: Vec<f32>| {
        values.sort_by(f32::total_cmp);
        f64::from(values[values.len() / 2])
    };
    let mut labels: Vec<(String, (f64, f64), f64)> = Vec::new();
    for level in 0..column.n_levels() {
        let own = || places.iter().zip(column.codes()).filter(|(_, c)| **c == Some(level as u32)).map(|(p, _)| p);
        if own().next().is_some() {
            let name = &column.levels()[level];
            let width = text.width(name).min(LABEL_AT_MOST * side);
            labels.push((name.clone(), (median(own().map(|p| p.0).collect()), median(own().map(|p| p.1).collect())), width));
        }
    }
    let height = theme::SMALL + 2.0;
    for _ in 0..200 {
        let mut moved = false;
        for i in 0..labels.len() {
            for j in 0..i {
                let (a, b) = (&labels[i], &labels[j]);
                let (dx, dy) = (a.1.0 - b.1.0, a.1.1 - b.1.1);
                if dx.abs() < 0.5 * (a.2 + b.2) && dy.abs() < height {
                    let push = 0.5 * (height - dy.abs()) + 0.1;
                    let up = if dy < 0.0 { -push } else { push };
                    labels[i].1.1 += up;
                    labels[j].1.1 -= up;
                    moved = true;
                }
            }
        }
        for (_, (x, y), width) in &mut labels {
            *x = x.clamp((0.5 * *width).min(0.5 * side), (side - 0.5 * *width).max(0.5 * side));
            *y = y.clamp(height / 2.0, side - height / 2.0);
        }
        if !moved {
            break;
        }
    }
    labels.into_iter().map(|(name, at, _)| (name, at)).collect()
}
