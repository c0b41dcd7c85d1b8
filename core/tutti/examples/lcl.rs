//! Lineages of barcoded cells, and the genes that tell them apart: `cargo run --example lcl`.

use candle_core::Device;
use tutti::data::Lineages;
use tutti::downstream::{LineageGenesConfig, lineage_genes};
use tutti::metrics::lineage_error;
use tutti::observe::{CancelToken, Silent};
use tutti::preprocess::{Normalized, PcaConfig, TargetSum, pca, to_memory};
use tutti::rng::Rng;
use tutti::simulate::{Lineage, Simulation, Spec, Structure};
use tutti::systems::lcl::{Lcl, LclConfig, LclInput};
use tutti::threads::Threads;

fn main() -> tutti::Result<()> {
    // All clones reach all of twelve fates, which differ by more genes than clones do.
    let clones = Lineage { n_clones: 20, clone_spread: 0.3, memory: 0.7, memory_gene_fraction: 0.05, ..Default::default() };
    let clones = Lineage { n_fates: 12, fate_concentration: 5.0, ..clones };
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
    let config = LclConfig { encoder_dims: vec![64, 32], n_epochs: 20, accumulate: 1, ..Default::default() };
    let config = LclConfig { lr: 1e-3, weight_decay: 0.3, size_factor: 0.15, entropy_weight: 0.05, ..config };
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
    Ok(())
}
