//! Takes apart what the process that runs the cells writes to standard output: text of the user's, events of the prelude's, and the
//! lines by which evcxr is told how the cell goes.

use crate::event::{Event, MARK, Stream};

/// The end of a cell.
pub const COMPLETE: &str = "EVCXR_EXECUTION_COMPLETE";
const PANICKED: &str = "EVCXR_PANIC_NOTIFICATION";
const RETURNED: &str = "EVCXR_ERROR_OCCURRED";
const BEGIN_CONTENT: &str = "EVCXR_BEGIN_CONTENT ";
const END_CONTENT: &str = "EVCXR_END_CONTENT";
/// Lines that begin so are evcxr's own.
const PREFIXES: [&str; 2] = ["EVCXR_VARIABLE_CHANGED_TYPE:", "EVCXR_INPUT_REQUEST"];
/// What all of evcxr's lines begin with.
const EVCXR: &[u8] = b"EVCXR_";

/// A part of the output, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// For the notebook.
    Event(Event),
    /// A line for evcxr.
    Evcxr(String),
}

/// Takes bytes as they come.
#[derive(Debug, Default)]
pub struct Output {
    line: Vec<u8>,
    /// Between the two lines around content in evcxr's own format, which evcxr collects.
    in_content: bool,
}

impl Output {
    /// Parts that are whole by now.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Part> {
        let mut parts = Vec::new();
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.whole_line(&line[..line.len() - 1], &mut parts);
            }
        }
        parts
    }

    /// The text of a line that has not ended, such as a prompt or a progress bar, where it is certain to be text.
    pub fn unfinished(&mut self) -> Option<Part> {
        if self.in_content {
            return None;
        }
        // What may become a word that is not text waits for the rest of it.
        let begins = [MARK, EVCXR].into_iter().filter_map(|word| may_begin(&self.line, word)).min();
        let rest = self.line.split_off(begins.unwrap_or(self.line.len()));
        let text = self.whole_letters();
        self.line.extend_from_slice(&rest);
        (!text.is_empty()).then(|| said(&text))
    }

    /// Takes the line so far, without the first bytes of a letter that has not come whole.
    fn whole_letters(&mut self) -> Vec<u8> {
        let whole = match std::str::from_utf8(&self.line) {
            Err(e) if e.error_len().is_none() => e.valid_up_to(),
            _ => self.line.len(),
        };
        let rest = self.line.split_off(whole);
        std::mem::replace(&mut self.line, rest)
    }

    fn whole_line(&mut self, line: &[u8], parts: &mut Vec<Part>) {
        let text = String::from_utf8_lossy(line);
        if self.in_content {
            // A panic may come amid content.
            self.in_content = text != END_CONTENT && text != PANICKED;
            parts.extend((text == PANICKED).then_some(Part::Event(Event::Panicked)));
            parts.push(Part::Evcxr(text.into_owned()));
            return;
        }
        if let Some(at) = find(line, MARK) {
            return marked_line(line, at, parts);
        }
        match &*text {
            PANICKED => parts.push(Part::Event(Event::Panicked)),
            RETURNED => parts.push(Part::Event(Event::Returned)),
            other if other.starts_with(BEGIN_CONTENT) => self.in_content = true,
            other if PREFIXES.iter().any(|p| other.starts_with(p)) => {}
            other => match other.strip_suffix(COMPLETE) {
                // Text without an end of line stands before the word.
                Some(before) => {
                    parts.extend((!before.is_empty()).then(|| said(before.as_bytes())));
                    parts.push(Part::Evcxr(COMPLETE.to_owned()));
                    return;
                }
                None => return parts.push(said(&[line, b"\n"].concat())),
            },
        }
        parts.push(Part::Evcxr(text.into_owned()));
    }
}

/// A line with an event; what stands before it is text. What is no event is text too.
fn marked_line(line: &[u8], at: usize, parts: &mut Vec<Part>) {
    let event = serde_json::from_slice(&line[at + MARK.len()..]);
    parts.extend((at > 0).then(|| said(&line[..at])));
    parts.push(match event {
        Ok(event) => Part::Event(event),
        Err(_) => said(&[&line[at..], b"\n"].concat()),
    });
}

fn said(text: &[u8]) -> Part {
    Part::Event(Event::Stream { name: Stream::Stdout, text: String::from_utf8_lossy(text).into_owned() })
}

