//! Pairs of a reference and a query.

use std::path::Path;

use tutti::data::{Categorical, Cells, Csr, GeneAlignment, GeneSubset};
use tutti::preprocess::{HvgConfig, HvgFlavor, Preprocessing, highly_variable_genes, summarise, to_memory};
use tutti::simulate::{BatchEffect, Batches, Clusters, EffectKind, Simulation, Spec, Structure};
use tutti::systems::cellpredx::Scenario;
use tutti_io::{ReadOptions, read};

use super::Failure;

/// A reference and a query with the same genes, log-normalised; the reference first.
pub struct Task {
    pub name: String,
    pub scenario: Scenario,
    pub cells: Cells<'static>,
    pub is_query: Vec<bool>,
    pub labels: Categorical,
}

/// Those of the real data in `data` and the simulated ones whose names begin as one of `only`.
pub fn tasks(data: &Path, seed: u64, only: Option<&[&str]>) -> Result<Vec<Task>, Failure> {
    let wanted = |name: &str| only.is_none_or(|names| names.iter().any(|n| name.starts_with(n) || n.starts_with(name)));
    let mut out = Vec::new();
    let open = |file: &str| -> Result<Cells<'static>, Failure> {
        Ok(read(&data.join(file), &ReadOptions::default())?.cells(&["cell_type", "batch"])?)
    };
    if wanted("pancreas Xin") {
        let (xin, wang) = (open("pancreas_xin_lognorm.h5ad")?, open("pancreas_wang_lognorm.h5ad")?);
        out.push(task("pancreas Xin to Wang", Scenario::RnaToRna, &xin, &wang, &[])?);
        for absent in ["alpha", "beta", "delta", "gamma"] {
            out.push(task(&format!("pancreas Xin to Wang, without {absent}"), Scenario::RnaToRna, &xin, &wang, &[absent])?);
        }
    }
    if wanted("pancreas human") || wanted("pancreas mouse") {
        let all = open("pancreas_human_mouse_baron.h5ad")?;
        for (from, to) in [("human", "mouse"), ("mouse", "human")] {
            let part = |level: &str| some(&all, level);
            out.push(task(&format!("pancreas {from} to {to}"), Scenario::RnaToRna, &part(from)?, &part(to)?, &[])?);
        }
    }
    if wanted("PBMC") {
        let all = open("pbmc_10x_three_chemistries.h5ad")?;
        for query in ["3pv1", "3pv2", "5p"] {
            let rows = |is: bool| rows_of(&all, |level| (level == query) == is);
            let (reference, query_cells) = (select(&all, &rows(false)?)?, select(&all, &rows(true)?)?);
            out.push(task(&format!("PBMC, query {query}"), Scenario::RnaToRna, &reference, &query_cells, &[])?);
        }
    }
    if wanted("dendritic") {
        let all = open("dendritic_two_batches_lognorm.h5ad")?;
        for (from, to) in [("Batch1", "Batch2"), ("Batch2", "Batch1")] {
            out.push(task(&format!("dendritic {from} to {to}"), Scenario::RnaToRna, &some(&all, from)?, &some(&all, to)?, &[])?);
        }
    }
    if wanted("multiome") {
        let of = |file: &str| -> Result<Cells<'static>, Failure> {
            Ok(read(&data.join(file), &ReadOptions::default())?.cells(&["cell_type"])?)
        };
        let (rna, activity) = (of("multiome_pbmc40_rna.h5ad")?, of("multiome_pbmc40_gene_activity.h5ad")?);
        out.push(task("multiome RNA to gene activity", Scenario::MatchedRnaToAtac, &rna, &activity, &[])?);
    }
    if wanted("simulated") {
        for (name, strength, absent) in [("weak", 0.3, 1), ("strong", 0.7, 1), ("two new types, strong", 0.7, 2)] {
            let cells = simulated(strength, absent, seed)?;
            let (reference, query) = (some(&cells, "batch_1")?, some(&cells, "batch_2")?);
            out.push(task(&format!("simulated, {name} batch effect"), Scenario::RnaToRna, &reference, &query, &[])?);
        }
    }
    out.retain(|task| only.is_none_or(|names| names.iter().any(|n| task.name.starts_with(n))));
    Ok(out)
}

/// Eight types of counts in two batches; the first batch lacks `absent` of them.
fn simulated(strength: f64, absent: usize, seed: u64) -> Result<Cells<'static>, Failure> {
    let n = 8;
    let factors = BatchEffect { dispersion: Some(strength), ..BatchEffect::new(EffectKind::GeneFactors) };
    let states = vec![(1..=n - absent).collect(), (1..=n).collect()];
    let batches = Batches { n: 2, states, effects: vec![factors], ..Default::default() };
    let structure = Structure::Clusters(Clusters { n, ..Default::default() });
    let base = Spec::preset("rna_atac")?;
    let spec = Spec { n_cells: 2000, n_genes: 1000, seed, level: 1.0, structure, batches, modality: None, ..base };
    let simulation = Simulation::new(&spec)?;
    let counts = simulation.cells()?;
    let memory = to_memory(&counts.shared_source())?;
    Ok(counts.with_source(memory, simulation.gene_names().to_vec())?)
}

