//! LCL: lineages of barcoded cells, what becomes of them, and the genes that they rest on.

use candle_core::Device;
use extendr_api::prelude::*;
use tutti::data::Lineages;
use tutti::downstream::{FateConfig, FateTargets, FateTimes, GradientConfig, LineageGenesConfig, lineage_genes, predict_fates};
use tutti::metrics::{LineageError, held_out_lineage_error};
use tutti::model::with_settings;
use tutti::preprocess::{Origin, PcaConfig, pca, prepare_query, to_memory};
use tutti::rng::Rng;
use tutti::systems::lcl::{Lcl, LclConfig, LclInput, Mode, Preset};
use tutti::threads::Threads;

use crate::guard::{Failure, guard};
use crate::json;
use crate::matrix::{cells, dense, factor, field, list, number, optional, strings, text, to_robj, view};
use crate::model::load_lcl;
use crate::train::{Ready, advance, finish};

type Outcome<T> = std::result::Result<T, Failure>;

fn config(preset: &str, settings: &Robj) -> Outcome<LclConfig> {
    let preset = serde_json::from_value::<Preset>(preset.into()).map_err(|_| {
        let names: Vec<String> = Preset::ALL.iter().map(|(_, name)| format!("\"{name}\"")).collect();
        Failure::new("argument", format!("`preset` is \"{preset}\"; give one of {}", names.join(", ")))
    })?;
    let config = with_settings(&LclConfig::preset(preset), &json::table(settings)?)?;
    config.validate()?;
    Ok(config)
}

/// Lineages from a factor, or from `list(matrix, names)` with a dgCMatrix of lineages x cells.
fn lineages(robj: &Robj) -> Outcome<Lineages> {
    if robj.as_integer_slice().is_some() {
        return Ok(Lineages::from_column(&factor(robj)?));
    }
    let matrix = field(robj, "matrix")?;
    Ok(Lineages::from_matrix(&view(&matrix)?.to_csr(), strings(&field(robj, "names")?)?)?)
}

/// All settings of LCL.
#[extendr]
fn rust_lcl_settings(preset: &str, settings: Robj) -> Robj {
    guard(|| {
        let settings = serde_json::to_value(config(preset, &settings)?).map_err(|e| Failure::new("internal", e.to_string()))?;
        Ok(json::robj(&settings))
    })
}

/// Cells that are held out, numbered from 1 in R.
fn test_cells(options: &Robj) -> Outcome<Vec<usize>> {
    let Some(test) = optional(options, "test")? else { return Ok(Vec::new()) };
    let numbers = test.as_integer_slice().ok_or_else(|| Failure::new("internal", "test cells that are no integers"))?;
    Ok(numbers.iter().map(|i| *i as usize - 1).collect())
}

/// Test cells of a split, and what each cell is. `options`: hold_out ("within" or "whole"), test_share, seed.
#[extendr]
fn rust_lineage_split(lineage: Robj, options: Robj) -> Robj {
    guard(|| {
        let lineages = lineages(&lineage)?;
        let (share, rng) = (number(&options, "test_share")?, Rng::new(number(&options, "seed")? as u64));
        let (test, none) = match text(&options, "hold_out")?.as_str() {
            "within" => {
                (lineages.split_within(share, MIN_CELLS, &rng), "no lineage has ten cells, to hold some out; give \"whole\"")
            }
            _ => (lineages.split_whole(share, &rng), "the share `test.share` of the lineages is none; give more"),
        };
        if test.is_empty() {
            return Err(Failure::new("data", none));
        }
        let split = |i: usize| match (test.binary_search(&i), lineages.of(i).is_empty()) {
            (Ok(_), _) => "test",
            (Err(_), true) => "without barcode",
            (Err(_), false) => "train",
        };
        let numbers: Vec<i32> = test.iter().map(|i| *i as i32 + 1).collect();
        let split: Vec<&str> = (0..lineages.n_cells()).map(split).collect();
        Ok(List::from_pairs([("test", Robj::from(numbers)), ("split", split.into())]).into())
    })
}

