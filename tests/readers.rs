//! Every file is read as its own ecosystem's reader reads it; `data/expected_readers.py` made the numbers.

use serde_json::Value;
use tutti::data::{CellSource, Csr};
use tutti_io::{AnnData, Backed, Matrix, ReadOptions, read};

fn memory(data: &AnnData) -> Csr {
    match data.x() {
        Matrix::Memory(x) => (**x).clone(),
        Matrix::Disk(x) => {
            let mut out = Csr::empty(x.n_genes());
            x.read_range(0..x.n_cells(), &mut out).unwrap();
            out
        }
        Matrix::None => panic!("no matrix"),
    }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-5 * b.abs().max(1.0)
}

fn check_matrix(name: &str, x: &Csr, expected: &Value) {
    let number = |key: &str| expected[key].as_f64().unwrap();
    let entries =
        || (0..x.n_rows()).flat_map(|i| x.row(i).0.iter().zip(x.row(i).1).map(move |(j, v)| (i, *j as usize, f64::from(*v))));
    assert_eq!(
        [x.n_rows() as f64, x.n_cols() as f64],
        [expected["shape"][0].as_f64().unwrap(), expected["shape"][1].as_f64().unwrap()],
        "{name}"
    );
    assert_eq!(entries().filter(|e| e.2 != 0.0).count() as f64, number("nnz"), "{name}: non-zero values");
    for key in ["sum", "row_weighted", "column_weighted"] {
        let weight = |i: usize, j: usize| match key {
            "row_weighted" => (i + 1) as f64,
            "column_weighted" => (j + 1) as f64,
            _ => 1.0,
        };
        // Scaled values cancel: the error is in proportion to their sizes, not to their sum.
        let (sum, size) =
            entries().fold((0.0, 1.0), |(sum, size), (i, j, v)| (sum + v * weight(i, j), size + v.abs() * weight(i, j)));
        assert!((sum - number(key)).abs() < 1e-6 * size, "{name}: {key} {sum} {}", number(key));
    }
    for pick in expected["values"].as_array().unwrap() {
        let (i, j, value) = (pick[0].as_u64().unwrap() as usize, pick[1].as_u64().unwrap() as u32, pick[2].as_f64().unwrap());
        let (columns, values) = x.row(i);
        let found = columns.binary_search(&j).map(|p| f64::from(values[p]));
        assert!(found.is_ok_and(|v| close(v, value)), "{name}: value at {i}, {j}");
    }
}

fn check(name: &str, data: &AnnData, expected: &Value) {
    let ends = |names: &[String]| Value::from(vec![names[0].clone(), names[names.len() - 1].clone()]);
    if !expected["cells"].is_null() {
        assert_eq!(ends(data.cell_names()), expected["cells"], "{name}");
        assert_eq!(ends(data.gene_names()), expected["genes"], "{name}");
    }
    match expected["x"].is_null() {
        true => assert!(!data.has_x(), "{name}"),
        false => check_matrix(name, &memory(data), &expected["x"]),
    }
    for (column, counts) in expected["categories"].as_object().unwrap() {
        let ours = data.categorical(column).unwrap();
        let counts = counts.as_object().unwrap();
        assert_eq!(ours.n_levels(), counts.len(), "{name}: levels of {column}");
        for (level, n) in ours.levels().iter().zip(ours.counts()) {
            assert_eq!(counts.get(level).and_then(Value::as_u64), Some(n as u64), "{name}: {column} {level}");
        }
    }
    for (key, expected) in expected["obsm"].as_object().unwrap() {
        // obsm of anndata before 0.7 is one compound table; a note says that it is not read.
        let Some(array) = data.obsm().get(key) else {
            assert!(data.notes().iter().any(|n| n.contains("obsm")), "{name}: obsm {key}");
            continue;
        };
        assert_eq!(array.ncols() as u64, expected[0][1].as_u64().unwrap(), "{name}: obsm {key}");
        let sum: f64 = array.iter().map(|v| f64::from(*v)).sum();
        assert!((sum - expected[1].as_f64().unwrap()).abs() < 1e-3 * array.len() as f64, "{name}: obsm {key}");
    }
}

#[test]
fn every_file_is_read_as_its_own_ecosystem_reads_it() {
    let Some(folder) = crate::shared_data() else { return };
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/data/expected_readers.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    for (name, expected) in all.as_object().unwrap() {
        let (file, part) = name.split_once('#').unwrap_or((name, ""));
        let mut options = ReadOptions::default();
        match part.split_once('=') {
            Some(("layer", layer)) => options.layer = Some(layer.to_owned()),
            Some(("genome", genome)) => options.genome = Some(genome.to_owned()),
            _ => options.raw = part == "raw",
        }
        let data = read(&folder.join(file), &options).unwrap_or_else(|e| panic!("{name}: {e}"));
        check(name, &data, expected);
    }
}

