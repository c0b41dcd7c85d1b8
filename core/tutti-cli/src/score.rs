//! `tutti score`: how good embeddings are, side by side.

use std::path::{Path, PathBuf};

use ndarray::Array2;
use serde_json::{Map, Value, json};
use tutti::data::Csr;
use tutti::downstream::{KMeansConfig, k_means};
use tutti::metrics::{Correlation, ScibConfig, ScibInput, ScibScores, distance_correlation, scib, trustworthiness};
use tutti::neighbors::Metric;
use tutti::threads::Threads;
use tutti_io::{AnnData, ReadOptions};

use crate::Result;
use crate::error::CliError;

/// Arguments of `tutti score`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// h5ad file with the labels and batches
    pub input: PathBuf,
    /// Embedding to score, may be repeated: a name in obsm, or a .csv, .tsv or .parquet file of cells x dimensions with the cell names
    /// first [default: all of obsm]
    #[arg(long, value_name = "NAME|FILE")]
    pub embedding: Vec<String>,
    /// Column of obs with the cell type
    #[arg(long, value_name = "COLUMN")]
    pub label: String,
    /// Column of obs with the experimental batch
    #[arg(long, value_name = "COLUMN")]
    pub batch: String,
    /// Embedding before integration, for the comparison of explained variance [default: X_pca where there is one]
    #[arg(long, value_name = "NAME|FILE")]
    pub before: Option<String>,
    /// What the cells truly are, to compare distances and neighbourhoods with: a name in obsm, a layer or a file
    #[arg(long, value_name = "NAME|FILE")]
    pub truth: Option<String>,
    /// Distance: `euclidean`, as scIB takes it, or `cosine`
    #[arg(long, value_name = "NAME", default_value = "euclidean", value_parser = ["euclidean", "cosine"])]
    pub metric: String,
    /// Write the scores to this .csv or .json file too
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print the scores as one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    /// Threads [default: all processors]
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Seed of the clusters
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

