//! Where the kernel is registered: remembered beside the prelude, so that `uninstall` finds the places that `install` chose.

use std::path::{Path, PathBuf};

use jupyter_protocol::JupyterKernelspec;

use crate::error::{Error, Result};
use crate::library::LIBRARY;

const FILE: &str = "kernels.json";

/// Folders of the kernel, as far as the prelude in `library` knows.
pub fn remembered(library: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(library.join(FILE)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Remembers folders of the kernel, each once.
///
/// # Errors
/// [`Error::File`] for a folder that cannot be written.
pub fn remember(library: &Path, mut kernels: Vec<PathBuf>) -> Result<()> {
    kernels.sort();
    kernels.dedup();
    let path = library.join(FILE);
    let text = serde_json::to_string_pretty(&kernels).map_err(|e| Error::Build(e.to_string()))?;
    std::fs::write(&path, text).map_err(|source| Error::File { path, source })
}

/// The kernel that is registered in a folder.
pub struct Registered {
    /// Program that serves its notebooks.
    pub program: PathBuf,
    /// Prelude that it uses.
    pub library: PathBuf,
}

impl Registered {
    /// `None` where there is none, or one of another program.
    pub fn in_folder(folder: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(folder.join("kernel.json")).ok()?;
        let spec: JupyterKernelspec = serde_json::from_str(&text).ok()?;
        let library = spec.env.as_ref()?.get(LIBRARY)?;
        Some(Self { program: spec.argv.first()?.into(), library: library.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_remembered_once() {
        let folder = tempfile::tempdir().unwrap();
        assert!(remembered(folder.path()).is_empty());
        let (a, b) = (PathBuf::from("/a/kernels/tutti"), PathBuf::from("/b/kernels/tutti"));
        remember(folder.path(), vec![b.clone(), a.clone(), b.clone()]).unwrap();
        assert_eq!(remembered(folder.path()), [a, b]);
    }

    #[test]
    fn a_kernel_of_another_program_is_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kernel.json");
        assert!(Registered::in_folder(folder.path()).is_none());
        std::fs::write(&path, r#"{"argv": ["ir"], "display_name": "R", "language": "R"}"#).unwrap();
        assert!(Registered::in_folder(folder.path()).is_none());
        let ours = r#"{"argv": ["/p", "run"], "display_name": "x", "language": "rust", "env": {"TUTTI_JUPYTER_LIBRARY": "/l"}}"#;
        std::fs::write(&path, ours).unwrap();
        let found = Registered::in_folder(folder.path()).unwrap();
        assert_eq!((found.program, found.library), (PathBuf::from("/p"), PathBuf::from("/l")));
    }
}
