//! Tables: scrolling, with typed headers, cut to what fits the eye.

use std::path::Path;
use std::sync::Arc;

use polars::prelude::{
    AnyValue, Column as PolarsColumn, CsvWriter, DataFrame, DataType, ParquetWriter, SerWriter, SortMultipleOptions,
};

use crate::builder::changed;
use crate::column::{Column, Values};
use crate::display::{Content, Rich, show};
use crate::error::{Error, Result, find};
use crate::html::{LINE, MUTED, SURFACE, block, counted, cut, escape, muted, number};
use crate::shown;

/// A table, behind it a polars data frame. Cheap to clone.
#[derive(Clone)]
pub struct Table {
    inner: Arc<DataFrame>,
}

/// Rows and columns that are shown.
const ROWS: usize = 20;
const COLUMNS: usize = 20;

/// Characters of a value that are shown.
const WIDTH: usize = 60;

impl Table {
    /// A table of a data frame.
    pub fn new(frame: polars::prelude::DataFrame) -> Table {
        Table { inner: Arc::new(frame) }
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.inner.height()
    }

    /// Number of columns.
    pub fn n_columns(&self) -> usize {
        self.inner.width()
    }

    /// Names of the columns.
    pub fn columns(&self) -> Vec<String> {
        self.inner.get_column_names().iter().map(|n| n.to_string()).collect()
    }

    /// A column: numbers, or categories of what is no number.
    ///
    /// # Errors
    /// For a name that there is not, naming those there are.
    pub fn column(&self, name: &str) -> Result<Column> {
        let at = find("column", name, &self.columns())?;
        let column = &self.inner.columns()[at];
        if column.dtype().is_primitive_numeric() {
            let cast = column.cast(&DataType::Float32)?;
            let values: Vec<f32> = cast.f32()?.iter().map(|v| v.unwrap_or(f32::NAN)).collect();
            return Ok(Column::new(name, Values::Number(values), None));
        }
        let texts = (0..column.len()).map(|i| text(&column.get(i).unwrap_or(AnyValue::Null)));
        Ok(Column::new(name, Values::Category(tutti::data::Categorical::from_values(texts)), None))
    }

    /// Two columns as pairs of text, rows without one of them left out: `found.marker_hits(50, known.pairs("group", "gene")?)?`.
    ///
    /// # Errors
    /// For a column that there is not.
    pub fn pairs(&self, first: &str, second: &str) -> Result<Vec<(String, String)>> {
        let (first, second) = (self.column(first)?.values(), self.column(second)?.values());
        Ok(first.into_iter().zip(second).filter_map(|(a, b)| a.zip(b)).collect())
    }

    /// These columns, in this order.
    ///
    /// # Errors
    /// For a name that there is not, naming those there are, or one given twice.
    pub fn select<S: AsRef<str>>(&self, columns: impl AsRef<[S]>) -> Result<Table> {
        let there = self.columns();
        let at = columns.as_ref().iter().map(|name| find("column", name.as_ref(), &there)).collect::<Result<Vec<usize>>>()?;
        Columns { columns: at.into_iter().map(|at| self.inner.columns()[at].clone()).collect() }.run()
    }

    /// The first `n` rows.
    pub fn head(&self, n: usize) -> Table {
        Table::new(self.inner.head(Some(n)))
    }

    /// The rows by a column, the largest first where `descending`; missing values last.
    ///
    /// # Errors
    /// For a name that there is not.
    pub fn sorted(&self, column: &str, descending: bool) -> Result<Table> {
        find("column", column, &self.columns())?;
        let options = SortMultipleOptions::default().with_order_descending(descending).with_nulls_last(true);
        Ok(Table::new(self.inner.sort([column], options)?))
    }

