//! `tutti transfer`.

use std::path::Path;

use tutti_io::{Additions, ReadOptions, read, write_h5ad};

use crate::{error, ok, polars_table, tutti};

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
