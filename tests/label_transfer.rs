//! Labels and values carried by neighbours, temperatures and refused labels, against scikit-learn and scipy; the scripts in `data` made the
//! numbers.

use ndarray::{Array2, Axis, s};
use serde_json::Value;
use tutti::data::Categorical;
use tutti::downstream::{
    Annotations, NeighborWeights, Rejection, TransferConfig, fit_temperature, transfer_labels, transfer_values,
};
use tutti::metrics::{coverage, open_set};
use tutti::neighbors::Metric;

fn matrix(rows: &Value) -> Array2<f32> {
    let shape = (rows.as_array().unwrap().len(), rows[0].as_array().unwrap().len());
    Array2::from_shape_fn(shape, |(i, j)| rows[i][j].as_f64().unwrap() as f32)
}

#[test]
fn votes_means_and_novelty_agree_with_scikit_learn() {
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let expected = json(include_str!("data/expected_transfer.json"));
    let stored = json(include_str!("data/expected_scib.json"));
    let pca = matrix(&stored["pca"]);
    let (query, known): (Vec<usize>, Vec<usize>) = (0..pca.nrows()).partition(|i| i % 6 == 0);
    let (reference, query) = (pca.select(Axis(0), &known), pca.select(Axis(0), &query));
    let (layout, reference, query) = (reference.slice(s![.., ..2]), reference.slice(s![.., 2..]), query.slice(s![.., 2..]));
    let labels = Categorical::from_values(known.iter().map(|i| stored["clusters"][*i].as_str()));
    for case in expected["cases"].as_array().unwrap() {
        let config = TransferConfig {
            n_neighbors: expected["n_neighbors"].as_u64().unwrap() as usize,
            metric: serde_json::from_value::<Metric>(case["metric"].clone()).unwrap(),
            weights: serde_json::from_value::<NeighborWeights>(case["weights"].clone()).unwrap(),
            ..Default::default()
        };
        let ours = transfer_labels(reference, &labels, query, &config).unwrap();
        assert_eq!(serde_json::to_value(ours.label.levels()).unwrap(), expected["levels"]);
        let means = transfer_values(reference, layout, query, &config).unwrap();
        let pairs = [(&ours.scores, &case["shares"], 1e-4), (&means, &case["means"], 1e-4)];
        for (ours, theirs, tolerance) in pairs {
            let worst = (ours - &matrix(theirs)).iter().fold(0f32, |worst, v| worst.max(v.abs()));
            assert!(worst < tolerance, "{config:?}: {worst}");
        }
        // Rounding may exchange cells of the reference that are as far from their neighbours as the query cell: each is one in a thousand.
        for (ours, theirs) in ours.novelty.iter().zip(case["novelty"].as_array().unwrap()) {
            assert!((f64::from(*ours) - theirs.as_f64().unwrap()).abs() < 1.5e-3, "{config:?}: {ours} and {theirs}");
        }
    }
}

#[test]
fn temperature_and_open_set_scores_agree_with_scipy_and_scikit_learn() {
    let expected: Value = serde_json::from_str(include_str!("data/expected_open_set.json")).unwrap();
    let number = |name: &str| expected[name].as_f64().unwrap();
    let codes =
        |name: &str| -> Vec<u32> { expected[name].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect() };
    let logits = matrix(&expected["logits"]);
    let truth = codes("truth");
    let known: Vec<Option<u32>> = truth.iter().map(|class| (*class < 4).then_some(*class)).collect();
    let temperature = fit_temperature(logits.view(), &known, 0.0).unwrap();
    for (ours, name) in
        [(temperature.temperature, "temperature"), (temperature.nll_before, "nll_before"), (temperature.nll_after, "nll_after")]
    {
        assert!((ours - number(name)).abs() < 1e-6, "{name}: {ours} and {}", number(name));
    }

    let classes: Vec<String> = (0..4).map(|c| format!("class {c}")).collect();
    let table = Annotations::new(temperature.probabilities(logits.view()).unwrap().view(), &classes).unwrap();
    let labels: Vec<u32> = table.label.codes().iter().flatten().copied().collect();
    assert_eq!(labels, codes("label"));
    let rounded: Vec<f64> = expected["confidence"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    assert!(table.probability.iter().zip(&rounded).all(|(p, r)| (f64::from(*p) - r).abs() < 5.1e-3));

    let truth = Categorical::from_values(truth.iter().map(|class| Some(format!("class {class}"))));
    let ours = open_set(&truth, &table.label, &rounded).unwrap();
    // The two digits are those that the limit was put on.
    let limited = Annotations { probability: rounded.iter().map(|p| *p as f32).collect(), ..table };
    let limit = Rejection { min_confidence: Some(number("limit") as f32), ..Default::default() };
    let refused = limited.reject(&limit).unwrap();
    let shares = coverage(&truth, &refused.label, &refused.unknown()).unwrap();
    for (ours, name) in [
        (ours.auroc, "auroc"),
        (ours.aupr, "aupr"),
        (ours.oscr, "oscr"),
        (shares.coverage, "coverage"),
        (shares.accuracy_of_kept.unwrap(), "accuracy_of_kept"),
        (shares.accuracy.unwrap(), "accuracy"),
        (shares.overall_accuracy, "overall_accuracy"),
        (shares.false_rejection_rate.unwrap(), "false_rejection_rate"),
        (shares.detection_rate.unwrap(), "detection_rate"),
    ] {
        assert!((ours - number(name)).abs() < 1e-9, "{name}: {ours} and {}", number(name));
    }
}
