//! Programmes of genes that switch on and off, and states as sets of them.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How the genes of a programme change within a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Ramp, plateau, ramp: a cluster's programme rises and falls within it; along a path one gives way to the next.
    Linear,
    /// Ramps up; along a path it stays on.
    LinearIncreasing,
    /// Ramps down; along a path it is on before.
    LinearDecreasing,
    /// The first half of the genes ramps up, the other half down.
    LinearBidirectional,
    /// Genes switch on one after the other.
    DimensionIncrease,
    /// All genes on throughout; along a path they switch half way.
    Uniform,
}

/// Activity of a programme's genes, 0 (off) to 1 (on), within one state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Curve {
    Constant(f64),
    Rise {
        shape: Shape,
        plateau: f64,
    },
    Fall {
        shape: Shape,
        plateau: f64,
    },
    /// Straight from one activity to another.
    Ramp {
        from: f64,
        to: f64,
    },
    /// Up, plateau, down.
    Hill {
        plateau: f64,
    },
}

impl Curve {
    /// Activity at `time` (0 to 1 within the state) of the gene at `rank` (0 to 1 within the programme).
    pub(super) fn at(self, time: f64, rank: f64) -> f64 {
        match self {
            Self::Constant(value) => value,
            Self::Rise { shape, plateau } => rise(shape, plateau, time, rank),
            Self::Fall { shape, plateau } => 1.0 - rise(shape, plateau, time, rank),
            Self::Ramp { from, to } => from + (to - from) * time,
            Self::Hill { plateau } => ((1.0 - (2.0 * time - 1.0).abs()) / (1.0 - plateau)).min(1.0),
        }
    }
}

impl Curve {
    pub(super) fn is_constant(self) -> bool {
        matches!(self, Self::Constant(_))
    }
}

fn rise(shape: Shape, plateau: f64, time: f64, rank: f64) -> f64 {
    // Half of the plateau lies at each end, so that a programme is at rest on both sides of its peak.
    let ramp = ((time - plateau / 2.0) / (1.0 - plateau)).clamp(0.0, 1.0);
    match shape {
        Shape::Linear | Shape::LinearIncreasing => ramp,
        Shape::LinearDecreasing => 1.0 - ramp,
        Shape::LinearBidirectional => {
            if rank < 0.5 {
                ramp
            } else {
                1.0 - ramp
            }
        }
        Shape::DimensionIncrease => f64::from(ramp > rank),
        Shape::Uniform => f64::from(time >= 0.5),
    }
}

/// One state: a cluster, or the way from one programme to the next.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct State {
    /// Name of the cluster or branch.
    pub name: String,
    /// Which path it is of, 0 for the only one.
    pub path: usize,
    /// Levels below the root.
    pub depth: usize,
    /// Time at its start; it lasts 1.
    pub start: f64,
    /// Share of the cells, in any unit.
    pub weight: f64,
    /// Genes and their activity; genes of none are off.
    pub programmes: Vec<(Range<usize>, Curve)>,
}

impl State {
    /// Adds to `mean` the part of `span` (from off to on) that each gene is active.
    pub(super) fn express(&self, time: f64, span: f64, mean: &mut [f32]) {
        for (genes, curve) in &self.programmes {
            let n = genes.len() as f64;
            if let Curve::Constant(value) = curve {
                mean[genes.clone()].iter_mut().for_each(|m| *m += (span * value) as f32);
                continue;
            }
            for (i, m) in mean[genes.clone()].iter_mut().enumerate() {
                *m += (span * curve.at(time, (i as f64 + 0.5) / n)) as f32;
            }
        }
    }
}

/// Runs of genes, one per weight and in its proportion, from gene `start` to `end`.
pub(super) fn blocks(weights: &[f64], start: usize, end: usize, key: &str) -> Result<Vec<Range<usize>>> {
    let total: f64 = weights.iter().sum();
    let mut passed = 0.0;
    let mut edges = vec![start];
    for weight in weights {
        passed += weight;
        edges.push(start + (passed / total * (end - start) as f64).round() as usize);
    }
    let runs: Vec<Range<usize>> = edges.windows(2).map(|w| w[0]..w[1]).collect();
    match runs.iter().position(Range::is_empty) {
        Some(i) => {
            let problem = format!("is too small: programme {} of {} gets no gene", i + 1, runs.len());
            Err(Error::argument("n_genes", problem, format!("give more genes or change `{key}`")))
        }
        None => Ok(runs),
    }
}
