use ndarray::{array, concatenate, s};

use super::*;
use crate::rng::Rng;
use crate::threads::Threads;

const METRICS: [Metric; 2] = [Metric::Cosine, Metric::Euclidean];
const WEIGHTS: [NeighborWeights; 3] = [NeighborWeights::Similarity, NeighborWeights::Gaussian, NeighborWeights::Uniform];

fn random(n: usize, d: usize, seed: u64) -> Array2<f32> {
    let mut stream = Rng::new(seed).stream("points", 0, 0);
    Array2::from_shape_fn((n, d), |_| stream.normal() as f32)
}

/// Cells of three classes in turn around three axes, and their classes.
fn clusters(n: usize, seed: u64) -> (Array2<f32>, Vec<&'static str>) {
    let mut x = 0.3 * random(n, 8, seed);
    x.rows_mut().into_iter().enumerate().for_each(|(i, mut row)| row[i % 3] += 3.0);
    (x, (0..n).map(|i| ["alpha", "beta", "delta"][i % 3]).collect())
}

fn column(labels: &[&str]) -> Categorical {
    Categorical::from_values(labels.iter().map(|l| Some(*l)))
}

fn close(a: f32, b: f64) -> bool {
    (f64::from(a) - b).abs() < 1e-5
}

/// The definitions, by loops in double precision.
struct ByLoops<'a> {
    reference: &'a Array2<f32>,
    config: TransferConfig,
}

impl ByLoops<'_> {
    fn distance(&self, a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f64 {
        let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(a, b)| f(f64::from(*a), f64::from(*b))).sum::<f64>();
        match self.config.metric {
            Metric::Euclidean => sum(&|a, b| (a - b) * (a - b)).sqrt(),
            Metric::Cosine => 1.0 - sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt(),
        }
    }

    /// Rows and distances of the nearest reference cells but `without`.
    fn nearest(&self, cell: ArrayView1<'_, f32>, without: Option<usize>) -> Vec<(f64, usize)> {
        let others = (0..self.reference.nrows()).filter(|j| Some(*j) != without);
        let mut all: Vec<(f64, usize)> = others.map(|j| (self.distance(cell, self.reference.row(j)), j)).collect();
        all.sort_by(|a, b| a.partial_cmp(b).unwrap());
        all.truncate(self.config.n_neighbors);
        all
    }

    fn similarity(&self, d: f64) -> f64 {
        if self.config.metric == Metric::Cosine { 1.0 - d } else { 1.0 / (1.0 + d) }
    }

    fn weights(&self, nearest: &[(f64, usize)]) -> Vec<f64> {
        let variance = nearest.iter().map(|(d, _)| d * d).sum::<f64>() / nearest.len() as f64;
        let weight = |(d, _): &(f64, usize)| match self.config.weights {
            NeighborWeights::Similarity => self.similarity(*d).max(0.0),
            NeighborWeights::Gaussian => (-d * d / (2.0 * variance)).exp(),
            NeighborWeights::Uniform => 1.0,
        };
        let total: f64 = nearest.iter().map(weight).sum();
        nearest.iter().map(|n| weight(n) / total).collect()
    }

    fn mean_distance(&self, cell: ArrayView1<'_, f32>, without: Option<usize>) -> f64 {
        self.nearest(cell, without).iter().map(|(d, _)| d).sum::<f64>() / self.config.n_neighbors as f64
    }

    fn novelty(&self, cell: ArrayView1<'_, f32>) -> f64 {
        let n = self.reference.nrows();
        let smaller = |i: &usize| self.mean_distance(self.reference.row(*i), Some(*i)) < self.mean_distance(cell, None);
        (0..n).filter(smaller).count() as f64 / n as f64
    }
}

