//! Labels of a reference carried to a query by CellPredX and others, on real pairs and on simulated ones: one table.
//!
//! `cargo run --example annotation -- DATA OUT.md speed` takes the time of 50,000 reference and 50,000 query cells instead.
//!
//! `cargo run --example annotation -- DATA OUT.md [SEEDS] [METHOD=PYTHON ...] [only=TASK,...] [just=METHOD;...] [set=NAME:VALUE,...]
//! [concerto=NAME:VALUE,...]`. DATA: folder of the
//! h5ad files; METHOD: one of `peers/annotate.py`; `only` chooses by the beginnings of names, `just` by whole ones; `set` changes settings of CellPredX, `concerto` those of Concerto. Cells of types
//! that the reference lacks are unknown: a method should be unsure of them.
//!
//! Every score is kept in OUT.jsonl as soon as it is there, and none that is there is taken again: a run that was cut off goes on, and the table is made
//! from all runs.

mod tasks;

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use candle_core::Device;
use ndarray::{Array2, ArrayView2, s};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tutti::data::Categorical;
use tutti::downstream::{TransferConfig, novelty_beside, transfer_labels};
use tutti::metrics::{Confusion, auroc, oscr};
use tutti::model::{PredictedClasses, System, with_settings};
use tutti::neighbors::Metric;
use tutti::observe::{CancelToken, Silent};
use tutti::preprocess::{PcaConfig, Preprocessing, pca, to_memory};
use tutti::simulate::{BatchEffect, Batches, Clusters, EffectKind, Simulation, Spec, Structure};
use tutti::systems::cellpredx::{CellPredX, CellPredXConfig, CellPredXInput, Preset, Scenario, UNKNOWN_BELOW};
use tutti::systems::concerto::{Concerto, ConcertoConfig};
use tutti::systems::concord::{Concord, ConcordColumns, ConcordConfig};
use tutti::threads::Threads;
use tutti::train::Trainer;
use tutti_benches::interval;
use tutti_io::{Additions, ObsColumn, write_layers};

use self::tasks::{Task, tasks};

/// Cells of each side in the measurement of speed, and their genes.
const LARGE: (usize, usize) = (50_000, 2000);

/// Methods in the order of the table.
const METHODS: [&str; 10] = [
    "CellPredX",
    "CellPredX, vote of 15 neighbours",
    "CellPredX, paper",
    "CellPredX, reference code",
    "vote of 15 neighbours, PCA",
    "vote of 15 neighbours, CONCORD",
    "vote of 15 neighbours, Concerto",
    "logistic",
    "celltypist",
    "scanvi",
];

/// Tasks in the order of the table.
const TASKS: [&str; 16] = [
    "pancreas Xin to Wang",
    "pancreas Xin to Wang, without alpha",
    "pancreas Xin to Wang, without beta",
    "pancreas Xin to Wang, without delta",
    "pancreas Xin to Wang, without gamma",
    "pancreas human to mouse",
    "pancreas mouse to human",
    "PBMC, query 3pv1",
    "PBMC, query 3pv2",
    "PBMC, query 5p",
    "dendritic Batch1 to Batch2",
    "dendritic Batch2 to Batch1",
    "multiome RNA to gene activity",
    "simulated, weak batch effect",
    "simulated, strong batch effect",
    "simulated, two new types, strong batch effect",
];

type Failure = Box<dyn std::error::Error>;

/// The scores of one method in one task: those of [`score`], in its order.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Run {
    task: String,
    method: String,
    seed: u64,
    scores: [Option<f64>; 8],
}

/// What is asked for, and where its scores are kept.
struct Asked<'a> {
    settings: Map<String, Value>,
    concerto: Map<String, Value>,
    peers: Vec<(&'a str, &'a str)>,
    just: Option<Vec<&'a str>>,
    runs: Vec<Run>,
    log: File,
}

impl Asked<'_> {
    /// Whether a method is still to be run.
    fn wants(&self, task: &Task, method: &str, seed: u64) -> bool {
        self.just.as_ref().is_none_or(|names| names.contains(&method))
            && !self.runs.iter().any(|r| r.task == task.name && r.method == method && r.seed == seed)
    }

    /// Scores a method and keeps that.
    fn add(&mut self, task: &Task, method: &str, seed: u64, found: &Found, seconds: f64) -> Result<(), Failure> {
        let scores = score(task, found, seconds)?;
        eprintln!("{}, {method}, seed {seed}: {scores:.3?}", task.name);
        let scores = scores.map(|v| v.is_finite().then_some(v));
        let run = Run { task: task.name.clone(), method: method.to_owned(), seed, scores };
        writeln!(self.log, "{}", serde_json::to_string(&run)?)?;
        self.runs.push(run);
        Ok(())
    }
}

