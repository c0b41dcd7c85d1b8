//! Errors of a cell as a reader wants them: short, with the place in the cell.

use evcxr::CompilationError;
use jupyter_protocol::messaging::ErrorOutput;

const RED: &str = "\x1b[31m";
const BLUE: &str = "\x1b[34m";
const BOLD: &str = "\x1b[1m";
const OFF: &str = "\x1b[0m";

/// A panic in a cell.
pub fn panic(message: &str, location: &str) -> ErrorOutput {
    // A place in the cell's generated file means nothing to its writer.
    let place = if location.contains("lib.rs") && !location.contains("/") { String::new() } else { format!(" ({location})") };
    error("panic", message, vec![format!("{RED}{BOLD}panic{OFF}: {message}{place}"), VARIABLES.to_owned()])
}

/// A cell that returned an error by `?`.
pub fn returned(text: &str) -> ErrorOutput {
    let text = text.trim_end();
    error("error", text, vec![format!("{RED}{BOLD}error{OFF}: {text}")])
}

/// A cell that the user stopped.
pub fn interrupted(text: &str) -> ErrorOutput {
    error("interrupted", text, vec![format!("{RED}{BOLD}interrupted{OFF}: {text}")])
}

/// The process with all variables is gone.
pub fn lost(how: &str) -> ErrorOutput {
    let text = format!(
        "the process that ran the cells ended ({how}); all variables are lost, a new process is there: run the cells again"
    );
    error("process ended", &text, vec![format!("{RED}{BOLD}process ended{OFF}: {text}")])
}

const VARIABLES: &str =
    "Variables of earlier cells are kept, unless this cell had taken them; those first made in this cell are not.";

/// What evcxr refused.
pub fn refused(problem: &evcxr::Error) -> ErrorOutput {
    match problem {
        evcxr::Error::CompilationErrors(errors) => {
            let first = errors.first().map(CompilationError::message).unwrap_or_default();
            if first.starts_with("error: ") {
                // Of cargo: the compiler gives the word and the text apart.
                return plain(&first);
            }
            let mut lines = Vec::new();
            errors.iter().for_each(|e| compilation_error(e, &mut lines));
            error("compile error", &first, lines)
        }
        other => plain(&text_of(other)),
    }
}

fn plain(text: &str) -> ErrorOutput {
    let text = without_detours(text);
    error("error", &text, vec![format!("{RED}{BOLD}error{OFF}: {text}")])
}

/// What cargo says of a dependency that it cannot have: its reasons in a line, without the package that evcxr writes for the cell.
fn without_detours(text: &str) -> String {
    let ours = |line: &str| line.starts_with("required by package `ctx ") || line == "Caused by:";
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !ours(line));
    let mut lines: Vec<&str> = lines.map(|line| line.strip_prefix("error: ").unwrap_or(line)).collect();
    match text.contains("\nCaused by:") && lines.len() > 3 {
        // What failed, and the last two reasons, which name the file and the fault.
        true => [lines[0], lines[lines.len() - 2], lines[lines.len() - 1]].join(": "),
        false => {
            lines.dedup();
            lines.join("\n")
        }
    }
}

/// The whole text of an error of evcxr's.
pub fn text_of(problem: &evcxr::Error) -> String {
    match problem {
        evcxr::Error::CompilationErrors(errors) => {
            let all: Vec<String> = errors.iter().map(CompilationError::rendered).collect();
            all.join("\n")
        }
        other => other.to_string(),
    }
}

fn error(name: &str, value: &str, traceback: Vec<String>) -> ErrorOutput {
    ErrorOutput { ename: name.to_owned(), evalue: value.to_owned(), traceback }
}

fn compilation_error(problem: &CompilationError, out: &mut Vec<String>) {
    let code = problem.code().map(|code| format!("[{code}]")).unwrap_or_default();
    out.push(format!("{RED}{BOLD}error{code}{OFF}: {}", problem.message()));
    for part in problem.spanned_messages() {
        let Some(span) = &part.span else {
            out.extend((!part.label.is_empty()).then(|| part.label.clone()));
            continue;
        };
        let one_line = span.start_line == span.end_line;
        for (i, line) in part.lines.iter().enumerate() {
            out.push(format!("{BLUE}{:>3} |{OFF} {line}", span.start_line + i));
        }
        let width = if one_line { span.end_column.saturating_sub(span.start_column).max(1) } else { 1 };
        let at = " ".repeat(span.start_column.saturating_sub(1));
        out.push(format!("{BLUE}    |{OFF} {at}{RED}{} {}{OFF}", "^".repeat(width), part.label));
    }
    out.extend(problem.help().iter().map(|help| format!("{BOLD}help{OFF}: {help}")));
    out.extend(problem.evcxr_extra_hint().map(|hint| format!("{BOLD}hint{OFF}: {hint}")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_that_is_not_there_is_told_in_brief() {
        let path = "error: failed to get `none`\n\nCaused by:\n  failed to load source for dependency `none`\n\nCaused by:\n  \
                    unable to update /w/none\n\nCaused by:\n  failed to read `/w/none/Cargo.toml`\n\nCaused by:\n  No such file";
        assert_eq!(without_detours(path), "failed to get `none`: failed to read `/w/none/Cargo.toml`: No such file");
        let name = "error: no matching package named `nonesuch` found\nlocation searched: crates.io index\n\
                    required by package `ctx v1.0.0 (/tmp/x)`\n";
        assert_eq!(without_detours(name), "no matching package named `nonesuch` found\nlocation searched: crates.io index");
        assert_eq!(without_detours("something else"), "something else");
    }
}
