//! The program as its user runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tutti::simulate::{SimulateConfig, simulate};
use tutti_io::{Additions, ReadOptions, read, write_h5ad};

fn tutti(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tutti")).args(arguments).output().unwrap()
}

fn error(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains("panicked"), "{text}");
    text
}

fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Counts of three batches and four types in an h5ad file.
fn input(folder: &Path, n_cells: usize) -> PathBuf {
    let config = SimulateConfig { n_cells, n_genes: 300, n_types: 4, n_batches: 3, seed: 5, ..Default::default() };
    let data = simulate(&config).unwrap();
    let text = |c: &tutti::data::Categorical| (0..c.len()).map(|i| c.value(i).map(str::to_owned)).collect::<Vec<_>>();
    let additions = Additions {
        obs: vec![
            ("tech".into(), tutti_io::ObsColumn::Category(text(&data.batch))),
            ("cell_type".into(), tutti_io::ObsColumn::Category(text(&data.cell_type))),
        ],
        ..Default::default()
    };
    let path = folder.join("cells.h5ad");
    let table = polars_table(n_cells);
    write_h5ad(&path, &data.cell_names, &data.gene_names, &table, &polars_table(300), Some(&data.counts), &additions).unwrap();
    path
}

fn polars_table(n: usize) -> polars::prelude::DataFrame {
    polars::prelude::DataFrame::empty_with_height(n)
}

const FAST: [&str; 8] = ["--n-epochs", "4", "--latent-dim", "10", "--set", "encoder_dims=[64]", "--batch-size", "64"];

fn concord(input: &Path, output: &Path, more: &[&str]) -> Output {
    let mut arguments = vec!["concord", input.to_str().unwrap(), "-o", output.to_str().unwrap()];
    arguments.extend(FAST);
    arguments.extend(more);
    tutti(&arguments)
}

#[test]
fn counts_become_an_embedding_with_every_choice_said() {
    let folder = tempfile::tempdir().unwrap();
    let input = input(folder.path(), 400);
    let output = folder.path().join("out.h5ad");
    let summary = ok(&concord(&input, &output, &["--batch", "tech", "--hvg", "100", "--json", "--quiet"]));
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["input_values"]["value_kind"], "raw counts");
    assert_eq!(summary["input_values"]["preprocessing"]["target_sum"], 1e4);
    assert_eq!(summary["input_values"]["n_genes"], 100);
    assert_eq!((&summary["epochs"], &summary["config"]["temperature"]), (&4.into(), &0.4.into()));
    assert_eq!(summary["composition"]["domains"].as_array().unwrap().len(), 3);
    let data = read(&output, &ReadOptions::default()).unwrap();
    assert_eq!(data.obsm()["X_concord"].dim(), (400, 10));
    assert_eq!(data.column_names(), ["tech", "cell_type"]);
}

#[test]
fn same_seed_same_numbers_for_any_threads_and_another_for_another_seed() {
    let folder = tempfile::tempdir().unwrap();
    let input = input(folder.path(), 300);
    let run = |name: &str, more: &[&str]| {
        let output = folder.path().join(name);
        ok(&concord(&input, &output, &[&["--batch", "tech", "--quiet"], more].concat()));
        std::fs::read(output).unwrap()
    };
    let one = run("a.csv", &["--threads", "1"]);
    assert_eq!(one, run("b.csv", &["--threads", "2"]));
    assert_ne!(one, run("c.csv", &["--seed", "1"]));
}

#[test]
fn a_killed_run_goes_on_to_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let input = input(folder.path(), 400);
    let checkpoint = folder.path().join("run.checkpoint");
    let (whole, resumed) = (folder.path().join("whole.csv"), folder.path().join("resumed.csv"));
    let long = ["--batch", "tech", "--quiet", "--n-epochs", "60"];
    let arguments = |output: &Path, more: &[&str]| -> Vec<String> {
        let fixed = ["concord", input.to_str().unwrap(), "-o", output.to_str().unwrap()];
        fixed.iter().chain(&FAST[2..]).chain(&long).chain(more).map(|s| (*s).to_owned()).collect()
    };
    let run = |arguments: Vec<String>| tutti(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    ok(&run(arguments(&whole, &[])));

    let path = checkpoint.to_str().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tutti"))
        .args(arguments(&resumed, &["--checkpoint", path]))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !checkpoint.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!resumed.exists(), "a killed run leaves no output");
    ok(&run(arguments(&resumed, &["--resume", path])));
    assert_eq!(std::fs::read(whole).unwrap(), std::fs::read(resumed).unwrap());
}

