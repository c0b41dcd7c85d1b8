//! Pieces of HTML that look right in light and dark notebooks. Styles are inline: what is saved stays as it was, and sanitizers drop style sheets.

/// Text of less weight.
pub(crate) const MUTED: &str = "color:var(--jp-ui-font-color2,#767676)";

/// Lines.
pub(crate) const LINE: &str = "var(--jp-border-color2,#8884)";

/// Surface behind text that stays while a table scrolls.
pub(crate) const SURFACE: &str = "var(--jp-layout-color0,Canvas)";

/// Colour of progress and curves.
pub(crate) const ACCENT: &str = "var(--jp-brand-color1,#1976d2)";

/// Text as HTML.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Characters that draw nothing but turn the direction of what follows.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A block in the font of the notebook.
pub(crate) fn block(body: &str) -> String {
    format!(
        "<div style=\"font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px;line-height:1.5\">{body}</div>"
    )
}

/// Text of less weight, escaped.
pub(crate) fn muted(text: &str) -> String {
    format!("<span style=\"{MUTED}\">{}</span>", escape(text))
}

/// A warning, escaped.
pub(crate) fn warning(message: &str) -> String {
    block(&format!(
        "<div style=\"border-left:3px solid var(--jp-warn-color1,#e68a00);padding:2px 10px;margin:2px 0\"><b>Warning</b> {}</div>",
        escape(message)
    ))
}

/// A small filled circle.
pub(crate) fn chip(tutti_figures::Rgb(r, g, b): tutti_figures::Rgb) -> String {
    format!(
        "<span style=\"display:inline-block;width:10px;height:10px;border-radius:50%;background:rgb({r},{g},{b});margin-right:5px\"></span>"
    )
}

/// Whole numbers in groups of three digits.
pub(crate) fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// `1 cell`, `2,000 cells`.
pub(crate) fn counted(n: usize, what: &str) -> String {
    format!("{} {what}{}", thousands(n), if n == 1 { "" } else { "s" })
}

/// A number as people write it: few digits, no trailing zeros that say nothing.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return if value.is_nan() { "NaN".into() } else { format!("{}inf", if value < 0.0 { "-" } else { "" }) };
    }
    if value == value.trunc() && size < 1e15 {
        return format!("{value:.0}");
    }
    match size {
        s if !(1e-4..1e6).contains(&s) => format!("{value:.3e}"),
        s if s >= 1000.0 => format!("{value:.1}"),
        s if s >= 1.0 => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}

/// The first characters of a text, with an ellipsis where there are more.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Seconds as people say them.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() => "?".into(),
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 100.0 => format!("{s:.0} s"),
        s if s < 3600.0 => format!("{:.0} min {:02.0} s", (s / 60.0).floor(), (s % 60.0).floor()),
        s => format!("{:.0} h {:02.0} min", (s / 3600.0).floor(), (s % 3600.0 / 60.0).floor()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_text_never_markup() {
        assert_eq!(escape("<script>alert('x')</script>&\""), "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;");
        assert_eq!(escape("a\u{202e}b\u{7}"), "a\u{fffd}b\u{fffd}");
        assert!(!warning("<img src=x onerror=y>").contains("<img"));
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 12.0, 0.123456, 1.5, 12345.678, 2e9, 1.5e-7, f64::NAN].map(number);
        assert_eq!(shown, ["0", "12", "0.1235", "1.500", "12345.7", "2000000000", "1.500e-7", "NaN"]);
        assert_eq!([0, 999, 1000, 1234567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.31, 42.2, 61.0, 3725.0].map(duration), ["0.3 s", "42 s", "61 s", "1 h 02 min"]);
        assert_eq!((counted(1, "cell"), cut("abcdef", 4)), ("1 cell".into(), "abc…".into()));
    }
}
