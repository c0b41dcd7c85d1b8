//! The scIB suite against scib-metrics, geometry, classification and probes against scikit-learn and scipy, topology against ripser; the scripts
//! in `data` made the numbers.

use ndarray::Array2;
use serde_json::Value;
use tutti::data::Categorical;
use tutti::downstream::{Linkage, RowDistance, diffusion_pseudotime, hierarchical};
use tutti::metrics::{
    Confusion, Correlation, ProbeConfig, ScibConfig, ScibInput, TopologyConfig, auroc, calibration, calinski_harabasz,
    distance_correlation, kbet_per_label, knn_probe, linear_probe, linear_probe_r2, persistence, scib,
    state_distance_correlation, trustworthiness,
};
use tutti::neighbors::{Graph, Metric, NeighborConfig, nearest_self};
use tutti::rng::Rng;
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
    let clusters: Vec<u32> = strings(&expected["clusters"]).codes().iter().map(|c| c.unwrap()).collect();
    for case in expected["cases"].as_array().unwrap() {
        let n_components = case["n_components"].as_u64().unwrap() as usize;
        let embedding = pca.slice(ndarray::s![.., ..n_components]);
        let (clusters, before) = (Some(&clusters[..]), Some(pca.view()));
        let input = ScibInput { embedding, neighbors: None, label: &label, batch: &batch, clusters, leiden: &[], before };
        let config = ScibConfig::default();
        let scores = scib(&input, &config).unwrap();
        let known = |n_neighbors| nearest_self(embedding, &NeighborConfig { n_neighbors, ..Default::default() }).unwrap();
        let (enough, few) = (known(100), known(89));
        // Neighbours found by someone else, also more than are read, change no score; too few are refused.
        assert_eq!(scib(&ScibInput { neighbors: Some(&enough), ..input }, &config).unwrap(), scores);
        let refused = scib(&ScibInput { neighbors: Some(&few), ..input }, &config).unwrap_err();
        assert!(refused.to_string().contains("neighbors"));
        let ours = serde_json::to_value(scores).unwrap();
        for (name, theirs) in case["scores"].as_object().unwrap() {
            let (ours, theirs) = (ours[name].as_f64().unwrap(), theirs.as_f64().unwrap());
            assert!((ours - theirs).abs() < 1e-3, "{} {name}: {ours} and {theirs}", case["name"]);
        }
    }
}

#[test]
fn kbet_of_each_label_agrees_with_scib_metrics() {
    let Some(folder) = crate::shared_data() else { return };
    let expected: Value = serde_json::from_str(include_str!("data/expected_scib.json")).unwrap();
    let data = read(&folder.join("pbmc_10x_three_chemistries.h5ad"), &ReadOptions::default()).unwrap();
    let (label, batch) = (data.categorical("cell_type").unwrap(), data.categorical("batch").unwrap());
    let codes = |column: &Categorical| column.codes().iter().map(|c| c.unwrap()).collect::<Vec<u32>>();
    let (labels, batches) = (codes(&label), codes(&batch));
    let rows = &expected["pca"];
    let pca = Array2::from_shape_fn((label.len(), 10), |(i, j)| rows[i][j].as_f64().unwrap() as f32);
    let mean = |i: usize, j: usize| expected["batch_means"][&batch.levels()[batches[i] as usize]][j].as_f64().unwrap() as f32;
    let centred = Array2::from_shape_fn(pca.dim(), |(i, j)| pca[[i, j]] - mean(i, j));
    for (embedding, theirs) in [(pca, &expected["cases"][0]["kbet"]), (centred, &expected["kbet_centred"])] {
        let neighbors = nearest_self(embedding.view(), &NeighborConfig { n_neighbors: 50, ..Default::default() }).unwrap();
        let ours = kbet_per_label(&neighbors, &batches, &labels).unwrap();
        for (level, ours) in label.levels().iter().zip(ours) {
            let theirs = theirs[level].as_f64();
            let close = ours.zip(theirs).is_none_or(|(a, b)| (a - b).abs() < 1e-3);
            assert!(ours.is_some() == theirs.is_some() && close, "{level}: {ours:?} and {theirs:?}");
        }
    }
}