    /// Writes the table as .csv, .tsv or .parquet.
    ///
    /// # Errors
    /// Another ending; what the system refuses.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        if !["csv", "tsv", "parquet"].contains(&ending.as_str()) {
            return Err(Error::usage(format!("{}: unknown format; end the name in .csv, .tsv or .parquet", path.display())));
        }
        let file = std::fs::File::create(path).map_err(|source| tutti_io::Error::Io { path: path.to_owned(), source })?;
        let mut frame = (*self.inner).clone();
        match ending.as_str() {
            "parquet" => ParquetWriter::new(file).finish(&mut frame).map(|_| ())?,
            ending => CsvWriter::new(file).with_separator(if ending == "csv" { b',' } else { b'\t' }).finish(&mut frame)?,
        }
        Ok(())
    }

    /// The data frame.
    pub fn inner(&self) -> &polars::prelude::DataFrame {
        &self.inner
    }

    /// Shows the table; notebooks call this for the last expression of a cell.
    pub fn evcxr_display(&self) {
        show(self);
    }

    /// A table of your own: `Table::build().text("method", ["a", "b"]).numbers("score", [0.5, 0.7]).run()?`.
    pub fn build() -> Columns {
        Columns { columns: Vec::new() }
    }
}

/// A table in the making; [`Columns::run`] makes it.
#[derive(Clone)]
pub struct Columns {
    columns: Vec<PolarsColumn>,
}

impl Columns {
    /// A column of texts.
    pub fn text<S: AsRef<str>>(&self, name: &str, values: impl AsRef<[S]>) -> Columns {
        let values: Vec<&str> = values.as_ref().iter().map(AsRef::as_ref).collect();
        changed(self, |table| table.columns.push(PolarsColumn::new(name.into(), values)))
    }

    /// A column of whole numbers; those beyond 64 bits are missing.
    pub fn integers<N: Copy + TryInto<i64>>(&self, name: &str, values: impl AsRef<[N]>) -> Columns {
        let values: Vec<Option<i64>> = values.as_ref().iter().map(|v| (*v).try_into().ok()).collect();
        changed(self, |table| table.columns.push(PolarsColumn::new(name.into(), values)))
    }

    /// A column of numbers; what is not finite is missing.
    pub fn numbers<N: Copy + Into<f64>>(&self, name: &str, values: impl AsRef<[N]>) -> Columns {
        let values: Vec<Option<f64>> =
            values.as_ref().iter().map(|v| Some((*v).into()).filter(|v: &f64| v.is_finite())).collect();
        changed(self, |table| table.columns.push(PolarsColumn::new(name.into(), values)))
    }

    /// Makes the table.
    ///
    /// # Errors
    /// Columns of unequal length, or two of one name.
    pub fn run(&self) -> Result<Table> {
        let height = self.columns.first().map_or(0, PolarsColumn::len);
        for (i, column) in self.columns.iter().enumerate() {
            let (name, n) = (column.name(), column.len());
            if n != height {
                let first = self.columns[0].name();
                return Err(Error::usage(format!("`{name}` has {n} values and `{first}` {height}; give as many in each column")));
            }
            if self.columns[..i].iter().any(|other| other.name() == name) {
                return Err(Error::usage(format!("there are two columns `{name}`; give each a name of its own")));
            }
        }
        Ok(Table::new(DataFrame::new(height, self.columns.clone())?))
    }
}

impl Rich for Table {
    fn content(&self) -> Content {
        let (n_rows, n_columns) = (self.n_rows(), self.n_columns());
        let (rows, columns) = (ends(n_rows, ROWS), ends(n_columns, COLUMNS));
        let shape = format!("{} × {}", counted(n_rows, "row"), counted(n_columns, "column"));
        let grid: Vec<Vec<Shown>> = columns.iter().map(|c| shown(c.map(|c| &self.inner.columns()[c]), &rows)).collect();
        let left = left_out(n_rows, n_columns);
        let foot = if left.is_empty() { shape } else { format!("{shape}; not shown: {left}") };
        Content::text(format!("{}{foot}", as_text(&grid))).with_html(block(&format!("{}{}", as_html(&grid), muted(&foot))))
    }
}

