//! How values get to the screen: as frames to the kernel, as content blocks to stock evcxr, as text to a console.

use std::io::Write as _;

use base64::Engine as _;
use serde_json::{Map, Value, json};

/// Starts a frame: a byte that no text begins with, and whose it is.
const FRAME: &str = "\u{1}tutti ";

/// A value in every form that it can be shown in. There is always text; the front end takes the richest form that it can show.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Content {
    pub(crate) text: String,
    pub(crate) html: Option<String>,
    pub(crate) svg: Option<String>,
    pub(crate) png: Option<Png>,
}

/// An image with the size at which it is shown, in pixels of the page.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Png {
    pub bytes: Vec<u8>,
    pub width: f64,
    pub height: f64,
}

impl Content {
    /// Text, for where nothing better can be shown.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// The same with HTML. What comes from data must be escaped.
    pub fn with_html(self, html: impl Into<String>) -> Self {
        Self { html: Some(html.into()), ..self }
    }

    /// The same with a drawing.
    pub fn with_svg(self, svg: impl Into<String>) -> Self {
        Self { svg: Some(svg.into()), ..self }
    }

    pub(crate) fn with_png(self, png: Png) -> Self {
        Self { png: Some(png), ..self }
    }

    /// The text form.
    pub fn as_text(&self) -> &str {
        &self.text
    }

    /// The HTML form, where there is one.
    pub fn as_html(&self) -> Option<&str> {
        self.html.as_deref()
    }

    /// The PNG form, where there is one.
    pub fn as_png(&self) -> Option<&[u8]> {
        self.png.as_ref().map(|png| png.bytes.as_slice())
    }

    /// The SVG form, where there is one.
    pub fn as_svg(&self) -> Option<&str> {
        self.svg.as_deref()
    }
}

/// What can be shown. Every type of this crate can; implement it for your own to use [`show`].
pub trait Rich {
    /// The value in the forms that it has.
    fn content(&self) -> Content;
}

/// Shows a value amid a cell; the last expression of a cell is shown by itself.
pub fn show<T: Rich + ?Sized>(value: &T) {
    emit(&value.content(), None);
}

/// The value of a cell that has a text only, as evcxr takes it.
pub(crate) fn result(text: &str) {
    match Target::here() {
        Target::Console => write(&format!("{text}\n")),
        Target::Kernel | Target::Evcxr => write(&in_block("text/plain", text)),
    }
}

/// Shows a warning.
pub fn warn(message: &str) {
    match Target::here() {
        Target::Kernel => write(&frame(&json!({ "warning": message }))),
        Target::Evcxr => emit(&Content::text(format!("warning: {message}")).with_html(crate::html::warning(message)), None),
        Target::Console => write(&format!("warning: {message}\n")),
    }
}

/// Says that a call was stopped by the user.
pub(crate) fn interrupted(message: &str) {
    match Target::here() {
        Target::Kernel => write(&frame(&json!({ "interrupted": message }))),
        _ => write(&format!("{message}\n")),
    }
}

/// Tells the kernel of a panic.
pub(crate) fn panicked(message: &str, location: &str) {
    write(&frame(&json!({ "panic": { "message": message, "location": location } })));
}

/// An output that is replaced in place, where the front end can do that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    pub id: String,
    /// Whether something stands there already.
    pub update: bool,
}

/// Writes the content to where this process is shown.
pub(crate) fn emit(content: &Content, slot: Option<&Slot>) {
    write(&rendered(content, slot, Target::here()));
}

/// Who reads our standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The kernel that this crate was made for.
    Kernel,
    /// evcxr's own kernel, which shows one output of each kind per cell.
    Evcxr,
    /// A person or a file.
    Console,
}

impl Target {
    pub fn here() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some();
        if std::env::var("TUTTI_JUPYTER").is_ok_and(|v| v == "1") {
            Self::Kernel
        } else if set("EVCXR_IS_RUNTIME") {
            Self::Evcxr
        } else {
            Self::Console
        }
    }
}

pub(crate) fn rendered(content: &Content, slot: Option<&Slot>, target: Target) -> String {
    match target {
        Target::Kernel => {
            let (data, metadata) = bundle(content);
            let mut display = json!({ "data": data, "metadata": metadata });
            if let Some(slot) = slot {
                display["id"] = slot.id.clone().into();
                display["update"] = slot.update.into();
            }
            frame(&json!({ "display": display }))
        }
        Target::Evcxr => blocks(content),
        Target::Console => format!("{}\n", content.text.trim_end_matches('\n')),
    }
}

