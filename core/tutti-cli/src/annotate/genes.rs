//! Genes that the labels of a query rest on, beside known markers.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tutti::data::{Categorical, RowSubset};
use tutti::downstream::{
    Baseline, CellDeterminants, ClassDeterminants, DeterminantConfig, DeterminantGene, GradientConfig, KeyGeneReport,
    determinant_genes, determinant_genes_of_cells, key_gene_hit_rates,
};
use tutti::model::Network;
use tutti::preprocess::Pair;
use tutti::threads::Threads;
use tutti_io::{ObsColumn, read_markers, write_table};

use crate::Result;
use crate::error::CliError;
use crate::lineage::baseline;
use crate::output::check_table;

/// Which genes are told.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct GeneArguments {
    /// Write the genes that the labels of the query rest on (.csv, .tsv or .parquet), by a classifier: those that are most often among the 100 of
    /// the largest integrated gradients of the class, of cells that keep their label
    #[arg(long, value_name = "FILE")]
    pub genes: Option<PathBuf>,
    /// Genes of each class in that file
    #[arg(long, value_name = "N", default_value_t = DeterminantConfig::default().n_genes, requires = "genes")]
    pub top_genes: usize,
    /// Write the genes that the label of each cell rests on, by itself (.csv, .tsv or .parquet): those of the largest absolute attribution, of all
    /// cells that keep their label
    #[arg(long, value_name = "FILE", requires = "genes")]
    pub cell_genes: Option<PathBuf>,
    /// Genes of each cell in that file
    #[arg(long, value_name = "N", default_value_t = 20, requires = "cell_genes")]
    pub top_cell_genes: usize,
    /// Expression from which gradients are integrated: `zero`, no gene at all, or the `mean` of the query, by which genes that a cell lacks count too
    #[arg(long, value_name = "NAME", default_value = "zero", value_parser = baseline, requires = "genes")]
    pub gene_baseline: Baseline,
    /// Known markers, a CSV or TSV file of a class and a gene (of the reference) per line: prints which share of them is among the genes of the
    /// class, and marks them in the table
    #[arg(long, value_name = "FILE", requires = "genes")]
    pub markers: Option<PathBuf>,
}

impl GeneArguments {
    /// Refuses files that cannot be written or read before any time is spent; the markers, where there are any.
    pub fn check(&self) -> Result<Option<Vec<(String, String)>>> {
        if let Some(path) = &self.genes {
            check_table("--genes", path)?;
        }
        if self.top_genes == 0 {
            return Err(CliError::Usage("--top-genes 0: give 1 or more".into()));
        }
        if let Some(path) = &self.cell_genes {
            check_table("--cell-genes", path)?;
        }
        if self.top_cell_genes == 0 {
            return Err(CliError::Usage("--top-cell-genes 0: give 1 or more".into()));
        }
        Ok(self.markers.as_deref().map(read_markers).transpose()?)
    }
}

/// What was found.
pub struct Determinants {
    file: PathBuf,
    /// Names of the network's genes.
    genes: Vec<String>,
    found: Vec<ClassDeterminants>,
    markers: Option<(Vec<(String, String)>, KeyGeneReport)>,
    /// Genes of each cell, and where they go.
    of_cells: Option<(PathBuf, Vec<CellDeterminants>)>,
}

impl Determinants {
    /// Of the query of a pair; `kept`: the class of each of its cells, none for those that are unknown.
    pub fn of(
        arguments: &GeneArguments,
        markers: Option<Vec<(String, String)>>,
        network: &dyn Network,
        pair: &Pair<'_>,
        kept: &Categorical,
        threads: &Threads,
    ) -> Result<Option<Self>> {
        let Some(file) = arguments.genes.clone() else { return Ok(None) };
        let gradients = GradientConfig { baseline: arguments.gene_baseline, ..Default::default() };
        let config = DeterminantConfig { n_genes: arguments.top_genes, gradients, ..Default::default() };
        let query = RowSubset::new(pair.cells.source(), (pair.n_reference..pair.cells.n_cells()).collect::<Vec<_>>());
        let found = threads.run(|| determinant_genes(network, &query, kept, &config))?;
        let each = DeterminantConfig { n_top: arguments.top_cell_genes, max_cells: usize::MAX, ..config };
        let of_cells = match &arguments.cell_genes {
            Some(path) => Some((path.clone(), threads.run(|| determinant_genes_of_cells(network, &query, kept, &each))?)),
            None => None,
        };
        let genes = network.genes().to_vec();
        let markers = markers.map(|pairs| {
            let report = key_gene_hit_rates(&found, &genes, &pairs);
            (pairs, report)
        });
        Ok(Some(Self { file, genes, found, markers, of_cells }))
    }

