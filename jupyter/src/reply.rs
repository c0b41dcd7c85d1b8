//! Replies that need nothing of the kernel's state but the session.

use jupyter_protocol::messaging::{
    CodeMirrorMode, CompleteReply, ErrorOutput, InspectReply, IsCompleteReply, JupyterMessageContent, KernelInfoReply,
    LanguageInfo, ReplyError, ReplyStatus,
};
use serde_json::json;

use crate::place::{self, IsComplete};
use crate::session::Session;

pub fn reply_error(problem: &ErrorOutput) -> ReplyError {
    ReplyError { ename: problem.ename.clone(), evalue: problem.evalue.clone(), traceback: problem.traceback.clone() }
}

pub fn kernel_info() -> KernelInfoReply {
    KernelInfoReply {
        status: ReplyStatus::Ok,
        protocol_version: "5.3".into(),
        implementation: "tutti-jupyter".into(),
        implementation_version: env!("CARGO_PKG_VERSION").into(),
        language_info: LanguageInfo {
            name: "rust".into(),
            version: String::new(),
            mimetype: Some("text/x-rust".into()),
            file_extension: Some(".rs".into()),
            pygments_lexer: Some("rust".into()),
            codemirror_mode: Some(CodeMirrorMode::Simple("rust".into())),
            nbconvert_exporter: None,
        },
        banner: format!(
            "Tutti {}: Rust notebooks for single-cell data. `use tutti_notebook::*;` is done.",
            env!("CARGO_PKG_VERSION")
        ),
        help_links: Vec::new(),
        debugger: false,
        error: None,
    }
}

pub fn complete(session: Option<&mut Session>, code: &str, position: usize) -> CompleteReply {
    let at = place::byte_of(code, position);
    let found = session.and_then(|s| s.complete(code, at));
    let (matches, start, end) = found.unwrap_or((Vec::new(), at, at));
    let (cursor_start, cursor_end) = (place::character_of(code, start), place::character_of(code, end));
    CompleteReply { matches, cursor_start, cursor_end, ..Default::default() }
}

pub fn inspect(session: Option<&mut Session>, code: &str, position: usize) -> InspectReply {
    let at = place::end_of_word(code, place::byte_of(code, position));
    match session.and_then(|s| s.inspect(code, at)) {
        Some((text, html)) => {
            let data = serde_json::from_value(json!({"text/plain": text, "text/html": html})).unwrap_or_default();
            InspectReply { found: true, data, ..Default::default() }
        }
        None => InspectReply::default(),
    }
}

impl From<IsComplete> for JupyterMessageContent {
    fn from(answer: IsComplete) -> Self {
        match answer {
            IsComplete::Yes => IsCompleteReply::complete().into(),
            IsComplete::No { indent } => IsCompleteReply::incomplete(indent).into(),
        }
    }
}
