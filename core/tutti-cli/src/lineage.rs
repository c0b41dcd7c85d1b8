//! What an embedding of lineages says: genes that lineages rest on, genes of its islands, pairs of cells of one lineage; and
//! `tutti lineage`, which tells it by a trained model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::{Array2, Axis};
use serde_json::{Map, Value, json};
use tutti::data::{Categorical, CellSource, Lineages};
use tutti::downstream::{
    Baseline, CommunityConfig, GeneTest, GradientConfig, LineageGenes, LineageGenesConfig, LineagePairConfig, MOST_PAIRED_CELLS,
    leiden, lineage_genes, lineage_pairs, markers, wilcoxon,
};
use tutti::metrics::{PairScores, pair_scores};
use tutti::neighbors::{Graph, NeighborConfig, nearest_self};
use tutti::observe::Observer;
use tutti::preprocess::{PcaConfig, pca, prepare_query};
use tutti::systems::lcl::{Embedding, Lcl, LclConfig};
use tutti::threads::Threads;
use tutti_io::{ObsColumn, write_table};

use crate::Result;
use crate::error::{CliError, InFile};
use crate::input::{InputArguments, origin};
use crate::output::{check_output, check_table, write_embedding};
use crate::progress::Reporter;
use crate::settings::RunArguments;

/// Neighbours in the graph of which islands are found.
const NEIGHBORS: usize = 15;
/// Adjusted p value up to which a gene counts as a marker of its island.
const LEVEL: f64 = 0.05;

/// Which tables are written beside the embedding.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct LineageTables {
    /// Write the genes that lineages rest on (.csv, .tsv or .parquet): integrated gradients of the cosine with the lineage's centroid; rows
    /// without a lineage are the means over lineages
    #[arg(long, value_name = "FILE")]
    pub genes: Option<PathBuf>,
    /// Genes per lineage in that file, and twice as many over all lineages; 0 writes all
    #[arg(long, value_name = "N", default_value_t = 50, requires = "genes")]
    pub top_genes: usize,
    /// Fewest cells of a lineage whose genes are told
    #[arg(long, value_name = "N", default_value_t = 10, requires = "genes")]
    pub gene_min_cells: usize,
    /// Expression from which gradients are integrated: `zero`, no gene at all, or the `mean` of the cells, by which genes that a cell lacks count too
    #[arg(long, value_name = "NAME", default_value = "zero", value_parser = baseline, requires = "genes")]
    pub gene_baseline: Baseline,
    /// Write the genes of each island of the embedding (Leiden) against all other cells, by Wilcoxon's rank-sum test; the island of each cell is
    /// a column of the output
    #[arg(long, value_name = "FILE")]
    pub markers: Option<PathBuf>,
    /// How fine the islands are; larger gives more
    #[arg(long, value_name = "X", default_value_t = 1.0, requires = "markers")]
    pub resolution: f64,
    /// Write pairs of cells with votes to be of one lineage, as GEMLI counts them: test cells, where some are held out, else all cells
    #[arg(long, value_name = "FILE")]
    pub pairs: Option<PathBuf>,
    /// Fewest and most cells of a cluster whose pairs count: about the sizes of lineages [default: 50,200]
    #[arg(long, value_name = "MIN,MAX", value_parser = two_sizes, requires = "pairs")]
    pub pair_sizes: Option<(usize, usize)>,
    /// Lineages whose pairs are told, the largest first
    #[arg(long, value_name = "N", default_value_t = 50, requires = "pairs")]
    pub pair_lineages: usize,
}

/// The expression of a name from which gradients are integrated.
pub fn baseline(name: &str) -> std::result::Result<Baseline, String> {
    Baseline::named(name).map_err(|e| e.to_string())
}

fn two_sizes(text: &str) -> std::result::Result<(usize, usize), String> {
    let numbers: Option<Vec<usize>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some([least, most]) => Ok((*least, *most)),
        _ => Err("give two whole numbers, e.g. 50,200".into()),
    }
}

/// Cells as a model sees them.
pub struct View<'a> {
    pub model: &'a Lcl,
    /// The model's genes, preprocessed.
    pub source: &'a dyn CellSource,
    pub cell_names: &'a [String],
    pub lineages: &'a Lineages,
    /// Cells that were held out.
    pub test: &'a [usize],
    pub embedding: &'a Array2<f32>,
}

/// What the tables say in brief.
#[derive(Default)]
pub struct Findings {
    pub columns: Vec<(String, ObsColumn)>,
    pub summary: Map<String, Value>,
    pub lines: Vec<String>,
}

