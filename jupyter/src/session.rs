//! The cells of one notebook: evcxr compiles them, another process runs them, events come back while they run.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use evcxr::{CommandContext, EvalCallbacks, EvalContext};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc::UnboundedSender;

use crate::error::{Error, Result};
use crate::event::Event;
use crate::library::{CRATE, Library};
use crate::relay::SOCKET;

/// evcxr and the process that runs the cells.
pub struct Session {
    context: CommandContext,
    runner: Runner,
    _socket: tempfile::TempDir,
}

/// How a cell came out, beside what it printed and showed.
#[derive(Debug)]
pub enum Outcome {
    /// The cell ran, maybe to a panic or a `?`, which events tell; its last value by MIME type.
    Ran(Vec<(String, String)>),
    /// The cell, or a command in it, was refused.
    Refused(evcxr::Error),
    /// The process that runs the cells ended, and all variables with it.
    Lost,
}

/// What came of a question of a cell's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The line that the user typed.
    Line(String),
    /// The user pressed stop instead.
    Stopped,
    /// The front end takes no questions.
    Nobody,
}

impl Answer {
    /// As the prelude reads it.
    fn line(&self) -> String {
        match self {
            Self::Line(text) => format!("+{}", text.replace(['\r', '\n'], " ")),
            Self::Stopped => "!".into(),
            Self::Nobody => "-".into(),
        }
    }
}

impl Session {
    /// Starts evcxr with the prelude in use. Events of all cells go to `events`.
    ///
    /// # Errors
    /// [`Error::Evcxr`] where evcxr or the compiler do not work.
    pub fn start(library: &Library, events: UnboundedSender<Event>) -> Result<Self> {
        library.check()?;
        let failed = |e: String| Error::Evcxr(e);
        let folder = tempfile::Builder::new().prefix("tutti-jupyter").tempdir().map_err(|e| failed(e.to_string()))?;
        let socket = folder.path().join("events");
        let listener = UnixListener::bind(&socket).map_err(|e| failed(e.to_string()))?;
        let runner = Runner::default();
        runner.clone().listen(listener, events);

        let mut process = Command::new(std::env::current_exe().map_err(|e| failed(e.to_string()))?);
        process.env(SOCKET, &socket).env("TUTTI_JUPYTER", "1").env_remove("RUSTC_WRAPPER");
        let (context, outputs) = EvalContext::with_subprocess_command(process).map_err(|e| failed(e.to_string()))?;
        // All output comes by the socket; evcxr waits until someone takes what it passes on.
        for lines in [outputs.stdout, outputs.stderr] {
            std::thread::spawn(move || while lines.recv().is_ok() {});
        }
        let mut session = Self { context: CommandContext::with_eval_context(context), runner, _socket: folder };
        let source = library.source();
        // A value that the compiler would not show at first is shown by `{:?}`; by this mark the prelude knows that it is evcxr that asks.
        // evcxr learns here that cells end in `?`. Were it the first cell of the user's, evcxr would try that anew.
        let prelude = format!(
            ":fmt {{:\\u{{1}}<?}}\n:dep tutti-notebook = {{ path = {:?} }}\nuse {CRATE}::*;\nOk::<(), Error>(())?;",
            source.display().to_string()
        );
        session.context.execute(&prelude).map_err(|e| failed(crate::message::text_of(&e)))?;
        Ok(session)
    }

    /// Runs a cell. `input` asks the user for a line.
    pub fn execute(&mut self, code: &str, input: &dyn Fn(String) -> Answer) -> Outcome {
        let asked = |prompt: &str| prompt.replace("%0A", "\n").replace("%3A", ":").replace("%25", "%");
        let mut callbacks = EvalCallbacks { input_reader: &|request| input(asked(&request.prompt)).line() };
        let outcome = self.context.execute_with_callbacks(code, &mut callbacks);
        match outcome {
            Ok(outputs) => {
                self.runner.flush();
                let value = outputs.content_by_mime_type.into_iter();
                // A loop or a call for its effect has no value to show, and what has shown itself no text.
                Outcome::Ran(
                    value.filter(|(mime, content)| mime != "text/plain" || !["", "()"].contains(&content.as_str())).collect(),
                )
            }
            Err(evcxr::Error::SubprocessTerminated(_)) => Outcome::Lost,
            Err(e) => {
                self.runner.flush();
                Outcome::Refused(e)
            }
        }
    }

    /// What may stand at a place of the code, in bytes; where it begins and ends.
    pub fn complete(&mut self, code: &str, position: usize) -> Option<(Vec<String>, usize, usize)> {
        let found = self.context.completions(code, position).ok()?;
        Some((found.completions.into_iter().map(|c| c.code).collect(), found.start_offset, found.end_offset))
    }

    /// What is known of the name at a place of the code, as text and HTML.
    pub fn inspect(&mut self, code: &str, position: usize) -> Option<(String, String)> {
        self.context.hover_at(code, position).ok().filter(|(text, _)| text != "No documentation found")
    }

    /// Has rust-analyzer look at the prelude and the standard library, so that the first cell that needs their types does not wait for that.
    pub fn warm(&mut self) {
        const CALL: &str = "let cells = simulate(\"loop\")?; cells.";
        // What it finds is of no interest.
        let _ = self.context.completions(CALL, CALL.len());
    }

    /// A handle to stop the running cell.
    pub fn runner(&self) -> Runner {
        self.runner.clone()
    }
}

/// The process that runs the cells; clones stand for the same.
#[derive(Debug, Clone, Default)]
pub struct Runner(Arc<Mutex<Process>>);

#[derive(Debug, Default)]
struct Process {
    pid: Option<i32>,
    kernel_side: Option<UnixStream>,
}

impl Runner {
    /// Takes a connection after the other, since evcxr starts a process anew where one is lost.
    fn listen(self, listener: UnixListener, events: UnboundedSender<Event>) {
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(std::result::Result::ok) {
                let Ok(writer) = stream.try_clone() else { continue };
                self.lock().kernel_side = Some(writer);
                let lines = BufReader::new(stream).lines().map_while(std::result::Result::ok);
                for event in lines.filter_map(|line| serde_json::from_str(&line).ok()) {
                    if let Event::Connected { pid } = event {
                        self.lock().pid = Some(pid);
                    }
                    if events.send(event).is_err() {
                        return;
                    }
                }
                *self.lock() = Process::default();
            }
        });
    }

    /// Asks for a sign that all that was printed has been sent; it comes as [`Event::Pong`].
    fn flush(&self) {
        if let Some(writer) = &mut self.lock().kernel_side {
            let _ = writer.write_all(b"\n");
        }
    }

    /// Whether a process is there.
    pub fn is_there(&self) -> bool {
        self.lock().pid.is_some()
    }

    /// Asks the running cell to stop, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Ends the process and with it all variables.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.lock().pid.and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Process> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
