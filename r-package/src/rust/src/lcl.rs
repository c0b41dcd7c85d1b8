//! LCL: lineages of barcoded cells, what becomes of them, and the genes that they rest on.

use candle_core::Device;
use extendr_api::prelude::*;
use tutti::data::Lineages;
use tutti::downstream::{
    Baseline, FateConfig, FateTargets, FateTimes, GradientConfig, LineageGenesConfig, LineagePairConfig, lineage_genes,
    lineage_pairs, predict_fates,
};
use tutti::metrics::{LineageError, held_out_lineage_error, pair_scores};
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

/// Cells that are held out; none where there are none.
fn test_cells(options: &Robj) -> Outcome<Vec<usize>> {
    cells_of(options, "test")
}

/// Cells, numbered from 1 in R; none for NULL.
fn cells_of(options: &Robj, name: &str) -> Outcome<Vec<usize>> {
    let Some(cells) = optional(options, name)? else { return Ok(Vec::new()) };
    let numbers = cells.as_integer_slice().ok_or_else(|| Failure::new("internal", format!("`{name}` that are no integers")))?;
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
/// max_cells, n_steps, gene_baseline, threads.
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
            gradients: GradientConfig {
                n_steps: count("n_steps")?,
                baseline: Baseline::named(&text(&options, "gene_baseline")?)?,
            },
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

/// Pairs of cells with votes to be of one lineage, and how well these tell. `options`: cells (numbered from 1, or NULL), sizes, n_lineages, threads.
#[extendr]
fn rust_lineage_pairs(embedding: Robj, lineage: Robj, options: Robj) -> Robj {
    guard(|| {
        let (z, lineages) = (dense(&embedding)?, lineages(&lineage)?);
        let lineages = match optional(&options, "cells")? {
            Some(_) => lineages.only(&cells_of(&options, "cells")?),
            None => lineages,
        };
        let asked = lineages.cells_of_largest(number(&options, "n_lineages")? as usize);
        if asked.is_empty() {
            return Err(Failure::new("data", "no two of the cells are of one lineage; give others"));
        }
        let sizes = field(&options, "sizes")?;
        let sizes = match sizes.as_real_slice() {
            Some([least, most]) => (*least as usize, *most as usize),
            _ => return Err(Failure::new("internal", "sizes that are not two numbers")),
        };
        let config = LineagePairConfig { sizes, ..Default::default() };
        let z = z.select(ndarray::Axis(0), &asked);
        let found = Threads::new(number(&options, "threads")? as usize)?.run(|| lineage_pairs(z.view(), &config))?;
        let named = |pair: &(u32, u32)| (asked[pair.0 as usize] as u32, asked[pair.1 as usize] as u32);
        let mut rows: Vec<((u32, u32), u32)> = found.votes.iter().map(|(pair, n)| (named(pair), *n)).collect();
        rows.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        let lineages = lineages.only(&asked);
        let scores = pair_scores(rows.iter().map(|(pair, n)| (pair, f64::from(*n))), &lineages)?;
        let place =
            |of: &dyn Fn(&(u32, u32)) -> u32| Robj::from(rows.iter().map(|(pair, _)| of(pair) as i32 + 1).collect::<Vec<_>>());
        let related: Vec<bool> = rows.iter().map(|((a, b), _)| lineages.related(*a as usize, *b as usize)).collect();
        Ok(List::from_pairs([
            ("first", place(&|pair| pair.0)),
            ("second", place(&|pair| pair.1)),
            ("votes", rows.iter().map(|(_, n)| f64::from(*n)).collect::<Vec<_>>().into()),
            ("related", related.into()),
            ("auprc", scores.auprc.into()),
            ("auroc", scores.auroc.into()),
            ("chance", scores.share_related.into()),
            ("n.cells", (asked.len() as f64).into()),
            ("n.pairs", (scores.n_pairs as f64).into()),
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
    fn rust_lineage_pairs;
    fn rust_predict_fates;
}