impl LineageTables {
    /// Refuses files that cannot be written before any time is spent.
    pub fn check(&self) -> Result<()> {
        let files = [("--genes", &self.genes), ("--markers", &self.markers), ("--pairs", &self.pairs)];
        files.iter().filter_map(|(name, file)| Some((name, file.as_ref()?))).try_for_each(|(name, file)| check_table(name, file))
    }

    /// Refuses what the lineages do not allow, before any time is spent; `test`: cells that are held out, `width`: of the embedding.
    pub fn check_lineages(&self, lineages: &Lineages, test: &[usize], width: usize, input: &Path) -> Result<()> {
        let (file, largest) = (input.display(), lineages.summary().largest_size);
        let least = self.gene_min_cells;
        if self.genes.is_some() && largest < least.max(1) {
            let problem = format!("--gene-min-cells {least}: the largest lineage of {file} has {largest} cells");
            return Err(CliError::Usage(format!("{problem}; give fewer, or another --lineage")));
        }
        if !(self.resolution > 0.0 && self.resolution.is_finite()) {
            return Err(CliError::Usage(format!("--resolution {}: give a number above 0, e.g. 1", self.resolution)));
        }
        if self.pairs.is_none() {
            return Ok(());
        }
        if let Some((least, most)) = self.pair_sizes.filter(|(least, most)| *least < 2 || most < least) {
            return Err(CliError::Usage(format!("--pair-sizes {least},{most}: give 2 or more, the smaller first")));
        }
        if width < 3 {
            return Err(CliError::Usage(format!("--pairs: an embedding of {width} dimensions is too narrow; it needs 3")));
        }
        let (n, which) = (self.pair_cells(lineages, test).len(), if test.is_empty() { "cells" } else { "test cells" });
        match n {
            0 => Err(CliError::Usage(format!("--pairs: no two {which} of {file} are of one lineage; leave it out"))),
            n if n > MOST_PAIRED_CELLS => Err(CliError::Usage(format!(
                "--pair-lineages {}: they have {n} {which}, and {MOST_PAIRED_CELLS} can be compared; give fewer",
                self.pair_lineages
            ))),
            _ => Ok(()),
        }
    }

    /// Writes the tables asked for; to be called within a pool of threads.
    pub fn write(&self, view: &View<'_>) -> Result<Findings> {
        let mut out = Findings::default();
        if let Some(path) = &self.genes {
            self.write_genes(path, view, &mut out)?;
        }
        if let Some(path) = &self.markers {
            self.write_markers(path, view, &mut out)?;
        }
        if let Some(path) = &self.pairs {
            self.write_pairs(path, view, &mut out)?;
        }
        Ok(out)
    }

    fn write_genes(&self, path: &Path, view: &View<'_>, out: &mut Findings) -> Result<()> {
        let defaults = LineageGenesConfig::default();
        let gradients = GradientConfig { baseline: self.gene_baseline, ..defaults.gradients };
        let config = LineageGenesConfig { min_cells: self.gene_min_cells, gradients, ..defaults };
        let found = lineage_genes(view.model, view.source, view.lineages, &config)?;
        write_table(path, &gene_columns(&found, view.model.genes(), self.top_genes))?;
        let top: Vec<&str> = found.top(8).iter().map(|(gene, _)| view.model.genes()[*gene].as_str()).collect();
        let worst = found.completeness_error.iter().copied().fold(0.0, f32::max);
        let n = found.lineages.len();
        out.lines.push(format!(
            "genes    of {n} lineages: {} first; gradients add up within {worst:.1e}; {}",
            top.join(", "),
            path.display()
        ));
        out.summary.insert("genes".into(), json!({"n_lineages": n, "top": top, "completeness_error": worst, "file": path}));
        Ok(())
    }

    fn write_markers(&self, path: &Path, view: &View<'_>, out: &mut Findings) -> Result<()> {
        let islands = islands(view.embedding, self.resolution)?;
        let tests = if islands.n_levels() > 1 { wilcoxon(view.source, &islands)? } else { Vec::new() };
        write_table(path, &marker_columns(&tests, &islands, view.model.genes()))?;
        let counts: Vec<usize> = tests.iter().map(|t| markers(t, LEVEL).len()).collect();
        let (n, most) = (islands.n_levels(), counts.iter().copied().max().unwrap_or(0));
        let fewest = counts.iter().copied().min().unwrap_or(0);
        let said = match n {
            1 => "one, with no other to compare it with: raise --resolution".to_owned(),
            n => format!("{n}, each with {fewest} to {most} genes of its own (p below {LEVEL}, adjusted)"),
        };
        out.lines.push(format!("islands  {said}; {}", path.display()));
        out.summary.insert("markers".into(), json!({"n_islands": n, "n_markers": counts, "level": LEVEL, "file": path}));
        out.columns.push(("lcl_island".into(), ObsColumn::Levels(islands)));
        Ok(())
    }

