//! Trained models: raw vectors in R, so that they survive whatever saves the object that holds them.

use std::path::Path;

use candle_core::Device;
use extendr_api::prelude::*;
use ndarray::Array2;
use serde_json::Value;
use tutti::model::SavedModel;
use tutti::neighbors::Metric;
use tutti::preprocess::{Origin, Preprocessing, prepare_query};
use tutti::systems::cellpredx::CellPredX;
use tutti::systems::concord::Concord;
use tutti::systems::lcl::Lcl;
use tutti::threads::Threads;
use tutti::train::History;

use crate::guard::{Failure, guard};
use crate::json;
use crate::matrix::{cells, dense, number, text, to_robj};
use crate::score::metric_name;
use crate::train::history_columns;

type Outcome<T> = std::result::Result<T, Failure>;

/// A trained model of any system.
enum Model {
    Concord(Box<Concord>),
    Lcl(Box<Lcl>),
    CellPredX(Box<CellPredX>),
}

impl Model {
    fn genes(&self) -> &[String] {
        match self {
            Self::Concord(model) => model.genes(),
            Self::Lcl(model) => model.genes(),
            Self::CellPredX(model) => model.genes(),
        }
    }

    /// The metric by which its embedding is compared.
    fn metric(&self) -> Metric {
        match self {
            Self::Concord(_) | Self::Lcl(_) => Metric::Cosine,
            Self::CellPredX(model) => model.config().metric(),
        }
    }

    /// CONCORD, for what only it can do.
    fn concord(&self, what: &str) -> Outcome<&Concord> {
        match self {
            Self::Concord(model) => Ok(model),
            Self::Lcl(_) => Err(Failure::new("argument", format!("the model is of LCL, which has no {what}"))),
            Self::CellPredX(_) => Err(Failure::new("argument", format!("the model is of CellPredX, which has no {what}"))),
        }
    }
}

/// The model in a raw vector, and its file as read.
fn saved(model: &Robj) -> Outcome<SavedModel> {
    let bytes =
        model.as_raw_slice().ok_or_else(|| Failure::new("model", "the model is no raw vector; give what RunConcord() stored"))?;
    Ok(SavedModel::from_bytes(bytes, Path::new("model"))?)
}

fn load(model: &Robj) -> Outcome<(Model, Preprocessing, History)> {
    let (saved, path) = (saved(model)?, Path::new("model"));
    if saved.system == "lcl" {
        let (model, preprocessing, history) = Lcl::from_saved(&saved, path, &Device::Cpu)?;
        return Ok((Model::Lcl(model.into()), preprocessing, history));
    }
    if saved.system == "cellpredx" {
        let (model, preprocessing, history) = CellPredX::from_saved(&saved, path, &Device::Cpu)?;
        return Ok((Model::CellPredX(model.into()), preprocessing, history));
    }
    let (model, preprocessing, history) = Concord::from_saved(&saved, path, &Device::Cpu)?;
    Ok((Model::Concord(model.into()), preprocessing, history))
}

/// A model of LCL.
pub fn load_lcl(model: &Robj) -> Outcome<(Lcl, Preprocessing)> {
    let (model, preprocessing, _) = Lcl::from_saved(&saved(model)?, Path::new("model"), &Device::Cpu)?;
    Ok((model, preprocessing))
}

/// A model of CellPredX.
pub fn load_cellpredx(model: &Robj) -> Outcome<(CellPredX, Preprocessing)> {
    let (model, preprocessing, _) = CellPredX::from_saved(&saved(model)?, Path::new("model"), &Device::Cpu)?;
    Ok((model, preprocessing))
}

/// Probabilities [n_cells, n_classes] with names of classes, NULL without a classifier.
pub fn class_probabilities(model: &Concord, embedding: &Array2<f32>) -> Outcome<Robj> {
    if model.classes().is_empty() {
        return Ok(().into());
    }
    let probabilities = to_robj(&model.classify(embedding.view())?);
    Ok(List::from_pairs([("classes", Robj::from(model.classes().to_vec())), ("values", probabilities)]).into())
}

