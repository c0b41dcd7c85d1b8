//! What is written comes back, and nothing that was there is lost.

use ndarray::Array2;
use proptest::prelude::*;
use tutti::data::{CellSource, Csr};
use tutti_io::{Additions, AnnData, Backed, ObsColumn, ReadOptions, add_to_copy, read, write_h5ad};

fn names(prefix: &str, n: usize) -> Vec<String> {
    (0..n).map(|i| format!("{prefix}{i}")).collect()
}

fn empty_table(n: usize) -> polars::prelude::DataFrame {
    polars::prelude::DataFrame::empty_with_height(n)
}

fn memory(data: &AnnData) -> Csr {
    let source = data.x().source().unwrap();
    let mut out = Csr::empty(source.n_genes());
    source.read_range(0..source.n_cells(), &mut out).unwrap();
    out
}

fn sparse() -> impl Strategy<Value = Csr> {
    (1usize..12, 1usize..9).prop_flat_map(|(n, d)| {
        proptest::collection::vec(prop_oneof![3 => Just(0f32), 2 => -1e6f32..1e6], n * d)
            .prop_map(move |values| Csr::from_dense(Array2::from_shape_vec((n, d), values).unwrap().view()).unwrap())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_matrix_comes_back_from_h5ad_in_memory_and_from_disk(x in sparse()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.h5ad");
        let (cells, genes) = (names("c", x.n_rows()), names("g", x.n_cols()));
        let (obs, var) = (empty_table(cells.len()), empty_table(genes.len()));
        write_h5ad(&path, &cells, &genes, &obs, &var, Some(&x), &Additions::default()).unwrap();
        for backed in [Backed::Never, Backed::Always] {
            let data = read(&path, &ReadOptions { backed, ..Default::default() }).unwrap();
            prop_assert_eq!(data.cell_names(), &cells[..]);
            prop_assert_eq!(memory(&data), x.clone());
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), format in 0usize..6) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(["x.h5ad", "x.h5", "x.mtx", "x.csv", "x.parquet", "x.mtx.gz"][format]);
        std::fs::write(&path, bytes).unwrap();
        let _ = read(&path, &ReadOptions::default());
    }

    #[test]
    fn arbitrary_matrix_market_lines_are_read_or_refused(lines in proptest::collection::vec("[0-9 .e%-]{0,12}", 0..12)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.mtx");
        std::fs::write(&path, format!("%%MatrixMarket matrix coordinate real general\n{}", lines.join("\n"))).unwrap();
        if let Ok(data) = read(&path, &ReadOptions::default()) {
            prop_assert_eq!(memory(&data).n_rows(), data.n_cells());
        }
    }
}

#[test]
fn a_slash_in_a_name_makes_no_group() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.h5ad");
    let x = Csr::from_dense(ndarray::arr2(&[[1.0f32], [2.0]]).view()).unwrap();
    let additions = Additions {
        obsm: vec![("X_a/b".into(), Array2::ones((2, 2)))],
        obs: vec![("CD4/CD8".into(), ObsColumn::Float(vec![0.5, 1.0]))],
        ..Default::default()
    };
    write_h5ad(&path, &names("c", 2), &names("g", 1), &empty_table(2), &empty_table(1), Some(&x), &additions).unwrap();
    let after = read(&path, &ReadOptions::default()).unwrap();
    assert_eq!((after.column_names(), after.obsm().keys().next().unwrap().as_str()), (vec!["CD4_CD8".to_owned()], "X_a_b"));
}

#[test]
fn adding_to_a_copy_keeps_what_was_there_and_replaces_its_own() {
    let Some(folder) = crate::shared_data() else { return };
    let input = folder.join("reader_cases/h5ad_versions/larry_as_distributed.h5ad");
    let before = read(&input, &ReadOptions::default()).unwrap();
    let original = std::fs::read(&input).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let output = scratch.path().join("out.h5ad");
    let z = Array2::from_shape_fn((before.n_cells(), 3), |(i, j)| (i * 3 + j) as f32);
    let kinds = (0..before.n_cells()).map(|i| (i % 5 != 0).then(|| format!("k{}", i % 3))).collect();
    let additions = Additions {
        obsm: vec![("X_concord".into(), z.clone())],
        obs: vec![("kind".into(), ObsColumn::Category(kinds)), ("p".into(), ObsColumn::Float(vec![0.5; before.n_cells()]))],
        uns: serde_json::json!({"seed": 3, "nested": {"list": [1.0, 2.5], "words": ["a", "b"], "none": null}}),
    };
    add_to_copy(&input, &output, &additions).unwrap();
    // A second run on its own output replaces what it added.
    let again = scratch.path().join("again.h5ad");
    add_to_copy(&output, &again, &additions).unwrap();
    for path in [&output, &again] {
        let after = read(path, &ReadOptions::default()).unwrap();
        assert_eq!(after.obsm()["X_concord"], z);
        assert_eq!(after.column_names(), ["time_info", "state_info", "n_counts", "kind", "p"]);
        assert_eq!(after.categorical("kind").unwrap().codes()[0], None);
        assert_eq!(after.categorical("kind").unwrap().value(1), Some("k1"));
        assert_eq!(memory(&after), memory(&before));
        assert_eq!(after.categorical("state_info").unwrap(), before.categorical("state_info").unwrap());
        for (name, array) in before.obsm() {
            assert_eq!(&after.obsm()[name], array);
        }
    }
    assert_eq!(std::fs::read(&input).unwrap(), original, "the input is never changed");
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 2, "no temporary file is left");
}

#[test]
fn a_wrong_shape_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.h5ad");
    let x = Csr::from_dense(ndarray::arr2(&[[1.0f32, 0.0]]).view()).unwrap();
    let additions = Additions { obsm: vec![("X_z".into(), Array2::zeros((5, 2)))], ..Default::default() };
    let result = write_h5ad(&path, &names("c", 1), &names("g", 2), &empty_table(1), &empty_table(2), Some(&x), &additions);
    assert!(result.unwrap_err().to_string().contains("5 rows for 1 cells"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(matches!(read(&path, &ReadOptions::default()), Err(tutti_io::Error::Io { .. })));
}

#[cfg(unix)]
#[test]
fn a_read_only_input_gives_an_output_that_its_user_can_read_and_change() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.h5ad"), folder.path().join("out.h5ad"));
    let x = Csr::from_dense(ndarray::arr2(&[[1.0f32, 0.0]]).view()).unwrap();
    let (obs, var) = (empty_table(1), empty_table(2));
    write_h5ad(&input, &names("c", 1), &names("g", 2), &obs, &var, Some(&x), &Additions::default()).unwrap();
    std::fs::set_permissions(&input, std::fs::Permissions::from_mode(0o444)).unwrap();
    add_to_copy(&input, &output, &Additions { obsm: vec![("X_z".into(), Array2::zeros((1, 2)))], ..Default::default() }).unwrap();
    let mode = std::fs::metadata(&output).unwrap().permissions().mode();
    // What any new file of this process gets, by its umask.
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "").unwrap();
    assert_eq!(mode, std::fs::metadata(&plain).unwrap().permissions().mode());
}
