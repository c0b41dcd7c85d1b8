//! Scores side by side: on the screen, and as CSV, TSV, Parquet or JSON.

use std::path::Path;

use serde_json::{Map, Value, json};
use tutti::benchmark::Score;
use tutti_io::ObsColumn;

use crate::Result;
use crate::error::CliError;

/// One embedding and its scores; all embeddings have the same ones, in the same order.
#[derive(Debug, Clone)]
pub struct Scored {
    /// The embedding.
    pub name: String,
    /// Its scores.
    pub scores: Vec<Score>,
}

impl Scored {
    /// A score by its name in files.
    pub fn value(&self, key: &str) -> Option<f64> {
        self.scores.iter().find(|s| s.key == key).and_then(|s| s.value)
    }
}

/// Refuses names of files that [`write()`] does not know, before anything is computed.
pub fn ending(path: &Path) -> Result<&str> {
    match path.extension().and_then(|e| e.to_str()) {
        Some(ending @ ("csv" | "tsv" | "parquet" | "json")) => Ok(ending),
        _ => Err(CliError::Usage(format!("-o {}: give a .csv, .tsv, .parquet or .json file", path.display()))),
    }
}

/// Writes the scores, a row per embedding.
pub fn write(path: &Path, scored: &[Scored]) -> Result<()> {
    if ending(path)? == "json" {
        return Ok(std::fs::write(path, format!("{}\n", as_json(scored)))
            .map_err(|source| tutti_io::Error::Io { path: path.to_owned(), source })?);
    }
    let names = scored.iter().map(|s| Some(s.name.clone())).collect();
    let mut columns = vec![("embedding".to_owned(), ObsColumn::Text(names))];
    for (i, score) in scored.first().map_or(&[][..], |s| &s.scores).iter().enumerate() {
        let values = scored.iter().map(|s| s.scores[i].value.map_or(f32::NAN, |v| v as f32)).collect();
        columns.push((score.key.to_owned(), ObsColumn::Float(values)));
    }
    Ok(tutti_io::write_table(path, &columns)?)
}

/// One object per embedding, by name.
pub fn as_json(scored: &[Scored]) -> Value {
    let object = |s: &Scored| Value::Object(s.scores.iter().map(|score| (score.key.to_owned(), json!(score.value))).collect());
    Value::Object(scored.iter().map(|s| (s.name.clone(), object(s))).collect::<Map<_, _>>())
}

/// Prints a column per embedding. Scores that none has say nothing and are left out: without a truth there is no geometry.
pub fn print(scored: &[Scored]) {
    let width = |s: &Scored| s.name.chars().count().max(8) + 2;
    say!(
        "{:<26}{}",
        "more is better",
        scored.iter().map(|s| format!("{:>width$}", s.name, width = width(s))).collect::<String>()
    );
    for i in (0..n_scores(scored)).filter(|i| scored.iter().any(|s| s.scores[*i].value.is_some())) {
        let cell = |s: &Scored| match s.scores[i].value {
            Some(value) => format!("{value:>width$.3}", width = width(s)),
            None => format!("{:>width$}", "-", width = width(s)),
        };
        say!("{:<26}{}", scored[0].scores[i].title, scored.iter().map(cell).collect::<String>());
    }
}

fn n_scores(scored: &[Scored]) -> usize {
    scored.first().map_or(0, |s| s.scores.len())
}
