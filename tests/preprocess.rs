//! Normalisation and variable genes against scanpy, latent semantic indexing against scikit-learn, on real data; the scripts in `data` made the numbers.

use std::collections::HashSet;

use serde_json::Value;
use tutti::data::CellSource;
use tutti::preprocess::{
    HvgConfig, HvgFlavor, IdfWeights, LsiConfig, Normalized, TargetSum, TfIdf, highly_variable_genes, lsi, to_memory,
};
use tutti_io::{ReadOptions, read};

#[test]
fn genes_and_scores_agree_with_scanpy() {
    let Some(folder) = crate::shared_data() else { return };
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/data/expected_hvg.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let data = read(&folder.join("pbmc_10x_three_chemistries.h5ad"), &ReadOptions::default()).unwrap();
    let raw = data.x().source().unwrap();
    let logged = to_memory(&Normalized::new(raw.clone(), Some(TargetSum::Fixed(1e4)), true).unwrap()).unwrap();
    let sum: f64 = logged.values().iter().map(|v| f64::from(*v)).sum();
    assert!((sum - expected["log_sum"].as_f64().unwrap()).abs() < 1e-6 * sum);

    let batch = data.categorical("batch").unwrap();
    let codes = batch.complete("batch", data.cell_names()).unwrap();
    for case in expected["cases"].as_array().unwrap() {
        let flavor = match case["flavor"].as_str().unwrap() {
            "seurat_v3" => HvgFlavor::SeuratV3,
            "seurat" => HvgFlavor::Seurat,
            _ => HvgFlavor::CellRanger,
        };
        let batches = case["batch"].is_string().then_some(&codes[..]);
        let source: &dyn CellSource = if flavor == HvgFlavor::SeuratV3 { &*raw } else { &logged };
        let span = case["span"].as_f64().unwrap();
        let config = HvgConfig { n_top_genes: 500, flavor, span, ..Default::default() };
        let ours = highly_variable_genes(source, batches, batch.n_levels(), &config).unwrap();
        let name = format!("{flavor:?}, batches {}", batches.is_some());

        let scores: Vec<Option<f64>> = case["score"].as_array().unwrap().iter().map(Value::as_f64).collect();
        let difference = |g: usize| scores[g].map(|s| (ours.score[g] - s).abs() / s.abs().max(1.0));
        let far = (0..scores.len()).filter(|g| difference(*g).is_some_and(|d| d > 1e-4)).count() as f64 / scores.len() as f64;
        assert_eq!(far, 0.0, "{name}: {:.2} % of the scores differ by more than 1e-4", 100.0 * far);

        let theirs: HashSet<usize> = case["selected"].as_array().unwrap().iter().map(|g| g.as_u64().unwrap() as usize).collect();
        let picked: HashSet<usize> = ours.selected.iter().copied().collect();
        assert_eq!((picked.len(), theirs.len()), (500, 500), "{name}");
        if batches.is_some() {
            // Ranks and numbers of batches tie often; scanpy breaks the ties by its order of sorting.
            println!("{name}: {} of 500 genes", picked.intersection(&theirs).count());
            assert!(picked.intersection(&theirs).count() >= 490, "{name}: {} of 500 genes", picked.intersection(&theirs).count());
            continue;
        }
        // Dozens of genes have the score of the last one picked: among these the choice is free.
        let last = theirs.iter().filter_map(|g| scores[*g]).fold(f64::INFINITY, f64::min);
        let clear = |g: &&usize| scores[**g].is_some_and(|s| (s - last).abs() > 2e-5);
        assert_eq!(
            picked.difference(&theirs).filter(clear).count() + theirs.difference(&picked).filter(clear).count(),
            0,
            "{name}"
        );
    }
}

#[test]
fn latent_semantic_indexing_agrees_with_scikit_learn() {
    let Some(folder) = crate::shared_data() else { return };
    let expected: Value = serde_json::from_str(include_str!("data/expected_lsi.json")).unwrap();
    let numbers = |name: &str| -> Vec<f64> { expected[name].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect() };
    let data = read(&folder.join("multiome_pbmc40_atac_peaks.h5ad"), &ReadOptions::default()).unwrap();
    let peaks = data.x().source().unwrap();
    let weights = std::sync::Arc::new(IdfWeights::of(&*peaks).unwrap());
    let values = to_memory(&TfIdf::new(peaks.clone(), weights, 1e4).unwrap()).unwrap();
    let (sum, theirs) = (values.values().iter().map(|v| f64::from(*v)).sum::<f64>(), expected["sum"].as_f64().unwrap());
    assert!((sum - theirs).abs() < 1e-6 * theirs, "{sum} and {theirs}");
    for (ours, theirs) in values.row(0).1.iter().zip(numbers("first_row")) {
        assert!((f64::from(*ours) - theirs).abs() < 1e-5, "{ours} and {theirs}");
    }

    let config = LsiConfig { n_components: 10, standardise: false, max_depth_correlation: None, ..Default::default() };
    let found = lsi(&*peaks, &config).unwrap();
    for (ours, theirs) in found.singular_values.iter().zip(numbers("singular_values")) {
        assert!((ours - theirs).abs() < 1e-4 * theirs, "{ours} and {theirs}");
    }
    for (ours, theirs) in found.depth_correlation.iter().zip(numbers("depth_correlation")) {
        assert!((ours.abs() - theirs).abs() < 5e-3, "{ours} and {theirs}");
    }
    // The sign of a singular vector is free.
    let largest = found.singular_values[0];
    for ((i, j), ours) in found.embedding.indexed_iter() {
        let theirs = expected["size_of_coordinates"][i][j].as_f64().unwrap();
        assert!((f64::from(ours.abs()) - theirs).abs() < 2e-3 * largest, "cell {i}, dimension {j}: {ours} and {theirs}");
    }
    let standard = lsi(&*peaks, &LsiConfig { n_components: 10, ..Default::default() }).unwrap();
    println!("{}", standard.note());
    assert_eq!(standard.embedding.ncols(), 10 - usize::from(standard.first_left_out));
}
