//! `tutti fate`: what the lineages of early cells become, from an embedding.

use std::path::PathBuf;

use ndarray::Array2;
use serde_json::{Value, json};
use tutti::data::Lineages;
use tutti::downstream::{FateConfig, FateTargets, FateTimes, predict_fates};
use tutti_io::{Additions, AnnData, ObsColumn, ReadOptions};

use crate::Result;
use crate::error::{CliError, InFile};
use crate::input::embedding;
use crate::output::{Printing, check_output};

/// Which cells tell of which.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct FateArguments {
    /// Column of obs with the time of each cell; with `--fate`, a decoder of fates is fitted too
    #[arg(long, value_name = "COLUMN", requires = "fate")]
    pub time: Option<String>,
    /// Column of obs with the type of each cell: those of final cells are the fates
    #[arg(long, value_name = "COLUMN", requires = "time")]
    pub fate: Option<String>,
    /// Time of early cells, may be repeated [default: the first]
    #[arg(long, value_name = "TIME", requires = "time")]
    pub early: Vec<String>,
    /// Time of final cells [default: the last]
    #[arg(long = "final", value_name = "TIME", requires = "time")]
    pub last: Option<String>,
    /// Final cells that a lineage must have
    #[arg(long, value_name = "N", default_value_t = 5, requires = "time")]
    pub min_final: usize,
    /// Write the decoder here
    #[arg(long, value_name = "FILE", requires = "time")]
    pub save_decoder: Option<PathBuf>,
}

/// What a decoder found.
pub struct Fates {
    /// Share of each fate for every cell.
    pub columns: Vec<(String, ObsColumn)>,
    pub summary: Value,
}

impl FateArguments {
    /// Early cells with the fates of their lineages; `None` where they are not asked for.
    pub fn targets(&self, data: &AnnData, lineages: &Lineages) -> Result<Option<FateTargets>> {
        let (Some(time), Some(fate)) = (&self.time, &self.fate) else { return Ok(None) };
        let (time, fate) = (data.categorical_or_number(time)?.drop_unused(), data.categorical(fate)?);
        let times = FateTimes::of(&time, &self.early, self.last.as_deref(), self.min_final).in_file(data.path())?;
        Ok(Some(FateTargets::new(lineages, &time, &fate, &times).in_file(data.path())?))
    }

    /// Tests a decoder on a fifth of the lineages, then fits one to all and tells the fates of all cells.
    pub fn fit(&self, embedding: &Array2<f32>, targets: FateTargets, n_threads: usize) -> Result<Fates> {
        let found = predict_fates(embedding.view(), &targets, 0.2, &FateConfig::default(), n_threads)?;
        if let Some(path) = &self.save_decoder {
            found.decoder.save(path)?;
        }
        let columns = found.decoder.fates().iter().zip(found.shares.columns());
        let columns = columns.map(|(fate, share)| (format!("fate_{fate}"), ObsColumn::Float(share.to_vec()))).collect();
        let summary = json!({
            "fates": targets.fates,
            "n_early": found.n_early,
            "n_lineages": found.n_lineages,
            "held_out": found.held_out,
        });
        Ok(Fates { columns, summary })
    }
}

impl Fates {
    /// The summary as a person reads it.
    pub fn lines(&self) -> Vec<String> {
        let s = &self.summary;
        let number = |v: &Value| v.as_f64().unwrap_or(f64::NAN);
        let fates: Vec<&str> = s["fates"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut lines =
            vec![format!("fates    {}: from {} early cells of {} lineages", fates.join(", "), s["n_early"], s["n_lineages"])];
        let h = &s["held_out"];
        if h.is_object() {
            lines.push(format!(
                "         on {} cells of lineages held out: divergence {:.3} ({:.3} by the mean), largest fate right for {:.0} % ({:.0} %)",
                h["n_cells"],
                number(&h["kl"]),
                number(&h["kl_of_mean"]),
                100.0 * number(&h["right"]),
                100.0 * number(&h["right_of_mean"])
            ));
        } else {
            lines.push("         not tested: all these cells are of one lineage, so that none could be held out".to_owned());
        }
        lines
    }
}

/// Arguments of `tutti fate`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// h5ad file with an embedding, lineages, times and types
    pub input: PathBuf,
    /// Lineage of each cell: a column of obs or a matrix of cells x clones in obsm
    #[arg(long, value_name = "COLUMN|NAME")]
    pub lineage: String,
    #[command(flatten)]
    pub fate: FateArguments,
    /// Embedding: a name in obsm, or a .csv, .tsv or .parquet file of cells x dimensions with the cell names first
    #[arg(long, value_name = "NAME|FILE", default_value = "X_lcl")]
    pub embedding: String,
    /// Where to write: .h5ad (a copy of the input with a column per fate added), .csv, .tsv or .parquet
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Threads [default: all processors]
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    #[command(flatten)]
    pub printing: Printing,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> Result<()> {
    check_output(&arguments.input, &arguments.output)?;
    let data = tutti_io::read(&arguments.input, &ReadOptions { without_x: true, ..Default::default() })?;
    let lineages = data.lineages(&arguments.lineage)?;
    let Some(targets) = arguments.fate.targets(&data, &lineages)? else {
        return Err(CliError::Usage("give the columns of times and types with --time and --fate".into()));
    };
    let embedding = embedding(&data, &arguments.embedding)?;
    let fates = arguments.fate.fit(&embedding, targets, arguments.threads)?;
    let h5ad = |path: &std::path::Path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("h5ad"));
    if h5ad(&arguments.output) {
        // `uns` keeps what a training left there.
        let additions = Additions { obs: fates.columns.clone(), ..Default::default() };
        tutti_io::add_to_copy(&arguments.input, &arguments.output, &additions)?;
    } else {
        let names = data.cell_names().iter().cloned().map(Some).collect();
        let columns: Vec<_> =
            std::iter::once(("cell".to_owned(), ObsColumn::Text(names))).chain(fates.columns.iter().cloned()).collect();
        tutti_io::write_table(&arguments.output, &columns)?;
    }
    if arguments.printing.json {
        say!("{}", fates.summary);
    } else if !arguments.printing.quiet {
        say!("{}\noutput   {}", fates.lines().join("\n"), arguments.output.display());
    }
    Ok(())
}
