//! `tutti annotate`.

use std::path::Path;

use ndarray::{Axis, concatenate};
use serde_json::Value;
use tutti::data::{Categorical, CellSource, Csr};
use tutti::downstream::{TransferConfig, hold_out, novelty_beside};
use tutti::neighbors::Metric;
use tutti::rng::Rng;
use tutti_io::{Additions, ObsColumn, ReadOptions, read, write_h5ad};

use crate::{error, ok, tutti};

/// Counts of 300 genes of four types, of which each has 40 genes of its own, in two batches: the second is deeper, and has no cell of the last type.
struct Planted {
    counts: Csr,
    cell_names: Vec<String>,
    gene_names: Vec<String>,
    batch: Categorical,
    cell_type: Categorical,
}

fn cells() -> Planted {
    let (mut stream, mut counts) = (Rng::new(5).stream("cells", 0, 0), Csr::empty(300));
    let batch = |i: usize| i % 2;
    let class = |i: usize| i / 2 % if batch(i) == 1 { 3 } else { 4 };
    for i in 0..900 {
        let count = |j: u32| {
            let mean = if j as usize / 40 == class(i) { 2.0 } else { 0.4 } * (1.0 + batch(i) as f64);
            (0..8).filter(|_| stream.bernoulli(mean / 8.0)).count() as f32
        };
        let row: Vec<f32> = (0..300).map(count).collect();
        counts.push_row(row.into_iter().enumerate().filter(|(_, v)| *v > 0.0).map(|(j, v)| (j as u32, v)));
    }
    let names = |what: &str, n: usize| (1..=n).map(|i| format!("{what}_{i}")).collect();
    Planted {
        counts,
        cell_names: names("cell", 900),
        gene_names: names("gene", 300),
        batch: Categorical::from_values((0..900).map(|i| Some(["batch_1", "batch_2"][batch(i)]))),
        cell_type: Categorical::from_values((0..900).map(|i| Some(["type_1", "type_2", "type_3", "type_4"][class(i)]))),
    }
}

/// Some cells of these, with their types and names of genes of choice.
fn write(path: &Path, data: &Planted, rows: &[usize], genes: &[String]) {
    let mut x = Csr::empty(data.counts.n_cols());
    data.counts.read_rows(rows, &mut x).unwrap();
    let names: Vec<String> = rows.iter().map(|i| data.cell_names[*i].clone()).collect();
    let table = |n| polars::prelude::DataFrame::empty_with_height(n);
    let column = |c: &Categorical| ObsColumn::Levels(c.select(rows).drop_unused());
    let additions = Additions {
        obs: vec![("cell_type".into(), column(&data.cell_type)), ("tech".into(), column(&data.batch))],
        ..Default::default()
    };
    write_h5ad(path, &names, genes, &table(rows.len()), &table(genes.len()), Some(&x), &additions).unwrap();
}

const FAST: [&str; 8] = ["--n-epochs", "8", "--latent-dim", "10", "--set", "encoder_dims=[64]", "--batch-size", "64"];