    fn write_pairs(&self, path: &Path, view: &View<'_>, out: &mut Findings) -> Result<()> {
        let (cells, held_out) = (self.pair_cells(view.lineages, view.test), !view.test.is_empty());
        let lineages = view.lineages.only(&cells);
        let sizes = self.pair_sizes.unwrap_or((50, 200));
        let config = LineagePairConfig { sizes, ..Default::default() };
        let votes = |x: &Array2<f32>| -> Result<BTreeMap<(u32, u32), u32>> {
            let found = lineage_pairs(x.select(Axis(0), &cells).view(), &config)?;
            let named = |pair: (u32, u32)| (cells[pair.0 as usize] as u32, cells[pair.1 as usize] as u32);
            Ok(found.votes.into_iter().map(|(pair, n)| (named(pair), n)).collect())
        };
        let score = |votes: &BTreeMap<(u32, u32), u32>| -> Result<PairScores> {
            Ok(pair_scores(votes.iter().map(|(pair, n)| (pair, f64::from(*n))), &lineages)?)
        };
        let ours = votes(view.embedding)?;
        let components = score(&votes(&components(view.source)?)?)?;
        let scores = score(&ours)?;
        write_table(path, &pair_columns(&ours, view.cell_names, &lineages))?;
        let which = if held_out { "test cells" } else { "cells, none of them held out" };
        out.lines.push(format!(
            "pairs    of {} {which}: AUPRC {:.3} ({:.3} by principal components, {:.3} by chance), AUROC {:.3} ({:.3}); {}",
            cells.len(),
            scores.auprc,
            components.auprc,
            scores.share_related,
            scores.auroc,
            components.auroc,
            path.display()
        ));
        let told = json!({"n_cells": cells.len(), "held_out": held_out, "lcl": scores, "pca": components, "file": path});
        out.summary.insert("pairs".into(), told);
        Ok(())
    }

    /// Test cells, or all, of the largest lineages among them.
    fn pair_cells(&self, lineages: &Lineages, test: &[usize]) -> Vec<usize> {
        let lineages = if test.is_empty() { lineages.clone() } else { lineages.only(test) };
        lineages.cells_of_largest(self.pair_lineages)
    }
}

/// Width of the embedding.
pub fn width(config: &LclConfig) -> usize {
    match config.embedding {
        Embedding::Projection => config.latent_dim,
        Embedding::Base => config.encoder_dims.last().copied().unwrap_or(config.latent_dim),
    }
}

/// Principal components of the cells, 50 or as many as there can be.
pub fn components(source: &dyn CellSource) -> Result<Array2<f32>> {
    let n_components = 50.min(source.n_cells().min(source.n_genes()).saturating_sub(1));
    Ok(pca(source, &PcaConfig { n_components, ..Default::default() })?.scores)
}

/// Communities of the graph of neighbours in the embedding, the largest first.
fn islands(embedding: &Array2<f32>, resolution: f64) -> Result<Categorical> {
    let n_neighbors = NEIGHBORS.min(embedding.nrows());
    let neighbors = nearest_self(embedding.view(), &NeighborConfig { n_neighbors, ..Default::default() })?;
    let found = leiden(&Graph::fuzzy(&neighbors), &CommunityConfig { resolution, ..Default::default() })?;
    let levels = (0..found.n_communities).map(|i| i.to_string()).collect();
    Ok(Categorical::new(found.labels.into_iter().map(Some).collect(), levels)?)
}

fn text(values: Vec<String>) -> ObsColumn {
    ObsColumn::Text(values.into_iter().map(Some).collect())
}

fn gene_columns(found: &LineageGenes, genes: &[String], top: usize) -> Vec<(String, ObsColumn)> {
    let (mut lineage, mut gene, mut rank, mut importance) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut add = |name: Option<&String>, ranked: Vec<(usize, f32)>| {
        for (i, (place, value)) in ranked.into_iter().enumerate() {
            lineage.push(name.cloned());
            gene.push(genes[place].clone());
            rank.push((i + 1) as f32);
            importance.push(value);
        }
    };
    let n = |n: usize| if top == 0 { genes.len() } else { n };
    add(None, found.top(n(2 * top)));
    found.lineages.iter().enumerate().for_each(|(i, name)| add(Some(name), found.top_of(i, n(top))));
    vec![
        ("lineage".into(), ObsColumn::Text(lineage)),
        ("gene".into(), text(gene)),
        ("rank".into(), ObsColumn::Float(rank)),
        ("importance".into(), ObsColumn::Float(importance)),
    ]
}

