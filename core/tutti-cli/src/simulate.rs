//! `tutti simulate`: data with a known truth.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::ValueEnum;
use tutti::data::CellSource;
use tutti::simulate::{Layer, PRESETS, Simulation, Spec};
use tutti::threads::Threads;
use tutti_io::{Additions, write_layers};

use crate::Result;
use crate::error::CliError;
use crate::settings::seed;

/// Arguments of `tutti simulate`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What to simulate (TOML); what it leaves out has its default
    #[arg(required_unless_present_any = ["preset", "print_spec", "list"], conflicts_with_all = ["preset", "print_spec", "list"])]
    pub spec: Option<PathBuf>,
    /// A ready-made spec instead of a file
    #[arg(long, value_name = "NAME", conflicts_with_all = ["print_spec", "list"])]
    pub preset: Option<String>,
    /// Print a ready-made spec as TOML, to be changed
    #[arg(long, value_name = "NAME", conflicts_with_all = ["output", "list"])]
    pub print_spec: Option<String>,
    /// List the ready-made specs
    #[arg(long, conflicts_with = "output")]
    pub list: bool,
    /// Where to write (.h5ad); a second assay goes beside it, as .atac.h5ad or .protein.h5ad
    #[arg(short, long, value_name = "FILE", required_unless_present_any = ["print_spec", "list"])]
    pub output: Option<PathBuf>,
    /// Layers to write beside X, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [LayerName::NoNoise])]
    pub layers: Vec<LayerName>,
    /// Cells instead of those of the spec
    #[arg(long, value_name = "N")]
    pub n_cells: Option<usize>,
    /// Genes instead of those of the spec
    #[arg(long, value_name = "N")]
    pub n_genes: Option<usize>,
    /// Seed instead of that of the spec
    #[arg(long, value_name = "N", value_parser = seed, allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Threads [default: all processors]
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Print nothing but errors
    #[arg(long)]
    pub quiet: bool,
}

/// A layer of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LayerName {
    /// The truth: no noise, no batch effects
    #[value(name = "no_noise")]
    NoNoise,
    /// Noise, but no batch effects
    #[value(name = "wt_noise")]
    WithNoise,
    /// No layers
    #[value(name = "none")]
    None,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.list {
        PRESETS.iter().for_each(|(name, what)| say!("{name:<28}{what}"));
        return Ok(());
    }
    if let Some(name) = &arguments.print_spec {
        let spec = overridden(Spec::preset(name)?, arguments);
        say!("{}", toml(&spec)?.trim_end());
        return Ok(());
    }
    let Some(output) = &arguments.output else { return Err(CliError::Usage("give the output with -o FILE.h5ad".into())) };
    check_output(arguments.spec.as_deref(), output)?;
    let spec = overridden(read_spec(arguments)?, arguments);
    let started = Instant::now();
    let threads = Threads::new(arguments.threads)?;
    let files = threads.run(|| write(&spec, &layers(&arguments.layers)?, output)).map_err(|e| in_spec(e, arguments))?;
    if !arguments.quiet {
        let (n_cells, n_genes) = (spec.n_cells, spec.n_genes);
        say!(
            "simulated {n_cells} cells x {n_genes} genes ({}) in {:.1} s",
            spec.structure.kind(),
            started.elapsed().as_secs_f64()
        );
        files.iter().for_each(|file| say!("wrote {}", file.display()));
    }
    Ok(())
}

fn read_spec(arguments: &Arguments) -> Result<Spec> {
    match (&arguments.preset, &arguments.spec) {
        (Some(name), _) => Ok(Spec::preset(name)?),
        (None, Some(path)) => {
            let usage = |problem: String| CliError::Usage(format!("{}: {problem}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|e| usage(e.to_string()))?;
            let hint = "`tutti simulate --list` names specs to start from, `--print-spec NAME` prints one";
            ::toml::from_str(&text).map_err(|e| usage(format!("{}; {hint}", e.to_string().trim_end())))
        }
        (None, None) => Err(CliError::Usage("give a spec, or --preset NAME".into())),
    }
}

/// A setting at fault is one of the file, where there is one.
fn in_spec(error: CliError, arguments: &Arguments) -> CliError {
    match (error, &arguments.spec) {
        (CliError::Science(error @ tutti::Error::Argument { .. }), Some(path)) => {
            CliError::Usage(format!("{}: {error}", path.display()))
        }
        (error, _) => error,
    }
}

fn overridden(spec: Spec, arguments: &Arguments) -> Spec {
    Spec {
        n_cells: arguments.n_cells.unwrap_or(spec.n_cells),
        n_genes: arguments.n_genes.unwrap_or(spec.n_genes),
        seed: arguments.seed.unwrap_or(spec.seed),
        ..spec
    }
}

fn toml(spec: &Spec) -> Result<String> {
    ::toml::to_string(spec).map_err(|e| CliError::Usage(format!("the spec cannot be written as TOML: {e}")))
}

fn layers(names: &[LayerName]) -> Result<Vec<Layer>> {
    if names.contains(&LayerName::None) && names.len() > 1 {
        return Err(CliError::Usage("--layers none,...: leave out `none` or the others".into()));
    }
    let mut out = Vec::new();
    for name in names {
        let layer = match name {
            LayerName::NoNoise => Layer::NoNoise,
            LayerName::WithNoise => Layer::WithNoise,
            LayerName::None => continue,
        };
        if !out.contains(&layer) {
            out.push(layer);
        }
    }
    Ok(out)
}

/// Writes all files and returns their names.
fn write(spec: &Spec, layers: &[Layer], output: &Path) -> Result<Vec<PathBuf>> {
    let simulation = Simulation::new(spec)?;
    let cells = simulation.cell_names();
    let uns = serde_json::json!({ "tutti_version": env!("CARGO_PKG_VERSION"), "simulation": toml(spec)? });
    let obs = simulation.truth()?.into_iter().map(|(name, truth)| (name.to_owned(), truth.into())).collect();
    let additions = Additions { obs, uns, ..Default::default() };
    let sources: Vec<_> = layers.iter().map(|layer| (layer.name(), simulation.layer(*layer))).collect();
    let borrowed: Vec<(&str, &dyn CellSource)> = sources.iter().map(|(name, rows)| (*name, rows as &dyn CellSource)).collect();
    write_layers(output, &cells, simulation.gene_names(), &simulation, &borrowed, &additions)?;
    let mut files = vec![output.to_owned()];
    if let (Some((names, rows)), Some(modality)) = (simulation.modality(), &spec.modality) {
        let beside = output.with_extension(format!("{}.h5ad", modality.kind()));
        write_layers(&beside, &cells, names, &rows, &[], &additions)?;
        files.push(beside);
    }
    Ok(files)
}

/// Refuses an output that cannot be written before anything is drawn.
fn check_output(spec: Option<&Path>, output: &Path) -> Result<()> {
    if output.extension().is_none_or(|e| !e.eq_ignore_ascii_case("h5ad")) {
        return Err(CliError::Usage(format!("-o {}: unknown format; end it in .h5ad", output.display())));
    }
    crate::output::check_output(spec.unwrap_or(Path::new("")), output)
}