/// Classes and their probabilities for the query cells, and how far these are from the reference in the embedding ([`distance`]), where there is one.
struct Found {
    classes: PredictedClasses,
    distance: Option<Vec<f32>>,
}

fn main() -> Result<(), Failure> {
    // SAFETY: this is the first thing that the program does; no other thread is there to read the environment.
    unsafe { tutti_io::set_library_defaults() };
    let mut arguments = std::env::args().skip(1);
    let usage = "give DATA OUT.md [SEEDS] [METHOD=PYTHON ...] [only=TASK,...] [just=METHOD;...] [set=NAME:VALUE,...] [concerto=NAME:VALUE,...]";
    let (data, out) = (PathBuf::from(arguments.next().ok_or(usage)?), PathBuf::from(arguments.next().ok_or(usage)?));
    let rest: Vec<String> = arguments.collect();
    if rest.iter().any(|a| a == "speed") {
        return speed(&out);
    }
    let n_seeds: u64 = rest.first().and_then(|a| a.parse().ok()).unwrap_or(1);
    let pairs: Vec<(&str, &str)> = rest.iter().filter_map(|a| a.split_once('=')).collect();
    let option = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
    let list = |name: &str| option(name).map(|names| names.split(',').collect::<Vec<_>>());
    let peers: Vec<(&str, &str)> =
        pairs.iter().copied().filter(|(n, _)| !["only", "set", "concerto", "just"].contains(n)).collect();
    let changes = |name: &str| -> Result<Map<String, Value>, Failure> {
        let one = |one: &str| {
            let (name, value) = one.split_once(':').ok_or(usage)?;
            Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::from(value))))
        };
        list(name).unwrap_or_default().into_iter().map(one).collect()
    };
    let (settings, concerto) = (changes("set")?, changes("concerto")?);
    let kept = out.with_extension("jsonl");
    let log = OpenOptions::new().create(true).append(true).open(&kept)?;
    let lines = BufReader::new(File::open(&kept)?).lines();
    let runs = lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect::<Result<Vec<Run>, Failure>>()?;
    let mut asked = Asked { settings, concerto, peers, just: option("just").map(|names| names.split(';').collect()), runs, log };
    let only = list("only");
    for seed in 0..n_seeds {
        for task in tasks(&data, seed, only.as_deref())? {
            run(&task, &mut asked, seed)?;
            std::fs::write(&out, table(&asked.runs)?)?;
        }
    }
    Ok(())
}

