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
use crate::standard;

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
    /// Where the linker finds libraries that are not Rust's, as rustc's `-L` takes it.
    native: BTreeSet<String>,
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

    /// Where all of it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The shared library.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.file)
    }

    /// What the compiler reads of the crates inside the library.
    fn crates(&self) -> PathBuf {
        self.folder.join("crates")
    }

    /// Arguments by which the compiler finds what the library is made of.
    pub fn search(&self) -> Vec<OsString> {
        let mut crates = OsString::from("dependency=");
        crates.push(self.crates());
        let folders = std::iter::once(crates).chain(self.native.iter().map(OsString::from));
        folders.flat_map(|folder| [OsString::from("-L"), folder]).collect()
    }

    /// The prelude's source without its dependencies: what evcxr's rust-analyzer reads to know the types of variables.
    pub fn source(&self) -> PathBuf {
        self.folder.join("source")
    }

    /// The standard library's source in short, where there is any.
    pub fn standard_source(&self) -> PathBuf {
        self.folder.join("std")
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
            native: artifacts.native.clone(),
        };
        make(&library.crates())?;
        for file in &artifacts.crates {
            let name = file.file_name().unwrap_or_default();
            copy(file, &library.crates().join(name))?;
        }
        link(&artifacts, &library)?;
        write_source(&workspace.join("jupyter/prelude/src"), &library.source())?;
        let sysroot = PathBuf::from(said_by_rustc(&["--print", "sysroot"])?);
        standard::copy(&sysroot.join("lib/rustlib/src/rust/library"), &library.standard_source())?;
        let text = serde_json::to_string_pretty(&library).map_err(|e| Error::Build(e.to_string()))?;
        write(&fresh.join(ABOUT), text.as_bytes())?;
        remove(folder)?;
        std::fs::rename(&fresh, folder).map_err(|source| Error::File { path: folder.to_owned(), source })?;
        Ok(Self { folder: folder.to_owned(), ..library })
    }
}

/// What cargo left.
#[derive(Default)]
struct Artifacts {
    prelude: PathBuf,
    /// Metadata of the crates inside the library, and the macros they use.
    crates: BTreeSet<PathBuf>,
    /// Folders of crates, and of libraries that are not Rust's.
    folders: BTreeSet<String>,
    native: BTreeSet<String>,
}

fn compile(workspace: &Path, profile: &str) -> Result<Artifacts> {
    let mut command = Command::new("cargo");
    // The versions that were tested, as `cargo install --locked` takes them for this program.
    command.args(["build", "--locked", "--profile", profile, "--message-format", "json-render-diagnostics"]);
    if profile != "dev" {
        // The tests' profile takes all packages, so that none is compiled a second time for fewer features.
        command.args(["--package", PACKAGE]);
        // With it crates hold no machine code before they are linked, and the linker would make that of all of them at once, for many minutes.
        command.env(format!("CARGO_PROFILE_{}_LTO", profile.to_uppercase().replace('-', "_")), "off");
    }
    // What cargo itself sets where it runs this program, e.g. for its tests, would make build scripts run anew.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(set_by_cargo)) {
        command.env_remove(name);
    }
    let output = command
        .current_dir(workspace)
        .env_remove("RUSTC_WRAPPER")
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| Error::Build(format!("cargo could not be started ({e}); install Rust from https://rustup.rs")))?;
    if !output.status.success() {
        return Err(Error::Build("the prelude could not be compiled; what cargo says is above".into()));
    }
    let mut artifacts = Artifacts::default();
    let messages = String::from_utf8_lossy(&output.stdout);
    for message in messages.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        artifacts.add(&message);
    }
    Ok(artifacts)
}

fn set_by_cargo(name: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_", "CARGO_TARGET_TMPDIR", "OUT_DIR"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

impl Artifacts {
    fn add(&mut self, message: &serde_json::Value) {
        let texts = |list: &serde_json::Value| -> Vec<String> {
            list.as_array().into_iter().flatten().filter_map(|v| v.as_str()).map(str::to_owned).collect()
        };
        if message["reason"] == "build-script-executed" {
            self.native.extend(texts(&message["linked_paths"]));
        }
        let files: Vec<PathBuf> = texts(&message["filenames"]).into_iter().map(PathBuf::from).collect();
        let with = |ending: &str| files.iter().find(|f| f.extension().is_some_and(|e| e == ending)).cloned();
        let (rlib, metadata) = (with("rlib"), with("rmeta"));
        if message["reason"] != "compiler-artifact" || (rlib.is_none() && message["target"]["kind"][0] != "proc-macro") {
            return;
        }
        if message["target"]["name"] == CRATE {
            self.prelude = rlib.clone().unwrap_or_default();
        }
        let folder = files.first().and_then(|f| f.parent());
        self.folders.extend(folder.map(|f| format!("dependency={}", f.display())));
        self.crates.extend(metadata.or(rlib).or_else(|| with(std::env::consts::DLL_EXTENSION)));
    }
}

/// One shared library of all that the prelude is made of. It uses the shared standard library, as cells do.
fn link(artifacts: &Artifacts, library: &Library) -> Result<()> {
    let source = library.folder.join("lib.rs");
    write(&source, b"#![doc(hidden)]\npub use prelude::*;\n")?;
    let mut command = Command::new("rustc");
    command.args(["--edition", "2024", "--crate-name", CRATE, "--crate-type", "dylib", "-C", "prefer-dynamic"]);
    // Of another name than the crate inside, as far as the compiler is concerned.
    command.args(["-C", "metadata=library", "-C", "strip=debuginfo", "--extern"]);
    command.arg(format!("prelude={}", artifacts.prelude.display()));
    artifacts.folders.iter().chain(&artifacts.native).for_each(|path| {
        command.args(["-L", path]);
    });
    let status = command.arg("-o").arg(library.path()).arg(&source).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Error::Build("the prelude could not be linked; what rustc says is above".into())),
        Err(e) => Err(Error::Build(format!("rustc could not be started ({e}); install Rust from https://rustup.rs"))),
    }
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
