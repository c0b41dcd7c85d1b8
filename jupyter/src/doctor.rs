//! Says what a notebook needs, what is there and how to get the rest.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::install::{kernel_folder, library_folder};
use crate::library::Library;
use crate::registry::{Registered, remembered};

/// How one gets Rust, the source of the standard library, and the prelude.
const RUST: &str = "install Rust from https://rustup.rs";
const SOURCE: &str = "`rustup component add rust-src`";
const INSTALL: &str = "`tutti-jupyter install`";

/// How something that a notebook needs or could use was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    /// Notebooks do not work without it.
    Missing,
    /// Notebooks work without it.
    Optional,
}

/// One line of the answer.
#[derive(Debug, Clone, PartialEq)]
struct Finding {
    state: State,
    what: &'static str,
    found: String,
    /// How to get it; empty where it is there.
    todo: String,
}

impl Finding {
    fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { state: State::Ok, what, found: found.into(), todo: String::new() }
    }

    fn missing(what: &'static str, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { state: State::Missing, what, found: found.into(), todo: todo.into() }
    }

    fn optional(self) -> Self {
        let state = if self.state == State::Missing { State::Optional } else { self.state };
        Self { state, ..self }
    }
}

/// Runs `tutti-jupyter doctor`; fails where a notebook would not work.
pub fn run() -> Result<()> {
    let findings = findings()?;
    print!("{}", table(&findings));
    match findings.iter().filter(|f| f.state == State::Missing).count() {
        0 => Ok(()),
        n => Err(Error::Build(format!("{n} missing; what to do stands in the last column"))),
    }
}

fn findings() -> Result<Vec<Finding>> {
    let folder = library_folder()?;
    let mut all =
        vec![program("cargo", "cargo", RUST), program("linker", "cc", "a C compiler, such as `apt install build-essential`")];
    all.extend(prelude(&folder));
    let mut kernels = remembered(&folder);
    let own = kernel_folder(None)?;
    if kernels.is_empty() || (own.exists() && !kernels.contains(&own)) {
        kernels.push(own);
    }
    all.extend(kernels.iter().map(|kernel| registered(kernel, &folder)));
    let jupyter = program("jupyter", "jupyter", "`pip install jupyterlab`, or another front end, such as VS Code");
    all.extend([jupyter.optional(), program("mold", "mold", "`apt install mold`: cells link faster").optional()]);
    Ok(all)
}

/// A program that says its version.
fn program(what: &'static str, name: &str, todo: &str) -> Finding {
    match said(name, "--version") {
        Some(version) => Finding::ok(what, version),
        None => Finding::missing(what, format!("no `{name}` in PATH"), todo),
    }
}

fn prelude(folder: &Path) -> Vec<Finding> {
    let library = match Library::load(folder) {
        Ok(library) => library,
        Err(_) => return vec![Finding::missing("prelude", format!("not in {}", folder.display()), INSTALL)],
    };
    let mut all = vec![match library.path().is_file() {
        true => Finding::ok("prelude", format!("version {} in {}", library.version, folder.display())),
        false => Finding::missing("prelude", format!("{} is gone", library.path().display()), INSTALL),
    }];
    all.push(match library.check() {
        Ok(()) => Finding::ok("compiler", library.rustc.clone()),
        Err(Error::OtherCompiler { built, now }) => {
            Finding::missing("compiler", format!("{now}; the prelude was built by {built}"), format!("{INSTALL} again"))
        }
        Err(e) => Finding::missing("compiler", e.to_string(), RUST),
    });
    let source = library.standard_source();
    all.push(match source.is_dir() {
        true => Finding::ok("std source", source.display().to_string()),
        false => Finding::missing("std source", "types of variables are not known", format!("{SOURCE}, then {INSTALL}")),
    });
    all
}

