//! A training run, of any system.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tutti::model::System;
use tutti::observe::{CancelToken, Observer};
use tutti::preprocess::Normalization;
use tutti::train::{History, State, Trainer};

use crate::Result;
use crate::error::CliError;
use crate::progress::Reporter;

/// Genes and files of a training.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TrainingArguments {
    /// Highly variable genes to train on; 0 takes all [default: 2000 where there are more]
    #[arg(long, value_name = "N")]
    pub hvg: Option<usize>,
    /// What is done to the values: `auto` log-normalises counts (10,000 per cell, log(1 + x)) and leaves other values, `log-normalize` refuses what
    /// is no counts, `binarize` takes what is above 0 as 1; a saved model does the same to new cells
    #[arg(long, value_name = "HOW", default_value = "auto", value_parser = named)]
    pub normalize: Normalization,
    /// Write the trained model here
    #[arg(long, value_name = "FILE")]
    pub save_model: Option<PathBuf>,
    /// Write the state of the run here after every epoch
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Go on from a state that `--checkpoint` wrote; the settings must be the same
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,
}

fn named(name: &str) -> std::result::Result<Normalization, String> {
    Normalization::named(name).map_err(|e| e.to_string())
}

impl TrainingArguments {
    /// The trainer with its checkpoint, gone on where that is asked for.
    pub fn start<'a, S: System>(&self, trainer: Trainer<'a, S>, reporter: &Reporter) -> Result<Trainer<'a, S>> {
        let mut trainer = trainer.with_checkpoint(self.checkpoint.clone().or_else(|| self.resume.clone()));
        if let Some(path) = &self.resume {
            trainer.resume(path)?;
            reporter.say(&format!("going on after epoch {}", trainer.history().len()));
        }
        Ok(trainer)
    }
}

/// What a training gave, however it ended.
pub struct Trained<S> {
    pub model: S,
    pub history: History,
    pub train_seconds: f64,
    pub cells_per_second: f64,
    pub seconds_to_first_step: f64,
    outcome: tutti::Result<State>,
}

impl<S: System> Trained<S> {
    /// Trains in slices; Ctrl-C stops at the next step.
    pub fn train(mut trainer: Trainer<'_, S>, reporter: &mut Reporter, started: Instant) -> Result<Self> {
        let cancel = CancelToken::default();
        let handle = cancel.clone();
        if ctrlc::set_handler(move || handle.cancel()).is_err() {
            reporter.on_warning("Ctrl-C will end the program without writing the embedding");
        }
        let outcome = loop {
            match trainer.advance(Duration::from_millis(200), reporter, &cancel) {
                Ok(State::Running) => {}
                ended => break ended,
            }
        };
        reporter.finish();
        let (train_seconds, cells_per_second) = trainer.speed();
        let seconds_to_first_step = trainer.first_step_at().map_or(f64::NAN, |at| at.duration_since(started).as_secs_f64());
        let (model, history) = trainer.finish()?;
        Ok(Self { model, history, train_seconds, cells_per_second, seconds_to_first_step, outcome })
    }

    /// How the command ends, once all is written to `output`.
    pub fn conclude(self, output: &str) -> Result<()> {
        self.model_and_end(output).1
    }

    /// The model, and how the command ends once all is written to `output`.
    pub fn model_and_end(self, output: &str) -> (S, Result<()>) {
        let (epochs, output) = (self.history.epochs.len(), output.to_owned());
        let end = match self.outcome {
            Ok(State::Cancelled) => Err(CliError::Interrupted { epochs, output }),
            Ok(_) => Ok(()),
            Err(source) => Err(CliError::Training { source, output }),
        };
        (self.model, end)
    }
}