/// Fewest cells of a lineage of which some are held out.
const MIN_CELLS: usize = 10;

/// Errors on test cells, of an embedding and of principal components of the same cells. `options`: lineage, test, hold_out, preset, settings,
/// features, threads.
#[extendr]
fn rust_lineage_error(embedding: Robj, input: Robj, options: Robj) -> Robj {
    guard(|| {
        let (z, lineages, test) = (dense(&embedding)?, lineages(&field(&options, "lineage")?)?, test_cells(&options)?);
        let whole = text(&options, "hold_out")? == "whole";
        let mode = config(&text(&options, "preset")?, &field(&options, "settings")?)?.mode;
        let ready = Ready::new(&input, &options, None)?;
        let errors = || -> tutti::Result<_> {
            let source = ready.cells.source();
            let n_components = 50.min(source.n_cells().min(source.n_genes()).saturating_sub(1));
            let components = pca(source, &PcaConfig { n_components, ..Default::default() })?.scores;
            let of = |x: &ndarray::Array2<f32>| held_out_lineage_error(x.view(), &lineages, &test, whole, 5, 1);
            Ok([of(&z)?, of(&components)?])
        };
        let errors = Threads::new(ready.n_threads)?.run(errors)?;
        let column = |of: &dyn Fn(&LineageError) -> f64| Robj::from(errors.iter().map(of).collect::<Vec<_>>());
        Ok(List::from_pairs([
            ("error", column(&|e| e.error)),
            ("standard.error", column(&|e| e.standard_error)),
            ("n.test", column(&|e| e.n_test as f64)),
            ("largest", column(&|e| e.error_of_largest)),
            ("mode", Robj::from(if mode == Mode::Transductive { "transductive" } else { "inductive" })),
        ])
        .into())
    })
}

/// Prepares training. `options`: preset, settings, lineage, test, unlabelled (an input, or NULL), features or n_features, threads.
#[extendr]
fn rust_lcl_trainer(input: Robj, options: Robj) -> Robj {
    guard(|| {
        let config = config(&text(&options, "preset")?, &field(&options, "settings")?)?;
        let given = LclInput { lineages: lineages(&field(&options, "lineage")?)?, test: test_cells(&options)? };
        let ready = Ready::new(&input, &options, None)?;
        let (mut trained_on, mut seen, mut notes) = (ready.cells.clone(), given.clone(), Vec::new());
        if let Some(more) = optional(&options, "unlabelled")? {
            let borrowed = cells(&more)?;
            let (name, choose) = (text(&more, "origin")?, text(&more, "choose")?);
            let origin = Origin { name: &name, choose: &choose };
            let query = prepare_query(&borrowed.cells, ready.cells.gene_names(), ready.prepared.preprocessing, 0.5, origin)?;
            notes.extend(query.notes.iter().map(|note| format!("{name}: {note}")));
            (trained_on, seen) = given.with_unlabelled(&ready.cells, to_memory(&query.source)?)?;
        }
        notes.extend(Lcl::warnings(&seen, &config)?);
        notes.extend(config.mode_note(seen.test.len()).map(str::to_owned));
        let n_epochs = config.n_epochs;
        let trainer = Lcl::trainer(&trained_on, &seen, config, &Device::Cpu, Threads::new(ready.n_threads)?)?;
        Ok(ready.started(trainer, n_epochs, notes))
    })
}

/// Trains for about `seconds`. A failure leaves the last good weights for `rust_lcl_finish`.
#[extendr]
fn rust_lcl_advance(pointer: Robj, seconds: f64) -> Robj {
    guard(|| advance::<Lcl>(pointer, seconds))
}

/// Ends training, done or not: model, history and embedding of the weights there are.
#[extendr]
fn rust_lcl_finish(pointer: Robj) -> Robj {
    guard(|| finish::<Lcl>(pointer, |model, _, preprocessing, history| Ok((model.saved(preprocessing, history)?, ().into()))))
}