#[test]
fn a_query_of_another_species_is_named_and_a_type_that_the_reference_lacks_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let data = cells();
    let lacking = data.cell_type.levels()[3].clone();
    let (reference, query): (Vec<usize>, Vec<usize>) = (0..900).partition(|i| data.batch.value(*i) == Some("batch_2"));
    assert!(reference.iter().all(|i| data.cell_type.value(*i) != Some(&lacking)));
    // The query's genes have other names, of which a table tells; two of them share one gene of the reference.
    let other: Vec<String> = (0..300).map(|i| format!("Other{i}")).collect();
    write(Path::new(&at("reference.h5ad")), &data, &reference, &data.gene_names);
    write(Path::new(&at("query.h5ad")), &data, &query, &other);
    let pairs = data.gene_names.iter().zip(&other).map(|(a, b)| format!("{b}\t{a}\n"));
    let table: String = pairs.chain([format!("Other1\t{}\n", data.gene_names[0])]).collect();
    std::fs::write(at("orthologues.tsv"), table).unwrap();

    let annotate = |output: &str, more: &[&str]| {
        let command = ["annotate", &at("reference.h5ad"), &at("query.h5ad"), "--label", "cell_type", "-o", &at(output)];
        tutti(&[&command[..], &FAST, more].concat())
    };
    assert!(error(&annotate("never.csv", &[])).contains("share 0 genes"));
    let through = ["--orthologues", &at("orthologues.tsv"), "--truth", "cell_type"];
    let summary: Value =
        serde_json::from_str(&ok(&annotate("out.h5ad", &[&through[..], &["--json", "--quiet"]].concat()))).unwrap();
    assert_eq!((&summary["genes"]["n_shared"], &summary["genes"]["orthologues"]["n_pairs"]), (&298.into(), &301.into()));
    assert_eq!((&summary["system"], &summary["epochs"]), (&"concord".into(), &8.into()));
    let held_out = summary["n_held_out"].as_u64().unwrap() as usize;
    assert!(held_out + summary["n_voters"].as_u64().unwrap() as usize == reference.len() && held_out > 40);
    let truth = &summary["truth"]["coverage"];
    assert!(truth["accuracy"].as_f64().unwrap() > 0.9, "{truth}");
    assert_eq!(truth["unknown_types"][0][0], lacking.as_str());
    let refused = |of: &str| truth[of].as_f64().unwrap();
    assert!(refused("detection_rate") > refused("false_rejection_rate") + 0.3, "{truth}");
    assert!(summary["held_out"]["false_rejection_rate"].as_f64().unwrap() <= 0.05);

    let out = read(Path::new(&at("out.h5ad")), &ReadOptions::default()).unwrap();
    assert_eq!((out.obsm()["X_concord"].dim(), out.n_cells()), ((query.len(), 10), query.len()));
    let added = ["", "_probability", "_runner_up", "_runner_up_probability", "_novelty", "_unknown", "_reason"];
    let expected: Vec<String> = added.iter().map(|end| format!("predicted_cell_type{end}")).collect();
    assert_eq!(out.column_names()[2..], expected);
    assert_eq!(out.categorical("predicted_cell_type").unwrap().n_levels(), 3);
    let reason = out.categorical("predicted_cell_type_reason").unwrap();
    let unknown = out.categorical("predicted_cell_type_unknown").unwrap();
    assert!((0..query.len()).all(|i| (unknown.value(i) == Some("True")) == reason.value(i).is_some()));

    // A table of the same for any number of threads, and lines for a person.
    let human = ok(&annotate("a.csv", &[&through[..], &["--threads", "1"]].concat()));
    ok(&annotate("b.csv", &[&through[..], &["--threads", "2", "--quiet"]].concat()));
    assert_eq!(std::fs::read(at("a.csv")).unwrap(), std::fs::read(at("b.csv")).unwrap());
    for expected in ["298 of 300", "orthologues: 298 pairs one to one", "limits ", "coverage ", "truth ", "AUROC"] {
        assert!(human.contains(expected), "{human}");
    }
    let table = std::fs::read_to_string(at("a.csv")).unwrap();
    assert!(
        table.starts_with("cell,predicted_cell_type,predicted_cell_type_probability,predicted_cell_type_runner_up,"),
        "{table}"
    );
}

