//! CellPredX: cells of a query named after a labelled reference.

use candle_core::Device;
use extendr_api::prelude::*;
use ndarray::{Array2, Axis};
use tutti::data::{Categorical, Orthologues, RowSubset};
use tutti::downstream::{
    Baseline, CellDeterminants, ClassDeterminants, ClassEvidence, DeterminantConfig, GradientConfig, TransferConfig, annotate,
    determinant_genes, determinant_genes_of_cells, key_gene_hit_rates,
};
use tutti::model::with_settings;
use tutti::neighbors::NeighborConfig;
use tutti::preprocess::{Origin, Pair, PairConfig, prepare_pair, prepare_query};
use tutti::systems::cellpredx::{CellPredX, CellPredXConfig, CellPredXInput, Preset, Scenario};
use tutti::threads::Threads;

use crate::annotate::{finer, finer_labels, labels_of, named, split};
use crate::guard::{Failure, guard};
use crate::json;
use crate::matrix::{cells, factor, field, number, optional, pairs, strings, text, to_robj};
use crate::model::load_cellpredx;
use crate::score::{metric, metric_name};
use crate::train::{Ready, advance, finish, normalization};

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

/// Prepares training. `input`: the reference; `options`: query, labels (of the reference), batch (whether the inputs have a column `group.by`), preset,
/// scenario, settings, held_out, n_features, normalize, min_overlap, orthologues, threads.
#[extendr]
fn rust_cellpredx_trainer(input: Robj, options: Robj) -> Robj {
    guard(|| {
        let query = field(&options, "query")?;
        let (borrowed, of_query) = (cells(&input)?, cells(&query)?);
        let threads = Threads::new(number(&options, "threads")? as usize)?;
        let column = |cells: &tutti::data::Cells<'_>| cells.column("group.by").is_ok().then_some("group.by");
        let n_top_genes = optional(&options, "n_features")?.is_some().then(|| number(&options, "n_features")).transpose()?;
        let orthologues = match optional(&options, "orthologues")? {
            Some(table) => {
                let names = [borrowed.cells.gene_names(), of_query.cells.gene_names()];
                Some(Orthologues::oriented(&pairs(&table)?, names[0], names[1])?.0)
            }
            None => None,
        };
        let how = PairConfig {
            orthologues: orthologues.as_ref(),
            batch: [column(&borrowed.cells), column(&of_query.cells)],
            n_top_genes: n_top_genes.map(|n| n as usize),
            min_overlap: number(&options, "min_overlap")?,
            normalization: normalization(&options)?,
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

/// Ends training, done or not: model, history, embedding of reference and query with the metric by which it is compared, and a logit per class of all
/// cells.
#[extendr]
fn rust_cellpredx_finish(pointer: Robj) -> Robj {
    guard(|| {
        finish::<CellPredX>(pointer, |model, embedding, preprocessing, history| {
            let logits = to_robj(&model.logits(embedding.view())?);
            let classes = Robj::from(model.classes().to_vec());
            let metric = metric_name(model.config().metric()).into();
            let found = List::from_pairs([("classes", classes), ("values", logits), ("metric", metric)]);
            Ok((model.saved(preprocessing, history)?, found.into()))
        })
    })
}

/// Names the query. `embedding` and `logits` of the reference and then the query. `options`: labels, classes, held_out, seed, n_neighbors, metric,
/// false_rejection_rate, reject, min_probability, max_novelty, limits, smooth, finer, threads.
#[extendr]
fn rust_annotate(embedding: Robj, logits: Robj, options: Robj) -> Robj {
    guard(|| {
        let (z, logits): (Array2<f32>, Array2<f32>) = (crate::matrix::dense(&embedding)?, crate::matrix::dense(&logits)?);
        let (labels, seed) = (labels_of(&options)?, number(&options, "seed")? as u64);
        let split = split(&labels, number(&options, "held_out")?, seed)?;
        let classes = strings(&field(&options, "classes")?)?;
        let n_neighbors = number(&options, "n_neighbors")? as usize;
        let transfer = TransferConfig { n_neighbors, metric: metric(&options)?, seed, ..Default::default() };
        let config = crate::annotate::config(&options)?;
        let of_reference = finer_labels(&options)?;
        let smooth = optional(&options, "smooth")?.is_some().then(|| number(&options, "smooth")).transpose()?.map(|n| n as usize);
        let (found, finer) = Threads::new(number(&options, "threads")? as usize)?.run(|| -> tutti::Result<_> {
            let evidence = ClassEvidence::of_network(logits.view(), &classes, z.view(), &labels, &split, &transfer)?;
            let mut found = annotate(&evidence, &config)?;
            let parts = z.view().split_at(Axis(0), labels.len());
            if let Some(n_neighbors) = smooth {
                let search = NeighborConfig { n_neighbors, metric: transfer.metric, method: transfer.method, seed };
                found = found.smoothed(&evidence, parts.1, &search)?;
            }
            let finer = finer(of_reference.as_ref(), parts, &labels, &split, &found.query.label, &transfer)?;
            Ok((found, finer))
        })?;
        Ok(named(&found, finer.as_ref()))
    })
}

/// Genes on which the classes rest, as columns of a table. `labels`: of the cells of `input`. `options`: n_top, n_genes,
/// max_cells, markers, gene_baseline, by_cell (rows of cells, numbered from 1, instead), threads.
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
        let gradients = GradientConfig { baseline: Baseline::named(&text(&options, "gene_baseline")?)?, ..Default::default() };
        let config = DeterminantConfig { n_top, n_genes, max_cells, gradients, ..Default::default() };
        let rows: Vec<usize> = (0..labels.len()).collect();
        let source = RowSubset::new(&query.source, rows);
        let threads = Threads::new(count("threads")?)?;
        if field(&options, "by_cell")?.as_bool() == Some(true) {
            let found = threads.run(|| determinant_genes_of_cells(&model, &source, &labels, &config))?;
            return Ok(List::from_pairs([("genes", genes_of_cells(&found, model.genes()))]).into());
        }
        let found = threads.run(|| determinant_genes(&model, &source, &labels, &config))?;
        let rows = || found.iter().flat_map(|c| c.genes.iter().map(move |g| (c, g)));
        let genes = List::from_pairs([
            ("class", Robj::from(rows().map(|(c, _)| c.class.clone()).collect::<Vec<_>>())),
            ("gene", rows().map(|(_, g)| model.genes()[g.gene].clone()).collect::<Vec<_>>().into()),
            ("frequency", rows().map(|(_, g)| f64::from(g.frequency)).collect::<Vec<_>>().into()),
            ("attribution", rows().map(|(_, g)| f64::from(g.attribution)).collect::<Vec<_>>().into()),
        ]);
        let hits = match optional(&options, "markers")? {
            Some(markers) => hit_rates(&found, model.genes(), &pairs(&markers)?),
            None => ().into(),
        };
        Ok(List::from_pairs([("genes", genes.into()), ("hits", hits)]).into())
    })
}

/// A row per cell and gene, as columns.
fn genes_of_cells(found: &[CellDeterminants], genes: &[String]) -> Robj {
    let rows = || found.iter().flat_map(|c| c.genes.iter().map(move |g| (c, g)));
    List::from_pairs([
        ("cell", Robj::from(rows().map(|(c, _)| c.cell as i32 + 1).collect::<Vec<_>>())),
        ("class", rows().map(|(c, _)| c.class.clone()).collect::<Vec<_>>().into()),
        ("gene", rows().map(|(_, (gene, _))| genes[*gene].clone()).collect::<Vec<_>>().into()),
        ("attribution", rows().map(|(_, (_, value))| f64::from(*value)).collect::<Vec<_>>().into()),
    ])
    .into()
}

/// Of each class, as columns, and the classes that are left out.
fn hit_rates(found: &[ClassDeterminants], genes: &[String], markers: &[(String, String)]) -> Robj {
    let report = key_gene_hit_rates(found, genes, markers);
    let of = |value: &dyn Fn(&tutti::downstream::KeyGeneHits) -> f64| -> Robj {
        report.by_class.iter().map(|(_, hits)| value(hits)).collect::<Vec<f64>>().into()
    };
    let classes: Vec<String> = report.by_class.iter().map(|(class, _)| class.clone()).collect();
    List::from_pairs([
        ("class", Robj::from(classes)),
        ("n_markers", of(&|h| h.n_markers as f64)),
        ("n_hits", of(&|h| h.n_hits as f64)),
        ("rate", of(&|h| h.rate)),
        ("chance", of(&|h| h.chance)),
        ("left_out", report.left_out.clone().into()),
    ])
    .into()
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
