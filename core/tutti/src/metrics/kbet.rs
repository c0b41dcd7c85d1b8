//! kBET: whether the batches around each cell are a sample of all batches (Büttner et al. 2019).

use ndarray::Array2;
use rayon::prelude::*;

use super::check_cells;
use crate::error::{Error, Result};
use crate::neighbors::{Graph, NeighborConfig, Neighbors, diffusion_map, nearest_self};

/// Significance at which a neighbourhood is rejected.
const ALPHA: f64 = 0.05;

/// Diffusion components in which neighbours of one label are searched.
const COMPONENTS: usize = 100;

/// Share of a label's cells that must lie in parts large enough to be tested.
const TESTED: f64 = 0.75;

/// Share of the neighbourhoods whose batches pass Pearson's chi-square test against the shares of all batches, at 0.05; 0 to 1, more is better
/// mixed. A neighbourhood is the k neighbours that `neighbors` gives for each cell, the cell among them. Büttner et al. 2019, section
/// "kBET".
///
/// # Errors
/// [`Error::Data`] for batches of another number of cells, or a single batch.
pub fn kbet(neighbors: &Neighbors, batches: &[u32]) -> Result<f64> {
    check_cells(neighbors.n_queries(), &[("batches", batches.len())])?;
    let mut counts = vec![0usize; batches.iter().max().map_or(0, |b| *b as usize + 1)];
    batches.iter().for_each(|b| counts[*b as usize] += 1);
    let there: Vec<usize> = (0..counts.len()).filter(|b| counts[*b] > 0).collect();
    if there.len() < 2 {
        return Err(Error::data("kBET needs cells of two batches", "choose another batch column"));
    }
    let k = neighbors.k() as f64;
    let expected: Vec<f64> = counts.iter().map(|n| *n as f64 / batches.len() as f64 * k).collect();
    let accepted = |i: &usize| {
        let mut seen = vec![0f64; counts.len()];
        neighbors.row(*i).0.iter().for_each(|j| seen[batches[*j as usize] as usize] += 1.0);
        let statistic: f64 = there.iter().map(|b| (seen[*b] - expected[*b]).powi(2) / expected[*b]).sum();
        chi_square_above(statistic, there.len() - 1) >= ALPHA
    };
    let n_accepted = (0..batches.len()).into_par_iter().filter(accepted).count();
    Ok(n_accepted as f64 / batches.len() as f64)
}

/// Mean of [`kbet`] over labels, as scIB takes it (Luecken et al. 2022): the neighbours of a cell are searched among cells of its label, by
/// diffusion over the `graph` of all cells (of 50 neighbours in scIB), so that no other label is in between. Their number is a quarter of
/// the mean size of the label's batches, 10 to 70, and the cell. Labels with fewer than 10 cells or a single batch are left out. Parts
/// of a label that are not connected and smaller than three times that number are left out; where they are more than a quarter of the
/// label, it scores 0. `None` where no label is left.
///
/// Differs from scib-metrics in what moves no score by more than 0.001 on its test data: it keeps the constant component of the diffusion map,
/// and takes fewer components for all labels that follow a small one; here that component is left out and each label has 100.
///
/// # Errors
/// [`Error::Data`] for unequal numbers of cells.
pub fn kbet_per_label(graph: &Graph, labels: &[u32], batches: &[u32]) -> Result<Option<f64>> {
    check_cells(graph.n_nodes(), &[("labels", labels.len()), ("batches", batches.len())])?;
    let n_labels = labels.iter().max().map_or(0, |l| *l + 1);
    let mut scores = Vec::new();
    for label in 0..n_labels {
        let cells: Vec<usize> = (0..labels.len()).filter(|i| labels[*i] == label).collect();
        scores.extend(of_label(graph, &cells, batches)?);
    }
    Ok((!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64))
}

fn of_label(graph: &Graph, cells: &[usize], batches: &[u32]) -> Result<Option<f64>> {
    let mut levels: Vec<u32> = cells.iter().map(|i| batches[*i]).collect();
    levels.sort_unstable();
    levels.dedup();
    if cells.len() < 10 || levels.len() < 2 {
        return Ok(None);
    }
    let k = (cells.len() / levels.len() / 4).clamp(10, 70);
    let part = graph.subgraph(cells);
    let components = part.components();
    let mut sizes = vec![0usize; components.iter().max().map_or(0, |c| *c as usize + 1)];
    components.iter().for_each(|c| sizes[*c as usize] += 1);
    let large = |c: usize| sizes.len() == 1 || sizes[c] >= 3 * k;
    let tested: Vec<usize> = (0..cells.len()).filter(|i| large(components[*i] as usize)).collect();
    if (tested.len() as f64) < TESTED * cells.len() as f64 {
        return Ok(Some(0.0));
    }
    let own: Vec<u32> = tested.iter().map(|i| batches[cells[*i]]).collect();
    if own.iter().all(|b| *b == own[0]) {
        return Ok(Some(0.0));
    }
    let map = map_of_parts(&part, &components, &tested)?;
    let n_neighbors = (k + 1).min(tested.len());
    let neighbors = nearest_self(map.view(), &NeighborConfig { n_neighbors, ..Default::default() })?;
    kbet(&neighbors, &own).map(Some)
}

