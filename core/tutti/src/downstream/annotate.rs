//! From what any system says of the classes of cells to a table of labels with calibrated probabilities and chosen limits.

use ndarray::{Array2, ArrayView2, Axis, concatenate};
use serde::{Deserialize, Serialize};

use super::calibration::{Temperature, fit_temperature, log_probabilities};
use super::hold_out::HoldOut;
use super::label_transfer::{TransferConfig, median, transfer_labels};
use super::limits::{Choice, ClassLimits, LimitScope};
use super::rejection::Threshold;
use super::{Annotations, Rejection};
use crate::data::Categorical;
use crate::error::{Error, Result};

/// What a system says of cells.
#[derive(Debug, Clone, PartialEq)]
pub struct CellEvidence {
    /// Logits, [n_cells, n_classes]: of a network as they are; of probabilities and votes by [`super::log_probabilities`].
    pub logits: Array2<f32>,
    /// How unlike the reference each cell is, 0 to 1, larger is stranger, e.g. from [`super::novelty`].
    pub novelty: Option<Vec<f32>>,
}

impl CellEvidence {
    /// The first `n` cells, all where there are no more, and the others.
    pub fn split(self, n: usize) -> (Self, Self) {
        let n = n.min(self.logits.nrows());
        let (first, others) = self.logits.view().split_at(Axis(0), n);
        let (first, others) = (first.to_owned(), others.to_owned());
        let (of_first, of_others) = match self.novelty {
            Some(mut novelty) => {
                let of_others = novelty.split_off(n.min(novelty.len()));
                (Some(novelty), Some(of_others))
            }
            None => (None, None),
        };
        (Self { logits: first, novelty: of_first }, Self { logits: others, novelty: of_others })
    }
}

/// What a system says of reference cells that trained nothing, and of the query, by the same model.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassEvidence {
    /// Name of each column of the logits.
    pub classes: Vec<String>,
    /// Reference cells that are held out.
    pub held_out: CellEvidence,
    /// Their true classes, columns of the logits.
    pub truth: Vec<Option<u32>>,
    /// Cells to name.
    pub query: CellEvidence,
}

/// A limit beyond which cells are unknown.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Chosen on the held-out cells by the false rejection rate.
    #[default]
    Chosen,
    /// This one.
    Given(f32),
    /// None.
    None,
}

impl Limit {
    fn given(self) -> Option<f32> {
        match self {
            Self::Given(limit) => Some(limit),
            Self::Chosen | Self::None => None,
        }
    }
}

/// Settings of [`annotate`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnnotateConfig {
    /// Whether a temperature is fitted on the held-out cells. Default true.
    pub calibrate: bool,
    /// Share of cells of known classes that the chosen limits may reject together, above 0 and below 1. Default 0.05.
    pub false_rejection_rate: f64,
    /// Least probability of the likeliest class. Default chosen; CellPredX takes 0.95 of what its network gives.
    pub probability: Limit,
    /// Largest novelty. Default chosen; without effect where the evidence has no novelty.
    pub novelty: Limit,
    /// Whether the chosen limits are those of all classes together or of each. Default overall; by class, the rate holds for the cells that are
    /// called by each class, and a class with too few of them held out keeps the overall limits.
    pub limits: LimitScope,
}

impl Default for AnnotateConfig {
    fn default() -> Self {
        Self {
            calibrate: true,
            false_rejection_rate: 0.05,
            probability: Limit::Chosen,
            novelty: Limit::Chosen,
            limits: LimitScope::Overall,
        }
    }
}

