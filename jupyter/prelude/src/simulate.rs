//! Cells with a known truth.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value};
use tutti::model::with_settings;
use tutti::simulate::{Layer, PRESETS, Simulation, Spec};
use tutti::threads::Threads;
use tutti_io::{AnnData, ObsColumn};

use crate::cells::Cells;
use crate::error::Result;
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
    SimulateRun { preset: preset.to_owned(), settings: Vec::new(), threads: 0 }
}

/// The ready-made kinds of cells.
///
/// # Errors
/// None.
pub fn presets() -> Result<Table> {
    let (names, what): (Vec<&str>, Vec<&str>) = PRESETS.iter().copied().unzip();
    Table::build().texts("preset", &names).texts("description", &what).done()
}

/// What is simulated; [`SimulateRun::run`] does it.
#[derive(Clone)]
pub struct SimulateRun {
    preset: String,
    settings: Vec<(String, Value)>,
    threads: usize,
}

impl SimulateRun {
    /// Cells instead of those of the preset.
    pub fn n_cells(self, n: usize) -> SimulateRun {
        self.set("n_cells", n)
    }

    /// Genes instead of those of the preset.
    pub fn n_genes(self, n: usize) -> SimulateRun {
        self.set("n_genes", n)
    }

    /// Seed instead of that of the preset.
    pub fn seed(self, seed: u64) -> SimulateRun {
        self.set("seed", seed)
    }

    /// One setting by its name, such as `.set("dropout", 0.3)`; tables as `json!({ .. })`. A wrong name lists all.
    pub fn set(mut self, name: &str, value: impl Into<serde_json::Value>) -> SimulateRun {
        self.settings.push((name.to_owned(), value.into()));
        self
    }

    /// Threads; the result does not depend on them. Default: all processors.
    pub fn threads(mut self, n: usize) -> SimulateRun {
        self.threads = n;
        self
    }

    /// Simulates.
    ///
    /// # Errors
    /// As [`simulate()`]; a setting that there is not or is out of range.
    pub fn run(&self) -> Result<Cells> {
        let changes: Map<String, Value> = self.settings.iter().cloned().collect();
        let spec: Spec = with_settings(&Spec::preset(&self.preset)?, &changes)?;
        let (simulation, x, truth) = Threads::new(self.threads)?.run(|| -> tutti::Result<_> {
            let simulation = Simulation::new(&spec)?;
            let (x, truth) = (simulation.matrix(Layer::Measured)?, simulation.matrix(Layer::NoNoise)?);
            Ok((simulation, x, truth))
        })?;
        let name = PathBuf::from(format!("simulated: {}", self.preset));
        let data = AnnData::from_memory(&name, x, simulation.cell_names(), simulation.gene_names().to_vec())?;
        let obs: Vec<(String, ObsColumn)> =
            simulation.truth()?.into_iter().map(|(name, truth)| (name.to_owned(), truth.into())).collect();
        let layers = BTreeMap::from([(Layer::NoNoise.name().to_owned(), Arc::new(truth))]);
        Ok(Cells::in_memory(data.with_obs(obs)?, layers))
    }
}
