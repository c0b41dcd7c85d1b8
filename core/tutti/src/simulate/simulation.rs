//! A prepared simulation, whose rows are drawn when they are asked for.

use std::ops::Range;

use rayon::prelude::*;

use super::effect::{self, Effect};
use super::groups::GroupModel;
use super::lineage::Clones;
use super::modality::ModalityModel;
use super::noise::{add_noise, drop_values, measure};
use super::plan::Plan;
use super::programme::State;
use super::quick::numbered;
use super::spec::{Spec, Structure};
use crate::data::{Categorical, CellSource, Cells, Csr};
use crate::error::{Error, Result};
use crate::observe::may_stop;
use crate::rng::Rng;

/// A simulation: the plan of its cells is made, their values are drawn row by row on demand.
///
/// It is a [`CellSource`] of the measured values: rows may be read in any order, in blocks of any size and by any number of threads, and
/// are always the same. Memory: about 12 bytes per cell (21 for a lineage) and `n_genes` numbers per group or batch factor; reading a
/// block takes 8 bytes per value of the block that is not zero, twice.
#[derive(Debug, Clone)]
pub struct Simulation {
    spec: Spec,
    rng: Rng,
    plan: Plan,
    body: Body,
    effects: Vec<Vec<Effect>>,
    gene_names: Vec<String>,
    modality: Option<ModalityModel>,
}

/// Where the noise-free expression comes from.
#[derive(Debug, Clone)]
enum Body {
    Programmes { states: Vec<State>, clones: Option<Clones> },
    Groups(GroupModel),
}

/// One version of the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// As measured: with noise and batch effects.
    Measured,
    /// With noise, without batch effects.
    WithNoise,
    /// Without noise and batch effects: the truth.
    NoNoise,
}

impl Layer {
    /// Name of the layer in a file: `X`, `wt_noise` or `no_noise`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Measured => "X",
            Self::WithNoise => "wt_noise",
            Self::NoNoise => "no_noise",
        }
    }
}

/// What is known of every cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Truth {
    /// A category; missing where the experiment would not see it.
    Category(Categorical),
    /// A number.
    Number(Vec<f32>),
}

impl Simulation {
    /// Checks the spec and plans all cells.
    ///
    /// ```
    /// use tutti::simulate::{Layer, Simulation, Spec};
    /// let simulation = Simulation::new(&Spec::preset("three_loops")?)?;
    /// let cells = simulation.cells()?;
    /// assert_eq!(cells.n_cells(), 1500);
    /// let truth = simulation.matrix(Layer::NoNoise)?; // [n_cells, n_genes]
    /// assert!(truth.nnz() < cells.n_cells() * cells.n_genes());
    /// # Ok::<(), tutti::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`], naming the key of the spec.
    pub fn new(spec: &Spec) -> Result<Self> {
        spec.validate()?;
        let rng = Rng::new(spec.seed).derive("simulation");
        let free = (spec.non_specific_gene_fraction * spec.n_genes as f64).round() as usize..spec.n_genes;
        let (mut body, mut plan) = body(spec, free, &rng)?;
        if spec.shuffle {
            let mut order: Vec<u32> = (0..spec.n_cells as u32).collect();
            rng.stream("order", 0, 0).shuffle(&mut order);
            plan.reorder(&order);
            if let Body::Programmes { clones: Some(clones), .. } = &mut body {
                clones.reorder(&order);
            }
        }
        let (effects, n_genes) = effect::prepare(&spec.batches.effects, spec.batches.n, spec.n_genes, &rng);
        if n_genes > i32::MAX as usize {
            return Err(Error::argument("n_genes", format!("is {n_genes} with batch-specific features"), "give fewer genes"));
        }
        let mut gene_names = numbered("gene", spec.n_genes);
        gene_names.extend(effect::appended_names(&effects, spec.n_genes));
        let modality = spec.modality.as_ref().map(|m| ModalityModel::new(m, &gene_names[..spec.n_genes], &rng)).transpose()?;
        Ok(Self { spec: spec.clone(), rng, plan, body, effects, gene_names, modality })
    }

    /// What was asked for.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// `cell_1` and so on; unique over all batches.
    pub fn cell_names(&self) -> Vec<String> {
        numbered("cell", self.spec.n_cells)
    }