#[test]
fn a_saved_model_embeds_new_cells_as_in_training_and_reports_missing_genes() {
    let folder = tempfile::tempdir().unwrap();
    let input = input(folder.path(), 300);
    let (model, trained, embedded) =
        (folder.path().join("m.safetensors"), folder.path().join("a.csv"), folder.path().join("b.csv"));
    let label = ["--batch", "tech", "--label", "cell_type", "--set", "use_classifier=true", "--quiet", "--save-model"];
    ok(&concord(&input, &trained, &[&label[..], &[model.to_str().unwrap()]].concat()));
    let predict =
        |input: &Path| tutti(&["predict", model.to_str().unwrap(), input.to_str().unwrap(), "-o", embedded.to_str().unwrap()]);
    ok(&predict(&input));
    assert_eq!(std::fs::read(&trained).unwrap(), std::fs::read(&embedded).unwrap());

    // Two thirds of the genes, cells without any obs: embedded, with the missing share said; a quarter: refused.
    let data = read(&input, &ReadOptions::default()).unwrap();
    let part = |n: usize, name: &str| {
        let genes = data.gene_names()[..n].to_vec();
        let subset = tutti::data::GeneSubset::new(data.x().source().unwrap(), &(0..n).map(Some).collect::<Vec<_>>());
        let path = folder.path().join(name);
        let (obs, var) = (polars_table(300), polars_table(n));
        write_h5ad(&path, data.cell_names(), &genes, &obs, &var, Some(&subset), &Additions::default()).unwrap();
        path
    };
    let output = predict(&part(200, "some.h5ad"));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && text.contains("100 of the model's 300 genes (33.3 %) are missing"), "{text}");
    let text = error(&predict(&part(75, "few.h5ad")));
    assert!(text.contains("only 75 of the model's 300 genes (25.0 %, at least 50.0 % are needed)"), "{text}");
}

#[test]
fn what_is_wrong_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let input = input(folder.path(), 120);
    let output = folder.path().join("out.csv");
    let cases: [(&[&str], i32, &str); 7] = [
        (&[], 2, "candidates: tech (3 levels), cell_type (4 levels)"),
        (&["--batch", "nope"], 3, "there is no obs column `nope`; the columns are: tech, cell_type"),
        (&["--batch", "tech", "--temperature", "0"], 2, "`temperature` must be above 0"),
        (&["--batch", "tech", "--set", "latent_dimm=3"], 2, "`latent_dimm` is no setting; did you mean `latent_dim`?"),
        (&["--batch", "tech", "--layer", "counts"], 3, "there is no layer `counts`"),
        (&["--batch", "tech", "--device", "cuda"], 2, "--device cpu"),
        (&["--batch", "tech", "--label", "cell_type"], 2, "use_classifier=true"),
    ];
    for (more, code, expected) in cases {
        let output = concord(&input, &output, more);
        let text = error(&output);
        assert!(text.contains(expected), "{more:?}: {text}");
        assert_eq!(output.status.code(), Some(code), "{more:?}: {text}");
    }
    let text = error(&concord(&input, &folder.path().join("out.docx"), &["--batch", "tech"]));
    assert!(text.contains("unknown format"), "{text}");
    let text = error(&concord(&input, &input, &["--batch", "tech"]));
    assert!(text.contains("the input is never changed"), "{text}");
    assert!(!output.exists());
}

#[test]
fn values_that_cannot_be_used_name_cell_and_gene() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.csv");
    let run = |text: &str| {
        std::fs::write(&path, text).unwrap();
        error(&tutti(&["concord", path.to_str().unwrap(), "--no-batch", "-o", folder.path().join("o.csv").to_str().unwrap()]))
    };
    assert!(run("cell,A,B\nc1,1,2\nc2,0,-3\n").contains("negative value -3 for cell c2 and gene B"));
    assert!(run("cell,A,B\nc1,1,2\nc2,0,NaN\n").contains("line 3, column 3 (gene B): `NaN`"));
    assert!(run("cell,A,B\nc1,0,0\nc2,0,0\n").contains("all values are zero, from cell c1 and gene A on"));
    assert!(run("cell,A,B\nc1,1,0\nc2,0,1\n").contains("2 cells are too few"));
}

#[test]
fn a_single_batch_works_with_a_note() {
    let folder = tempfile::tempdir().unwrap();
    let input = input(folder.path(), 200);
    let output = folder.path().join("out.parquet");
    ok(&concord(&input, &output, &["--no-batch"]));
    assert_eq!(read(&output, &ReadOptions::default()).unwrap().n_cells(), 200);
}

#[test]
fn info_says_what_is_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let input = input(folder.path(), 120);
    let text = ok(&tutti(&["info", input.to_str().unwrap()]));
    for expected in ["120 cells x 300 genes", "raw counts: whole numbers up to", "obs       tech: 3 levels", "batch?    tech"] {
        assert!(text.contains(expected), "{text}");
    }
}