/// Mean absolute attribution of each gene to the place of each lineage, genes x lineages. `options`: lineage, min_cells, max_lineages,
/// max_cells, n_steps, threads.
#[extendr]
fn rust_lcl_genes(model: Robj, input: Robj, options: Robj) -> Robj {
    guard(|| {
        let (model, preprocessing) = load_lcl(&model)?;
        let lineages = lineages(&field(&options, "lineage")?)?;
        let borrowed = cells(&input)?;
        let (name, choose) = (text(&input, "origin")?, text(&input, "choose")?);
        let query = prepare_query(&borrowed.cells, model.genes(), preprocessing, 0.5, Origin { name: &name, choose: &choose })?;
        let count = |name: &str| Ok::<_, Failure>(number(&options, name)? as usize);
        let config = LineageGenesConfig {
            min_cells: count("min_cells")?,
            max_lineages: count("max_lineages")?,
            max_cells: count("max_cells")?,
            gradients: GradientConfig { n_steps: count("n_steps")?, ..Default::default() },
            ..Default::default()
        };
        let found = Threads::new(count("threads")?)?.run(|| lineage_genes(&model, &query.source, &lineages, &config))?;
        let numbers = |values: &mut dyn Iterator<Item = f32>| Robj::from(values.map(f64::from).collect::<Vec<_>>());
        Ok(List::from_pairs([
            ("features", Robj::from(model.genes().to_vec())),
            ("lineages", found.lineages.clone().into()),
            ("importance", to_robj(&found.importance.clone().reversed_axes())),
            ("global", numbers(&mut found.global.iter().copied())),
            ("completeness_error", numbers(&mut found.completeness_error.iter().copied())),
            ("notes", query.notes.into()),
        ])
        .into())
    })
}

/// Fates of all cells of an embedding. `columns`: lineage, time, fate; `options`: early (texts, or NULL), last (or NULL), min_final,
/// test_share, seed, threads.
#[extendr]
fn rust_predict_fates(embedding: Robj, columns: Robj, options: Robj) -> Robj {
    guard(|| {
        let z = dense(&embedding)?;
        list(&columns)?;
        let lineages = lineages(&field(&columns, "lineage")?)?;
        let (time, fate) = (factor(&field(&columns, "time")?)?, factor(&field(&columns, "fate")?)?);
        let early = optional(&options, "early")?.map(|e| strings(&e)).transpose()?.unwrap_or_default();
        let last = optional(&options, "last")?.and_then(|l| l.as_str().map(str::to_owned));
        let times = FateTimes::of(&time, &early, last.as_deref(), number(&options, "min_final")? as usize)?;
        let targets = FateTargets::new(&lineages, &time, &fate, &times)?;
        let config = FateConfig { seed: number(&options, "seed")? as u64, ..Default::default() };
        let n_threads = number(&options, "threads")? as usize;
        let found = predict_fates(z.view(), &targets, number(&options, "test_share")?, &config, n_threads)?;
        let held_out = found.held_out.map_or_else(
            || Robj::from(()),
            |h| {
                let numbers = [h.n_cells as f64, h.kl, h.right, h.kl_of_mean, h.right_of_mean];
                let names = ["n_cells", "kl", "right", "kl_of_mean", "right_of_mean"];
                List::from_pairs(names.into_iter().zip(numbers.map(Robj::from))).into()
            },
        );
        Ok(List::from_pairs([
            ("fates", Robj::from(found.decoder.fates().to_vec())),
            ("shares", to_robj(&found.shares)),
            ("held_out", held_out),
            ("n_early", (found.n_early as f64).into()),
            ("n_lineages", (found.n_lineages as f64).into()),
        ])
        .into())
    })
}

extendr_module! {
    mod lcl;
    fn rust_lcl_settings;
    fn rust_lineage_split;
    fn rust_lineage_error;
    fn rust_lcl_trainer;
    fn rust_lcl_advance;
    fn rust_lcl_finish;
    fn rust_lcl_genes;
    fn rust_predict_fates;
}
