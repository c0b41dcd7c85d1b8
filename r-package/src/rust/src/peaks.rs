//! Peaks of open chromatin: activity of genes, and an embedding.

use extendr_api::prelude::*;
use tutti::preprocess::{Gene, GeneActivity, GeneActivityConfig, Interval, LsiConfig, Strand, lsi, to_memory};
use tutti::threads::Threads;

use crate::guard::{Failure, guard};
use crate::matrix::{cells, columns_of, field, number, optional, strings, to_robj};

type Outcome<T> = std::result::Result<T, Failure>;

/// Genes from `list(name, chromosome, start, end, strand, biotype)`, columns; `start` and `end` are the first and the last base, from 1.
fn genes(annotation: &Robj) -> Outcome<Vec<Gene>> {
    let texts = |name: &str| strings(&field(annotation, name)?);
    let places = |name: &str| {
        let column = field(annotation, name)?;
        column.as_real_vector().ok_or_else(|| Failure::new("internal", format!("`{name}` is no column of numbers")))
    };
    let (names, chromosomes, strands) = (texts("name")?, texts("chromosome")?, texts("strand")?);
    let (starts, ends) = (places("start")?, places("end")?);
    let biotypes = optional(annotation, "biotype")?.map(|b| strings(&b)).transpose()?;
    Ok((0..names.len())
        .map(|i| Gene {
            name: names[i].clone(),
            id: names[i].clone(),
            biotype: biotypes.as_ref().map(|b| b[i].clone()).filter(|b| !b.is_empty()),
            body: Interval { chromosome: chromosomes[i].clone(), start: starts[i] as u64 - 1, end: ends[i] as u64 },
            strand: match strands[i].as_str() {
                "+" => Strand::Forward,
                "-" => Strand::Reverse,
                _ => Strand::Unknown,
            },
        })
        .collect())
}

/// Sums of peaks by gene. `annotation`: columns of genes; `options`: upstream, downstream, biotypes, max_width.
#[extendr]
fn rust_gene_activity(input: Robj, annotation: Robj, options: Robj) -> Robj {
    guard(|| {
        let borrowed = cells(&input)?;
        let config = GeneActivityConfig {
            upstream: number(&options, "upstream")? as u64,
            downstream: number(&options, "downstream")? as u64,
            biotypes: optional(&options, "biotypes")?.map(|b| strings(&b)).transpose()?.unwrap_or_default(),
            max_width: optional(&options, "max_width")?
                .is_some()
                .then(|| number(&options, "max_width"))
                .transpose()?
                .map(|w| w as u64),
        };
        let peaks = &borrowed.cells;
        let activity = GeneActivity::new(peaks.source(), peaks.gene_names(), &genes(&annotation)?, &config)?;
        let found = activity.summary();
        Ok(List::from_pairs([
            ("counts", columns_of(&to_memory(&activity)?)),
            ("genes", Robj::from(activity.gene_names().to_vec())),
            ("n_peaks", (found.n_peaks as f64).into()),
            ("n_peaks_used", (found.n_peaks_used as f64).into()),
            ("n_without_peak", (found.n_without_peak as f64).into()),
            ("n_other_biotype", (found.n_other_biotype as f64).into()),
            ("n_too_wide", (found.n_too_wide as f64).into()),
            ("chromosomes_without_gene", found.chromosomes_without_gene.clone().into()),
        ])
        .into())
    })
}

/// Latent semantic indexing. `options`: n_components, scale_factor, standardise, max_depth_correlation, seed, threads.
#[extendr]
fn rust_lsi(input: Robj, options: Robj) -> Robj {
    guard(|| {
        let borrowed = cells(&input)?;
        let most = optional(&options, "max_depth_correlation")?;
        let config = LsiConfig {
            n_components: number(&options, "n_components")? as usize,
            scale_factor: number(&options, "scale_factor")?,
            standardise: field(&options, "standardise")?.as_bool().unwrap_or(true),
            max_depth_correlation: most.is_some().then(|| number(&options, "max_depth_correlation")).transpose()?,
            seed: number(&options, "seed")? as u64,
        };
        let found = Threads::new(number(&options, "threads")? as usize)?.run(|| lsi(borrowed.cells.source(), &config))?;
        Ok(List::from_pairs([
            ("embedding", to_robj(&found.embedding)),
            ("depth_correlation", Robj::from(found.depth_correlation.clone())),
            ("singular_values", found.singular_values.to_vec().into()),
            ("first_left_out", found.first_left_out.into()),
            ("note", found.note().into()),
        ])
        .into())
    })
}

extendr_module! {
    mod peaks;
    fn rust_gene_activity;
    fn rust_lsi;
}
