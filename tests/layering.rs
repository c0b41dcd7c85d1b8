//! Data flows one way: reads the `crate::` paths of the science crate and fails on an arrow against the order of its modules.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

/// A module may use those of earlier groups, not those of its own or a later one.
const ORDER: &[&[&str]] = &[
    &["error"],
    &["rng", "observe"],
    &["threads"],
    &["data"],
    &["preprocess"],
    &["neighbors"],
    &["sampler", "augment"],
    &["ops"],
    &["nn"],
    &["loss", "optim"],
    &["model"],
    &["train"],
    &["systems"],
    &["downstream", "metrics"],
    &["benchmark"],
];

/// Stands beside the order: made-up data must not depend on the methods it tests.
const SIMULATE_USES: &[&str] = &["error", "rng", "observe", "data"];

const LINES_AT_MOST: usize = 600;
const NAMES_THAT_SAY_NOTHING: &[&str] = &["utils", "util", "helpers", "helper", "common", "types", "misc"];

fn place(module: &str) -> Option<usize> {
    ORDER.iter().position(|group| group.contains(&module))
}

/// Whether code in `from` may name something of `to`; an error for a module that the order does not know.
fn allowed(from: &str, to: &str) -> Result<bool, String> {
    let unknown = |module: &str| format!("module `{module}` has no place in the order; give it one in tests/layering.rs");
    if from == to {
        return Ok(true);
    }
    if from == "simulate" {
        return Ok(SIMULATE_USES.contains(&to));
    }
    if to == "simulate" {
        return Ok(false);
    }
    Ok(place(to).ok_or_else(|| unknown(to))? < place(from).ok_or_else(|| unknown(from))?)
}

/// The lines of a file as (number from 1, text), without comments and without what is compiled for tests only.
fn code_lines(text: &str) -> Vec<(usize, &str)> {
    let mut out = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("#[cfg(test)]") {
            // rustfmt puts the end of an item at the indent of its start.
            let indent = &line[..line.len() - trimmed.len()];
            let end = format!("{indent}}}");
            for (_, skipped) in lines.by_ref() {
                let is_attribute = skipped.trim_start().starts_with("#[");
                if skipped.ends_with(';') && skipped.starts_with(indent) || skipped.trim_end() == end && !is_attribute {
                    // A `;` inside of a test module is indented further and does not end it.
                    if skipped.trim_end() == end || !skipped[indent.len()..].starts_with(' ') {
                        break;
                    }
                }
            }
        } else if !trimmed.starts_with("//") {
            out.push((number + 1, line.split(" // ").next().unwrap_or(line)));
        }
    }
    out
}

/// Top-level names that the code takes from the crate root, with their lines: `crate::a::B`, `crate::{a, b::{C, D}}`, and
/// `super::` where it reaches the root. `depth` is how many modules deep the file is, 1 for `x.rs` and `x/mod.rs`.
fn names_from_root(text: &str, depth: usize) -> Vec<(usize, String)> {
    let lines = code_lines(text);
    let mut code = String::new();
    let mut line_at = Vec::new();
    for (number, line) in &lines {
        line_at.push((code.len(), *number));
        code.push_str(line);
        code.push('\n');
    }
    let line_of = |at: usize| line_at[line_at.partition_point(|(start, _)| *start <= at) - 1].1;
    let up = "super::".repeat(depth);
    let mut out = Vec::new();
    for root in ["crate::", up.as_str()] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
                continue;
            }
            let rest = &code[at + root.len()..];
            // Fewer steps up than the depth stay within the module; more cannot compile.
            out.extend(first_segments(rest).into_iter().filter(|n| n != "super").map(|name| (line_of(at), name)));
        }
    }
    out.sort();
    out
}

/// `a` of `a::b`, or the first segment of each member of `{a::b, c}`.
fn first_segments(path: &str) -> Vec<String> {
    let word = |s: &str| s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = path.strip_prefix('{') else { return vec![word(path)] };
    let (mut out, mut nesting, mut at_start) = (Vec::new(), 0, true);
    for (i, c) in group.char_indices() {
        match c {
            '{' => nesting += 1,
            '}' if nesting == 0 => break,
            '}' => nesting -= 1,
            ',' if nesting == 0 => at_start = true,
            c if at_start && !c.is_whitespace() => {
                out.push(word(&group[i..]));
                at_start = false;
            }
            _ => {}
        }
    }
    out
}

/// Names that lib.rs re-exports (`pub use error::{Error, Result};`), with the module each is from.
fn re_exports(lib: &str) -> HashMap<String, String> {
    let mut out = HashMap::new();
    let code: String = code_lines(lib).into_iter().map(|(_, line)| line.trim()).collect::<Vec<_>>().join(" ");
    for item in code.split(';').filter_map(|item| item.trim().strip_prefix("pub use ")) {
        let item = item.trim_start_matches("crate::").trim_start_matches("self::");
        let module = first_segments(item).remove(0);
        for word in item.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty() && *w != module) {
            out.insert(word.to_owned(), module.clone());
        }
    }
    out
}

