//! One value per cell: a category, such as a cell type or a cluster, or a number, such as the expression of a gene.

use std::sync::Arc;

use tutti::data::Categorical;
use tutti_figures::{Rgb, categorical};
use tutti_io::ObsColumn;

use crate::display::{Content, Rich, show};
use crate::error::{Error, Result};
use crate::html::{ACCENT, LINE, block, chip, counted, cut, escape, muted, number, thousands};
use crate::shown;
use crate::table::Table;

/// A value of every cell, with a name. Cheap to clone.
#[derive(Clone)]
pub struct Column {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    name: String,
    values: Values,
    note: Option<String>,
}

#[derive(Clone)]
pub(crate) enum Values {
    Category(Categorical),
    Number(Vec<f32>),
}

impl Column {
    /// Categories, one text per cell; an empty text is missing.
    pub fn categories(name: &str, values: &[String]) -> Column {
        let column = Categorical::from_values(values.iter().map(|v| (!v.is_empty()).then_some(v)));
        Self::new(name, Values::Category(column), None)
    }

    /// Numbers, one per cell; NaN is missing.
    pub fn numbers(name: &str, values: &[f32]) -> Column {
        Self::new(name, Values::Number(values.to_vec()), None)
    }

    pub(crate) fn new(name: &str, values: Values, note: Option<String>) -> Self {
        Self { inner: Arc::new(Inner { name: name.to_owned(), values, note }) }
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.inner.name.clone()
    }

    /// The same under another name.
    pub fn named(&self, name: &str) -> Column {
        Self::new(name, self.inner.values.clone(), self.inner.note.clone())
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        match &self.inner.values {
            Values::Category(column) => column.len(),
            Values::Number(values) => values.len(),
        }
    }

    /// Whether there are no cells.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the values are categories.
    pub fn is_category(&self) -> bool {
        matches!(self.inner.values, Values::Category(_))
    }

    /// Names of the categories that cells have, in the order of their colours; none of numbers.
    ///
    /// A part of the cells, as of [`crate::Cells::only`], has fewer categories, in the colours that they have among all cells.
    pub fn levels(&self) -> Vec<String> {
        self.used().into_iter().map(|(_, level, _)| level).collect()
    }

    /// Number of categories that cells have.
    pub fn n_levels(&self) -> usize {
        self.used().len()
    }

    /// Cells of each category, in the order of [`Column::levels`].
    pub fn counts(&self) -> Vec<usize> {
        self.used().into_iter().map(|(_, _, n)| n).collect()
    }

    /// Code, name and cells of each category that cells have.
    fn used(&self) -> Vec<(usize, String, usize)> {
        let Values::Category(column) = &self.inner.values else { return Vec::new() };
        let counts = column.counts().into_iter().enumerate().filter(|(_, n)| *n > 0);
        counts.map(|(code, n)| (code, column.levels()[code].clone(), n)).collect()
    }

    /// The value of every cell as text; nothing where it is missing.
    pub fn values(&self) -> Vec<Option<String>> {
        match &self.inner.values {
            Values::Category(column) => (0..column.len()).map(|i| column.value(i).map(str::to_owned)).collect(),
            Values::Number(values) => values.iter().map(|v| v.is_finite().then(|| v.to_string())).collect(),
        }
    }

    /// The numbers; categories that are numbers as text become numbers again.
    ///
    /// # Errors
    /// For categories that are no numbers.
    pub fn to_numbers(&self) -> Result<Vec<f32>> {
        let column = match &self.inner.values {
            Values::Number(values) => return Ok(values.clone()),
            Values::Category(column) => column,
        };
        let parsed = |level: &String| {
            let wrong = || Error::usage(format!("`{}` holds categories such as `{level}`, not numbers", self.inner.name));
            level.parse::<f32>().map_err(|_| wrong())
        };
        let levels = column.levels().iter().map(parsed).collect::<Result<Vec<f32>>>()?;
        Ok(column.codes().iter().map(|c| c.map_or(f32::NAN, |c| levels[c as usize])).collect())
    }

    /// Codes and levels as the core takes them, those that no cell has among them.
    ///
    /// # Errors
    /// For numbers with fractions.
    pub fn categorical(&self) -> Result<tutti::data::Categorical> {
        match &self.inner.values {
            Values::Category(column) => Ok(column.clone()),
            Values::Number(_) => {
                Err(Error::usage(format!("`{}` holds numbers, not categories; give a column of categories", self.inner.name)))
            }
        }
    }

