//! Where the cells of each label go: from column to column, as a river (Sankey diagram).

use tutti::data::Categorical;

use crate::canvas::{Anchor, Text};
use crate::error::{Error, Result};
use crate::figure::Figure;
use crate::palette::categorical;
use crate::theme;

const HEIGHT: f64 = 300.0;
const APART: f64 = 150.0;
const BAR: f64 = 12.0;
const GAP: f64 = 6.0;
const NAME_AT_MOST: f64 = 140.0;
/// Height of a name.
const NAME: f64 = 14.0;
const TITLE: f64 = 22.0;
/// Points of a bank of the river.
const STEPS: usize = 24;

/// A level of a column: from where to where, in pixels.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    level: usize,
    top: f64,
    bottom: f64,
}

/// Flows of cells between the levels of columns, such as true labels, predicted labels and clusters; colours are those of the first column of
/// each pair. Cells that lack a level in any column are left out.
///
/// # Errors
/// [`Error::Data`] for fewer than two columns, columns of unequal length, or no cell that has all.
pub fn river(columns: &[(&str, &Categorical)]) -> Result<Figure> {
    if columns.len() < 2 {
        return Err(Error::data("a river needs at least two columns", "give two or more"));
    }
    let n = columns[0].1.len();
    if let Some((name, column)) = columns.iter().find(|(_, c)| c.len() != n) {
        return Err(Error::data(
            format!("`{name}` has {} cells and `{}` {n}", column.len(), columns[0].0),
            "give columns of the same cells",
        ));
    }
    let cells: Vec<usize> = (0..n).filter(|i| columns.iter().all(|(_, c)| c.codes()[*i].is_some())).collect();
    if cells.is_empty() {
        return Err(Error::data("no cell has a level in every column", "choose other columns"));
    }
    let code = |c: usize, i: usize| columns[c].1.codes()[i].map_or(0, |code| code as usize);
    let most = columns.iter().map(|(_, c)| c.drop_unused().n_levels()).max().unwrap_or(1);
    let height = HEIGHT.max(NAME * most as f64);
    let stretches: Vec<Vec<Stretch>> =
        (0..columns.len()).map(|c| stretches(&cells, columns[c].1.n_levels(), height, |i| code(c, i))).collect();
    let small = Text::new(theme::SMALL);
    let widest = |c: usize| columns[c].1.levels().iter().map(|l| small.width(l).min(NAME_AT_MOST)).fold(0.0, f64::max) + 6.0;
    let (left, last) = (theme::MARGIN + widest(0), columns.len() - 1);
    let at = |c: usize| left + (BAR + APART) * c as f64;
    let size = (at(last) + BAR + widest(last) + theme::MARGIN, theme::MARGIN * 2.0 + TITLE + height);
    let top = theme::MARGIN + TITLE;
    Figure::draw(size, Vec::new(), |canvas| {
        for c in 0..last {
            let colors = categorical(columns[c].1.n_levels());
            for (a, b, color) in flows(&cells, &stretches[c], &stretches[c + 1], |i| (code(c, i), code(c + 1, i))) {
                let bank = |from: f64, to: f64| {
                    (0..=STEPS).map(move |s| {
                        let t = s as f64 / STEPS as f64;
                        // Level at both ends.
                        (at(c) + BAR + APART * t, top + from + (to - from) * t * t * (3.0 - 2.0 * t))
                    })
                };
                let mut outline: Vec<(f64, f64)> = bank(a.0, b.0).collect();
                outline.extend(bank(a.1, b.1).collect::<Vec<_>>().into_iter().rev());
                canvas.polygon(&outline, colors[color], 0.45)?;
            }
        }
        for (c, (title, column)) in columns.iter().enumerate() {
            let anchor = if c == 0 {
                Anchor::Start
            } else if c == last {
                Anchor::End
            } else {
                Anchor::Middle
            };
            let x = at(c)
                + if c == 0 {
                    0.0
                } else if c == last {
                    BAR
                } else {
                    0.5 * BAR
                };
            canvas.text(title, (x, theme::MARGIN + 0.4 * TITLE), &Text::new(theme::LABEL).bold().anchor(anchor))?;
            let colors = categorical(column.n_levels());
            let middles = apart(stretches[c].iter().map(|s| 0.5 * (s.top + s.bottom)).collect(), height);
            for (stretch, middle) in stretches[c].iter().zip(middles) {
                let (from, to) = (top + stretch.top, top + stretch.bottom);
                canvas.rect((at(c), from), (at(c) + BAR, to), colors[stretch.level])?;
                let (x, anchor) = if c == 0 { (at(c) - 5.0, Anchor::End) } else { (at(c) + BAR + 5.0, Anchor::Start) };
                // Beside a bar in the middle, flows begin.
                let (name, at) = (&column.levels()[stretch.level], (x, top + middle));
                match 0 < c && c < last {
                    true => canvas.rimmed_name(name, NAME_AT_MOST, at, &small.anchor(anchor))?,
                    false => canvas.name(name, NAME_AT_MOST, at, &small.anchor(anchor))?,
                }
            }
        }
        Ok(())
    })
}

