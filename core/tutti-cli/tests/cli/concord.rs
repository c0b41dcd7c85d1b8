//! `tutti concord` and `tutti predict`.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use tutti_io::{Additions, ReadOptions, read, write_h5ad};

use crate::{error, input, ok, polars_table, tutti};

const FAST: [&str; 8] = ["--n-epochs", "4", "--latent-dim", "10", "--set", "encoder_dims=[64]", "--batch-size", "64"];

pub fn concord(input: &Path, output: &Path, more: &[&str]) -> Output {
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
