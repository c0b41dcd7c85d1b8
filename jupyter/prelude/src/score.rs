//! How good embeddings are, side by side.

use std::sync::Arc;

use ndarray::Array2;
use tutti::benchmark::{BenchmarkConfig, BenchmarkInput, Family, Score, benchmark};
use tutti::threads::Threads;

use crate::builder::changed;
use crate::cells::Cells;
use crate::column::ColumnRef;
use crate::display::{Content, Rich, show};
use crate::embedding::{Embedding, parse_metric};
use crate::error::{Error, Result};
use crate::figure::Figure;
use crate::html::{LINE, MUTED, SURFACE, block, escape, muted};
use crate::kernel::stoppable;
use crate::shown;
use crate::table::Table;

/// Scores embeddings by labels and batches, and ranks them: `score(&cells).label("cell_type").batch("tech").embedding(&z).run()?`.
///
/// The suite of scIB, and what `truth` and `betti` add.
pub fn score(cells: &Cells) -> Scoring {
    Scoring {
        cells: cells.clone(),
        label: None,
        batch: None,
        embeddings: Vec::new(),
        before: None,
        truth: None,
        betti: None,
        metric: "euclidean".into(),
        seed: 0,
        threads: 0,
    }
}

/// What is scored, and by what; [`Scoring::run`] does it.
#[derive(Clone)]
pub struct Scoring {
    cells: Cells,
    label: Option<ColumnRef>,
    batch: Option<ColumnRef>,
    embeddings: Vec<Embedding>,
    before: Option<Embedding>,
    truth: Option<Truth>,
    betti: Option<[usize; 3]>,
    metric: String,
    seed: u64,
    threads: usize,
}

#[derive(Clone)]
enum Truth {
    Name(String),
    Embedding(Embedding),
}

impl Scoring {
    /// The cell types: the name of a column of obs, or a column.
    pub fn label(&self, column: impl Into<ColumnRef>) -> Scoring {
        changed(self, |run| run.label = Some(column.into()))
    }

    /// The experimental batches: the name of a column of obs, or a column.
    pub fn batch(&self, column: impl Into<ColumnRef>) -> Scoring {
        changed(self, |run| run.batch = Some(column.into()))
    }

    /// An embedding to score; may be repeated. Default: all of obsm.
    pub fn embedding(&self, embedding: impl Into<Embedding>) -> Scoring {
        changed(self, |run| run.embeddings.push(embedding.into()))
    }

    /// The embedding before integration, for the comparison of explained variance. Default: the one called `X_pca`, among those scored or in obsm.
    pub fn before(&self, embedding: impl Into<Embedding>) -> Scoring {
        changed(self, |run| run.before = Some(embedding.into()))
    }

    /// What the cells truly are, to compare distances and neighbourhoods with: the name of a layer or in obsm. Simulated cells have `"no_noise"`.
    pub fn truth(&self, name: &str) -> Scoring {
        changed(self, |run| run.truth = Some(Truth::Name(name.to_owned())))
    }

    /// As [`Scoring::truth`], as an embedding.
    pub fn truth_embedding(&self, embedding: impl Into<Embedding>) -> Scoring {
        changed(self, |run| run.truth = Some(Truth::Embedding(embedding.into())))
    }

    /// Betti numbers that the data truly have: components less one, loops, cavities; `[4, 0, 0]` for five clusters, `[0, 1, 0]` for a circle.
    pub fn betti(&self, numbers: [usize; 3]) -> Scoring {
        changed(self, |run| run.betti = Some(numbers))
    }

    /// Distance for all embeddings: `"euclidean"`, as scIB takes it (default), or `"cosine"`.
    pub fn metric(&self, name: &str) -> Scoring {
        changed(self, |run| run.metric = name.to_owned())
    }

    /// Names all random draws. Default 0.
    pub fn seed(&self, seed: u64) -> Scoring {
        changed(self, |run| run.seed = seed)
    }

    /// Threads; the result does not depend on them. Default: all processors.
    pub fn threads(&self, n: usize) -> Scoring {
        changed(self, |run| run.threads = n)
    }