/// `n` cells at random around the axes of their classes, as an h5ad file with an embedding; every tenth cell has no class. Cells are
/// named after the file.
fn embedded(path: &Path, classes: &[&str], n: usize, seed: u64) {
    let mut stream = tutti::rng::Rng::new(seed).stream("cells", 0, 0);
    let x = ndarray::Array2::from_shape_fn((n, 6), |(i, j)| {
        0.2 * stream.normal() as f32 + if i % classes.len() == j { 2.0 } else { 0.0 }
    });
    let class = |i: usize| (!i.is_multiple_of(10)).then(|| classes[i % classes.len()].to_owned());
    let additions = Additions {
        obsm: vec![("X_concord".into(), x)],
        obs: vec![("cell_type".into(), tutti_io::ObsColumn::Category((0..n).map(class).collect()))],
        uns: serde_json::json!({"system": "concord"}),
    };
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let names: Vec<String> = (0..n).map(|i| format!("{stem}_{i}")).collect();
    write_h5ad(path, &names, &[], &polars_table(n), &polars_table(0), None, &additions).unwrap();
}

#[test]
fn cells_are_named_after_their_neighbours_and_strange_ones_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (reference, query) = (at("reference.h5ad"), at("query.h5ad"));
    embedded(Path::new(&reference), &["B", "CD4/CD8 T"], 401, 1);
    embedded(Path::new(&query), &["B", "CD4/CD8 T", "unseen"], 300, 2);
    let transfer = |output: &str, more: &[&str]| {
        tutti(&[&["transfer", &reference, &query, "--label", "cell_type", "-o", &at(output)], more].concat())
    };

    let limits = ["--max-novelty", "0.995", "--min-confidence", "0.6", "--all-scores"];
    let printed = transfer("out.h5ad", &[&limits[..], &["--json", "--quiet"]].concat());
    assert!(String::from_utf8_lossy(&printed.stderr).contains("41 of 401 reference cells have no `cell_type`"));
    let summary: serde_json::Value = serde_json::from_str(&ok(&printed)).unwrap();
    assert_eq!((&summary["n_reference"], &summary["n_unlabelled"], &summary["n_query"]), (&401.into(), &41.into(), &300.into()));
    assert_eq!(
        (&summary["metric"], &summary["weights"], &summary["n_neighbors"]),
        (&"cosine".into(), &"similarity".into(), &5.into())
    );
    let named = |class: &str| summary["predicted"][class].as_u64().unwrap();
    assert_eq!(named("B") + named("CD4/CD8 T"), 300);
    assert!((100..=104).contains(&summary["n_unknown"].as_u64().unwrap()), "the unseen class and few others: {summary}");

    let data = read(Path::new(&at("out.h5ad")), &ReadOptions { without_x: true, ..Default::default() }).unwrap();
    let added = ["", "_score", "_novelty", "_unknown", "_score_B", "_score_CD4_CD8 T"];
    let expected: Vec<String> = added.iter().map(|end| format!("predicted_cell_type{end}")).collect();
    assert_eq!(data.column_names()[1..], expected);
    assert!(data.obsm().contains_key("X_concord"), "the copy keeps what was there");
    let (found, truth) = (data.categorical(&expected[0]).unwrap(), data.categorical("cell_type").unwrap());
    for i in (0..300).filter(|i| i % 3 < 2) {
        assert!(truth.value(i).is_none_or(|truth| found.value(i) == Some(truth)), "cell {i}");
    }

    // The same by a table, with any threads; a person reads a line per class.
    let human = ok(&transfer("a.csv", &["--threads", "1"]));
    ok(&transfer("b.csv", &["--threads", "2", "--quiet"]));
    let table = std::fs::read_to_string(at("a.csv")).unwrap();
    assert!(table.starts_with("cell,predicted_cell_type,predicted_cell_type_score,predicted_cell_type_novelty\nquery_0,B,1.0,"));
    assert!(table.lines().count() == 301 && table == std::fs::read_to_string(at("b.csv")).unwrap());
    assert!(human.contains("median novelty") && human.contains("\nCD4/CD8 T ") && !human.contains("unknown"), "{human}");
    ok(&transfer("out.parquet", &["--weights", "gaussian", "--metric", "euclidean", "--quiet"]));

    // An embedding from elsewhere that has all cells of both, by name.
    let rows = (0..401).rev().map(|i| format!("query_{i},{0},1\nreference_{i},{0},1\n", 1 + i % 2));
    std::fs::write(at("z.csv"), std::iter::once("cell,z1,z2\n".to_owned()).chain(rows).collect::<String>()).unwrap();
    ok(&transfer("c.csv", &["--embedding", &at("z.csv"), "--quiet"]));
    let table = std::fs::read_to_string(at("c.csv")).unwrap();
    assert!(table.lines().skip(1).enumerate().all(|(i, line)| line.contains(["B,1.0", "CD4/CD8 T,1.0"][i % 2])), "{table}");
    std::fs::copy(&reference, at("copy.h5ad")).unwrap();
    let copied =
        ["transfer", &reference, &at("copy.h5ad"), "--label", "cell_type", "--embedding", &at("z.csv"), "-o", &at("x.csv")];
    assert!(error(&tutti(&copied)).contains("401 cells have the same name in reference and query (first: reference_0)"));

    let named = |arguments: &[&str], code: i32, expected: &str| {
        let output = transfer("never.csv", arguments);
        let text = error(&output);
        assert!(text.contains(expected) && output.status.code() == Some(code), "{arguments:?}: {text}");
    };
    named(&["--embedding", "X_umap"], 2, "reference.h5ad: `X_umap` is neither in obsm (X_concord) nor a file");
    named(&["--n-neighbors", "360"], 2, "between 1 and the number of other labelled cells, 359 (got 360)");
    named(&["--max-novelty", "2"], 2, "`max_novelty` must be between 0 and 1 (got 2)");
    assert!(!Path::new(&at("never.csv")).exists());
    assert!(error(&transfer("reference.h5ad", &[])).contains("is the input; the input is never changed"));
    let missing = tutti(&["transfer", &reference, &query, "--label", "type", "-o", &at("x.csv")]);
    assert!(error(&missing).contains("there is no obs column `type`; the columns are: cell_type"));
    let copy = tutti(&["transfer", &reference, &at("z.csv"), "--label", "cell_type", "-o", &at("x.h5ad")]);
    assert!(error(&copy).contains("z.csv is not h5ad"));
}

