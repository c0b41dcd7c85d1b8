//! The process that runs the cells: evcxr names a compiled cell in a line of its own, this loads and runs it, and says when it is over.
//!
//! evcxr has a loop of its own for this, which reads its lines from standard input; a cell that read from there took them away and waited for ever.
//! Here standard input is empty for the cells and for what they start.

use std::ffi::{OsStr, c_int, c_void};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::process::ExitCode;

use crate::event::{Event, MARK};
use crate::library::{LIBRARY, Library};
use crate::output::COMPLETE;

/// What a line of evcxr's begins with; the file of the cell and the name of its function follow.
const RUN: &str = "LOAD_AND_RUN ";

/// The function of a cell: takes the variables of the notebook and gives them back.
type Cell = extern "C" fn(*mut c_void) -> *mut c_void;

/// Runs cells until evcxr has no more.
pub fn run() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("the notebook could not run a cell: {e}");
            ExitCode::from(99)
        }
    }
}

fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let commands = File::from(without_input()?);
    let answers = commands.as_raw_fd();
    let prelude = load_prelude();
    let mut variables = std::ptr::null_mut();
    for line in BufReader::new(commands).lines() {
        let line = line?;
        let command = line.strip_prefix(RUN).and_then(|rest| rest.rsplit_once(' '));
        let (file, function) = command.ok_or_else(|| format!("`{line}` is no line of evcxr {EVCXR}"))?;
        if let Some(prelude) = &prelude {
            prelude.begin(answers);
        }
        println!("{}{}", String::from_utf8_lossy(MARK), serde_json::to_string(&Event::Begun)?);
        // SAFETY: evcxr has just compiled this file.
        let cell = unsafe { libloading::Library::new(OsStr::new(file)) }?;
        // SAFETY: evcxr writes the function of every cell so.
        variables = unsafe { cell.get::<Cell>(function.as_bytes()) }?(variables);
        println!("{COMPLETE}");
        // Variables have their types and functions from it.
        std::mem::forget(cell);
    }
    Ok(())
}

/// The evcxr whose lines these are.
const EVCXR: &str = "0.22";

/// Takes standard input for evcxr's lines and puts an empty one in its place.
fn without_input() -> std::io::Result<OwnedFd> {
    let commands = std::io::stdin().as_fd().try_clone_to_owned()?;
    // SAFETY: descriptor 0 is closed and, since the lowest free one is taken, is the empty file at once; no other thread is there.
    drop(unsafe { OwnedFd::from_raw_fd(0) });
    let _ = File::open("/dev/null")?.into_raw_fd();
    Ok(commands)
}

/// The shared library of all that cells use. It stays until the process ends.
struct Prelude(libloading::Library);

/// Loads it, so that the first cell that uses it does not wait, and lets it set what happens at a panic and at Ctrl-C.
fn load_prelude() -> Option<Prelude> {
    let library = Library::load(std::env::var_os(LIBRARY)?.as_ref()).ok()?;
    // SAFETY: the library is the prelude that this program built; loading it runs no code but Rust's own.
    match unsafe { libloading::Library::new(library.path()) } {
        Ok(loaded) => {
            // SAFETY: the prelude declares this function without arguments and result.
            if let Ok(init) = unsafe { loaded.get::<extern "C" fn()>(b"tutti_notebook_init\0") } {
                init();
            }
            Some(Prelude(loaded))
        }
        Err(e) => {
            eprintln!("the prelude could not be loaded: {e}");
            None
        }
    }
}

impl Prelude {
    /// A cell begins; answers of the user come on this descriptor.
    fn begin(&self, answers: c_int) {
        // SAFETY: the prelude declares this function with such an argument and without result.
        if let Ok(cell) = unsafe { self.0.get::<extern "C" fn(c_int)>(b"tutti_notebook_cell\0") } {
            cell(answers);
        }
    }
}
