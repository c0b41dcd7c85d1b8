//! Every verb on cells whose truth is known, in the way of a notebook: nothing is moved, everything can be kept.

use tutti_notebook::*;

use super::{clusters, short};

#[test]
fn an_integration_from_cells_to_scores_and_a_file() {
    let cells = clusters();
    assert!(format!("{cells:?}").contains("obs     batch  2 levels: batch_1"), "{cells:?}");
    let model = short(&cells).n_epochs(8).train().unwrap();
    let z = model.embed(&cells).unwrap();
    let before = pca(&cells).unwrap();
    assert_eq!((z.n_cells(), z.n_dimensions(), z.metric(), before.metric()), (400, 16, "cosine".into(), "euclidean".into()));

    let clusters = leiden(&z).unwrap();
    let truth = cells.obs("cell_type").unwrap();
    let layout = umap_with(&z).n_epochs(30).run().unwrap();
    let grid = layout.plot().color_by(&truth).color_by("batch").color_by(&clusters).run().unwrap();
    assert!(grid.svg().unwrap().starts_with("<svg"));
    layout.plot().split_by("batch").run().unwrap();
    layout.plot().highlight("cell_type", &truth.levels()[0]).density().run().unwrap();

    let scores =
        score(&cells).label("cell_type").batch("batch").embedding(&z).embedding(&before).truth("no_noise").run().unwrap();
    assert_eq!(scores.best(), "X_concord", "{scores:?}");
    assert!(scores.value("X_concord", "batch_correction").unwrap() > scores.value("X_pca", "batch_correction").unwrap());
    assert!(scores.value("X_pca", "trustworthiness").unwrap().is_some() && scores.value("X_pca", "topology").unwrap().is_none());
    assert!(scores.plot().unwrap().svg().unwrap().contains("<svg") && scores.table().unwrap().n_rows() == 2);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.h5ad");
    let out = cells.with_obs("leiden", &clusters).unwrap().with_embedding(&z).unwrap().with_embedding(&layout).unwrap();
    out.write(&path).unwrap();
    assert_eq!(cells.obsm_names().len(), 0, "the cells of before are as they were");
    let back = read(&path).unwrap();
    assert_eq!(back.obsm_names(), ["X_concord", "X_umap"]);
    assert_eq!(back.obs("leiden").unwrap().values(), clusters.values());
    assert_eq!(back.obsm("X_concord").unwrap().array(), z.array());
    assert_eq!(read_with(&path).layer("no_noise").run().unwrap().n_genes(), cells.n_genes());
    // Again, as a copy of the file with more.
    let copy = folder.path().join("copy.h5ad");
    back.with_obs("number", vec![0.5f32; 400]).unwrap().write(&copy).unwrap();
    let copy = read(&copy).unwrap();
    assert!(copy.obs_names().contains(&"number".to_owned()) && copy.obsm_names().len() == 2);
    let all = score(&copy).label("cell_type").batch("batch").run().unwrap();
    assert_eq!(all.embeddings().len(), 2, "without a choice, all of obsm");
    z.write(folder.path().join("z.csv")).unwrap();
    assert_eq!(cells.embedding_from(folder.path().join("z.csv")).unwrap().array().dim(), (400, 16));
}