/// What a model is.
#[extendr]
fn rust_model_info(model: Robj) -> Robj {
    guard(|| {
        let (model, preprocessing, history) = load(&model)?;
        let json = |v: std::result::Result<Value, serde_json::Error>| v.map_err(|e| Failure::new("internal", e.to_string()));
        let null = || Robj::from(());
        let (system, batches, classes, settings, weights, lineages) = match &model {
            Model::Concord(m) => {
                let weights = m.gene_weights()?.map(|w| w.into_iter().map(f64::from).collect::<Vec<f64>>());
                let (batches, classes) = (m.batches().to_vec(), m.classes().to_vec());
                let weights = weights.map_or_else(null, Robj::from);
                ("concord", batches, classes, json(serde_json::to_value(m.config()))?, weights, null())
            }
            Model::Lcl(m) => {
                let lineages = json::robj(&json(serde_json::to_value(m.summary()))?);
                ("lcl", Vec::new(), Vec::new(), json(serde_json::to_value(m.config()))?, null(), lineages)
            }
            Model::CellPredX(m) => {
                let settings = json(serde_json::to_value(m.config()))?;
                ("cellpredx", Vec::new(), m.classes().to_vec(), settings, null(), null())
            }
        };
        Ok(List::from_pairs([
            ("system", Robj::from(system)),
            ("features", model.genes().to_vec().into()),
            ("batches", batches.into()),
            ("classes", classes.into()),
            ("settings", json::robj(&settings)),
            ("log1p", preprocessing.log1p.into()),
            ("target_sum", preprocessing.target_sum.map_or_else(null, Robj::from)),
            ("history", history_columns(&history)),
            ("feature_weights", weights),
            ("lineages", lineages),
        ])
        .into())
    })
}

/// Embeds new cells. `options`: min_overlap, threads.
#[extendr]
fn rust_model_embed(model: Robj, input: Robj, options: Robj) -> Robj {
    guard(|| {
        let (model, preprocessing, _) = load(&model)?;
        let borrowed = cells(&input)?;
        let (name, choose) = (text(&input, "origin")?, text(&input, "choose")?);
        let min_overlap = number(&options, "min_overlap")?;
        let query =
            prepare_query(&borrowed.cells, model.genes(), preprocessing, min_overlap, Origin { name: &name, choose: &choose })?;
        let threads = Threads::new(number(&options, "threads")? as usize)?;
        let (embedding, probabilities) = match &model {
            Model::Concord(model) => {
                let embedding = threads.run(|| model.embed(&query.source))?;
                let probabilities = class_probabilities(model, &embedding)?;
                (embedding, probabilities)
            }
            Model::Lcl(model) => (threads.run(|| model.embed(&query.source))?, ().into()),
            Model::CellPredX(model) => {
                let embedding = threads.run(|| model.embed(&query.source))?;
                let values = to_robj(&model.predict(embedding.view())?.probabilities);
                let classes = Robj::from(model.classes().to_vec());
                (embedding, List::from_pairs([("classes", classes), ("values", values)]).into())
            }
        };
        Ok(List::from_pairs([
            ("embedding", to_robj(&embedding)),
            ("metric", metric_name(model.metric()).into()),
            ("probabilities", probabilities),
            ("missing_share", query.missing_share.into()),
            ("notes", query.notes.into()),
        ])
        .into())
    })
}

/// Expression decoded as if all cells came from one batch, genes x cells. `options`: batch, threads.
#[extendr]
fn rust_model_decode(model: Robj, embedding: Robj, options: Robj) -> Robj {
    guard(|| {
        let (model, ..) = load(&model)?;
        let model = model.concord("decoder")?;
        let (z, batch) = (dense(&embedding)?, text(&options, "batch")?);
        let decoded = Threads::new(number(&options, "threads")? as usize)?.run(|| model.decode(z.view(), &batch))?;
        Ok(to_robj(&decoded.reversed_axes()))
    })
}

/// Response of each latent dimension to each gene, genes x neurons. `options`: layer, threads.
#[extendr]
fn rust_model_attribution(model: Robj, input: Robj, options: Robj) -> Robj {
    guard(|| {
        let (model, preprocessing, _) = load(&model)?;
        let model = model.concord("mean gradients; use LineageGenes() or DeterminantGenes()")?;
        let borrowed = cells(&input)?;
        let (name, choose) = (text(&input, "origin")?, text(&input, "choose")?);
        let query = prepare_query(&borrowed.cells, model.genes(), preprocessing, 0.5, Origin { name: &name, choose: &choose })?;
        let layer = number(&options, "layer")? as usize;
        let attribution =
            Threads::new(number(&options, "threads")? as usize)?.run(|| model.gene_attribution(&query.source, layer))?;
        Ok(List::from_pairs([("attribution", to_robj(&attribution)), ("notes", query.notes.into())]).into())
    })
}

extendr_module! {
    mod model;
    fn rust_model_info;
    fn rust_model_embed;
    fn rust_model_decode;
    fn rust_model_attribution;
}
