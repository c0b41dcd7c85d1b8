//! A closed loop in two batches that share a part of it; how far the batch effect moves cells, against the noise.
//!
//! `cargo run -p tutti --example simulate`

use tutti::simulate::{BatchEffect, Batches, EffectKind, Layer, Overlap, Simulation, Spec, Structure, Trajectory, Truth};

fn main() -> tutti::Result<()> {
    let effect = BatchEffect { level: Some(0.5), ..BatchEffect::new(EffectKind::BatchSpecificExpression) };
    let spec = Spec {
        n_cells: 1000,
        n_genes: 500,
        structure: Structure::Trajectory(Trajectory { n_programmes: 5, loop_to: vec![1], ..Default::default() }),
        batches: Batches { n: 2, overlap: Overlap::Partial(0.4), effects: vec![effect], ..Default::default() },
        ..Default::default()
    };
    let simulation = Simulation::new(&spec)?;
    for (name, truth) in simulation.truth()? {
        match truth {
            Truth::Category(column) => println!("{name}: {:?}", column.levels()),
            Truth::Number(values) => println!("{name}: {} to {}", values[0], values[values.len() - 1]),
        }
    }
    let [truth, noisy, measured] = [Layer::NoNoise, Layer::WithNoise, Layer::Measured].map(|layer| simulation.matrix(layer));
    let (truth, noisy, measured) = (truth?.to_dense(), noisy?.to_dense(), measured?.to_dense());
    println!("mean squared noise: {:.3}", (&noisy - &truth).mapv(|d| d * d).mean().unwrap_or(0.0));
    println!("mean squared batch effect: {:.3}", (&measured - &noisy).mapv(|d| d * d).mean().unwrap_or(0.0));
    Ok(())
}