#[test]
fn a_query_that_lies_elsewhere_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    embedded(Path::new(&at("reference.h5ad")), &["B", "T"], 100, 1);
    embedded(Path::new(&at("other.h5ad")), &["a", "b", "c", "d", "e", "f"], 60, 2);
    embedded(Path::new(&at("alike.h5ad")), &["B", "T"], 60, 3);
    let run = |query: &str| {
        let output =
            tutti(&["transfer", &at("reference.h5ad"), &at(query), "--label", "cell_type", "-o", &at("o.csv"), "--quiet"]);
        ok(&output);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(run("other.h5ad").contains("half of the query cells are farther from the reference than 100 % of its own"));
    assert!(!run("alike.h5ad").contains("half of the query"));
}

#[test]
fn embeddings_of_any_origin_are_scored_and_ranked() {
    let folder = tempfile::tempdir().unwrap();
    let input = input(folder.path(), 300);
    let output = folder.path().join("out.h5ad");
    ok(&concord(&input, &output, &["--batch", "tech", "--quiet"]));
    // Another tool's embedding: the cells in another order, the types far apart.
    let data = read(&output, &ReadOptions::default()).unwrap();
    let codes = data.categorical("cell_type").unwrap();
    let code = |i: usize| codes.codes()[i].unwrap();
    let other = folder.path().join("other.csv");
    let rows = (0..300).rev().map(|i| format!("{},{},{}\n", data.cell_names()[i], 100 * code(i), 1 + i % 2));
    std::fs::write(&other, std::iter::once("cell,d1,d2\n".to_owned()).chain(rows).collect::<String>()).unwrap();

    let (file, other, table) = (output.to_str().unwrap(), other.to_str().unwrap(), folder.path().join("scores.csv"));
    let columns = ["--label", "cell_type", "--batch", "tech"];
    let score = |more: &[&str]| tutti(&[&["score", file][..], &columns[..], more].concat());
    let both = ["--embedding", "X_concord", "--embedding", other, "-o", table.to_str().unwrap()];
    let printed = ok(&score(&[&both[..], &["--json"]].concat()));
    let scores: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert!(scores[other]["ari"].as_f64().unwrap() > 0.99, "{printed}");
    assert!(scores[other]["label_silhouette"].as_f64() > scores["X_concord"]["label_silhouette"].as_f64());
    let written = std::fs::read_to_string(&table).unwrap();
    assert_eq!(written.lines().count(), 3);
    assert!(written.starts_with("embedding,isolated_labels,nmi,ari"));
    let parquet = folder.path().join("scores.parquet");
    ok(&score(&[&both[..4], &["-o", parquet.to_str().unwrap()]].concat()));
    let parquet = read(&parquet, &ReadOptions::default());
    assert!(parquet.unwrap_err().to_string().contains("no number for cell"), "scores that are missing stay empty");
    let human = ok(&score(&both));
    assert!(human.contains("graph connectivity") && human.contains("total (0.6, 0.4)"), "{human}");

    assert!(!human.contains("trustworthiness"));
    let with_truth: serde_json::Value = serde_json::from_str(&ok(&score(&["--truth", "X_concord", "--json"]))).unwrap();
    assert!(with_truth["X_concord"]["trustworthiness"] == 1.0, "an embedding is true to itself");
    assert!(with_truth["X_concord"]["distance_correlation"].as_f64().unwrap() > 0.999_999);
    assert!(error(&score(&["--truth", "no_noise"])).contains("there is no layer `no_noise`"));

    let with_betti: serde_json::Value = serde_json::from_str(&ok(&score(&["--betti", "3,0,0", "--json"]))).unwrap();
    assert!(with_betti["X_concord"]["topology"].as_f64().is_some(), "{with_betti}");
    assert!(error(&score(&["--betti", "3,0"])).contains("--betti takes three numbers, such as 0,1,0 (got 2)"));

    assert!(error(&score(&["--embedding", "X_umap"])).contains("neither in obsm (X_concord) nor a file"));
    std::fs::write(other, "cell,d1\ncell_1,3\n").unwrap();
    assert!(error(&score(&["--embedding", other])).contains("lacks 299 of 300 cells"));
    assert!(error(&score(&["-o", "scores.txt"])).contains(".parquet or .json"));
}

