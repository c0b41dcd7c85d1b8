//! A cell while it runs: turns what happens in it into messages, and at its end tells how it came out.

use jupyter_protocol::Media;
use jupyter_protocol::messaging::{
    DisplayData, ErrorOutput, ExecuteRequest, JupyterMessage, JupyterMessageContent, StreamContent, Transient, UpdateDisplayData,
};
use serde_json::{Value, json};

use crate::event::{Display, Event, Stream};
use crate::message;
use crate::session::Outcome;

/// A cell that was sent to evcxr.
pub struct Cell {
    /// The request, to which all messages of the cell belong.
    pub request: JupyterMessage,
    /// Number of the cell as the notebook shows it.
    pub count: usize,
    /// Whether cells that wait are dropped after an error.
    pub stop_on_error: bool,
    /// How it came out, once it has run.
    pub outcome: Option<Outcome>,
    /// All that it printed is here.
    pub flushed: bool,
    /// Whether it was compiled and runs.
    pub begun: bool,
    /// How often the user interrupted it.
    pub interrupts: usize,
    /// Whether nothing has come of the last interrupt.
    pub unanswered: bool,
    /// The last line of standard error.
    held: String,
    /// The last that was shown of it.
    shown: String,
    panic: Option<(String, String)>,
    panicked: bool,
    returned: bool,
    kept: Option<String>,
    ended: Option<String>,
}

/// Something to show in the notebook.
pub struct Shown(JupyterMessageContent);

impl Shown {
    /// Text among the errors.
    pub fn stderr(text: &str) -> Self {
        Self(StreamContent::stderr(text).into())
    }

    /// The message, as part of the answer to a request.
    pub fn message(self, request: &JupyterMessage) -> JupyterMessage {
        JupyterMessage::new(self.0, Some(request))
    }
}

impl Cell {
    /// A cell that begins.
    pub fn new(request: JupyterMessage, asked: &ExecuteRequest, count: usize) -> Self {
        Self {
            request,
            count,
            stop_on_error: asked.stop_on_error,
            outcome: None,
            flushed: false,
            begun: false,
            interrupts: 0,
            unanswered: false,
            held: String::new(),
            shown: String::new(),
            panic: None,
            panicked: false,
            returned: false,
            kept: None,
            ended: None,
        }
    }

    /// What is to be shown now.
    pub fn event(&mut self, event: Event) -> Vec<Shown> {
        match event {
            Event::Stream { name: Stream::Stderr, text } => return self.hold(&text),
            Event::Returned => {
                self.returned = true;
                return Vec::new();
            }
            Event::Panic { message, location } => {
                self.panic.get_or_insert((message, location));
                return Vec::new();
            }
            Event::Panicked => {
                self.panicked = true;
                return Vec::new();
            }
            Event::Begun => {
                self.begun = true;
                return Vec::new();
            }
            Event::Connected { .. } => return Vec::new(),
            Event::Pong => {
                self.flushed = true;
                return Vec::new();
            }
            Event::Ended(how) => {
                self.ended = Some(how);
                self.flushed = true;
                return Vec::new();
            }
            Event::Interrupted(text) => {
                self.kept = Some(text);
                self.unanswered = false;
                return Vec::new();
            }
            Event::Stream { .. } | Event::Display(_) | Event::Warning(_) => {}
        }
        let mut shown = self.rest();
        shown.push(Shown(match event {
            Event::Stream { text, .. } => StreamContent::stdout(&text).into(),
            Event::Display(display) => displayed(display),
            Event::Warning(text) => displayed(warning(&text)),
            _ => return shown,
        }));
        shown
    }

    /// Keeps the last line: where the cell ends at a `?`, it is the error. What stands before it is shown.
    fn hold(&mut self, text: &str) -> Vec<Shown> {
        let mut before = String::new();
        for piece in text.split_inclusive('\n') {
            if self.held.ends_with('\n') {
                before += &std::mem::take(&mut self.held);
            }
            self.held += piece;
        }
        (!before.is_empty()).then(|| Shown::stderr(&before)).into_iter().collect()
    }

    /// Text of standard error that is no error's.
    pub fn rest(&mut self) -> Vec<Shown> {
        if self.returned || self.held.is_empty() {
            return Vec::new();
        }
        self.shown = std::mem::take(&mut self.held);
        vec![Shown::stderr(&self.shown)]
    }