    /// Scores the embeddings, best first.
    ///
    /// # Errors
    /// A column that there is not; no embedding; embeddings of other cells.
    pub fn run(&self) -> Result<Scores> {
        let needed = |what: &str| {
            let known = self.cells.obs_names().join(", ");
            Error::usage(format!("which obs column is the {what}? Give it with `.{what}(\"COLUMN\")`; the columns are: {known}"))
        };
        let label = self.cells.category(self.label.as_ref().ok_or_else(|| needed("label"))?)?;
        let batch = self.cells.category(self.batch.as_ref().ok_or_else(|| needed("batch"))?)?;
        let metric = parse_metric(&self.metric)?;
        let embeddings = self.scored()?;
        let before = self.before_integration(&embeddings);
        let truth = self.truth.as_ref().map(|t| self.truth_of(t)).transpose()?;
        let input = BenchmarkInput {
            label: &label,
            batch: &batch,
            before: before.as_ref().map(|b| b.array().view()),
            truth: truth.as_ref().map(|t| t.view()),
            betti: self.betti,
        };
        let config = BenchmarkConfig { metric, seed: self.seed, ..Default::default() };
        let mut scored = stoppable(|| {
            let threads = Threads::new(self.threads)?;
            let scores = |of: &Embedding| threads.run(|| benchmark(of.array().view(), &input, &config));
            embeddings.into_iter().map(|(name, of)| Ok((name, scores(&of)?.scores()))).collect::<Result<Vec<_>>>()
        })?;
        scored.sort_by(|a, b| total(&b.1).total_cmp(&total(&a.1)));
        Ok(Scores { inner: Arc::new(scored) })
    }

    /// Embeddings under names of their own.
    fn scored(&self) -> Result<Vec<(String, Embedding)>> {
        let all = match self.embeddings.is_empty() {
            true => self.cells.obsm_names().iter().map(|n| self.cells.obsm(n)).collect::<Result<Vec<_>>>()?,
            false => self.embeddings.clone(),
        };
        if all.is_empty() {
            return Err(Error::usage("there is nothing to score: give an embedding with `.embedding(&z)`; obsm has none"));
        }
        let mut named: Vec<(String, Embedding)> = Vec::new();
        for embedding in all {
            if embedding.n_cells() != self.cells.n_cells() {
                let (name, n, cells) = (embedding.name(), embedding.n_cells(), self.cells.n_cells());
                return Err(Error::usage(format!(
                    "`{name}` is an embedding of {n} cells, and there are {cells}; give one of these cells"
                )));
            }
            let base = embedding.name();
            let taken = |name: &String| named.iter().any(|(n, _)| n == name);
            let name = (1..).map(|i| if i == 1 { base.clone() } else { format!("{base} {i}") }).find(|n| !taken(n));
            named.push((name.unwrap_or(base), embedding));
        }
        Ok(named)
    }

    fn before_integration(&self, embeddings: &[(String, Embedding)]) -> Option<Embedding> {
        let scored = || embeddings.iter().find(|(name, _)| name == "X_pca").map(|(_, e)| e.clone());
        self.before.clone().or_else(scored).or_else(|| self.cells.obsm("X_pca").ok())
    }

    fn truth_of(&self, truth: &Truth) -> Result<Array2<f32>> {
        let name = match truth {
            Truth::Embedding(embedding) => return Ok(embedding.array().clone()),
            Truth::Name(name) => name,
        };
        if let Some(layer) = self.cells.inner.layers.get(name) {
            return Ok(layer.to_dense());
        }
        if let Ok(embedding) = self.cells.obsm(name) {
            return Ok(embedding.array().clone());
        }
        if self.cells.inner.in_file {
            return Ok(self.cells.inner().truth(name)?);
        }
        let there = [self.cells.layer_names(), self.cells.obsm_names()].concat();
        Err(crate::error::find("layer or embedding", name, &there).map_or_else(|e| e, |_| Error::usage("not found")))
    }
}

fn total(scores: &[Score]) -> f64 {
    scores.iter().find(|s| s.key == "total").and_then(|s| s.value).unwrap_or(0.0)
}

/// Scores of embeddings, best first. Cheap to clone.
#[derive(Clone)]
pub struct Scores {
    inner: Arc<Vec<(String, Vec<Score>)>>,
}

