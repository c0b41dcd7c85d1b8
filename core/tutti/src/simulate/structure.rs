//! Clusters, trajectories, crossing paths and trees, as programmes of genes that switch on and off.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::plan::Sizes;
use super::programme::{Curve, Shape, State, blocks};
use super::spec::{at_least_one, number, positive, probability, share};
use crate::error::{Error, Result};

/// Separate groups, each with a programme of its own; truth: `cell_type`, and `time` within it unless the shape is uniform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clusters {
    /// Number of clusters, at least 1. Default 3.
    pub n: usize,
    /// Shares of the cells (of every batch that has the cluster). Default: equal.
    pub sizes: Sizes,
    /// Shares of the genes. Default: equal.
    pub gene_sizes: Sizes,
    /// How the programme varies within its cluster. Default: uniform.
    pub shape: Shape,
    /// Part of a ramp shape that is plateau, 0 to below 1. Default 0.3.
    pub plateau: f64,
    /// Genes that two clusters have in common.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<SharedGenes>,
}

impl Default for Clusters {
    fn default() -> Self {
        Self { n: 3, sizes: Sizes::Equal, gene_sizes: Sizes::Equal, shape: Shape::Uniform, plateau: 0.3, shared: Vec::new() }
    }
}

/// Genes of one cluster's programme that are on in another cluster too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedGenes {
    /// The cluster that has the programme, by number from 1.
    pub of: usize,
    /// The other cluster.
    pub also_in: usize,
    /// Share of the programme's genes, 0 to 1.
    pub fraction: f64,
}

/// One path through programmes 1, 2, ..., then back to earlier ones; truth: `branch` and `time`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trajectory {
    /// Number of programmes, at least 2. Default 3.
    pub n_programmes: usize,
    /// Programmes, by number from 1, that the path goes on to after the last: each adds a loop unless the two are already neighbours.
    /// `[1]` closes the circle.
    pub loop_to: Vec<usize>,
    /// How one programme gives way to the next. Default: linear.
    pub shape: Shape,
    /// Part of the way between two programmes on which nothing changes, 0 to below 1. Default 0.3.
    pub plateau: f64,
}

impl Default for Trajectory {
    fn default() -> Self {
        Self { n_programmes: 3, loop_to: Vec::new(), shape: Shape::Linear, plateau: 0.3 }
    }
}

/// Several paths, each a list of programmes by number from 1; paths through the same programme cross there. Truth: `path`, `branch`, `time`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Paths {
    /// The paths, each of at least two programmes. Default: two that cross in their middle, `[[1, 2, 3], [4, 2, 5]]`.
    pub paths: Vec<Vec<usize>>,
    /// How one programme gives way to the next: linear (default), dimension_increase or uniform.
    pub shape: Shape,
    /// As in [`Trajectory`].
    pub plateau: f64,
}

impl Default for Paths {
    fn default() -> Self {
        Self { paths: vec![vec![1, 2, 3], vec![4, 2, 5]], shape: Shape::Linear, plateau: 0.3 }
    }
}

/// A branching lineage: every branch switches on a programme of its own and keeps those of its ancestors. Truth: `branch`, `depth`, `time`
/// (0 at the root, 1 more per branch).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tree {
    /// Children of a branch: one number for all levels, or one per level. Default `[2]`.
    pub branching: Vec<usize>,
    /// Levels below the root branch. Default 3.
    pub depth: usize,
    /// How a branch's programme switches on: linear_increasing (default), dimension_increase or uniform.
    pub shape: Shape,
    /// Part of a branch, at its ends, on which nothing changes, 0 to below 1. Default 0.
    pub plateau: f64,
    /// Genes of a branch's programme relative to its parent's, above 0. Default 0.5.
    pub programme_decay: f64,
    /// Cells of a branch relative to its parent's, above 0. Default 1.
    pub cell_decay: f64,
}

impl Default for Tree {
    fn default() -> Self {
        Self { branching: vec![2], depth: 3, shape: Shape::LinearIncreasing, plateau: 0.0, programme_decay: 0.5, cell_decay: 1.0 }
    }
}

