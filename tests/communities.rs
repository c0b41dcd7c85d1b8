//! The fuzzy graph against umap-learn, communities against leidenalg and igraph; the script in `data` made the numbers.

use std::collections::BTreeMap;

use ndarray::Array2;
use serde_json::Value;
use tutti::downstream::{CommunityConfig, leiden, modularity};
use tutti::neighbors::{Graph, NeighborConfig, nearest_self};

fn expected() -> Value {
    serde_json::from_str(include_str!("data/expected_communities.json")).unwrap()
}

/// Edges of umap-learn's graph, the lower node first.
fn edges(expected: &Value) -> Vec<(u32, u32, f32)> {
    let node = |v: &Value| v.as_u64().unwrap() as u32;
    expected["edges"].as_array().unwrap().iter().map(|e| (node(&e[0]), node(&e[1]), e[2].as_f64().unwrap() as f32)).collect()
}

#[test]
fn fuzzy_weights_agree_with_umap_learn() {
    let expected = expected();
    let points = &expected["points"];
    let shape = (points.as_array().unwrap().len(), points[0].as_array().unwrap().len());
    let x = Array2::from_shape_fn(shape, |(i, j)| points[i][j].as_f64().unwrap() as f32);
    let n_neighbors = expected["n_neighbors"].as_u64().unwrap() as usize;
    let graph = Graph::fuzzy(&nearest_self(x.view(), &NeighborConfig { n_neighbors, ..Default::default() }).unwrap());
    let theirs: BTreeMap<(u32, u32), f32> = edges(&expected).into_iter().map(|(i, j, weight)| ((i, j), weight)).collect();
    assert_eq!(graph.n_edges(), theirs.len());
    for i in 0..graph.n_nodes() as u32 {
        let (neighbors, weights) = graph.row(i as usize);
        for (j, ours) in neighbors.iter().zip(weights).filter(|(j, _)| **j > i) {
            let theirs = theirs.get(&(i, *j));
            assert!(theirs.is_some_and(|theirs| (ours - theirs).abs() < 1e-4), "{i}–{j}: {ours} and {theirs:?}");
        }
    }
}

#[test]
fn modularity_agrees_with_igraph_and_leiden_is_as_good_as_leidenalg() {
    let expected = expected();
    let n_nodes = expected["points"].as_array().unwrap().len();
    let graph = Graph::from_edges(n_nodes, &edges(&expected)).unwrap();
    for division in expected["divisions"].as_array().unwrap() {
        let resolution = division["resolution"].as_f64().unwrap();
        let best = division["modularity"].as_f64().unwrap();
        let membership: Vec<u32> =
            division["membership"].as_array().unwrap().iter().map(|c| c.as_u64().unwrap() as u32).collect();
        let ours = modularity(&graph, &membership, resolution).unwrap();
        assert!((ours - best).abs() < 1e-6, "{resolution}: {ours} and {best}");
        // As many seeds as leidenalg had: neither the best nor the mean lies below its own. Weights rounded to f32 cost 1e-9.
        let run = |seed| leiden(&graph, &CommunityConfig { resolution, seed, ..Default::default() }).unwrap().modularity;
        let found: Vec<f64> = (0..20).map(run).collect();
        assert!(found.iter().any(|ours| *ours > best - 1e-6), "{resolution}: {found:?}, none of {best}");
        let (ours, theirs) = (found.iter().sum::<f64>() / 20.0, division["mean_modularity"].as_f64().unwrap());
        assert!(ours > theirs - 1e-6, "{resolution}: {ours} and {theirs} in the mean");
    }
}