    /// `gene_1` and so on, then the batch-specific ones, `batch_1_gene_1` and so on.
    pub fn gene_names(&self) -> &[String] {
        &self.gene_names
    }

    /// Name of the column with the states as categories: `cell_type`, or `branch` where they are continuous.
    pub fn label_key(&self) -> &'static str {
        match self.spec.structure {
            Structure::Clusters(_) | Structure::Groups(_) | Structure::Lineage(_) => "cell_type",
            Structure::Trajectory(_) | Structure::Paths(_) | Structure::Tree(_) => "branch",
        }
    }

    /// What is known of every cell, by column name: `batch` first, then what the structure knows (see [`Structure`]'s members).
    ///
    /// # Errors
    /// None for what [`Simulation::new`] made.
    pub fn truth(&self) -> Result<Vec<(&'static str, Truth)>> {
        let mut out = vec![("batch", category(&self.plan.batch, numbered("batch", self.spec.batches.n))?)];
        match &self.body {
            Body::Groups(_) => out.push(("cell_type", category(&self.plan.state, numbered("group", self.n_states()))?)),
            Body::Programmes { states, clones: Some(clones) } => self.lineage_truth(states, clones, &mut out)?,
            Body::Programmes { states, clones: None } => self.state_truth(states, &mut out)?,
        }
        Ok(out)
    }

    fn n_states(&self) -> usize {
        match (&self.body, &self.spec.structure) {
            (Body::Programmes { states, .. }, _) => states.len(),
            (_, Structure::Groups(groups)) => groups.n,
            _ => 1,
        }
    }

    fn state_truth(&self, states: &[State], out: &mut Vec<(&'static str, Truth)>) -> Result<()> {
        let of = |value: fn(&State) -> f64| -> Vec<f32> {
            self.plan.state.iter().map(|s| value(&states[*s as usize]) as f32).collect()
        };
        out.push((self.label_key(), category(&self.plan.state, states.iter().map(|s| s.name.clone()).collect())?));
        let n_paths = states.iter().map(|s| s.path + 1).max().unwrap_or(1);
        if n_paths > 1 {
            let path: Vec<u32> = self.plan.state.iter().map(|s| states[*s as usize].path as u32).collect();
            out.push(("path", category(&path, numbered("path", n_paths))?));
        }
        if matches!(self.spec.structure, Structure::Tree(_)) {
            out.push(("depth", Truth::Number(of(|s| s.depth as f64))));
        }
        let varies = states.iter().any(|s| s.start > 0.0 || s.programmes.iter().any(|(_, c)| !c.is_constant()));
        if varies {
            let time = of(|s| s.start).iter().zip(&self.plan.time).map(|(start, t)| start + t).collect();
            out.push(("time", Truth::Number(time)));
        }
        Ok(())
    }

    fn lineage_truth(&self, states: &[State], clones: &Clones, out: &mut Vec<(&'static str, Truth)>) -> Result<()> {
        let Structure::Lineage(config) = &self.spec.structure else { return Ok(()) };
        let fates: Vec<String> = states.iter().map(|s| s.name.clone()).collect();
        let names = numbered("clone", config.n_clones);
        let types: Vec<u32> =
            self.plan.state.iter().zip(&self.plan.time).map(|(s, t)| if *t < 0.5 { 0 } else { s + 1 }).collect();
        let read = clones.clone.iter().zip(&clones.read).map(|(c, read)| read.then_some(*c)).collect();
        out.push(("cell_type", category(&types, [vec!["undifferentiated".to_owned()], fates.clone()].concat())?));
        out.push(("fate", category(&self.plan.state, fates)?));
        out.push(("clone", category(&clones.clone, names.clone())?));
        out.push(("barcode", Truth::Category(Categorical::new(read, names)?)));
        out.push(("day", Truth::Number(clones.day.iter().map(|d| config.days[*d as usize] as f32).collect())));
        out.push(("time", Truth::Number(self.plan.time.clone())));
        Ok(())
    }

    /// The measured values with the categorical truth, borrowed.
    ///
    /// # Errors
    /// None for what [`Simulation::new`] made.
    pub fn cells(&self) -> Result<Cells<'_>> {
        let mut cells = Cells::new(self, self.cell_names(), self.gene_names.clone())?;
        for (name, truth) in self.truth()? {
            if let Truth::Category(column) = truth {
                cells = cells.with_column(name, column)?;
            }
        }
        Ok(cells)
    }

    /// One version of the values as rows on demand, [n_cells, n_genes].
    pub fn layer(&self, layer: Layer) -> SimulatedRows<'_> {
        SimulatedRows { simulation: self, of: Rows::Layer(layer), n_genes: self.gene_names.len() }
    }

    /// Names of the features of the second assay and its counts as rows on demand, [n_cells, n_features]; `None` without one.
    pub fn modality(&self) -> Option<(&[String], SimulatedRows<'_>)> {
        let model = self.modality.as_ref()?;
        Some((&model.names, SimulatedRows { simulation: self, of: Rows::Modality(model), n_genes: model.names.len() }))
    }

    /// One version of the values in memory, [n_cells, n_genes].
    ///
    /// # Errors
    /// None for what [`Simulation::new`] made.
    pub fn matrix(&self, layer: Layer) -> Result<Csr> {
        let mut out = Csr::empty(0);
        self.layer(layer).read_range(0..self.spec.n_cells, &mut out)?;
        Ok(out)
    }

    /// Noise-free expression of cell `i`, without batch-specific genes.
    fn express(&self, i: usize, mean: &mut [f32]) {
        let state = self.plan.state[i] as usize;
        match &self.body {
            Body::Groups(model) => model.express(state, &mut self.rng.stream("library", 0, i as u64), mean),
            Body::Programmes { states, clones } => {
                let (level, min_level) = (self.spec.level, self.spec.min_level);
                mean.fill(min_level as f32);
                let everywhere = (self.spec.non_specific_gene_fraction * mean.len() as f64).round() as usize;
                mean[..everywhere].fill(level as f32);
                states[state].express(f64::from(self.plan.time[i]), level - min_level, mean);
                if let (Some(clones), Structure::Lineage(config)) = (clones, &self.spec.structure) {
                    let inherited = (level * config.memory) as f32;
                    clones.memory_genes[clones.clone[i] as usize].iter().for_each(|g| mean[*g as usize] += inherited);
                }
            }
        }
    }

    /// Values of cell `i`; `mean` and `values` are scratch of n_genes numbers, `values` with the batch-specific genes.
    fn draw(&self, i: usize, layer: Layer, mean: &mut [f32], values: &mut [f32]) {
        let spec = &self.spec;
        self.express(i, mean);
        let effects: &[Effect] = if layer == Layer::Measured { &self.effects[self.plan.batch[i] as usize] } else { &[] };
        effects.iter().for_each(|e| e.on_mean(mean));
        values.fill(0.0);
        let own = &mut values[..mean.len()];
        own.copy_from_slice(mean);
        if layer == Layer::NoNoise {
            return;
        }
        let mut stream = self.rng.stream("noise", 0, i as u64);
        match &self.body {
            Body::Groups(model) => model.add_noise(own, &mut stream),
            Body::Programmes { .. } => {
                let dispersion = spec.noise.dispersion.of(self.plan.state[i] as usize);
                add_noise(spec.noise.distribution, dispersion, own, &mut stream);
            }
        }
        if spec.dropout > 0.0 || spec.dropout_curve.is_some() {
            drop_values(spec.dropout, spec.dropout_curve, mean, own, &mut self.rng.stream("dropout", 0, i as u64));
        }
        measure(spec.non_neg, spec.to_int, own);
        if !effects.is_empty() {
            let mut stream = self.rng.stream("batch_noise", 0, i as u64);
            effects.iter().for_each(|e| e.on_values(values, &mut stream));
            measure(spec.non_neg, spec.to_int, values);
        }
    }

    /// Counts of the second assay of cell `i`.
    fn draw_modality(&self, i: usize, model: &ModalityModel, mean: &mut [f32], values: &mut [f32]) {
        self.express(i, mean);
        let on = |gene: usize| match &self.body {
            Body::Groups(groups) => groups.usual(gene),
            Body::Programmes { .. } => self.spec.level,
        };
        model.express(|gene| if on(gene) > 0.0 { f64::from(mean[gene]) / on(gene) } else { 0.0 }, values);
        model.add_noise(values, &mut self.rng.stream("modality", 1, i as u64));
    }
}