/// Means over the seeds: the main scores with a column per method, then all scores with their intervals.
fn table(runs: &[Run]) -> Result<String, Failure> {
    let values = |task: &str, method: &str, score: usize| -> Vec<f64> {
        runs.iter().filter(|r| r.task == task && r.method == method).filter_map(|r| r.scores[score]).collect()
    };
    let of = |methods: &[&'static str]| -> Vec<&'static str> {
        methods.iter().copied().filter(|m| runs.iter().any(|r| r.method == *m)).collect()
    };
    let mut table = String::new();
    for (title, score) in [
        ("Accuracy", 0),
        ("Macro F1", 1),
        ("AUROC of unknown types, by probability", 2),
        ("The same, by distance from the reference", 3),
    ] {
        let methods: Vec<&str> =
            of(&METHODS).into_iter().filter(|m| TASKS.iter().any(|t| !values(t, m, score).is_empty())).collect();
        writeln!(table, "### {title}\n\n| | {} |\n|---|{}", methods.join(" | "), "---|".repeat(methods.len()))?;
        for task in TASKS {
            let means: Vec<Option<f64>> = methods
                .iter()
                .map(|m| values(task, m, score))
                .map(|v| (!v.is_empty()).then(|| v.iter().sum::<f64>() / v.len() as f64))
                .collect();
            let best = means.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
            let cells = means.iter().map(|mean| match mean {
                Some(mean) if *mean > best - 5e-4 => format!("**{mean:.3}**"),
                Some(mean) => format!("{mean:.3}"),
                None => String::new(),
            });
            if best.is_finite() {
                writeln!(table, "| {task} | {} |", cells.collect::<Vec<_>>().join(" | "))?;
            }
        }
        writeln!(table)?;
    }
    table.push_str(
        "### All scores\n\n| task | method | seeds | accuracy | macro F1 | AUROC of unknown | by distance | OSCR | known kept at .95 | their accuracy | seconds |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (task, method) in TASKS.iter().flat_map(|task| of(&METHODS).into_iter().map(move |method| (task, method))) {
        let n_seeds = runs.iter().filter(|r| r.task == *task && r.method == method).count();
        if n_seeds > 0 {
            let cells: Vec<String> = (0..8).map(|score| interval(&values(task, method, score))).collect();
            writeln!(table, "| {task} | {method} | {n_seeds} | {} |", cells.join(" | "))?;
        }
    }
    Ok(table)
}

/// Seconds from log-normalised cells in memory to classes of all of them, by scenario.
fn speed(out: &Path) -> Result<(), Failure> {
    let factors = BatchEffect { dispersion: Some(0.3), ..BatchEffect::new(EffectKind::GeneFactors) };
    let batches = Batches { n: 2, effects: vec![factors], ..Default::default() };
    let structure = Structure::Clusters(Clusters { n: 20, ..Default::default() });
    let base = Spec::preset("rna_atac")?;
    let spec = Spec { n_cells: 2 * LARGE.0, n_genes: LARGE.1, structure, batches, modality: None, min_level: 0.05, ..base };
    let simulation = Simulation::new(&spec)?;
    let threads = Threads::new(0)?;
    let counts = simulation.cells()?;
    let logged = threads.run(|| to_memory(&Preprocessing::COUNTS.apply(counts.shared_source())?))?;
    let density = logged.nnz() as f64 / (logged.n_rows() * logged.n_cols()) as f64;
    let cells = counts.with_source(logged, simulation.gene_names().to_vec())?;
    let is_query: Vec<bool> = cells.column("batch")?.codes().iter().map(|b| *b == Some(1)).collect();
    let labels = cells.column("cell_type")?.clone();
    let mut table = format!(
        "{} + {} cells x {} genes, {:.0} % of the values not zero, {} threads.\n\n| scenario | steps | to the first step, s | training, s | embedding and classes, s | all, s | accuracy |\n|---|---|---|---|---|---|---|\n",
        LARGE.0,
        LARGE.0,
        LARGE.1,
        100.0 * density,
        threads.n_threads()
    );
    for scenario in [Scenario::RnaToRna, Scenario::UnmatchedRnaToAtac] {
        let started = Instant::now();
        let input = CellPredXInput { labels: labels.clone(), is_query: is_query.clone(), batch: None };
        let config = CellPredXConfig::preset(Preset::Default, scenario);
        let mut trainer = CellPredX::trainer(&cells, &input, config, &Device::Cpu, Threads::new(0)?)?;
        trainer.train(&mut Silent, &CancelToken::default())?;
        let first = trainer.first_step_at().map_or(f64::NAN, |at| at.duration_since(started).as_secs_f64());
        let trained = started.elapsed().as_secs_f64();
        let (model, history) = trainer.finish()?;
        let found = threads.run(|| model.predict(model.embed(cells.source())?.view()))?;
        let all = started.elapsed().as_secs_f64();
        let query: Vec<usize> = (0..is_query.len()).filter(|i| is_query[*i]).collect();
        let right = query.iter().filter(|i| found.label.value(**i) == labels.value(**i)).count() as f64 / query.len() as f64;
        let steps: usize = history.epochs.iter().map(|e| e.n_steps).sum();
        writeln!(
            table,
            "| {} | {steps} | {first:.1} | {:.1} | {:.1} | {all:.1} | {right:.3} |",
            scenario.name(),
            trained - first,
            all - trained
        )?;
    }
    std::fs::write(out, &table)?;
    println!("{table}");
    Ok(())
}

/// Runs what is asked for and not kept yet. Methods that draw nothing are run with the first seed alone, but on simulated cells, which each seed draws anew.
fn run(task: &Task, asked: &mut Asked<'_>, seed: u64) -> Result<(), Failure> {
    let n_reference = task.is_query.iter().filter(|q| !**q).count();
    let draws = seed == 0 || task.name.starts_with("simulated");
    for (k, preset) in [Preset::Default, Preset::Paper, Preset::ReferenceCode].into_iter().enumerate() {
        let (name, by_vote) = (METHODS[[0, 2, 3][k]], METHODS[1]);
        if !asked.wants(task, name, seed) {
            continue;
        }
        let started = Instant::now();
        let base = CellPredXConfig { seed, ..CellPredXConfig::preset(preset, task.scenario) };
        let config = if preset == Preset::Default { with_settings(&base, &asked.settings)? } else { base };
        let metric = config.metric();
        let input = CellPredXInput { labels: task.labels.clone(), is_query: task.is_query.clone(), batch: None };
        let mut trainer = CellPredX::trainer(&task.cells, &input, config, &Device::Cpu, Threads::new(0)?)?;
        trainer.train(&mut Silent, &CancelToken::default())?;
        let (model, history) = trainer.finish()?;
        let z = model.embed(task.cells.source())?;
        let classes = model.predict(z.slice(s![n_reference.., ..]))?;
        let distance = Some(distance(z.view(), n_reference, metric)?);
        let seconds = started.elapsed().as_secs_f64();
        let last = history.epochs.last().map(|e| format!("{:.3?}", e.terms)).unwrap_or_default();
        eprintln!("  {name}: {} rounds, best {:?}, {last}", history.epochs.len(), history.best_epoch);
        asked.add(task, name, seed, &Found { classes, distance }, seconds)?;
        if preset == Preset::Default && asked.wants(task, by_vote, seed) {
            asked.add(task, by_vote, seed, &vote(task, z.view(), n_reference, metric)?, seconds)?;
        }
    }
    if draws && asked.wants(task, METHODS[4], seed) {
        let started = Instant::now();
        let n_components = 50.min(task.cells.n_genes()).min(task.cells.n_cells() - 1);
        let components = pca(task.cells.source(), &PcaConfig { n_components, seed, ..Default::default() })?.scores;
        let found = vote(task, components.view(), n_reference, Metric::Cosine)?;
        asked.add(task, METHODS[4], seed, &found, started.elapsed().as_secs_f64())?;
    }
    let kind = Categorical::from_values(task.is_query.iter().map(|q| Some(if *q { "query" } else { "reference" })));
    let cells = task.cells.clone().with_column("kind", kind)?;
    if asked.wants(task, METHODS[5], seed) {
        let columns = ConcordColumns { batch: Some("kind".into()), label: None };
        let config = ConcordConfig { seed, n_epochs: 50, batch_size: 64, lr: 3e-3, ..Default::default() };
        let trainer = Concord::trainer(&cells, &columns, config, &Device::Cpu, Threads::new(0)?)?;
        embedded(task, METHODS[5], asked, seed, trainer)?;
    }
    if asked.wants(task, METHODS[6], seed) {
        let config = with_settings(&ConcertoConfig { seed, ..Default::default() }, &asked.concerto)?;
        let trainer = Concerto::trainer(&cells, Some("kind"), config, &Device::Cpu, Threads::new(0)?)?;
        embedded(task, METHODS[6], asked, seed, trainer)?;
    }
    for (method, python) in asked.peers.clone() {
        // Their solvers draw nothing that the result shows.
        if !(asked.wants(task, method, seed) && (draws || method == "scanvi")) {
            continue;
        }
        let started = Instant::now();
        match peer(task, method, python, seed) {
            Ok(found) => asked.add(task, method, seed, &found, started.elapsed().as_secs_f64())?,
            Err(e) => eprintln!("  {method} failed: {e}"),
        }
    }
    Ok(())
}

/// Trains, and scores the votes in the embedding.
fn embedded<S: System>(
    task: &Task,
    method: &str,
    asked: &mut Asked<'_>,
    seed: u64,
    mut trainer: Trainer<'_, S>,
) -> Result<(), Failure> {
    let started = Instant::now();
    trainer.train(&mut Silent, &CancelToken::default())?;
    let z = trainer.finish()?.0.embed(task.cells.source())?;
    let n_reference = task.is_query.iter().filter(|q| !**q).count();
    let found = vote(task, z.view(), n_reference, Metric::Cosine)?;
    asked.add(task, method, seed, &found, started.elapsed().as_secs_f64())
}

fn vote(task: &Task, z: ArrayView2<'_, f32>, n_reference: usize, metric: Metric) -> Result<Found, Failure> {
    let rows: Vec<usize> = (0..n_reference).collect();
    let labels = task.labels.select(&rows).drop_unused();
    let config = TransferConfig { n_neighbors: 15, metric, ..Default::default() };
    let found = transfer_labels(z.slice(s![..n_reference, ..]), &labels, z.slice(s![n_reference.., ..]), &config)?;
    let classes = PredictedClasses::from_probabilities(found.scores, labels.levels())?;
    Ok(Found { classes, distance: Some(distance(z, n_reference, metric)?) })
}

/// How far each query cell, the rows of z from `n_reference` on, is from its nearest reference cells: the rank of the distance among them, which
/// orders them as the novelty does, without its ties at 1.
fn distance(z: ArrayView2<'_, f32>, n_reference: usize, metric: Metric) -> Result<Vec<f32>, Failure> {
    let config = TransferConfig { n_neighbors: 15, metric, ..Default::default() };
    let query = z.slice(s![n_reference.., ..]);
    Ok(novelty_beside(z.slice(s![..n_reference, ..]), query, query.nrows(), &config)?)
}

/// Runs a method of `peers/annotate.py` in the Python given; it writes a table of probabilities, a column per class.
fn peer(task: &Task, method: &str, python: &str, seed: u64) -> Result<Found, Failure> {
    let scratch = tempfile::tempdir()?;
    let (file, result) = (scratch.path().join("cells.h5ad"), scratch.path().join("probabilities.csv"));
    let hidden = (0..task.is_query.len()).map(|i| if task.is_query[i] { None } else { task.labels.value(i) });
    let kind = Categorical::from_values(task.is_query.iter().map(|q| Some(if *q { "query" } else { "reference" })));
    let obs = vec![
        ("cell_type".to_owned(), ObsColumn::Levels(Categorical::from_values(hidden))),
        ("kind".to_owned(), ObsColumn::Levels(kind)),
    ];
    let x = to_memory(task.cells.source())?;
    write_layers(&file, task.cells.cell_names(), task.cells.gene_names(), &x, &[], &Additions { obs, ..Default::default() })?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/annotate.py");
    let run = Command::new(python).arg(script).arg(method).arg(&file).arg(seed.to_string()).arg(&result).output()?;
    if !run.status.success() {
        return Err(String::from_utf8_lossy(&run.stderr).into());
    }
    let text = std::fs::read_to_string(&result)?;
    let mut lines = text.lines();
    let classes: Vec<String> = lines.next().ok_or("no header")?.split(',').skip(1).map(str::to_owned).collect();
    let values: Vec<f32> =
        lines.flat_map(|l| l.split(',').skip(1).map(str::parse::<f32>).collect::<Vec<_>>()).collect::<Result<_, _>>()?;
    let n = values.len() / classes.len();
    let probabilities = Array2::from_shape_vec((n, classes.len()), values)?;
    Ok(Found { classes: PredictedClasses::from_probabilities(probabilities, &classes)?, distance: None })
}

/// Accuracy and macro F1 of the cells whose type the reference has, area under the ROC curve of the others by the probability and by the distance,
/// OSCR, share of the known that are kept at a probability above 0.95 and the accuracy of these, seconds.
fn score(task: &Task, found: &Found, seconds: f64) -> Result<[f64; 8], Failure> {
    let (distance, found) = (&found.distance, &found.classes);
    let n_reference = task.is_query.iter().filter(|q| !**q).count();
    let truth = task.labels.select(&(n_reference..task.labels.len()).collect::<Vec<_>>());
    let reference: Vec<usize> = (0..n_reference).collect();
    let of_reference = task.labels.select(&reference).drop_unused();
    let known: Vec<bool> =
        (0..truth.len()).map(|i| truth.value(i).is_some_and(|t| of_reference.levels().iter().any(|l| l == t))).collect();
    let rows: Vec<usize> = (0..truth.len()).filter(|i| known[*i]).collect();
    let confusion = Confusion::new(&truth.select(&rows).drop_unused(), &found.label.select(&rows))?;
    let correct: Vec<bool> = (0..truth.len()).map(|i| truth.value(i) == found.label.value(i)).collect();
    let unknown: Vec<bool> = known.iter().map(|k| !k).collect();
    let confidence: Vec<f64> = found.probability.iter().map(|p| f64::from(*p)).collect();
    let unsure: Vec<f64> = confidence.iter().map(|c| 1.0 - c).collect();
    let kept: Vec<usize> = rows.iter().copied().filter(|i| found.probability[*i] > UNKNOWN_BELOW).collect();
    let kept_right = kept.iter().filter(|i| correct[**i]).count() as f64 / kept.len() as f64;
    let open = |value: tutti::Result<f64>| value.unwrap_or(f64::NAN);
    Ok([
        confusion.accuracy(),
        confusion.macro_f1(),
        open(auroc(&unsure, &unknown)),
        distance.as_ref().map_or(f64::NAN, |n| open(auroc(&n.iter().map(|v| f64::from(*v)).collect::<Vec<_>>(), &unknown))),
        open(oscr(&confidence, &correct, &unknown)),
        kept.len() as f64 / rows.len() as f64,
        kept_right,
        seconds,
    ])
}
