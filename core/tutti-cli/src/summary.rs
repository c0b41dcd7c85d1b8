//! What a run did, printed at its end and stored with its output.

use serde::Serialize;
use tutti::preprocess::Prepared;
use tutti::sampler::Composition;
use tutti::systems::concord::ConcordConfig;
use tutti::train::History;

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
    /// Column of batches.
    pub batch_key: Option<String>,
    /// What was done to the values.
    pub input_values: Prepared,
    /// Every setting, defaults included.
    pub config: ConcordConfig,
    /// What the mini-batches of the first epoch were made of.
    pub composition: Composition,
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
}

impl Summary {
    /// The summary as a person reads it.
    pub fn text(&self) -> String {
        let values = &self.input_values;
        let normalisation = match values.preprocessing.target_sum {
            Some(target) => format!("scaled to {target} per cell, log(1 + x)"),
            None => "used as they are".to_owned(),
        };
        let c = &self.config;
        let last = self.history.epochs.last().map_or(f64::NAN, |e| e.loss);
        let mut lines = vec![
            format!("input    {} ({} cells, {} genes)", self.input, self.n_cells, values.n_genes_in),
            format!("values   {} ({}); {normalisation}", values.value_kind, values.reason),
            format!("genes    {}", values.gene_selection),
            format!(
                "method   concord: latent_dim {}, encoder {:?}, temperature {}, hard_negative_beta {}, p_intra_domain {}, p_intra_knn {}",
                c.latent_dim, c.encoder_dims, c.temperature, c.hard_negative_beta, c.p_intra_domain, c.p_intra_knn
            ),
            format!(
                "         batch_size {}, n_epochs {}, lr {}, seed {}, {} threads",
                c.batch_size, c.n_epochs, c.lr, c.seed, self.threads
            ),
            format!(
                "trained  {} epochs in {:.1} s ({:.0} cells/s), last loss {last:.4}",
                self.epochs, self.train_seconds, self.cells_per_second
            ),
            "batches  name, cells, mini-batches, cells per mini-batch, share of own batch, cells used".to_owned(),
        ];
        for d in &self.composition.domains {
            lines.push(format!(
                "         {}  {}  {}  {:.0}  {:.2}  {}",
                d.domain, d.n_cells, d.n_batches, d.mean_size, d.intra_domain, d.n_used
            ));
        }
        lines.push(format!("output   {}", self.output));
        if let Some(model) = &self.model {
            lines.push(format!("model    {model}"));
        }
        lines.extend(values.notes.iter().map(|n| format!("note     {n}")));
        lines.extend(self.warnings.iter().map(|w| format!("warning  {w}")));
        lines.join("\n")
    }
}
