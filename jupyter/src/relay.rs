//! The process between evcxr and the one that runs the cells. evcxr reads whole lines and keeps content until a cell has ended; here
//! output goes to the notebook as it comes, and evcxr gets the lines that are meant for it. Being a process of its own, the relay
//! still tells what was printed last when a cell ends the process that runs it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::event::{Event, Stream};
use crate::library::{LIBRARY, Library};
use crate::output::{COMPLETE, Output, Part};

/// Where the kernel listens.
pub const SOCKET: &str = "TUTTI_JUPYTER_SOCKET";
/// Set in the process that runs the cells.
pub const RELAYED: &str = "TUTTI_JUPYTER_RELAYED";

/// Runs the cells in another process and passes on what it says; ends as that process ends.
pub fn run() -> ! {
    let outcome = Relay::start().and_then(|mut relay| relay.pass_on());
    match outcome {
        Ok(code) => std::process::exit(code),
        Err(e) => {
            eprintln!("the notebook lost the process that runs its cells: {e}");
            std::process::exit(1);
        }
    }
}

struct Relay {
    child: Child,
    stdout: ChildStdout,
    stderr: ChildStderr,
    kernel: UnixStream,
    output: Output,
    /// Bytes of a letter of standard error that has not come whole.
    rest: Vec<u8>,
}

impl Relay {
    fn start() -> std::io::Result<Self> {
        let socket = std::env::var_os(SOCKET).ok_or_else(|| std::io::Error::other(format!("{SOCKET} is not set")))?;
        let kernel = UnixStream::connect(socket)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.env(RELAYED, "1").stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(library) = std::env::var_os(LIBRARY) {
            let library = Library::load(library.as_ref()).map_err(std::io::Error::other)?;
            command.env("LD_LIBRARY_PATH", library.search_path()).env("DYLD_LIBRARY_PATH", library.search_path());
        }
        let mut child = command.spawn()?;
        let missing = || std::io::Error::other("no pipe");
        let (stdout, stderr) = (child.stdout.take().ok_or_else(missing)?, child.stderr.take().ok_or_else(missing)?);
        let mut relay = Self { stdout, stderr, kernel, output: Output::default(), rest: Vec::new(), child };
        let pid = relay.child.id() as i32;
        relay.tell(&Event::Connected { pid })?;
        Ok(relay)
    }

    /// Until the process ends; its exit code.
    fn pass_on(&mut self) -> std::io::Result<i32> {
        loop {
            let (out, err, asked) = {
                let flags = PollFlags::IN | PollFlags::HUP;
                let mut fds =
                    [PollFd::new(&self.stdout, flags), PollFd::new(&self.stderr, flags), PollFd::new(&self.kernel, flags)];
                match poll(&mut fds, None) {
                    Err(rustix::io::Errno::INTR) => continue,
                    outcome => outcome?,
                };
                let [out, err, asked] = fds.map(|fd| !fd.revents().is_empty());
                (out, err, asked)
            };
            if asked && !self.answer()? {
                // The kernel is gone.
                let _ = self.child.kill();
                return Ok(1);
            }
            // First what was shown: an error that ends a cell is written after it.
            if out && !self.read_stdout()? {
                return self.ended();
            }
            if err && readable(&self.stderr)? {
                self.read_stderr()?;
            }
        }
    }

    /// A word for each line of the kernel's; false where there is no kernel any more.
    fn answer(&mut self) -> std::io::Result<bool> {
        let mut asked = [0u8; 64];
        let n = self.kernel.read(&mut asked)?;
        for _ in asked[..n].iter().filter(|b| **b == b'\n') {
            self.tell(&Event::Pong)?;
        }
        Ok(n > 0)
    }

    /// False at the end of the output.
    fn read_stdout(&mut self) -> std::io::Result<bool> {
        let mut bytes = [0u8; 65536];
        let n = self.stdout.read(&mut bytes)?;
        for part in self.output.feed(&bytes[..n]) {
            match part {
                Part::Event(event) => self.tell(&event)?,
                Part::Evcxr(line) => {
                    if line == COMPLETE {
                        // What a cell wrote to standard error belongs before its end.
                        while readable(&self.stderr)? && self.read_stderr()? {}
                    }
                    println!("{line}");
                }
            }
        }
        if let Some(Part::Event(event)) = self.output.unfinished() {
            self.tell(&event)?;
        }
        Ok(n > 0)
    }

    /// False at its end.
    fn read_stderr(&mut self) -> std::io::Result<bool> {
        let mut bytes = [0u8; 65536];
        let n = self.stderr.read(&mut bytes)?;
        self.rest.extend_from_slice(&bytes[..n]);
        let whole = match std::str::from_utf8(&self.rest) {
            Err(e) if e.error_len().is_none() && n > 0 => e.valid_up_to(),
            _ => self.rest.len(),
        };
        let rest = self.rest.split_off(whole);
        let text = String::from_utf8_lossy(&std::mem::replace(&mut self.rest, rest)).into_owned();
        if !text.is_empty() {
            self.tell(&Event::Stream { name: Stream::Stderr, text })?;
        }
        Ok(n > 0)
    }

    fn ended(&mut self) -> std::io::Result<i32> {
        while self.read_stderr()? {}
        let status = self.child.wait()?;
        let said = match status.signal() {
            Some(signal) => match name_of(signal) {
                Some(name) => format!("signal {signal}, {name}"),
                None => format!("signal {signal}"),
            },
            None => format!("exit code {}", status.code().unwrap_or(1)),
        };
        self.tell(&Event::Ended(said))?;
        Ok(status.code().unwrap_or(1))
    }

    fn tell(&mut self, event: &Event) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.kernel.write_all(&line)
    }
}

/// What commonly sends a signal that ends a process.
fn name_of(signal: i32) -> Option<&'static str> {
    Some(match signal {
        4 => "illegal instruction",
        6 => "aborted",
        7 => "bus error",
        9 => "killed, by the system where memory ran out",
        11 => "segmentation fault",
        _ => return None,
    })
}

fn readable(pipe: &ChildStderr) -> std::io::Result<bool> {
    let mut fds = [PollFd::new(pipe, PollFlags::IN)];
    let now = Timespec::try_from(Duration::ZERO).map_err(std::io::Error::other)?;
    poll(&mut fds, Some(&now))?;
    Ok(fds[0].revents().contains(PollFlags::IN))
}
