//! Named cells: what `RunCellPredX()` and `TransferLabels()` share.

use extendr_api::prelude::*;
use ndarray::{ArrayView2, Axis};
use tutti::data::Categorical;
use tutti::downstream::{
    AnnotateConfig, Annotated, ClassLimits, HoldOut, LevelTransfer, Limit, LimitScope, TransferConfig, hold_out, transfer_within,
};
use tutti::rng::Rng;

use crate::guard::Failure;
use crate::matrix::{factor, field, number, optional, text};

type Outcome<T> = std::result::Result<T, Failure>;

/// Reference cells that may be learned from, and those held out; the same in training and afterwards.
pub fn split(labels: &Categorical, share: f64, seed: u64) -> Outcome<HoldOut> {
    Ok(hold_out(labels, share, &Rng::new(seed))?)
}

/// Labels of the reference, without levels that no cell has.
pub fn labels_of(options: &Robj) -> Outcome<Categorical> {
    Ok(factor(&field(options, "labels")?)?.without_blank().drop_unused())
}

fn limit(options: &Robj, name: &str, chosen: bool) -> Outcome<Limit> {
    Ok(match (optional(options, name)?, chosen) {
        (Some(_), _) => Limit::Given(number(options, name)? as f32),
        (None, true) => Limit::Chosen,
        (None, false) => Limit::None,
    })
}

/// From `options`: false_rejection_rate, reject, min_probability, max_novelty, limits.
pub fn config(options: &Robj) -> Outcome<AnnotateConfig> {
    let reject = field(options, "reject")?.as_bool().unwrap_or(true);
    Ok(AnnotateConfig {
        false_rejection_rate: number(options, "false_rejection_rate")?,
        probability: limit(options, "min_probability", reject)?,
        novelty: limit(options, "max_novelty", reject)?,
        limits: if text(options, "limits")? == "by-class" { LimitScope::ByClass } else { LimitScope::Overall },
        ..Default::default()
    })
}

/// Finer labels of the reference, where `options` has them.
pub fn finer_labels(options: &Robj) -> Outcome<Option<Categorical>> {
    optional(options, "finer")?.map(|finer| Ok(factor(&finer)?.without_blank())).transpose()
}

/// Finer labels of the query: by vote among the reference cells that may be learned from and have the label that the query cell is called.
pub fn finer(
    finer: Option<&Categorical>,
    (reference, query): (ArrayView2<'_, f32>, ArrayView2<'_, f32>),
    labels: &Categorical,
    split: &HoldOut,
    called: &Categorical,
    transfer: &TransferConfig,
) -> tutti::Result<Option<LevelTransfer>> {
    let Some(finer) = finer else { return Ok(None) };
    let (voters, train) = (reference.select(Axis(0), &split.train), &split.train);
    let (known, finer) = (labels.select(train), finer.select(train).drop_unused());
    transfer_within(voters.view(), &known, &finer, query, called, transfer).map(Some)
}

fn finer_robj(found: &LevelTransfer) -> Robj {
    List::from_pairs([
        ("levels", Robj::from(found.label.levels().to_vec())),
        ("label", codes(&found.label)),
        ("confidence", numbers(&found.confidence)),
        ("novelty", numbers(&found.novelty)),
    ])
    .into()
}

/// What R gets.
pub fn named(found: &Annotated, finer: Option<&LevelTransfer>) -> Robj {
    let query = &found.query;
    let reasons = query.reasons();
    List::from_pairs([
        ("levels", Robj::from(query.label.levels().to_vec())),
        ("label", codes(&query.label)),
        ("probability", numbers(&query.probability)),
        ("runner_up", codes(&query.runner_up)),
        ("runner_up_probability", numbers(&query.runner_up_probability)),
        ("novelty", query.novelty.as_deref().map_or_else(|| Robj::from(()), numbers)),
        ("reason_levels", reasons.levels().to_vec().into()),
        ("reason", codes(&reasons)),
        ("temperature", found.temperature.map_or_else(|| Robj::from(()), |t| t.temperature.into())),
        ("min_probability", found.limits.min_confidence.map_or_else(|| Robj::from(()), |l| f64::from(l).into())),
        ("max_novelty", found.limits.max_novelty.map_or_else(|| Robj::from(()), |l| f64::from(l).into())),
        ("by_class", by_class(&found.by_class)),
        ("n_smoothed", found.smoothing.map_or_else(|| Robj::from(()), |s| (s.n_changed as f64).into())),
        ("coverage", query.coverage().into()),
        ("finer", finer.map_or_else(|| Robj::from(()), finer_robj)),
        ("warnings", found.warnings.clone().into()),
    ])
    .into()
}

/// A column each; NULL where one limit holds for all.
fn by_class(classes: &[ClassLimits]) -> Robj {
    if classes.is_empty() {
        return ().into();
    }
    let limit = |of: &dyn Fn(&ClassLimits) -> Option<f32>| -> Robj {
        classes.iter().map(|c| of(c).map(f64::from)).collect::<Vec<Option<f64>>>().into()
    };
    List::from_pairs([
        ("class", Robj::from(classes.iter().map(|c| c.class.clone()).collect::<Vec<_>>())),
        ("n_held_out", classes.iter().map(|c| c.n_held_out as f64).collect::<Vec<_>>().into()),
        ("min_probability", limit(&|c| c.limits.min_confidence)),
        ("max_novelty", limit(&|c| c.limits.max_novelty)),
    ])
    .into()
}

/// Numbers of single precision.
pub fn numbers(values: &[f32]) -> Robj {
    Robj::from(values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>())
}

/// Codes of a factor.
pub fn codes(column: &Categorical) -> Robj {
    column.codes().iter().map(|c| c.map(|c| c as i32 + 1)).collect::<Vec<Option<i32>>>().into()
}