impl AnnotateConfig {
    /// Refuses settings outside of their range.
    ///
    /// # Errors
    /// [`Error::Argument`] for a rate or a limit out of range, or for limits by class where none is chosen.
    pub fn validate(&self) -> Result<()> {
        let rate = self.false_rejection_rate;
        if !(rate > 0.0 && rate < 1.0) {
            let problem = format!("must be above 0 and below 1 (got {rate})");
            return Err(Error::argument("false_rejection_rate", problem, "use 0.05"));
        }
        if self.limits == LimitScope::ByClass && self.probability != Limit::Chosen && self.novelty != Limit::Chosen {
            return Err(Error::argument("limits", "is by class, and no limit is chosen", "leave it out, or a limit of your own"));
        }
        self.given().validate()
    }

    fn given(&self) -> Rejection {
        Rejection { min_confidence: self.probability.given(), max_novelty: self.novelty.given(), min_similarity: None }
    }
}

/// Named cells, and how the limits came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotated {
    /// The query.
    pub query: Annotations,
    /// The held-out reference cells by the same limits.
    pub held_out: Annotations,
    /// The temperature of the probabilities; `None` without calibration.
    pub temperature: Option<Temperature>,
    /// How the least probability was chosen.
    pub probability_threshold: Option<Threshold>,
    /// How the largest novelty was chosen.
    pub novelty_threshold: Option<Threshold>,
    /// The limits in use; those of all classes together where [`Annotated::by_class`] has others.
    pub limits: Rejection,
    /// The limits of each class, in the order of the evidence's; empty where one holds for all.
    pub by_class: Vec<ClassLimits>,
    /// What a user should know.
    pub warnings: Vec<String>,
}

/// Names the query: a temperature makes the probabilities mean what they say, and limits of the probability and of the novelty, chosen on held-out
/// cells, mark those that should have no name. Where both limits are chosen, each takes half of the false rejection rate, so that both together
/// keep to it. Limits by class ([`LimitScope::ByClass`]) are chosen on the held-out cells that are called by the class (Mondrian conformal prediction,
/// Vovk et al. 2003): the rate then holds for each name that is given, also where classes are of unequal spread, on the held-out cells of that
/// class alone.
///
/// The probabilities are calibrated with targets smoothed by 1 / (n + 2) ([`fit_temperature`]). Temperature and limits come from the same
/// held-out cells; the one number fitted before is neglected. Both speak of query cells that are like the held-out ones: under a batch effect
/// between reference and query, expect more cells to be rejected, and look at the coverage.
///
/// # Errors
/// [`Error::Data`] for parts that do not belong together, or no held-out cell where something is to be learnt from them; [`Error::Argument`] for
/// settings out of range.
pub fn annotate(evidence: &ClassEvidence, config: &AnnotateConfig) -> Result<Annotated> {
    config.validate()?;
    check(evidence, config)?;
    let mut warnings = Vec::new();
    let n_known = evidence.truth.iter().flatten().count();
    let temperature = match (config.calibrate, evidence.classes.len()) {
        (false, _) => None,
        (true, 1) => {
            warnings.push("there is a single class, so that there are no probabilities to calibrate".to_owned());
            None
        }
        (true, _) => Some(fit_temperature(evidence.held_out.logits.view(), &evidence.truth, 1.0 / (n_known + 2) as f64)?),
    };
    let (held_out, query) = (table(&evidence.held_out, evidence, temperature)?, table(&evidence.query, evidence, temperature)?);
    let chosen = [
        config.probability == Limit::Chosen,
        config.novelty == Limit::Chosen && held_out.novelty.is_some() && query.novelty.is_some(),
    ];
    let rate = config.false_rejection_rate / chosen.iter().filter(|c| **c).count().max(1) as f64;
    let choice = Choice { probability: chosen[0], novelty: chosen[1], rate };
    let known: Vec<usize> = (0..evidence.truth.len()).filter(|i| evidence.truth[*i].is_some()).collect();
    let overall = choice.on(&held_out, &known)?;
    warnings.extend(overall.probability.iter().chain(&overall.novelty).filter_map(Threshold::warning));
    // Both are about the same cells, and say so in almost the same words.
    warnings.dedup();
    warnings.extend(query.novelty.as_ref().and_then(|novelty| far_from_reference(novelty)));
    let limits = overall.or(&config.given());
    let by_class = match config.limits {
        LimitScope::Overall => Vec::new(),
        LimitScope::ByClass => choice.by_class(&held_out, &known, &limits)?,
    };
    warnings.extend(choice.warning(&by_class));
    let (held_out, query) = (reject(held_out, &limits, &by_class)?, reject(query, &limits, &by_class)?);
    Ok(Annotated {
        query,
        held_out,
        temperature,
        probability_threshold: overall.probability,
        novelty_threshold: overall.novelty,
        limits,
        by_class,
        warnings,
    })
}