/// One embedding and its scores.
struct Scored {
    name: String,
    scores: ScibScores,
    trustworthiness: Option<f64>,
    distance_correlation: Option<f64>,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> Result<()> {
    if let Some(path) = &arguments.output {
        ending(path)?;
    }
    let data = tutti_io::read(&arguments.input, &ReadOptions::default())?;
    let (label, batch) = (data.categorical(&arguments.label)?, data.categorical(&arguments.batch)?);
    let names: Vec<String> = match &arguments.embedding[..] {
        [] => data.obsm().keys().cloned().collect(),
        names => names.to_vec(),
    };
    if names.is_empty() {
        let problem = format!("{} has nothing in obsm; give an embedding with --embedding FILE", arguments.input.display());
        return Err(CliError::Usage(problem));
    }
    let before = match &arguments.before {
        Some(name) => Some(embedding(&data, name)?),
        None => data.obsm().get("X_pca").cloned(),
    };
    let metric = if arguments.metric == "cosine" { Metric::Cosine } else { Metric::Euclidean };
    let threads = Threads::new(arguments.threads)?;
    let truth = arguments.truth.as_ref().map(|name| truth(&data, name)).transpose()?;
    let mut scored = Vec::new();
    for name in names {
        let x = embedding(&data, &name)?;
        scored.push(threads.run(|| -> Result<Scored> {
            let config = KMeansConfig { n_clusters: label.n_levels().min(x.nrows()), seed: arguments.seed, ..Default::default() };
            let clusters = k_means(x.view(), &config)?.labels;
            let input = ScibInput {
                embedding: x.view(),
                label: &label,
                batch: &batch,
                clusters: Some(&clusters),
                before: before.as_ref().map(|b| b.view()),
            };
            let scores = scib(&input, &ScibConfig { metric, ..Default::default() })?;
            let mut scored = Scored { name, scores, trustworthiness: None, distance_correlation: None };
            if let Some(truth) = &truth {
                let n_neighbors: Vec<usize> = (1..=10).map(|k| 10 * k).filter(|k| 2 * k < x.nrows()).collect();
                let trusted = trustworthiness(truth.view(), x.view(), &n_neighbors, metric)?;
                scored.trustworthiness = (!trusted.is_empty()).then(|| trusted.iter().sum::<f64>() / trusted.len() as f64);
                let seed = arguments.seed;
                scored.distance_correlation =
                    Some(distance_correlation(truth.view(), x.view(), metric, Correlation::Pearson, seed)?);
            }
            Ok(scored)
        })?);
    }
    scored.sort_by(|a, b| b.scores.total().unwrap_or(0.0).total_cmp(&a.scores.total().unwrap_or(0.0)));
    if let Some(path) = &arguments.output {
        let text = if ending(path)? == "json" { format!("{}\n", as_json(&scored)?) } else { as_csv(&scored)? };
        std::fs::write(path, text).map_err(|source| tutti_io::Error::Io { path: path.clone(), source })?;
    }
    if arguments.json {
        say!("{}", as_json(&scored)?);
    } else {
        print_table(&scored)?;
    }
    Ok(())
}

fn ending(path: &Path) -> Result<&str> {
    match path.extension().and_then(|e| e.to_str()) {
        Some(ending @ ("csv" | "json")) => Ok(ending),
        _ => Err(CliError::Usage(format!("-o {}: give a .csv or .json file", path.display()))),
    }
}

/// An embedding of the cells of `data`, or one of the layers of its file.
fn truth(data: &AnnData, name: &str) -> Result<Array2<f32>> {
    if data.obsm().contains_key(name) || Path::new(name).exists() {
        return embedding(data, name);
    }
    let options = ReadOptions { layer: Some(name.to_owned()), ..ReadOptions::default() };
    let layer = tutti_io::read(data.path(), &options)?;
    let mut rows = Csr::empty(layer.n_genes());
    layer.x().source()?.read_range(0..layer.n_cells(), &mut rows)?;
    Ok(rows.to_dense())
}

/// An embedding of the cells of `data`, in their order.
fn embedding(data: &AnnData, name: &str) -> Result<Array2<f32>> {
    if let Some(x) = data.obsm().get(name) {
        return Ok(x.clone());
    }
    let path = Path::new(name);
    if !path.exists() {
        let known: Vec<&str> = data.obsm().keys().map(String::as_str).collect();
        let problem = format!("`{name}` is neither in obsm ({}) nor a file", known.join(", "));
        return Err(CliError::Usage(problem));
    }
    let table = tutti_io::read(path, &ReadOptions::default())?;
    let place: std::collections::HashMap<&String, usize> = table.cell_names().iter().zip(0..).collect();
    let rows: Option<Vec<usize>> = data.cell_names().iter().map(|cell| place.get(cell).copied()).collect();
    let Some(rows) = rows else {
        let lacking = data.cell_names().iter().filter(|cell| !place.contains_key(cell)).count();
        let first = data.cell_names().iter().find(|cell| !place.contains_key(cell)).cloned().unwrap_or_default();
        let problem = format!("{name} lacks {lacking} of {} cells, the first is `{first}`", data.n_cells());
        return Err(CliError::Science(tutti::Error::Data { problem, fix: "its first column must hold the cell names".into() }));
    };
    let mut out = Csr::empty(table.n_genes());
    table.x().source()?.read_rows(&rows, &mut out)?;
    Ok(out.to_dense())
}

/// Scores by name, sums and geometry last.
fn values(scored: &Scored) -> Result<Map<String, Value>> {
    let mut out = match serde_json::to_value(scored.scores) {
        Ok(Value::Object(map)) => map,
        _ => return Err(CliError::Usage("the scores cannot be written".into())),
    };
    out.insert("bio_conservation".into(), json!(scored.scores.bio_conservation()));
    out.insert("batch_correction".into(), json!(scored.scores.batch_correction()));
    out.insert("total".into(), json!(scored.scores.total()));
    out.insert("trustworthiness".into(), json!(scored.trustworthiness));
    out.insert("distance_correlation".into(), json!(scored.distance_correlation));
    Ok(out)
}

/// What the rows of the table are called, in their order.
const ROWS: [(&str, &str); 14] = [
    ("isolated_labels", "isolated labels"),
    ("nmi", "NMI of k-means"),
    ("ari", "ARI of k-means"),
    ("label_silhouette", "label silhouette"),
    ("clisi", "cLISI"),
    ("bio_conservation", "= biology kept"),
    ("batch_silhouette", "batch silhouette"),
    ("ilisi", "iLISI"),
    ("graph_connectivity", "graph connectivity"),
    ("pcr_comparison", "PCR comparison"),
    ("batch_correction", "= batches gone"),
    ("total", "total (0.6, 0.4)"),
    ("trustworthiness", "trustworthiness"),
    ("distance_correlation", "distances, Pearson"),
];

fn print_table(scored: &[Scored]) -> Result<()> {
    let width = |name: &str| name.chars().count().max(8) + 2;
    let head: String = scored.iter().map(|s| format!("{:>width$}", s.name, width = width(&s.name))).collect();
    say!("{:<22}{head}", "more is better");
    let columns: Vec<Map<String, Value>> = scored.iter().map(values).collect::<Result<_>>()?;
    // Rows that no embedding has say nothing: without a truth there is no geometry.
    for (key, title) in ROWS.iter().filter(|(key, _)| columns.iter().any(|c| !c[*key].is_null())) {
        let cell = |(scored, column): (&Scored, &Map<String, Value>)| match column[*key].as_f64() {
            Some(score) => format!("{score:>width$.3}", width = width(&scored.name)),
            None => format!("{:>width$}", "-", width = width(&scored.name)),
        };
        say!("{title:<22}{}", scored.iter().zip(&columns).map(cell).collect::<String>());
    }
    Ok(())
}

fn as_json(scored: &[Scored]) -> Result<Value> {
    let all = scored.iter().map(|s| Ok((s.name.clone(), Value::Object(values(s)?)))).collect::<Result<_>>()?;
    Ok(Value::Object(all))
}

fn as_csv(scored: &[Scored]) -> Result<String> {
    let mut out = format!("embedding,{}\n", ROWS.map(|(key, _)| key).join(","));
    for s in scored {
        let values = values(s)?;
        let cells = ROWS.map(|(key, _)| values[key].as_f64().map_or(String::new(), |v| v.to_string()));
        let name = if s.name.contains([',', '"']) { format!("\"{}\"", s.name.replace('"', "\"\"")) } else { s.name.clone() };
        out += &format!("{name},{}\n", cells.join(","));
    }
    Ok(out)
}
