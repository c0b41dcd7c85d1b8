//! What becomes of the lineages of early cells: `cargo run --example fate`.

use candle_core::Device;
use ndarray::{Array2, Axis};
use tutti::data::{Categorical, Lineages};
use tutti::downstream::{FateConfig, FateDecoder, FateTargets, FateTimes};
use tutti::observe::{CancelToken, Silent};
use tutti::preprocess::{Normalized, TargetSum, to_memory};
use tutti::rng::Rng;
use tutti::simulate::{Lineage, Simulation, Spec, Structure, Truth};
use tutti::systems::lcl::{Lcl, LclConfig, LclInput};
use tutti::threads::Threads;

fn main() -> tutti::Result<()> {
    let clones = Lineage { n_clones: 40, clone_spread: 0.3, ..Default::default() };
    let spec = Spec { n_cells: 1500, n_genes: 300, structure: Structure::Lineage(clones), ..Spec::preset("lineage")? };
    let simulation = Simulation::new(&spec)?;
    let counts = simulation.cells()?;
    let logged = to_memory(&Normalized::new(counts.shared_source(), Some(TargetSum::Fixed(1e4)), true)?)?;
    let cells = counts.with_source(logged, simulation.gene_names().to_vec())?;
    let lineages = Lineages::from_column(cells.column("barcode")?);

    // Cells of days 2 and 4, and the shares of types among their lineages' cells of day 6. A fifth of each lineage is held out.
    let days = simulation.truth()?.into_iter().find_map(|(name, truth)| match truth {
        Truth::Number(days) if name == "day" => Some(Categorical::from_values(days.iter().map(|d| Some(d.to_string())))),
        _ => None,
    });
    let times = FateTimes { early: vec!["2".into(), "4".into()], last: "6".into(), min_final: 5, smoothing: 1e-3 };
    let targets = FateTargets::new(&lineages, &days.unwrap_or_default(), cells.column("cell_type")?, &times)?;
    let test = lineages.split_within(0.2, 5, &Rng::new(0));
    let (held_out, rest) = (0..targets.cells.len()).partition::<Vec<_>, _>(|row| test.contains(&targets.cells[*row]));
    let (held_out, rest) = (targets.select(&held_out), targets.select(&rest));

    let config = LclConfig { encoder_dims: vec![64, 32], n_epochs: 20, accumulate: 1, lr: 1e-3, ..Default::default() };
    let input = LclInput { lineages: lineages.clone(), test };
    let mut trainer = Lcl::trainer(&cells, &input, config, &Device::Cpu, Threads::new(0)?)?;
    trainer.train(&mut Silent, &CancelToken::default())?;
    let z = trainer.finish()?.0.embed(cells.source())?;

    let (silent, cancel) = (&mut Silent, CancelToken::default());
    let (decoder, ..) = FateDecoder::fit(z.view(), &rest, FateConfig::default(), Threads::new(0)?, silent, &cancel)?;
    let predicted = decoder.predict(z.select(Axis(0), &held_out.cells).view())?;
    let mean = rest.mean();
    let guess = Array2::from_shape_fn(held_out.shares.dim(), |(_, fate)| mean[fate]);
    println!("{} early cells that were held out", held_out.cells.len());
    for (name, shares) in [("lcl", predicted), ("mean", guess)] {
        let (kl, right) = held_out.score(shares.view())?;
        println!("{name}: divergence {kl:.2}, largest fate right for {:.0} %", 100.0 * right);
    }
    Ok(())
}