#[test]
fn classifier_components_batches_and_limits_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let data = cells();
    let (reference, query): (Vec<usize>, Vec<usize>) = (0..900).partition(|i| i / 24 % 3 > 0);
    write(Path::new(&at("reference.h5ad")), &data, &reference, &data.gene_names);
    write(Path::new(&at("query.h5ad")), &data, &query, &data.gene_names);
    let annotate = |output: &str, more: &[&str]| {
        let command =
            ["annotate", &at("reference.h5ad"), &at("query.h5ad"), "--label", "cell_type", "-o", &at(output), "--quiet"];
        let fast = if more.contains(&"pca") { &[][..] } else { &FAST[..] };
        tutti(&[&command[..], fast, more].concat())
    };
    let summary = |output: &str, more: &[&str]| {
        let compared = ["--truth", "cell_type", "--json"];
        serde_json::from_str::<Value>(&ok(&annotate(output, &[&compared[..], more].concat()))).unwrap()
    };
    for more in [&["--batch", "tech", "--set", "use_classifier=true"][..], &["--system", "pca"]] {
        let found = summary("out.h5ad", more);
        assert!(found["truth"]["coverage"]["accuracy"].as_f64().unwrap() > 0.9, "{more:?}: {}", found["truth"]);
        let of_temperature = &found["temperature"];
        let nll = |name: &str| of_temperature[name].as_f64().unwrap();
        assert!(nll("nll_after") <= nll("nll_before") + 0.05, "{of_temperature}");
        assert!(found["coverage"].as_f64().unwrap() > 0.8, "{more:?}: {found}");
    }
    assert!(read(Path::new(&at("out.h5ad")), &ReadOptions::default()).unwrap().obsm().contains_key("X_pca"));

    let all = summary("x.csv", &["--system", "pca", "--no-rejection", "--no-calibration", "--held-out", "0"]);
    assert_eq!((&all["coverage"], &all["temperature"], &all["n_held_out"]), (&1.0.into(), &Value::Null, &0.into()));
    // Batches as finer labels: those of a type are told apart among the cells of the type.
    let finer = summary("finer.csv", &["--system", "pca", "--finer", "tech"]);
    let of_batch = |name: &str| finer["finer"]["predicted"][name].as_u64().unwrap();
    assert_eq!(of_batch("batch_1") + of_batch("batch_2"), finer["n_query"].as_u64().unwrap());
    let table = std::fs::read_to_string(at("finer.csv")).unwrap();
    assert!(table.lines().next().unwrap().ends_with(",predicted_tech,predicted_tech_score,predicted_tech_novelty"), "{table}");
    let both = |line: &&str| line.split(',').nth(1) == Some("type_4") && line.contains(",batch_2,");
    assert_eq!(table.lines().filter(both).count(), 0, "{table}");
    let by_class =
        summary("x.csv", &["--system", "pca", "--limits", "by-class", "--false-rejection-rate", "0.2", "--held-out", "0.5"]);
    let limits = by_class["limits_by_class"].as_array().unwrap();
    assert_eq!(limits.iter().map(|l| l["class"].as_str().unwrap()).collect::<Vec<_>>(), ["type_1", "type_2", "type_3", "type_4"]);
    assert!(limits.iter().all(|l| l["n_held_out"].as_u64().unwrap() > 9), "{by_class}");
    let novelty = |of: &Value| of["max_novelty"].as_f64().unwrap();
    assert!(limits.iter().any(|l| novelty(&l["limits"]) != novelty(&by_class)), "{by_class}");
    let strict = summary("x.csv", &["--system", "pca", "--min-probability", "0.999", "--max-novelty", "1"]);
    assert!(strict["coverage"].as_f64().unwrap() < 0.9 && strict["probability_threshold"].is_null(), "{strict}");

    // Votes of the query's cells around: labels are those of before by hand, but for the cells that are said to have changed.
    let smooth = summary("smooth.csv", &["--system", "pca", "--no-rejection", "--smooth", "10"]);
    summary("plain.csv", &["--system", "pca", "--no-rejection"]);
    let labels = |name: &str| -> Vec<String> {
        let text = std::fs::read_to_string(at(name)).unwrap();
        text.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().to_owned()).collect()
    };
    let changed = labels("smooth.csv").iter().zip(labels("plain.csv")).filter(|(a, b)| **a != *b).count();
    assert_eq!(smooth["smoothing"], serde_json::json!({"n_neighbors": 10, "n_changed": changed}));
    assert!(finer["smoothing"].is_null());

    // What is there is all that counts: depth, by which the batches differ, is gone, and a matrix of 0 and 1 gives the same.
    let binary = summary("binary.csv", &["--system", "pca", "--normalize", "binarize", "--hvg", "0"]);
    let done = serde_json::json!({"target_sum": null, "log1p": false, "binarize": true});
    assert_eq!(binary["input_values"]["preprocessing"], done);
    let there =
        Planted { counts: tutti::preprocess::to_memory(&tutti::preprocess::Binarized::new(&data.counts)).unwrap(), ..cells() };
    for (file, rows) in [("ones.h5ad", &reference), ("other ones.h5ad", &query)] {
        write(Path::new(&at(file)), &there, rows, &data.gene_names);
    }
    let ones = ["annotate", &at("ones.h5ad"), &at("other ones.h5ad"), "--label", "cell_type", "-o", &at("ones.csv"), "--quiet"];
    ok(&tutti(&[&ones[..], &["--system", "pca", "--hvg", "0"]].concat()));
    assert_eq!(std::fs::read(at("binary.csv")).unwrap(), std::fs::read(at("ones.csv")).unwrap());
    assert_ne!(std::fs::read(at("binary.csv")).unwrap(), std::fs::read(at("plain.csv")).unwrap());

    let named = |arguments: &[&str], code: i32, expected: &str| {
        let output = annotate("never.csv", arguments);
        let text = error(&output);
        assert!(text.contains(expected) && output.status.code() == Some(code), "{arguments:?}: {text}");
    };
    named(&["--batch", "donor"], 2, "neither file has this obs column; the reference has cell_type, tech");
    named(&["--finer", "type"], 3, "there is no obs column `type`");
    named(&["--truth", "type"], 3, "there is no obs column `type`");
    named(&["--held-out", "1.5"], 2, "`held_out` must be above 0 and below 1");
    named(&["--system", "pca", "--false-rejection-rate", "2"], 2, "`false_rejection_rate`");
    named(&["--system", "pca", "--limits", "by-class", "--no-rejection"], 2, "`limits` is by class, and no limit is chosen");
    named(&["--system", "pca", "--save-model", "m.safetensors"], 2, "--save-model has no effect with --system pca");
    named(&["--system", "pca", "--latent-dim", "5"], 2, "--latent-dim has no effect with --system pca");
    named(&["--orthologues", "none.csv"], 3, "none.csv");
    named(&["--system", "pca", "--smooth", "2"], 2, "`smooth` must be from 3 to the number of query cells");
    named(&["--system", "pca", "--normalize", "log"], 2, "give `auto`, `log-normalize` or `binarize`");
    named(&["--system", "pca", "--seed", "-1"], 2, "a seed is a whole number from 0 to");
    let logs = Planted { counts: tutti::preprocess::to_memory(&logged(&data.counts)).unwrap(), ..cells() };
    write(Path::new(&at("logs.h5ad")), &logs, &query, &data.gene_names);
    let mixed = ["annotate", &at("reference.h5ad"), &at("logs.h5ad"), "--label", "cell_type", "-o", &at("never.csv")];
    let text = error(&tutti(&[&mixed[..], &["--system", "pca", "--normalize", "log-normalize"]].concat()));
    assert!(text.contains("logs.h5ad are no counts (log-normalised)") && text.contains("--layer"), "{text}");
    assert!(!Path::new(&at("never.csv")).exists());
}

