//! Cells with barcodes, from training to fates and genes.

use super::*;

fn barcoded() -> Cells {
    let structure = json!({
        "kind": "lineage", "n_clones": 10, "clone_spread": 0.3, "memory": 1.0, "memory_gene_fraction": 0.05, "n_fates": 3
    });
    simulate_with("lineage").n_cells(400).n_genes(150).set("structure", structure).run().unwrap()
}

fn short_lcl(cells: &Cells) -> LclRun {
    let run = lcl(cells).lineage("barcode").n_epochs(8).latent_dim(8).lr(3e-3).size_factor(0.1);
    run.set("encoder_dims", vec![32, 16]).set("accumulate", 1).set("weight_decay", 0.3).quiet()
}

#[test]
fn lineages_are_embedded_asked_for_and_explained() {
    let cells = barcoded();
    let model = short_lcl(&cells).hold_out("within", 0.2).train().unwrap();
    let z = model.embed(&cells).unwrap();
    assert_eq!((z.name().as_str(), z.n_cells(), z.n_dimensions(), z.metric().as_str()), ("X_lcl", 400, 8, "cosine"));
    let split = model.split().unwrap();
    assert_eq!(split.categorical().unwrap().levels(), ["test", "train", "without barcode"]);
    let errors = lineage_error(&z, "barcode", &split).unwrap();
    let number = |table: &Table, column: &str| f64::from(table.column(column).unwrap().to_numbers().unwrap()[0]);
    assert!(number(&errors, "error") < number(&errors, "largest lineage"), "{errors:?}");
    assert!(number(&errors, "test cells") as usize == split.categorical().unwrap().counts()[0]);

    let pairs = lineage_pairs(&z, "barcode", (5, 60)).unwrap();
    assert!(number(&pairs, "AUROC") > 0.6 && number(&pairs, "AUPRC") > number(&pairs, "guessing"), "{pairs:?}");
    assert!(lineage_pairs(&z, "barcode", (5, 2)).unwrap_err().to_string().contains("the smaller first"));

    let genes = model.lineage_genes_of(&cells, "barcode", 12, 3).unwrap();
    let from_mean = model.gene_baseline("mean").unwrap().lineage_genes_of(&cells, "barcode", 12, 3).unwrap();
    assert_ne!(genes.inner().global, from_mean.inner().global);
    assert!(model.gene_baseline("median").err().unwrap().to_string().contains("give `zero` or `mean`"));
    assert_eq!((genes.lineages().len(), genes.top(7).unwrap().n_rows()), (3, 7));
    assert_eq!(genes.top_of(&genes.lineages()[1], 4).unwrap().n_rows(), 4);
    assert!(genes.top_of("none", 4).unwrap_err().to_string().contains("no lineage `none`"));
    genes.heatmap(3, 2).unwrap().svg().unwrap();
    assert!(format!("{genes:?}").contains("rests on") && format!("{model:?}").starts_with("lcl model, 150 genes → 8 dimensions"));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    model.save(&path).unwrap();
    let back = load_lcl(&path).unwrap();
    assert_eq!((back.embed(&cells).unwrap().array(), back.n_lineages()), (z.array(), 10));
    assert!(back.split().unwrap_err().to_string().contains("a loaded model"));
    assert_eq!(short_lcl(&cells).hold_out("within", 0.2).threads(1).train().unwrap().embed(&cells).unwrap().array(), z.array());

    let whole = short_lcl(&cells).hold_out("whole", 0.3).train().unwrap();
    let errors = lineage_error(whole.embed(&cells).unwrap(), "barcode", whole.split().unwrap()).unwrap();
    assert!(number(&errors, "test cells") > 20.0);
}

#[test]
fn genes_of_groups_are_those_of_the_core() {
    let cells = clusters();
    let found = markers(&cells, "cell_type", 3).unwrap();
    let types = cells.obs("cell_type").unwrap().categorical().unwrap().drop_unused();
    let groups: Vec<&String> = types.levels().iter().flat_map(|l| [l; 3]).collect();
    let pairs = found.pairs("group", "gene").unwrap();
    assert_eq!(pairs.iter().map(|(group, _)| group).collect::<Vec<_>>(), groups);
    assert!(pairs.iter().all(|(_, gene)| cells.inner().gene_names().contains(gene)));
    let z = found.column("z").unwrap().to_numbers().unwrap();
    assert!(z.chunks(3).all(|z| z[0] >= z[1] && z[1] >= z[2] && z[0] > 5.0), "{found:?}");
    assert!(markers(&cells, "cell_typ", 3).unwrap_err().to_string().contains("cell_typ"));
    assert!(markers(&cells.only("batch", &["batch_1"]).unwrap(), "batch", 3).unwrap_err().to_string().contains("two groups"));
}

#[test]
fn fates_are_told_from_any_embedding() {
    let cells = barcoded();
    let fates = predict_fate(pca(&cells).unwrap()).lineage("barcode").time("day").fate("cell_type").min_final(3).run().unwrap();
    assert_eq!(fates.test().unwrap().n_rows(), 1);
    let with = cells.with_fates(&fates).unwrap();
    let sum: f32 = fates.fates().iter().map(|f| with.obs(&format!("fate_{f}")).unwrap().to_numbers().unwrap()[0]).sum();
    assert!((sum - 1.0).abs() < 1e-4 && format!("{fates:?}").contains("early cells of 10 lineages"), "{fates:?}");
    let refused = |run: FateRun| run.run().unwrap_err().to_string();
    assert!(refused(predict_fate(pca(&cells).unwrap()).time("day")).contains("`.lineage(..)`"));
    let whole = predict_fate(pca(&cells).unwrap()).lineage("barcode").time("day").fate("cell_type");
    assert!(refused(whole.clone().last("9")).contains("no cell has the time `9`"));
    assert!(refused(whole.min_final(500)).contains("lineage with 500 cells"));
}

#[test]
fn cells_without_a_barcode_may_come_from_elsewhere() {
    let cells = barcoded();
    let run = short_lcl(&cells).lineage("clone");
    let (with, without) = (run.clone().unlabelled(&barcoded()).train().unwrap(), run.train().unwrap());
    assert_ne!(with.embed(&cells).unwrap().array(), without.embed(&cells).unwrap().array());
    let refused = |run: LclRun| run.train().unwrap_err().to_string();
    assert!(refused(lcl(&cells)).contains("which obs column has the barcodes? candidates"), "{}", refused(lcl(&cells)));
    assert!(refused(short_lcl(&cells).lineage("clon")).contains("`clon` is neither an obs column nor in obsm"));
    assert!(refused(short_lcl(&cells).preset("celltag")).contains("give one of default, paper"));
    assert!(refused(short_lcl(&cells).hold_out("some", 0.1)).contains("\"within\" or \"whole\""));
    assert!(refused(short_lcl(&cells).hold_out("within", 2.0)).contains("above 0 and below 1"));
    assert!(refused(short_lcl(&cells).set("latent_dimm", 3)).contains("`latent_dimm` is no setting"));
}
