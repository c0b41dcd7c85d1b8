//! Scores and topology of embeddings.

use extendr_api::prelude::*;
use tutti::benchmark::{BenchmarkConfig, BenchmarkInput, Family, benchmark};
use tutti::metrics::{Interval, TopologyConfig, betti_curves, persistence, topology_score};
use tutti::neighbors::Metric;
use tutti::threads::Threads;

use crate::guard::{Failure, guard};
use crate::matrix::{dense, factor, field, number, optional, text};

type Outcome<T> = std::result::Result<T, Failure>;

/// The metric that `options` names.
pub fn metric(options: &Robj) -> Outcome<Metric> {
    let name = text(options, "metric")?;
    serde_json::from_value(name.as_str().into())
        .map_err(|_| Failure::new("argument", format!("`metric` is \"{name}\"; give \"euclidean\" or \"cosine\"")))
}

/// Its name in R.
pub fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::Euclidean => "euclidean",
        Metric::Cosine => "cosine",
    }
}

fn betti(options: &Robj) -> Outcome<Option<Vec<usize>>> {
    let Some(values) = optional(options, "betti")? else { return Ok(None) };
    let wrong = || Failure::new("argument", "`betti` must be three whole numbers, e.g. c(0, 1, 0) for a loop");
    let values = values.as_real_vector().ok_or_else(wrong)?;
    Ok(Some(values.into_iter().map(|v| v as usize).collect()))
}

/// Scores of one embedding. `input`: embedding, label, batch, before, truth; `options`: metric, betti, seed, threads, max_cells.
#[extendr]
fn rust_score(input: Robj, options: Robj) -> Robj {
    guard(|| {
        let x = dense(&field(&input, "embedding")?)?;
        let (label, batch) = (factor(&field(&input, "label")?)?, factor(&field(&input, "batch")?)?);
        let before = optional(&input, "before")?.map(|m| dense(&m)).transpose()?;
        let truth = optional(&input, "truth")?.map(|m| dense(&m)).transpose()?;
        let betti = betti(&options)?
            .map(|b| <[usize; 3]>::try_from(b).map_err(|_| Failure::new("argument", "`betti` must be three numbers")))
            .transpose()?;
        let given = BenchmarkInput {
            label: &label,
            batch: &batch,
            before: before.as_ref().map(|m| m.view()),
            truth: truth.as_ref().map(|m| m.view()),
            betti,
        };
        let config = BenchmarkConfig { metric: metric(&options)?, seed: number(&options, "seed")? as u64, ..Default::default() };
        let threads = Threads::new(number(&options, "threads")? as usize)?;
        let scores = threads.run(|| benchmark(x.view(), &given, &config))?.scores();
        let family = |f: Family| match f {
            Family::Biology => "biology",
            Family::Batch => "batch",
            Family::Total => "total",
            Family::Geometry => "geometry",
            Family::Topology => "topology",
        };
        Ok(List::from_pairs([
            ("family", Robj::from(scores.iter().map(|s| family(s.family)).collect::<Vec<_>>())),
            ("score", scores.iter().map(|s| s.key).collect::<Vec<_>>().into()),
            ("title", scores.iter().map(|s| s.title).collect::<Vec<_>>().into()),
            ("is_aggregate", scores.iter().map(|s| s.is_aggregate).collect::<Vec<_>>().into()),
            ("value", scores.iter().map(|s| s.value.unwrap_or(f64::NAN)).collect::<Vec<_>>().into()),
        ])
        .into())
    })
}

/// Persistence diagrams and Betti curves. `options`: metric, max_dim, max_points, threshold, seed, threads, n_bins, betti.
#[extendr]
fn rust_topology(embedding: Robj, options: Robj) -> Robj {
    guard(|| {
        let x = dense(&embedding)?;
        let config = TopologyConfig {
            metric: metric(&options)?,
            max_dim: number(&options, "max_dim")? as usize,
            max_points: number(&options, "max_points")? as usize,
            threshold: optional(&options, "threshold")?.and_then(|t| t.as_real()),
            seed: number(&options, "seed")? as u64,
        };
        let threads = Threads::new(number(&options, "threads")? as usize)?;
        let diagrams = threads.run(|| persistence(x.view(), &config))?;
        let n_bins = number(&options, "n_bins")? as usize;
        let curves = betti_curves(&diagrams, n_bins)?;
        let lines: Vec<(usize, &Interval)> =
            diagrams.iter().enumerate().flat_map(|(d, all)| all.iter().map(move |i| (d, i))).collect();
        let score = betti(&options)?.map(|expected| topology_score(&diagrams, &expected, n_bins)).transpose()?;
        let points: Vec<(usize, f64, usize)> = curves
            .iter()
            .enumerate()
            .flat_map(|(d, c)| c.lengths.iter().zip(&c.betti).map(move |(length, betti)| (d, *length, *betti)))
            .collect();
        let curve_columns = List::from_pairs([
            ("dimension", Robj::from(points.iter().map(|p| p.0 as i32).collect::<Vec<_>>())),
            ("length", points.iter().map(|p| p.1).collect::<Vec<_>>().into()),
            ("betti", points.iter().map(|p| p.2 as i32).collect::<Vec<_>>().into()),
        ]);
        let diagram_columns = List::from_pairs([
            ("dimension", Robj::from(lines.iter().map(|(d, _)| *d as i32).collect::<Vec<_>>())),
            ("birth", lines.iter().map(|(_, i)| i.birth).collect::<Vec<_>>().into()),
            ("death", lines.iter().map(|(_, i)| i.death).collect::<Vec<_>>().into()),
        ]);
        let summary = List::from_pairs([
            ("dimension", Robj::from((0..curves.len() as i32).collect::<Vec<_>>())),
            ("betti", curves.iter().map(|c| c.mode() as i32).collect::<Vec<_>>().into()),
            ("stability", curves.iter().map(|c| c.stability()).collect::<Vec<_>>().into()),
            ("entropy", curves.iter().map(|c| c.entropy()).collect::<Vec<_>>().into()),
        ]);
        Ok(List::from_pairs([
            ("diagram", Robj::from(diagram_columns)),
            ("curves", curve_columns.into()),
            ("summary", summary.into()),
            ("score", score.map_or(().into(), |s| s.score.into())),
        ])
        .into())
    })
}

extendr_module! {
    mod score;
    fn rust_score;
    fn rust_topology;
}
