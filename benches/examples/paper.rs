//! The CONCORD paper's comparisons in small, on simulated data of known geometry: tables and a panel of figures per family.
//!
//! `cargo run --example paper -- OUT_FOLDER [SEEDS] [METHOD=PYTHON ...] [only=NAME,...]`, for instance `concord-sc=/path/of/venv/bin/python`;
//! `only` names some of the data sets. Methods of other tools run by `peers/integrate.py` in the Python given; without any, CONCORD is compared with its ablation and PCA alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use candle_core::Device;
use ndarray::Array2;
use tutti::benchmark::{BenchmarkConfig, BenchmarkInput, Score, benchmark};
use tutti::data::{Categorical, Csr};
use tutti::downstream::{UmapConfig, umap};
use tutti::neighbors::Metric;
use tutti::observe::{CancelToken, Silent};
use tutti::preprocess::{PcaConfig, pca};
use tutti::simulate::{Layer, Overlap, Simulation, Spec, Truth};
use tutti::systems::concord::{Concord, ConcordColumns, ConcordConfig, Preset};
use tutti::threads::Threads;
use tutti_figures::{Color, ColorMap, EmbeddingOptions, Panel, benchmark_table, embedding_grid};
use tutti_io::{Additions, ObsColumn, ReadOptions, read, write_layers};

type Failure = Box<dyn std::error::Error>;

/// Preset, and its Betti numbers: components less one, loops, cavities.
const ONE_BATCH: [(&str, [usize; 3]); 3] = [("three_clusters", [2, 0, 0]), ("three_loops", [0, 3, 0]), ("tree", [0, 0, 0])];
const TWO_BATCHES: [(&str, [usize; 3]); 4] =
    [("five_clusters_two_batches", [4, 0, 0]), ("trajectory", [0, 0, 0]), ("loop", [0, 1, 0]), ("tree_two_batches", [0, 0, 0])];

/// What one method made of one data set.
struct Run {
    method: String,
    embedding: Array2<f32>,
    seconds: f64,
    scores: Vec<Score>,
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("give OUT_FOLDER [SEEDS] [METHOD=PYTHON ...]")?);
    let rest: Vec<String> = arguments.collect();
    let n_seeds: u64 = rest.first().and_then(|a| a.parse().ok()).unwrap_or(1);
    let (only, peers): (Vec<_>, Vec<_>) = rest
        .iter()
        .filter_map(|a| a.split_once('='))
        .map(|(m, p)| (m.to_owned(), p.to_owned()))
        .partition(|(name, _)| name == "only");
    let wanted = |name: &str| only.is_empty() || only.iter().any(|(_, names)| names.split(',').any(|n| n == name));
    std::fs::create_dir_all(&folder)?;
    let mut table = String::from(
        "| data | overlap | method | seconds | biology | batch | geometry | topology | overall |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    let mut versions = BTreeMap::new();
    let mut sets: Vec<(&str, &str, Option<Overlap>, [usize; 3])> =
        ONE_BATCH.iter().map(|(name, betti)| (*name, "one batch", None, *betti)).collect();
    for (name, betti) in TWO_BATCHES {
        let overlaps = [("full", Overlap::Full), ("partial", Overlap::Partial(0.4)), ("none", Overlap::None)];
        sets.extend(overlaps.map(|(said, overlap)| (name, said, Some(overlap), betti)));
    }
    for (name, said, overlap, betti) in sets.into_iter().filter(|set| wanted(set.0)) {
        let mut by_method: BTreeMap<String, Vec<Run>> = BTreeMap::new();
        for seed in 0..n_seeds {
            let mut spec = Spec { seed, shuffle: true, ..Spec::preset(name)? };
            spec.batches.overlap = overlap.unwrap_or(spec.batches.overlap);
            let simulation = Simulation::new(&spec)?;
            for run in runs(&simulation, betti, seed, &peers, &mut versions)? {
                by_method.entry(run.method.clone()).or_default().push(run);
            }
            eprintln!("{name}, {said}, seed {seed}: done");
            if seed == 0 {
                panel(&simulation, &by_method, &folder.join(format!("{name}_{}", said.replace(' ', "_"))))?;
            }
        }
        rows(&mut table, name, said, &by_method)?;
        std::fs::write(folder.join("paper.md"), &table)?;
    }
    let versions: Vec<&String> = versions.values().collect();
    std::fs::write(folder.join("paper.md"), format!("{table}\n{n_seeds} seed(s), defaults of every method. {versions:?}\n"))?;
    Ok(())
}

