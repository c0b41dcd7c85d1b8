//! Simulated cells as R's matrices.

use extendr_api::prelude::*;
use tutti::data::{CellSource, Csr};
use tutti::model::with_settings;
use tutti::simulate::{Layer, PRESETS, Simulation, Spec, Truth};

use crate::guard::{Failure, guard};
use crate::json;
use crate::matrix::{columns_of, field, optional, strings};

type Outcome<T> = std::result::Result<T, Failure>;

/// Names of the ready-made specs and what they are.
#[extendr]
fn rust_simulate_presets() -> Robj {
    let (names, titles): (Vec<&str>, Vec<&str>) = PRESETS.iter().copied().unzip();
    List::from_pairs([("preset", Robj::from(names)), ("description", titles.into())]).into()
}

/// `options`: preset (or NULL), settings, layers.
#[extendr]
fn rust_simulate(options: Robj) -> Robj {
    guard(|| {
        let preset = optional(&options, "preset")?.and_then(|p| p.as_str().map(str::to_owned));
        let base = preset.map_or_else(|| Ok(Spec::default()), |name| Spec::preset(&name))?;
        let spec: Spec = with_settings(&base, &json::table(&field(&options, "settings")?)?)?;
        let simulation = Simulation::new(&spec)?;
        let mut layers = Vec::new();
        for name in strings(&field(&options, "layers")?)? {
            let layer = [Layer::Measured, Layer::NoNoise, Layer::WithNoise].into_iter().find(|l| l.name() == name);
            let layer = layer.ok_or_else(|| {
                Failure::new("argument", format!("`layers` has \"{name}\"; the layers are \"no_noise\" and \"wt_noise\""))
            })?;
            layers.push((name, columns_of(&simulation.matrix(layer)?)));
        }
        let second = simulation.modality().map(|(names, rows)| -> Outcome<Robj> {
            let mut all = Csr::empty(0);
            rows.read_range(0..rows.n_cells(), &mut all)?;
            Ok(List::from_pairs([("features", Robj::from(names.to_vec())), ("counts", columns_of(&all))]).into())
        });
        let obs = simulation.truth()?.into_iter().map(|(name, truth)| (name, truth_robj(truth)));
        Ok(List::from_pairs([
            ("counts", columns_of(&simulation.matrix(Layer::Measured)?)),
            ("layers", List::from_pairs(layers).into()),
            ("cells", simulation.cell_names().into()),
            ("features", simulation.gene_names().to_vec().into()),
            ("obs", List::from_pairs(obs).into()),
            ("label", simulation.label_key().into()),
            ("second", second.transpose()?.unwrap_or_else(|| ().into())),
        ])
        .into())
    })
}

fn truth_robj(truth: Truth) -> Robj {
    match truth {
        Truth::Number(values) => values.into_iter().map(f64::from).collect::<Vec<_>>().into(),
        Truth::Category(column) => {
            let codes: Vec<Option<i32>> = column.codes().iter().map(|c| c.map(|c| c as i32 + 1)).collect();
            List::from_pairs([("codes", Robj::from(codes)), ("levels", column.levels().to_vec().into())]).into()
        }
    }
}

extendr_module! {
    mod simulate;
    fn rust_simulate_presets;
    fn rust_simulate;
}
