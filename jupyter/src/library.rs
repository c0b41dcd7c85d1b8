//! The prelude as cells link it: one shared library that holds all of Tutti once, built when the kernel is installed.
//!
//! A cell that had the prelude as an ordinary dependency would compile for minutes, and each cell would have a copy of candle with a
//! counter of tensors of its own, so that gradients of tensors from two cells could be mixed up.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Names the folder of the library in the environment of the kernel.
pub const LIBRARY: &str = "TUTTI_JUPYTER_LIBRARY";
/// Crate of the prelude.
pub const CRATE: &str = "tutti_notebook";
const PACKAGE: &str = "tutti-notebook";
const ABOUT: &str = "library.json";

/// Where the library lies and what it was built by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Library {
    #[serde(skip)]
    folder: PathBuf,
    /// Version of Tutti.
    pub version: String,
    /// What `rustc --version` said: cells must be compiled by the same.
    pub rustc: String,
    /// Folder of the standard library's shared object.
    rust_libraries: PathBuf,
    /// File name of the shared library.
    file: String,
}

impl Library {
    /// Reads what `install` left in the folder.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] where there is nothing or not what this version left.
    pub fn load(folder: &Path) -> Result<Self> {
        let missing = |problem: String| Error::NotInstalled { folder: folder.to_owned(), problem };
        let text = std::fs::read_to_string(folder.join(ABOUT)).map_err(|e| missing(e.to_string()))?;
        let library: Self = serde_json::from_str(&text).map_err(|e| missing(e.to_string()))?;
        Ok(Self { folder: folder.to_owned(), ..library })
    }

    /// The shared library.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.file)
    }

    /// What the compiler reads of the crates inside the library.
    pub fn crates(&self) -> PathBuf {
        self.folder.join("crates")
    }

    /// The prelude's source without its dependencies: what evcxr's rust-analyzer reads to know the types of variables.
    pub fn source(&self) -> PathBuf {
        self.folder.join("source")
    }

    /// Where the system looks for this library and the standard one.
    pub fn search_path(&self) -> OsString {
        let folders = [self.folder.clone(), self.rust_libraries.clone()];
        std::env::join_paths(folders).unwrap_or_default()
    }

    /// Whether cells can be linked to it.
    ///
    /// # Errors
    /// [`Error::OtherCompiler`] where Rust was updated since.
    pub fn check(&self) -> Result<()> {
        let now = rustc_version()?;
        if now != self.rustc {
            return Err(Error::OtherCompiler { built: self.rustc.clone(), now });
        }
        Ok(())
    }

    /// Builds the prelude of the workspace at `workspace` and puts what cells need into `folder`. Cargo shows its progress.
    ///
    /// # Errors
    /// [`Error::Build`] where cargo fails; [`Error::File`] for a folder that cannot be written.
    pub fn build(workspace: &Path, profile: &str, folder: &Path) -> Result<Self> {
        let artifacts = compile(workspace, profile)?;
        let fresh = folder.with_extension("new");
        remove(&fresh)?;
        let library = Self {
            folder: fresh.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            rustc: rustc_version()?,
            rust_libraries: PathBuf::from(said_by_rustc(&["--print", "target-libdir"])?),
            file: format!("lib{CRATE}.{}", std::env::consts::DLL_EXTENSION),
        };
        make(&library.crates())?;
        for file in &artifacts.crates {
            let name = file.file_name().unwrap_or_default();
            copy(file, &library.crates().join(name))?;
        }
        copy(&artifacts.library, &library.path())?;
        write_source(&workspace.join("jupyter/prelude/src"), &library.source())?;
        let text = serde_json::to_string_pretty(&library).map_err(|e| Error::Build(e.to_string()))?;
        write(&fresh.join(ABOUT), text.as_bytes())?;
        remove(folder)?;
        std::fs::rename(&fresh, folder).map_err(|source| Error::File { path: folder.to_owned(), source })?;
        Ok(Self { folder: folder.to_owned(), ..library })
    }
}

/// What cargo left.
struct Artifacts {
    library: PathBuf,
    /// Metadata of the crates inside the library, and the macros they use.
    crates: BTreeSet<PathBuf>,
}

/// The library is linked to the shared standard library, which cells use too.
fn compile(workspace: &Path, profile: &str) -> Result<Artifacts> {
    let output = Command::new("cargo")
        .args(["rustc", "--package", PACKAGE, "--lib", "--crate-type", "dylib", "--profile", profile])
        .args(["--message-format", "json-render-diagnostics", "--", "-C", "prefer-dynamic"])
        .current_dir(workspace)
        .env_remove("RUSTC_WRAPPER")
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| Error::Build(format!("cargo could not be started ({e}); install Rust from https://rustup.rs")))?;
    if !output.status.success() {
        return Err(Error::Build("the prelude could not be compiled; what cargo says is above".into()));
    }
    let mut artifacts = Artifacts { library: PathBuf::new(), crates: BTreeSet::new() };
    let messages = String::from_utf8_lossy(&output.stdout);
    for message in messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
        if message["reason"] != "compiler-artifact" {
            continue;
        }
        let files: Vec<PathBuf> =
            message["filenames"].as_array().into_iter().flatten().filter_map(|f| f.as_str()).map(PathBuf::from).collect();
        let with = |ending: &str| files.iter().find(|f| f.extension().is_some_and(|e| e == ending)).cloned();
        let shared = with(std::env::consts::DLL_EXTENSION);
        if message["target"]["name"] == CRATE {
            artifacts.library = shared.unwrap_or_default();
        } else {
            artifacts.crates.extend(with("rmeta").or_else(|| with("rlib")).or(shared));
        }
    }
    Ok(artifacts)
}

/// A package with the prelude's sources and no dependencies.
fn write_source(from: &Path, to: &Path) -> Result<()> {
    copy_folder(from, &to.join("src"))?;
    let version = env!("CARGO_PKG_VERSION");
    let manifest = format!(
        "[package]\nname = \"{PACKAGE}\"\nversion = \"{version}\"\nedition = \"2024\"\n\n[lib]\nname = \"{CRATE}\"\n\n[workspace]\n"
    );
    write(&to.join("Cargo.toml"), manifest.as_bytes())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    make(to)?;
    let in_from = |source| Error::File { path: from.to_owned(), source };
    for entry in std::fs::read_dir(from).map_err(in_from)? {
        let entry = entry.map_err(in_from)?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() { copy_folder(&path, &target)? } else { copy(&path, &target)? }
    }
    Ok(())
}

fn make(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|source| Error::File { path: folder.to_owned(), source })
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to).map(|_| ()).map_err(|source| Error::File { path: from.to_owned(), source })
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    std::fs::write(path, content).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// Removes a folder that may not be there.
pub fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::File { path: folder.to_owned(), source: e }),
        _ => Ok(()),
    }
}

fn rustc_version() -> Result<String> {
    said_by_rustc(&["--version"])
}

fn said_by_rustc(arguments: &[&str]) -> Result<String> {
    let output = Command::new("rustc").args(arguments).output();
    let output =
        output.map_err(|e| Error::Build(format!("rustc could not be started ({e}); install Rust from https://rustup.rs")))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