/// All methods on one data set. A method of another tool that fails is left out, with a word.
fn runs(
    simulation: &Simulation,
    betti: [usize; 3],
    seed: u64,
    peers: &[(String, String)],
    versions: &mut BTreeMap<String, String>,
) -> Result<Vec<Run>, Failure> {
    let (label, batch) = columns(simulation)?;
    let truth = simulation.matrix(Layer::NoNoise)?.to_dense();
    let x = simulation.matrix(Layer::Measured)?;
    let started = Instant::now();
    let before = pca(&x, &PcaConfig { n_components: 30, seed, ..Default::default() })?.scores;
    let mut embeddings: Vec<(String, Array2<f32>, f64)> = vec![("PCA".into(), before.clone(), seconds(started))];
    let hcl = ConcordConfig { seed, ..ConcordConfig::preset(Preset::HardNegative) };
    let knn = ConcordConfig { seed, ..ConcordConfig::preset(Preset::Knn) };
    // The defaults make 60 steps of 1,000 cells: what a user of so few would set.
    let longer = ConcordConfig { n_epochs: 50, lr: 0.003, ..knn.clone() };
    for (name, config, by_batch) in [
        ("CONCORD hcl", hcl.clone(), true),
        ("CONCORD knn", knn, true),
        ("CONCORD knn, 50 epochs, lr 0.003", longer, true),
        ("CONCORD, no sampler", hcl, false),
    ] {
        let started = Instant::now();
        embeddings.push((name.into(), concord(simulation, config, by_batch)?, seconds(started)));
    }
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("cells.h5ad");
    if !peers.is_empty() {
        let obs = vec![("batch".to_owned(), ObsColumn::Levels(batch.clone()))];
        let additions = Additions { obs, ..Default::default() };
        write_layers(&file, &simulation.cell_names(), simulation.gene_names(), &x, &[], &additions)?;
    }
    for (method, python) in peers {
        let started = Instant::now();
        match peer(method, python, &file, seed, scratch.path()) {
            Ok((embedding, version)) => {
                versions.insert(method.clone(), version);
                embeddings.push((method.clone(), embedding, seconds(started)));
            }
            Err(problem) => eprintln!("{method} is left out: {problem}"),
        }
    }
    let input = BenchmarkInput {
        label: &label,
        batch: &batch,
        before: Some(before.view()),
        truth: Some(truth.view()),
        betti: Some(betti),
    };
    // As in the paper, all distances are cosines.
    let config = BenchmarkConfig { metric: Metric::Cosine, max_cells: 2000, max_points: 250, seed };
    embeddings
        .into_iter()
        .map(|(method, embedding, seconds)| {
            let scores = benchmark(embedding.view(), &input, &config)?.scores();
            Ok(Run { method, embedding, seconds, scores })
        })
        .collect()
}

fn seconds(started: Instant) -> f64 {
    started.elapsed().as_secs_f64()
}

/// States and batches of the cells; a line, which has a single state, is cut into five parts by time.
fn columns(simulation: &Simulation) -> Result<(Categorical, Categorical), Failure> {
    let truth = simulation.truth()?;
    let category = |name: &str| {
        truth.iter().find_map(|(n, t)| match t {
            Truth::Category(column) if *n == name => Some(column.clone()),
            _ => None,
        })
    };
    let label = category(simulation.label_key()).ok_or("no states")?;
    let batch = category("batch").ok_or("no batches")?;
    if label.drop_unused().n_levels() > 1 {
        return Ok((label, batch));
    }
    let time = truth.iter().find_map(|(n, t)| match t {
        Truth::Number(values) if *n == "time" => Some(values.clone()),
        _ => None,
    });
    let time = time.ok_or("no time")?;
    let most = time.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let part = |t: &f32| Some(format!("part {}", ((t / most * 5.0) as usize).min(4) + 1));
    Ok((Categorical::from_values(time.iter().map(part)), batch))
}

