//! Trained models: raw vectors in R, so that they survive whatever saves the object that holds them.

use std::path::Path;

use candle_core::Device;
use extendr_api::prelude::*;
use ndarray::Array2;
use tutti::model::SavedModel;
use tutti::preprocess::{Origin, Preprocessing, prepare_query};
use tutti::systems::concord::Concord;
use tutti::threads::Threads;
use tutti::train::History;

use crate::guard::{Failure, guard};
use crate::json;
use crate::matrix::{cells, dense, number, text, to_robj};
use crate::train::history_columns;

type Outcome<T> = std::result::Result<T, Failure>;

fn load(model: &Robj) -> Outcome<(Concord, Preprocessing, History)> {
    let bytes =
        model.as_raw_slice().ok_or_else(|| Failure::new("model", "the model is no raw vector; give what RunConcord() stored"))?;
    let path = Path::new("model");
    Ok(Concord::from_saved(&SavedModel::from_bytes(bytes, path)?, path, &Device::Cpu)?)
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
        let settings = serde_json::to_value(model.config()).map_err(|e| Failure::new("internal", e.to_string()))?;
        let weights = model.gene_weights()?.map(|w| w.into_iter().map(f64::from).collect::<Vec<f64>>());
        Ok(List::from_pairs([
            ("system", Robj::from("concord")),
            ("features", model.genes().to_vec().into()),
            ("batches", model.batches().to_vec().into()),
            ("classes", model.classes().to_vec().into()),
            ("settings", json::robj(&settings)),
            ("log1p", preprocessing.log1p.into()),
            ("target_sum", preprocessing.target_sum.map_or(().into(), Robj::from)),
            ("history", history_columns(&history)),
            ("feature_weights", weights.map_or(().into(), Robj::from)),
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
        let embedding = Threads::new(number(&options, "threads")? as usize)?.run(|| model.embed(&query.source))?;
        Ok(List::from_pairs([
            ("embedding", to_robj(&embedding)),
            ("probabilities", class_probabilities(&model, &embedding)?),
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