/// Diffusion coordinates of the nodes chosen; those of different parts of the graph lie far from each other, as diffusion never joins them.
fn map_of_parts(graph: &Graph, components: &[u32], chosen: &[usize]) -> Result<Array2<f32>> {
    let mut parts: Vec<u32> = chosen.iter().map(|i| components[*i]).collect();
    parts.sort_unstable();
    parts.dedup();
    let mut out = Array2::zeros((chosen.len(), COMPONENTS + usize::from(parts.len() > 1)));
    let mut widest = 0f32;
    for part in &parts {
        let rows: Vec<usize> = (0..chosen.len()).filter(|r| components[chosen[*r]] == *part).collect();
        let nodes: Vec<usize> = rows.iter().map(|r| chosen[*r]).collect();
        let map = diffusion_map(&graph.subgraph(&nodes), COMPONENTS)?;
        for (r, row) in rows.iter().zip(map.rows()) {
            out.row_mut(*r).slice_mut(ndarray::s![..row.len()]).assign(&row);
            widest = widest.max(row.dot(&row).sqrt());
        }
    }
    if parts.len() > 1 {
        let apart = 4.0 * widest.max(1.0);
        for (r, node) in chosen.iter().enumerate() {
            let place = parts.binary_search(&components[*node]).unwrap_or(0);
            out[[r, COMPONENTS]] = apart * place as f32;
        }
    }
    Ok(out)
}

/// Probability that a chi-square variable of `df` degrees of freedom exceeds x: the regularised upper incomplete gamma function at df / 2 and
/// x / 2, by recurrence from erfc (odd) or exp (even).
fn chi_square_above(x: f64, df: usize) -> f64 {
    let half = 0.5 * x;
    // Q(a + 1, y) = Q(a, y) + y^a e^-y / Gamma(a + 1), from Q(1/2, y) = erfc(sqrt y) or Q(1, y) = e^-y.
    let odd = df % 2 == 1;
    let mut a = if odd { 0.5 } else { 1.0 };
    let mut above = if odd { erfc(half.sqrt()) } else { (-half).exp() };
    // y^a e^-y / Gamma(a + 1).
    let mut term = if odd { 2.0 * (half / std::f64::consts::PI).sqrt() * (-half).exp() } else { half * (-half).exp() };
    while a + 0.25 < 0.5 * df as f64 {
        above += term;
        a += 1.0;
        term *= half / a;
    }
    above.min(1.0)
}

/// The complementary error function for x of 0 or more: its series below 2, Lentz' continued fraction above.
fn erfc(x: f64) -> f64 {
    let root_pi = std::f64::consts::PI.sqrt();
    if x < 2.0 {
        let (mut term, mut sum) = (x, x);
        for n in 1..100 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return 1.0 - 2.0 / root_pi * sum;
    }
    let mut fraction = x;
    for n in (1..=60).rev() {
        fraction = x + 0.5 * f64::from(n) / fraction;
    }
    (-x * x).exp() / (root_pi * fraction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn tails_of_chi_square_are_those_of_the_tables() {
        for (x, df, p) in [
            (3.841_459, 1, 0.05),
            (5.991_465, 2, 0.05),
            (7.814_728, 3, 0.05),
            (18.307_04, 10, 0.05),
            (10.827_57, 1, 0.001),
            (0.0, 3, 1.0),
        ] {
            assert!((chi_square_above(x, df) - p).abs() < 1e-6, "{x} {df}: {}", chi_square_above(x, df));
        }
        assert!((erfc(0.5) - 0.479_500_122).abs() < 1e-8 && (erfc(2.5) - 4.069_520e-4).abs() < 1e-9);
    }

    fn cells(apart: f32) -> (Array2<f32>, Vec<u32>, Vec<u32>) {
        let mut stream = Rng::new(7).stream("points", 0, 0);
        let labels: Vec<u32> = (0..600).map(|i| i % 2).collect();
        let batches: Vec<u32> = (0..600).map(|i| i / 2 % 3).collect();
        let x = Array2::from_shape_fn((600, 4), |(i, d)| {
            let shift = if d == 0 {
                12.0 * labels[i] as f32
            } else if d == 1 {
                apart * batches[i] as f32
            } else {
                0.0
            };
            shift + stream.normal() as f32
        });
        (x, labels, batches)
    }

    fn graph(x: &Array2<f32>) -> Graph {
        Graph::fuzzy(&nearest_self(x.view(), &NeighborConfig { n_neighbors: 50, ..Default::default() }).unwrap())
    }

    #[test]
    fn mixed_batches_are_accepted_and_separate_ones_are_not() {
        let score = |apart| {
            let (x, labels, batches) = cells(apart);
            kbet_per_label(&graph(&x), &labels, &batches).unwrap().unwrap()
        };
        assert!(score(0.0) > 0.8, "{}", score(0.0));
        assert!(score(2.0) < score(0.0) - 0.2);
        assert!(score(8.0) < 0.05, "{}", score(8.0));
    }

    #[test]
    fn the_plain_test_accepts_what_chance_gives() {
        let (x, _, batches) = cells(0.0);
        let neighbors = nearest_self(x.view(), &NeighborConfig { n_neighbors: 30, ..Default::default() }).unwrap();
        let accepted = kbet(&neighbors, &batches).unwrap();
        assert!((0.9..1.0).contains(&accepted), "about 0.95: {accepted}");
        assert!(kbet(&neighbors, &[0; 600]).is_err() && kbet(&neighbors, &batches[1..]).is_err());
    }

    #[test]
    fn labels_of_one_batch_or_few_cells_are_left_out() {
        let (x, labels, _) = cells(0.0);
        assert_eq!(kbet_per_label(&graph(&x), &labels, &labels).unwrap(), None);
    }
}