fn logged(counts: &Csr) -> tutti::preprocess::Normalized<&Csr> {
    tutti::preprocess::Normalized::new(counts, None, true).unwrap()
}

#[test]
fn an_empty_text_names_no_class() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let data = cells();
    let (reference, query): (Vec<usize>, Vec<usize>) = (0..900).partition(|i| i / 24 % 3 > 0);
    let gaps = |i: usize| if i.is_multiple_of(5) { Some("") } else { data.cell_type.value(i) };
    let blank = Planted { cell_type: Categorical::from_values((0..900).map(gaps)), ..cells() };
    write(Path::new(&at("reference.h5ad")), &blank, &reference, &data.gene_names);
    write(Path::new(&at("query.h5ad")), &blank, &query, &data.gene_names);
    let files = ["annotate", &at("reference.h5ad"), &at("query.h5ad"), "--label", "cell_type", "--truth", "cell_type", "--json"];
    let output = tutti(&[&files[..], &["-o", &at("out.csv"), "--system", "pca"]].concat());
    let summary: Value = serde_json::from_str(&ok(&output)).unwrap();
    let classes: Vec<&String> = summary["predicted"].as_object().unwrap().keys().collect();
    assert_eq!(classes, ["type_1", "type_2", "type_3", "type_4"]);
    let n_blank = reference.iter().filter(|i| **i % 5 == 0).count();
    let expected =
        format!("{n_blank} of {} reference cells have no `cell_type` ({n_blank} of them an empty text", reference.len());
    let warned = String::from_utf8_lossy(&output.stderr);
    assert!(warned.contains(&expected), "{warned}");
    let n_known = query.iter().filter(|i| **i % 5 > 0).count();
    assert_eq!(summary["truth"]["coverage"]["n_cells"], n_known);
}

