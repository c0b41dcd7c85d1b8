//! Integrated gradients against Captum on the same weights, and rank-sum tests against scipy; the scripts in `data` made the numbers.

use std::path::Path;

use candle_core::{Device, Tensor};
use ndarray::Array2;
use serde_json::{Value, json};
use tutti::data::{Categorical, Csr};
use tutti::downstream::{Baseline, GradientConfig, Target, integrated_gradients, markers, wilcoxon};
use tutti::model::{Network, SavedModel};
use tutti::systems::concord::{Concord, ConcordConfig};
use tutti::systems::lcl::{Lcl, LclConfig};

fn numbers(values: &Value) -> Vec<f32> {
    values.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

fn matrix(rows: &Value) -> Array2<f32> {
    let rows: Vec<Vec<f32>> = rows.as_array().unwrap().iter().map(numbers).collect();
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

/// A model file of these tensors.
fn saved(system: &str, mut header: Value, tensors: &Value) -> SavedModel {
    header["preprocessing"] = json!({"target_sum": null, "log1p": false});
    header["history"] = json!({"epochs": [], "best_epoch": null});
    let tensor = |(name, stored): (&String, &Value)| {
        let shape: Vec<usize> = numbers(&stored["shape"]).iter().map(|d| *d as usize).collect();
        (name.clone(), Tensor::from_vec(numbers(&stored["values"]), shape, &Device::Cpu).unwrap())
    };
    SavedModel::new(system, header, tensors.as_object().unwrap().iter().map(tensor).collect())
}

#[test]
fn integrated_gradients_agree_with_captum_on_the_same_weights() {
    let expected: Value = serde_json::from_str(include_str!("data/expected_attribution.json")).unwrap();
    let x = Csr::from_dense(matrix(&expected["x"]).view()).unwrap();
    let genes: Vec<String> = (0..x.n_cols()).map(|j| format!("gene{j}")).collect();
    let config = LclConfig { encoder_dims: vec![9, 6], projection_dims: vec![5], latent_dim: 4, ..Default::default() };
    let lineages = json!({"n_cells": 6, "n_without": 0, "n_of_several": 0, "n_lineages": 2, "n_single": 0, "median_size": 3, "largest_size": 3});
    let lcl = saved("lcl", json!({"config": config, "genes": genes, "lineages": lineages}), &expected["lcl"]);
    let lcl = Lcl::from_saved(&lcl, Path::new("lcl"), &Device::Cpu).unwrap().0;
    let config = ConcordConfig { encoder_dims: vec![9], latent_dim: 4, use_classifier: true, ..Default::default() };
    let names = json!({"genes": genes, "batches": ["all"], "classes": ["a", "b", "c"], "covariates": {}});
    let concord = saved("concord", json!({"config": config, "names": names}), &expected["concord"]);
    let concord = Concord::from_saved(&concord, Path::new("concord"), &Device::Cpu).unwrap().0;
    for case in expected["cases"].as_array().unwrap() {
        let network: &dyn Network = if case["network"] == "lcl" { &lcl } else { &concord };
        let target = match case["target"].as_str().unwrap() {
            "cosine" => Target::Cosine(numbers(&expected["direction"])),
            "latent 2" => Target::Latent(2),
            "class 1" => Target::Class(1),
            _ => Target::PredictedClass,
        };
        let baseline = if case["baseline"] == "zero" { Baseline::Zero } else { Baseline::Mean };
        let config = GradientConfig { baseline, n_steps: expected["n_steps"].as_u64().unwrap() as usize };
        let rows: Vec<usize> = (0..x.n_rows()).collect();
        let ours = integrated_gradients(network, &x, &rows, &target, &config).unwrap();
        let worst = (ours.values.to_dense() - matrix(&case["values"])).iter().fold(0f32, |worst, d| worst.max(d.abs()));
        assert!(worst < 2e-5, "{} from {}: {worst}", case["target"], case["baseline"]);
        for (error, delta) in ours.completeness_error.iter().zip(numbers(&case["delta"])) {
            assert!((error - delta).abs() < 2e-5, "{}: {error} and {delta}", case["target"]);
        }
        let class = Target::Class(3);
        assert!(integrated_gradients(network, &x, &[0], &class, &config).is_err());
    }
}

#[test]
fn rank_sum_tests_agree_with_scipy() {
    let expected: Value = serde_json::from_str(include_str!("data/expected_wilcoxon.json")).unwrap();
    let x = Csr::from_dense(matrix(&expected["x"]).view()).unwrap();
    let groups = Categorical::from_values(expected["groups"].as_array().unwrap().iter().map(|g| g.as_str()));
    let found = wilcoxon(&x, &groups).unwrap();
    for (group, tests) in groups.levels().iter().zip(&found) {
        let theirs = &expected["tests"][group];
        for test in tests {
            let of = |what: &str| theirs[what][test.gene].as_f64().unwrap();
            assert!((test.p / of("p") - 1.0).abs() < 1e-9, "{group}: {test:?} and {}", of("p"));
            assert!((test.p_adjusted / of("p_adjusted") - 1.0).abs() < 1e-9 && (test.auc - of("auc")).abs() < 1e-12);
        }
        assert!(markers(tests, 0.05).iter().all(|gene| theirs["auc"][*gene].as_f64().unwrap() > 0.5));
    }
}
