//! The program as its user runs it.

mod annotate;
mod concord;
mod lineages;
mod peaks;
mod transfer;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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

#[test]
fn info_says_what_is_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let input = input(folder.path(), 120);
    let text = ok(&tutti(&["info", input.to_str().unwrap()]));
    for expected in ["120 cells x 300 genes", "raw counts: whole numbers up to", "obs       tech: 3 levels", "batch?    tech"] {
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn embeddings_of_any_origin_are_scored_and_ranked() {
    let folder = tempfile::tempdir().unwrap();
    let input = input(folder.path(), 300);
    let output = folder.path().join("out.h5ad");
    ok(&concord::concord(&input, &output, &["--batch", "tech", "--quiet"]));
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
