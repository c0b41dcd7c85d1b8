//! `tutti gene-activity` and `tutti lsi`.

use std::path::Path;

use serde_json::Value;
use tutti::data::{Categorical, Csr};
use tutti::rng::Rng;
use tutti_io::{Additions, ObsColumn, ReadOptions, read, write_h5ad};

use crate::{error, ok, polars_table, tutti};

#[test]
fn peaks_become_genes_and_what_belongs_to_the_cells_stays() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let x = Csr::from_dense(ndarray::arr2(&[[1.0, 2.0, 4.0], [0.0, 8.0, 0.0]]).view()).unwrap();
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let additions = Additions {
        obsm: vec![("X_lsi".into(), ndarray::arr2(&[[1.0f32], [2.0]]))],
        obs: vec![("cell_type".into(), ObsColumn::Levels(Categorical::from_values(["T", "B"].map(Some))))],
        ..Default::default()
    };
    let peaks = names(&["chr1-1500-1600", "chr1:3100-3200", "chr2_5_9"]);
    let path = at("peaks.h5ad");
    write_h5ad(Path::new(&path), &names(&["c1", "c2"]), &peaks, &polars_table(2), &polars_table(3), Some(&x), &additions)
        .unwrap();
    let line = |gene: &str, kind: &str, strand: &str| {
        format!("1\tx\tgene\t3001\t4000\t.\t{strand}\t.\tgene_id \"{gene}\"; gene_name \"{gene}\"; gene_type \"{kind}\";\n")
    };
    let gtf = [line("A", "protein_coding", "+"), line("R", "protein_coding", "-"), line("L", "lncRNA", "+")].concat();
    std::fs::write(at("genes.gtf"), gtf).unwrap();
    let run = |output: &str, more: &[&str]| {
        let command = ["gene-activity", &at("peaks.h5ad"), "--annotation", &at("genes.gtf"), "-o", &at(output)];
        tutti(&[&command[..], more].concat())
    };
    let printed = run("genes.h5ad", &[]);
    assert!(
        String::from_utf8_lossy(&printed.stderr).contains("1 chromosomes of peaks have no gene in the annotation (first: chr2)")
    );
    assert!(ok(&printed).contains("genes    2; left out: 0 without a peak, 1 of another biotype, 0 too long"));
    let genes = read(Path::new(&at("genes.h5ad")), &ReadOptions::default()).unwrap();
    assert_eq!((genes.gene_names(), genes.column_names()), (&names(&["A", "R"])[..], names(&["cell_type"])));
    let mut rows = Csr::empty(2);
    genes.x().source().unwrap().read_range(0..2, &mut rows).unwrap();
    assert_eq!(rows.to_dense(), ndarray::arr2(&[[3.0, 2.0], [8.0, 8.0]]));
    assert!(genes.obsm().contains_key("X_lsi") && genes.categorical("cell_type").unwrap().value(0) == Some("T"));

    let more = ["--biotype", "all", "--upstream", "0", "--max-width", "0", "--json", "--quiet"];
    let summary: Value = serde_json::from_str(&ok(&run("all.h5ad", &more))).unwrap();
    assert_eq!((&summary["found"]["n_genes"], &summary["config"]["upstream"]), (&3.into(), &0.into()));
    let refused = error(&run("x.h5ad", &["--biotype", "snoRNA"]));
    assert!(refused.contains("peaks.h5ad: all 3 genes of the annotation are left out: 3 are not snoRNA"), "{refused}");
    assert!(refused.contains("its biotypes are lncRNA, protein_coding"), "{refused}");
    assert!(error(&run("x.h5ad", &["--max-width", "1"])).contains("2 too long"));
    assert!(error(&run("genes.csv", &[])).contains("end it in .h5ad"));
    assert!(error(&run("x.h5ad", &["--annotation", "none.gtf"])).contains("cannot be used multiple times"));
}