#[test]
fn a_printed_spec_simulates_and_the_file_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for preset in ok(&tutti(&["simulate", "--list"])).lines().map(|line| line.split_whitespace().next().unwrap()) {
        let text = ok(&tutti(&["simulate", "--print-spec", preset, "--n-cells", "70", "--n-genes", "90"]));
        std::fs::write(at("spec.toml"), &text).unwrap();
        ok(&tutti(&["simulate", &at("spec.toml"), "-o", &at("a.h5ad"), "--quiet", "--threads", "1"]));
        let more = ["--n-cells", "70", "--n-genes", "90", "--threads", "2", "--quiet"];
        ok(&tutti(&[&["simulate", "--preset", preset, "-o", &at("b.h5ad")], &more[..]].concat()));
        assert!(std::fs::read(at("a.h5ad")).unwrap() == std::fs::read(at("b.h5ad")).unwrap(), "{preset}");
    }
    // The last one has proteins.
    let (rna, protein) = (
        read(Path::new(&at("b.h5ad")), &ReadOptions::default()),
        read(Path::new(&at("b.protein.h5ad")), &ReadOptions::default()),
    );
    let (rna, protein) = (rna.unwrap(), protein.unwrap());
    assert_eq!((rna.n_cells(), protein.n_cells(), rna.gene_names().len(), protein.gene_names().len()), (70, 70, 90, 30));
    assert_eq!(rna.cell_names(), protein.cell_names());
    assert_eq!(rna.column_names(), ["batch", "cell_type"]);
    let truth = ReadOptions { layer: Some("no_noise".into()), ..Default::default() };
    assert_eq!(read(Path::new(&at("b.h5ad")), &truth).unwrap().gene_names().len(), 90);
}

#[test]
fn a_bad_spec_is_refused_by_file_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let (spec, output) = (folder.path().join("spec.toml"), folder.path().join("x.h5ad"));
    let run = |text: &str, more: &[&str]| {
        std::fs::write(&spec, text).unwrap();
        tutti(&[&["simulate", spec.to_str().unwrap(), "-o", output.to_str().unwrap()], more].concat())
    };
    for (text, parts) in [
        ("n_cell = 5", ["spec.toml", "`n_cell`", "`n_cells`"]),
        ("[structure]\nkind = \"tree\"\ndepht = 2", ["spec.toml", "`depht`", "`depth`"]),
        ("[structure]\nkind = \"blob\"", ["spec.toml", "`blob`", "`clusters`"]),
        ("[noise]\ndispersion = -1", ["spec.toml: `noise.dispersion`", "-1", "give 0 or"]),
        ("[noise]\ndispersion = \"x\"", ["spec.toml", "line 2", "list of one number per state"]),
        (
            "[[batches.effects]]\nkind = \"scaling_factor\"\ndispersion = 1",
            ["`batches.effects.dispersion`", "no effect", "leave it out"],
        ),
    ] {
        let message = error(&run(text, &[]));
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
    assert!(error(&run("", &["--layers", "none,no_noise"])).contains("leave out `none`"));
    assert!(error(&tutti(&["simulate", "--preset", "tree", "-o", "x.csv"])).contains(".h5ad"));
    assert!(error(&tutti(&["simulate", "--preset", "three", "-o", "x.h5ad"])).contains("three_clusters"));
    assert!(!output.exists());
}

#[test]
fn the_demo_draws_its_picture() {
    let folder = tempfile::tempdir().unwrap();
    let figure = folder.path().join("demo.svg");
    let text = ok(&tutti(&["demo", "--figure", figure.to_str().unwrap()]));
    assert!(text.contains("CONCORD") && std::fs::read_to_string(&figure).unwrap().starts_with("<svg"));
    assert!(error(&tutti(&["demo", "--figure", "picture.gif"])).contains("neither .svg nor .png"));
}