fn left_out(n_rows: usize, n_columns: usize) -> String {
    let left = |n: usize, most: usize, what: &str| (n > most + SLACK).then(|| counted(n - most, what));
    [left(n_rows, ROWS, "row"), left(n_columns, COLUMNS, "column")].into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

/// Rows or columns that are not worth leaving out.
const SLACK: usize = 2;

/// The first and last places of `n`, at most `most` of them; `None` stands for those between.
fn ends(n: usize, most: usize) -> Vec<Option<usize>> {
    if n <= most + SLACK {
        return (0..n).map(Some).collect();
    }
    (0..most / 2).map(Some).chain([None]).chain((n - most / 2..n).map(Some)).collect()
}

/// A value as it is shown, or the head of a column.
#[derive(Debug, Clone, PartialEq)]
struct Shown {
    text: String,
    /// The type, of a head.
    kind: String,
    is_number: bool,
    is_missing: bool,
}

/// Head and values of a column, or of those that are left out.
fn shown(column: Option<&PolarsColumn>, rows: &[Option<usize>]) -> Vec<Shown> {
    let plain = |text: &str, is_number| Shown { text: text.into(), kind: String::new(), is_number, is_missing: false };
    let Some(column) = column else { return (0..=rows.len()).map(|_| plain("…", false)).collect() };
    let is_number = column.dtype().is_primitive_numeric();
    let head = Shown { kind: kind(column.dtype()), ..plain(&cut(column.name(), WIDTH), is_number) };
    let decimals = decimals(column, rows);
    let value = |row: &Option<usize>| {
        let Some(row) = row else { return plain("…", is_number) };
        let value = column.get(*row).unwrap_or(AnyValue::Null);
        let shown = match (decimals, fraction(&value)) {
            (Some(decimals), Some(v)) => Some(format!("{v:.decimals$}")),
            _ => text(&value),
        };
        match shown {
            Some(text) => plain(&cut(&text, WIDTH), is_number),
            None => Shown { is_missing: true, ..plain("missing", is_number) },
        }
    };
    std::iter::once(head).chain(rows.iter().map(value)).collect()
}

fn fraction(value: &AnyValue<'_>) -> Option<f64> {
    match value {
        AnyValue::Float32(v) => Some(f64::from(*v)),
        AnyValue::Float64(v) => Some(*v),
        _ => None,
    }
}

/// Digits after the point that all shown numbers of a column have: none for whole numbers, as many as the largest needs; `None` where
/// some are too large or too small for that.
fn decimals(column: &PolarsColumn, rows: &[Option<usize>]) -> Option<usize> {
    let values = rows.iter().flatten().filter_map(|row| fraction(&column.get(*row).ok()?)).filter(|v| *v != 0.0);
    let (mut whole, mut least, mut most) = (true, f64::INFINITY, 0.0f64);
    for value in values {
        whole &= value == value.trunc();
        least = least.min(value.abs());
        most = most.max(value.abs());
    }
    match most {
        m if !m.is_finite() || m >= 1e9 => None,
        _ if whole => Some(0),
        m if least < 1e-4 && m < 0.1 => None,
        m if m >= 1000.0 => Some(1),
        m if m >= 1.0 => Some(3),
        _ => Some(4),
    }
}

/// A value as text; `None` where it is missing.
fn text(value: &AnyValue<'_>) -> Option<String> {
    match value {
        AnyValue::Null => None,
        AnyValue::String(s) => Some((*s).to_owned()),
        AnyValue::StringOwned(s) => Some(s.to_string()),
        AnyValue::Float32(v) => Some(number(f64::from(*v))),
        AnyValue::Float64(v) => Some(number(*v)),
        other => Some(other.str_value().into_owned()),
    }
}

fn kind(dtype: &DataType) -> String {
    match dtype {
        DataType::String => "text".into(),
        DataType::Boolean => "bool".into(),
        dtype if dtype.is_integer() => "integer".into(),
        dtype if dtype.is_float() => "number".into(),
        dtype => dtype.to_string(),
    }
}

fn as_html(grid: &[Vec<Shown>]) -> String {
    let align = |cell: &Shown| if cell.is_number { "right" } else { "left" };
    let head = |column: &Vec<Shown>| {
        let cell = &column[0];
        format!(
            "<th style=\"text-align:{};padding:3px 10px;position:sticky;top:0;background:{SURFACE};border-bottom:1px solid {LINE};white-space:nowrap;vertical-align:bottom\">{}\
             <div style=\"font-weight:normal;font-size:11px;{MUTED}\">{}</div></th>",
            align(cell),
            escape(&cell.text),
            escape(&cell.kind)
        )
    };
    let value = |cell: &Shown| {
        let muted = if cell.is_missing || cell.text == "…" { format!(";{MUTED}") } else { String::new() };
        let style = if cell.is_missing { ";font-style:italic" } else { "" };
        format!(
            "<td style=\"text-align:{};padding:2px 10px;white-space:nowrap;font-variant-numeric:tabular-nums{muted}{style}\">{}</td>",
            align(cell),
            escape(&cell.text)
        )
    };
    let n_lines = grid.first().map_or(0, Vec::len);
    let row = |i: usize| format!("<tr>{}</tr>", grid.iter().map(|column| value(&column[i])).collect::<String>());
    format!(
        "<div style=\"max-height:640px;overflow:auto\"><table style=\"border-collapse:collapse;border:none;margin:0\"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>",
        grid.iter().map(head).collect::<String>(),
        (1..n_lines).map(row).collect::<String>()
    )
}

/// Characters of a line of text; further columns follow below on a console, which here are left out.
const LINE_WIDTH: usize = 160;

fn as_text(grid: &[Vec<Shown>]) -> String {
    let length = |cell: &Shown| cell.text.chars().count();
    let widths: Vec<usize> = grid.iter().map(|column| column.iter().map(length).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for line in 0..grid.first().map_or(0, Vec::len) {
        let mut used = 0;
        for (column, width) in grid.iter().zip(&widths) {
            used += width + 2;
            if used > LINE_WIDTH && used > width + 2 {
                out.push('…');
                break;
            }
            let cell = &column[line];
            let room = " ".repeat(width - length(cell));
            out += &if cell.is_number { format!("{room}{}  ", cell.text) } else { format!("{}{room}  ", cell.text) };
        }
        out = out.trim_end().to_owned() + "\n";
    }
    out
}

/// What a console shows.
impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        shown::debug(self, &self.content().text, f)
    }
}