impl Scores {
    /// Names of the embeddings, best first.
    pub fn embeddings(&self) -> Vec<String> {
        self.inner.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Name of the best one.
    pub fn best(&self) -> String {
        self.inner.first().map(|(name, _)| name.clone()).unwrap_or_default()
    }

    /// A score of an embedding, such as `value("X_concord", "total")`; `None` where the data cannot have it.
    ///
    /// # Errors
    /// For a name that there is not, naming those there are.
    pub fn value(&self, embedding: &str, score: &str) -> Result<Option<f64>> {
        let (_, scores) = &self.inner[crate::error::find("embedding", embedding, &self.embeddings())?];
        let keys: Vec<String> = scores.iter().map(|s| s.key.to_owned()).collect();
        Ok(scores[crate::error::find("score", score, &keys)?].value)
    }

    /// A row per embedding, a column per score, by the names that files have.
    ///
    /// # Errors
    /// None for what this crate made.
    pub fn table(&self) -> Result<Table> {
        let table = Table::build().text("embedding", self.embeddings());
        let shown = self.shown();
        let value = |i: &usize, scores: &[Score]| scores[*i].value.unwrap_or(f64::NAN);
        let columns =
            shown.iter().map(|i| (self.inner[0].1[*i].key, self.inner.iter().map(|(_, s)| value(i, s)).collect::<Vec<_>>()));
        columns.fold(table, |t, (key, values)| t.numbers(key, values)).run()
    }

    /// The table as papers print it.
    ///
    /// # Errors
    /// A fault of the drawing.
    pub fn plot(&self) -> Result<Figure> {
        Ok(Figure::new("scores of embeddings", tutti_figures::benchmark_table(&self.inner)?))
    }

    /// Shows the table with bars; notebooks call this for the last expression of a cell.
    pub fn evcxr_display(&self) {
        show(self);
    }

    /// Places of the scores that any embedding has: without a truth there is no geometry.
    fn shown(&self) -> Vec<usize> {
        let n = self.inner.first().map_or(0, |(_, s)| s.len());
        (0..n).filter(|i| self.inner.iter().any(|(_, s)| s[*i].value.is_some())).collect()
    }
}

fn family(family: Family) -> (&'static str, &'static str) {
    match family {
        Family::Biology => ("biology kept", "0,114,178"),
        Family::Batch => ("batches gone", "0,158,115"),
        Family::Total => ("total", "213,94,0"),
        Family::Geometry => ("geometry", "204,121,167"),
        Family::Topology => ("topology", "117,112,179"),
    }
}

impl Rich for Scores {
    fn content(&self) -> Content {
        let shown = self.shown();
        let Some((_, first)) = self.inner.first() else { return Content::text("no scores") };
        if self.inner.len() <= SIDE_BY_SIDE {
            let html = block(&format!("{}{}", self.side_by_side(&shown), muted(LEGEND)));
            return Content::text(self.as_text(&shown)).with_html(html);
        }
        let groups = groups(&shown, first);
        let head = |(f, n): &(Family, usize)| {
            let (name, rgb) = family(*f);
            format!("<th colspan=\"{n}\" style=\"text-align:center;padding:2px;border-bottom:2px solid rgb({rgb})\">{name}</th>")
        };
        let title = |i: &usize| {
            let weight = if first[*i].is_aggregate { "bold" } else { "normal" };
            format!(
                "<th style=\"text-align:center;padding:3px 2px;font-weight:{weight};font-size:10px;max-width:60px;white-space:normal;vertical-align:bottom;border-bottom:1px solid {LINE}\">{}</th>",
                escape(first[*i].title.trim_start_matches("= "))
            )
        };
        let row = |(name, scores): &(String, Vec<Score>)| {
            let cells: String = shown.iter().map(|i| bar(&scores[*i])).collect();
            format!(
                "<tr style=\"background:none\"><td style=\"text-align:left;padding:2px 8px 2px 4px;font-weight:bold;white-space:nowrap;position:sticky;left:0;background:{SURFACE}\">{}</td>{cells}</tr>",
                escape(name)
            )
        };
        let table = format!(
            "<div style=\"overflow:auto\"><table style=\"border-collapse:collapse;border:none;margin:0\"><thead><tr><th></th>{}</tr><tr><th></th>{}</tr></thead><tbody>{}</tbody></table></div>",
            groups.iter().map(head).collect::<String>(),
            shown.iter().map(title).collect::<String>(),
            self.inner.iter().map(row).collect::<String>()
        );
        let html = block(&format!("{table}{}", muted(LEGEND)));
        Content::text(self.as_text(&shown)).with_html(html)
    }
}

/// So many embeddings have a column each; of more, each has a row.
const SIDE_BY_SIDE: usize = 6;

const LEGEND: &str = "more is better; the total is 0.6 biology + 0.4 batches; best first";

impl Scores {
    /// A column per embedding: what it comes to first, then what that is made of.
    fn side_by_side(&self, shown: &[usize]) -> String {
        let first = &self.inner[0].1;
        let names: String = self.inner.iter().map(|(name, _)| column_head(name)).collect();
        let row = |i: &usize| {
            let weight = if first[*i].is_aggregate { "bold" } else { "normal" };
            let cells: String = self.inner.iter().map(|(_, scores)| bar(&scores[*i])).collect();
            let title = escape(first[*i].title.trim_start_matches("= "));
            format!(
                "<tr style=\"background:none\"><td style=\"text-align:left;padding:1px 14px 1px 4px;font-weight:{weight}\">{title}</td>{cells}</tr>"
            )
        };
        let is_total = |i: &&usize| first[**i].family == Family::Total;
        let mut body: String = shown.iter().filter(is_total).map(row).collect();
        for (f, _) in groups(shown, first).iter().filter(|(f, _)| *f != Family::Total) {
            let (name, rgb) = family(*f);
            let span = self.inner.len() + 1;
            body += &format!(
                "<tr style=\"background:none\"><td colspan=\"{span}\" style=\"text-align:left;padding:6px 4px 1px;border-bottom:2px solid rgb({rgb})\">{name}</td></tr>"
            );
            let mut of_family: Vec<&usize> = shown.iter().filter(|i| first[**i].family == *f).collect();
            of_family.sort_by_key(|i| !first[**i].is_aggregate);
            body.extend(of_family.into_iter().map(row));
        }
        format!(
            "<div style=\"overflow:auto\"><table style=\"border-collapse:collapse;border:none;margin:0\"><thead><tr><th></th>{names}</tr></thead><tbody>{body}</tbody></table></div>"
        )
    }
}

fn column_head(name: &str) -> String {
    format!(
        "<th style=\"text-align:center;padding:2px 6px;min-width:84px;max-width:160px;white-space:normal;border-bottom:1px solid {LINE}\">{}</th>",
        escape(name)
    )
}

/// Runs of scores of one family.
fn groups(shown: &[usize], scores: &[Score]) -> Vec<(Family, usize)> {
    let mut out: Vec<(Family, usize)> = Vec::new();
    for i in shown {
        match out.last_mut() {
            Some((f, n)) if *f == scores[*i].family => *n += 1,
            _ => out.push((scores[*i].family, 1)),
        }
    }
    out
}

/// A score before a bar of its length.
fn bar(score: &Score) -> String {
    let style = "text-align:center;font-size:12px;padding:2px;font-variant-numeric:tabular-nums";
    let Some(value) = score.value else { return format!("<td style=\"{style};{MUTED}\">–</td>") };
    let (_, rgb) = family(score.family);
    let percent = 100.0 * value.clamp(0.0, 1.0);
    let (strength, weight) = if score.is_aggregate { (0.55, ";font-weight:bold") } else { (0.3, "") };
    format!(
        "<td style=\"{style}{weight}\"><div style=\"min-width:38px;padding:1px 3px;border-radius:2px;background:linear-gradient(to right,rgba({rgb},{strength}) {percent:.1}%,rgba({rgb},.08) {percent:.1}%)\">{value:.3}</div></td>"
    )
}

impl Scores {
    /// A column per embedding, as the command line prints it.
    fn as_text(&self, shown: &[usize]) -> String {
        let width = |name: &str| name.chars().count().max(8) + 2;
        let names: String = self.inner.iter().map(|(name, _)| format!("{name:>width$}", width = width(name))).collect();
        let mut lines = vec![format!("{:<26}{names}", "more is better")];
        for i in shown {
            let cell = |(name, scores): &(String, Vec<Score>)| {
                let width = width(name);
                scores[*i].value.map_or_else(|| format!("{:>width$}", "-"), |v| format!("{v:>width$.3}"))
            };
            lines.push(format!("{:<26}{}", self.inner[0].1[*i].title, self.inner.iter().map(cell).collect::<String>()));
        }
        lines.join("\n")
    }
}

/// What a console shows.
impl std::fmt::Debug for Scores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        shown::debug(self, &self.as_text(&self.shown()), f)
    }
}
