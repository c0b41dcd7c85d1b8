use super::*;
use ndarray::Array2;
use std::f32::consts::TAU;

/// Intervals by reduction of the whole boundary matrix, column by column.
fn by_boundaries(distances: &Array2<f64>, max_dim: usize) -> Vec<Vec<Interval>> {
    let n = distances.nrows();
    let mut simplices: Vec<(f64, Vec<usize>)> = Vec::new();
    for mask in 1u32..1 << n {
        let vertices: Vec<usize> = (0..n).filter(|v| mask >> v & 1 == 1).collect();
        if vertices.len() <= max_dim + 2 {
            let pairs = vertices.iter().flat_map(|i| vertices.iter().map(|j| distances[[*i, *j]]));
            simplices.push((pairs.fold(0.0, f64::max), vertices));
        }
    }
    simplices.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.len().cmp(&b.1.len())).then(a.1.cmp(&b.1)));
    let place: std::collections::BTreeMap<_, _> = simplices.iter().enumerate().map(|(i, s)| (s.1.clone(), i)).collect();
    let mut columns: Vec<std::collections::BTreeSet<usize>> = Vec::new();
    let (mut of_low, mut out) = (std::collections::BTreeMap::new(), vec![Vec::new(); max_dim + 1]);
    for (at, (_, vertices)) in simplices.iter().enumerate() {
        let mut column = std::collections::BTreeSet::new();
        for k in (0..vertices.len()).filter(|_| vertices.len() > 1) {
            let mut facet = vertices.clone();
            facet.remove(k);
            column.insert(place[&facet]);
        }
        while let Some(other) = column.last().and_then(|low| of_low.get(low)) {
            let other: &std::collections::BTreeSet<usize> = &columns[*other];
            column = column.symmetric_difference(other).copied().collect();
        }
        if let Some(low) = column.last().copied() {
            of_low.insert(low, at);
            let (birth, death, dim) = (simplices[low].0, simplices[at].0, simplices[low].1.len() - 1);
            if death > birth && dim <= max_dim {
                out[dim].push(Interval { birth, death });
            }
        }
        columns.push(column);
    }
    for diagram in &mut out {
        diagram.sort_by(|a, b| a.birth.total_cmp(&b.birth).then(a.death.total_cmp(&b.death)));
    }
    out
}

#[test]
fn equals_the_reduction_of_the_whole_boundary_matrix() {
    let mut found = [0; 3];
    for case in 0..60 {
        let mut stream = Rng::new(case).stream("distances", 0, 0);
        // Not metric: more holes. Every other case has many ties, zeros among them.
        let n = 6 + case as usize % 5;
        let mut distances = Array2::zeros((n, n));
        for i in 0..n {
            for j in 0..i {
                let d = if case % 2 == 0 { stream.uniform() } else { stream.below(5) as f64 };
                (distances[[i, j]], distances[[j, i]]) = (d, d);
            }
        }
        let diagrams = rips_persistence(distances.view(), 2, None).unwrap();
        assert_eq!(diagrams, by_boundaries(&distances, 2), "case {case}");
        found.iter_mut().zip(&diagrams).for_each(|(n, diagram)| *n += diagram.len());
        let enough = rips_persistence(distances.view(), 2, Some(100.0)).unwrap();
        assert_eq!(diagrams, enough);
    }
    assert!(found.iter().all(|n| *n > 5), "{found:?}");
}

#[test]
fn an_octahedron_is_a_sphere_until_its_diagonals_fill_it() {
    let corner = |i: usize, j: usize| if i / 2 == j { 1.0 - 2.0 * (i % 2) as f32 } else { 0.0 };
    let x = Array2::from_shape_fn((6, 3), |(i, j)| corner(i, j));
    let diagrams = persistence(x.view(), &TopologyConfig::default()).unwrap();
    assert_eq!((diagrams[0].len(), diagrams[1].len(), diagrams[2].len()), (5, 0, 1));
    assert!((diagrams[2][0].birth - 2f64.sqrt()).abs() < 1e-12 && diagrams[2][0].death == 2.0);
    // Before its edges there are six points, five of them reduced, and none ever meets another.
    let config = TopologyConfig { threshold: Some(1.0), ..Default::default() };
    assert!(persistence(x.view(), &config).unwrap()[0].iter().all(|i| i.death == f64::INFINITY));
}

fn jitter(stream: &mut crate::rng::Stream) -> f32 {
    0.03 * stream.normal() as f32
}