impl From<polars::prelude::DataFrame> for Table {
    fn from(frame: polars::prelude::DataFrame) -> Table {
        Table::new(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(n: usize) -> Table {
        Table::build()
            .text(
                "gene",
                (0..n).map(|i| if i == 1 { "<script>alert(1)</script>".into() } else { format!("G{i}") }).collect::<Vec<_>>(),
            )
            .numbers("score", (0..n).map(|i| if i == 0 { f64::NAN } else { i as f64 / 3.0 }).collect::<Vec<_>>())
            .integers("cells", (0..n as i64).collect::<Vec<_>>())
            .run()
            .unwrap()
    }

    #[test]
    fn long_and_wide_tables_say_what_is_left() {
        let content = table(1000).content();
        let html = content.as_html().unwrap();
        assert_eq!(html.matches("<tr>").count(), 1 + 21);
        assert!(html.contains("1,000 rows × 3 columns; not shown: 980 rows"), "{html}");
        assert!(html.contains(">G9<") && html.contains(">G990<") && !html.contains(">G10<") && !html.contains(">G989<"));
        let wide = (0..50).fold(Table::build(), |t, i| t.integers(&format!("c{i}"), vec![1])).run().unwrap().content();
        assert!(wide.as_html().unwrap().contains("1 row × 50 columns; not shown: 30 columns"));
        assert!(wide.as_text().lines().all(|l| l.chars().count() <= LINE_WIDTH + 1));
    }

    #[test]
    fn values_are_escaped_aligned_and_missing_ones_grey() {
        let content = table(3).content();
        let html = content.as_html().unwrap();
        assert!(!html.contains("<script>") && html.contains("&lt;script&gt;"));
        assert!(html.contains("font-style:italic\">missing<") && html.contains("text-align:right") && html.contains(">integer<"));
        assert_eq!(content.as_text().lines().next(), Some("gene                         score  cells"));
    }

    #[test]
    fn columns_rows_and_files() {
        let table = table(5);
        assert!(table.column("Score").unwrap_err().to_string().contains("did you mean score?"));
        assert_eq!(table.column("cells").unwrap().to_numbers().unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(table.sorted("cells", true).unwrap().head(1).column("gene").unwrap().levels(), ["G4"]);
        let folder = tempfile::tempdir().unwrap();
        table.write(folder.path().join("t.csv")).unwrap();
        assert!(std::fs::read_to_string(folder.path().join("t.csv")).unwrap().starts_with("gene,score,cells\nG0,,0\n"));
        assert!(table.write("t.xlsx").unwrap_err().to_string().contains(".parquet"));
    }
}
