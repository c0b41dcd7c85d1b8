//! Places in the code of a cell. Jupyter counts Unicode characters, Rust bytes.

/// Byte at which the character of this number begins; the end for one that is not there.
pub fn byte_of(code: &str, character: usize) -> usize {
    code.char_indices().nth(character).map_or(code.len(), |(byte, _)| byte)
}

/// Number of the character at this byte.
pub fn character_of(code: &str, byte: usize) -> usize {
    code.char_indices().take_while(|(at, _)| *at < byte).count()
}

/// End of the name around this byte.
pub fn end_of_word(code: &str, byte: usize) -> usize {
    let rest = &code[byte..];
    byte + rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
}

/// Whether a console should run the code or ask for more lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IsComplete {
    /// Run it.
    Yes,
    /// A bracket or a string is open.
    No {
        /// Spaces to begin the next line with.
        indent: String,
    },
}

/// By brackets and strings; raw strings and characters that are quotes are read as Rust reads them.
pub fn is_complete(code: &str) -> IsComplete {
    let mut depth = 0usize;
    let mut rest = code;
    while let Some(c) = rest.chars().next() {
        let skipped = match c {
            '(' | '[' | '{' => {
                depth += 1;
                1
            }
            ')' | ']' | '}' => {
                depth = depth.saturating_sub(1);
                1
            }
            '"' => match end_of_string(rest) {
                Some(end) => end,
                None => return IsComplete::No { indent: String::new() },
            },
            'r' if raw_string(rest).is_some() => match raw_string(rest).and_then(|closing| Some((rest[1..].find('"')?, closing)))
            {
                Some((open, closing)) => match rest[open + 2..].find(&closing) {
                    Some(at) => open + 2 + at + closing.len(),
                    None => return IsComplete::No { indent: String::new() },
                },
                None => 1,
            },
            '\'' => character(rest),
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => match rest.find("*/") {
                Some(end) => end + 2,
                None => return IsComplete::No { indent: String::new() },
            },
            c => c.len_utf8(),
        };
        rest = &rest[skipped..];
    }
    if depth == 0 { IsComplete::Yes } else { IsComplete::No { indent: " ".repeat(4 * depth) } }
}

/// Bytes of a string that begins here.
fn end_of_string(code: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in code.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// What closes a raw string that begins here.
fn raw_string(code: &str) -> Option<String> {
    let hashes = code[1..].len() - code[1..].trim_start_matches('#').len();
    code[1 + hashes..].starts_with('"').then(|| format!("\"{}", "#".repeat(hashes)))
}

/// Bytes of a character such as `'('`, or of the quote of a lifetime.
fn character(code: &str) -> usize {
    let mut chars = code.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some(_)) => code[3..].find('\'').map_or(1, |at| at + 4),
        (Some(_), Some((end, '\''))) => end + 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_and_bytes() {
        let code = "let µ = \"é\"; µ.abs";
        for (character, (byte, _)) in code.char_indices().enumerate() {
            assert_eq!(byte_of(code, character), byte);
            assert_eq!(character_of(code, byte), character);
        }
        assert_eq!(byte_of(code, 1000), code.len());
        assert_eq!(character_of(code, code.len()), code.chars().count());
        assert_eq!(&code[..end_of_word(code, byte_of(code, 15))], code);
    }

    #[test]
    fn open_brackets_and_strings_ask_for_more() {
        let more = |code: &str| is_complete(code) != IsComplete::Yes;
        for code in [
            "f(1, [2])",
            "let s = \"(\";",
            "let c = '(';",
            "let c = '\\'';",
            "// (",
            "fn f<'a>(x: &'a str) {}",
            "r#\"(\"#",
            "/* ( */",
        ] {
            assert!(!more(code), "{code}");
        }
        for code in ["for i in 0..3 {", "f(", "let s = \"abc", "r#\"abc\"", "/* a", "let c = '('; f("] {
            assert!(more(code), "{code}");
        }
        assert_eq!(is_complete("if a {\n  f("), IsComplete::No { indent: " ".repeat(8) });
    }
}
