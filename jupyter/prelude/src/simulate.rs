//! Cells with a known truth.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value};
use tutti::data::Csr;
use tutti::model::with_settings;
use tutti::preprocess::to_memory;
use tutti::simulate::{Layer, Overlap, PRESETS, Simulation, Spec};
use tutti::threads::Threads;
use tutti_io::{AnnData, ObsColumn};

use crate::builder::changed;
use crate::cells::Cells;
use crate::error::Result;
use crate::kernel::stoppable;
use crate::table::Table;

/// Simulated cells of a ready-made kind, such as `"loop"`, `"tree"` or `"splatter"`; [`presets`] lists them. The truth is the layer `no_noise`.
///
/// # Errors
/// For a kind that there is not, listing those there are.
pub fn simulate(preset: &str) -> Result<Cells> {
    simulate_with(preset).run()
}

/// As [`simulate()`], with options: `simulate_with("loop").n_cells(800).seed(1).run()?`.
pub fn simulate_with(preset: &str) -> SimulateRun {
    SimulateRun { preset: preset.to_owned(), settings: Vec::new(), n_batches: None, overlap: None, threads: 0 }
}

/// The ready-made kinds of cells.
///
/// # Errors
/// None.
pub fn presets() -> Result<Table> {
    let (names, what): (Vec<&str>, Vec<&str>) = PRESETS.iter().copied().unzip();
    Table::build().text("preset", &names).text("description", &what).run()
}

/// What is simulated; [`SimulateRun::run`] does it.
#[derive(Clone)]
pub struct SimulateRun {
    preset: String,
    settings: Vec<(String, Value)>,
    n_batches: Option<usize>,
    overlap: Option<Overlap>,
    threads: usize,
}

impl SimulateRun {
    /// Cells instead of those of the preset.
    pub fn n_cells(&self, n: usize) -> SimulateRun {
        self.set("n_cells", n)
    }

    /// Genes instead of those of the preset.
    pub fn n_genes(&self, n: usize) -> SimulateRun {
        self.set("n_genes", n)
    }

    /// Seed instead of that of the preset.
    pub fn seed(&self, seed: u64) -> SimulateRun {
        self.set("seed", seed)
    }

    /// Batches instead of those of the preset, whose effects they have.
    pub fn n_batches(&self, n: usize) -> SimulateRun {
        changed(self, |run| run.n_batches = Some(n))
    }

    /// How much of the states neighbouring batches share: 0 gives each a part of its own, 1 all states to all. In between, as of the preset
    /// `"loop"`, which has 0.4, it is the width of the zone around each border, in parts.
    pub fn overlap(&self, share: f64) -> SimulateRun {
        let overlap = match share {
            0.0 => Overlap::None,
            1.0 => Overlap::Full,
            share => Overlap::Partial(share),
        };
        changed(self, |run| run.overlap = Some(overlap))
    }

    /// Probability that a value is lost, 0 to below 1, instead of that of the preset.
    pub fn dropout(&self, probability: f64) -> SimulateRun {
        self.set("dropout", probability)
    }

    /// One setting by its name, such as `.set("to_int", true)`; tables as `json!({ .. })`. A wrong name lists all.
    pub fn set(&self, name: &str, value: impl Into<serde_json::Value>) -> SimulateRun {
        changed(self, |run| run.settings.push((name.to_owned(), value.into())))
    }

    /// Threads; the result does not depend on them. Default: all processors.
    pub fn threads(&self, n: usize) -> SimulateRun {
        changed(self, |run| run.threads = n)
    }

    /// Simulates.
    ///
    /// # Errors
    /// As [`simulate()`]; a setting that there is not or is out of range.
    pub fn run(&self) -> Result<Cells> {
        let spec = self.spec()?;
        let simulated = || -> tutti::Result<_> {
            let simulation = Simulation::new(&spec)?;
            let (x, truth) = (simulation.matrix(Layer::Measured)?, simulation.matrix(Layer::NoNoise)?);
            Ok((simulation, x, truth))
        };
        let (simulation, x, truth) = stoppable(|| Ok(Threads::new(self.threads)?.run(simulated)?))?;
        let layers = BTreeMap::from([(Layer::NoNoise.name().to_owned(), Arc::new(truth))]);
        self.cells(&simulation, x, simulation.gene_names(), layers)
    }

    /// Simulates the second assay of the same cells instead: of the preset `"rna_atac"` gene activity under the names of the genes, of `"rna_protein"`
    /// proteins, or what `.set("modality", json!({ .. }))` says.
    ///
    /// # Errors
    /// As [`SimulateRun::run`]; a kind of cells without a second assay.
    pub fn second_assay(&self) -> Result<Cells> {
        let spec = self.spec()?;
        let simulated = || -> tutti::Result<_> {
            let simulation = Simulation::new(&spec)?;
            let Some((names, rows)) = simulation.modality() else {
                let problem = format!("{} has no second assay", self.preset);
                return Err(tutti::Error::argument("modality", problem, "take `rna_atac` or `rna_protein`, or set one"));
            };
            let (names, x) = (names.to_vec(), to_memory(&rows)?);
            Ok((simulation, names, x))
        };
        let (simulation, names, x) = stoppable(|| Ok(Threads::new(self.threads)?.run(simulated)?))?;
        self.cells(&simulation, x, &names, BTreeMap::new())
    }

    fn spec(&self) -> Result<Spec> {
        let changes: Map<String, Value> = self.settings.iter().cloned().collect();
        let mut spec: Spec = with_settings(&Spec::preset(&self.preset)?, &changes)?;
        spec.batches.n = self.n_batches.unwrap_or(spec.batches.n);
        spec.batches.overlap = self.overlap.unwrap_or(spec.batches.overlap);
        Ok(spec)
    }

    /// Cells with the truth as columns.
    fn cells(&self, simulation: &Simulation, x: Csr, genes: &[String], layers: BTreeMap<String, Arc<Csr>>) -> Result<Cells> {
        let name = PathBuf::from(format!("simulated: {}", self.preset));
        let data = AnnData::from_memory(&name, x, simulation.cell_names(), genes.to_vec())?;
        let obs: Vec<(String, ObsColumn)> =
            simulation.truth()?.into_iter().map(|(name, truth)| (name.to_owned(), truth.into())).collect();
        Ok(Cells::in_memory(data.with_obs(obs)?, layers))
    }
}
