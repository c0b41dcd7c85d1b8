//! `tutti-jupyter`: a Jupyter kernel for Rust notebooks in which Tutti is ready to use.
//!
//! Four processes run this one program. The kernel talks to Jupyter (`server`) and has evcxr compile the cells (`session`); evcxr starts
//! a relay for what cells print (`relay`), which starts the process that runs them (`runner`), where the prelude is one shared library (`library`);
//! and cargo, called by evcxr, calls this program as its compiler (`compiler`).

mod cell;
mod compiler;
mod compiling;
mod doctor;
mod error;
mod event;
mod install;
mod library;
mod message;
mod output;
mod place;
mod registry;
mod relay;
mod reply;
mod runner;
mod server;
mod session;
mod sockets;
mod standard;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use jupyter_protocol::ConnectionInfo;

use crate::error::{Error, Result};
use crate::install::Install;
use crate::library::{LIBRARY, Library};

/// Rust notebooks in which Tutti is ready to use.
#[derive(Debug, Parser)]
#[command(name = "tutti-jupyter", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the prelude once and register the kernel with Jupyter
    Install(Install),
    /// Remove the kernel, wherever it was registered, and the prelude
    Uninstall,
    /// Say what is there and what is missing
    Doctor,
    /// Serve a notebook; Jupyter calls this
    #[command(hide = true)]
    Run {
        /// Written by Jupyter
        connection_file: PathBuf,
    },
}

fn main() -> ExitCode {
    let variable = |name: &str| std::env::var_os(name);
    if variable("EVCXR_IS_RUNTIME").is_some() {
        if variable(relay::RELAYED).is_none() {
            relay::run();
        }
        return runner::run();
    }
    // Cargo calls `RUSTC_WRAPPER RUSTC ARGUMENTS...`.
    let mut arguments = std::env::args_os().skip(1);
    let rustc = arguments.next().map(PathBuf::from).filter(|path| path.file_stem().is_some_and(|name| name == "rustc"));
    if let (Some(rustc), Some(folder)) = (rustc, variable(LIBRARY)) {
        let arguments = arguments.map(|a| a.to_string_lossy().into_owned()).collect();
        return match Library::load(folder.as_ref()) {
            Ok(library) => compiler::run(&library, &rustc, arguments),
            Err(e) => failed(&e),
        };
    }
    let outcome = match Arguments::parse().command {
        Command::Install(install) => install.run(),
        Command::Uninstall => install::uninstall(),
        Command::Doctor => doctor::run(),
        Command::Run { connection_file } => run(connection_file),
    };
    outcome.map_or_else(|e| failed(&e), |()| ExitCode::SUCCESS)
}

fn failed(e: &Error) -> ExitCode {
    eprintln!("error: {e}");
    ExitCode::FAILURE
}

fn run(path: PathBuf) -> Result<()> {
    let text = std::fs::read_to_string(&path).map_err(|source| Error::File { path: path.clone(), source })?;
    let connection: ConnectionInfo =
        serde_json::from_str(&text).map_err(|e| Error::Connection { path: path.clone(), problem: e.to_string() })?;
    let folder = std::env::var_os(LIBRARY).map_or_else(install::library_folder, |folder| Ok(PathBuf::from(folder)))?;
    let library = Library::load(&folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|source| Error::File { path, source })?;
    let outcome = runtime.block_on(server::serve(&connection, library));
    // A cell may still compile; nothing waits for it.
    runtime.shutdown_background();
    outcome
}