#[test]
fn votes_similarities_and_novelty_equal_loops() {
    let (reference, query) = (random(40, 5, 1), random(12, 5, 2));
    let codes: Vec<u32> = (0..40).map(|i| (i * i) % 7 % 4).collect();
    let levels = ["a", "b", "c", "d"].map(String::from).to_vec();
    let labels = Categorical::new(codes.iter().copied().map(Some).collect(), levels).unwrap();
    for (metric, weights) in METRICS.into_iter().flat_map(|m| WEIGHTS.map(|w| (m, w))) {
        let config = TransferConfig { n_neighbors: 6, metric, weights, ..Default::default() };
        let found = transfer_labels(reference.view(), &labels, query.view(), &config).unwrap();
        let loops = ByLoops { reference: &reference, config };
        for (i, cell) in query.rows().into_iter().enumerate() {
            let nearest = loops.nearest(cell, None);
            let mut scores = [0.0; 4];
            nearest.iter().zip(loops.weights(&nearest)).for_each(|((_, j), w)| scores[codes[*j] as usize] += w);
            assert!(scores.iter().zip(found.scores.row(i)).all(|(a, b)| close(*b, *a)), "{metric:?} {weights:?} {scores:?}");
            let winner = found.label.codes()[i].unwrap();
            assert!(scores.iter().all(|s| *s < scores[winner as usize] + 1e-6), "{metric:?} {weights:?} {scores:?}");
            assert!(close(found.confidence[i], scores[winner as usize]));
            let similarities: Vec<f64> =
                nearest.iter().filter(|(_, j)| codes[*j] == winner).map(|(d, _)| loops.similarity(*d)).collect();
            assert!(close(found.mean_similarity[i], similarities.iter().sum::<f64>() / similarities.len() as f64));
            assert!(close(found.novelty[i], loops.novelty(cell)), "{metric:?} {} {}", found.novelty[i], loops.novelty(cell));
        }
    }
}

#[test]
fn values_equal_loops_and_a_constant_stays() {
    let (reference, query) = (random(40, 5, 1), random(12, 5, 2));
    let values = concatenate![Axis(1), random(40, 2, 3), Array2::from_elem((40, 1), 7.0)];
    for (metric, weights) in METRICS.into_iter().flat_map(|m| WEIGHTS.map(|w| (m, w))) {
        let config = TransferConfig { n_neighbors: 6, metric, weights, ..Default::default() };
        let found = transfer_values(reference.view(), values.view(), query.view(), &config).unwrap();
        let loops = ByLoops { reference: &reference, config };
        for (i, cell) in query.rows().into_iter().enumerate() {
            let nearest = loops.nearest(cell, None);
            let weights = loops.weights(&nearest);
            for m in 0..3 {
                let mean: f64 = nearest.iter().zip(&weights).map(|((_, j), w)| w * f64::from(values[[*j, m]])).sum();
                assert!(close(found[[i, m]], mean), "{metric:?} {} and {mean}", found[[i, m]]);
            }
            assert!((found[[i, 2]] - 7.0).abs() < 1e-5);
        }
    }
}

#[test]
fn planted_classes_are_found_by_every_weight_and_metric() {
    let ((reference, known), (query, truth)) = (clusters(300, 4), clusters(150, 5));
    for (metric, weights) in METRICS.into_iter().flat_map(|m| WEIGHTS.map(|w| (m, w))) {
        let config = TransferConfig { metric, weights, ..Default::default() };
        let found = transfer_labels(reference.view(), &column(&known), query.view(), &config).unwrap();
        assert!(truth.iter().enumerate().all(|(i, truth)| found.label.value(i) == Some(truth)), "{metric:?} {weights:?}");
        assert!(found.confidence.iter().all(|c| *c > 0.999));
    }
}

#[test]
fn a_class_that_is_held_out_is_novel_and_the_others_are_as_novel_as_the_reference() {
    let ((reference, known), (query, truth)) = (clusters(3000, 6), clusters(3000, 7));
    // The reference knows no `delta`.
    let kept: Vec<usize> = (0..known.len()).filter(|i| known[*i] != "delta").collect();
    let labels = column(&kept.iter().map(|i| known[*i]).collect::<Vec<_>>());
    for metric in METRICS {
        let config = TransferConfig { metric, ..Default::default() };
        let found = transfer_labels(reference.select(Axis(0), &kept).view(), &labels, query.view(), &config).unwrap();
        let novelty = |held_out: bool| -> Vec<f32> {
            (0..truth.len()).filter(|i| (truth[*i] == "delta") == held_out).map(|i| found.novelty[i]).collect()
        };
        assert!(novelty(true).iter().all(|v| *v > 0.999), "{metric:?}");
        let mut others = novelty(false);
        others.sort_by(f32::total_cmp);
        // Kolmogorov and Smirnov: 2000 cells against the uniform distribution and the spread of the calibration, 1.95 sqrt(2 / 2000).
        let n = others.len() as f32;
        let gap = others.iter().enumerate().map(|(i, v)| (v - (i as f32 + 0.5) / n).abs()).fold(0f32, f32::max);
        assert!(gap < 0.062, "{metric:?}: {gap}");
        let mean = others.iter().sum::<f32>() / n;
        assert!((mean - 0.5).abs() < 0.03, "{metric:?}: {mean}");
        let unknown = found.unknown(&Rejection { max_novelty: Some(0.99), ..Default::default() }).unwrap();
        let rejected = (0..truth.len()).filter(|i| unknown[*i] && truth[*i] != "delta").count();
        assert!((2..=50).contains(&rejected), "{metric:?}: 20 of 2000 are expected, {rejected} are rejected");
    }
}

