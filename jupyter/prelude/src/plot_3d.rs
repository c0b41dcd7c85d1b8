//! Cells in three dimensions, to turn: a page of its own within the notebook, that needs no network and is saved with it.

use std::path::Path;

use tutti_figures::{Color, ColorMap, scatter_3d};

use crate::builder::changed;
use crate::column::{Column, ColumnRef, Values};
use crate::display::{Content, Rich, show};
use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::figure::failed;
use crate::html::{LINE, escape};
use crate::plot::resolve;
use crate::shown;

/// A scatter of three dimensions in the making. It is drawn when it is the last expression of a cell.
#[derive(Clone)]
pub struct Plot3d {
    of: Embedding,
    columns: Vec<ColumnRef>,
    title: String,
    height: f64,
}

impl Plot3d {
    pub(crate) fn new(of: Embedding) -> Self {
        let title = of.name();
        Self { of, columns: Vec::new(), title, height: 480.0 }
    }

    /// Colours by a column: one at hand, or the name of a column of obs. Of several, the page lets choose.
    pub fn color_by(&self, column: impl Into<ColumnRef>) -> Plot3d {
        changed(self, |plot| plot.columns.push(column.into()))
    }

    /// What stands above it.
    pub fn title(&self, title: &str) -> Plot3d {
        changed(self, |plot| plot.title = title.to_owned())
    }

    /// Height in pixels. Default 480.
    pub fn height(&self, pixels: f64) -> Plot3d {
        changed(self, |plot| plot.height = pixels)
    }

    /// The page as HTML.
    ///
    /// # Errors
    /// Fewer than three dimensions; a column that there is not, or of other cells.
    pub fn html(&self) -> Result<String> {
        if self.of.n_dimensions() < 3 {
            let fix = "lay the cells out by `umap_with(&z).n_components(3).run()?`";
            return Err(Error::usage(format!("`{}` has {} dimensions; {fix}", self.of.name(), self.of.n_dimensions())));
        }
        let mut columns = self.columns.iter().map(|c| resolve(&self.of, c)).collect::<Result<Vec<Column>>>()?;
        if columns.is_empty() {
            columns.push(Column::new(
                "cells",
                Values::Category(tutti::data::Categorical::from_values(vec![Some("all"); self.of.n_cells()])),
                None,
            ));
        }
        let names: Vec<String> = columns.iter().map(Column::name).collect();
        let colors = columns.iter().map(|c| match c.raw() {
            Values::Category(column) => Color::Category(column),
            Values::Number(values) => Color::Values(values, ColorMap::Viridis),
        });
        let named: Vec<(&str, Color<'_>)> = names.iter().map(String::as_str).zip(colors).collect();
        Ok(scatter_3d(self.of.array().view(), &named, &self.title)?.html().to_owned())
    }

    /// Writes the page as .html.
    ///
    /// # Errors
    /// As [`Plot3d::html`]; another ending; what the system refuses.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        if path.extension().is_none_or(|e| e != "html") {
            return Err(Error::usage(format!("{} is no .html; end the name in .html", path.display())));
        }
        let written = std::fs::write(path, self.html()?);
        Ok(written.map_err(|source| tutti_io::Error::Io { path: path.to_owned(), source })?)
    }

    /// Shows the scatter; notebooks call this for the last expression of a cell.
    pub fn evcxr_display(&self) {
        show(self);
    }
}

impl Rich for Plot3d {
    fn content(&self) -> Content {
        match self.html() {
            // The page is a document of its own: neither its styles nor its script meet those of the notebook.
            Ok(page) => Content::text(format!("3D scatter: {} ({} cells)", self.title, self.of.n_cells())).with_html(format!(
                "<iframe title=\"{}\" sandbox=\"allow-scripts\" style=\"width:100%;height:{:.0}px;border:1px solid {LINE}\" srcdoc=\"{}\"></iframe>",
                escape(&self.title),
                self.height.clamp(100.0, 4000.0),
                page.replace('&', "&amp;").replace('"', "&quot;")
            )),
            Err(error) => failed(&error),
        }
    }
}

/// What a console shows.
impl std::fmt::Debug for Plot3d {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        shown::debug(self, &self.content().text, f)
    }
}
