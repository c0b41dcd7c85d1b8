//! Scatters of cells.

use std::path::Path;

use tutti::data::Categorical;
use tutti_figures::{Color, ColorMap, EmbeddingOptions, Panel, embedding_by_level, embedding_grid};

use crate::builder::changed;
use crate::column::{Column, ColumnRef, Referred, Values};
use crate::display::{Content, Rich, show};
use crate::embedding::Embedding;
use crate::error::{Error, Result, find};
use crate::figure::{Figure, failed};
use crate::shown;

/// A scatter of cells in the making. It is drawn when it is the last expression of a cell, or by [`Plot::run`].
#[derive(Clone)]
pub struct Plot {
    of: Embedding,
    panels: Vec<(Coloring, Option<String>)>,
    title: Option<String>,
    split: Option<ColumnRef>,
    map: Option<String>,
    options: EmbeddingOptions,
    n_columns: Option<usize>,
}

#[derive(Clone)]
enum Coloring {
    By(ColumnRef),
    Level(ColumnRef, String),
    Density,
}

/// What a panel is drawn in.
enum Chosen {
    Category(Categorical),
    Values(Vec<f32>),
    Level(Categorical, String),
    Density,
    Plain,
}

impl Plot {
    pub(crate) fn new(of: Embedding, axis: &str) -> Self {
        let options = EmbeddingOptions { axes: [format!("{axis} 1"), format!("{axis} 2")], ..Default::default() };
        Self { of, panels: Vec::new(), title: None, split: None, map: None, options, n_columns: None }
    }

    /// Colours by a column: one at hand, or the name of a column of obs. Each call adds a panel.
    pub fn color_by(&self, column: impl Into<ColumnRef>) -> Plot {
        changed(self, |plot| plot.panels.push((Coloring::By(column.into()), None)))
    }

    /// A panel that shows the cells of one level in colour, all others grey.
    pub fn highlight(&self, column: impl Into<ColumnRef>, level: &str) -> Plot {
        changed(self, |plot| plot.panels.push((Coloring::Level(column.into(), level.to_owned()), None)))
    }

    /// A panel that shows how many cells lie around.
    pub fn density(&self) -> Plot {
        changed(self, |plot| plot.panels.push((Coloring::Density, None)))
    }

    /// A panel per level of a column, its cells before all others in grey.
    pub fn split_by(&self, column: impl Into<ColumnRef>) -> Plot {
        changed(self, |plot| plot.split = Some(column.into()))
    }

    /// What stands above the panel that was added last; without it, the name of the column.
    pub fn title(&self, title: &str) -> Plot {
        changed(self, |plot| match plot.panels.last_mut() {
            Some((_, of_panel)) => *of_panel = Some(title.to_owned()),
            None => plot.title = Some(title.to_owned()),
        })
    }

    /// Writes the name of each category amid its cells.
    pub fn label_clusters(&self) -> Plot {
        changed(self, |plot| plot.options.label_clusters = true)
    }

    /// Side of a panel in pixels. Default 260, or 360 where there is a single one.
    pub fn panel_size(&self, pixels: f64) -> Plot {
        changed(self, |plot| plot.options.panel_size = pixels)
    }

    /// Panels side by side. Default 2, or 3 of a split.
    pub fn n_columns(&self, n: usize) -> Plot {
        changed(self, |plot| plot.n_columns = Some(n))
    }

    /// Radius of a point in pixels; without it, one that fits the number of cells.
    pub fn point_radius(&self, pixels: f64) -> Plot {
        changed(self, |plot| plot.options.point_radius = Some(pixels))
    }

    /// Colours of numbers: `"viridis"` (default), `"diverging"` or `"blues"`.
    pub fn color_map(&self, name: &str) -> Plot {
        changed(self, |plot| plot.map = Some(name.to_owned()))
    }