const FAST_LCL: [&str; 8] = ["--n-epochs", "3", "--latent-dim", "6", "--set", "encoder_dims=[32,16]", "--n-pairs", "40"];

#[test]
fn barcoded_cells_become_an_embedding_with_test_errors_and_fates() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let sizes = ["--n-cells", "2500", "--n-genes", "200", "--layers", "none", "--quiet"];
    ok(&tutti(&[&["simulate", "--preset", "lineage", "-o", &at("cells.h5ad")], &sizes[..]].concat()));
    let lcl = |output: &str, more: &[&str]| {
        let command = ["lcl", &at("cells.h5ad"), "--lineage", "barcode", "-o", &at(output), "--quiet"];
        tutti(&[&command[..], &FAST_LCL, more].concat())
    };
    let fates = ["--time", "day", "--fate", "cell_type", "--min-final", "3"];
    let more = ["--split", "within", "--save-model", &at("m.safetensors"), "--save-decoder", &at("d.safetensors"), "--json"];
    let summary: serde_json::Value = serde_json::from_str(&ok(&lcl("out.h5ad", &[&fates[..], &more].concat()))).unwrap();
    assert_eq!((&summary["system"], &summary["epochs"], &summary["config"]["n_pairs"]), (&"lcl".into(), &3.into(), &40.into()));
    assert_eq!((&summary["lineages"]["n_cells"], &summary["config"]["mode"]), (&2500.into(), &"inductive".into()));
    let n_test = summary["n_test"].as_u64().unwrap();
    assert!(n_test > 100 && summary["lineage_error"]["lcl"]["n_test"] == n_test, "{}", summary["lineage_error"]);
    assert!(summary["lineage_error"]["pca"]["error"].as_f64().unwrap() < 1.0);
    assert!(summary["fate"]["held_out"]["kl"].as_f64().unwrap() > 0.0, "{}", summary["fate"]);

    let data = read(Path::new(&at("out.h5ad")), &ReadOptions::default()).unwrap();
    assert_eq!(data.obsm()["X_lcl"].dim(), (2500, 6));
    let split = data.categorical("lcl_split").unwrap();
    assert_eq!(split.levels(), ["test", "train", "without barcode"]);
    assert_eq!(split.counts()[0] as u64, n_test);
    let fates_there: Vec<String> = data.column_names().into_iter().filter(|c| c.starts_with("fate_")).collect();
    assert!(fates_there.len() >= 2, "{:?}", data.column_names());

    // The same decoder from the file alone, the same embedding from the model, and the same for any number of threads.
    let again = ["fate", &at("out.h5ad"), "--lineage", "barcode", "-o", &at("fates.csv"), "--json"];
    let report: serde_json::Value = serde_json::from_str(&ok(&tutti(&[&again[..], &fates].concat()))).unwrap();
    assert_eq!(report, summary["fate"]);
    ok(&tutti(&["predict", &at("m.safetensors"), &at("cells.h5ad"), "-o", &at("p.csv")]));
    ok(&lcl("one.csv", &["--split", "within", "--threads", "1"]));
    ok(&lcl("two.csv", &["--split", "within", "--threads", "2"]));
    let rows = |name: &str| -> Vec<String> {
        let text = std::fs::read_to_string(at(name)).unwrap();
        text.lines().map(|line| line.split(',').take(7).collect::<Vec<_>>().join(",")).collect()
    };
    assert_eq!(rows("one.csv"), rows("p.csv"));
    assert_eq!(std::fs::read(at("one.csv")).unwrap(), std::fs::read(at("two.csv")).unwrap());

    let text = ok(&tutti(&[&["lcl", &at("cells.h5ad"), "--lineage", "barcode", "-o", &at("x.csv")], &FAST_LCL[..]].concat()));
    for expected in ["method   lcl: encoder [32, 16]", "lineages ", "cells without a barcode", "trained  3 epochs"] {
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn what_is_wrong_with_lineages_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let input = input(folder.path(), 120);
    let output = folder.path().join("out.csv");
    let lcl = |more: &[&str]| {
        error(&tutti(&[&["lcl", input.to_str().unwrap(), "-o", output.to_str().unwrap(), "--quiet"], more].concat()))
    };
    let cases: [(&[&str], &str); 6] = [
        (&["--lineage", "clone"], "`clone` is neither an obs column nor in obsm; the columns are: tech, cell_type"),
        (&["--lineage", "tech", "--n-pairs", "1"], "n_pairs"),
        (&["--lineage", "tech", "--set", "latent_dimm=3"], "`latent_dimm` is no setting"),
        (&["--lineage", "tech", "--time", "tech"], "--fate"),
        (&["--lineage", "tech", "--mode", "transductive", "--set", "entropy_weight=0"], "transductive"),
        (&["--lineage", "tech", "--time", "tech", "--fate", "cell_type", "--early", "day 9"], "no cell has the time `day 9`"),
    ];
    for (more, expected) in cases {
        let text = lcl(more);
        assert!(text.contains(expected), "{more:?}: {text}");
    }
    assert!(!output.exists());
}

