//! Tables of two columns: orthologues, markers of classes.

use std::io::BufRead;
use std::path::Path;

use crate::error::{Error, InFile, Result};
use crate::mtx::open_text;

/// Pairs of genes from the first two columns of a CSV or TSV file, plain or gzipped, as they stand. Lines that begin with `#` and lines with an empty
/// field are left out. A line of titles is one pair more, whose names no gene has.
///
/// # Errors
/// [`Error::Format`] for a line with a single column or a file without pairs, which names the line.
pub fn read_orthologues(path: &Path) -> Result<Vec<(String, String)>> {
    read_pairs(path, "a gene of each species")
}

/// Pairs of a class and one of its marker genes, read as [`read_orthologues`], without a line of titles: one that has `gene`, `marker` or `symbol` for
/// the gene.
///
/// # Errors
/// As [`read_orthologues`].
pub fn read_markers(path: &Path) -> Result<Vec<(String, String)>> {
    let mut pairs = read_pairs(path, "a class and a gene")?;
    if pairs.len() > 1 && ["gene", "marker", "symbol"].iter().any(|title| pairs[0].1.eq_ignore_ascii_case(title)) {
        pairs.remove(0);
    }
    Ok(pairs)
}

/// `what`: the two columns, for messages.
fn read_pairs(path: &Path, what: &str) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut separator = None;
    for (i, line) in open_text(path)?.lines().enumerate() {
        let line = line.in_file(path, "")?;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let separator = *separator.get_or_insert(if line.contains('\t') { '\t' } else { ',' });
        let mut fields = line.split(separator).map(|field| field.trim().trim_matches('"').to_owned());
        let (Some(a), Some(b)) = (fields.next(), fields.next()) else {
            let problem = format!("line {}: `{line}` has one column", i + 1);
            return Err(Error::format(path, problem, format!("give two columns, separated by commas or tabs: {what}")));
        };
        if !a.is_empty() && !b.is_empty() {
            pairs.push((a, b));
        }
    }
    if pairs.is_empty() {
        return Err(Error::format(path, "there are no pairs", format!("give two columns: {what}")));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_tabs_quotes_and_gaps_are_read_and_a_single_column_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("o.csv");
        for text in
            ["human,mouse,more\nINS,Ins1,x\nGCG,\nSST,Sst\n", "# made up\n\"human\"\t\"mouse\"\n\nINS\tIns1\nSST\tSst\t1\n"]
        {
            std::fs::write(&path, text).unwrap();
            let pairs = read_orthologues(&path).unwrap();
            let expected = [("human", "mouse"), ("INS", "Ins1"), ("SST", "Sst")].map(|(a, b)| (a.to_owned(), b.to_owned()));
            assert_eq!(pairs, expected);
        }
        std::fs::write(&path, "INS,Ins1\nGCG\n").unwrap();
        assert!(read_orthologues(&path).unwrap_err().to_string().contains("line 2: `GCG` has one column"));
        assert!(read_markers(&path).unwrap_err().to_string().contains("a class and a gene"));
        std::fs::write(&path, "# published\nclass,gene\nalpha,GCG\nbeta,INS\n").unwrap();
        let expected = [("alpha", "GCG"), ("beta", "INS")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(read_markers(&path).unwrap(), expected);
        std::fs::write(&path, "").unwrap();
        assert!(read_orthologues(&path).unwrap_err().to_string().contains("no pairs"));
    }
}