/// Where the word stands, or the beginning of it at the end of the line.
fn may_begin(line: &[u8], word: &[u8]) -> Option<usize> {
    (0..line.len()).find(|at| line[*at..].starts_with(word) || word.starts_with(&line[*at..]))
}

fn find(line: &[u8], word: &[u8]) -> Option<usize> {
    line.windows(word.len()).position(|w| w == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(t: &str) -> Part {
        said(t.as_bytes())
    }

    fn evcxr(t: &str) -> Part {
        Part::Evcxr(t.to_owned())
    }

    #[test]
    fn text_passes_at_once_and_evcxr_gets_its_lines() {
        let mut output = Output::default();
        assert_eq!(output.feed(b"one\ntwo"), [text("one\n")]);
        assert_eq!(output.unfinished(), Some(text("two")));
        assert_eq!(output.unfinished(), None);
        assert_eq!(output.feed(b"\nEVCXR_EXECUTION_COMPLETE\n"), [text("\n"), evcxr(COMPLETE)]);
    }

    #[test]
    fn a_line_without_end_does_not_hide_the_end_of_the_cell() {
        let mut output = Output::default();
        assert_eq!(output.feed(b"50 %EVCXR_EXECUTION_COMPLETE\n"), [text("50 %"), evcxr(COMPLETE)]);
        assert_eq!(output.feed(b"EVC"), []);
        assert_eq!(output.unfinished(), None, "may become a line of evcxr's");
        assert_eq!(output.feed(b"XR_ is a prefix\n"), [text("EVCXR_ is a prefix\n")]);
    }

    #[test]
    fn events_are_read_wherever_they_stand() {
        let mut output = Output::default();
        let parts = output
            .feed(b"epoch 3\x01tutti {\"interrupted\":\"kept\"}\n\x01tutti {\"display\":{\"data\":{\"text/plain\":\"x\"}}}\n");
        assert_eq!(parts[..2], [text("epoch 3"), Part::Event(Event::Interrupted("kept".into()))]);
        let Part::Event(Event::Display(display)) = &parts[2] else { panic!("{parts:?}") };
        assert_eq!(display.data["text/plain"], "x");
        assert_eq!(output.feed(b"\x01tutti no json\n"), [text("\x01tutti no json\n")]);
    }

    #[test]
    fn content_of_evcxr_passes_whole_and_a_panic_ends_it() {
        let mut output = Output::default();
        let parts = output.feed(b"EVCXR_BEGIN_CONTENT text/html\n<b>\nEVCXR_END_CONTENT\nafter\n");
        let expected = [evcxr("EVCXR_BEGIN_CONTENT text/html"), evcxr("<b>"), evcxr("EVCXR_END_CONTENT"), text("after\n")];
        assert_eq!(parts, expected);
        let parts = output.feed(b"EVCXR_BEGIN_CONTENT text/html\nEVCXR_PANIC_NOTIFICATION\nnow text\n");
        let expected = [
            evcxr("EVCXR_BEGIN_CONTENT text/html"),
            Part::Event(Event::Panicked),
            evcxr("EVCXR_PANIC_NOTIFICATION"),
            text("now text\n"),
        ];
        assert_eq!(parts, expected);
    }

    #[test]
    fn letters_of_several_bytes_are_not_cut() {
        let mut output = Output::default();
        let mu = "µm".as_bytes();
        output.feed(&mu[..1]);
        assert_eq!(output.unfinished(), None);
        output.feed(&mu[1..]);
        assert_eq!(output.unfinished(), Some(text("µm")));
    }

    /// However the bytes are cut, the same text comes out.
    #[test]
    fn chunks_do_not_matter() {
        let bytes = "a\nß 50 %\x01tutti {\"warning\":\"w\"}\nEVCXR_ERROR_OCCURRED\nxEVCXR_EXECUTION_COMPLETE\n".as_bytes();
        let joined = |size: usize| {
            let mut output = Output::default();
            let (mut stream, mut other) = (String::new(), Vec::new());
            for chunk in bytes.chunks(size) {
                let mut parts = output.feed(chunk);
                parts.extend(output.unfinished());
                for part in parts {
                    match part {
                        Part::Event(Event::Stream { text, .. }) => stream += &text,
                        part => other.push(part),
                    }
                }
            }
            (stream, other)
        };
        let whole = joined(bytes.len());
        for size in 1..bytes.len() {
            assert_eq!(joined(size), whole, "chunks of {size}");
        }
    }
}