    /// Draws the scatter.
    ///
    /// # Errors
    /// A column that there is not, or of other cells.
    pub fn run(&self) -> Result<Figure> {
        if self.of.n_dimensions() < 2 {
            return Err(Error::usage(format!("`{}` has one dimension; a scatter needs two", self.of.name())));
        }
        let points = self.of.array().view();
        let name = self.title.clone().unwrap_or_else(|| self.of.name());
        if let Some(split) = &self.split {
            if !self.panels.is_empty() {
                return Err(Error::usage("`split_by` has colours of its own; leave `color_by` out"));
            }
            let column = self.looked_up(split)?.categorical()?;
            let options = EmbeddingOptions { n_columns: self.n_columns.unwrap_or(3), ..self.sized(180.0) };
            return Ok(Figure::new(&name, embedding_by_level(points, &column, &options)?));
        }
        let map = parse_map(self.map.as_deref().unwrap_or("viridis"))?;
        let titled = |(coloring, title): &(Coloring, Option<String>)| {
            self.choose(coloring).map(|(name, chosen)| (title.clone().unwrap_or(name), chosen))
        };
        let mut chosen = self.panels.iter().map(titled).collect::<Result<Vec<(String, Chosen)>>>()?;
        if chosen.is_empty() {
            chosen.push((String::new(), Chosen::Plain));
        }
        // A title that was given before the first panel.
        if let (None | Some((_, None)), Some(title)) = (self.panels.first(), &self.title) {
            chosen[0].0 = title.clone();
        }
        let panels: Vec<Panel<'_>> = chosen.iter().map(|(title, c)| Panel { title, points, color: c.color(map) }).collect();
        let size = if panels.len() == 1 { 360.0 } else { self.options.panel_size };
        let options = EmbeddingOptions { n_columns: self.n_columns.unwrap_or(2).min(panels.len().max(1)), ..self.sized(size) };
        Ok(Figure::new(&name, embedding_grid(&panels, &options)?))
    }

    /// Draws the scatter and writes it as .svg or .png.
    ///
    /// # Errors
    /// As [`Plot::run`] and [`Figure::save`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.run()?.save(path)
    }

    /// Shows the scatter; notebooks call this for the last expression of a cell.
    pub fn evcxr_display(&self) {
        show(self);
    }

    /// The options with another default side of a panel.
    fn sized(&self, default: f64) -> EmbeddingOptions {
        let asked = self.options.panel_size;
        let panel_size = if asked == EmbeddingOptions::default().panel_size { default } else { asked };
        EmbeddingOptions { panel_size, ..self.options.clone() }
    }

    fn looked_up(&self, column: &ColumnRef) -> Result<Column> {
        resolve(&self.of, column)
    }

    fn choose(&self, coloring: &Coloring) -> Result<(String, Chosen)> {
        Ok(match coloring {
            Coloring::By(column) => {
                let column = self.looked_up(column)?;
                let values = match column.raw() {
                    Values::Category(c) => Chosen::Category(c.clone()),
                    Values::Number(v) => Chosen::Values(v.clone()),
                };
                (column.name(), values)
            }
            Coloring::Level(column, level) => {
                let column = self.looked_up(column)?;
                find("level", level, &column.levels())?;
                (format!("{}: {level}", column.name()), Chosen::Level(column.categorical()?, level.clone()))
            }
            Coloring::Density => ("density".into(), Chosen::Density),
        })
    }
}

/// The column that is meant, of the cells of an embedding.
pub(crate) fn resolve(of: &Embedding, column: &ColumnRef) -> Result<Column> {
    match (&column.of, of.cells()) {
        (Referred::Column(column), _) => column.clone().checked(of.n_cells()),
        (Referred::Name(_), Some(cells)) => cells.column(column),
        (Referred::Name(name), None) => {
            let ways = format!("say of which it is by `.with_cells(&cells)?`, or give the column itself instead of `{name}`");
            Err(Error::usage(format!("`{}` does not know its cells; {ways}", of.name())))
        }
    }
}

impl Chosen {
    fn color(&self, map: ColorMap) -> Color<'_> {
        match self {
            Self::Category(column) => Color::Category(column),
            Self::Values(values) => Color::Values(values, map),
            Self::Level(column, level) => Color::Highlight(column, level),
            Self::Density => Color::Density,
            Self::Plain => Color::Plain,
        }
    }
}

pub(crate) fn parse_map(name: &str) -> Result<ColorMap> {
    match name {
        "viridis" => Ok(ColorMap::Viridis),
        "diverging" => Ok(ColorMap::Diverging),
        "blues" => Ok(ColorMap::Blues),
        _ => Err(Error::usage(format!("`color_map` is `{name}`; give \"viridis\", \"diverging\" or \"blues\""))),
    }
}

impl Rich for Plot {
    fn content(&self) -> Content {
        match self.run() {
            Ok(figure) => figure.content(),
            Err(error) => failed(&error),
        }
    }
}

/// What a console shows.
impl std::fmt::Debug for Plot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        shown::debug(self, &format!("scatter of {}", self.of.name()), f)
    }
}