#[test]
fn cellpredx_names_the_query_and_says_what_it_takes_the_data_for() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let data = cells();
    let lacking = data.cell_type.levels()[3].clone();
    let (reference, query): (Vec<usize>, Vec<usize>) = (0..900).partition(|i| data.batch.value(*i) == Some("batch_2"));
    write(Path::new(&at("reference.h5ad")), &data, &reference, &data.gene_names);
    write(Path::new(&at("query.h5ad")), &data, &query, &data.gene_names);
    let files = [at("reference.h5ad"), at("query.h5ad")];
    let annotate = |output: &str, more: &[&str]| {
        let command = ["annotate", &files[0], &files[1], "--label", "cell_type", "-o", &at(output)];
        tutti(&[&command[..], &["--system", "cellpredx", "--set", "n_steps=100", "--quiet", "--json"], more].concat())
    };
    // All genes are expressed alike, which real ones are not: the kind of data has to be said.
    let known = ["--scenario", "rna-to-rna", "--truth", "cell_type"];
    let model = at("model.safetensors");
    let summary: Value =
        serde_json::from_str(&ok(&annotate("out.h5ad", &[&known[..], &["--save-model", &model]].concat()))).unwrap();
    assert_eq!((&summary["scenario"]["name"], &summary["epochs"]), (&"rna-to-rna".into(), &10.into()));
    let truth = &summary["truth"]["coverage"];
    assert!(truth["accuracy"].as_f64().unwrap() > 0.9, "{truth}");
    assert_eq!(truth["unknown_types"][0][0], lacking.as_str());
    let out = read(Path::new(&at("out.h5ad")), &ReadOptions::default()).unwrap();
    assert_eq!(out.obsm()["X_cellpredx"].dim(), (query.len(), 64));
    assert!(Path::new(&model).exists());

    // The saved model places the query's cells where it did, and names them by its classifier.
    let predict = |output: &str| tutti(&["predict", &model, &files[1], "-o", &at(output), "--quiet", "--json"]);
    let predicted: Value = serde_json::from_str(&ok(&predict("predicted.h5ad"))).unwrap();
    assert_eq!((&predicted["system"], &predicted["n_cells"]), (&"cellpredx".into(), &query.len().into()));
    let again = read(Path::new(&at("predicted.h5ad")), &ReadOptions::default()).unwrap();
    let difference = &again.obsm()["X_cellpredx"] - &out.obsm()["X_cellpredx"];
    assert!(difference.iter().all(|d| d.abs() < 1e-5));
    let classes = ["type_1", "type_2", "type_3"].map(|c| format!("cellpredx_probability_{c}"));
    let columns = [&["cellpredx_class", "cellpredx_class_probability"].map(String::from)[..], &classes].concat();
    assert_eq!(again.column_names()[2..], columns);
    let (ours, theirs) = (again.categorical("cellpredx_class").unwrap(), out.categorical("predicted_cell_type").unwrap());
    assert!((0..query.len()).all(|i| ours.value(i) == theirs.value(i)));
    ok(&predict("predicted.csv"));
    let table = std::fs::read_to_string(at("predicted.csv")).unwrap();
    let title: Vec<&str> = table.lines().next().unwrap().split(',').collect();
    let place = |name: &str| title.iter().position(|t| *t == name).unwrap();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |name: &str| fields[place(name)].parse::<f64>().unwrap();
        let p: Vec<f64> = classes.iter().map(|c| number(c)).collect();
        let most = p.iter().copied().fold(0.0, f64::max);
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-4 && (most - number("cellpredx_class_probability")).abs() < 1e-5);
    }

    let seen: Value = serde_json::from_str(&ok(&annotate("seen.csv", &[]))).unwrap();
    assert!(seen["scenario"]["reason"].as_str().unwrap().contains("correlates by"), "{seen}");
    assert!(error(&annotate("x.csv", &["--preset", "knn"])).contains("--losses"));
    // What comes after the training is looked at before it, by the names that the user gave.
    assert!(error(&annotate("x.csv", &["--n-neighbors", "2000"])).contains("--n-neighbors 2000: "));
    assert!(error(&annotate("x.csv", &["--genes", "x.csv", "--top-genes", "0"])).contains("--top-genes 0: give 1 or more"));
    assert!(error(&annotate("x.csv", &["--min-probability", "2"])).contains("`min_probability` must be between 0 and 1 (got 2)"));
    assert!(error(&annotate("x.csv", &["--min-overlap", "2"])).contains("`min_overlap` must be between 0 and 1 (got 2)"));
    assert!(error(&annotate("x.csv", &["--set", "n_stepps=3"])).contains("did you mean `n_steps`"));
    let refused = tutti(&["annotate", &files[0], &files[1], "--label", "cell_type", "-o", &at("x.csv"), "--losses", "paper"]);
    assert!(error(&refused).contains("--system cellpredx"));
}