/// Ten barcoded clones in an h5ad file.
fn barcoded(folder: &Path, n_cells: usize) -> String {
    let spec = folder.join("spec.toml");
    let text = format!(
        "n_cells = {n_cells}\nn_genes = 150\n[structure]\nkind = \"lineage\"\nn_clones = 10\nclone_spread = 0.3\nmemory = 1.0\nmemory_gene_fraction = 0.05\n\
         [noise]\ndistribution = \"negative_binomial\"\n"
    );
    std::fs::write(&spec, text).unwrap();
    let path = folder.join("barcoded.h5ad").to_str().unwrap().to_owned();
    ok(&tutti(&["simulate", spec.to_str().unwrap(), "-o", &path, "--layers", "none", "--quiet"]));
    path
}

const SHORT_LCL: [&str; 14] = [
    "--n-epochs",
    "8",
    "--latent-dim",
    "8",
    "--set",
    "encoder_dims=[32,16]",
    "--set",
    "accumulate=1",
    "--lr",
    "0.003",
    "--size-factor",
    "0.1",
    "--set",
    "weight_decay=0.3",
];

#[test]
fn tables_of_genes_islands_and_pairs_are_the_same_from_the_training_and_from_its_model() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let input = barcoded(folder.path(), 400);
    let tables = |prefix: &str| -> Vec<String> {
        let file = |name: &str| at(&format!("{prefix}_{name}.csv"));
        let (genes, markers, pairs) = (file("genes"), file("markers"), file("pairs"));
        let fixed = ["--genes", &genes, "--top-genes", "5", "--markers", &markers, "--pairs", &pairs, "--pair-sizes", "15,60"];
        fixed.map(str::to_owned).to_vec()
    };
    let run = |command: Vec<String>| tutti(&command.iter().map(String::as_str).collect::<Vec<_>>());
    let owned = |arguments: &[&str]| -> Vec<String> { arguments.iter().map(|a| (*a).to_owned()).collect() };
    let (model, output) = (at("m.safetensors"), at("out.h5ad"));
    let train = ["lcl", &input, "--lineage", "barcode", "-o", &output, "--save-model", &model, "--json", "--quiet"];
    let summary = ok(&run([owned(&train), owned(&SHORT_LCL), tables("a")].concat()));
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();

    let text = |name: &str| std::fs::read_to_string(at(name)).unwrap();
    let genes = text("a_genes.csv");
    let n_lineages = summary["genes"]["n_lineages"].as_u64().unwrap() as usize;
    assert!(genes.starts_with("lineage,gene,rank,importance\n") && n_lineages >= 8);
    assert_eq!(genes.lines().count(), 1 + 10 + 5 * n_lineages);
    assert!(genes.lines().nth(1).unwrap().starts_with(','), "means over lineages come first: {genes}");
    assert!(summary["genes"]["completeness_error"].as_f64().unwrap() < 0.05, "{}", summary["genes"]);
    assert_eq!(summary["genes"]["top"][0], genes.lines().nth(1).unwrap().split(',').nth(1).unwrap());

    let n_islands = summary["markers"]["n_islands"].as_u64().unwrap() as usize;
    assert_eq!(text("a_markers.csv").lines().count(), 1 + 150 * n_islands);
    assert!(text("a_markers.csv").starts_with("island,gene,z,p,p_adjusted,auc,log2_fold_change,share_in,share_out\n"));
    let data = read(Path::new(&output), &ReadOptions::default()).unwrap();
    assert_eq!(data.categorical("lcl_island").unwrap().n_levels(), n_islands);

    let pairs = &summary["pairs"];
    assert_eq!(pairs["held_out"], false);
    assert!(pairs["lcl"]["auprc"].as_f64() > pairs["lcl"]["share_related"].as_f64(), "{pairs}");
    let votes: Vec<f64> = text("a_pairs.csv").lines().skip(1).map(|l| l.split(',').nth(2).unwrap().parse().unwrap()).collect();
    assert!(votes.is_sorted_by(|a, b| a >= b) && votes[0] <= 100.0 && votes[votes.len() - 1] >= 1.0);

    let again = ["lineage", &model, &input, "--lineage", "barcode", "-o", &at("again.h5ad"), "--threads", "1"];
    let told = ok(&run([owned(&again), tables("b")].concat()));
    for name in ["genes", "markers", "pairs"] {
        assert_eq!(text(&format!("a_{name}.csv")), text(&format!("b_{name}.csv")), "{name}");
    }
    for expected in
        [format!("genes    of {n_lineages} lineages"), format!("islands  {n_islands}, "), "none of them held out: AUPRC".into()]
    {
        assert!(told.contains(&expected), "{told}");
    }
    let copy = read(Path::new(&at("again.h5ad")), &ReadOptions::default()).unwrap();
    assert_eq!(copy.obsm()["X_lcl"], data.obsm()["X_lcl"]);

    let text = |more: &[&str]| error(&tutti(&[&["lineage", &model, &input, "--lineage", "barcode"], more].concat()));
    assert!(text(&[]).contains("--genes, --markers or --pairs"));
    assert!(text(&["--genes", &at("x.txt")]).contains("--genes") && text(&["--genes", &at("x.txt")]).contains("unknown format"));
    assert!(text(&["--genes", &at("x.csv"), "--gene-min-cells", "1000"]).contains("no lineage has 1000 cells"));
    assert!(text(&["--pairs", &at("x.csv"), "--pair-sizes", "9,3"]).contains("`sizes` are 9 and 3"));
}