    /// Categories with their numbers of cells, or the numbers in brief.
    ///
    /// # Errors
    /// None for columns that this crate made.
    pub fn table(&self) -> Result<Table> {
        match &self.inner.values {
            Values::Category(column) => {
                let share = |n: &usize| *n as f64 / column.len().max(1) as f64;
                let counts = self.counts();
                Table::build()
                    .text(&self.inner.name, self.levels())
                    .integers("cells", counts.iter().map(|n| *n as i64).collect::<Vec<_>>())
                    .numbers("share", counts.iter().map(share).collect::<Vec<_>>())
                    .run()
            }
            Values::Number(values) => {
                let (names, numbers): (Vec<&str>, Vec<f64>) = in_brief(values).into_iter().unzip();
                Table::build().text(&self.inner.name, &names).numbers("value", numbers).run()
            }
        }
    }

    /// Shows the column; notebooks call this for the last expression of a cell.
    pub fn evcxr_display(&self) {
        show(self);
    }

    pub(crate) fn raw(&self) -> &Values {
        &self.inner.values
    }

    pub(crate) fn obs_column(&self) -> ObsColumn {
        match &self.inner.values {
            Values::Category(column) => ObsColumn::Levels(column.clone()),
            Values::Number(values) => ObsColumn::Float(values.clone()),
        }
    }

    /// Refuses a column of other cells than `n`.
    pub(crate) fn checked(self, n: usize) -> Result<Self> {
        match self.len() == n {
            true => Ok(self),
            false => {
                Err(Error::usage(format!("`{}` has {} values for {n} cells; give one per cell", self.inner.name, self.len())))
            }
        }
    }

    /// What there is to say in one line.
    pub(crate) fn brief(&self) -> String {
        match &self.inner.values {
            Values::Category(_) => {
                const LISTED: usize = 5;
                let mut by_size: Vec<(String, usize)> = self.used().into_iter().map(|(_, level, n)| (level, n)).collect();
                // Levels of as many cells stay in their order.
                by_size.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
                let listed: Vec<String> =
                    by_size.iter().take(LISTED).map(|(level, n)| format!("{} {}", cut(level, 40), thousands(*n))).collect();
                let more = if by_size.len() > LISTED { format!(", … {} more", by_size.len() - LISTED) } else { String::new() };
                format!("{}: {}{more}", counted(by_size.len(), "level"), listed.join(", "))
            }
            Values::Number(values) => {
                let numbers = in_brief(values);
                let get = |name: &str| numbers.iter().find(|n| n.0 == name).map_or(f64::NAN, |n| n.1);
                format!("{} to {}, median {}", number(get("smallest")), number(get("largest")), number(get("median")))
            }
        }
    }

    /// Cells without a value.
    pub fn n_missing(&self) -> usize {
        match &self.inner.values {
            Values::Category(column) => column.codes().iter().filter(|c| c.is_none()).count(),
            Values::Number(values) => values.iter().filter(|v| !v.is_finite()).count(),
        }
    }
}

/// Smallest, quartiles, mean and largest of what is finite.
fn in_brief(values: &[f32]) -> Vec<(&'static str, f64)> {
    let mut sorted: Vec<f32> = values.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_unstable_by(f32::total_cmp);
    let at =
        |share: f64| sorted.get(((sorted.len().max(1) - 1) as f64 * share).round() as usize).map_or(f64::NAN, |v| f64::from(*v));
    let mean = sorted.iter().map(|v| f64::from(*v)).sum::<f64>() / sorted.len() as f64;
    let missing = (values.len() - sorted.len()) as f64;
    vec![
        ("smallest", at(0.0)),
        ("first quartile", at(0.25)),
        ("median", at(0.5)),
        ("mean", mean),
        ("third quartile", at(0.75)),
        ("largest", at(1.0)),
        ("missing", missing),
    ]
}

/// Levels that are listed with their colours.
const SHOWN: usize = 40;

