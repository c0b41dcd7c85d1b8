//! CONCORD in a model file.

use std::path::Path;

use candle_core::Device;
use serde::{Deserialize, Serialize};

use super::{Concord, ConcordConfig, Names};
use crate::error::{Error, Result};
use crate::model::{SavedModel, System};
use crate::nn::Parameters;
use crate::preprocess::Preprocessing;
use crate::rng::Rng;
use crate::train::History;

#[derive(Serialize, Deserialize)]
struct Header {
    config: ConcordConfig,
    names: Names,
    preprocessing: Preprocessing,
    history: History,
}

impl Concord {
    /// Writes settings, weights, gene, batch and class names, preprocessing and history.
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
        let header = Header { config: self.config.clone(), names: self.names.clone(), preprocessing, history: history.clone() };
        let header = serde_json::to_value(header).map_err(|e| Error::data(e.to_string(), "report this"))?;
        Ok(SavedModel::new(self.name(), header, self.parameters.snapshot()?))
    }

    /// Reads a model that [`Concord::save`] wrote.
    ///
    /// # Errors
    /// [`Error::ModelFile`] for a file that is truncated, foreign, newer, or of another system.
    pub fn load(path: &Path, device: &Device) -> Result<(Self, Preprocessing, History)> {
        Self::from_saved(&SavedModel::load(path)?, path, device)
    }

    /// The model that [`Concord::saved`] gave; `path` is named in errors.
    ///
    /// # Errors
    /// [`Error::ModelFile`], as [`Concord::load`].
    pub fn from_saved(saved: &SavedModel, path: &Path, device: &Device) -> Result<(Self, Preprocessing, History)> {
        let header: Header = saved.header_as("concord", path)?;
        let wrong =
            |e: Error| Error::ModelFile { path: path.to_owned(), problem: e.to_string(), fix: "save the model again".into() };
        header.config.validate().map_err(wrong)?;
        let missing = header.config.covariate_embedding_dims.keys().find(|k| !header.names.covariates.contains_key(*k));
        if let Some(name) = missing.filter(|_| header.config.use_decoder) {
            return Err(wrong(Error::data(format!("covariate `{name}` has no levels"), "save the model again")));
        }
        let parameters = Parameters::new(device, Rng::new(header.config.seed));
        let model = Self::build(header.config, header.names, parameters)?;
        model.parameters.restore(&saved.tensors).map_err(wrong)?;
        Ok((model, header.preprocessing, header.history))
    }
}
