//! CellPredX: cells of a query named after a labelled reference.

use candle_core::Device;
use extendr_api::prelude::*;
use ndarray::Array2;
use tutti::data::{Categorical, RowSubset};
use tutti::downstream::{
    AnnotateConfig, Annotated, ClassEvidence, DeterminantConfig, HoldOut, Limit, TransferConfig, annotate, determinant_genes,
    hold_out,
};
use tutti::model::with_settings;
use tutti::preprocess::{Origin, Pair, PairConfig, prepare_pair, prepare_query};
use tutti::rng::Rng;
use tutti::systems::cellpredx::{CellPredX, CellPredXConfig, CellPredXInput, Preset, Scenario};
use tutti::threads::Threads;

use crate::guard::{Failure, guard};
use crate::json;
use crate::matrix::{cells, factor, field, number, optional, text, to_robj};
use crate::model::load_cellpredx;
use crate::train::{Ready, advance, finish};

type Outcome<T> = std::result::Result<T, Failure>;

fn config(preset: &str, scenario: Scenario, settings: &Robj) -> Outcome<CellPredXConfig> {
    let preset = serde_json::from_value::<Preset>(preset.into()).map_err(|_| {
        let names: Vec<String> = Preset::ALL.iter().map(|(_, name)| format!("\"{name}\"")).collect();
        Failure::new("argument", format!("`preset` is \"{preset}\"; give one of {}", names.join(", ")))
    })?;
    let config = with_settings(&CellPredXConfig::preset(preset, scenario), &json::table(settings)?)?;
    config.validate()?;
    Ok(config)
}

/// The scenario of a name; `None` for `auto`.
fn scenario(name: &str) -> Outcome<Option<Scenario>> {
    let found = Scenario::ALL.iter().find(|(_, n)| *n == name).map(|(scenario, _)| *scenario);
    if found.is_none() && name != "auto" {
        let names: Vec<String> = Scenario::ALL.iter().map(|(_, name)| format!("\"{name}\"")).collect();
        return Err(Failure::new("argument", format!("`scenario` is \"{name}\"; give \"auto\" or one of {}", names.join(", "))));
    }
    Ok(found)
}

/// All settings of CellPredX.
#[extendr]
fn rust_cellpredx_settings(preset: &str, kind: &str, settings: Robj) -> Robj {
    guard(|| {
        let config = config(preset, scenario(kind)?.unwrap_or_default(), &settings)?;
        Ok(json::robj(&serde_json::to_value(config).map_err(|e| Failure::new("internal", e.to_string()))?))
    })
}

/// Reference cells that may be learned from, and those held out; the same in training and afterwards.
fn split(labels: &Categorical, share: f64, seed: u64) -> Outcome<HoldOut> {
    Ok(hold_out(labels, share, &Rng::new(seed))?)
}

/// Labels of the reference, without levels that no cell has.
fn labels_of(options: &Robj) -> Outcome<Categorical> {
    Ok(factor(&field(options, "labels")?)?.drop_unused())
}

/// Prepares training. `input`: the reference; `options`: query, labels (of the reference), batch (whether the inputs have a column `group.by`), preset,
/// scenario, settings, held_out, n_features, min_overlap, threads.
#[extendr]
fn rust_cellpredx_trainer(input: Robj, options: Robj) -> Robj {
    guard(|| {
        let query = field(&options, "query")?;
        let (borrowed, of_query) = (cells(&input)?, cells(&query)?);
        let threads = Threads::new(number(&options, "threads")? as usize)?;
        let column = |cells: &tutti::data::Cells<'_>| cells.column("group.by").is_ok().then_some("group.by");
        let n_top_genes = optional(&options, "n_features")?.is_some().then(|| number(&options, "n_features")).transpose()?;
        let how = PairConfig {
            batch: [column(&borrowed.cells), column(&of_query.cells)],
            n_top_genes: n_top_genes.map(|n| n as usize),
            min_overlap: number(&options, "min_overlap")?,
            ..Default::default()
        };
        let names = [text(&input, "origin")?, text(&query, "origin")?];
        let chosen = [text(&input, "choose")?, text(&query, "choose")?];
        let origins = [Origin { name: &names[0], choose: &chosen[0] }, Origin { name: &names[1], choose: &chosen[1] }];
        let pair = threads.run(|| prepare_pair(&borrowed.cells, &of_query.cells, &how, origins))?;
        let (kind, reason) = match scenario(&text(&options, "scenario")?)? {
            Some(scenario) => (scenario, "as given".to_owned()),
            None => {
                let seen = threads.run(|| Scenario::of_pair(&pair))?;
                (seen.scenario, seen.reason)
            }
        };
        let config = config(&text(&options, "preset")?, kind, &field(&options, "settings")?)?;
        let labels = labels_of(&options)?;
        let split = split(&labels, number(&options, "held_out")?, config.seed)?;
        let mut codes = vec![None; labels.len()];
        split.train.iter().for_each(|i| codes[*i] = labels.codes()[*i]);
        let given = CellPredXInput::of_pair(&pair, Categorical::new(codes, labels.levels().to_vec())?)?;
        let mut notes = vec![format!("{}: {reason}", kind.name())];
        notes.extend(CellPredX::warnings(&given, &config)?);
        let n_epochs = config.train().n_epochs;
        let trainer = CellPredX::trainer(&pair.cells, &given, config, &Device::Cpu, threads)?;
        let Pair { cells, prepared, .. } = pair;
        let ready =
            Ready { cells, prepared, n_threads: number(&options, "threads")? as usize, borrowed: vec![borrowed, of_query] };
        Ok(ready.started(trainer, n_epochs, notes))
    })
}

