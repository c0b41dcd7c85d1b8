//! What is wrong is named with the way out, in words of the notebook.

use tutti_notebook::*;

use super::{clusters, short};

fn message<T>(result: Result<T>) -> String {
    result.err().map_or_else(|| "no error".to_owned(), |e| e.to_string())
}

#[test]
fn each_mistake_names_the_way_out() {
    let cells = clusters();
    let z = pca(&cells).unwrap();
    let few = cells.rows(&[0, 1, 2]).unwrap();
    let branch = cells.obs("cell_type").unwrap();
    let unlabelled = Column::categories("cluster", &vec![String::new(); 400]);
    let said = [
        (
            message(concord(&cells).train()),
            "candidates: batch (2 levels), cell_type (5 levels). Give one with `.batch(\"COLUMN\")`",
        ),
        (message(concord(&cells).batch("donor").train()), "there is no obs column `donor`; there are: batch"),
        (message(concord(&cells).batch("batch").no_batch().train()), "exclude each other"),
        (message(short(&cells).set("latent", 3).train()), "`latent` is no setting; did you mean `latent_dim`?"),
        (message(short(&cells).set("latent_dim", "wide").train()), "`latent_dim` has a value of the wrong type"),
        (message(short(&cells).temperature(0.0).train()), "`temperature` must be above 0"),
        (message(short(&cells).preset("best").train()), "give \"hard-negative\" or \"knn\""),
        (message(short(&cells).label("cell_type").train()), "add `.set(\"use_classifier\", true)` or leave it out"),
        (message(short(&cells).set("use_classifier", true).train()), "name it with `.label(\"COLUMN\")`"),
        (message(short(&cells).device("gpu").train()), "use \"cpu\" or \"cuda\""),
        (message(short(&cells).features(&["GENE1"]).train()), "genes that the cells lack (first: GENE1)"),
        (message(cells.obs("Batch")), "did you mean batch?"),
        (message(cells.gene("Gene_12")), "did you mean gene_12?"),
        (message(cells.obsm("X_umap")), "there are none at all"),
        (message(cells.with_obs("x", vec![1.0f32])), "`x` has 1 values for 400 cells"),
        (message(cells.with_embedding(pca_of(&few))), "is an embedding of 3 cells, and there are 400"),
        (message(cells.only("cell_type", &["T cell"])), "there is no level `T cell`"),
        (message(cells.rows(&[400])), "there is no cell number 400"),
        (message(cells.write("x.csv")), "end the name in .h5ad"),
        (message(read("nowhere.h5ad")), "nowhere.h5ad: No such file"),
        (message(simulate("looop")), "the presets are: three_clusters"),
        (message(umap_with(&z).metric("manhattan").run()), "give \"euclidean\" or \"cosine\""),
        (message(umap_with(&z).n_components(4).run()), "n_components"),
        (message(leiden_with(&z).resolution(0.0).run()), "resolution"),
        (message(k_means(&z, 0)), "n_clusters"),
        (message(score(&cells).batch("batch").run()), "Give it with `.label(\"COLUMN\")`"),
        (message(score(&cells).label("cell_type").batch("batch").run()), "`.embedding(&z)`; obsm has none"),
        (message(score(&cells).label("cell_type").batch("batch").embedding(&z).truth("x").run()), "there are: no_noise"),
        (message(transfer_with(&z, "cell_type", &z).weights("none").run()), "\"gaussian\""),
        (message(transfer(&z, "type", &z)), "there is no obs column `type`"),
        (message(pseudotime(&z).run()), "`.root_in(\"COLUMN\", \"LEVEL\")`"),
        (message(pseudotime(&z).root_in(&branch, "x").run()), "there is no level `x`"),
        (message(z.plot().color_by(few.obs("batch").unwrap()).run()), "`batch` has 3 values for 400 cells"),
        (message(z.plot().color_by("batch").color_map("jet").run()), "\"viridis\""),
        (message(umap_with(&z).n_epochs(5).run().unwrap().plot_3d().html()), "n_components(3)"),
        (message(composition(&branch, &z.dimension(0).unwrap())), "holds numbers, not categories"),
        (message(z.dimension(99)), "there is no dimension 99"),
        (message(dot_plot(&cells, &["ACTB"], "cell_type")), "there is no gene `ACTB`"),
        (message(load_model("nowhere.safetensors")), "nowhere.safetensors"),
        (message(topology_with(&z).max_dim(3).run()), "max_dim"),
        (message(plot_betti(&[])), "topology(&z)?"),
        (message(confusion(&branch, &unlabelled)), "`cluster` has no value in any of 400 cells"),
        (message(confusion(&branch, &few.obs("batch").unwrap())), "`cell_type` has 400 values and `batch` 3"),
        (message(confusion(&branch, &z.dimension(0).unwrap())), "holds numbers, not categories"),
        (message(Table::build().numbers("a", [1.0]).numbers("b", [1.0, 2.0]).run()), "`b` has 2 values and `a` 1"),
        (message(presets().unwrap().select(["preset", "name"])), "there is no column `name`; there are: preset, description"),
        (message(pca_of(&cells).plot().color_by("batch").run()), "`.with_cells(&cells)?`"),
        (message(simulate_with("loop").overlap(1.5).run()), "batches.overlap"),
    ];
    for (said, expected) in said {
        assert!(said.contains(expected), "{said}\nshould say: {expected}");
        assert!(!said.contains("--"), "an option of the command line: {said}");
    }
}

fn pca_of(cells: &Cells) -> Embedding {
    Embedding::from_array("X", ndarray::Array2::zeros((cells.n_cells(), 2)), "euclidean").unwrap()
}

#[test]
fn a_model_without_parts_says_how_to_train_them() {
    let cells = clusters();
    let model = short(&cells).n_epochs(1).train().unwrap();
    let z = model.embed(&cells).unwrap();
    assert!(message(model.classify(&z)).contains("`.label(\"COLUMN\").set(\"use_classifier\", true)`"));
    assert!(message(model.corrected(&cells, "batch_1")).contains("`.set(\"use_decoder\", true)`"));
    assert!(message(model.attribution_of_layer(&cells, 5)).contains("the encoder has layers 0 to 1"));
    let other = simulate_with("splatter").n_cells(50).n_genes(40).run().unwrap();
    assert!(message(model.embed(&other)).contains("of the model's"), "{}", message(model.embed(&other)));
}