#[test]
fn known_shapes_have_their_betti_numbers() {
    let mut s = Rng::new(2).stream("shapes", 0, 0);
    let circle = Array2::from_shape_fn((120, 2), |(i, j)| {
        let a = TAU * i as f32 / 120.0;
        [a.cos(), a.sin()][j] + jitter(&mut s)
    });
    let loops = Array2::from_shape_fn((180, 2), |(i, j)| {
        // Three circles that touch in a row.
        let a = TAU * (i / 3) as f32 / 60.0;
        [a.cos() + 2.0 * (i % 3) as f32, a.sin()][j]
    });
    let golden = TAU * 0.618_034;
    let sphere = Array2::from_shape_fn((200, 3), |(i, j)| {
        let z = 1.0 - (2 * i + 1) as f32 / 200.0;
        let (r, a) = ((1.0 - z * z).sqrt(), golden * i as f32);
        [r * a.cos(), r * a.sin(), z][j]
    });
    let torus = Array2::from_shape_fn((400, 4), |(i, j)| {
        // The flat torus in four dimensions, on a grid of 20 by 20.
        let (a, b) = (TAU * (i / 20) as f32 / 20.0, TAU * (i % 20) as f32 / 20.0);
        [a.cos(), a.sin(), b.cos(), b.sin()][j]
    });
    for (name, x, expected) in
        [("circle", circle, [0, 1, 0]), ("loops", loops, [0, 3, 0]), ("sphere", sphere, [0, 0, 1]), ("torus", torus, [0, 2, 1])]
    {
        // Above 1.2 the shapes only fill; a class alive there counts as long.
        let config = TopologyConfig { threshold: Some(1.2), ..Default::default() };
        let diagrams = persistence(x.view(), &config).unwrap();
        let long = |d: &Vec<Interval>| d.iter().filter(|i| i.death - i.birth > 0.4).count();
        assert_eq!(diagrams.iter().map(long).collect::<Vec<_>>(), expected, "{name}");
    }
}

#[test]
fn curve_and_score_by_hand() {
    let interval = |birth, death| Interval { birth, death };
    let diagrams = vec![vec![interval(0.0, 1.0), interval(0.0, 4.0)], vec![interval(2.0, f64::INFINITY)]];
    let curves = betti_curves(&diagrams, 5).unwrap();
    assert_eq!(curves[0].lengths, [0.0, 1.0, 2.0, 3.0, 4.0]);
    assert_eq!((curves[0].betti.as_slice(), curves[1].betti.as_slice()), (&[2, 1, 1, 1, 0][..], &[0, 0, 1, 1, 1][..]));
    let score = topology_score(&diagrams, &[1, 3], 5).unwrap();
    assert_eq!((score.betti.as_slice(), score.accuracy), (&[1, 1][..], 1.0 / 3.0));
    // Variances 0.4 and 0.24.
    let stability = (1.0 / 1.4 + 1.0 / 1.24) / 2.0;
    assert!((score.stability - stability).abs() < 1e-12);
    assert!((score.score - (0.8 / 3.0 + 0.2 * stability)).abs() < 1e-12);
    let entropy = |shares: &[f64]| shares.iter().map(|p| -p * p.ln()).sum::<f64>();
    assert!((score.entropy - (entropy(&[0.2, 0.6, 0.2]) + entropy(&[0.4, 0.6])) / 2.0).abs() < 1e-12);
    assert!(topology_score(&diagrams, &[1], 5).is_err() && betti_curves(&diagrams, 1).is_err());
}

#[test]
fn a_sample_is_seeded_and_bad_input_is_named() {
    let mut stream = Rng::new(1).stream("points", 0, 0);
    let x = Array2::from_shape_fn((80, 3), |_| stream.normal() as f32);
    let run = |seed| persistence(x.view(), &TopologyConfig { max_points: 30, seed, ..Default::default() }).unwrap();
    assert!(run(1) == run(1) && run(1) != run(2) && run(1)[0].len() == 29);
    let refused = |d: Array2<f64>, dim, t| rips_persistence(d.view(), dim, t).unwrap_err().to_string();
    assert!(refused(Array2::zeros((3, 2)), 1, None).contains("3 rows and 2 columns"));
    assert!(refused(ndarray::arr2(&[[0.0, 1.0], [2.0, 0.0]]), 1, None).contains("symmetric"));
    assert!(refused(Array2::zeros((3, 3)), 3, None).contains("max_dim"));
    assert!(refused(Array2::zeros((3, 3)), 1, Some(0.0)).contains("threshold"));
    assert!(refused(Array2::zeros((1, 1)), 1, None).contains("1 points"));
}