#[test]
fn cells_without_a_label_take_no_part() {
    let (reference, known) = clusters(90, 8);
    let query = random(20, 8, 9);
    let labels = Categorical::from_values((0..90).map(|i| (i % 4 > 0).then_some(known[i])));
    // What lies in the rows left out does not matter, not even that they are not finite.
    let mut spoilt = reference.clone();
    (0..90).step_by(4).for_each(|i| spoilt.row_mut(i).fill(f32::NAN));
    let kept: Vec<usize> = (0..90).filter(|i| i % 4 > 0).collect();
    let (config, rows) = (TransferConfig::default(), reference.select(Axis(0), &kept));
    let expected = transfer_labels(rows.view(), &labels.select(&kept), query.view(), &config).unwrap();
    assert_eq!(transfer_labels(spoilt.view(), &labels, query.view(), &config).unwrap(), expected);
}

#[test]
fn ties_go_to_the_first_level_and_levels_without_cells_get_no_vote() {
    let reference = array![[1.0f32, 0.0], [-1.0, 0.0], [0.0, 3.0], [0.0, 3.5]];
    let levels = ["none", "late", "early"].map(String::from).to_vec();
    let labels = Categorical::new([2, 1, 1, 1].map(Some).to_vec(), levels).unwrap();
    let config = TransferConfig { n_neighbors: 2, metric: Metric::Euclidean, ..Default::default() };
    let found = transfer_labels(reference.view(), &labels, array![[0.0f32, 0.0]].view(), &config).unwrap();
    assert_eq!(found.scores, array![[0.0, 0.5, 0.5]]);
    assert_eq!((found.label.value(0), found.confidence[0], found.mean_similarity[0]), (Some("late"), 0.5, 0.5));
}

#[test]
fn agreement_far_away_has_share_one_and_little_similarity() {
    let (reference, known) = clusters(300, 10);
    let mut far = Array2::zeros((2, 8));
    // Nearest to `alpha`, and on the other side of all classes.
    far.row_mut(0).assign(&array![4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 9.0]);
    far.slice_mut(s![1, ..3]).fill(-1.0);
    let found = transfer_labels(reference.view(), &column(&known), far.view(), &TransferConfig::default()).unwrap();
    assert_eq!((found.label.value(0), found.confidence[0]), (Some("alpha"), 1.0));
    assert!(found.mean_similarity[0] < 0.7 && found.mean_similarity[1] < 0.0, "{:?}", found.mean_similarity);
    assert_eq!(found.novelty, [1.0, 1.0]);
    // Cosines below 0 leave every neighbour an equal vote.
    let shares = found.scores.row(1).mapv(|s| (s * 5.0).fract().min(1.0 - (s * 5.0).fract()));
    assert!(shares.iter().all(|s| *s < 1e-6), "{}", found.scores);
}

