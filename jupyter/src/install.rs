//! Registers the kernel with Jupyter and builds what it needs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jupyter_protocol::JupyterKernelspec;

use crate::error::{Error, Result};
use crate::library::{LIBRARY, Library, remove};
use crate::registry::{Registered, remember, remembered};
use crate::standard;

/// Name of the kernel in `jupyter kernelspec list`, and of the folder of the prelude.
pub const NAME: &str = "tutti";

/// Arguments of `tutti-jupyter install`.
#[derive(Debug, clap::Args)]
pub struct Install {
    /// Folder for the kernel instead of the user's own, e.g. that of a virtual environment: PREFIX/share/jupyter
    #[arg(long, value_name = "FOLDER")]
    pub prefix: Option<PathBuf>,
    /// Folder of Tutti's source [default: where this program was built]
    #[arg(long, value_name = "FOLDER")]
    pub source: Option<PathBuf>,
    /// Profile of cargo; `dev` shares what the tests compile
    #[arg(long, value_name = "NAME", default_value = "release")]
    pub profile: String,
}

impl Install {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<()> {
        let workspace = match &self.source {
            Some(folder) => folder.clone(),
            None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".."),
        };
        if !workspace.join("jupyter/prelude/Cargo.toml").exists() {
            let problem =
                format!("{} has no jupyter/prelude; give the folder of Tutti's source with --source", workspace.display());
            return Err(Error::Build(problem));
        }
        let folder = library_folder()?;
        let mut kernels = remembered(&folder);
        add_standard_source();
        eprintln!("Building the prelude (some minutes the first time) ...");
        let library = Library::build(&workspace, &self.profile, &folder)?;
        let program = std::env::current_exe().map_err(|source| Error::File { path: "tutti-jupyter".into(), source })?;
        let spec = kernel_folder(self.prefix.as_deref())?;
        write_kernel(&spec, &program, &library)?;
        kernels.push(spec.clone());
        remember(&folder, kernels)?;
        println!("prelude: {} ({})", folder.display(), library.rustc);
        println!("kernel:  {}", spec.display());
        println!("Open a notebook with `jupyter lab` and choose the kernel «Rust (Tutti)».");
        Ok(())
    }
}

/// evcxr's rust-analyzer reads the standard library's source to know the types of variables.
fn add_standard_source() {
    let added = Command::new("rustup").args(["component", "add", "rust-src"]).stderr(Stdio::null()).status();
    if !added.is_ok_and(|status| status.success()) && crate::doctor::standard_source().is_err() {
        eprintln!(
            "warning: the source of Rust's standard library is not there, so that types of most variables must be written down;"
        );
        eprintln!("         get it with `rustup component add rust-src`");
    }
}

/// Runs `tutti-jupyter uninstall`: removes the kernel wherever it was registered, and the prelude.
pub fn uninstall() -> Result<()> {
    let library = library_folder()?;
    let mut kernels = remembered(&library);
    kernels.push(kernel_folder(None)?);
    kernels.sort();
    kernels.dedup();
    for folder in kernels {
        match Registered::in_folder(&folder) {
            None if folder.exists() => println!("{}: left, it is not of this program", folder.display()),
            Some(found) if found.library != library => {
                println!("{}: left, it uses the prelude in {}", folder.display(), found.library.display());
            }
            _ => remove_and_tell(&folder)?,
        }
    }
    remove_and_tell(&library)
}

fn remove_and_tell(folder: &Path) -> Result<()> {
    let was_there = folder.exists();
    remove(folder)?;
    println!("{}: {}", folder.display(), if was_there { "removed" } else { "was not there" });
    Ok(())
}

/// Where the prelude lies; `TUTTI_JUPYTER_LIBRARY` names another place.
pub fn library_folder() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os(LIBRARY) {
        return std::path::absolute(&folder).map_err(|source| Error::File { path: folder.into(), source });
    }
    let data = dirs::data_dir().ok_or_else(|| Error::Build(format!("there is no folder for a user's data; set {LIBRARY}")))?;
    Ok(data.join("tutti-jupyter"))
}

/// Where Jupyter looks for this kernel.
pub fn kernel_folder(prefix: Option<&Path>) -> Result<PathBuf> {
    let data = match (prefix, std::env::var_os("JUPYTER_DATA_DIR")) {
        (Some(prefix), _) => std::path::absolute(prefix).unwrap_or_else(|_| prefix.to_owned()).join("share/jupyter"),
        (None, Some(folder)) => folder.into(),
        (None, None) => jupyter_zmq_client::dirs::user_data_dir()?,
    };
    Ok(data.join("kernels").join(NAME))
}

fn write_kernel(folder: &Path, program: &Path, library: &Library) -> Result<()> {
    let text = |path: &Path| path.display().to_string();
    // Cargo, which evcxr calls, takes its compiler from the environment.
    let env = HashMap::from([
        ("RUSTC_WRAPPER".to_owned(), text(program)),
        (LIBRARY.to_owned(), text(library.folder())),
        (standard::VARIABLE.to_owned(), text(&library.standard_source())),
    ]);
    let spec = JupyterKernelspec {
        argv: vec![text(program), "run".to_owned(), "{connection_file}".to_owned()],
        display_name: "Rust (Tutti)".to_owned(),
        language: "rust".to_owned(),
        metadata: Some(HashMap::new()),
        interrupt_mode: Some("message".to_owned()),
        env: Some(env),
    };
    let path = folder.join("kernel.json");
    let failed = |source| Error::File { path: path.clone(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let spec = serde_json::to_string_pretty(&spec).map_err(|e| Error::Build(e.to_string()))?;
    std::fs::write(&path, spec).map_err(failed)
}
