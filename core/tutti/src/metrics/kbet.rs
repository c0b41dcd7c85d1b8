//! k-nearest-neighbour batch effect test (Büttner et al. 2019): are the batches around a cell as frequent as among all?

use super::check_cells;
use crate::error::Result;
use crate::neighbors::{Graph, NeighborConfig, Neighbors, diffusion_map, nearest_self};

/// Probability below which equal frequencies are rejected.
const ALPHA: f64 = 0.05;

/// Directions of diffusion in which cells are compared.
const N_COMPONENTS: usize = 100;

/// Cells of the smallest label that is tested.
const MIN_CELLS: usize = 10;

/// Share of the cells of a label that must lie in components large enough.
const MIN_SHARE: f64 = 0.75;

/// Mean of [`kbet_per_label`] over the labels that have a score; `None` where none has.
///
/// # Errors
/// As [`kbet_per_label`].
pub fn kbet(neighbors: &Neighbors, batches: &[u32], labels: &[u32]) -> Result<Option<f64>> {
    let scores: Vec<f64> = kbet_per_label(neighbors, batches, labels)?.into_iter().flatten().collect();
    Ok((!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64))
}

/// For each label, by its code, the share of its cells around which the batches are as frequent as in all of the label (chi-squared test,
/// 5 %): 1 is mixed, 0 apart. `None` for labels of fewer than 10 cells or of a single batch.
///
/// As Luecken et al. 2022 do it, so that embeddings and graphs can be compared: of the [`Graph::fuzzy`] of `neighbors` (of
/// [`nearest_self`]; scib-metrics takes 50) the part of the label is taken, and its cells are placed by 100 diffusion components (scaled by
/// λ / (1 - λ)), where the k nearest of each, and itself, are tested; k is a quarter of the mean number of cells per batch, 10 to 70.
/// Components of fewer than 3k cells are left out; a label of which more than a quarter lies there scores 0.
///
/// scib-metrics 0.5.10 searches approximately, and takes for every label no more components than the smallest of the labels before it, by
/// name, had cells less one, so that its score depends on the names. Here each label has as many as when it is given to it alone.
///
/// Memory: 220 * 8 bytes per cell of the largest label.
///
/// # Errors
/// [`Error::Data`](crate::Error::Data) where graph, batches and labels have unequal numbers of cells.
pub fn kbet_per_label(neighbors: &Neighbors, batches: &[u32], labels: &[u32]) -> Result<Vec<Option<f64>>> {
    check_cells(neighbors.n_queries(), &[("batches", batches.len()), ("labels", labels.len())])?;
    let graph = Graph::fuzzy(neighbors);
    let mut cells = vec![Vec::new(); labels.iter().max().map_or(0, |l| *l as usize + 1)];
    labels.iter().enumerate().for_each(|(i, label)| cells[*label as usize].push(i));
    cells.iter().map(|cells| of_label(&graph, cells, batches)).collect()
}

fn of_label(graph: &Graph, cells: &[usize], batches: &[u32]) -> Result<Option<f64>> {
    let n_batches = counts(cells.iter().map(|i| batches[*i])).iter().filter(|n| **n > 0).count();
    if cells.len() < MIN_CELLS || n_batches < 2 {
        return Ok(None);
    }
    let k = (cells.len() / (4 * n_batches)).clamp(10, 70);
    let within = graph.subgraph(cells);
    let components = within.components();
    let sizes = counts(components.iter().copied());
    let large = |i: &usize| sizes.len() == 1 || sizes[components[*i] as usize] >= 3 * k;
    let kept: Vec<usize> = (0..cells.len()).filter(large).collect();
    if (kept.len() as f64) < MIN_SHARE * cells.len() as f64 {
        return Ok(Some(0.0));
    }
    let batches: Vec<u32> = kept.iter().map(|i| batches[cells[*i]]).collect();
    let neighbors = diffusion_neighbors(&within.subgraph(&kept), k + 1)?;
    Ok(Some(acceptance(&neighbors, &batches)))
}

/// The nearest nodes, the node itself among them, by their places in a diffusion map over all times (Haghverdi et al. 2016).
fn diffusion_neighbors(graph: &Graph, n_neighbors: usize) -> Result<Neighbors> {
    let map = diffusion_map(graph, N_COMPONENTS)?;
    let mut places = map.vectors.mapv(|v| v as f32);
    for (mut column, value) in places.columns_mut().into_iter().zip(&map.values) {
        // The eigenvalue 1, in single precision, is of the state that never changes: it tells no cells of a component apart.
        let scale = if *value as f32 >= 1.0 { 1.0 } else { (value / (1.0 - value)) as f32 };
        column.mapv_inplace(|v| v * scale);
    }
    let n_neighbors = n_neighbors.min(graph.n_nodes());
    nearest_self(places.view(), &NeighborConfig { n_neighbors, ..Default::default() })
}

/// Share of the cells around which the frequencies of all are not rejected.
fn acceptance(neighbors: &Neighbors, batches: &[u32]) -> f64 {
    let n = batches.len();
    let present: Vec<(usize, f64)> = counts(batches.iter().copied())
        .iter()
        .enumerate()
        .filter(|(_, c)| **c > 0)
        .map(|(b, c)| (b, *c as f64 / n as f64))
        .collect();
    let accepted = |i: &usize| {
        let mut seen = counts(neighbors.row(*i).0.iter().map(|j| batches[*j as usize]));
        seen.resize(present.last().map_or(0, |(b, _)| b + 1).max(seen.len()), 0);
        let excess = |(batch, share): &(usize, f64)| {
            let expected = share * neighbors.k() as f64;
            (seen[*batch] as f64 - expected).powi(2) / expected
        };
        chi_squared_tail(present.iter().map(excess).sum(), present.len() - 1) >= ALPHA
    };
    (0..n).filter(accepted).count() as f64 / n as f64
}