#[test]
fn neighbours_that_lie_on_the_cell_weigh_the_same() {
    let reference = array![[1.0f32, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [4.0, -1.0]];
    for weights in WEIGHTS {
        let config = TransferConfig { n_neighbors: 3, weights, ..Default::default() };
        let labels = column(&["a", "a", "b", "b", "b"]);
        let found = transfer_labels(reference.view(), &labels, reference.slice(s![..1, ..]), &config).unwrap();
        assert!(close(found.confidence[0], 2.0 / 3.0), "{weights:?}: {found:?}");
        assert_eq!(found.novelty, [0.0], "none of the reference is nearer to others than on them");
    }
}

#[test]
fn limits_reject_and_without_any_nothing_is() {
    let found = LabelTransfer {
        label: column(&["a", "a", "a", "a"]),
        scores: Array2::ones((4, 1)),
        confidence: vec![0.8, 0.6, 0.9, 0.9],
        mean_similarity: vec![0.7, 0.7, 0.2, 0.7],
        novelty: vec![0.99, 0.1, 0.1, 0.995],
    };
    assert_eq!(found.unknown(&Rejection::default()).unwrap(), [false; 4]);
    let reject = |min_confidence, min_similarity, max_novelty| {
        found.unknown(&Rejection { min_confidence, min_similarity, max_novelty }).map_err(|e| e.to_string())
    };
    assert_eq!(reject(Some(0.8), None, None).unwrap(), [false, true, false, false]);
    assert_eq!(reject(None, Some(0.5), None).unwrap(), [false, false, true, false]);
    assert_eq!(reject(None, None, Some(0.99)).unwrap(), [false, false, false, true]);
    assert_eq!(reject(Some(0.8), Some(0.5), Some(0.99)).unwrap(), [false, true, true, true]);
    assert!(reject(Some(1.5), None, None).unwrap_err().contains("`min_confidence` must be between 0 and 1 (got 1.5)"));
    assert!(reject(None, None, Some(f32::NAN)).unwrap_err().contains("`max_novelty`"));
}

#[test]
fn threads_change_no_bit() {
    let ((reference, known), query) = (clusters(700, 11), random(130, 8, 12));
    let values = random(700, 30, 13);
    for method in [Method::Exact, Method::Approximate] {
        let config = TransferConfig { method, ..Default::default() };
        let run = |n| {
            let threads = Threads::new(n).unwrap();
            let labels = threads.run(|| transfer_labels(reference.view(), &column(&known), query.view(), &config)).unwrap();
            (labels, threads.run(|| transfer_values(reference.view(), values.view(), query.view(), &config)).unwrap())
        };
        assert_eq!(run(1), run(3));
    }
}

#[test]
fn what_is_wrong_is_named() {
    let ((reference, known), query) = (clusters(9, 14), random(4, 8, 15));
    let (labels, config) = (column(&known), TransferConfig::default());
    let refused = |reference: &Array2<f32>, labels: &Categorical, query: &Array2<f32>, config: &TransferConfig| {
        transfer_labels(reference.view(), labels, query.view(), config).unwrap_err().to_string()
    };
    let with = |x: &Array2<f32>, value: f32| {
        let mut x = x.clone();
        x.row_mut(2).fill(value);
        x
    };
    let none = Categorical::from_values([None::<&str>; 9]);
    let cases = [
        (refused(&reference, &none, &query, &config), "none of the 9 reference cells has a label"),
        (refused(&reference, &column(&known[..5]), &query, &config), "9 reference cells and labels of 5"),
        (refused(&reference, &labels, &random(4, 7, 1), &config), "the reference embedding has 8 dimensions, the query's 7"),
        (refused(&with(&reference, f32::NAN), &labels, &query, &config), "row 3 of the reference embedding is not finite"),
        (refused(&reference, &labels, &with(&query, f32::INFINITY), &config), "row 3 of the query embedding is not finite"),
        (refused(&reference, &labels, &with(&query, 0.0), &config), "row 3 of the query embedding is all zero"),
        (
            refused(&reference, &labels, &query, &TransferConfig { n_neighbors: 9, ..config }),
            "`n_neighbors` must be between 1 and the number of other labelled cells, 8 (got 9)",
        ),
        (refused(&reference, &labels, &query, &TransferConfig { n_neighbors: 0, ..config }), "(got 0)"),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "{message}");
    }
    let euclidean = TransferConfig { metric: Metric::Euclidean, ..config };
    assert!(transfer_labels(reference.view(), &labels, with(&query, 0.0).view(), &euclidean).is_ok());

    let refused = |values: &Array2<f32>, config: &TransferConfig| {
        transfer_values(reference.view(), values.view(), query.view(), config).unwrap_err().to_string()
    };
    assert!(refused(&random(8, 2, 1), &config).contains("9 reference cells and values of 8"));
    assert!(refused(&with(&random(9, 2, 1), f32::NAN), &config).contains("row 3 of the values is not finite"));
    assert!(refused(&random(9, 2, 1), &TransferConfig { n_neighbors: 10, ..config }).contains("(got 10)"));
}

#[test]
fn novelty_beside_held_out_cells_is_their_share_by_loops() {
    let ((reference, _), cells) = (clusters(60, 21), random(30, 8, 22));
    let config = TransferConfig { n_neighbors: 4, metric: Metric::Euclidean, ..Default::default() };
    let found = novelty_beside(reference.view(), cells.view(), 12, &config).unwrap();
    let distance = |i: usize| {
        let to = |j: usize| cells.row(i).iter().zip(reference.row(j)).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt();
        let mut all: Vec<f64> = (0..60).map(to).collect();
        all.sort_by(f64::total_cmp);
        all[..4].iter().sum::<f64>()
    };
    for (i, novelty) in found.iter().enumerate() {
        let others: Vec<usize> = (0..12).filter(|j| *j != i).collect();
        let nearer = others.iter().filter(|j| distance(**j) < distance(i)).count();
        assert!(close(*novelty, nearer as f64 / others.len() as f64), "{i}: {novelty}");
    }
    assert!(novelty_beside(reference.view(), cells.view(), 1, &config).is_err());
    assert!(novelty_beside(reference.view(), cells.view(), 31, &config).is_err());
}
