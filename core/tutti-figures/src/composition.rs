//! What groups are made of, and how much of a gene they have.

use ndarray::ArrayView2;
use tutti::data::Categorical;

use crate::canvas::{Anchor, Text};
use crate::error::{Error, Result};
use crate::figure::Figure;
use crate::legend::Legend;
use crate::palette::{ColorMap, categorical};
use crate::scale::{Scale, range};
use crate::theme;

const BAR: f64 = 20.0;
const LENGTH: f64 = 260.0;
const NAME_AT_MOST: f64 = 150.0;
/// Room below the bars for their scale.
const AXIS: f64 = 28.0;
/// What the numbers beside the bars count.
const CELLS: &str = "cells";

/// Shares of the levels of `part` (batches, say) in each level of `whole` (clusters, say), as stacked bars, with the number of cells.
/// Cells without either are left out.
///
/// # Errors
/// [`Error::Data`] for columns of unequal length or no cell that has both.
pub fn batch_composition(whole: &Categorical, part: &Categorical) -> Result<Figure> {
    if whole.len() != part.len() {
        return Err(Error::data(
            format!("{} cells in one column and {} in the other", whole.len(), part.len()),
            "give both of the same cells",
        ));
    }
    let mut counts = vec![vec![0usize; part.n_levels()]; whole.n_levels()];
    for (w, p) in whole.codes().iter().zip(part.codes()) {
        if let (Some(w), Some(p)) = (w, p) {
            counts[*w as usize][*p as usize] += 1;
        }
    }
    let rows: Vec<usize> = (0..counts.len()).filter(|w| counts[*w].iter().any(|n| *n > 0)).collect();
    if rows.is_empty() {
        return Err(Error::data("no cell is in both columns", "choose other columns"));
    }
    let small = Text::new(theme::SMALL);
    let left = theme::MARGIN + rows.iter().map(|w| small.width(&whole.levels()[*w]).min(NAME_AT_MOST)).fold(0.0, f64::max) + 6.0;
    let colors = categorical(part.n_levels());
    let there = (0..part.n_levels()).filter(|p| rows.iter().any(|w| counts[*w][*p] > 0));
    let legend = Legend::Categories(there.map(|p| (part.levels()[p].clone(), colors[p])).collect());
    let bottom = theme::MARGIN + (BAR + 6.0) * rows.len() as f64;
    let legend_height = (bottom - theme::MARGIN).max(5.0 * 16.0);
    let total = |w: usize| counts[w].iter().sum::<usize>();
    let numbers = rows.iter().map(|w| small.width(&total(*w).to_string())).fold(small.width(CELLS), f64::max);
    let legend_left = left + LENGTH + 8.0 + numbers + theme::GAP;
    let width = legend_left + legend.width(legend_height) + theme::MARGIN;
    let height = (bottom + AXIS).max(theme::MARGIN + legend_height) + theme::MARGIN;
    Figure::draw((width, height), Vec::new(), |canvas| {
        for (r, w) in rows.iter().enumerate() {
            let top = theme::MARGIN + (BAR + 6.0) * r as f64;
            let middle = top + BAR / 2.0;
            canvas.name(&whole.levels()[*w], NAME_AT_MOST, (left - 6.0, middle), &small.anchor(Anchor::End))?;
            let total = total(*w);
            let mut from = 0;
            for (n, color) in counts[*w].iter().zip(&colors).filter(|(n, _)| **n > 0) {
                let at = |n: usize| left + LENGTH * n as f64 / total as f64;
                canvas.rect((at(from), top), (at(from + n), top + BAR), *color)?;
                from += n;
            }
            canvas.text(&total.to_string(), (left + LENGTH + 8.0, middle), &small.color(theme::SOFT))?;
        }
        let centred = small.anchor(Anchor::Middle);
        for (share, text) in [(0.0, "0"), (0.5, "0.5"), (1.0, "1")] {
            let x = left + LENGTH * share;
            canvas.line(&[(x, bottom - 3.0), (x, bottom + 1.0)], theme::INK, 1.0)?;
            canvas.text(text, (x, bottom + 8.0), &centred)?;
        }
        canvas.text("share", (left + 0.5 * LENGTH, bottom + 22.0), &Text::new(theme::LABEL).anchor(Anchor::Middle))?;
        canvas.text(CELLS, (left + LENGTH + 8.0, bottom + 22.0), &small.color(theme::SOFT))?;
        legend.draw(canvas, (legend_left, theme::MARGIN), legend_height)
    })
}