#[test]
fn rows_from_disk_equal_rows_in_memory() {
    let Some(folder) = crate::shared_data() else { return };
    for file in ["larry_hematopoiesis_subset.h5ad", "reader_cases/h5ad_versions/anndata_v0.5.0.h5ad"] {
        let path = folder.join(file);
        let whole = memory(&read(&path, &ReadOptions { backed: Backed::Never, ..Default::default() }).unwrap());
        let data = read(&path, &ReadOptions { backed: Backed::Always, ..Default::default() }).unwrap();
        assert!(matches!(data.x(), Matrix::Disk(_)));
        let source = data.x().source().unwrap();
        let (mut ours, mut theirs) = (Csr::empty(0), Csr::empty(0));
        for rows in [vec![5, 3, 5, 699, 0, 4], (100..300).collect(), vec![], vec![7]] {
            source.read_rows(&rows, &mut ours).unwrap();
            whole.read_rows(&rows, &mut theirs).unwrap();
            assert_eq!(ours, theirs, "{file} {rows:?}");
        }
    }
}

#[test]
fn several_genomes_and_missing_layers_say_what_there_is() {
    let Some(folder) = crate::shared_data() else { return };
    let several = folder.join("reader_cases/tenx/1.2.0/multiple_genomes.h5");
    let message = read(&several, &ReadOptions::default()).unwrap_err().to_string();
    assert!(message.contains("another_genome, hg19_chr21") && message.contains("--genome"), "{message}");
    let options = ReadOptions { layer: Some("nope".into()), ..Default::default() };
    let message = read(&folder.join("reader_cases/h5ad_versions/anndata_v0.7.0.h5ad"), &options).unwrap_err().to_string();
    assert!(message.contains("array, sparse"), "{message}");
}

#[test]
fn damaged_h5ad_files_give_errors_that_name_them() {
    let Some(folder) = crate::shared_data() else { return };
    let bytes = std::fs::read(folder.join("reader_cases/h5ad_versions/anndata_v0.7.8.h5ad")).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("cut.h5ad");
    for n in [0, 8, 100, 5000, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..n]).unwrap();
        let message = read(&path, &ReadOptions::default()).unwrap_err().to_string();
        assert!(message.contains("cut.h5ad"), "{n} bytes: {message}");
    }
}

fn odd(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}

#[test]
fn unusual_columns_are_read_or_named() {
    // data/odd_columns.py wrote the file.
    let data = read(&odd("odd_columns.h5ad"), &ReadOptions::default()).unwrap();
    assert_eq!(data.cell_names(), ["1", "2", "10"], "an index of numbers");
    let half: Vec<Option<f64>> = data.obs().column("half").unwrap().f64().unwrap().iter().collect();
    assert_eq!(half, [Some(0.5), Some(1.5), Some(-2.0)]);
    let values = |name: &str| {
        let column = data.categorical(name).unwrap();
        (0..3).map(|i| column.value(i).map(str::to_owned)).collect::<Vec<_>>()
    };
    let texts = |v: [Option<&str>; 3]| v.map(|v| v.map(str::to_owned)).to_vec();
    assert_eq!(values("flag"), texts([Some("True"), Some("False"), Some("True")]));
    assert_eq!(values("maybe"), texts([Some("True"), None, Some("False")]));
    assert_eq!(values("count"), texts([Some("1"), None, Some("3")]));
    assert_eq!(values("level"), texts([Some("10"), Some("9"), Some("10")]));
    assert_eq!(values("yes"), texts([Some("True"), Some("False"), Some("True")]));
    assert_eq!(data.obsm()["X_half"], ndarray::arr2(&[[1.0f32, 2.0], [3.0, 4.0], [5.0, 6.0]]));
    assert!(data.notes().iter().any(|n| n.contains("not read") && n.contains("strange")), "{:?}", data.notes());
}

#[test]
fn a_value_that_is_not_finite_is_named_by_cell_and_gene() {
    for layout in ["csr", "csc", "dense"] {
        let message = read(&odd(&format!("not_finite_{layout}.h5ad")), &ReadOptions::default()).unwrap_err().to_string();
        assert!(message.contains("inf") && message.contains("cell c2") && message.contains("gene g1"), "{layout}: {message}");
    }
}