fn reject(cells: Annotations, overall: &Rejection, by_class: &[ClassLimits]) -> Result<Annotations> {
    match by_class {
        [] => cells.reject(overall),
        _ => cells.reject_by_class(&by_class.iter().map(|class| class.limits).collect::<Vec<_>>()),
    }
}

/// Median novelty above which a whole query is called far.
const FAR: f32 = 0.9;

fn far_from_reference(novelty: &[f32]) -> Option<String> {
    let median = median(novelty.iter().copied());
    (median > FAR).then(|| {
        format!(
            "half of the query cells are farther from the reference than {:.0} % of its own cells from each other: a batch effect is left, or \
             most are of other types; where most are refused, leave the limit of the novelty out",
            100.0 * median
        )
    })
}

fn check(evidence: &ClassEvidence, config: &AnnotateConfig) -> Result<()> {
    let n_classes = evidence.classes.len();
    for (name, part) in [("held-out cells", &evidence.held_out), ("query", &evidence.query)] {
        if part.logits.ncols() != n_classes {
            let problem = format!("the logits of the {name} have {} columns for {n_classes} classes", part.logits.ncols());
            return Err(Error::data(problem, "give a column per class"));
        }
    }
    if evidence.truth.len() != evidence.held_out.logits.nrows() {
        let problem = format!("{} held-out cells and classes of {}", evidence.held_out.logits.nrows(), evidence.truth.len());
        return Err(Error::data(problem, "give a class per held-out cell"));
    }
    let learns = config.calibrate && n_classes > 1 || config.probability == Limit::Chosen || config.novelty == Limit::Chosen;
    if learns && evidence.truth.iter().all(Option::is_none) {
        let fix = "label more reference cells, 5 of a class at least, or give limits and turn calibration off";
        return Err(Error::data("no labelled reference cell is held out to calibrate and choose limits on", fix));
    }
    Ok(())
}

fn table(part: &CellEvidence, evidence: &ClassEvidence, temperature: Option<Temperature>) -> Result<Annotations> {
    let plain = Temperature { temperature: 1.0, nll_before: 0.0, nll_after: 0.0, n_cells: 0, at_limit: false };
    let probabilities = temperature.unwrap_or(plain).probabilities(part.logits.view())?;
    Annotations::new(probabilities.view(), &evidence.classes)?.with_distances(part.novelty.clone(), None)
}

impl ClassEvidence {
    /// From the votes of the nearest reference cells in an embedding of both, [n_reference, d] and [n_query, d]: those of `split.train` vote on the held-out
    /// cells and on the query. The logits are logs of the shares with one vote more that all classes share.
    ///
    /// # Errors
    /// As [`transfer_labels`].
    pub fn of_neighbors(
        reference: ArrayView2<'_, f32>,
        labels: &Categorical,
        split: &HoldOut,
        query: ArrayView2<'_, f32>,
        config: &TransferConfig,
    ) -> Result<Self> {
        let voters = reference.select(Axis(0), &split.train);
        // One search for both: what distances are usual among the voters is found once.
        let cells = concatenate![Axis(0), reference.select(Axis(0), &split.held_out), query];
        let found = transfer_labels(voters.view(), &labels.select(&split.train), cells.view(), config)?;
        let logits = log_probabilities(found.scores.view(), 1.0 / (config.n_neighbors + 1) as f64)?;
        let (held_out, query) = CellEvidence { logits, novelty: Some(found.novelty) }.split(split.held_out.len());
        let truth = Self::truth_of(labels, &split.held_out, labels.levels());
        Ok(Self { classes: labels.levels().to_vec(), held_out, truth, query })
    }

