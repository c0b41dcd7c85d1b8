//! Concerto in a model file.

use std::path::Path;

use candle_core::Device;
use serde::{Deserialize, Serialize};

use super::{Concerto, ConcertoConfig};
use crate::error::{Error, Result};
use crate::model::{SavedModel, System};
use crate::nn::Parameters;
use crate::preprocess::Preprocessing;
use crate::rng::Rng;
use crate::train::History;

#[derive(Serialize, Deserialize)]
struct Header {
    config: ConcertoConfig,
    genes: Vec<String>,
    batches: Vec<String>,
    preprocessing: Preprocessing,
    history: History,
}

impl Concerto {
    /// Writes settings, weights, gene and batch names, preprocessing and history.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path, preprocessing: Preprocessing, history: &History) -> Result<()> {
        self.saved(preprocessing, history)?.save(path)
    }

    /// The model as it would be written, see [`SavedModel::to_bytes`].
    ///
    /// # Errors
    /// Where the device fails.
    pub fn saved(&self, preprocessing: Preprocessing, history: &History) -> Result<SavedModel> {
        let (config, genes, batches) = (self.config.clone(), self.genes.clone(), self.batches.clone());
        let header = Header { config, genes, batches, preprocessing, history: history.clone() };
        let header = serde_json::to_value(header).map_err(|e| Error::data(e.to_string(), "report this"))?;
        Ok(SavedModel::new(self.name(), header, self.parameters.snapshot()?))
    }

    /// Reads a model that [`Concerto::save`] wrote.
    ///
    /// # Errors
    /// [`Error::ModelFile`] for a file that is truncated, foreign, newer, or of another system.
    pub fn load(path: &Path, device: &Device) -> Result<(Self, Preprocessing, History)> {
        Self::from_saved(&SavedModel::load(path)?, path, device)
    }

    /// The model that [`Concerto::saved`] gave; `path` is named in errors.
    ///
    /// # Errors
    /// [`Error::ModelFile`], as [`Concerto::load`].
    pub fn from_saved(saved: &SavedModel, path: &Path, device: &Device) -> Result<(Self, Preprocessing, History)> {
        let header: Header = saved.header_as("concerto", path)?;
        let wrong =
            |e: Error| Error::ModelFile { path: path.to_owned(), problem: e.to_string(), fix: "save the model again".into() };
        header.config.validate().map_err(wrong)?;
        let parameters = Parameters::new(device, Rng::new(header.config.seed));
        let model = Self::build(header.config, header.genes, header.batches, parameters)?;
        model.parameters.restore(&saved.tensors).map_err(wrong)?;
        Ok((model, header.preprocessing, header.history))
    }
}