impl Rich for Column {
    fn content(&self) -> Content {
        let name = &self.inner.name;
        let mut head = format!("{name}: {}", counted(self.len(), "cell"));
        match self.n_missing() {
            0 => {}
            n => head += &format!(", {} missing", thousands(n)),
        }
        let note = self.inner.note.iter().map(|n| format!(" ({n})")).collect::<String>();
        let title = format!(
            "<b>{}</b> {}",
            escape(name),
            muted(&format!("{}{note}", head.trim_start_matches(name.as_str()).trim_start_matches(": ")))
        );
        let body = match &self.inner.values {
            Values::Category(column) => level_rows(&self.used(), &categorical(column.n_levels())),
            Values::Number(values) => {
                let row = |(name, value): (&str, f64)| format!("{name} <b>{}</b>", number(value));
                in_brief(values).into_iter().map(row).collect::<Vec<_>>().join(" &ensp;")
            }
        };
        let text = format!("{head}{note}\n{}", self.brief());
        Content::text(text).with_html(block(&format!("{title}<div>{body}</div>")))
    }
}

/// A row per level: colour, name, cells, and a bar.
fn level_rows(levels: &[(usize, String, usize)], colors: &[Rgb]) -> String {
    let most = levels.iter().map(|(_, _, n)| *n).max().unwrap_or(1).max(1) as f64;
    let row = |(code, level, n): &(usize, String, usize)| {
        let width = 160.0 * *n as f64 / most;
        format!(
            "<tr style=\"background:none\"><td style=\"text-align:left;padding:0 12px 0 0\">{}{}</td><td style=\"text-align:right;padding:0 8px\">{}</td>\
             <td style=\"text-align:left;padding:0\"><div style=\"height:8px;width:{width:.0}px;border-radius:2px;background:{ACCENT};opacity:.5\"></div></td></tr>",
            chip(colors[*code]),
            escape(&cut(level, 60)),
            thousands(*n)
        )
    };
    let rows: String = levels.iter().take(SHOWN).map(row).collect();
    let more = match levels.len().saturating_sub(SHOWN) {
        0 => String::new(),
        n => muted(&format!("… {}", counted(n, "more level"))),
    };
    format!(
        "<div style=\"max-height:360px;overflow:auto\"><table style=\"border-collapse:collapse;border:none;margin:2px 0;border-top:1px solid {LINE}\">{rows}</table></div>{more}"
    )
}

/// What a console shows.
impl std::fmt::Debug for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        shown::debug(self, &self.content().text, f)
    }
}

impl From<&Column> for Column {
    fn from(column: &Column) -> Column {
        column.clone()
    }
}

impl From<Vec<f32>> for Column {
    fn from(values: Vec<f32>) -> Column {
        Column::numbers("", &values)
    }
}

impl From<Vec<f64>> for Column {
    fn from(values: Vec<f64>) -> Column {
        Column::numbers("", &values.iter().map(|v| *v as f32).collect::<Vec<_>>())
    }
}

impl From<Vec<String>> for Column {
    fn from(values: Vec<String>) -> Column {
        Column::categories("", &values)
    }
}

impl From<Vec<&str>> for Column {
    fn from(values: Vec<&str>) -> Column {
        Column::new("", Values::Category(Categorical::from_values(values.into_iter().map(Some))), None)
    }
}

impl From<Vec<bool>> for Column {
    fn from(values: Vec<bool>) -> Column {
        let text = |v: bool| Some(if v { "True" } else { "False" });
        Column::new("", Values::Category(Categorical::from_values(values.into_iter().map(text))), None)
    }
}

impl From<tutti::data::Categorical> for Column {
    fn from(column: tutti::data::Categorical) -> Column {
        Column::new("", Values::Category(column), None)
    }
}

/// A column of obs by its name, or a column at hand.
#[derive(Clone)]
pub struct ColumnRef {
    pub(crate) of: Referred,
}

#[derive(Clone)]
pub(crate) enum Referred {
    Name(String),
    Column(Column),
}

impl From<&str> for ColumnRef {
    fn from(name: &str) -> ColumnRef {
        ColumnRef { of: Referred::Name(name.to_owned()) }
    }
}

impl From<&String> for ColumnRef {
    fn from(name: &String) -> ColumnRef {
        ColumnRef { of: Referred::Name(name.clone()) }
    }
}

impl From<String> for ColumnRef {
    fn from(name: String) -> ColumnRef {
        ColumnRef { of: Referred::Name(name) }
    }
}

impl From<Column> for ColumnRef {
    fn from(column: Column) -> ColumnRef {
        ColumnRef { of: Referred::Column(column) }
    }
}

impl From<&Column> for ColumnRef {
    fn from(column: &Column) -> ColumnRef {
        ColumnRef { of: Referred::Column(column.clone()) }
    }
}