#[test]
fn pairs_are_of_test_cells_where_some_are_held_out() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let input = barcoded(folder.path(), 400);
    let split =
        ["--split", "within", "--test-share", "0.25", "--test-min-cells", "12", "--pairs", &at("p.csv"), "--pair-sizes", "4,20"];
    let train = ["lcl", &input, "--lineage", "barcode", "-o", &at("o.h5ad"), "--json", "--quiet"];
    let summary = ok(&tutti(&[&train[..], &SHORT_LCL, &split].concat()));
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!((&summary["pairs"]["held_out"], &summary["pairs"]["n_cells"]), (&true.into(), &summary["n_test"]));
    let data = read(Path::new(&at("o.h5ad")), &ReadOptions::default()).unwrap();
    let (split, names) = (data.categorical("lcl_split").unwrap(), data.cell_names());
    let table = std::fs::read_to_string(at("p.csv")).unwrap();
    for cell in table.lines().skip(1).flat_map(|l| l.split(',').take(2)) {
        let place = names.iter().position(|n| n == cell).unwrap();
        assert_eq!(split.value(place), Some("test"));
    }
}

#[test]
fn cells_of_another_file_train_the_entropy_penalty() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let input = barcoded(folder.path(), 300);
    // The same genes in another order and fewer of them, without any obs.
    let data = read(Path::new(&input), &ReadOptions::default()).unwrap();
    let genes: Vec<usize> = (0..120).rev().collect();
    let subset = tutti::data::GeneSubset::new(data.x().source().unwrap(), &genes.iter().map(|g| Some(*g)).collect::<Vec<_>>());
    let names: Vec<String> = genes.iter().map(|g| data.gene_names()[*g].clone()).collect();
    let (obs, var) = (polars_table(300), polars_table(120));
    write_h5ad(Path::new(&at("more.h5ad")), data.cell_names(), &names, &obs, &var, Some(&subset), &Additions::default()).unwrap();

    let lcl = |output: &str, more: &[&str]| {
        let train = ["lcl", &input, "--lineage", "clone", "-o", &at(output), "--json", "--quiet", "--n-unlabelled", "10"];
        tutti(&[&train[..], &SHORT_LCL, more].concat())
    };
    let without = lcl("a.csv", &[]);
    assert!(String::from_utf8_lossy(&without.stderr).contains("entropy penalty on cells without one is left out"));
    let with = lcl("b.csv", &["--unlabelled", &at("more.h5ad")]);
    let summary: serde_json::Value = serde_json::from_str(&ok(&with)).unwrap();
    assert_eq!((&summary["n_cells"], &summary["n_unlabelled_cells"]), (&300.into(), &300.into()));
    assert!(String::from_utf8_lossy(&with.stderr).contains("30 of the model's 150 genes (20.0 %) are missing"));
    assert!(summary["history"]["epochs"][0]["terms"]["entropy"].as_f64().unwrap() > 0.0, "{}", summary["history"]);
    let table = |name: &str| std::fs::read_to_string(at(name)).unwrap();
    assert!(table("a.csv").lines().count() == 301 && table("b.csv").lines().count() == 301 && table("a.csv") != table("b.csv"));

    let refused = error(&lcl("c.csv", &["--unlabelled", &at("more.h5ad"), "--entropy-weight", "0"]));
    assert!(refused.contains("--unlabelled has no effect without `n_unlabelled` and `entropy_weight`"), "{refused}");
    assert!(error(&lcl("c.csv", &["--unlabelled", &at("none.h5ad")])).contains("none.h5ad"));
}