    /// From what a network says of a reference and a query, in logits [n_reference + n_query, n_classes], the reference first, and from the embedding
    /// of the same cells, [n_reference + n_query, d]: novelty is that of the distances to the cells of `split.train`, beside those of the held-out
    /// cells to them ([`super::novelty_beside`]); without held-out cells, beside those of these cells to each other.
    ///
    /// # Errors
    /// [`Error::Data`] for logits and an embedding of other cells than these; as [`super::novelty()`].
    pub fn of_network(
        logits: ArrayView2<'_, f32>,
        classes: &[String],
        embedding: ArrayView2<'_, f32>,
        labels: &Categorical,
        split: &HoldOut,
        config: &TransferConfig,
    ) -> Result<Self> {
        if logits.nrows() != embedding.nrows() || embedding.nrows() < labels.len() {
            let (n, m) = (logits.nrows(), embedding.nrows());
            let problem = format!("logits of {n} cells, an embedding of {m} and labels of {} reference cells", labels.len());
            return Err(Error::data(problem, "give logits and embedding of all cells, the reference first"));
        }
        let (of_reference, of_query) = logits.split_at(Axis(0), labels.len());
        let (reference, query) = embedding.split_at(Axis(0), labels.len());
        let voters = reference.select(Axis(0), &split.train);
        // One search for both, as for votes.
        let cells = concatenate![Axis(0), reference.select(Axis(0), &split.held_out), query];
        let novelty = match split.held_out.len() {
            // Training has drawn the voters together: nothing is as near to them as they are to each other.
            n @ 2.. => super::novelty_beside(voters.view(), cells.view(), n, config)?,
            _ => super::novelty(voters.view(), cells.view(), config)?,
        };
        let novelty = Some(novelty);
        let logits = concatenate![Axis(0), of_reference.select(Axis(0), &split.held_out), of_query];
        let (held_out, query) = CellEvidence { logits, novelty }.split(split.held_out.len());
        let truth = Self::truth_of(labels, &split.held_out, classes);
        Ok(Self { classes: classes.to_vec(), held_out, truth, query })
    }

    /// Classes of held-out cells as columns of the logits, joined by name; a class that has no column gives none.
    pub fn truth_of(labels: &Categorical, held_out: &[usize], classes: &[String]) -> Vec<Option<u32>> {
        let place: Vec<Option<u32>> =
            labels.levels().iter().map(|level| classes.iter().position(|c| c == level).map(|c| c as u32)).collect();
        held_out.iter().map(|i| labels.codes()[*i].and_then(|code| place[code as usize])).collect()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::s;

    use super::*;
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
        let share =
            |range: std::ops::Range<usize>| unknown[range.clone()].iter().filter(|u| **u).count() as f64 / range.len() as f64;
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
        let plain =
            AnnotateConfig { calibrate: false, probability: Limit::Given(0.95), novelty: Limit::None, ..Default::default() };
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
        assert!(
            annotate(&wrong, &AnnotateConfig::default()).unwrap_err().to_string().contains("10 held-out cells and classes of 9")
        );
        let mut wrong = evidence(10, 5);
        wrong.classes.pop();
        assert!(annotate(&wrong, &AnnotateConfig::default()).unwrap_err().to_string().contains("3 columns for 2 classes"));
        let labels = Categorical::from_values(["b", "x", "a"].map(Some));
        assert_eq!(ClassEvidence::truth_of(&labels, &[0, 1, 2], &["a".into(), "b".into()]), [Some(1), None, Some(0)]);
    }
}