impl Clusters {
    pub(super) fn states(&self, genes: Range<usize>, seed: &crate::rng::Rng) -> Result<Vec<State>> {
        at_least_one("structure.n", self.n)?;
        share("structure.plateau", self.plateau)?;
        let sizes = self.sizes.draw("structure.sizes", self.n, seed)?;
        let gene_sizes = self.gene_sizes.draw("structure.gene_sizes", self.n, seed)?;
        let runs = blocks(&gene_sizes, genes.start, genes.end, "structure.gene_sizes")?;
        let curve = match self.shape {
            Shape::Uniform => Curve::Constant(1.0),
            Shape::Linear => Curve::Hill { plateau: self.plateau },
            shape => Curve::Rise { shape, plateau: self.plateau },
        };
        let mut states: Vec<State> = (0..self.n)
            .map(|k| State {
                name: format!("cluster_{}", k + 1),
                path: 0,
                depth: 0,
                start: 0.0,
                weight: sizes[k],
                programmes: vec![(runs[k].clone(), curve)],
            })
            .collect();
        for shared in &self.shared {
            probability("structure.shared.fraction", shared.fraction)?;
            let (of, also_in) =
                (number("structure.shared.of", shared.of, self.n)?, number("structure.shared.also_in", shared.also_in, self.n)?);
            if of == also_in {
                return Err(Error::argument("structure.shared", "names one cluster twice", "name two clusters"));
            }
            let run = runs[of].clone();
            let end = run.start + (shared.fraction * run.len() as f64).round() as usize;
            states[also_in].programmes.push((run.start..end, Curve::Constant(1.0)));
        }
        Ok(states)
    }
}

impl Trajectory {
    pub(super) fn states(&self, genes: Range<usize>) -> Result<Vec<State>> {
        if self.n_programmes < 2 {
            return Err(Error::argument("structure.n_programmes", format!("is {}", self.n_programmes), "give at least 2"));
        }
        let mut walk: Vec<usize> = (0..self.n_programmes).collect();
        for target in &self.loop_to {
            let target = number("structure.loop_to", *target, self.n_programmes)?;
            if walk.last() == Some(&target) {
                return Err(Error::argument("structure.loop_to", "stays where the path is", "name another programme"));
            }
            walk.push(target);
        }
        walks(&[walk], self.shape, self.plateau, genes)
    }
}

impl Paths {
    pub(super) fn states(&self, genes: Range<usize>) -> Result<Vec<State>> {
        let n = self.paths.iter().flatten().copied().max().unwrap_or(0);
        let mut found = Vec::new();
        for path in &self.paths {
            if path.len() < 2 || path.windows(2).any(|w| w[0] == w[1]) {
                let fix = "give each path at least two programmes, no programme twice in a row";
                return Err(Error::argument("structure.paths", format!("has the path {path:?}"), fix));
            }
            found.push(path.iter().map(|p| number("structure.paths", *p, n)).collect::<Result<Vec<_>>>()?);
        }
        if found.is_empty() {
            return Err(Error::argument("structure.paths", "is empty", "give at least one path"));
        }
        walks(&found, self.shape, self.plateau, genes)
    }
}

/// The ways between successive programmes of each walk.
fn walks(walks: &[Vec<usize>], shape: Shape, plateau: f64, genes: Range<usize>) -> Result<Vec<State>> {
    share("structure.plateau", plateau)?;
    let n = walks.iter().flatten().max().map_or(0, |m| m + 1);
    let runs = blocks(&vec![1.0; n], genes.start, genes.end, "structure.n_programmes")?;
    let simple = walks.len() == 1 && walks[0].len() == n;
    let lasting = matches!(shape, Shape::LinearIncreasing | Shape::LinearDecreasing | Shape::LinearBidirectional);
    if lasting && !simple {
        let fix = "use linear, dimension_increase or uniform";
        return Err(Error::argument("structure.shape", "would not close a loop or cross another path", fix));
    }
    let mut states = Vec::new();
    for (path, walk) in walks.iter().enumerate() {
        for (step, way) in walk.windows(2).enumerate() {
            let (from, to) = (way[0], way[1]);
            let programmes = if lasting {
                lasting_programmes(&runs, to, shape, plateau)
            } else {
                vec![(runs[from].clone(), Curve::Fall { shape, plateau }), (runs[to].clone(), Curve::Rise { shape, plateau })]
            };
            let name =
                if walks.len() == 1 { format!("branch_{}", step + 1) } else { format!("branch_{}_{}", path + 1, step + 1) };
            states.push(State { name, path, depth: 0, start: step as f64, weight: 1.0, programmes });
        }
    }
    Ok(states)
}

