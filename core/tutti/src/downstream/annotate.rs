//! From what any system says of the classes of cells to a table of labels with calibrated probabilities and chosen limits.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::calibration::{Temperature, fit_temperature};
use super::evidence::{CellEvidence, ClassEvidence};
use super::label_transfer::median;
use super::limits::{Choice, ClassLimits, LimitScope};
use super::rejection::Threshold;
use super::{Annotations, Rejection, Smoothing};
use crate::error::{Error, Result};

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
        for (name, limit) in [("min_probability", self.probability), ("max_novelty", self.novelty)] {
            if let Some(limit) = limit.given().filter(|limit| !(0.0..=1.0).contains(limit)) {
                return Err(Error::argument(
                    name,
                    format!("must be between 0 and 1 (got {limit})"),
                    "leave it out for the chosen one",
                ));
            }
        }
        Ok(())
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
    /// What smoothing did, where [`Annotated::smoothed`] was asked for.
    pub smoothing: Option<Smoothing>,
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
        smoothing: None,
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

/// Probabilities at a temperature; as the system gives them without one.
pub(super) fn calibrated(part: &CellEvidence, temperature: Option<Temperature>) -> Result<Array2<f32>> {
    let plain = Temperature { temperature: 1.0, nll_before: 0.0, nll_after: 0.0, n_cells: 0, at_limit: false };
    temperature.unwrap_or(plain).probabilities(part.logits.view())
}

fn table(part: &CellEvidence, evidence: &ClassEvidence, temperature: Option<Temperature>) -> Result<Annotations> {
    let probabilities = calibrated(part, temperature)?;
    Annotations::new(probabilities.view(), &evidence.classes)?.with_distances(part.novelty.clone(), None)
}

#[cfg(test)]
mod tests;
