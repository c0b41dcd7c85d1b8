//! How the states of cells relate: here clusters at the leaves of a lineage tree.

use std::ops::Range;

use super::SimulateConfig;
use crate::rng::Rng;

/// Cell types, their programmes and how many cells each has.
pub(super) struct Topology {
    n_genes: usize,
    /// Log-fold changes, [n_types, n_genes].
    log_folds: Vec<f64>,
    /// Weights of the types, one row per batch.
    sizes: Vec<Vec<f64>>,
}

impl Topology {
    /// Types as leaves of a balanced tree. Each branch has a programme, and a type sums those on its way from the root: types that
    /// part late share more.
    pub(super) fn clusters(config: &SimulateConfig, rng: &Rng) -> Self {
        let n_genes = config.n_genes;
        let mut log_folds = vec![0.0; config.n_types * n_genes];
        for (number, branch) in branches(config.n_types).into_iter().enumerate() {
            let mut stream = rng.stream("programme", 0, number as u64);
            for gene in 0..n_genes {
                let change = stream.normal() * config.type_strength;
                if stream.bernoulli(config.programme_share) {
                    branch.clone().for_each(|t| log_folds[t * n_genes + gene] += change);
                }
            }
        }
        Self { n_genes, log_folds, sizes: sizes(config, rng) }
    }

    /// Log-fold change of each gene in a type.
    pub(super) fn log_folds(&self, cell_type: usize) -> &[f64] {
        &self.log_folds[cell_type * self.n_genes..(cell_type + 1) * self.n_genes]
    }

    /// Weights of the types in a batch; 0 for a type that is absent.
    pub(super) fn sizes(&self, batch: usize) -> &[f64] {
        &self.sizes[batch]
    }
}

/// Branches of a balanced binary tree, each as the range of leaves below it; the root has none.
fn branches(n_leaves: usize) -> Vec<Range<usize>> {
    fn below(node: Range<usize>, out: &mut Vec<Range<usize>>) {
        if node.len() > 1 {
            let middle = node.start + node.len() / 2;
            for child in [node.start..middle, middle..node.end] {
                out.push(child.clone());
                below(child, out);
            }
        }
    }
    let mut out = Vec::new();
    below(0..n_leaves, &mut out);
    out
}

/// Type t has a weight of about 1 / (t + 1)^0.8, somewhat different in each batch; the last type is absent from the last batch.
fn sizes(config: &SimulateConfig, rng: &Rng) -> Vec<Vec<f64>> {
    (0..config.n_batches)
        .map(|batch| {
            let mut stream = rng.stream("type_sizes", 0, batch as u64);
            let mut weights: Vec<f64> =
                (0..config.n_types).map(|t| (t as f64 + 1.0).powf(-0.8) * (0.3 * stream.normal()).exp()).collect();
            if config.n_types > 1 && config.n_batches > 1 && batch + 1 == config.n_batches {
                weights[config.n_types - 1] = 0.0;
            }
            weights
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_of_n_leaves_has_all_leaves_and_two_less_than_twice_n_branches() {
        for n in 1..9 {
            let found = branches(n);
            assert_eq!(found.len(), 2 * n - 2);
            for leaf in 0..n {
                assert_eq!(found.iter().filter(|b| **b == (leaf..leaf + 1)).count(), usize::from(n > 1));
            }
        }
    }

    #[test]
    fn types_that_part_late_are_more_alike() {
        let config = SimulateConfig { n_types: 4, ..Default::default() };
        let topology = Topology::clusters(&config, &Rng::new(0));
        let distance = |a: usize, b: usize| -> f64 {
            topology.log_folds(a).iter().zip(topology.log_folds(b)).map(|(x, y)| (x - y).powi(2)).sum()
        };
        assert!(distance(0, 1) < distance(0, 2) && distance(2, 3) < distance(1, 3));
    }
}
