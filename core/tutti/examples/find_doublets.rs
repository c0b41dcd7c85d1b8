//! Finds droplets that held two cells, by a classifier trained on synthetic ones: `cargo run --example find_doublets`.

use candle_core::Device;
use tutti::augment::{DoubletConfig, synthetic_doublets};
use tutti::data::{Categorical, Cells, Csr};
use tutti::observe::{CancelToken, Silent};
use tutti::preprocess::{Normalized, TargetSum, to_memory};
use tutti::simulate::{SimulateConfig, simulate};
use tutti::systems::concord::{Concord, ConcordColumns, ConcordConfig};
use tutti::threads::Threads;

fn main() -> tutti::Result<()> {
    let data = simulate(&SimulateConfig { n_cells: 1500, n_genes: 800, ..Default::default() })?;
    let cells = data.cells()?;
    let batch = data.batch.complete("batch", &data.cell_names)?;
    // Two sets of doublets: one to learn from, one that plays the doublets of the experiment.
    let doublets = |seed| synthetic_doublets(cells.source(), &batch, &DoubletConfig { seed, ..Default::default() });
    let (learn, real) = (doublets(1)?, doublets(2)?);

    let mut x = data.counts.clone();
    let mut kind: Vec<&str> = vec!["singlet"; x.n_rows()];
    let mut codes = batch.clone();
    for (part, name) in [(&learn, "doublet"), (&real, "unknown")] {
        (0..part.rows.n_rows()).for_each(|i| append(&mut x, &part.rows, i));
        kind.extend(vec![name; part.rows.n_rows()]);
        codes.extend(&part.batch);
    }
    let logged = to_memory(&Normalized::new(&x, Some(TargetSum::Fixed(1e4)), true)?)?;
    let names = (0..x.n_rows()).map(|i| format!("droplet_{i}")).collect();
    let batches = codes.iter().map(|code| Some(&data.batch.levels()[*code as usize]));
    let droplets = Cells::new(logged, names, data.gene_names.clone())?
        .with_column("batch", Categorical::from_values(batches))?
        .with_column("kind", Categorical::from_values(kind.iter().map(|k| Some(*k))))?;

    let columns = ConcordColumns { batch: Some("batch".into()), label: Some("kind".into()) };
    let unlabeled_class = Some("unknown".into());
    let config = ConcordConfig { use_classifier: true, unlabeled_class, lr: 3e-3, n_epochs: 30, ..Default::default() };
    let mut trainer = Concord::trainer(&droplets, &columns, config, &Device::Cpu, Threads::new(0)?)?;
    trainer.train(&mut Silent, &CancelToken::default())?;
    let (model, _) = trainer.finish()?;
    let probability = model.classify(model.embed(droplets.source())?.view())?;
    let doublet = model.classes().iter().position(|c| c == "doublet").unwrap_or(0);
    // Ranks, not probabilities: the classifier learned on masked profiles, and whole ones look more like two cells.
    let of = |name: &str| (0..kind.len()).filter(|i| kind[*i] == name).map(|i| probability[[i, doublet]]).collect::<Vec<f32>>();
    let (singlets, unseen) = (of("singlet"), of("unknown"));
    let above = unseen.iter().map(|d| singlets.iter().filter(|s| d > s).count()).sum::<usize>();
    let auc = above as f64 / (singlets.len() * unseen.len()) as f64;
    println!("an unseen doublet is ranked above a single cell in {:.0} % of the pairs", 100.0 * auc);
    assert!(auc > 0.75);
    Ok(())
}

fn append(to: &mut Csr, from: &Csr, row: usize) {
    let (columns, values) = from.row(row);
    to.push_row(columns.iter().copied().zip(values.iter().copied()));
}