fn rows_of(cells: &Cells<'_>, keep: impl Fn(&str) -> bool) -> Result<Vec<usize>, Failure> {
    let batch = cells.column("batch")?;
    Ok((0..cells.n_cells()).filter(|i| batch.value(*i).is_some_and(&keep)).collect())
}

fn some(cells: &Cells<'static>, level: &str) -> Result<Cells<'static>, Failure> {
    select(cells, &rows_of(cells, |l| l == level)?)
}

fn select(cells: &Cells<'static>, rows: &[usize]) -> Result<Cells<'static>, Failure> {
    let mut x = Csr::empty(0);
    cells.source().read_rows(rows, &mut x)?;
    let names = rows.iter().map(|i| cells.cell_names()[*i].clone()).collect();
    Ok(Cells::new(x, names, cells.gene_names().to_vec())?.with_column("cell_type", cells.column("cell_type")?.select(rows))?)
}

/// Joins the genes by name, log-normalises counts, and leaves reference cells of `absent` types out.
fn task(name: &str, scenario: Scenario, reference: &Cells<'_>, query: &Cells<'_>, absent: &[&str]) -> Result<Task, Failure> {
    let types = reference.column("cell_type")?;
    let kept: Vec<usize> = (0..reference.n_cells()).filter(|i| types.value(*i).is_some_and(|t| !absent.contains(&t))).collect();
    let genes: Vec<String> = {
        let found = GeneAlignment::by_name(reference.gene_names(), query.gene_names(), 0.0)?;
        reference.gene_names().iter().zip(&found.columns).filter(|(_, c)| c.is_some()).map(|(g, _)| g.clone()).collect()
    };
    let ready = |cells: &Cells<'_>| -> Result<Csr, Failure> {
        let kind = summarise(cells.source())?.kind;
        let logged = Preprocessing::of(kind).apply(cells.shared_source())?;
        let columns = GeneAlignment::by_name(&genes, cells.gene_names(), 0.0)?.columns;
        Ok(to_memory(&GeneSubset::new(logged, &columns))?)
    };
    let all = ready(reference)?;
    let mut x = Csr::empty(genes.len());
    tutti::data::CellSource::read_rows(&all, &kept, &mut x)?;
    let y = ready(query)?;
    let named =
        |prefix: &str, names: &mut dyn Iterator<Item = &String>| names.map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
    let mut names = named("reference ", &mut kept.iter().map(|i| &reference.cell_names()[*i]));
    let of_reference = Cells::new(x.clone(), kept.iter().map(|i| reference.cell_names()[*i].clone()).collect(), genes.clone())?;
    // Names of a multiome's gene activity carry a prefix.
    let query_names = query.cell_names().iter().map(|n| n.trim_start_matches("atac_").to_owned()).collect();
    let of_query = Cells::new(y.clone(), query_names, genes.clone())?;
    let detected = Scenario::detect(&of_reference, &of_query)?;
    eprintln!("{name}, seen as {:?}: {}", detected.scenario, detected.reason);
    names.extend(named("query ", &mut query.cell_names().iter()));
    let is_query: Vec<bool> = (0..names.len()).map(|i| i >= kept.len()).collect();
    (0..y.n_rows()).for_each(|i| x.push_row(y.row(i).0.iter().copied().zip(y.row(i).1.iter().copied())));
    // A few thousand genes vary enough to tell types apart.
    let (x, genes) = if genes.len() > 3000 {
        let config = HvgConfig { n_top_genes: 3000, flavor: HvgFlavor::Seurat, ..Default::default() };
        let batch: Vec<u32> = is_query.iter().map(|q| u32::from(*q)).collect();
        let chosen = highly_variable_genes(&x, Some(&batch), 2, &config)?.selected;
        let columns: Vec<Option<usize>> = chosen.iter().map(|g| Some(*g)).collect();
        (to_memory(&GeneSubset::new(&x, &columns))?, chosen.iter().map(|g| genes[*g].clone()).collect())
    } else {
        (x, genes)
    };
    let query_types = query.column("cell_type")?;
    let labels = kept.iter().map(|i| types.value(*i)).chain((0..query.n_cells()).map(|i| query_types.value(i)));
    let labels = Categorical::from_values(labels);
    Ok(Task { name: name.into(), scenario, cells: Cells::new(x, names, genes)?, is_query, labels })
}