#[test]
fn concerto_names_a_query_by_its_neighbours_and_its_model_embeds_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let data = cells();
    let (reference, query): (Vec<usize>, Vec<usize>) = (0..900).partition(|i| data.batch.value(*i) == Some("batch_2"));
    write(Path::new(&at("reference.h5ad")), &data, &reference, &data.gene_names);
    write(Path::new(&at("query.h5ad")), &data, &query, &data.gene_names);
    let annotate = |output: &str, more: &[&str]| {
        let (files, output) = ([at("reference.h5ad"), at("query.h5ad")], at(output));
        let command = ["annotate", &files[0], &files[1], "--label", "cell_type", "--system", "concerto", "-o", &output];
        tutti(&[&command[..], more].concat())
    };
    let model = at("model.safetensors");
    let settings = ["--n-epochs", "20", "--lr", "0.001", "--latent-dim", "32", "--save-model", &model];
    let more = [&settings[..], &["--truth", "cell_type", "--json", "--quiet"]].concat();
    let summary: Value = serde_json::from_str(&ok(&annotate("out.h5ad", &more))).unwrap();
    assert_eq!((&summary["system"], &summary["epochs"]), (&"concerto".into(), &20.into()));
    let truth = &summary["truth"]["coverage"];
    assert!(truth["accuracy"].as_f64().unwrap() > 0.9, "{truth}");
    let out = read(Path::new(&at("out.h5ad")), &ReadOptions::default()).unwrap();
    let z = &out.obsm()["X_concerto"];
    assert_eq!(z.dim(), (query.len(), 32));

    ok(&tutti(&["predict", &model, &at("query.h5ad"), "-o", &at("again.h5ad")]));
    let again = read(Path::new(&at("again.h5ad")), &ReadOptions::default()).unwrap();
    assert!((&again.obsm()["X_concerto"] - z).iter().all(|d| d.abs() < 1e-4));

    assert!(error(&annotate("x.csv", &["--preset", "knn"])).contains("--preset is one of CONCORD"));
    assert!(error(&annotate("x.csv", &["--genes", "x.csv"])).contains("--system cellpredx"));
    assert!(error(&annotate("x.csv", &["--losses", "paper"])).contains("--system cellpredx"));
    assert!(error(&annotate("x.csv", &["--set", "dropout=1"])).contains("`dropout` must be 0 to below 1 (got 1)"));
}

