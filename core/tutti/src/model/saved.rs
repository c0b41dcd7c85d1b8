//! The model file: safetensors with a versioned header.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Version of the header that this library writes; it reads this and older ones.
pub const FORMAT_VERSION: u32 = 1;

const HEADER_KEY: &str = "tutti";
/// Stands for the path of a model that is in no file.
const IN_MEMORY: &str = "model";

/// A trained model without its code: header and tensors.
#[derive(Debug, Clone)]
pub struct SavedModel {
    /// Version of the header.
    pub format_version: u32,
    /// Name of the system, e.g. `concord`, or of a checkpoint.
    pub system: String,
    /// Configuration, levels, history: what the system needs to come back.
    pub header: serde_json::Value,
    /// All tensors by name.
    pub tensors: Vec<(String, Tensor)>,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    format_version: u32,
    system: String,
    header: serde_json::Value,
}

impl SavedModel {
    /// Header and tensors of the system `system`.
    pub fn new(system: &str, header: serde_json::Value, tensors: Vec<(String, Tensor)>) -> Self {
        Self { format_version: FORMAT_VERSION, system: system.to_owned(), header, tensors }
    }

    /// Writes the file; a killed run leaves either the old file or the new one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        write_atomically(path, &self.to_bytes()?)
    }

    /// The content of the file, for those who keep models elsewhere, e.g. within an object of their own.
    ///
    /// # Errors
    /// [`Error::ModelFile`] for a tensor on a device that fails.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let path = Path::new(IN_MEMORY);
        let envelope = Envelope { format_version: self.format_version, system: self.system.clone(), header: self.header.clone() };
        let text = serde_json::to_string(&envelope).map_err(|e| file_error(path, e.to_string(), "report this"))?;
        let metadata = HashMap::from([(HEADER_KEY.to_owned(), text)]);
        // By name, so that the same model gives the same bytes.
        let mut tensors: Vec<(&str, &Tensor)> = self.tensors.iter().map(|(n, t)| (n.as_str(), t)).collect();
        tensors.sort_by_key(|(name, _)| *name);
        safetensors::serialize(tensors, Some(metadata)).map_err(|e| file_error(path, e.to_string(), "report this"))
    }

    /// Reads a file that [`SavedModel::save`] wrote.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that cannot be read; [`Error::ModelFile`] for one that is truncated, foreign or newer.
    pub fn load(path: &Path) -> Result<Self> {
        Self::from_bytes(&std::fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?, path)
    }

    /// Reads what [`SavedModel::to_bytes`] gave; `path` is named in errors.
    ///
    /// # Errors
    /// [`Error::ModelFile`], as [`SavedModel::load`].
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self> {
        let damaged = |e: String| file_error(path, format!("is no complete model file ({e})"), "save or copy it again");
        let (_, metadata) = safetensors::SafeTensors::read_metadata(bytes).map_err(|e| damaged(e.to_string()))?;
        let text = metadata.metadata().as_ref().and_then(|m| m.get(HEADER_KEY)).ok_or_else(|| {
            file_error(path, "holds tensors of another program".into(), "give a file written by `tutti --save-model`")
        })?;
        let version: VersionOnly = serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
        if version.format_version > FORMAT_VERSION {
            let problem = format!("has format {}, this version of tutti reads up to {FORMAT_VERSION}", version.format_version);
            return Err(file_error(path, problem, "update tutti"));
        }
        let envelope: Envelope = serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
        let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu).map_err(|e| damaged(e.to_string()))?;
        let mut tensors: Vec<(String, Tensor)> = tensors.into_iter().collect();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Self { format_version: envelope.format_version, system: envelope.system, header: envelope.header, tensors })
    }

    /// The header as the type that the system wrote.
    ///
    /// # Errors
    /// [`Error::ModelFile`] for a model of another system or a header with missing parts.
    pub fn header_as<T: serde::de::DeserializeOwned>(&self, system: &str, path: &Path) -> Result<T> {
        if self.system != system {
            let problem = format!("holds a `{}`, not a `{system}`", self.system);
            return Err(file_error(path, problem, "give the matching file"));
        }
        serde_json::from_value(self.header.clone())
            .map_err(|e| file_error(path, format!("has an incomplete header ({e})"), "save the model again"))
    }
}

#[derive(Deserialize)]
struct VersionOnly {
    format_version: u32,
}

fn file_error(path: &Path, problem: String, fix: &str) -> Error {
    Error::ModelFile { path: path.to_owned(), problem, fix: fix.to_owned() }
}

/// Writes beside the target, flushes to the disk and renames, so that no half file is ever seen under the final name.
///
/// # Errors
/// [`Error::Io`].
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = temporary_beside(path);
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(&temporary)?;
        std::io::Write::write_all(&mut file, bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(|source| {
        // The rename did not happen; what is left of the temporary file is of no use.
        let _ = std::fs::remove_file(&temporary);
        Error::Io { path: path.to_owned(), source }
    })
}

fn temporary_beside(path: &Path) -> PathBuf {
    let name = path.file_name().map_or_else(|| "model".into(), |n| n.to_string_lossy().into_owned());
    path.with_file_name(format!(".{name}.{}.part", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> SavedModel {
        let weight = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
        SavedModel::new("concord", serde_json::json!({"genes": ["A", "B"]}), vec![("w".into(), weight)])
    }

    #[test]
    fn comes_back_as_it_was_and_with_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        model().save(&path).unwrap();
        let first = std::fs::read(&path).unwrap();
        let back = SavedModel::load(&path).unwrap();
        assert_eq!(back.header, model().header);
        assert_eq!(back.tensors[0].1.to_vec2::<f32>().unwrap(), [[1.0, 2.0], [3.0, 4.0]]);
        back.save(&path).unwrap();
        assert_eq!(first, std::fs::read(&path).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn every_truncation_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        model().save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for n in 0..bytes.len() {
            std::fs::write(&path, &bytes[..n]).unwrap();
            let message = SavedModel::load(&path).unwrap_err().to_string();
            assert!(message.contains("m.safetensors") && message.contains("no complete model file"), "{n}: {message}");
        }
    }

    #[test]
    fn foreign_and_newer_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        let foreign = safetensors::serialize(Vec::<(&str, &Tensor)>::new(), None).unwrap();
        std::fs::write(&path, foreign).unwrap();
        assert!(SavedModel::load(&path).unwrap_err().to_string().contains("another program"));
        let newer = SavedModel { format_version: FORMAT_VERSION + 1, ..model() };
        newer.save(&path).unwrap();
        assert!(SavedModel::load(&path).unwrap_err().to_string().contains("update tutti"));
        model().save(&path).unwrap();
        let loaded = SavedModel::load(&path).unwrap();
        let other = loaded.header_as::<serde_json::Value>("lcl", &path).unwrap_err().to_string();
        assert!(other.contains("holds a `concord`, not a `lcl`"), "{other}");
    }
}
