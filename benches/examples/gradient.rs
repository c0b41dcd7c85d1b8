//! CONCORD with gradient through one view or both, on h5ad files with obs columns `batch` and `cell_type`:
//! `gradient N_SEEDS FILE...`. Prints the mean and standard error of each score, and the seconds of training.

use tutti::metrics::{ScoreConfig, Scores, score};
use tutti::neighbors::Metric;
use tutti::observe::{CancelToken, Silent};
use tutti::preprocess::{Normalized, TargetSum, to_memory};
use tutti::systems::concord::{Concord, ConcordColumns, ConcordConfig, Preset};
use tutti::threads::Threads;
use tutti_io::{AnnData, ReadOptions, read};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let n_seeds: u64 = arguments.next().and_then(|a| a.parse().ok()).unwrap_or(5);
    println!("| data | preset | gradient | label silhouette | batch silhouette | label purity | same-batch ratio | seconds |");
    println!("|---|---|---|---|---|---|---|---|");
    for file in arguments {
        let data = read(file.as_ref(), &ReadOptions::default())?;
        for preset in [Preset::HardNegative, Preset::Knn] {
            for symmetric_gradient in [false, true] {
                let runs: Vec<(Scores, f64)> = (0..n_seeds)
                    .map(|seed| run(&data, ConcordConfig { seed, symmetric_gradient, ..ConcordConfig::preset(preset) }))
                    .collect::<Result<_, _>>()?;
                let cell = |value: fn(&(Scores, f64)) -> f64| mean_and_error(&runs.iter().map(value).collect::<Vec<_>>());
                println!(
                    "| {} | {preset:?} | {} | {} | {} | {} | {} | {} |",
                    data.path().file_stem().map(|s| s.to_string_lossy()).unwrap_or_default(),
                    if symmetric_gradient { "both views" } else { "first view" },
                    cell(|r| r.0.label_silhouette.unwrap_or(f64::NAN)),
                    cell(|r| r.0.batch_silhouette.unwrap_or(f64::NAN)),
                    cell(|r| r.0.knn_purity.unwrap_or(f64::NAN)),
                    cell(|r| r.0.same_batch_ratio),
                    cell(|r| r.1),
                );
            }
        }
    }
    Ok(())
}

fn run(data: &AnnData, config: ConcordConfig) -> Result<(Scores, f64), Failure> {
    let (label, batch) = (data.categorical("cell_type")?, data.categorical("batch")?);
    let cells = data.cells(&["batch"])?;
    let values = to_memory(&Normalized::new(cells.shared_source(), Some(TargetSum::Fixed(1e4)), true)?)?;
    let cells = cells.with_source(values, data.gene_names().to_vec())?;
    let columns = ConcordColumns { batch: Some("batch".into()), label: None };
    let mut trainer = Concord::trainer(&cells, &columns, config, &candle_core::Device::Cpu, Threads::new(0)?)?;
    trainer.train(&mut Silent, &CancelToken::default())?;
    let (seconds, _) = trainer.speed();
    let z = trainer.finish()?.0.embed(cells.source())?;
    let config = ScoreConfig { metric: Metric::Cosine, ..Default::default() };
    Ok((score(z.view(), Some(&label), &batch, &config)?, seconds))
}

fn mean_and_error(values: &[f64]) -> String {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    format!("{mean:.3} ± {:.3}", (variance / n).sqrt())
}