/// The kernel in a folder in which it should be.
fn registered(kernel: &Path, library: &Path) -> Finding {
    let place = kernel.display();
    let install = match prefix(kernel) {
        Some(prefix) => format!("`tutti-jupyter install --prefix {}`", prefix.display()),
        None => INSTALL.to_owned(),
    };
    match Registered::in_folder(kernel) {
        None => Finding::missing("kernel", format!("not in {place}"), install),
        Some(found) if !found.program.is_file() => {
            Finding::missing("kernel", format!("{place} starts {}, which is gone", found.program.display()), install)
        }
        Some(found) if found.library != library => {
            Finding::missing("kernel", format!("{place} uses the prelude in {}", found.library.display()), install)
        }
        Some(_) => Finding::ok("kernel", place.to_string()),
    }
}

/// What `--prefix` was, for a kernel that is not in the user's own folder.
fn prefix(kernel: &Path) -> Option<PathBuf> {
    if kernel_folder(None).is_ok_and(|own| own == kernel) {
        return None;
    }
    kernel.parent()?.parent()?.parent()?.parent().map(Path::to_owned)
}

/// Findings in columns.
fn table(findings: &[Finding]) -> String {
    let rows: Vec<[&str; 4]> = findings.iter().map(|f| [word(f.state), f.what, &f.found, &f.todo]).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let line = |row: &[&str; 4]| {
        let [state, what, found, todo] = row;
        let (a, b, c) = (width(0), width(1), if todo.is_empty() { 0 } else { width(2) });
        format!("{state:a$}  {what:b$}  {found:c$}  {todo}").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn word(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Missing => "missing",
        State::Optional => "optional",
    }
}

/// First line of what a program says; `None` where it does not run.
fn said(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok().filter(|o| o.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout);
    Some(text.lines().find(|l| !l.is_empty()).unwrap_or_default().trim().to_owned())
}

/// Folder of the standard library's source, or how to get it.
pub fn standard_source() -> std::result::Result<String, String> {
    let sysroot = said("rustc", "--print=sysroot").ok_or_else(|| RUST.to_owned())?;
    let folder = Path::new(&sysroot).join("lib/rustlib/src/rust/library");
    match folder.is_dir() {
        true => Ok(folder.display().to_string()),
        false => Err(SOURCE.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_stand_in_columns() {
        let findings = [
            Finding::ok("cargo", "cargo 1.95.0"),
            Finding::missing("prelude", "not in /l", "do this"),
            Finding::missing("mold", "no `mold` in PATH", "do that").optional(),
        ];
        let expected = "ok        cargo    cargo 1.95.0\n\
                        missing   prelude  not in /l          do this\n\
                        optional  mold     no `mold` in PATH  do that\n";
        assert_eq!(table(&findings), expected);
        assert_eq!(Finding::ok("mold", "2.0").optional().state, State::Ok);
    }

    #[test]
    fn a_kernel_must_be_there_and_start_this_prelude() {
        let folder = tempfile::tempdir().unwrap();
        let (kernel, library) = (folder.path().join("env/share/jupyter/kernels/tutti"), folder.path().join("library"));
        std::fs::create_dir_all(&kernel).unwrap();
        let missing = |part: &str| {
            let found = registered(&kernel, &library);
            assert!(found.state == State::Missing && found.found.contains(part), "{found:?}");
            assert_eq!(found.todo, format!("`tutti-jupyter install --prefix {}`", folder.path().join("env").display()));
        };
        missing("not in");
        let write = |program: &str, library: &Path| {
            let spec = serde_json::json!({
                "argv": [program, "run"], "display_name": "Rust (Tutti)", "language": "rust",
                "env": {"TUTTI_JUPYTER_LIBRARY": library}
            });
            std::fs::write(kernel.join("kernel.json"), spec.to_string()).unwrap();
        };
        write("/no/such/program", &library);
        missing("which is gone");
        let this = std::env::current_exe().unwrap();
        write(this.to_str().unwrap(), Path::new("/another"));
        missing("uses the prelude in /another");
        write(this.to_str().unwrap(), &library);
        assert_eq!(registered(&kernel, &library).state, State::Ok);
    }
}