/// On the way to programme `to`: what rises has risen before it and not after it; what falls, the other way round.
fn lasting_programmes(runs: &[Range<usize>], to: usize, shape: Shape, plateau: f64) -> Vec<(Range<usize>, Curve)> {
    let mut out = Vec::new();
    for (k, run) in runs.iter().enumerate() {
        let middle = match shape {
            Shape::LinearIncreasing => run.end,
            Shape::LinearDecreasing => run.start,
            _ => run.start + run.len() / 2,
        };
        let rising = match k.cmp(&to) {
            std::cmp::Ordering::Less => Curve::Constant(1.0),
            std::cmp::Ordering::Equal => Curve::Rise { shape: Shape::Linear, plateau },
            std::cmp::Ordering::Greater => Curve::Constant(0.0),
        };
        // What falls, falls on the way out of its own programme.
        let falling = match (k + 1).cmp(&to) {
            std::cmp::Ordering::Less => Curve::Constant(0.0),
            std::cmp::Ordering::Equal => Curve::Fall { shape: Shape::Linear, plateau },
            std::cmp::Ordering::Greater => Curve::Constant(1.0),
        };
        for (genes, curve) in [(run.start..middle, rising), (middle..run.end, falling)] {
            if !genes.is_empty() && curve != Curve::Constant(0.0) {
                out.push((genes, curve));
            }
        }
    }
    out
}

impl Tree {
    /// Branches from the root, each before its children.
    pub(super) fn states(&self, genes: Range<usize>) -> Result<Vec<State>> {
        share("structure.plateau", self.plateau)?;
        positive("structure.programme_decay", self.programme_decay)?;
        positive("structure.cell_decay", self.cell_decay)?;
        if !matches!(self.shape, Shape::LinearIncreasing | Shape::DimensionIncrease | Shape::Uniform) {
            let fix = "use linear_increasing, dimension_increase or uniform";
            return Err(Error::argument("structure.shape", "gives children nothing to inherit", fix));
        }
        let bad_length = self.branching.len() != 1 && self.branching.len() != self.depth;
        if bad_length || self.branching.contains(&0) {
            let fix = format!("give one number, or one for each of the {} levels, all at least 1", self.depth);
            return Err(Error::argument("structure.branching", format!("is {:?}", self.branching), fix));
        }
        let n_branches = (0..self.depth).try_fold((1usize, 1usize), |(all, last), level| {
            let last = last.checked_mul(self.branching[if self.branching.len() == 1 { 0 } else { level }])?;
            Some((all.checked_add(last)?, last)).filter(|(all, _)| *all <= genes.len())
        });
        if n_branches.is_none() {
            let fix = "give more genes, or a smaller `depth` or `branching`";
            return Err(Error::argument("structure.depth", format!("makes more branches than the {} genes", genes.len()), fix));
        }
        let branches = self.branches();
        let weights: Vec<f64> = branches.iter().map(|b| self.programme_decay.powi(b.len() as i32)).collect();
        let runs = blocks(&weights, genes.start, genes.end, "structure.depth")?;
        let own = match self.shape {
            Shape::Uniform => Curve::Constant(1.0),
            shape => Curve::Rise { shape, plateau: self.plateau },
        };
        let state = |i: usize| {
            let branch = &branches[i];
            let ancestors = (0..i).filter(|j| branches[*j].len() < branch.len() && branch.starts_with(&branches[*j]));
            let mut programmes: Vec<_> = ancestors.map(|j| (runs[j].clone(), Curve::Constant(1.0))).collect();
            programmes.push((runs[i].clone(), own));
            let name = branch.iter().fold("branch".to_owned(), |name, child| format!("{name}_{}", child + 1));
            let (depth, weight) = (branch.len(), self.cell_decay.powi(branch.len() as i32));
            State { name, path: 0, depth, start: depth as f64, weight, programmes }
        };
        Ok((0..branches.len()).map(state).collect())
    }

    /// Every branch as the choices on the way to it, depth first, so that neighbours in the list are relatives.
    fn branches(&self) -> Vec<Vec<usize>> {
        fn below(tree: &Tree, branch: Vec<usize>, out: &mut Vec<Vec<usize>>) {
            let level = branch.len();
            out.push(branch.clone());
            if level < tree.depth {
                let n = tree.branching[if tree.branching.len() == 1 { 0 } else { level }];
                (0..n).for_each(|child| below(tree, [branch.clone(), vec![child]].concat(), out));
            }
        }
        let mut out = Vec::new();
        below(self, Vec::new(), &mut out);
        out
    }
}