/// Genes by groups: the size of a dot is the share of cells that have the gene, its colour the mean. Both [n_groups, n_genes].
///
/// # Errors
/// [`Error::Data`] for names or matrices of other sizes, or shares outside 0 to 1.
pub fn dot_plot(shares: ArrayView2<'_, f64>, means: ArrayView2<'_, f64>, groups: &[String], genes: &[String]) -> Result<Figure> {
    let size = (groups.len(), genes.len());
    if shares.dim() != size || means.dim() != size || groups.is_empty() || genes.is_empty() {
        let problem = format!("{:?} shares and {:?} means for {} groups and {} genes", shares.dim(), means.dim(), size.0, size.1);
        return Err(Error::data(problem, "give a row per group and a column per gene"));
    }
    if shares.iter().any(|s| !(0.0..=1.0).contains(s)) || means.iter().any(|m| !m.is_finite()) {
        return Err(Error::data("a share is outside 0 to 1 or a mean is not finite", "give shares of cells and finite means"));
    }
    const STEP: f64 = 24.0;
    const RADIUS: f64 = 9.5;
    let small = Text::new(theme::SMALL);
    let widest = |names: &[String]| names.iter().map(|n| small.width(n).min(NAME_AT_MOST)).fold(0.0, f64::max);
    let left = theme::MARGIN + widest(groups) + 8.0;
    let (right, bottom) = (left + STEP * size.1 as f64, theme::MARGIN + STEP * size.0 as f64);
    let (low, high) = range(means.iter().copied());
    let scale = Scale::new(low, high, 0.0, 1.0);
    let legend = Legend::Values { low: scale.low, high: scale.high, map: ColorMap::Viridis };
    let x = right + theme::GAP;
    let below = (bottom + widest(genes) + 8.0).max(theme::MARGIN + 190.0);
    Figure::draw((x + legend.width(110.0).max(70.0) + theme::MARGIN, below + theme::MARGIN), Vec::new(), |canvas| {
        for (j, gene) in genes.iter().enumerate() {
            let style = small.anchor(Anchor::End).upwards();
            canvas.name(gene, NAME_AT_MOST, (left + STEP * (j as f64 + 0.5), bottom + 6.0), &style)?;
        }
        for (i, group) in groups.iter().enumerate() {
            let y = theme::MARGIN + STEP * (i as f64 + 0.5);
            canvas.name(group, NAME_AT_MOST, (left - 8.0, y), &small.anchor(Anchor::End))?;
            for j in 0..genes.len() {
                let color = ColorMap::Viridis.at(scale.at(means[[i, j]]));
                if shares[[i, j]] > 0.0 {
                    // The area, not the width, tells the share.
                    canvas.circle((left + STEP * (j as f64 + 0.5), y), RADIUS * shares[[i, j]].sqrt(), color, 1.0)?;
                }
            }
        }
        canvas.frame((left, theme::MARGIN), (right, bottom), theme::SOFT, 0.8)?;
        canvas.text("mean", (x, theme::MARGIN + 6.0), &small.bold())?;
        legend.draw(canvas, (x, theme::MARGIN + 22.0), 80.0)?;
        canvas.text("share", (x, theme::MARGIN + 118.0), &small.bold())?;
        for (k, share) in [0.25, 0.5, 1.0].into_iter().enumerate() {
            let y = theme::MARGIN + 138.0 + 21.0 * k as f64;
            canvas.circle((x + RADIUS, y), RADIUS * f64::sqrt(share), theme::SOFT, 1.0)?;
            canvas.text(&share.to_string(), (x + 2.0 * RADIUS + 6.0, y), &small)?;
        }
        Ok(())
    })
}