fn body(spec: &Spec, genes: Range<usize>, rng: &Rng) -> Result<(Body, Plan)> {
    let separate = matches!(spec.structure, Structure::Clusters(_));
    let states = match &spec.structure {
        Structure::Clusters(clusters) => clusters.states(genes, rng)?,
        Structure::Trajectory(trajectory) => trajectory.states(genes)?,
        Structure::Paths(paths) => paths.states(genes)?,
        Structure::Tree(tree) => tree.states(genes)?,
        Structure::Lineage(lineage) => {
            let states = lineage.states(genes)?;
            check_per_state(spec, states.len())?;
            let (clones, plan) = Clones::draw(lineage, spec.n_cells, spec.n_genes, &spec.batches, rng)?;
            return Ok((Body::Programmes { states, clones: Some(clones) }, plan));
        }
        Structure::Groups(groups) => {
            let sizes = groups.sizes.draw("structure.sizes", groups.n, rng)?;
            let plan = Plan::new(spec.n_cells, &spec.batches, &sizes, true, rng)?;
            return Ok((Body::Groups(GroupModel::new(groups, spec.n_genes, rng)), plan));
        }
    };
    check_per_state(spec, states.len())?;
    let weights: Vec<f64> = states.iter().map(|s| s.weight).collect();
    let plan = Plan::new(spec.n_cells, &spec.batches, &weights, separate, rng)?;
    Ok((Body::Programmes { states, clones: None }, plan))
}

