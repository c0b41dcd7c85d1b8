//! `tutti`: integrate single-cell data from several batches.

/// Prints a line; a reader that went away (`tutti info FILE | head`) ends nothing.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($part)*);
    }};
}

mod annotate;
mod concord;
mod demo;
mod error;
mod fate;
mod gene_activity;
mod info;
mod input;
mod lcl;
mod lineage;
mod lsi;
mod memory;
mod output;
mod predict;
mod progress;
mod score;
mod settings;
mod simulate;
mod summary;
mod training;
mod transfer;

use clap::{Parser, Subcommand};

use crate::error::CliError;

/// Integrate single-cell data from several batches by contrastive learning.
#[derive(Parser)]
#[command(name = "tutti", version, about, propagate_version = true)]
struct Tutti {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train CONCORD on a file and write the integrated embedding
    Concord(Box<concord::Arguments>),
    /// Train LCL on barcoded cells and write an embedding in which lineages lie together
    Lcl(Box<lcl::Arguments>),
    /// Tell from early cells what their lineages become
    Fate(Box<fate::Arguments>),
    /// Tell by an LCL model which genes lineages and islands rest on, and which pairs of cells are of one lineage
    Lineage(Box<lineage::Arguments>),
    /// Embed new cells with a trained model, and name them by its classifier
    Predict(Box<predict::Arguments>),
    /// Name new cells after the nearest cells of a labelled reference
    Transfer(transfer::Arguments),
    /// Name new cells from a labelled reference in one step: genes, training, calibrated labels, refusals
    Annotate(Box<annotate::Arguments>),
    /// Sum the peaks over each gene: from cells x peaks to cells x genes
    GeneActivity(gene_activity::Arguments),
    /// Embed cells by their peaks: TF-IDF and singular vectors
    Lsi(lsi::Arguments),
    /// Score embeddings by labels and batches, and rank them
    Score(score::Arguments),
    /// Say what is in a file
    Info(info::Arguments),
    /// Make data with a known truth, as h5ad
    Simulate(simulate::Arguments),
    /// Integrate generated data, or your own, and show scores before and after
    Demo(demo::Arguments),
}

fn main() -> std::process::ExitCode {
    let started = std::time::Instant::now();
    // SAFETY: this is the first thing that the program does; no other thread is there to read the environment.
    unsafe { tutti_io::set_library_defaults() };
    memory::keep_free_memory();
    let outcome = match Tutti::parse().command {
        Command::Concord(arguments) => concord::run(&arguments, started),
        Command::Lcl(arguments) => lcl::run(&arguments, started),
        Command::Fate(arguments) => fate::run(&arguments),
        Command::Lineage(arguments) => lineage::run(&arguments),
        Command::Predict(arguments) => predict::run(&arguments),
        Command::Transfer(arguments) => transfer::run(&arguments),
        Command::Annotate(arguments) => annotate::run(&arguments, started),
        Command::GeneActivity(arguments) => gene_activity::run(&arguments),
        Command::Lsi(arguments) => lsi::run(&arguments),
        Command::Score(arguments) => score::run(&arguments),
        Command::Info(arguments) => info::run(&arguments),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::from(error.exit_code())
        }
    }
}

/// What a subcommand returns.
type Result<T> = std::result::Result<T, CliError>;
