use super::*;
use crate::neighbors::{NeighborConfig, nearest_self};
use crate::threads::Threads;

/// The friendships in the karate club of Zachary 1977, members from 1.
const KARATE: [(u32, &[u32]); 32] = [
    (1, &[2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 18, 20, 22, 32]),
    (2, &[3, 4, 8, 14, 18, 20, 22, 31]),
    (3, &[4, 8, 9, 10, 14, 28, 29, 33]),
    (4, &[8, 13, 14]),
    (5, &[7, 11]),
    (6, &[7, 11, 17]),
    (7, &[17]),
    (8, &[]),
    (9, &[31, 33, 34]),
    (10, &[34]),
    (11, &[]),
    (12, &[]),
    (13, &[]),
    (14, &[34]),
    (15, &[33, 34]),
    (16, &[33, 34]),
    (17, &[]),
    (18, &[]),
    (19, &[33, 34]),
    (20, &[34]),
    (21, &[33, 34]),
    (22, &[]),
    (23, &[33, 34]),
    (24, &[26, 28, 30, 33, 34]),
    (25, &[26, 28, 32]),
    (26, &[32]),
    (27, &[30, 34]),
    (28, &[34]),
    (29, &[32, 34]),
    (30, &[33, 34]),
    (31, &[33, 34]),
    (32, &[33, 34]),
];

fn karate() -> Graph {
    let mut edges: Vec<(u32, u32, f32)> = KARATE.iter().flat_map(|(a, bs)| bs.iter().map(move |b| (a - 1, b - 1, 1.0))).collect();
    edges.push((32, 33, 1.0));
    assert_eq!(edges.len(), 78);
    Graph::from_edges(34, &edges).unwrap()
}

/// Cliques of one size, each joined to the next by one edge.
fn ring_of_cliques(n_cliques: u32, size: u32) -> Graph {
    let mut edges = Vec::new();
    for clique in 0..n_cliques {
        let node = |i: u32| clique * size + i;
        (0..size).for_each(|i| (i + 1..size).for_each(|j| edges.push((node(i), node(j), 1.0))));
        edges.push((node(size - 1), (clique + 1) % n_cliques * size, 1.0));
    }
    Graph::from_edges((n_cliques * size) as usize, &edges).unwrap()
}

fn groups(n: usize) -> Graph {
    let mut stream = Rng::new(4).stream("points", 0, 0);
    let place = |(i, j): (usize, usize)| 3.0 * f32::from(u8::from(i % 5 == j)) + stream.normal() as f32;
    let x = ndarray::Array2::from_shape_fn((n, 8), place);
    Graph::fuzzy(&nearest_self(x.view(), &NeighborConfig::default()).unwrap())
}

#[test]
fn modularity_equals_the_sum_over_all_pairs() {
    let graph = groups(60);
    let labels: Vec<u32> = (0..60).map(|i| (i * 7 % 4) as u32).collect();
    let weight = |i: usize, j: usize| {
        let (neighbors, weights) = graph.row(i);
        neighbors.binary_search(&(j as u32)).map_or(0.0, |p| f64::from(weights[p]))
    };
    let twice_m: f64 = (0..60).map(|i| graph.degree(i)).sum();
    for resolution in [0.3, 1.0, 2.0] {
        let pairs = (0..60).flat_map(|i| (0..60).map(move |j| (i, j))).filter(|(i, j)| labels[*i] == labels[*j]);
        let by_pairs: f64 =
            pairs.map(|(i, j)| weight(i, j) - resolution * graph.degree(i) * graph.degree(j) / twice_m).sum::<f64>() / twice_m;
        assert!((modularity(&graph, &labels, resolution).unwrap() - by_pairs).abs() < 1e-9);
    }
    assert!(modularity(&graph, &labels[1..], 1.0).is_err());
}

#[test]
fn the_karate_club_is_divided_at_its_proven_optimum() {
    // Brandes et al. 2008: no division is better than 0.4198.
    for algorithm in [leiden, louvain] {
        let best = (0..5).map(|seed| algorithm(&karate(), &CommunityConfig { seed, ..Default::default() }).unwrap().modularity);
        assert!((best.fold(0.0, f64::max) - 0.419_789_6).abs() < 1e-6);
    }
    assert_eq!(leiden(&karate(), &CommunityConfig::default()).unwrap().n_communities, 4);
}

#[test]
fn cliques_are_found_and_pairs_of_them_where_the_resolution_limit_says_so() {
    let (small, large) = (ring_of_cliques(5, 6), ring_of_cliques(30, 5));
    for algorithm in [leiden, louvain] {
        let found = algorithm(&small, &CommunityConfig::default()).unwrap();
        assert!((0..30).all(|i| found.labels[i] == found.labels[i / 6 * 6]) && found.n_communities == 5);
        // Fortunato and Barthélemy 2007: of 30 cliques of 5, pairs have 0.888 and single cliques 0.876.
        let found = algorithm(&large, &CommunityConfig::default()).unwrap();
        assert!(found.modularity > 0.8757 && found.n_communities < 30, "{}", found.modularity);
        let fine = algorithm(&large, &CommunityConfig { resolution: 3.0, ..Default::default() }).unwrap();
        assert_eq!(fine.n_communities, 30);
    }
}

#[test]
fn communities_of_leiden_are_connected_ranked_by_size_and_better_than_the_planted_ones() {
    let graph = groups(1000);
    let planted: Vec<u32> = (0..1000).map(|i| i % 5).collect();
    for resolution in [0.2, 1.0, 3.0] {
        let found = leiden(&graph, &CommunityConfig { resolution, ..Default::default() }).unwrap();
        assert!((found.modularity - modularity(&graph, &found.labels, resolution).unwrap()).abs() < 1e-12);
        assert!(found.modularity >= modularity(&graph, &planted, resolution).unwrap());
        let sizes: Vec<usize> =
            (0..found.n_communities).map(|c| found.labels.iter().filter(|l| **l as usize == c).count()).collect();
        assert!(sizes.windows(2).all(|w| w[0] >= w[1]));
        for community in 0..found.n_communities {
            let members: Vec<usize> = (0..1000).filter(|i| found.labels[*i] as usize == community).collect();
            assert!(graph.subgraph(&members).components().iter().all(|c| *c == 0));
        }
    }
}

#[test]
fn nodes_without_edges_stay_alone_and_threads_change_nothing() {
    let graph = Graph::from_edges(5, &[(1, 2, 1.0), (2, 4, 1.0)]).unwrap();
    assert_eq!(leiden(&graph, &CommunityConfig::default()).unwrap().labels, [1, 0, 0, 2, 0]);
    let none = Graph::from_edges(3, &[]).unwrap();
    assert_eq!(louvain(&none, &CommunityConfig::default()).unwrap().n_communities, 3);
    let graph = groups(400);
    let run = |n| Threads::new(n).unwrap().run(|| leiden_at(&graph, &[0.5, 1.0, 2.0], &CommunityConfig::default()).unwrap());
    assert_eq!(run(1), run(2));
    assert!(leiden(&graph, &CommunityConfig { resolution: 0.0, ..Default::default() }).is_err());
    assert!(leiden(&graph, &CommunityConfig { n_iterations: 0, ..Default::default() }).is_err());
}
