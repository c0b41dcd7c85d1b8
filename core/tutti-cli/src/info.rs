//! `tutti info`: what is in a file.

use std::path::PathBuf;

use crate::Result;
use crate::input::InputArguments;

/// Arguments of `tutti info`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The file, or a 10x folder
    pub input: PathBuf,
    #[command(flatten)]
    pub source: InputArguments,
}

/// Levels of a column that are listed.
const LISTED: usize = 12;

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> Result<()> {
    let data = arguments.source.read(&arguments.input)?;
    say!("file      {}", arguments.input.display());
    say!("shape     {} cells x {} genes", data.n_cells(), data.n_genes());
    if data.has_x() {
        let values = tutti::preprocess::summarise(&*data.x().source()?)?;
        say!("values    {}: {}", values.kind, values.reason);
        say!("range     {} to {}, {:.1} % non-zero ({} values)", values.min, values.max, 100.0 * values.density, values.nnz);
        if values.n_zero_cells > 0 || values.n_zero_genes > 0 {
            say!("empty     {} cells and {} genes without any count", values.n_zero_cells, values.n_zero_genes);
        }
    } else {
        say!("values    the file has no matrix X");
    }
    for name in data.column_names() {
        match data.categorical(&name) {
            Ok(column) => say!("obs       {name}: {}", levels(&column)),
            Err(_) => say!("obs       {name}: {}", data.column_type(&name)),
        }
    }
    for (name, array) in data.obsm() {
        say!("obsm      {name}: {} columns", array.ncols());
    }
    let candidates: Vec<String> = data.candidates_for_batch().into_iter().map(|(name, _)| name).collect();
    if !candidates.is_empty() {
        say!("batch?    {}", candidates.join(", "));
    }
    data.notes().iter().for_each(|note| say!("note      {note}"));
    Ok(())
}

fn levels(column: &tutti::data::Categorical) -> String {
    let mut counted: Vec<(&String, usize)> = column.levels().iter().zip(column.counts()).collect();
    // Levels of as many cells stay in their order.
    counted.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let listed: Vec<String> = counted.iter().take(LISTED).map(|(level, n)| format!("{level} {n}")).collect();
    let more = if counted.len() > LISTED { format!(", and {} more", counted.len() - LISTED) } else { String::new() };
    format!("{} levels: {}{more}", counted.len(), listed.join(", "))
}
