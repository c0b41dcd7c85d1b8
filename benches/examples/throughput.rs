//! Cells per second of CONCORD at its default widths: `throughput [n_cells] [n_genes] [density] [threads] [epochs] [symmetric]`.

use tutti::observe::{CancelToken, Silent};
use tutti::systems::concord::{Concord, ConcordColumns, ConcordConfig};
use tutti::threads::Threads;

fn main() -> tutti::Result<()> {
    let arguments: Vec<f64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let number = |i: usize, default: f64| arguments.get(i).copied().unwrap_or(default);
    let (n_cells, n_genes) = (number(0, 6000.0) as usize, number(1, 2000.0) as usize);
    let cells = tutti_benches::cells(n_cells, n_genes, number(2, 0.13), 3);
    let config =
        ConcordConfig { n_epochs: number(4, 3.0) as usize, symmetric_gradient: number(5, 0.0) > 0.0, ..Default::default() };
    let columns = ConcordColumns { batch: Some("batch".into()), label: None };
    let threads = Threads::new(number(3, 2.0) as usize)?;
    let mut trainer = Concord::trainer(&cells, &columns, config, &candle_core::Device::Cpu, threads)?;
    trainer.train(&mut Silent, &CancelToken::default())?;
    let (seconds, cells_per_second) = trainer.speed();
    println!(
        "{n_cells} x {n_genes}: {cells_per_second:.0} cells/s, {seconds:.2} s, {:.2} ms per 256 cells",
        256e3 / cells_per_second
    );
    Ok(())
}