#[test]
fn a_model_is_kept_names_corrects_and_explains() {
    let cells = clusters();
    let model = short(&cells).label("cell_type").set("use_classifier", true).set("use_decoder", true).train().unwrap();
    assert!(model.history().n_epochs() == 4 && model.history().plot().unwrap().svg().is_ok());
    assert_eq!((model.batches().len(), model.classes().len(), model.composition().unwrap().n_rows()), (2, 5, 2));
    assert!(format!("{model:?}").contains("decoder, classifier"), "{model:?}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    model.save(&path).unwrap();
    let loaded = load_model(&path).unwrap();
    let z = model.embed(&cells).unwrap();
    assert_eq!(loaded.embed(&cells).unwrap().array(), z.array());

    let called = loaded.classify(&z).unwrap();
    let found = confusion(&cells.obs("cell_type").unwrap(), &called).unwrap();
    assert!(found.accuracy() > 0.9, "{found:?}");
    assert_eq!(loaded.class_probabilities(&z).unwrap().n_columns(), 6);
    let named = cells.with_model(&model).unwrap();
    assert!(named.obs_names().contains(&"concord_class_probability".to_owned()) && named.obsm_names() == ["X_concord"]);

    let corrected = named.corrected_by(&model);
    assert_eq!((corrected.n_cells(), corrected.n_genes()), (400, model.genes().len()));
    assert_eq!(corrected.obs("batch").unwrap().values(), cells.obs("batch").unwrap().values());
    assert_eq!(corrected.gene(&model.genes()[0]).unwrap().len(), 400);

    let attribution = model.attribution(&cells).unwrap();
    assert_eq!(attribution.array().dim(), (model.genes().len(), 16));
    assert_eq!(attribution.top(0, 5).unwrap().n_rows(), 10);
    assert_eq!(model.attribution_of_layer(&cells, 0).unwrap().n_dimensions(), 64);
    attribution.heatmap(3, 4).unwrap();
}

trait Corrected {
    fn corrected_by(&self, model: &Model) -> Cells;
}

impl Corrected for Cells {
    fn corrected_by(&self, model: &Model) -> Cells {
        model.corrected(self, &model.batches()[0]).unwrap()
    }
}

#[test]
fn labels_go_from_a_reference_to_a_query() {
    let cells = clusters();
    let reference = cells.only("batch", &["batch_1"]).unwrap();
    let query = cells.without("batch", &["batch_1"]).unwrap();
    assert_eq!(reference.n_cells() + query.n_cells(), 400);
    assert_eq!(reference.layer_names(), ["no_noise"]);
    let model = short(&cells).n_epochs(8).train().unwrap();
    let (of_reference, of_query) = (model.embed(&reference).unwrap(), model.embed(&query).unwrap());
    let found = transfer_with(&of_reference, "cell_type", &of_query).n_neighbors(10).max_novelty(0.999).run().unwrap();
    let right = confusion(&query.obs("cell_type").unwrap(), &found.labels()).unwrap();
    assert!(right.accuracy() > 0.9, "{right:?}");
    let columns = query.with_transfer(&found).unwrap().obs_names();
    let added =
        ["predicted_cell_type", "predicted_cell_type_score", "predicted_cell_type_novelty", "predicted_cell_type_unknown"];
    assert!(added.iter().all(|name| columns.iter().any(|c| c == name)), "{columns:?}");
    let by_column = transfer(&of_reference, reference.obs("cell_type").unwrap(), &of_query).unwrap();
    assert_eq!(by_column.labels().len(), query.n_cells());
    assert!(
        found.known_labels().values().iter().filter(|v| v.is_none()).count() == found.unknown().iter().filter(|u| **u).count()
    );

    let layout = umap_with(&of_reference).n_epochs(20).run().unwrap();
    assert_eq!(project(&of_reference, &layout, &of_query).unwrap().array().dim(), (query.n_cells(), 2));
    let truth = query.obs("cell_type").unwrap();
    river(&[&truth, &found.labels()]).unwrap();
    composition(&found.labels(), &truth).unwrap();
    right.plot().unwrap();
}

#[test]
fn a_loop_is_a_loop_and_time_runs_along_a_course() {
    let cells = simulate_with("loop").n_cells(300).n_genes(60).seed(3).run().unwrap();
    let truth = simulate_with("loop").n_cells(300).n_genes(60).seed(3).run().unwrap();
    assert_eq!(cells.obs("batch").unwrap().values(), truth.obs("batch").unwrap().values(), "the seed says all");
    let z = pca_with(&cells).n_components(10).run().unwrap();
    let holes = topology_with(&z).max_points(150).max_dim(1).run().unwrap();
    assert_eq!(holes.betti().len(), 2);
    assert!(holes.table().unwrap().n_rows() > 1 && holes.score(&[0, 1]).unwrap() > 0.0);
    plot_betti(&[holes.clone(), holes]).unwrap();

    let branch = cells.obs("branch").unwrap();
    let time = pseudotime(&z).root_in(&branch, &branch.levels()[0]).run().unwrap();
    let numbers = time.to_numbers().unwrap();
    assert!(numbers.iter().all(|t| t.is_nan() || (0.0..=1.0).contains(t)) && numbers.contains(&0.0), "{time:?}");
    pseudotime(&z).root(5).shortest_path().run().unwrap();
    pseudotime(&z).root_cell(&cells.cell_names()[7]).run().unwrap();
    let three = umap_with(&z).n_components(3).n_epochs(10).run().unwrap();
    let page = three.plot_3d().color_by(&branch).color_by(&time).title("a <loop> & more");
    assert!(page.content().as_html().unwrap().contains("srcdoc=\"<!DOCTYPE html>"));
    assert!(page.content().as_html().unwrap().contains("title=\"a &lt;loop&gt; &amp; more\""));
}

#[test]
fn genes_by_groups_and_tables() {
    let cells = clusters();
    let genes = cells.gene_names();
    let some: Vec<&str> = genes.iter().take(6).map(String::as_str).collect();
    dot_plot(&cells, &some, "cell_type").unwrap();
    heatmap(&cells, &some, k_means(pca(&cells).unwrap(), 4).unwrap()).unwrap();
    assert_eq!(cells.obs_table().unwrap().n_rows(), 400);
    assert_eq!(cells.var_table().unwrap().columns(), ["gene"]);
    assert!(presets().unwrap().n_rows() > 10);
    let numbers = cells.with_obs("n", (0..400).map(f64::from).collect::<Vec<_>>()).unwrap();
    assert_eq!(numbers.obs("n").unwrap().table().unwrap().n_rows(), 7);
    assert_eq!(numbers.obs_table().unwrap().sorted("n", true).unwrap().column("n").unwrap().to_numbers().unwrap()[0], 399.0);
}

#[test]
fn figures_are_sharp_where_small_and_images_where_large() {
    let cells = clusters();
    let z = pca(&cells).unwrap();
    let small = z.plot().color_by("batch").run().unwrap().content();
    assert!(small.as_svg().is_some() && small.as_text().starts_with("figure: X_pca"));
    let many = cells.rows(&(0..6000).map(|i| i % 400).collect::<Vec<_>>()).unwrap();
    let far = pca_with(&many).n_components(2).run().unwrap();
    assert!(far.plot().color_by("batch").run().unwrap().content().as_svg().is_none());
    assert!(z.plot().color_by("nothing").content().as_text().starts_with("no figure: there is no obs column `nothing`"));
}

/// What is kept from cell to cell must be of this kind, and cheap to clone.
#[test]
fn values_can_be_kept() {
    fn kept<T: Clone + Send + Sync + 'static>() {}
    kept::<Cells>();
    kept::<Column>();
    kept::<Table>();
    kept::<Embedding>();
    kept::<Layout>();
    kept::<Model>();
    kept::<ConcordRun>();
    kept::<History>();
    kept::<Attribution>();
    kept::<Scores>();
    kept::<Scoring>();
    kept::<Transfer>();
    kept::<Transferred>();
    kept::<Topology>();
    kept::<Figure>();
    kept::<Plot>();
    kept::<Plot3d>();
    kept::<Confusion>();
    kept::<Reading>();
}

/// `Result` of the prelude stands for that of the standard library too.
#[test]
fn result_takes_one_or_two_types() {
    fn own() -> Result<f64> {
        Ok(1.0)
    }
    fn other() -> Result<f64, String> {
        Err("no".into())
    }
    assert!(own().is_ok() && other().is_err());
}
