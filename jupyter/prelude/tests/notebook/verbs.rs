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
    assert_eq!(
        (reference.obs("batch").unwrap().levels(), query.obs("batch").unwrap().counts().len()),
        (vec!["batch_1".into()], 1)
    );
    let truth_levels = cells.obs("cell_type").unwrap().levels();
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
    // An empty text names no class.
    let values = reference.obs("cell_type").unwrap().values();
    let blank = (0..values.len()).map(|i| if i % 3 == 0 { Some("") } else { values[i].as_deref() });
    let with_blank = Column::from(tutti::data::Categorical::from_values(blank));
    let levels = transfer(&of_reference, with_blank, &of_query).unwrap().labels().levels();
    assert!(!levels.is_empty() && levels.iter().all(|level| !level.is_empty()), "{levels:?}");
    assert!(
        found.known_labels().values().iter().filter(|v| v.is_none()).count() == found.unknown().iter().filter(|u| **u).count()
    );

    let layout = umap_with(&of_reference).n_epochs(20).run().unwrap();
    assert_eq!(project(&of_reference, &layout, &of_query).unwrap().array().dim(), (query.n_cells(), 2));
    let truth = query.obs("cell_type").unwrap();
    // A type that the reference lacks: the others keep their places, and so their colours.
    let fewer = reference.without("cell_type", &[&truth_levels[1]]).unwrap();
    assert_eq!(fewer.obs("cell_type").unwrap().n_levels(), truth_levels.len() - 1);
    let by_fewer = transfer(model.embed(&fewer).unwrap(), "cell_type", &of_query).unwrap().labels();
    assert!(!by_fewer.levels().contains(&truth_levels[1]) && by_fewer.counts().iter().all(|n| *n > 0));
    assert_eq!(by_fewer.categorical().unwrap().levels(), truth_levels);
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
    let figure = far.plot().color_by("batch").run().unwrap();
    let image = figure.content();
    assert!(image.as_svg().is_none() && image.as_png().unwrap().len() * 4 / 3 < figure.svg().unwrap().len());
    // Titles of panels.
    let titled = z.plot().title("first").color_by("batch").color_by("cell_type").title("second").run().unwrap();
    let drawn = titled.inner().editable_svg().unwrap();
    assert!(drawn.contains("first") && drawn.contains("second") && !drawn.contains("batch\n"), "{drawn}");
    assert!(z.plot().color_by("nothing").content().as_text().starts_with("no figure: there is no obs column `nothing`"));
}

#[test]
fn options_are_kept_and_not_used_up() {
    let cells = clusters();
    let run = pca_with(&cells).n_components(4);
    let (wide, narrow) = (run.n_components(6), run.hvg(50));
    let width = |run: &PcaRun| run.run().unwrap().n_dimensions();
    assert_eq!((width(&run), width(&wide), width(&narrow)), (4, 6, 4));
    let training = concord(&cells).batch("batch");
    assert!(training.no_batch().train().is_err() && training.n_epochs(1).latent_dim(4).train().is_ok());
}

#[test]
fn tables_of_your_own() {
    let names = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
    let begun = Table::build().text("method", &names).numbers("score", [0.5, f64::NAN, 2.0]);
    let table = begun.integers("cells", [3usize, 4, 5]).numbers("share", [0.5f32, 0.25, 1.0]).run().unwrap();
    assert_eq!(table.columns(), ["method", "score", "cells", "share"]);
    assert_eq!(table.column("score").unwrap().n_missing(), 1);
    assert_eq!(table.column("share").unwrap().to_numbers().unwrap(), [0.5, 0.25, 1.0]);
    let part = table.select(["cells", "method"]).unwrap();
    assert_eq!((part.columns(), part.n_rows()), (vec!["cells".into(), "method".into()], 3));
    assert_eq!(begun.run().unwrap().n_columns(), 2, "what was begun is as it was");
}

#[test]
fn an_embedding_of_your_own_knows_its_cells() {
    let cells = clusters();
    let array = ndarray::Array2::from_shape_fn((400, 3), |(i, d)| ((i * (d + 2)) % 17) as f32);
    let own = Embedding::from_array("X_own", array, "euclidean").unwrap();
    assert!(own.plot().color_by("batch").run().is_err());
    let known = own.with_cells(&cells).unwrap();
    known.plot().color_by("batch").run().unwrap();
    assert!(known.plot_3d().color_by("batch").html().unwrap().contains("<html"));
    assert_eq!(known.table().unwrap().column("cell").unwrap().values()[0].as_deref(), Some(cells.cell_names()[0].as_str()));
    // Within cells, it knows what they have now.
    let later = cells.with_embedding(&own).unwrap().with_obs("half", (0..400).map(|i| i < 200).collect::<Vec<bool>>()).unwrap();
    later.obsm("X_own").unwrap().plot().color_by("half").run().unwrap();
}

#[test]
fn batches_of_simulated_cells() {
    let run = simulate_with("loop").n_cells(600).n_genes(60);
    let shared = |run: &SimulateRun| {
        let cells = run.run().unwrap();
        let (batch, time) = (cells.obs("batch").unwrap(), cells.obs("time").unwrap().to_numbers().unwrap());
        let ends = |level: &str| {
            let own: Vec<f32> =
                batch.values().iter().zip(&time).filter(|(b, _)| b.as_deref() == Some(level)).map(|(_, t)| *t).collect();
            (own.iter().copied().fold(f32::INFINITY, f32::min), own.iter().copied().fold(f32::NEG_INFINITY, f32::max))
        };
        ends("batch_1").1 - ends("batch_2").0
    };
    let widths = [0.0, 0.4, 1.0].map(|share| shared(&run.overlap(share)));
    assert!(widths[0] <= 0.0 && widths[0] < widths[1] && widths[1] < widths[2], "{widths:?}");
    assert_eq!(run.n_batches(3).run().unwrap().obs("batch").unwrap().n_levels(), 3);
    let zeros =
        |cells: Cells| cells.gene(&cells.gene_names()[0]).unwrap().to_numbers().unwrap().iter().filter(|v| **v == 0.0).count();
    assert!(zeros(run.dropout(0.9).run().unwrap()) > zeros(run.run().unwrap()));
}

/// What is kept from cell to cell must be of this kind, and cheap to clone.
#[test]
fn values_can_be_kept() {
    fn kept<T: Clone + Send + Sync + 'static>() {}
    kept::<Cells>();
    kept::<Column>();
    kept::<Table>();
    kept::<Columns>();
    kept::<Umap>();
    kept::<Leiden>();
    kept::<PcaRun>();
    kept::<Pseudotime>();
    kept::<SimulateRun>();
    kept::<TopologyRun>();
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
