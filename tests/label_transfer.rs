//! Labels and values carried by neighbours, against scikit-learn; the script in `data` made the numbers.

use ndarray::{Array2, Axis, s};
use serde_json::Value;
use tutti::data::Categorical;
use tutti::downstream::{NeighborWeights, TransferConfig, transfer_labels, transfer_values};
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