/// Arrows against the order in one file. `path`: its place below `src`, e.g. `neighbors/exact.rs`.
fn wrong_arrows(path: &Path, text: &str, re_exports: &HashMap<String, String>) -> Vec<String> {
    let parts: Vec<&str> = path.iter().filter_map(|p| p.to_str()).collect();
    if path == Path::new("lib.rs") || parts.iter().any(|p| p.trim_end_matches(".rs") == "tests") {
        return Vec::new();
    }
    let module = parts[0].trim_end_matches(".rs");
    let depth = parts.len() - usize::from(parts.last() == Some(&"mod.rs"));
    let mut out = Vec::new();
    for (line, name) in names_from_root(text, depth) {
        let target = re_exports.get(&name).map_or(name.as_str(), String::as_str);
        match allowed(module, target) {
            Ok(true) => {}
            Ok(false) => {
                out.push(format!("{}:{line}: `{module}` uses `{target}`, which does not stand left of it", path.display()))
            }
            Err(problem) => out.push(format!("{}:{line}: {problem}", path.display())),
        }
    }
    out
}

fn rust_files(folder: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|e| e.path()) {
        if path.is_dir() {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
    out.sort();
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Sources of the packages below `core`, as (path from there, text).
fn sources() -> Vec<(PathBuf, String)> {
    sources_below("core")
}

/// Sources of the packages below a folder of the workspace, as (path from there, text).
fn sources_below(folder: &str) -> Vec<(PathBuf, String)> {
    let core = workspace().join(folder);
    let mut files = Vec::new();
    rust_files(&core, &mut files);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(&core).unwrap().to_path_buf(), text)
    };
    files.into_iter().map(read).filter(|(path, _)| path.iter().any(|p| p == "src")).collect()
}

#[test]
fn modules_use_only_what_stands_left_of_them() {
    let root = workspace().join("core/tutti/src");
    let re_exports = re_exports(&fs::read_to_string(root.join("lib.rs")).unwrap());
    let mut seen = 0;
    let mut problems = Vec::new();
    for (path, text) in sources() {
        if let Ok(path) = path.strip_prefix("tutti/src") {
            seen += 1;
            problems.extend(wrong_arrows(path, &text, &re_exports));
        }
    }
    assert!(seen > 5, "only {seen} files were found below {}", root.display());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn files_are_short_and_their_names_say_what_is_in_them() {
    let mut problems = BTreeSet::new();
    for (path, text) in sources().into_iter().chain(sources_below("jupyter")) {
        let names: Vec<&str> = path.iter().filter_map(|p| p.to_str()).map(|p| p.trim_end_matches(".rs")).collect();
        if let Some(name) = names.iter().find(|n| NAMES_THAT_SAY_NOTHING.contains(n)) {
            problems.insert(format!("{}: `{name}` says nothing; name it after what it holds", path.display()));
        }
        let lines = code_lines(&text).len();
        if lines > LINES_AT_MOST && !names.contains(&"tests") {
            problems.insert(format!("{}: {lines} lines without tests and comments; split it", path.display()));
        }
    }
    assert!(problems.is_empty(), "{}", problems.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn the_checker_finds_made_up_wrong_arrows() {
    let exports = re_exports("pub mod train;\npub use error::{Error, Result};\npub use train::Trainer;\n");
    assert_eq!(exports["Result"], "error");
    let check = |path: &str, text: &str| wrong_arrows(Path::new(path), text, &exports);

    let wrong = [
        ("loss/mod.rs", "use crate::train::Trainer;\n"),
        ("loss/nt_xent.rs", "use crate::{Result, Trainer};\n"),
        ("nn/mlp.rs", "use crate::{\n    data::{Cells, Csr},\n    loss::mse,\n};\n"),
        ("loss/nt_xent.rs", "fn f() { crate::optim::step() }\n"),
        ("loss/nt_xent.rs", "use super::super::systems::Concord;\n"),
        ("data/mod.rs", "use super::metrics;\n"),
        ("data/csr.rs", "#[cfg(test)]\nuse crate::data::Cells;\nuse crate::ops;\n"),
        ("data/csr.rs", "#[cfg(test)]\nmod tests {\n    use crate::ops;\n}\n\nuse crate::ops;\n"),
        ("simulate/mod.rs", "use crate::sampler::Sampler;\n"),
        ("systems/concord.rs", "use crate::simulate::simulate;\n"),
        ("novelty.rs", "use crate::data::Cells;\n"),
    ];
    for (path, text) in wrong {
        assert_eq!(check(path, text).len(), 1, "{path}: {text}");
    }
    assert_eq!(
        check("loss/mod.rs", "\n\nuse crate::train::Trainer;\n")[0],
        "loss/mod.rs:3: `loss` uses `train`, which does not stand left of it"
    );
}

#[test]
fn the_checker_lets_right_arrows_tests_and_comments_pass() {
    let exports = re_exports("pub use error::{Error, Result};\n");
    let right = [
        ("train/trainer.rs", "use crate::{Error, Result, loss::LossTerms};\n"),
        ("threads.rs", "use crate::error::Error;\n"),
        ("loss/nt_xent.rs", "use super::LossTerms;\nuse crate::loss::Reduction;\n"),
        (
            "loss/nt_xent.rs",
            "#[cfg(test)]\nmod tests {\n    use crate::train::Trainer;\n    fn f() {\n        let x = 1;\n    }\n}\n",
        ),
        ("loss/nt_xent.rs", "//! See [`crate::train`].\nlet x = 1; // as crate::train does\n"),
        ("loss/tests.rs", "use crate::train::Trainer;\n"),
        ("lib.rs", "pub use crate::train::Trainer;\n"),
        ("simulate/expression.rs", "use crate::rng::Rng;\nuse crate::data::Csr;\n"),
    ];
    for (path, text) in right {
        assert_eq!(wrong_arrows(Path::new(path), text, &exports), Vec::<String>::new(), "{path}: {text}");
    }
}