    /// What went wrong, if anything did.
    pub fn problem(&self, outcome: &Outcome) -> Option<ErrorOutput> {
        match outcome {
            Outcome::Lost if self.interrupts > 0 => {
                Some(message::interrupted("the cell was ended; all variables are lost, a new process is there"))
            }
            Outcome::Lost => Some(message::lost(self.ended.as_deref().unwrap_or("it told no reason"))),
            Outcome::Refused(_) if self.interrupts > 0 => {
                Some(message::interrupted("the compiler was stopped; the cell did not run"))
            }
            Outcome::Refused(problem) => Some(message::refused(problem)),
            Outcome::Ran(_) if self.panicked => {
                let (text, location) = self.panic.clone().unwrap_or_default();
                Some(message::panic(&text, &location))
            }
            Outcome::Ran(_) if self.returned => {
                let text = if self.held.is_empty() { &self.shown } else { &self.held };
                Some(if self.interrupts > 0 { message::interrupted(text.trim_end()) } else { message::returned(text) })
            }
            Outcome::Ran(_) => self.kept.as_deref().map(message::interrupted),
        }
    }
}

fn displayed(display: Display) -> JupyterMessageContent {
    let data: Media = serde_json::from_value(Value::Object(display.data)).unwrap_or_default();
    let transient = Transient { display_id: display.id };
    match display.update {
        true => UpdateDisplayData { data, metadata: display.metadata, transient }.into(),
        false => DisplayData { data, metadata: display.metadata, transient: Some(transient) }.into(),
    }
}

/// A box beside the outputs, since standard error looks like a failure.
fn warning(text: &str) -> Display {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let html = format!(
        "<div style=\"border-left: 3px solid var(--jp-warn-color1, #d9822b); padding: 2px 8px; margin: 2px 0; \
         white-space: pre-wrap\">{escaped}</div>"
    );
    let data = json!({"text/html": html, "text/plain": format!("warning: {text}")});
    Display { data: data.as_object().cloned().unwrap_or_default(), metadata: Default::default(), id: None, update: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell() -> Cell {
        let asked = ExecuteRequest::new("1".into());
        Cell::new(asked.clone().into(), &asked, 1)
    }

    fn stderr(text: &str) -> Event {
        Event::Stream { name: Stream::Stderr, text: text.to_owned() }
    }

    fn texts(shown: Vec<Shown>) -> Vec<String> {
        let text = |s: Shown| match s.0 {
            JupyterMessageContent::StreamContent(stream) => stream.text,
            other => other.message_type().to_owned(),
        };
        shown.into_iter().map(text).collect()
    }

    #[test]
    fn what_a_question_mark_says_is_the_error_and_is_not_shown_twice() {
        let mut cell = cell();
        assert!(texts(cell.event(stderr("a note\n"))).is_empty());
        assert_eq!(texts(cell.event(stderr("no column"))), ["a note\n"]);
        assert!(texts(cell.event(stderr(" `x`"))).is_empty());
        assert!(texts(cell.event(stderr("\n"))).is_empty());
        cell.event(Event::Returned);
        assert!(texts(cell.rest()).is_empty());
        let problem = cell.problem(&Outcome::Ran(Vec::new())).unwrap();
        assert_eq!(problem.evalue, "no column `x`");
    }

    #[test]
    fn a_panic_that_the_cell_caught_is_no_failure() {
        let mut cell = cell();
        cell.event(Event::Panic { message: "caught".into(), location: "x:1:1".into() });
        assert!(cell.problem(&Outcome::Ran(Vec::new())).is_none());
        cell.event(Event::Panicked);
        assert_eq!(cell.problem(&Outcome::Ran(Vec::new())).unwrap().evalue, "caught");
    }

    #[test]
    fn text_keeps_its_order() {
        let mut cell = cell();
        cell.event(stderr("first\n"));
        let second = Event::Stream { name: Stream::Stdout, text: "second\n".into() };
        assert_eq!(texts(cell.event(second)), ["first\n", "second\n"]);
        assert_eq!(texts(cell.event(Event::Warning("<b>".into()))), ["display_data"]);
    }

    #[test]
    fn an_interrupted_call_says_what_is_kept() {
        let mut cell = cell();
        (cell.interrupts, cell.unanswered) = (1, true);
        cell.event(Event::Interrupted("the model of epoch 3 is kept".into()));
        let problem = cell.problem(&Outcome::Ran(Vec::new())).unwrap();
        assert_eq!((problem.ename.as_str(), problem.evalue.as_str()), ("interrupted", "the model of epoch 3 is kept"));
        assert!(!cell.unanswered, "the next interrupt is of the next call");
        assert!(cell.problem(&Outcome::Lost).unwrap().evalue.contains("lost"));
    }
}
