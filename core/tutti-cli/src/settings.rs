//! Settings of a system from preset, file and flags, in this order.

use std::path::{Path, PathBuf};

use candle_core::Device;
use clap::ValueEnum;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tutti::model::with_settings;
use tutti::systems::concord::{ConcordConfig, Preset};

use crate::Result;
use crate::error::CliError;

/// Named settings.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum PresetName {
    /// Hard negatives weighted in the loss: the published default
    HardNegative,
    /// Mini-batches enriched for neighbourhoods: the preprint's method
    Knn,
}

impl From<PresetName> for Preset {
    fn from(name: PresetName) -> Self {
        match name {
            PresetName::HardNegative => Self::HardNegative,
            PresetName::Knn => Self::Knn,
        }
    }
}

/// Settings by name, of any system.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct SettingSources {
    /// TOML file of settings, e.g. `latent_dim = 30`
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting as NAME=VALUE in TOML, may be repeated, e.g. `--set train_frac=0.9`; a word needs no quotes
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
}

impl SettingSources {
    /// The preset, changed by the file, by `--set` and by the command's own flags, in this order.
    pub fn resolve<C: Serialize + DeserializeOwned>(&self, preset: C, flags: &Map<String, Value>) -> Result<C> {
        let mut config = preset;
        if let Some(path) = &self.config {
            let file = |e: tutti::Error| usage(format!("{}: {e}", path.display()));
            config = with_settings(&config, &read_toml(path)?).map_err(file)?;
        }
        for setting in &self.set {
            config = with_settings(&config, &object(one_setting(setting)?)).map_err(|e| usage(format!("--set: {e}")))?;
        }
        Ok(with_settings(&config, flags)?)
    }
}

/// A seed as the user writes it.
pub fn seed(text: &str) -> std::result::Result<u64, String> {
    text.parse().map_err(|_| format!("a seed is a whole number from 0 to {}; it names the random draws, give e.g. 1", u64::MAX))
}

/// Flags that were given, by the name of their setting.
pub fn given<const N: usize>(flags: [(&str, Option<Value>); N]) -> Map<String, Value> {
    flags.into_iter().filter_map(|(name, value)| value.map(|v| (name.to_owned(), v))).collect()
}

/// Settings of CONCORD; each overrides the preset and the file.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Settings {
    /// Named settings to start from
    #[arg(long, value_enum)]
    pub preset: Option<PresetName>,
    #[command(flatten)]
    pub sources: SettingSources,
    /// Passes over the data [default: 15]
    #[arg(long, value_name = "N")]
    pub n_epochs: Option<usize>,
    /// Width of the embedding [default: 100]
    #[arg(long, value_name = "N")]
    pub latent_dim: Option<usize>,
    /// Cells per mini-batch [default: 256]
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Learning rate [default: 0.01]
    #[arg(long, value_name = "X")]
    pub lr: Option<f64>,
    /// Temperature of the loss [default: 0.4]
    #[arg(long, value_name = "X")]
    pub temperature: Option<f64>,
    /// Share of a mini-batch from its own batch; smaller corrects less [default: 1]
    #[arg(long, value_name = "X")]
    pub p_intra_domain: Option<f64>,
    /// Seed of all random draws [default: 0]
    #[arg(long, value_name = "N", value_parser = seed, allow_negative_numbers = true)]
    pub seed: Option<u64>,
}

impl Settings {
    /// The configuration asked for.
    pub fn resolve(&self) -> Result<ConcordConfig> {
        let preset = ConcordConfig::preset(self.preset.map(Into::into).unwrap_or_default());
        let config = self.sources.resolve(preset, &self.flags())?;
        config.validate()?;
        Ok(config)
    }

