//! Progress on a terminal as a bar, in a pipe as plain lines.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use tutti::observe::{Observer, Progress};

/// Shows training on standard error.
pub struct Reporter {
    bar: Option<ProgressBar>,
    quiet: bool,
}

impl Reporter {
    /// `quiet` shows nothing but warnings.
    pub fn new(quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(0);
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} steps  {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, quiet }
    }

    /// A line of its own.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None if !self.quiet => eprintln!("{line}"),
            None => {}
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Reporter {
    fn on_step(&mut self, p: &Progress) {
        if let Some(bar) = &self.bar {
            bar.set_length((p.n_steps * p.n_epochs) as u64);
            bar.set_position((p.n_steps * (p.epoch - 1) + p.step) as u64);
            bar.set_message(format!(
                "epoch {}/{}  loss {:.3}  {:.0} cells/s  {:.0} s left",
                p.epoch, p.n_epochs, p.loss, p.cells_per_second, p.eta_seconds
            ));
        }
    }

    fn on_epoch(&mut self, p: &Progress) {
        if self.bar.is_none() && !self.quiet {
            let validation = p.validation_loss.map(|v| format!("  validation {v:.4}")).unwrap_or_default();
            eprintln!(
                "epoch {}/{}  loss {:.4}{validation}  lr {:.5}  {:.0} cells/s  {:.0} s left",
                p.epoch, p.n_epochs, p.loss, p.learning_rate, p.cells_per_second, p.eta_seconds
            );
        }
    }

    fn on_warning(&mut self, message: &str) {
        match &self.bar {
            Some(bar) => bar.println(format!("warning: {message}")),
            None => eprintln!("warning: {message}"),
        }
    }

    fn on_stage(&mut self, stage: &str) {
        self.say(stage);
    }
}
