//! `tutti lcl`, `tutti fate` and `tutti lineage`.

use std::path::Path;

use tutti_io::{Additions, ReadOptions, read, write_h5ad};

use crate::{error, input, ok, polars_table, tutti};

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

/// A table that no run gets to.
const GENES: &str = "never.csv";

#[test]
fn what_is_wrong_with_lineages_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let plain = input(folder.path(), 120);
    let input = folder.path().join("with columns").join("cells.h5ad");
    std::fs::create_dir(input.parent().unwrap()).unwrap();
    let column = |value: &str| tutti_io::ObsColumn::Text(vec![Some(value.to_owned()); 120]);
    let additions = Additions {
        obs: vec![("one".into(), column("only")), ("blank".into(), column(""))],
        obsm: vec![("X_pca".into(), ndarray::Array2::from_shape_fn((120, 2), |(i, _)| 1.0 - 2.0 * (i % 2) as f32))],
        ..Default::default()
    };
    tutti_io::add_to_copy(&plain, &input, &additions).unwrap();
    let output = folder.path().join("out.csv");
    let lcl = |more: &[&str]| {
        error(&tutti(&[&["lcl", input.to_str().unwrap(), "-o", output.to_str().unwrap(), "--quiet"], more].concat()))
    };
    let cases: [(&[&str], &str); 20] = [
        (&["--lineage", "clone"], "`clone` is neither an obs column nor in obsm; the columns are: tech, cell_type"),
        (&["--lineage", "tech", "--n-pairs", "1"], "n_pairs"),
        (&["--lineage", "tech", "--set", "latent_dimm=3"], "`latent_dimm` is no setting"),
        (&["--lineage", "tech", "--time", "tech"], "--fate"),
        (&["--lineage", "tech", "--mode", "transductive", "--set", "entropy_weight=0"], "transductive"),
        (&["--lineage", "tech", "--time", "tech", "--fate", "cell_type", "--early", "day 9"], "no cell has the time `day 9`"),
        (
            &["--lineage", "tech", "--time", "tech", "--fate", "cell_type", "--early", "batch_2", "--final", "batch_2"],
            "`early` has the final time `batch_2`",
        ),
        (&["--lineage", "tech", "--seed", "-3"], "a seed is a whole number from 0 to"),
        (&["--lineage", "one"], "cells.h5ad: 1 lineages have two cells or more, of 1 that any cell has"),
        (&["--lineage", "X_pca"], "cells.h5ad: obsm `X_pca`: cell number 2 has a value below 0, which is no count of a barcode"),
        (&["--lineage", "tech", "--time", "tech", "--fate", "one"], "are of 1 types (only)"),
        (&["--lineage", "tech", "--time", "tech", "--fate", "blank"], "are of 0 types"),
        // What comes after the training is looked at before it.
        (&["--lineage", "tech", "--split", "within", "--test-min-cells", "100"], "the largest lineage of"),
        (&["--lineage", "tech", "--split", "whole", "--test-share", "0.01"], "of the 3 lineages of"),
        (&["--lineage", "tech", "--genes", GENES, "--gene-min-cells", "100"], "--gene-min-cells 100: the largest lineage of"),
        (&["--lineage", "tech", "--pairs", GENES, "--pair-sizes", "5,2"], "--pair-sizes 5,2: give 2 or more, the smaller first"),
        (&["--lineage", "tech", "--pairs", GENES, "--pair-lineages", "0"], "--pairs: no two cells of"),
        (&["--lineage", "tech", "--pairs", GENES, "--latent-dim", "2"], "2 dimensions is too narrow"),
        (&["--lineage", "tech", "--markers", GENES, "--resolution", "0"], "--resolution 0: give a number above 0"),
        (&["--lineage", "tech", "--unlabelled", "none.h5ad"], "none.h5ad: No such file or directory; check the name"),
    ];
    for (more, expected) in cases {
        let text = lcl(more);
        assert!(text.contains(expected), "{more:?}: {text}");
    }
    assert!(!output.exists());
    let idle = ["lcl", input.to_str().unwrap(), "--lineage", "tech", "--mode", "transductive", "-o", output.to_str().unwrap()];
    let warned = tutti(&[&idle[..], &FAST_LCL].concat());
    assert!(warned.status.success());
    assert!(String::from_utf8_lossy(&warned.stderr).contains("`transductive` changes nothing: no test cells are held out"));
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
    assert!(
        text(&["--genes", &at("x.csv"), "--gene-min-cells", "1000"]).contains("--gene-min-cells 1000: the largest lineage of")
    );
    assert!(text(&["--pairs", &at("x.csv"), "--pair-sizes", "9,3"]).contains("--pair-sizes 9,3: give 2 or more"));
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
