//! What a run did, printed at its end and stored with its output.

use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};
use tutti::model::System;
use tutti::preprocess::Prepared;
use tutti::train::History;

use crate::Result;
use crate::error::CliError;
use crate::settings::RunArguments;
use crate::training::{Trained, TrainingArguments};

/// Files of a run.
#[derive(Clone, Copy)]
pub struct Files<'a> {
    pub input: &'a Path,
    pub output: &'a Path,
    pub training: &'a TrainingArguments,
}

/// Everything needed to repeat a run.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Version of this program.
    pub tutti_version: &'static str,
    /// Name of the system.
    pub system: &'static str,
    /// File that was read.
    pub input: String,
    /// File that was written.
    pub output: String,
    /// Model file, where one was asked for.
    pub model: Option<String>,
    /// Cells.
    pub n_cells: usize,
    /// What was done to the values.
    pub input_values: Prepared,
    /// Every setting, defaults included.
    pub config: Value,
    /// What only this system has.
    #[serde(flatten)]
    pub details: Map<String, Value>,
    /// Losses by epoch.
    pub history: History,
    /// Threads.
    pub threads: usize,
    /// Device.
    pub device: String,
    /// Epochs trained.
    pub epochs: usize,
    /// Seconds of training.
    pub train_seconds: f64,
    /// Cells trained per second.
    pub cells_per_second: f64,
    /// Seconds from the start of the program to the end of the first step.
    pub seconds_to_first_step: f64,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Lines on the settings that matter most.
    #[serde(skip)]
    pub method: Vec<String>,
    /// Lines on what was found, each with its own title.
    #[serde(skip)]
    pub found: Vec<String>,
}

impl Summary {
    /// Without details, warnings and lines of the system.
    pub fn new<S: System>(
        trained: &Trained<S>,
        files: Files<'_>,
        run: &RunArguments,
        threads: usize,
        n_cells: usize,
        input_values: Prepared,
        config: &impl Serialize,
    ) -> Result<Self> {
        Ok(Self {
            tutti_version: env!("CARGO_PKG_VERSION"),
            system: trained.model.name(),
            input: files.input.display().to_string(),
            output: files.output.display().to_string(),
            model: files.training.save_model.as_ref().map(|p| p.display().to_string()),
            n_cells,
            input_values,
            config: serde_json::to_value(config).map_err(|e| CliError::Usage(e.to_string()))?,
            details: Map::new(),
            epochs: trained.history.epochs.len(),
            history: trained.history.clone(),
            threads,
            device: run.device.clone(),
            train_seconds: trained.train_seconds,
            cells_per_second: trained.cells_per_second,
            seconds_to_first_step: trained.seconds_to_first_step,
            warnings: Vec::new(),
            method: Vec::new(),
            found: Vec::new(),
        })
    }

    /// Prints it as the arguments ask.
    pub fn report(&self, run: &RunArguments) {
        if run.json {
            match serde_json::to_string(self) {
                Ok(text) => say!("{text}"),
                Err(e) => eprintln!("warning: the summary could not be printed: {e}"),
            }
        } else if !run.quiet {
            say!("{}", self.text());
        }
    }

    /// The summary as a person reads it.
    fn text(&self) -> String {
        let values = &self.input_values;
        let normalisation = match values.preprocessing.target_sum {
            Some(target) => format!("scaled to {target} per cell, log(1 + x)"),
            None => "used as they are".to_owned(),
        };
        let last = self.history.epochs.last().map_or(f64::NAN, |e| e.loss);
        let mut lines = vec![
            format!("input    {} ({} cells, {} genes)", self.input, self.n_cells, values.n_genes_in),
            format!("values   {} ({}); {normalisation}", values.value_kind, values.reason),
            format!("genes    {}", values.gene_selection),
        ];
        for (i, line) in self.method.iter().enumerate() {
            let threads = if i + 1 == self.method.len() { format!(", {} threads", self.threads) } else { String::new() };
            lines.push(format!("{:<9}{line}{threads}", if i == 0 { "method" } else { "" }));
        }
        lines.push(format!(
            "trained  {} epochs in {:.1} s ({:.0} cells/s), last loss {last:.4}",
            self.epochs, self.train_seconds, self.cells_per_second
        ));
        lines.extend(self.found.iter().cloned());
        lines.push(format!("output   {}", self.output));
        if let Some(model) = &self.model {
            lines.push(format!("model    {model}"));
        }
        lines.extend(values.notes.iter().map(|n| format!("note     {n}")));
        lines.extend(self.warnings.iter().map(|w| format!("warning  {w}")));
        lines.join("\n")
    }
}