fn counts(codes: impl Iterator<Item = u32>) -> Vec<usize> {
    let mut counts = Vec::new();
    for code in codes {
        if code as usize >= counts.len() {
            counts.resize(code as usize + 1, 0);
        }
        counts[code as usize] += 1;
    }
    counts
}

/// Probability that a chi-squared variable of `dof` degrees of freedom is above x: with y = x / 2, a finite sum of densities
/// e^-y y^s / Γ(s + 1), over whole s below dof / 2, or over halves beside the complementary error function.
fn chi_squared_tail(x: f64, dof: usize) -> f64 {
    if dof == 0 || x <= 0.0 {
        return 1.0;
    }
    let y = x / 2.0;
    let odd = dof % 2 == 1;
    // The density at s = 0 or s = 1/2; that at s + 1 is y / (s + 1) of it.
    let mut density = if odd { (-y).exp() * 2.0 * (y / std::f64::consts::PI).sqrt() } else { (-y).exp() };
    let mut tail = if odd { gaussian_tails(y.sqrt()) } else { 0.0 };
    let first = if odd { 0.5 } else { 0.0 };
    for step in 0..dof / 2 {
        tail += density;
        density *= y / (first + step as f64 + 1.0);
    }
    tail
}

/// Complementary error function: its series up to 2.5, its continued fraction (Abramowitz and Stegun 7.1.14) above.
fn gaussian_tails(z: f64) -> f64 {
    let bell = (-z * z).exp() / std::f64::consts::PI.sqrt();
    if z > 2.5 {
        let fraction = (1..=60).rev().fold(0.0, |rest, step| 0.5 * f64::from(step) / (z + rest));
        return bell / (z + fraction);
    }
    let (mut term, mut sum) = (2.0 * z * bell, 0.0);
    for step in 1..100 {
        sum += term;
        term *= 2.0 * z * z / (2.0 * f64::from(step) + 1.0);
    }
    1.0 - sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use ndarray::Array2;

    #[test]
    fn tail_equals_tables() {
        // The 5 % points of the chi-squared distribution, and others of scipy.stats.chi2.sf.
        for (dof, x) in [(1, 3.841458820694124), (2, 5.991464547107979), (3, 7.814727903251179), (10, 18.307038053275146)] {
            assert!((chi_squared_tail(x, dof) - 0.05).abs() < 1e-12, "{dof}");
        }
        assert!((chi_squared_tail(0.5, 1) - 0.479_500_122_186_953_5).abs() < 1e-12);
        assert!((chi_squared_tail(31.0, 29) - 0.365_424_321_387_220_4).abs() < 1e-12);
        assert!(chi_squared_tail(1e4, 3) < 1e-12 && chi_squared_tail(0.0, 3) == 1.0);
    }

    fn scored(apart: f32, n: usize) -> Vec<Option<f64>> {
        let mut stream = Rng::new(6).stream("points", 0, 0);
        let batches: Vec<u32> = (0..n as u32).map(|i| i % 2).collect();
        let x = Array2::from_shape_fn((n, 4), |(i, _)| stream.normal() as f32 + apart * batches[i] as f32);
        let config = NeighborConfig { n_neighbors: 50.min(n), ..Default::default() };
        kbet_per_label(&nearest_self(x.view(), &config).unwrap(), &batches, &vec![0; n]).unwrap()
    }

    #[test]
    fn mixed_batches_are_accepted_and_separate_ones_rejected() {
        // In a mixed label, 5 % of independent tests would be rejected.
        let mixed = scored(0.0, 600)[0].unwrap();
        assert!(mixed > 0.85, "{mixed}");
        assert!(scored(3.0, 600)[0].unwrap() < 0.1);
        // Far apart, the batches are two components of one batch each.
        assert!(scored(100.0, 600)[0].unwrap() < 0.1);
    }

    #[test]
    fn few_cells_and_single_batches_have_no_score() {
        assert_eq!(scored(0.0, 9), [None]);
        let x = Array2::from_shape_fn((30, 1), |(i, _)| i as f32);
        let neighbors = nearest_self(x.view(), &NeighborConfig { n_neighbors: 10, ..Default::default() }).unwrap();
        assert_eq!(kbet(&neighbors, &[0; 30], &[0; 30]).unwrap(), None);
        assert!(kbet(&neighbors, &[0; 29], &[0; 30]).is_err());
    }

    #[test]
    fn labels_in_many_small_pieces_score_nothing() {
        // Pairs of cells far from each other: no component has 3k cells.
        let x = Array2::from_shape_fn((40, 1), |(i, _)| (i / 2 * 100 + i % 2) as f32);
        let neighbors = nearest_self(x.view(), &NeighborConfig { n_neighbors: 2, ..Default::default() }).unwrap();
        let batches: Vec<u32> = (0..40).map(|i| i % 2).collect();
        assert_eq!(kbet(&neighbors, &batches, &[0; 40]).unwrap(), Some(0.0));
    }
}