fn check_per_state(spec: &Spec, n_states: usize) -> Result<()> {
    let given = spec.noise.dispersion.values().len();
    if given == 1 || given == n_states {
        return Ok(());
    }
    let problem = format!("has {given} numbers for {n_states} states");
    Err(Error::argument("noise.dispersion", problem, "give one number, or one per state"))
}

fn category(codes: &[u32], levels: Vec<String>) -> Result<Truth> {
    Ok(Truth::Category(Categorical::new(codes.iter().map(|c| Some(*c)).collect(), levels)?))
}

/// Rows of a layer or of the second assay, drawn on demand.
#[derive(Debug, Clone, Copy)]
pub struct SimulatedRows<'a> {
    simulation: &'a Simulation,
    of: Rows<'a>,
    n_genes: usize,
}

#[derive(Debug, Clone, Copy)]
enum Rows<'a> {
    Layer(Layer),
    Modality(&'a ModalityModel),
}

/// Cells that one thread draws at a time.
const CHUNK: usize = 64;

impl CellSource for SimulatedRows<'_> {
    fn n_cells(&self) -> usize {
        self.simulation.spec.n_cells
    }

    fn n_genes(&self) -> usize {
        self.n_genes
    }

    fn read_rows(&self, rows: &[usize], out: &mut Csr) -> Result<()> {
        let drawn: Vec<Csr> = rows
            .par_chunks(CHUNK)
            .map(|chunk| {
                let mut mean = vec![0f32; self.simulation.spec.n_genes];
                let mut values = vec![0f32; self.n_genes];
                let mut part = Csr::empty(self.n_genes);
                for i in chunk {
                    may_stop();
                    match self.of {
                        Rows::Layer(layer) => self.simulation.draw(*i, layer, &mut mean, &mut values),
                        Rows::Modality(model) => self.simulation.draw_modality(*i, model, &mut mean, &mut values),
                    }
                    part.push_row(values.iter().enumerate().filter(|(_, v)| **v != 0.0).map(|(g, v)| (g as u32, *v)));
                }
                part
            })
            .collect();
        out.clear(self.n_genes);
        out.reserve(rows.len(), drawn.iter().map(Csr::nnz).sum());
        for part in &drawn {
            (0..part.n_rows()).for_each(|i| {
                let (genes, values) = part.row(i);
                out.push_row(genes.iter().copied().zip(values.iter().copied()));
            });
        }
        match out.values().iter().position(|v| !v.is_finite()) {
            None => Ok(()),
            Some(_) => {
                Err(Error::argument("level", "makes values beyond the range of 32-bit floats", "make it, or the noise, smaller"))
            }
        }
    }
}

impl CellSource for Simulation {
    fn n_cells(&self) -> usize {
        self.spec.n_cells
    }

    fn n_genes(&self) -> usize {
        self.gene_names.len()
    }

    fn read_rows(&self, rows: &[usize], out: &mut Csr) -> Result<()> {
        self.layer(Layer::Measured).read_rows(rows, out)
    }
}