fn marker_columns(tests: &[Vec<GeneTest>], islands: &Categorical, genes: &[String]) -> Vec<(String, ObsColumn)> {
    let rows: Vec<(usize, &GeneTest)> = tests.iter().enumerate().flat_map(|(i, t)| t.iter().map(move |t| (i, t))).collect();
    let number = |of: &dyn Fn(&GeneTest) -> f64| ObsColumn::Float(rows.iter().map(|(_, t)| of(t) as f32).collect());
    vec![
        ("island".into(), text(rows.iter().map(|(i, _)| islands.levels()[*i].clone()).collect())),
        ("gene".into(), text(rows.iter().map(|(_, t)| genes[t.gene].clone()).collect())),
        ("z".into(), number(&|t| t.z)),
        ("p".into(), number(&|t| t.p)),
        ("p_adjusted".into(), number(&|t| t.p_adjusted)),
        ("auc".into(), number(&|t| t.auc)),
        ("log2_fold_change".into(), number(&|t| t.log2_fold_change)),
        ("share_in".into(), number(&|t| t.share_in)),
        ("share_out".into(), number(&|t| t.share_out)),
    ]
}

fn pair_columns(votes: &BTreeMap<(u32, u32), u32>, names: &[String], lineages: &Lineages) -> Vec<(String, ObsColumn)> {
    let mut rows: Vec<(&(u32, u32), &u32)> = votes.iter().collect();
    rows.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    let cell = |of: &dyn Fn(&(u32, u32)) -> u32| text(rows.iter().map(|(pair, _)| names[of(pair) as usize].clone()).collect());
    let related = rows.iter().map(|((a, b), _)| lineages.related(*a as usize, *b as usize)).collect();
    vec![
        ("cell_a".into(), cell(&|pair| pair.0)),
        ("cell_b".into(), cell(&|pair| pair.1)),
        ("votes".into(), ObsColumn::Float(rows.iter().map(|(_, n)| **n as f32).collect())),
        ("same_lineage".into(), ObsColumn::Bool(related)),
    ]
}

/// Arguments of `tutti lineage`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Model that `--save-model` of `tutti lcl` wrote
    pub model: PathBuf,
    /// Cells
    pub input: PathBuf,
    /// Lineage of each cell: a column of obs or a matrix of cells x clones in obsm
    #[arg(long, value_name = "COLUMN|NAME")]
    pub lineage: String,
    #[command(flatten)]
    pub tables: LineageTables,
    /// Also write the embedding and the islands: .h5ad (a copy of the input with these added), .csv, .tsv or .parquet
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Smallest share of the model's genes that the cells must have
    #[arg(long, value_name = "X", default_value_t = 0.5)]
    pub min_overlap: f64,
    #[command(flatten)]
    pub source: InputArguments,
    #[command(flatten)]
    pub run: RunArguments,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> Result<()> {
    let tables = &arguments.tables;
    if tables.genes.is_none() && tables.markers.is_none() && tables.pairs.is_none() {
        return Err(CliError::Usage("give a file for what is to be told: --genes, --markers or --pairs".into()));
    }
    tables.check()?;
    if let Some(output) = &arguments.output {
        check_output(&arguments.input, output)?;
    }
    let mut reporter = Reporter::new(arguments.run.quiet);
    let (model, preprocessing, _) = Lcl::load(&arguments.model, &arguments.run.device()?)?;
    let data = arguments.source.read(&arguments.input)?;
    let lineages = data.lineages(&arguments.lineage)?;
    tables.check_lineages(&lineages, &[], width(model.config()), &arguments.input)?;
    let (cells, file) = (data.cells(&[])?, arguments.input.display().to_string());
    let query =
        prepare_query(&cells, model.genes(), preprocessing, arguments.min_overlap, origin(&file)).in_file(&arguments.input)?;
    query.notes.iter().for_each(|note| reporter.on_warning(note));
    let (embedding, found) = Threads::new(arguments.run.threads)?.run(|| -> Result<_> {
        let embedding = model.embed(&query.source)?;
        let (source, cell_names): (&dyn CellSource, _) = (&query.source, cells.cell_names());
        let view = View { model: &model, source, cell_names, lineages: &lineages, test: &[], embedding: &embedding };
        let found = tables.write(&view)?;
        Ok((embedding, found))
    })?;
    if let Some(output) = &arguments.output {
        let uns = json!({"system": "lcl", "model": arguments.model, "lineage_key": arguments.lineage, "found": found.summary});
        write_embedding(&data, &arguments.input, output, "X_lcl", &embedding, found.columns, uns)?;
    }
    if arguments.run.json {
        say!("{}", Value::Object(found.summary));
    } else if !arguments.run.quiet {
        say!("{}", found.lines.join("\n"));
    }
    Ok(())
}