#[test]
fn diffusion_pseudotime_agrees_with_scanpy() {
    let expected: Value = serde_json::from_str(include_str!("data/expected_pseudotime.json")).unwrap();
    let scores: Value = serde_json::from_str(include_str!("data/expected_scib.json")).unwrap();
    let (rows, theirs) = (&scores["pca"], expected["pseudotime"].as_array().unwrap());
    let x = Array2::from_shape_fn((theirs.len(), 10), |(i, j)| rows[i][j].as_f64().unwrap() as f32);
    let neighbors = nearest_self(x.view(), &NeighborConfig { n_neighbors: 15, ..Default::default() }).unwrap();
    let root = expected["root"].as_u64().unwrap() as usize;
    let ours = diffusion_pseudotime(&Graph::fuzzy(&neighbors), root, 10).unwrap();
    for (i, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        let theirs = theirs.as_f64().unwrap();
        assert!(ours.is_some_and(|t| (f64::from(t) - theirs).abs() < 1e-3), "cell {i}: {ours:?} and {theirs}");
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

/// Ours equals the value at a key to 1e-9 of its size.
#[track_caller]
fn assert_agree(theirs: &Value, name: &str, ours: f64) {
    let theirs = theirs[name].as_f64().unwrap();
    assert!((ours - theirs).abs() < 1e-9 * theirs.abs().max(1.0), "{name}: {ours} and {theirs}");
}

fn strings(values: &Value) -> Categorical {
    Categorical::from_values(values.as_array().unwrap().iter().map(Value::as_str))
}

#[test]
fn classification_agrees_with_scikit_learn() {
    let expected: Value = serde_json::from_str(include_str!("data/expected_classification.json")).unwrap();
    let theirs = &expected["labels"];
    let confusion = Confusion::new(&strings(&theirs["truth"]), &strings(&theirs["predicted"])).unwrap();
    assert_agree(theirs, "accuracy", confusion.accuracy());
    assert_agree(theirs, "balanced_accuracy", confusion.balanced_accuracy());
    assert_agree(theirs, "macro_f1", confusion.macro_f1());

    let theirs = &expected["confidences"];
    let confidence: Vec<f64> = theirs["confidence"].as_array().unwrap().iter().map(|c| c.as_f64().unwrap()).collect();
    let correct: Vec<bool> = theirs["correct"].as_array().unwrap().iter().map(|c| c.as_bool().unwrap()).collect();
    assert_agree(theirs, "auroc", auroc(&confidence, &correct).unwrap());
    let ours = calibration(&confidence, &correct, theirs["n_bins"].as_u64().unwrap() as usize).unwrap();
    assert_agree(theirs, "brier", ours.brier);
    assert_agree(theirs, "expected_error", ours.expected_error);
    let filled: Vec<_> = ours.bins.iter().filter(|bin| bin.n_cells > 0).collect();
    let bins = theirs["bins"].as_array().unwrap();
    assert_eq!(filled.len(), bins.len());
    for (ours, theirs) in filled.iter().zip(bins) {
        let [n_cells, confidence, accuracy] = [0, 1, 2].map(|i| theirs[i].as_f64().unwrap());
        assert_eq!(ours.n_cells as f64, n_cells);
        assert!((ours.confidence - confidence).abs() < 1e-9 && (ours.accuracy - accuracy).abs() < 1e-9, "{ours:?} and {theirs}");
    }
}

#[test]
fn groups_and_probes_agree_with_scikit_learn() {
    let expected: Value = serde_json::from_str(include_str!("data/expected_classification.json")).unwrap();
    let scores: Value = serde_json::from_str(include_str!("data/expected_scib.json")).unwrap();
    let codes: Vec<u32> = strings(&scores["clusters"]).codes().iter().map(|c| c.unwrap()).collect();
    let rows = &scores["pca"];
    let pca = Array2::from_shape_fn((codes.len(), 10), |(i, j)| rows[i][j].as_f64().unwrap() as f32);
    let flat = pca.slice(ndarray::s![.., ..2]);
    let theirs = &expected["groups"];
    assert_agree(theirs, "calinski_harabasz", calinski_harabasz(pca.view(), &codes).unwrap());
    let kept = state_distance_correlation(pca.view(), flat, &codes, Metric::Euclidean, Correlation::Spearman).unwrap();
    assert_agree(theirs, "state_distance_correlation", kept);

    let theirs = &expected["probes"];
    let (x, labels) = (pca.slice(ndarray::s![..300, ..]), &codes[..300]);
    let config = ProbeConfig { ridge: theirs["ridge"].as_f64().unwrap(), ..Default::default() };
    let mut held_out: Vec<usize> = (0..300).collect();
    Rng::new(config.seed).stream("cells held out", 0, 0).shuffle(&mut held_out);
    held_out.truncate(60);
    assert_eq!(serde_json::json!(held_out), theirs["held_out"], "the seed holds out other cells: give these to the script");
    assert_agree(theirs, "linear_probe", linear_probe(x, labels, &config).unwrap());
    let numbers: Vec<f64> = x.rows().into_iter().map(|row| f64::from(row[0]).powi(2) + 10.0 * f64::from(row[1])).collect();
    assert_agree(theirs, "linear_probe_r2", linear_probe_r2(x, &numbers, &config).unwrap());
    // One more neighbour: the cell itself.
    let n_neighbors = theirs["n_neighbors"].as_u64().unwrap() as usize + 1;
    let neighbors = nearest_self(x, &NeighborConfig { n_neighbors, ..Default::default() }).unwrap();
    assert_agree(theirs, "knn_probe", knn_probe(&neighbors, labels).unwrap());
}

#[test]
fn persistence_agrees_with_ripser() {
    let expected: Value = serde_json::from_str(include_str!("data/expected_topology.json")).unwrap();
    for case in expected.as_array().unwrap() {
        let points = &case["points"];
        let shape = (points.as_array().unwrap().len(), points[0].as_array().unwrap().len());
        let x = Array2::from_shape_fn(shape, |(i, j)| points[i][j].as_f64().unwrap() as f32);
        let metric = if case["metric"] == "cosine" { Metric::Cosine } else { Metric::Euclidean };
        let ours = persistence(x.view(), &TopologyConfig { metric, ..Default::default() }).unwrap();
        for (dim, theirs) in case["diagrams"].as_array().unwrap().iter().enumerate() {
            // ripser computes in single precision: intervals as short as its rounding may be missing in one.
            let number = |v: &Value| v.as_f64().unwrap();
            let theirs = theirs.as_array().unwrap().iter().map(|i| (number(&i[0]), number(&i[1])));
            let long = |i: &(f64, f64)| i.1 - i.0 > 1e-5;
            let mut theirs: Vec<(f64, f64)> = theirs.filter(long).collect();
            let mut ours: Vec<(f64, f64)> = ours[dim].iter().map(|i| (i.birth, i.death)).filter(long).collect();
            let by_death = |a: &(f64, f64), b: &(f64, f64)| a.1.total_cmp(&b.1).then(a.0.total_cmp(&b.0));
            theirs.sort_by(by_death);
            ours.sort_by(by_death);
            assert_eq!(ours.len(), theirs.len(), "{} {dim}", case["name"]);
            for (a, b) in ours.iter().zip(&theirs) {
                assert!((a.0 - b.0).abs() < 1e-5 && (a.1 - b.1).abs() < 1e-5, "{} {dim}: {a:?} and {b:?}", case["name"]);
            }
        }
    }
}

#[test]
fn hierarchies_agree_with_scipy() {
    let expected: Value = serde_json::from_str(include_str!("data/expected_hierarchy.json")).unwrap();
    let value = |i: usize, j: usize| ((i * 37 + j * 11 + i * j * 5) % 29) as f64 / 4.0 + 0.013 * (i * i) as f64 + 0.1 * j as f64;
    let x = Array2::from_shape_fn((25, 5), |(i, j)| value(i, j) as f32);
    for case in expected["cases"].as_array().unwrap() {
        let distance = match case["distance"].as_str().unwrap() {
            "euclidean" => RowDistance::Euclidean,
            "cosine" => RowDistance::Cosine,
            _ => RowDistance::Correlation,
        };
        let linkage = match case["linkage"].as_str().unwrap() {
            "average" => Linkage::Average,
            "complete" => Linkage::Complete,
            "single" => Linkage::Single,
            _ => Linkage::Ward,
        };
        let found = hierarchical(x.view(), linkage, distance).unwrap();
        let heights = case["heights"].as_array().unwrap();
        assert_eq!(found.merges.len(), heights.len());
        for (merge, theirs) in found.merges.iter().zip(heights) {
            assert!((merge.height - theirs.as_f64().unwrap()).abs() < 1e-6, "{linkage:?} {distance:?}: {merge:?} and {theirs}");
        }
        let row = |i: usize| x.row(i).mapv(f64::from);
        let apart = |i: usize, j: usize| {
            let centred = |v: ndarray::Array1<f64>| if distance == RowDistance::Correlation { &v - v.mean().unwrap() } else { v };
            let (a, b) = (centred(row(i)), centred(row(j)));
            match distance {
                RowDistance::Euclidean => (&a - &b).mapv(|v| v * v).sum().sqrt(),
                _ => 1.0 - a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt(),
            }
        };
        // Every group lies together: no branches cross.
        let mut groups: Vec<Vec<usize>> = (0..25).map(|i| vec![i]).collect();
        for merge in &found.merges {
            let joined = [groups[merge.a].clone(), groups[merge.b].clone()].concat();
            let places: Vec<usize> = joined.iter().map(|leaf| found.order.iter().position(|o| o == leaf).unwrap()).collect();
            assert_eq!(places.iter().max().unwrap() - places.iter().min().unwrap() + 1, joined.len());
            groups.push(joined);
        }
        let cost: f64 = found.order.windows(2).map(|w| apart(w[0], w[1])).sum();
        // scipy's order is one that the same tree allows; on these rows it is not the best one. Small trees are checked against all orders where
        // the code stands.
        assert!(cost <= case["cost"].as_f64().unwrap() + 1e-6, "{linkage:?} {distance:?}: {cost} and {}", case["cost"]);
    }
}