    /// Flags that were given, by the name of their setting.
    pub fn flags(&self) -> Map<String, Value> {
        given([
            ("n_epochs", self.n_epochs.map(Value::from)),
            ("latent_dim", self.latent_dim.map(Value::from)),
            ("batch_size", self.batch_size.map(Value::from)),
            ("lr", self.lr.map(Value::from)),
            ("temperature", self.temperature.map(Value::from)),
            ("p_intra_domain", self.p_intra_domain.map(Value::from)),
            ("seed", self.seed.map(Value::from)),
        ])
    }
}

fn read_toml(path: &Path) -> Result<Map<String, Value>> {
    let text = std::fs::read_to_string(path).map_err(|e| usage(format!("{}: {e}", path.display())))?;
    let value: Value = toml::from_str(&text).map_err(|e| usage(format!("{}: {e}", path.display())))?;
    Ok(object(value))
}

/// The fields of a JSON object; none of anything else.
pub fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// `NAME=VALUE` as a table. A word needs no quotes, which a shell takes away.
fn one_setting(setting: &str) -> Result<Value> {
    toml::from_str(setting).or_else(|e: toml::de::Error| {
        let (name, word) = setting.split_once('=').unwrap_or_default();
        let is_word = |c: char| c.is_alphanumeric() || "-_".contains(c);
        if word.starts_with(char::is_alphabetic) && word.chars().all(is_word) {
            return Ok(json!({ name.trim(): word }));
        }
        Err(usage(format!("--set {setting}: {}", e.message())))
    })
}

fn usage(message: String) -> CliError {
    CliError::Usage(message)
}

/// Where a command runs and what it prints.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct RunArguments {
    /// Threads [default: all processors]
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// `cpu` or `cuda` (where built with it)
    #[arg(long, value_name = "NAME", default_value = "cpu")]
    pub device: String,
    /// Print nothing but warnings and errors
    #[arg(long)]
    pub quiet: bool,
    /// Print the summary as one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

impl RunArguments {
    /// The device asked for.
    pub fn device(&self) -> Result<Device> {
        match self.device.as_str() {
            "cpu" => Ok(Device::Cpu),
            "cuda" => Device::new_cuda(0).map_err(|e| {
                let fix = "build with `--features cuda` on a machine with an NVIDIA GPU, or use --device cpu";
                usage(format!("--device cuda is not available ({e}); {fix}"))
            }),
            name => Err(usage(format!("--device {name} is unknown; use cpu or cuda"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use tutti::nn::Norm;
    use tutti::systems::lcl::LclConfig;

    use super::*;

    #[test]
    fn flags_win_over_the_file_and_the_file_over_the_preset() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, "temperature = 0.3\nlatent_dim = 30\n").unwrap();
        let settings = Settings {
            preset: Some(PresetName::Knn),
            sources: SettingSources { config: Some(path.clone()), set: vec!["use_decoder=true".into()] },
            latent_dim: Some(20),
            ..Default::default()
        };
        let config = settings.resolve().unwrap();
        assert_eq!((config.p_intra_knn, config.temperature, config.latent_dim, config.use_decoder), (0.3, 0.3, 20, true));

        std::fs::write(&path, "tempreature = 0.3\n").unwrap();
        let message = settings.resolve().unwrap_err().to_string();
        assert!(message.contains("`tempreature`") && message.contains("temperature"), "{message}");
    }

    #[test]
    fn a_word_needs_no_quotes() {
        let set = |setting: &str| {
            let sources = SettingSources { config: None, set: vec![setting.to_owned()] };
            sources.resolve(LclConfig::default(), &Map::new()).map_err(|e| e.to_string())
        };
        for setting in ["projection_norm=none", "projection_norm=\"none\"", "projection_norm = 'none'"] {
            assert_eq!(set(setting).unwrap().projection_norm, Norm::None, "{setting}");
        }
        let message = set("projection_norm=nothing").unwrap_err();
        assert!(message.contains("nothing") && message.contains("batch_norm"), "{message}");
        assert!(set("temperature=0.5.1").unwrap_err().starts_with("--set temperature=0.5.1: "));
        assert!(set("temperature").unwrap_err().starts_with("--set temperature: "));
    }
}