#[test]
fn cellpredx_compares_cells_by_the_metric_of_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let data = cells();
    let (reference, query): (Vec<usize>, Vec<usize>) = (0..900).partition(|i| data.batch.value(*i) == Some("batch_2"));
    write(Path::new(&at("reference.h5ad")), &data, &reference, &data.gene_names);
    write(Path::new(&at("query.h5ad")), &data, &query, &data.gene_names);
    let labels = data.cell_type.select(&reference).drop_unused();
    let split = hold_out(&labels, 0.2, &Rng::new(0)).unwrap();
    let embedding = |file: &str| read(Path::new(&at(file)), &ReadOptions::default()).unwrap().obsm()["X_cellpredx"].clone();
    for (more, expected) in [
        (&["--losses", "default"][..], Metric::Euclidean),
        (&["--losses", "paper"], Metric::Cosine),
        (&["--losses", "reference-code"], Metric::Cosine),
        (&["--set", "start=\"random\""], Metric::Cosine),
    ] {
        let (files, model) = ([at("reference.h5ad"), at("query.h5ad")], at("model.safetensors"));
        let command = ["annotate", &files[0], &files[1], "--label", "cell_type", "-o", &at("out.h5ad"), "--save-model", &model];
        let settings = ["--system", "cellpredx", "--scenario", "rna-to-rna", "--set", "n_steps=30", "--quiet"];
        ok(&tutti(&[&command[..], &settings, more].concat()));
        ok(&tutti(&["predict", &model, &files[0], "-o", &at("embedded.h5ad"), "--quiet"]));
        let (z, of_query) = (embedding("embedded.h5ad"), embedding("out.h5ad"));
        let beside = concatenate![Axis(0), z.select(Axis(0), &split.held_out), of_query];
        let by = |metric| {
            let config = TransferConfig { n_neighbors: 15, metric, ..Default::default() };
            let voters = z.select(Axis(0), &split.train);
            novelty_beside(voters.view(), beside.view(), split.held_out.len(), &config).unwrap().split_off(split.held_out.len())
        };
        let out = read(Path::new(&at("out.h5ad")), &ReadOptions::default()).unwrap();
        let column = out.obs().column("predicted_cell_type_novelty").unwrap();
        let told: Vec<f64> = column.f64().unwrap().iter().map(Option::unwrap).collect();
        let difference = |metric| {
            let novelty: Vec<f32> = by(metric);
            novelty.iter().zip(&told).map(|(a, b)| (f64::from(*a) - b).abs()).sum::<f64>() / told.len() as f64
        };
        let (euclidean, cosine) = (difference(Metric::Euclidean), difference(Metric::Cosine));
        println!("{more:?}: novelty differs by {euclidean:.5} from that of Euclidean distances, {cosine:.5} of cosine");
        let (right, wrong) = if expected == Metric::Cosine { (cosine, euclidean) } else { (euclidean, cosine) };
        // The model of the file places cells within 1e-5, by which a few ranks change.
        assert!(right < 1e-3 && wrong > 1e-2, "{more:?}: {right} {wrong}");
    }
}

