//! The standard library's source as rust-analyzer reads it to know the types of variables: without the functions of single processors, which
//! are half of it, and without tests. The first cell that calls the prelude then answers a second earlier, and the kernel starts sooner.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Names the folder in the environment of rust-analyzer.
pub const VARIABLE: &str = "RUST_SRC_PATH";

/// The crates whose names are in scope of every cell. rust-analyzer finds them by these folders where there is no manifest.
const CRATES: [&str; 3] = ["core", "alloc", "std"];

/// What `core` takes from elsewhere for `std::arch`; empty here.
const PROCESSORS: &str = "stdarch/crates/core_arch/src/mod.rs";

/// Copies what is needed of the source at `library` to `folder`; false where there is no source.
///
/// # Errors
/// [`Error::File`] for a folder that cannot be written.
pub fn copy(library: &Path, folder: &Path) -> Result<bool> {
    if !CRATES.iter().all(|name| library.join(name).join("src/lib.rs").is_file()) {
        return Ok(false);
    }
    for name in CRATES {
        copy_source(&library.join(name).join("src"), &folder.join(name).join("src"))?;
    }
    write(&folder.join(PROCESSORS), b"")?;
    Ok(true)
}

fn copy_source(from: &Path, to: &Path) -> Result<()> {
    let failed = |source| Error::File { path: from.to_owned(), source };
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(name) = path.file_name().map(PathBuf::from) else { continue };
        if name.file_stem().is_some_and(|stem| stem == "tests" || stem == "benches") {
            continue;
        }
        if path.is_dir() {
            copy_source(&path, &to.join(name))?;
        } else if name.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read(&path).map_err(|source| Error::File { path: path.clone(), source })?;
            write(&to.join(name), &text)?;
        }
    }
    Ok(())
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
    std::fs::write(path, content).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_copied_without_tests_and_processors() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("library"), folder.path().join("copy"));
        assert!(!copy(&from, &to).unwrap(), "there is none");
        let files =
            ["core/src/lib.rs", "core/src/num/mod.rs", "core/src/num/tests.rs", "core/src/tests/a.rs", "core/src/readme.md"];
        for file in files.iter().chain(&["alloc/src/lib.rs", "std/src/lib.rs", "Cargo.toml", PROCESSORS]) {
            write(&from.join(file), b"pub mod x86;").unwrap();
        }
        assert!(copy(&from, &to).unwrap());
        let there: Vec<bool> = files.iter().map(|file| to.join(file).exists()).collect();
        assert_eq!(there, [true, true, false, false, false]);
        assert!(to.join(PROCESSORS).metadata().unwrap().len() == 0 && !to.join("Cargo.toml").exists());
    }
}
