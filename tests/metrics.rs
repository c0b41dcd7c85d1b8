//! The scIB suite against scib-metrics, and geometry against scikit-learn and scipy; the scripts in `data` made the numbers.

use ndarray::Array2;
use serde_json::Value;
use tutti::data::Categorical;
use tutti::metrics::{Correlation, ScibConfig, ScibInput, distance_correlation, scib, trustworthiness};
use tutti::neighbors::Metric;
use tutti_io::{ReadOptions, read};

#[test]
fn scores_agree_with_scib_metrics() {
    let Some(folder) = crate::shared_data() else { return };
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/data/expected_scib.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let data = read(&folder.join("pbmc_10x_three_chemistries.h5ad"), &ReadOptions::default()).unwrap();
    let (label, batch) = (data.categorical("cell_type").unwrap(), data.categorical("batch").unwrap());
    let rows = expected["pca"].as_array().unwrap();
    let pca = Array2::from_shape_fn((rows.len(), 10), |(i, j)| rows[i][j].as_f64().unwrap() as f32);
    let clusters = Categorical::from_values(expected["clusters"].as_array().unwrap().iter().map(Value::as_str));
    let clusters: Vec<u32> = clusters.codes().iter().map(|c| c.unwrap()).collect();
    for case in expected["cases"].as_array().unwrap() {
        let n_components = case["n_components"].as_u64().unwrap() as usize;
        let embedding = pca.slice(ndarray::s![.., ..n_components]);
        let (clusters, before) = (Some(&clusters[..]), Some(pca.view()));
        let input = ScibInput { embedding, label: &label, batch: &batch, clusters, leiden: &[], before };
        let ours = serde_json::to_value(scib(&input, &ScibConfig::default()).unwrap()).unwrap();
        for (name, theirs) in case["scores"].as_object().unwrap() {
            let (ours, theirs) = (ours[name].as_f64().unwrap(), theirs.as_f64().unwrap());
            assert!((ours - theirs).abs() < 1e-3, "{} {name}: {ours} and {theirs}", case["name"]);
        }
    }
}

#[test]
fn geometry_agrees_with_scikit_learn_and_scipy() {
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let expected = json(include_str!("data/expected_geometry.json"));
    let scores = json(include_str!("data/expected_scib.json"));
    let rows = &scores["pca"];
    let x = Array2::from_shape_fn((600, 10), |(i, j)| rows[i][j].as_f64().unwrap() as f32);
    let z = x.slice(ndarray::s![.., ..2]);
    for case in expected.as_array().unwrap() {
        let metric = if case["metric"] == "cosine" { Metric::Cosine } else { Metric::Euclidean };
        let trusted = trustworthiness(x.view(), z, &[10, 50, 100], metric).unwrap();
        for (k, ours) in ["10", "50", "100"].iter().zip(trusted) {
            let theirs = case["trustworthiness"][k].as_f64().unwrap();
            assert!((ours - theirs).abs() < 1e-5, "{metric:?} {k}: {ours} and {theirs}");
        }
        for (name, correlation) in
            [("pearson", Correlation::Pearson), ("spearman", Correlation::Spearman), ("kendall", Correlation::Kendall)]
        {
            let ours = distance_correlation(x.view(), z, metric, correlation, 0).unwrap();
            let theirs = case[name].as_f64().unwrap();
            assert!((ours - theirs).abs() < 1e-6, "{metric:?} {name}: {ours} and {theirs}");
        }
    }
}
