//! Scores of embeddings as scIB prints them: circles for single scores, bars for what sums them up.

use tutti::benchmark::{Family, Score};

use crate::canvas::{Anchor, Canvas, Text};
use crate::error::{Error, Result};
use crate::figure::Figure;
use crate::palette::{ColorMap, Rgb, is_dark};
use crate::theme;

const ROW: f64 = 30.0;
const CIRCLE: f64 = 34.0;
const BAR: f64 = 74.0;
/// Room at most for the upright names of the columns.
const HEAD: f64 = 130.0;
const NAME_AT_MOST: f64 = 200.0;
/// Difference between scores that colours run over at least.
const SPREAD: f64 = 0.1;

/// A row per embedding, best first; a column per score that any of them has. Colours run from the lowest to the highest of a column, but over
/// 0.1 at least, so that nearly equal scores look equal; numbers are the scores.
///
/// # Errors
/// [`Error::Data`] for no embeddings, or embeddings with other scores than the first.
pub fn benchmark_table(embeddings: &[(String, Vec<Score>)]) -> Result<Figure> {
    let Some((_, first)) = embeddings.first() else {
        return Err(Error::data("there are no embeddings", "give at least one"));
    };
    if let Some((name, _)) = embeddings.iter().find(|(_, s)| !s.iter().map(|s| s.key).eq(first.iter().map(|s| s.key))) {
        return Err(Error::data(format!("`{name}` has other scores than `{}`", embeddings[0].0), "score all of them alike"));
    }
    let mut rows: Vec<&(String, Vec<Score>)> = embeddings.iter().collect();
    let total =
        |row: &(String, Vec<Score>)| row.1.iter().find(|s| s.key == "total").and_then(|s| s.value).unwrap_or(f64::NEG_INFINITY);
    rows.sort_by(|a, b| total(b).total_cmp(&total(a)));
    let columns: Vec<usize> = (0..first.len()).filter(|i| rows.iter().any(|(_, s)| s[*i].value.is_some())).collect();

    let names = Text::new(theme::LABEL);
    let named = rows.iter().map(|(name, _)| names.width(name).min(NAME_AT_MOST)).fold(60.0, f64::max);
    let (lefts, x) = placed(first, &columns, theme::MARGIN + named + theme::GAP);
    let widest = columns.iter().map(|i| head(&first[*i])).map(|(title, style)| style.width(title)).fold(0.0, f64::max);
    let top = theme::MARGIN + 30.0 + widest.min(HEAD);
    let size = (x + theme::MARGIN, top + ROW * rows.len() as f64 + theme::MARGIN);
    Figure::draw(size, Vec::new(), |canvas| {
        heads(canvas, first, &columns, &lefts, x, top)?;
        for (r, (name, scores)) in rows.iter().enumerate() {
            let y = top + ROW * (r as f64 + 0.5);
            canvas.line(&[(theme::MARGIN, y - ROW / 2.0), (x, y - ROW / 2.0)], theme::GRID, 0.8)?;
            canvas.name(name, NAME_AT_MOST, (theme::MARGIN, y), &names)?;
            for (i, x) in columns.iter().zip(&lefts) {
                let all = rows.iter().filter_map(|(_, s)| s[*i].value);
                let (low, high) = crate::scale::range(all);
                cell(canvas, &scores[*i], (low, high), (*x, y))?;
            }
        }
        Ok(())
    })
}

/// Where columns begin, and where the last one ends. The columns of a family are together as wide as its name at least.
fn placed(scores: &[Score], columns: &[usize], left: f64) -> (Vec<f64>, f64) {
    let mut x = left - theme::GAP;
    let mut lefts = Vec::new();
    for group in columns.chunk_by(|a, b| scores[*a].family == scores[*b].family) {
        x += theme::GAP;
        let named = x + Text::new(theme::LABEL).bold().width(family(scores[group[0]].family).0) + 4.0;
        for i in group {
            lefts.push(x);
            x += width(&scores[*i]);
        }
        x = x.max(named);
    }
    (lefts, x)
}

fn width(score: &Score) -> f64 {
    if score.is_aggregate { BAR } else { CIRCLE }
}

/// The name over a column, and how it looks.
fn head(score: &Score) -> (&'static str, Text) {
    let style = Text::new(theme::SMALL);
    (score.title.trim_start_matches("= "), if score.is_aggregate { style.bold() } else { style })
}

fn family(family: Family) -> (&'static str, ColorMap) {
    match family {
        Family::Biology => ("Biology kept", ColorMap::Viridis),
        Family::Batch => ("Batches gone", ColorMap::Blues),
        Family::Total => ("Total", ColorMap::Viridis),
        Family::Geometry => ("Geometry kept", ColorMap::Viridis),
        Family::Topology => ("Topology kept", ColorMap::Viridis),
    }
}

/// Names of families over those of scores.
fn heads(canvas: &mut Canvas<'_>, scores: &[Score], columns: &[usize], lefts: &[f64], end: f64, top: f64) -> Result<()> {
    let mut from = 0;
    for at in 1..=columns.len() {
        let this = family(scores[columns[from]].family).0;
        if at < columns.len() && family(scores[columns[at]].family).0 == this {
            continue;
        }
        let right = if at < columns.len() { lefts[at] - theme::GAP } else { end };
        canvas.text(this, (lefts[from], theme::MARGIN + 7.0), &Text::new(theme::LABEL).bold())?;
        canvas.line(&[(lefts[from], theme::MARGIN + 16.0), (right - 4.0, theme::MARGIN + 16.0)], theme::INK, 1.0)?;
        from = at;
    }
    for (i, x) in columns.iter().zip(lefts) {
        let (title, style) = head(&scores[*i]);
        canvas.name(title, HEAD, (x + width(&scores[*i]) / 2.0, top - 7.0), &style.upwards())?;
    }
    Ok(())
}

fn cell(canvas: &mut Canvas<'_>, score: &Score, (low, high): (f64, f64), (x, y): (f64, f64)) -> Result<()> {
    let Some(value) = score.value else {
        return canvas.text("–", (x + width(score) / 2.0, y), &Text::new(theme::SMALL).color(theme::SOFT).anchor(Anchor::Middle));
    };
    let place = 0.5 + (value - 0.5 * (low + high)) / (high - low).max(SPREAD);
    // The ends of the maps are too dark and too light to write on.
    let color: Rgb = family(score.family).1.at(0.25 + 0.55 * place);
    if score.is_aggregate {
        let width = (BAR - 8.0) * value.clamp(0.0, 1.0);
        canvas.rect((x, y - 10.0), (x + BAR - 8.0, y + 10.0), theme::GRID)?;
        canvas.rect((x, y - 10.0), (x + width.max(1.0), y + 10.0), color)?;
        let inside = width > 34.0;
        let ink = if inside && is_dark(color) { theme::WHITE } else { theme::INK };
        let at = if inside { x + width - 5.0 } else { x + width + 5.0 };
        let anchor = if inside { Anchor::End } else { Anchor::Start };
        return canvas.text(&format!("{value:.2}"), (at, y), &Text::new(theme::SMALL).bold().color(ink).anchor(anchor));
    }
    canvas.circle((x + CIRCLE / 2.0, y), 13.0, color, 1.0)?;
    let ink = if is_dark(color) { theme::WHITE } else { theme::INK };
    canvas.text(&format!("{value:.2}"), (x + CIRCLE / 2.0, y), &Text::new(10.0).color(ink).anchor(Anchor::Middle))
}
