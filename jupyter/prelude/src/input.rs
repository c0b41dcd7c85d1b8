//! Questions to the user of a notebook.

use std::sync::atomic::{AtomicI32, Ordering};

use crate::display::{Target, write};
use crate::error::{Error, Result};
use crate::kernel::Stoppable;

/// Where answers come from; below 0 where they come from nowhere.
static ANSWERS: AtomicI32 = AtomicI32::new(-1);

/// What the kernel writes before an answer, in place of one where the front end cannot ask, and where the user pressed stop instead.
const ANSWER: char = '+';
const STOPPED: char = '!';

/// Asks the user for a line: `let name = input("name of the column?")?;`.
///
/// Standard input itself is empty in a notebook. In a program this reads a line of it.
///
/// # Errors
/// Where the front end cannot ask, as when a notebook is executed without a user, and where the user presses stop.
pub fn input(question: &str) -> Result<String> {
    let ended = |e: std::io::Error| Error::usage(format!("there was no answer to `{question}`: {e}"));
    if Target::here() != Target::Kernel {
        write(&format!("{question} "));
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map_err(ended)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let call = Stoppable::begin();
    if call.token.is_cancelled() {
        return answer(question, "!");
    }
    // evcxr takes this line, as far as the next colon, for a question of the cell's.
    write(&format!("EVCXR_INPUT_REQUEST:{}\n", escaped(question)));
    answer(question, &line_of(ANSWERS.load(Ordering::Relaxed)).map_err(ended)?)
}

fn answer(question: &str, line: &str) -> Result<String> {
    match line.chars().next() {
        Some(ANSWER) => Ok(line[1..].to_owned()),
        Some(STOPPED) => Err(Error::Interrupted(format!("instead of an answer to `{question}`"))),
        _ => Err(Error::usage(format!(
            "`{question}` cannot be asked here: this notebook runs without a user, or its front end has no questions. \
             Write the answer into the cell"
        ))),
    }
}

/// Without colons and ends of lines, which the kernel puts back.
fn escaped(question: &str) -> String {
    question.replace('%', "%25").replace(':', "%3A").replace('\r', "").replace('\n', "%0A")
}

pub(crate) fn answers_from(descriptor: i32) {
    ANSWERS.store(descriptor, Ordering::Relaxed);
}

/// A line, read byte by byte: what follows it is not ours.
#[cfg(unix)]
fn line_of(descriptor: i32) -> std::io::Result<String> {
    use std::io::Read;
    use std::mem::ManuallyDrop;
    if descriptor < 0 {
        return Err(std::io::Error::other("nobody is there"));
    }
    // SAFETY: the process keeps this descriptor open until its end; it is not closed here.
    let mut answers = ManuallyDrop::new(unsafe { <std::fs::File as std::os::fd::FromRawFd>::from_raw_fd(descriptor) });
    let (mut line, mut byte) = (Vec::new(), [0]);
    while answers.read(&mut byte)? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

#[cfg(not(unix))]
fn line_of(_: i32) -> std::io::Result<String> {
    Err(std::io::Error::other("the kernel does not run on this system"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_from_none() {
        assert_eq!(answer("q", "+ a b: ").unwrap(), " a b: ");
        assert_eq!(answer("q", "+").unwrap(), "");
        assert!(answer("q", "").unwrap_err().to_string().contains("`q` cannot be asked here"));
        assert_eq!(answer("q", "!").unwrap_err().to_string(), "stopped by the user instead of an answer to `q`");
        assert_eq!(escaped("100 %: a\nb"), "100 %25%3A a%0Ab");
    }

    #[cfg(unix)]
    #[test]
    fn a_line_is_read_and_no_more() {
        let (read, mut write) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut write, "+µ\n+next\n".as_bytes()).unwrap();
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&read);
        assert_eq!(line_of(descriptor).unwrap(), "+µ");
        assert_eq!(line_of(descriptor).unwrap(), "+next");
        assert!(line_of(-1).is_err());
    }
}
