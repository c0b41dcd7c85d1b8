//! The state of a run on disk.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{History, TrainConfig};
use crate::error::{Error, Result};
use crate::model::{SavedModel, System};
use crate::optim::Optimizer;

type Named = Vec<(String, Tensor)>;

/// Weights, moments and counters after an epoch.
pub(super) struct Checkpoint {
    system: String,
    config: TrainConfig,
    pub epoch: usize,
    pub history: History,
    pub parameters: Named,
    pub optimizer: Named,
    pub optimizer_steps: BTreeMap<usize, u64>,
    pub extra: Named,
    pub best: Option<Named>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    config: TrainConfig,
    epoch: usize,
    history: History,
    optimizer_steps: BTreeMap<usize, u64>,
}

const PARAMETERS: &str = "parameter/";
const OPTIMIZER: &str = "optimiser/";
const EXTRA: &str = "extra/";
const BEST: &str = "best/";

impl Checkpoint {
    pub fn take<S: System>(
        system: &S,
        optimizer: &Optimizer,
        config: &TrainConfig,
        epoch: usize,
        history: &History,
        best: Option<&[(String, Tensor)]>,
    ) -> Result<Self> {
        let (optimizer, optimizer_steps) = optimizer.state(system.parameters())?;
        Ok(Self {
            system: system.name().to_owned(),
            config: config.clone(),
            epoch,
            history: history.clone(),
            parameters: system.parameters().snapshot()?,
            optimizer,
            optimizer_steps,
            extra: system.extra_state()?,
            best: best.map(<[_]>::to_vec),
        })
    }

    pub fn save(self, path: &Path) -> Result<()> {
        let (config, epoch, history, optimizer_steps) = (self.config, self.epoch, self.history, self.optimizer_steps);
        let header = Header { config, epoch, history, optimizer_steps };
        let header = serde_json::to_value(header).map_err(|e| file_error(path, e.to_string(), "report this"))?;
        let parts = [
            (PARAMETERS, self.parameters),
            (OPTIMIZER, self.optimizer),
            (EXTRA, self.extra),
            (BEST, self.best.unwrap_or_default()),
        ];
        let tensors =
            parts.into_iter().flat_map(|(prefix, list)| list.into_iter().map(move |(n, t)| (format!("{prefix}{n}"), t)));
        SavedModel::new(&kind(&self.system), header, tensors.collect()).save(path)
    }

    /// Reads a checkpoint of `system`; the run that goes on must have the same settings, save a larger number of epochs.
    pub fn load(path: &Path, system: &str, config: &TrainConfig) -> Result<Self> {
        let saved = SavedModel::load(path)?;
        let header: Header = saved.header_as(&kind(system), path)?;
        let same = TrainConfig { n_epochs: config.n_epochs, ..header.config.clone() } == *config;
        if !same || header.epoch > config.n_epochs {
            let problem = "belongs to a run with other training settings".to_owned();
            return Err(file_error(path, problem, "give the same settings and seed, or start without `--resume`"));
        }
        let part = |prefix: &str| -> Named {
            let named = saved.tensors.iter().filter_map(|(n, t)| Some((n.strip_prefix(prefix)?.to_owned(), t.clone())));
            named.collect()
        };
        let best = Some(part(BEST)).filter(|b| !b.is_empty());
        Ok(Self {
            system: system.to_owned(),
            config: header.config,
            epoch: header.epoch,
            history: header.history,
            parameters: part(PARAMETERS),
            optimizer: part(OPTIMIZER),
            optimizer_steps: header.optimizer_steps,
            extra: part(EXTRA),
            best,
        })
    }
}

fn kind(system: &str) -> String {
    format!("{system} checkpoint")
}

fn file_error(path: &Path, problem: String, fix: &str) -> Error {
    Error::ModelFile { path: path.to_owned(), problem, fix: fix.to_owned() }
}
