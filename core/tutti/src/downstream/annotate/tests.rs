use ndarray::{Array2, s};

use super::super::TransferConfig;
use super::*;
use crate::data::Categorical;
use crate::rng::Rng;

/// Cells of three classes whose logits say so with some errors, too sure of themselves; the last quarter of the query is novel.
fn evidence(n: usize, seed: u64) -> ClassEvidence {
    let mut stream = Rng::new(seed).stream("evidence", 0, 0);
    let mut cells = |n: usize, novel_from: usize| {
        let mut logits = Array2::from_shape_fn((n, 3), |_| 6.0 * stream.normal() as f32);
        let novelty = (0..n).map(|i| if i < novel_from { stream.uniform() as f32 * 0.9 } else { 0.95 }).collect();
        for i in 0..novel_from.min(n) {
            logits[[i, i % 3]] += 14.0;
        }
        CellEvidence { logits, novelty: Some(novelty) }
    };
    ClassEvidence {
        classes: ["a", "b", "c"].map(String::from).to_vec(),
        held_out: cells(n, n),
        truth: (0..n).map(|i| Some(i as u32 % 3)).collect(),
        query: cells(n + n / 3, n),
    }
}

#[test]
fn limits_keep_to_the_rate_and_what_is_novel_is_found() {
    let evidence = evidence(3000, 1);
    let found = annotate(&evidence, &AnnotateConfig::default()).unwrap();
    let temperature = found.temperature.unwrap();
    assert!(temperature.temperature > 1.5 && temperature.nll_after < temperature.nll_before, "{temperature:?}");
    for threshold in [found.probability_threshold.unwrap(), found.novelty_threshold.unwrap()] {
        assert!((threshold.expected_rate - 0.025).abs() < 1e-3 && threshold.n_cells == 3000, "{threshold:?}");
    }
    assert!((0.95..0.97).contains(&found.held_out.coverage()), "{}", found.held_out.coverage());
    let unknown = found.query.unknown();
    let share = |range: std::ops::Range<usize>| unknown[range.clone()].iter().filter(|u| **u).count() as f64 / range.len() as f64;
    assert!((share(0..3000) - 0.05).abs() < 0.02, "{}", share(0..3000));
    assert_eq!(share(3000..4000), 1.0);
    assert!(found.warnings.is_empty(), "{:?}", found.warnings);
}

#[test]
fn neighbours_name_planted_classes_and_refuse_one_that_is_not_in_the_reference() {
    let mut stream = Rng::new(7).stream("cells", 0, 0);
    let mut cells = |n: usize, n_classes: usize| {
        Array2::from_shape_fn((n, 6), |(i, j)| 0.3 * stream.normal() as f32 + if i % n_classes == j { 3.0 } else { 0.0 })
    };
    let (reference, query) = (cells(900, 3), cells(400, 4));
    let labels = Categorical::from_values((0..900).map(|i| Some(["a", "b", "c"][i % 3])));
    let split = crate::downstream::hold_out(&labels, 0.2, &Rng::new(1)).unwrap();
    let config = TransferConfig { n_neighbors: 15, ..Default::default() };
    let evidence = ClassEvidence::of_neighbors(reference.view(), &labels, &split, query.view(), &config).unwrap();
    assert_eq!((evidence.held_out.logits.dim(), evidence.query.logits.dim()), ((180, 3), (400, 3)));
    let found = annotate(&evidence, &AnnotateConfig::default()).unwrap();
    let unknown = found.query.unknown();
    let truth = |i: usize| ["a", "b", "c", "new"][i % 4];
    assert!((0..400).filter(|i| i % 4 < 3).all(|i| found.query.label.value(i) == Some(truth(i))));
    assert!((0..400).filter(|i| i % 4 == 3).all(|i| unknown[i]));
    assert!((0..400).filter(|i| i % 4 < 3 && unknown[*i]).count() <= 30, "15 of 300 are expected");
}

#[test]
fn limits_given_or_none_need_no_held_out_cells() {
    let mut evidence = evidence(30, 2);
    evidence.held_out = CellEvidence { logits: Array2::zeros((0, 3)), novelty: None };
    evidence.truth.clear();
    let plain = AnnotateConfig { calibrate: false, probability: Limit::Given(0.95), novelty: Limit::None, ..Default::default() };
    let found = annotate(&evidence, &plain).unwrap();
    assert_eq!(found.limits, Rejection { min_confidence: Some(0.95), ..Default::default() });
    assert!(found.query.probability.iter().zip(found.query.unknown()).all(|(p, unknown)| unknown == (*p < 0.95)));
    let error = annotate(&evidence, &AnnotateConfig::default()).unwrap_err().to_string();
    assert!(error.contains("no labelled reference cell is held out"), "{error}");
}

