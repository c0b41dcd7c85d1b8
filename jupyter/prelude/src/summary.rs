//! Cells in brief, as AnnData prints itself, with what one wants to know next.

use crate::cells::Cells;
use crate::column::Column;
use crate::display::{Content, Rich};
use crate::html::{block, counted, cut, escape, muted, number, thousands};
use crate::shown;
use crate::table::Table;

/// Columns, embeddings and others that are listed.
const LISTED: usize = 30;

/// A line of the summary: what it is, its name, and what is said of it.
struct Line {
    part: &'static str,
    name: String,
    what: String,
}

fn lines(cells: &Cells) -> Vec<Line> {
    let inner = &cells.inner;
    let line = |part, name: &str, what: String| Line { part, name: name.to_owned(), what };
    let mut out = vec![line("from", "", inner.data.path().display().to_string())];
    match cells.values() {
        Ok(Some(v)) => {
            let place = if cells.on_disk() { ", on the disk" } else { "" };
            let range =
                format!("{} to {}, {:.1} % non-zero", number(f64::from(v.min)), number(f64::from(v.max)), 100.0 * v.density);
            out.push(line("X", "", format!("{} ({}); {range}{place}", v.kind, v.reason)));
            if v.n_zero_cells > 0 || v.n_zero_genes > 0 {
                let empty =
                    format!("{} and {} without any value", counted(v.n_zero_cells, "cell"), counted(v.n_zero_genes, "gene"));
                out.push(line("", "", empty));
            }
        }
        Ok(None) => out.push(line("X", "", "none".into())),
        Err(error) => out.push(line("X", "", error.to_string())),
    }
    let obs = cells.obs_names();
    for name in obs.iter().take(LISTED) {
        out.push(line("obs", name, cells.obs(name).map_or_else(|e| e.to_string(), |c| c.brief())));
    }
    let var = inner.data.var();
    for column in var.columns().iter().take(LISTED) {
        let of_table = Table::new(var.clone()).column(column.name());
        out.push(line("var", column.name(), of_table.map_or_else(|e| e.to_string(), |c: Column| c.brief())));
    }
    for name in cells.obsm_names().iter().take(LISTED) {
        let width = cells.obsm(name).map(|e| counted(e.n_dimensions(), "dimension")).unwrap_or_default();
        out.push(line("obsm", name, width));
    }
    for name in cells.layer_names() {
        out.push(line("layers", &name, String::new()));
    }
    let more = [("obs", obs.len()), ("var", var.width()), ("obsm", cells.obsm_names().len())];
    for (part, n) in more.into_iter().filter(|(_, n)| *n > LISTED) {
        out.push(line(part, "", format!("… and {} more", n - LISTED)));
    }
    // A part is one run of lines.
    let order = ["from", "X", "", "obs", "var", "obsm", "layers"];
    out.sort_by_key(|l| order.iter().position(|part| *part == l.part));
    out.extend(inner.data.notes().iter().map(|note| line("note", "", note.clone())));
    out
}

impl Rich for Cells {
    fn content(&self) -> Content {
        let head = format!("{} cells × {} genes", thousands(self.n_cells()), thousands(self.n_genes()));
        let lines = lines(self);
        let (mut text, mut rows, mut last) = (head.clone(), String::new(), "");
        for line in &lines {
            let part = if line.part == last { "" } else { line.part };
            last = line.part;
            let name = if line.name.is_empty() { String::new() } else { format!("{}  ", line.name) };
            text += &format!("\n{part:<7} {name}{}", cut(&line.what, 160));
            let named =
                if line.name.is_empty() { String::new() } else { format!("<b>{}</b> &ensp;", escape(&cut(&line.name, 60))) };
            rows += &format!(
                "<tr style=\"background:none\"><td style=\"text-align:left;padding:0 14px 0 0;vertical-align:top\">{}</td>\
                 <td style=\"text-align:left;padding:0;white-space:normal\">{named}{}</td></tr>",
                muted(part),
                if line.name.is_empty() { escape(&line.what) } else { muted(&line.what) }
            );
        }
        let html = format!(
            "<b style=\"font-size:14px\">{head}</b><div style=\"max-height:460px;overflow:auto\"><table style=\"border:none;margin:2px 0\">{rows}</table></div>"
        );
        Content::text(text).with_html(block(&html))
    }
}

/// What a console shows.
impl std::fmt::Debug for Cells {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        shown::debug(self, &self.content().text, f)
    }
}