    /// Writes the tables; `cells`: names of the query's cells.
    pub fn write(&self, cells: &[String]) -> Result<()> {
        if let Some((path, found)) = &self.of_cells {
            write_table(path, &self.cell_columns(found, cells))?;
        }
        let rows: Vec<(&ClassDeterminants, usize, &DeterminantGene)> =
            self.found.iter().flat_map(|c| c.genes.iter().enumerate().map(move |(i, g)| (c, i + 1, g))).collect();
        let text = |of: &dyn Fn(&ClassDeterminants, &DeterminantGene) -> String| {
            ObsColumn::Text(rows.iter().map(|(c, _, g)| Some(of(c, g))).collect())
        };
        let mut columns = vec![
            ("class".to_owned(), text(&|c, _| c.class.clone())),
            ("gene".to_owned(), text(&|_, g| self.genes[g.gene].clone())),
            ("rank".to_owned(), ObsColumn::Float(rows.iter().map(|(_, rank, _)| *rank as f32).collect())),
            ("frequency".to_owned(), ObsColumn::Float(rows.iter().map(|(_, _, g)| g.frequency).collect())),
            ("attribution".to_owned(), ObsColumn::Float(rows.iter().map(|(_, _, g)| g.attribution).collect())),
        ];
        if let Some((pairs, _)) = &self.markers {
            let known: HashSet<(&str, &str)> = pairs.iter().map(|(class, gene)| (class.as_str(), gene.as_str())).collect();
            let is_marker = rows.iter().map(|(c, _, g)| known.contains(&(c.class.as_str(), self.genes[g.gene].as_str())));
            columns.push(("marker".to_owned(), ObsColumn::Bool(is_marker.collect())));
        }
        Ok(write_table(self.path(), &columns)?)
    }

    /// A row per cell and gene.
    fn cell_columns(&self, found: &[CellDeterminants], cells: &[String]) -> Vec<(String, ObsColumn)> {
        let rows: Vec<(&CellDeterminants, usize, &(usize, f32))> =
            found.iter().flat_map(|c| c.genes.iter().enumerate().map(move |(i, gene)| (c, i + 1, gene))).collect();
        let text = |of: &dyn Fn(&CellDeterminants, usize) -> String| {
            ObsColumn::Text(rows.iter().map(|(c, _, (gene, _))| Some(of(c, *gene))).collect())
        };
        vec![
            ("cell".to_owned(), text(&|c, _| cells[c.cell].clone())),
            ("class".to_owned(), text(&|c, _| c.class.clone())),
            ("gene".to_owned(), text(&|_, gene| self.genes[gene].clone())),
            ("rank".to_owned(), ObsColumn::Float(rows.iter().map(|(_, rank, _)| *rank as f32).collect())),
            ("attribution".to_owned(), ObsColumn::Float(rows.iter().map(|(_, _, (_, value))| *value).collect())),
        ]
    }

    fn path(&self) -> &Path {
        &self.file
    }

    fn first(&self, class: &ClassDeterminants, n: usize) -> Vec<&str> {
        class.genes.iter().take(n).map(|g| self.genes[g.gene].as_str()).collect()
    }

    fn report(&self) -> Option<&KeyGeneReport> {
        self.markers.as_ref().map(|(_, report)| report)
    }

    /// For the summary.
    pub fn json(&self) -> Value {
        let hits = |class: &str| self.report().and_then(|r| r.by_class.iter().find(|(c, _)| c == class)).map(|(_, hits)| *hits);
        let classes = self.found.iter().map(|class| {
            json!({
                "class": class.class,
                "n_cells": class.n_cells,
                "first": self.first(class, 8),
                "completeness_error": class.completeness_error,
                "markers": hits(&class.class),
            })
        });
        json!({
            "file": self.path().display().to_string(),
            "cell_file": self.of_cells.as_ref().map(|(path, _)| path.display().to_string()),
            "classes": classes.collect::<Vec<_>>(),
            "key_gene_hit_rate": self.report().map(|r| r.mean_rate),
            "expected_by_chance": self.report().map(|r| r.mean_chance),
            "left_out": self.report().map(|r| r.left_out.clone()),
        })
    }

    /// For a person.
    pub fn lines(&self) -> Vec<String> {
        let line = |class: &ClassDeterminants| format!("{}: {}", class.class, self.first(class, 8).join(", "));
        let mut lines: Vec<String> = self.found.iter().map(line).collect();
        lines.push(format!("written to {}", self.path().display()));
        lines.extend(self.of_cells.iter().map(|(path, found)| format!("those of {} cells to {}", found.len(), path.display())));
        let Some(report) = self.report() else { return labelled("genes", lines) };
        if report.by_class.is_empty() {
            let none = "no class that cells are called has a known marker among the genes of the model".to_owned();
            return [labelled("genes", lines), labelled("markers", vec![none])].concat();
        }
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let mut markers = vec![format!(
            "{} of the known markers of a class are among its genes, mean of {} classes; {} by chance",
            percent(report.mean_rate),
            report.by_class.len(),
            percent(report.mean_chance)
        )];
        markers.extend(report.by_class.iter().map(|(class, hits)| format!("{class}: {} of {}", hits.n_hits, hits.n_markers)));
        if !report.left_out.is_empty() {
            markers.push(format!(
                "left out, as no cell is called so or the model reads none of them: {}",
                report.left_out.join(", ")
            ));
        }
        [labelled("genes", lines), labelled("markers", markers)].concat()
    }
}

/// Lines with the name of their part before the first.
fn labelled(name: &str, lines: Vec<String>) -> Vec<String> {
    lines.into_iter().enumerate().map(|(i, line)| format!("{:<8} {line}", if i == 0 { name } else { "" })).collect()
}