/// MIME types with their data, and metadata.
fn bundle(content: &Content) -> (Map<String, Value>, Map<String, Value>) {
    let (mut data, mut metadata) = (Map::new(), Map::new());
    data.insert("text/plain".into(), content.text.clone().into());
    if let Some(html) = &content.html {
        data.insert("text/html".into(), html.clone().into());
    }
    if let Some(svg) = &content.svg {
        data.insert("image/svg+xml".into(), svg.clone().into());
    }
    if let Some(png) = &content.png {
        data.insert("image/png".into(), encoded(png).into());
        metadata.insert("image/png".into(), json!({ "width": png.width.round(), "height": png.height.round() }));
    }
    (data, metadata)
}

/// evcxr's blocks. They know no metadata, so that an image goes into HTML, which gives its size.
fn blocks(content: &Content) -> String {
    let mut out = in_block("text/plain", &content.text);
    let image = content.png.as_ref().map(|png| {
        let (width, height) = (png.width.round(), png.height.round());
        format!("<img width=\"{width}\" height=\"{height}\" src=\"data:image/png;base64,{}\">", encoded(png))
    });
    if let Some(html) = content.html.as_ref().or(image.as_ref()) {
        out += &in_block("text/html", html);
    } else if let Some(svg) = &content.svg {
        out += &in_block("image/svg+xml", svg);
    }
    out
}

fn in_block(mime: &str, body: &str) -> String {
    format!("EVCXR_BEGIN_CONTENT {mime}\n{body}\nEVCXR_END_CONTENT\n")
}

pub(crate) fn encoded(png: &Png) -> String {
    base64::engine::general_purpose::STANDARD.encode(&png.bytes)
}

fn frame(value: &Value) -> String {
    format!("{FRAME}{value}\n")
}

/// One write while the lock is held, so that lines of several threads do not mix. A reader that went away ends nothing.
pub(crate) fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(frame: &str) -> Value {
        assert_eq!(frame.matches('\n').count(), 1, "one line: {frame}");
        assert_eq!(frame.as_bytes()[0], 1);
        serde_json::from_str(frame.strip_prefix(FRAME).unwrap()).unwrap()
    }

    #[test]
    fn a_frame_is_one_line_of_json_whatever_the_content() {
        let png = Png { bytes: vec![0, 255, 10, 13], width: 320.4, height: 240.0 };
        let content = Content::text("two\nlines \u{1}").with_html("<b>\"é\"\n</b>").with_png(png);
        let value = parsed(&rendered(&content, None, Target::Kernel));
        assert_eq!(value["display"]["data"]["text/plain"], "two\nlines \u{1}");
        assert_eq!(value["display"]["data"]["text/html"], "<b>\"é\"\n</b>");
        assert_eq!(value["display"]["data"]["image/png"], "AP8KDQ==");
        assert_eq!(value["display"]["metadata"]["image/png"], json!({ "width": 320.0, "height": 240.0 }));
        assert!(value["display"].get("id").is_none());
    }

    #[test]
    fn what_is_replaced_in_place_has_an_id() {
        let slot = |update| Slot { id: "progress-3".into(), update };
        let frame = |update| parsed(&rendered(&Content::text("x"), Some(&slot(update)), Target::Kernel));
        assert_eq!((&frame(false)["display"]["id"], &frame(false)["display"]["update"]), (&json!("progress-3"), &json!(false)));
        assert_eq!(frame(true)["display"]["update"], true);
    }

    #[test]
    fn other_front_ends_get_blocks_or_text() {
        let content = Content::text("plain").with_svg("<svg/>");
        let blocks = rendered(&content, None, Target::Evcxr);
        assert!(blocks.contains("EVCXR_BEGIN_CONTENT image/svg+xml\n<svg/>\nEVCXR_END_CONTENT\n"), "{blocks}");
        assert!(blocks.contains("EVCXR_BEGIN_CONTENT text/plain\nplain\nEVCXR_END_CONTENT\n"), "{blocks}");
        let image = Content::text("x").with_png(Png { bytes: vec![1], width: 10.0, height: 5.0 });
        assert!(
            rendered(&image, None, Target::Evcxr).contains("<img width=\"10\" height=\"5\" src=\"data:image/png;base64,AQ==\">")
        );
        assert_eq!(rendered(&content, None, Target::Console), "plain\n");
    }
}