/// The middles of names, moved as little as leaves room for each.
fn apart(mut middles: Vec<f64>, height: f64) -> Vec<f64> {
    for i in 1..middles.len() {
        middles[i] = middles[i].max(middles[i - 1] + NAME);
    }
    let mut lowest = height - 0.5 * NAME;
    for middle in middles.iter_mut().rev() {
        *middle = middle.min(lowest);
        lowest = *middle - NAME;
    }
    middles
}

/// The levels one below the other, as high as they have cells.
fn stretches(cells: &[usize], n_levels: usize, height: f64, code: impl Fn(usize) -> usize) -> Vec<Stretch> {
    let mut counts = vec![0usize; n_levels];
    cells.iter().for_each(|i| counts[code(*i)] += 1);
    let there: Vec<usize> = (0..n_levels).filter(|l| counts[*l] > 0).collect();
    let per_cell = (height - GAP * (there.len() - 1) as f64) / cells.len() as f64;
    let mut top = 0.0;
    let stretch = |level: usize| {
        let bottom = top + per_cell * counts[level] as f64;
        let stretch = Stretch { level, top, bottom };
        top = bottom + GAP;
        stretch
    };
    there.into_iter().map(stretch).collect()
}

/// Each flow as its banks at both ends and the level it comes from; at both ends, flows lie in the order of the levels on the other side.
#[expect(clippy::type_complexity)]
fn flows(
    cells: &[usize],
    from: &[Stretch],
    to: &[Stretch],
    codes: impl Fn(usize) -> (usize, usize),
) -> Vec<((f64, f64), (f64, f64), usize)> {
    let mut counts = std::collections::BTreeMap::<(usize, usize), usize>::new();
    cells.iter().for_each(|i| *counts.entry(codes(*i)).or_default() += 1);
    let total = |side: &[Stretch]| side.iter().map(|s| s.bottom - s.top).sum::<f64>() / cells.len() as f64;
    let (high_from, high_to) = (total(from), total(to));
    let start = |side: &[Stretch], level: usize| side.iter().find(|s| s.level == level).map_or(0.0, |s| s.top);
    let mut used_from: Vec<f64> = (0..=from.iter().map(|s| s.level).max().unwrap_or(0)).map(|l| start(from, l)).collect();
    let mut used_to: Vec<f64> = (0..=to.iter().map(|s| s.level).max().unwrap_or(0)).map(|l| start(to, l)).collect();
    counts
        .into_iter()
        .map(|((a, b), n)| {
            let (ya, yb) = (used_from[a], used_to[b]);
            used_from[a] += high_from * n as f64;
            used_to[b] += high_to * n as f64;
            ((ya, used_from[a]), (yb, used_to[b]), a)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_overlap_and_stay_within_the_river() {
        // The first has room; three at the lower edge have not.
        let middles = apart(vec![20.0, 90.0, 92.0, 99.0], 100.0);
        assert_eq!(middles, [20.0, 65.0, 79.0, 93.0]);
    }
}