/// Cells of three classes, of which `wide` spreads over novelties up to 0.9 and probabilities down to 0.6, `narrow` keeps near 0.1 and 1, and `rare` has
/// few cells; those from `novel_from` on are called `narrow` from as far as `wide` goes.
fn unequal(n: usize, novel_from: usize, stream: &mut crate::rng::Stream) -> (CellEvidence, Vec<Option<u32>>) {
    let class = |i: usize| if i.is_multiple_of(100) { 2 } else { i % 2 };
    let mut logits = Array2::zeros((n, 3));
    let mut novelty = Vec::with_capacity(n);
    for i in 0..n {
        let wide = class(i) == 0 || i >= novel_from;
        let of = if i >= novel_from { 1 } else { class(i) };
        let p = if wide { 0.6 + 0.3 * stream.uniform() as f32 } else { 0.98 + 0.01 * stream.uniform() as f32 };
        logits.row_mut(i).fill(((1.0 - p) / 2.0).ln());
        logits[[i, of]] = p.ln();
        novelty.push(if wide { 0.2 + 0.7 * stream.uniform() as f32 } else { 0.1 * stream.uniform() as f32 });
    }
    (CellEvidence { logits, novelty: Some(novelty) }, (0..n).map(|i| Some(class(i) as u32)).collect())
}

#[test]
fn limits_by_class_keep_to_the_rate_in_classes_of_unequal_spread() {
    let mut stream = Rng::new(8).stream("evidence", 0, 0);
    let (held_out, truth) = unequal(2000, 2000, &mut stream);
    let (query, _) = unequal(3000, 2000, &mut stream);
    let classes = ["wide", "narrow", "rare"].map(String::from).to_vec();
    let evidence = ClassEvidence { classes, held_out, truth, query };
    let plain = AnnotateConfig { calibrate: false, ..Default::default() };
    let overall = annotate(&evidence, &plain).unwrap();
    let found = annotate(&evidence, &AnnotateConfig { limits: LimitScope::ByClass, ..plain }).unwrap();

    let refused = |found: &Annotated, cells: &dyn Fn(usize) -> bool| {
        let unknown = found.query.unknown();
        let cells: Vec<usize> = (0..3000).filter(|i| cells(*i)).collect();
        cells.iter().filter(|i| unknown[**i]).count() as f64 / cells.len() as f64
    };
    let wide = |i: usize| i < 2000 && i.is_multiple_of(2) && !i.is_multiple_of(100);
    let narrow = |i: usize| i < 2000 && i % 2 == 1;
    // One limit for all rejects cells of the wide class alone, and no cell that is strange among the narrow one.
    assert!(refused(&overall, &wide) > 0.08 && refused(&overall, &narrow) == 0.0, "{}", refused(&overall, &wide));
    assert!(refused(&overall, &|i| i >= 2000) < 0.15);
    for (class, cells) in [("wide", &wide as &dyn Fn(usize) -> bool), ("narrow", &narrow)] {
        let rate = refused(&found, cells);
        assert!((rate - 0.05).abs() < 0.025, "{class}: {rate}");
    }
    assert_eq!(refused(&found, &|i| i >= 2000), 1.0);

    // By hand: of n cells the value of rank floor(0.025 (n + 1)) from the far end.
    let of_held_out = evidence.held_out.novelty.as_ref().unwrap();
    let mut novelties: Vec<f32> = (0..2000).filter(|i| evidence.truth[*i] == Some(1)).map(|i| of_held_out[i]).collect();
    novelties.sort_by(|a, b| b.total_cmp(a));
    let rank = (0.025 * (novelties.len() + 1) as f64).floor() as usize;
    assert_eq!(found.by_class[1].limits.max_novelty, Some(novelties[rank - 1]));
    assert_eq!((found.by_class[1].n_held_out, novelties.len()), (1000, 1000));
    assert_eq!(found.limits, overall.limits);
    assert!(overall.by_class.is_empty());

    // Twenty cells are too few for a rate of 0.025: what holds for all holds for them, and is said.
    let rare = &found.by_class[2];
    assert_eq!((rare.n_held_out, rare.limits, rare.probability_threshold), (20, overall.limits, None));
    let said = |w: &&String| w.contains("fewer than 39 held-out cells") && w.ends_with(": rare (20)");
    assert_eq!(found.warnings.iter().filter(said).count(), 1, "{:?}", found.warnings);

    // A limit of one's own holds for all classes; the other takes the whole rate, for which 19 cells are enough.
    let given = AnnotateConfig { probability: Limit::Given(0.5), limits: LimitScope::ByClass, ..plain };
    let given = annotate(&evidence, &given).unwrap();
    assert!(given.by_class.iter().all(|c| c.limits.min_confidence == Some(0.5) && c.probability_threshold.is_none()));
    assert!(given.by_class[2].novelty_threshold.is_some() && given.warnings.is_empty(), "{:?}", given.warnings);
}