/// Trains for about `seconds`. A failure leaves the last good weights for `rust_cellpredx_finish`.
#[extendr]
fn rust_cellpredx_advance(pointer: Robj, seconds: f64) -> Robj {
    guard(|| advance::<CellPredX>(pointer, seconds))
}

/// Ends training, done or not: model, history, embedding of reference and query, and a logit per class of all cells.
#[extendr]
fn rust_cellpredx_finish(pointer: Robj) -> Robj {
    guard(|| {
        finish::<CellPredX>(pointer, |model, embedding, preprocessing, history| {
            let logits = to_robj(&model.logits(embedding.view())?);
            let logits = List::from_pairs([("classes", Robj::from(model.classes().to_vec())), ("values", logits)]);
            Ok((model.saved(preprocessing, history)?, logits.into()))
        })
    })
}

fn limit(options: &Robj, name: &str, chosen: bool) -> Outcome<Limit> {
    Ok(match (optional(options, name)?, chosen) {
        (Some(_), _) => Limit::Given(number(options, name)? as f32),
        (None, true) => Limit::Chosen,
        (None, false) => Limit::None,
    })
}

/// Names the query. `embedding` and `logits` of the reference and then the query. `options`: labels, classes, held_out, seed, n_neighbors,
/// false_rejection_rate, reject, min_probability, max_novelty, threads.
#[extendr]
fn rust_annotate(embedding: Robj, logits: Robj, options: Robj) -> Robj {
    guard(|| {
        let (z, logits): (Array2<f32>, Array2<f32>) = (crate::matrix::dense(&embedding)?, crate::matrix::dense(&logits)?);
        let (labels, seed) = (labels_of(&options)?, number(&options, "seed")? as u64);
        let split = split(&labels, number(&options, "held_out")?, seed)?;
        let classes = crate::matrix::strings(&field(&options, "classes")?)?;
        let transfer = TransferConfig { n_neighbors: number(&options, "n_neighbors")? as usize, seed, ..Default::default() };
        let reject = field(&options, "reject")?.as_bool().unwrap_or(true);
        let config = AnnotateConfig {
            false_rejection_rate: number(&options, "false_rejection_rate")?,
            probability: limit(&options, "min_probability", reject)?,
            novelty: limit(&options, "max_novelty", reject)?,
            ..Default::default()
        };
        let found = Threads::new(number(&options, "threads")? as usize)?.run(|| {
            let evidence = ClassEvidence::of_network(logits.view(), &classes, z.view(), &labels, &split, &transfer)?;
            annotate(&evidence, &config)
        })?;
        Ok(named(&found))
    })
}

fn named(found: &Annotated) -> Robj {
    let query = &found.query;
    let numbers = |values: &[f32]| Robj::from(values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
    let codes = |column: &Categorical| -> Robj {
        column.codes().iter().map(|c| c.map(|c| c as i32 + 1)).collect::<Vec<Option<i32>>>().into()
    };
    let reasons = query.reasons();
    let limit = |limit: Option<f32>| limit.map_or_else(|| Robj::from(()), |l| f64::from(l).into());
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
        ("min_probability", limit(found.limits.min_confidence)),
        ("max_novelty", limit(found.limits.max_novelty)),
        ("coverage", query.coverage().into()),
        ("warnings", found.warnings.clone().into()),
    ])
    .into()
}

/// Genes on which the classes rest, as columns of a table. `labels`: of the cells of `input`. `options`: n_top, n_genes, max_cells, threads.
#[extendr]
fn rust_cellpredx_genes(model: Robj, input: Robj, labels: Robj, options: Robj) -> Robj {
    guard(|| {
        let (model, preprocessing) = load_cellpredx(&model)?;
        let borrowed = cells(&input)?;
        let (name, choose) = (text(&input, "origin")?, text(&input, "choose")?);
        let query = prepare_query(&borrowed.cells, model.genes(), preprocessing, 0.5, Origin { name: &name, choose: &choose })?;
        let labels = factor(&labels)?;
        // Codes as those of the network's classes; other labels are left out.
        let place = |i: usize| labels.value(i).and_then(|v| model.classes().iter().position(|c| c == v)).map(|c| c as u32);
        let labels = Categorical::new((0..labels.len()).map(place).collect(), model.classes().to_vec())?;
        let count = |name: &str| Ok::<_, Failure>(number(&options, name)? as usize);
        let (n_top, n_genes, max_cells) = (count("n_top")?, count("n_genes")?, count("max_cells")?);
        let config = DeterminantConfig { n_top, n_genes, max_cells, ..Default::default() };
        let rows: Vec<usize> = (0..labels.len()).collect();
        let source = RowSubset::new(&query.source, rows);
        let found = Threads::new(count("threads")?)?.run(|| determinant_genes(&model, &source, &labels, &config))?;
        let rows = || found.iter().flat_map(|c| c.genes.iter().map(move |g| (c, g)));
        Ok(List::from_pairs([
            ("class", Robj::from(rows().map(|(c, _)| c.class.clone()).collect::<Vec<_>>())),
            ("gene", rows().map(|(_, g)| model.genes()[g.gene].clone()).collect::<Vec<_>>().into()),
            ("frequency", rows().map(|(_, g)| f64::from(g.frequency)).collect::<Vec<_>>().into()),
            ("attribution", rows().map(|(_, g)| f64::from(g.attribution)).collect::<Vec<_>>().into()),
        ])
        .into())
    })
}

extendr_module! {
    mod cellpredx;
    fn rust_cellpredx_settings;
    fn rust_cellpredx_trainer;
    fn rust_cellpredx_advance;
    fn rust_cellpredx_finish;
    fn rust_annotate;
    fn rust_cellpredx_genes;
}
