//! The compiler as cargo calls it for a cell: it is `rustc`, but for the prelude, which is compiled already. Cargo is shown empty files
//! in its place, and the cell is linked to the shared library.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::library::{CRATE, Library};

/// Crate of a cell.
const CELL: &str = "ctx";

/// Runs `rustc ARGUMENTS...`, given as they stand after the name of this program.
pub fn run(library: &Library, rustc: &Path, arguments: Vec<String>) -> ExitCode {
    let of_library = std::env::var_os("CARGO_MANIFEST_DIR").is_some_and(|folder| Path::new(&folder) == library.source());
    let outcome = match value_of(&arguments, "--crate-name") {
        Some(CRATE) if of_library => return stand_in(&arguments),
        Some(CELL) => Command::new(rustc).args(linked(library, arguments)).status(),
        _ => Command::new(rustc).args(arguments).status(),
    };
    match outcome {
        Ok(status) => ExitCode::from(status.code().unwrap_or(1) as u8),
        Err(e) => {
            eprintln!("{} could not be started: {e}", rustc.display());
            ExitCode::FAILURE
        }
    }
}

/// The cell's arguments with the shared library in place of the stand-in.
fn linked(library: &Library, arguments: Vec<String>) -> Vec<OsString> {
    let prefix = format!("{CRATE}=");
    let mut out: Vec<OsString> = Vec::with_capacity(arguments.len() + 4);
    let mut uses_it = false;
    for argument in arguments {
        if argument.starts_with(&prefix) && out.last().is_some_and(|before| before == "--extern") {
            uses_it = true;
            let mut path = OsString::from(&prefix);
            path.push(library.path());
            out.push(path);
        } else {
            out.push(argument.into());
        }
    }
    if uses_it {
        out.extend(library.search());
    }
    out
}

/// Leaves the files that cargo waits for, empty, and says so as rustc does.
fn stand_in(arguments: &[String]) -> ExitCode {
    match write_stand_in(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("the place of the prelude could not be written: {e}");
            ExitCode::FAILURE
        }
    }
}

fn write_stand_in(arguments: &[String]) -> std::io::Result<()> {
    let folder = PathBuf::from(value_of(arguments, "--out-dir").unwrap_or("."));
    let extra = arguments.iter().find_map(|a| a.strip_prefix("extra-filename=")).unwrap_or_default();
    let emit = arguments.iter().find_map(|a| a.strip_prefix("--emit=")).unwrap_or_default();
    let mut written = Vec::new();
    for (kind, name) in [("metadata", format!("lib{CRATE}{extra}.rmeta")), ("link", format!("lib{CRATE}{extra}.rlib"))] {
        if emit.split(',').any(|e| e == kind) {
            let path = folder.join(name);
            std::fs::write(&path, b"")?;
            let told = serde_json::json!({"$message_type": "artifact", "artifact": path, "emit": kind});
            writeln!(std::io::stderr(), "{told}")?;
            written.push(path);
        }
    }
    // What the files depend on: nothing that could change.
    let rules: String = written.iter().map(|path| format!("{}:\n\n", path.display())).collect();
    std::fs::write(folder.join(format!("{CRATE}{extra}.d")), rules)
}

fn value_of<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    let at = arguments.iter().position(|a| a == name)?;
    arguments.get(at + 1).map(String::as_str)
}