#[test]
fn few_held_out_cells_and_a_far_query_are_warned_of() {
    let mut evidence = evidence(9, 3);
    evidence.query.novelty = Some(vec![0.95; 12]);
    let found = annotate(&evidence, &AnnotateConfig::default()).unwrap();
    assert_eq!(found.warnings.len(), 2, "{:?}", found.warnings);
    assert!(found.warnings[0].contains("9 held-out cells are too few") && found.warnings[1].contains("half of the query"));
    assert_eq!(found.held_out.coverage(), 1.0);
}

#[test]
fn without_novelty_the_probability_takes_the_whole_rate_and_one_class_is_no_error() {
    let mut both = evidence(400, 4);
    both.held_out.novelty = None;
    both.query.novelty = None;
    let found = annotate(&both, &AnnotateConfig::default()).unwrap();
    assert!((found.probability_threshold.unwrap().expected_rate - 0.05).abs() < 3e-3 && found.novelty_threshold.is_none());
    let one = ClassEvidence {
        classes: vec!["a".into()],
        held_out: CellEvidence { logits: both.held_out.logits.slice(s![.., ..1]).to_owned(), novelty: None },
        truth: vec![Some(0); 400],
        query: CellEvidence { logits: both.query.logits.slice(s![.., ..1]).to_owned(), novelty: None },
    };
    let found = annotate(&one, &AnnotateConfig::default()).unwrap();
    assert!(found.query.coverage() == 1.0 && found.warnings[0].contains("single class"));
}

#[test]
fn settings_out_of_range_are_refused_also_where_nothing_is_chosen() {
    let none = AnnotateConfig { probability: Limit::None, novelty: Limit::None, ..Default::default() };
    assert!(AnnotateConfig { false_rejection_rate: 1.0, ..none }.validate().is_err() && none.validate().is_ok());
    let error = AnnotateConfig { probability: Limit::Given(1.5), ..none }.validate().unwrap_err().to_string();
    assert!(error.contains("(got 1.5)"), "{error}");
    let error = AnnotateConfig { limits: LimitScope::ByClass, ..none }.validate().unwrap_err().to_string();
    assert!(error.contains("`limits`"), "{error}");
    let by_class: AnnotateConfig = serde_json::from_str("{\"limits\": \"by_class\"}").unwrap();
    assert_eq!(by_class, AnnotateConfig { limits: LimitScope::ByClass, ..Default::default() });
    let stored = serde_json::to_string(&AnnotateConfig { probability: Limit::Given(0.5), ..none }).unwrap();
    assert_eq!(serde_json::from_str::<AnnotateConfig>(&stored).unwrap().probability, Limit::Given(0.5));
    assert!(serde_json::from_str::<AnnotateConfig>("{\"rate\": 1}").is_err());
}

#[test]
fn what_does_not_belong_together_is_named() {
    let mut wrong = evidence(10, 5);
    wrong.truth.pop();
    assert!(annotate(&wrong, &AnnotateConfig::default()).unwrap_err().to_string().contains("10 held-out cells and classes of 9"));
    let mut wrong = evidence(10, 5);
    wrong.classes.pop();
    assert!(annotate(&wrong, &AnnotateConfig::default()).unwrap_err().to_string().contains("3 columns for 2 classes"));
    let labels = Categorical::from_values(["b", "x", "a"].map(Some));
    assert_eq!(ClassEvidence::truth_of(&labels, &[0, 1, 2], &["a".into(), "b".into()]), [Some(1), None, Some(0)]);
}
