//! What a running cell tells the kernel, one line of JSON each.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Byte and word that open a line of the prelude's on standard output; JSON follows to the end of the line.
pub const MARK: &[u8] = b"\x01tutti ";

/// Something that happened in the process that runs the cells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Text that a cell printed.
    Stream {
        /// Where it was printed.
        name: Stream,
        /// The text as it came, not always whole lines.
        text: String,
    },
    /// A figure, a table, progress: shown at once, or in place of what was shown under the same name.
    Display(Display),
    /// Something the user should know.
    Warning(String),
    /// A long call was stopped by the user and says what is kept.
    Interrupted(String),
    /// Rust panicked; the cell may still catch it.
    Panic {
        /// What the panic said.
        message: String,
        /// Where, as `file:line:column`.
        location: String,
    },
    /// The cell is compiled and begins.
    Begun,
    /// The cell ended by a panic.
    Panicked,
    /// The cell ended at a `?`.
    Returned,
    /// The process is there.
    Connected {
        /// Number of the process that runs the cells, for signals.
        pid: i32,
    },
    /// Answer to a line of the kernel's: all that was printed before has been sent.
    Pong,
    /// The process ended, by itself or by a signal.
    Ended(String),
}

/// The two outputs of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Content for a notebook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Display {
    /// The same content by MIME type.
    pub data: Map<String, Value>,
    /// As Jupyter has it, e.g. the size of an image.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// Name under which it can be replaced.
    #[serde(default)]
    pub id: Option<String>,
    /// Whether it replaces what was shown under this name.
    #[serde(default)]
    pub update: bool,
}
