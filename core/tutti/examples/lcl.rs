//! Lineages of barcoded cells, the genes that tell them apart, and their fates: `cargo run --example lcl`.

use candle_core::Device;
use ndarray::Axis;
use tutti::data::{Categorical, Lineages};
use tutti::downstream::{FateConfig, FateDecoder, FateTargets, FateTimes, LineageGenesConfig, lineage_genes};
use tutti::metrics::lineage_error;
use tutti::observe::{CancelToken, Silent};
use tutti::preprocess::{Normalized, PcaConfig, TargetSum, pca, to_memory};
use tutti::rng::Rng;
use tutti::simulate::{Lineage, Simulation, Spec, Structure, Truth};
use tutti::systems::lcl::{Lcl, LclConfig, LclInput};
use tutti::threads::Threads;

fn main() -> tutti::Result<()> {
    let clones = Lineage { n_clones: 20, clone_spread: 0.3, memory: 0.7, memory_gene_fraction: 0.05, ..Default::default() };
    let spec = Spec { n_cells: 1500, n_genes: 300, structure: Structure::Lineage(clones), ..Spec::preset("lineage")? };
    let simulation = Simulation::new(&spec)?;
    let counts = simulation.cells()?;
    let logged = to_memory(&Normalized::new(counts.shared_source(), Some(TargetSum::Fixed(1e4)), true)?)?;
    let cells = counts.with_source(logged, simulation.gene_names().to_vec())?;

    // A tenth of each lineage is held out: neither its barcodes nor its expression are seen in training.
    let lineages = Lineages::from_column(cells.column("barcode")?);
    let test = lineages.split_within(0.1, 10, &Rng::new(0));
    let train: Vec<usize> = (0..cells.n_cells()).filter(|i| test.binary_search(i).is_err()).collect();
    let input = LclInput { lineages: lineages.clone(), test: test.clone() };
    let config = LclConfig { encoder_dims: vec![128, 64], n_epochs: 20, accumulate: 1, lr: 1e-3, ..Default::default() };
    let mut trainer = Lcl::trainer(&cells, &input, config, &Device::Cpu, Threads::new(0)?)?;
    trainer.train(&mut Silent, &CancelToken::default())?;
    let (model, _) = trainer.finish()?;

    let z = model.embed(cells.source())?;
    let components = pca(cells.source(), &PcaConfig { n_components: 30, ..Default::default() })?.scores;
    for (name, x) in [("lcl", &z), ("components", &components)] {
        let found = lineage_error(x.view(), &lineages, &train, &test, 5, 1)?;
        println!("{name}: {:.2} of {} test cells are taken for another lineage", found.error, found.n_test);
    }
    let genes = lineage_genes(&model, cells.source(), &lineages, &LineageGenesConfig { max_lineages: 3, ..Default::default() })?;
    let top: Vec<&str> = genes.top_of(0, 5).iter().map(|(gene, _)| model.genes()[*gene].as_str()).collect();
    println!("{} rests on {}", genes.lineages[0], top.join(", "));

    // What becomes of clones by day 6, told from their cells of days 2 and 4.
    let days = simulation.truth()?.into_iter().find_map(|(name, truth)| match truth {
        Truth::Number(days) if name == "day" => Some(Categorical::from_values(days.iter().map(|d| Some(d.to_string())))),
        _ => None,
    });
    let times = FateTimes { early: vec!["2".into(), "4".into()], last: "6".into(), min_final: 5, smoothing: 1e-3 };
    let targets = FateTargets::new(&lineages, &days.unwrap_or_default(), cells.column("cell_type")?, &times)?;
    let (held_out, rest) = targets.split_lineages(0.25, &Rng::new(0));
    let (held_out, rest, config) = (targets.select(&held_out), targets.select(&rest), FateConfig::default());
    let (decoder, ..) = FateDecoder::fit(z.view(), &rest, config, Threads::new(0)?, &mut Silent, &CancelToken::default())?;
    let (kl, right) = held_out.score(decoder.predict(z.select(Axis(0), &held_out.cells).view())?.view())?;
    println!("fates of unseen lineages: divergence {kl:.2}, largest fate right for {:.0} %", 100.0 * right);
    Ok(())
}