#[test]
fn genes_that_the_labels_rest_on_are_the_planted_ones() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let data = cells();
    let (reference, query): (Vec<usize>, Vec<usize>) = (0..900).partition(|i| data.batch.value(*i) == Some("batch_1"));
    write(Path::new(&at("reference.h5ad")), &data, &reference, &data.gene_names);
    write(Path::new(&at("query.h5ad")), &data, &query, &data.gene_names);
    // Type 1 has genes 1 to 40 for itself, type 2 the next 40; one marker that there is not, and a class that no cell of the query has.
    let planted = |class: usize| (1..=40).map(move |j| format!("type_{},gene_{}\n", class + 1, 40 * class + j));
    let more = ["type_1,gene_999\n", "type_9,gene_1\n"].map(String::from);
    let markers: String = ["class,gene\n".to_owned()].into_iter().chain(planted(0)).chain(planted(1)).chain(more).collect();
    std::fs::write(at("markers.csv"), markers).unwrap();
    let annotate = |more: &[&str]| {
        let command = ["annotate", &at("reference.h5ad"), &at("query.h5ad"), "--label", "cell_type", "-o", &at("out.csv")];
        tutti(&[&command[..], more].concat())
    };
    let by_markers = ["--genes", &at("genes.csv"), "--markers", &at("markers.csv"), "--top-genes", "60"];
    let system = ["--system", "cellpredx", "--set", "n_steps=100", "--scenario", "rna-to-rna"];
    let summary: Value =
        serde_json::from_str(&ok(&annotate(&[&system[..], &by_markers, &["--json", "--quiet"]].concat()))).unwrap();
    let found = &summary["determinants"];
    let table = std::fs::read_to_string(at("genes.csv")).unwrap();
    assert!(table.starts_with("class,gene,rank,frequency,attribution,marker\n"), "{table}");
    let rows: Vec<Vec<&str>> = table.lines().skip(1).map(|line| line.split(',').collect()).collect();
    for class in 0..2 {
        let name = format!("type_{}", class + 1);
        let of_class: Vec<&Vec<&str>> = rows.iter().filter(|row| row[0] == name).collect();
        assert_eq!(of_class.len(), 60);
        let number = |row: &[&str]| row[1].strip_prefix("gene_").unwrap().parse::<usize>().unwrap();
        let hits = of_class.iter().filter(|row| (40 * class + 1..=40 * class + 40).contains(&number(row))).count();
        let marked = of_class.iter().filter(|row| row[5] == "true").count();
        let told = found["classes"].as_array().unwrap().iter().find(|c| c["class"] == name).unwrap();
        assert_eq!((marked, &told["markers"]["n_hits"], &told["markers"]["n_markers"]), (hits, &hits.into(), &40.into()));
        assert!(hits > 24, "{hits} of 40 planted genes, 8 by chance");
    }
    let rate = found["key_gene_hit_rate"].as_f64().unwrap();
    let by_hand = rows.iter().filter(|row| row[5] == "true").count() as f64 / 80.0;
    assert!((rate - by_hand).abs() < 1e-9 && (found["expected_by_chance"].as_f64().unwrap() - 0.2).abs() < 1e-9, "{found}");
    assert_eq!(found["left_out"], serde_json::json!(["type_9"]));

    // Of each cell that keeps its label: ten genes, mostly those of its type. From the mean, those that it lacks count too.
    let cell_genes = |baseline: &str| {
        let more =
            ["--genes", &at("g.csv"), "--cell-genes", &at("cells.csv"), "--top-cell-genes", "10", "--gene-baseline", baseline];
        let summary: Value =
            serde_json::from_str(&ok(&annotate(&[&system[..], &more, &["--json", "--quiet"]].concat()))).unwrap();
        let table = std::fs::read_to_string(at("cells.csv")).unwrap();
        assert!(table.starts_with("cell,class,gene,rank,attribution\n"), "{table}");
        let rows: Vec<Vec<String>> = table.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect();
        let kept = (summary["coverage"].as_f64().unwrap() * query.len() as f64).round() as usize;
        assert_eq!(rows.len(), 10 * kept);
        let names: std::collections::HashSet<&String> = rows.iter().map(|row| &row[0]).collect();
        assert_eq!(names.len(), kept);
        rows
    };
    let rows = cell_genes("zero");
    let number = |text: &str| text.rsplit('_').next().unwrap().parse::<usize>().unwrap();
    let counts = data.counts.to_dense();
    let expressed = |row: &&Vec<String>| counts[[number(&row[0]) - 1, number(&row[2]) - 1]] > 0.0;
    assert!(rows.iter().all(|row| expressed(&row)), "from no expression, genes without any add nothing");
    let own = rows.iter().filter(|row| (number(&row[2]) - 1) / 40 == number(&row[1]) - 1).count();
    assert!(own as f64 > 0.6 * rows.len() as f64, "{own} of {}, 0.13 by chance", rows.len());
    let sizes: Vec<f64> = rows[..10].iter().map(|row| row[4].parse::<f64>().unwrap().abs()).collect();
    assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
    let from_mean = cell_genes("mean");
    assert!(from_mean.iter().any(|row| !expressed(&row)));
    assert!(error(&annotate(&[&system[..], &["--cell-genes", "x.csv"]].concat())).contains("--genes"));
    assert!(
        error(&annotate(&[&system[..], &["--genes", "x.csv", "--gene-baseline", "median"]].concat()))
            .contains("`zero` or `mean`")
    );

    let concord = [&FAST[..], &["--set", "use_classifier=true"], &by_markers].concat();
    let human = ok(&annotate(&concord));
    for expected in ["genes    type_1: gene_", "markers  ", "by chance", "left out, as no cell is called so"] {
        assert!(human.contains(expected), "{human}");
    }
    assert!(error(&annotate(&by_markers)).contains("--set use_classifier=true"));
    assert!(error(&annotate(&[&["--system", "pca"], &by_markers[..]].concat())).contains("--system cellpredx"));
    assert!(error(&annotate(&[&system[..], &["--genes", "x.txt"]].concat())).contains("--genes x.txt: unknown format"));
    assert!(error(&annotate(&[&system[..], &["--markers", "x.csv"]].concat())).contains("--genes"));
}
