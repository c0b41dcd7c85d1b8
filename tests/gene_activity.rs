//! Gene activity on real data against sums that another program took from another release of the annotation.

use std::path::Path;

use tutti::preprocess::{GeneActivity, GeneActivityConfig, to_memory};
use tutti_io::{ReadOptions, read, read_genes};

#[test]
fn activities_of_chromosome_21_equal_those_of_another_program() {
    let Some(folder) = crate::shared_data() else { return };
    let genes = read_genes(&Path::new(env!("CARGO_MANIFEST_DIR")).join("data/genes_chr21.gtf.gz")).unwrap();
    let file = |name: &str| read(&folder.join(name), &ReadOptions::default()).unwrap();
    let (peaks, theirs) = (file("multiome_pbmc40_atac_peaks.h5ad"), file("multiome_pbmc40_gene_activity.h5ad"));
    // These sums are over the body and 2 kb on both sides, of genes of any length.
    let config = GeneActivityConfig { downstream: 2000, max_width: None, ..Default::default() };
    let activity = GeneActivity::new(peaks.x().source().unwrap(), peaks.gene_names(), &genes, &config).unwrap();
    let (ours, stored) =
        (to_memory(&activity).unwrap().to_dense(), to_memory(&*theirs.x().source().unwrap()).unwrap().to_dense());
    let mut equal = Vec::new();
    for (j, gene) in activity.gene_names().iter().enumerate() {
        if let Some(k) = theirs.gene_names().iter().position(|g| g == gene) {
            equal.push(ours.column(j) == stored.column(k));
        }
    }
    // Ends of some genes are not the same in every release.
    let (n, same) = (equal.len(), equal.iter().filter(|e| **e).count());
    println!("{same} of {n} genes equal");
    assert!(n > 120 && same as f64 > 0.9 * n as f64, "{same} of {n}");
    let sum: f32 = ours.sum();
    let default =
        GeneActivity::new(peaks.x().source().unwrap(), peaks.gene_names(), &genes, &GeneActivityConfig::default()).unwrap();
    assert!(to_memory(&default).unwrap().to_dense().sum() < sum);
}