fn concord(simulation: &Simulation, config: ConcordConfig, by_batch: bool) -> Result<Array2<f32>, Failure> {
    let x: Csr = simulation.matrix(Layer::Measured)?;
    let cells = tutti::data::Cells::new(x, simulation.cell_names(), simulation.gene_names().to_vec())?;
    let cells = cells.with_column("batch", columns(simulation)?.1)?;
    let batch = (by_batch && simulation.spec().batches.n > 1).then(|| "batch".to_owned());
    let columns = ConcordColumns { batch, label: None };
    let mut trainer = Concord::trainer(&cells, &columns, config, &Device::Cpu, Threads::new(0)?)?;
    trainer.train(&mut Silent, &CancelToken::default())?;
    Ok(trainer.finish()?.0.embed(cells.source())?)
}

fn peer(method: &str, python: &str, file: &Path, seed: u64, scratch: &Path) -> Result<(Array2<f32>, String), Failure> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/integrate.py");
    let out = scratch.join("embedding.csv");
    let run = Command::new(python).arg(script).arg(method).arg(file).args(["batch", &seed.to_string()]).arg(&out).output()?;
    if !run.status.success() {
        let said = String::from_utf8_lossy(&run.stderr);
        return Err(said.lines().last().unwrap_or("it failed without a word").into());
    }
    let table = read(&out, &ReadOptions::default())?;
    let mut rows = Csr::empty(table.n_genes());
    table.x().source()?.read_range(0..table.n_cells(), &mut rows)?;
    Ok((rows.to_dense(), String::from_utf8_lossy(&run.stdout).lines().last().unwrap_or_default().to_owned()))
}

/// A row per method, best first, means over seeds.
fn rows(table: &mut String, name: &str, overlap: &str, by_method: &BTreeMap<String, Vec<Run>>) -> Result<(), Failure> {
    let mean = |runs: &[Run], key: &str| {
        let values: Vec<f64> = runs.iter().filter_map(|r| r.scores.iter().find(|s| s.key == key)?.value).collect();
        if values.is_empty() { f64::NAN } else { values.iter().sum::<f64>() / values.len() as f64 }
    };
    let mut methods: Vec<(&String, &Vec<Run>)> = by_method.iter().collect();
    methods.sort_by(|a, b| mean(b.1, "overall").total_cmp(&mean(a.1, "overall")));
    for (method, runs) in methods {
        let cell = |key| Some(mean(runs, key)).filter(|v| v.is_finite()).map_or("–".into(), |v| format!("{v:.3}"));
        let seconds = runs.iter().map(|r| r.seconds).sum::<f64>() / runs.len() as f64;
        let families = ["bio_conservation", "batch_correction", "geometry", "topology", "overall"].map(cell).join(" | ");
        writeln!(table, "| {name} | {overlap} | {method} | {seconds:.1} | {families} |")?;
    }
    Ok(())
}

/// UMAPs of all methods by time or state and by batch, and the table of scores.
fn panel(simulation: &Simulation, by_method: &BTreeMap<String, Vec<Run>>, path: &Path) -> Result<(), Failure> {
    let (label, batch) = columns(simulation)?;
    let time = simulation.truth()?.into_iter().find_map(|(n, t)| match t {
        Truth::Number(values) if n == "time" => Some(values),
        _ => None,
    });
    let layouts: Vec<(String, Array2<f32>)> = by_method
        .iter()
        .map(|(method, runs)| {
            let metric = if method.starts_with("CONCORD") || method == "concord-sc" { Metric::Cosine } else { Metric::Euclidean };
            Ok((method.clone(), umap(runs[0].embedding.view(), &UmapConfig { metric, n_neighbors: 30, ..Default::default() })?))
        })
        .collect::<Result<_, Failure>>()?;
    let mut panels = Vec::new();
    for (method, points) in &layouts {
        let color = match &time {
            Some(time) => Color::Values(time, ColorMap::Viridis),
            None => Color::Category(&label),
        };
        panels.push(Panel { title: method, points: points.view(), color });
        if simulation.spec().batches.n > 1 {
            panels.push(Panel { title: "by batch", points: points.view(), color: Color::Category(&batch) });
        }
    }
    let options = EmbeddingOptions { panel_size: 150.0, n_columns: 4, ..Default::default() };
    std::fs::write(path.with_extension("png"), embedding_grid(&panels, &options)?.png(150.0)?)?;
    let scores: Vec<(String, Vec<Score>)> = by_method.iter().map(|(m, runs)| (m.clone(), runs[0].scores.clone())).collect();
    let table = PathBuf::from(format!("{}_scores.png", path.display()));
    Ok(std::fs::write(table, benchmark_table(&scores)?.png(130.0)?)?)
}