#[test]
fn peaks_become_an_embedding_without_depth() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (n, d) = (150, 300);
    let mut stream = Rng::new(5).stream("peaks", 0, 0);
    // Three groups of cells, whose depth differs a lot within each.
    let x = ndarray::Array2::from_shape_fn((n, d), |(i, j)| {
        let open = if i % 3 == j % 3 { 0.3 } else { 0.06 };
        f32::from(u8::from(stream.bernoulli(open * (0.3 + (i / 3 % 5) as f64 / 2.0))))
    });
    let names = |what: &str, n: usize| (0..n).map(|i| format!("{what}{i}")).collect::<Vec<_>>();
    let counts = Csr::from_dense(x.view()).unwrap();
    let (cells, peaks) = (names("c", n), names("p", d));
    let path = at("peaks.h5ad");
    write_h5ad(Path::new(&path), &cells, &peaks, &polars_table(n), &polars_table(d), Some(&counts), &Additions::default())
        .unwrap();
    let run = |output: &str, more: &[&str]| tutti(&[&["lsi", &path, "-o", &at(output)], more].concat());
    let human = ok(&run("out.h5ad", &["--n-components", "6"]));
    assert!(
        human.contains("150 cells x 300 peaks") && human.contains("5 dimensions; the first dimension has a correlation"),
        "{human}"
    );
    let out = read(Path::new(&at("out.h5ad")), &ReadOptions::default()).unwrap();
    let z = &out.obsm()["X_lsi"];
    assert_eq!(z.dim(), (n, 5));
    let depth: Vec<f64> = x.rows().into_iter().map(|row| f64::from(row.sum()).max(1e-9).ln()).collect();
    let correlation = |values: Vec<f64>| {
        let mean = |v: &[f64]| v.iter().sum::<f64>() / n as f64;
        let (a, b) = (mean(&values), mean(&depth));
        let sum = |f: &dyn Fn(f64, f64) -> f64| values.iter().zip(&depth).map(|(x, y)| f(x - a, y - b)).sum::<f64>();
        sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
    };
    let column = |j: usize| z.column(j).iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
    assert!((0..5).all(|j| correlation(column(j)).abs() < 0.5));
    let deviation = (column(0).iter().map(|v| v * v).sum::<f64>() / (n as f64 - 1.0)).sqrt();
    assert!((deviation - 1.0).abs() < 1e-3, "{deviation}");

    let all = ["--n-components", "6", "--keep-first", "--no-standardise", "--key", "X_all", "--json", "--quiet"];
    let summary: Value = serde_json::from_str(&ok(&run("all.h5ad", &all))).unwrap();
    assert_eq!((&summary["n_dimensions"], &summary["first_left_out"]), (&6.into(), &false.into()));
    let out = read(Path::new(&at("all.h5ad")), &ReadOptions::default()).unwrap();
    let first = out.obsm()["X_all"].column(0).iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
    assert!((correlation(first.clone()).abs() - summary["depth_correlation"][0].as_f64().unwrap().abs()).abs() < 1e-4);
    let length = first.iter().map(|v| v * v).sum::<f64>().sqrt();
    assert!((length / summary["singular_values"][0].as_f64().unwrap() - 1.0).abs() < 1e-3);
    assert!(correlation(first).abs() > 0.9);
    // As many as there can be, where there are fewer than usual.
    let few = Csr::from_dense(x.slice(ndarray::s![..20, ..]).to_owned().view()).unwrap();
    let small = at("few.h5ad");
    write_h5ad(Path::new(&small), &cells[..20], &peaks, &polars_table(20), &polars_table(d), Some(&few), &Additions::default())
        .unwrap();
    assert!(ok(&tutti(&["lsi", &small, "-o", &at("few.csv")])).contains("input    20 cells x 300 peaks"));
    let (none, empty) = (Csr::from_dense(ndarray::Array2::zeros((20, d)).view()).unwrap(), at("empty.h5ad"));
    write_h5ad(Path::new(&empty), &cells[..20], &peaks, &polars_table(20), &polars_table(d), Some(&none), &Additions::default())
        .unwrap();
    assert!(error(&tutti(&["lsi", &empty, "-o", &at("never.csv")])).contains("empty.h5ad: all values are zero"));

    ok(&run("out.csv", &["--n-components", "3", "--quiet"]));
    assert!(std::fs::read_to_string(at("out.csv")).unwrap().lines().next().unwrap().contains("lsi"));
    assert!(error(&run("x.h5ad", &["--n-components", "500"])).contains("between 1 and 150"));
    assert!(error(&run("x.h5ad", &["--max-depth-correlation", "2"])).contains("max_depth_correlation"));
}
